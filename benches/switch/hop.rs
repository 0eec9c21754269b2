//! The bare sealed ping-pong: one frame each way, and one crossbeam hop between the threads that
//! read and write on the far side.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread::{self, JoinHandle},
    time::Instant,
};

use tmp2p::crossbeam_channel;

use crate::{
    common::{Args, Bare, Line, Outcome, SEALED, Summary, percentile},
    pipe::loopback,
};

const TO_FAR: [u8; 32] = [4; 32];
const TO_NEAR: [u8; 32] = [5; 32];

/// Round trips of one run.
pub(crate) fn samples(args: &Args) -> usize {
    args.pick(20_000, 1000)
}

/// The yardstick by itself.
pub(crate) fn line(args: &Args) -> Outcome<Line> {
    let run = |_| {
        let mut hop = Hop::start()?;
        let mut times = Vec::new();
        hop.measure(samples(args), &mut times)?;
        Ok(percentile(&mut times, 50))
    };
    let runs = (0..args.runs()).map(run).collect::<Outcome<Vec<f64>>>()?;
    Ok(Line::new("hop", Summary::of(runs), "us"))
}

/// A running far side and our end of the connection.
pub(crate) struct Hop {
    stream: TcpStream,
    sealer: Bare,
    opener: Bare,
    frame: [u8; SEALED],
    far: Vec<JoinHandle<()>>,
}

impl Hop {
    pub(crate) fn start() -> Outcome<Self> {
        let (stream, far) = loopback()?;
        let (to_writer, from_reader) = crossbeam_channel::unbounded::<[u8; SEALED]>();
        let (mut input, mut output) = (far.try_clone()?, far);
        let reader = thread::spawn(move || {
            let mut opener = Bare::new(&TO_FAR);
            let mut frame = [0; SEALED];
            while input.read_exact(&mut frame).is_ok() {
                opener.open(&mut frame);
                if to_writer.send(frame).is_err() {
                    return;
                }
            }
        });
        let writer = thread::spawn(move || {
            let mut sealer = Bare::new(&TO_NEAR);
            for mut frame in from_reader {
                sealer.seal(&mut frame);
                if output.write_all(&frame).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            stream,
            sealer: Bare::new(&TO_FAR),
            opener: Bare::new(&TO_NEAR),
            frame: [0; SEALED],
            far: vec![reader, writer],
        })
    }

    /// Appends the microseconds of so many round trips.
    pub(crate) fn measure(&mut self, samples: usize, times: &mut Vec<f64>) -> Outcome<()> {
        for _ in 0..samples {
            let start = Instant::now();
            self.sealer.seal(&mut self.frame);
            self.stream.write_all(&self.frame)?;
            self.stream.read_exact(&mut self.frame)?;
            self.opener.open(&mut self.frame);
            times.push(start.elapsed().as_nanos() as f64 / 1000.0);
        }
        Ok(())
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        // Ends the reader, which ends the writer.
        let _ = self.stream.shutdown(Shutdown::Both);
        for thread in self.far.drain(..) {
            let _ = thread.join();
        }
    }
}
