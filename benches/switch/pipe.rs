//! The bare sealed pipe: what these sockets and this cipher can do without any protocol.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use crate::{
    common::{Bare, Outcome, PAYLOAD, SEALED},
    yardstick::{Meter, Throughput},
};

/// Frames of a write, and at most of a read.
const BATCH: usize = 64;

const KEY: [u8; 32] = [3; 32];

/// Sends so many bytes of payload, rounded up to a batch, from one thread to another: blocking
/// sockets, frames sealed and opened in place.
pub(crate) fn run(payload: usize) -> Outcome<Throughput> {
    let (mut near, mut far) = loopback()?;
    let batches = payload.div_ceil(BATCH * PAYLOAD);
    let frames = batches * BATCH;
    let reader = thread::spawn(move || read(&mut far, frames));
    let meter = Meter::start();
    let mut sealer = Bare::new(&KEY);
    let mut batch = vec![0x5a; BATCH * SEALED];
    for _ in 0..batches {
        batch.chunks_exact_mut(SEALED).for_each(|frame| sealer.seal(frame));
        near.write_all(&batch)?;
    }
    let last = reader.join().map_err(|_| "the reading thread panicked")??;
    Ok(meter.stop(last, frames * PAYLOAD))
}

/// When the last frame was open.
fn read(stream: &mut TcpStream, frames: usize) -> Outcome<Instant> {
    let mut opener = Bare::new(&KEY);
    let mut buffer = vec![0; BATCH * SEALED];
    let (mut filled, mut opened) = (0, 0);
    while opened < frames {
        match stream.read(&mut buffer[filled..])? {
            0 => return Err("the pipe ended early".into()),
            more => filled += more,
        }
        let whole = filled / SEALED * SEALED;
        for frame in buffer[..whole].chunks_exact_mut(SEALED) {
            opener.open(frame);
            opened += 1;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
    Ok(Instant::now())
}

/// Both ends of a TCP connection within this machine.
pub(crate) fn loopback() -> Outcome<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}
