//! The packet path from memory to memory in one thread, against the bare cipher.
//!
//! `tx`: messages are cut into packets and sealed into a batch of frames. `rx`: frames are opened
//! and put together to messages. No queue, no socket, no thread. Both sides take turns with the
//! bare cipher in blocks of 256 KiB of payload.

mod common;

use std::{hint::black_box, process::ExitCode, time::Duration, time::Instant};

use common::{Args, Bare, Line, Outcome, PAYLOAD, Reporter, SEALED, Summary, percentile};
use tmp2p::{
    ChannelDescriptor, Payload,
    internals::protocol::{
        mconn::{Flow, Incoming, MConn, MConnSettings, Outgoing},
        secret::{ChaCha, Opener, Sealer},
    },
    internals::time::Mono,
};

const KEY: [u8; 32] = [7; 32];
const NOW: Mono = Mono::ZERO;

/// Payload of one block.
const BLOCK: usize = 256 * 1024;

/// Frames of one batch, as in the event loop.
const BATCH: usize = 64;

fn main() -> ExitCode {
    let args = Args::parse("mconn");
    let cases: Vec<Case> = [Way::Tx, Way::Rx]
        .into_iter()
        .flat_map(|way| {
            [1024, 65_536]
                .map(move |size| [1024, 65_536].map(move |p| Case { way, size, packet: p }))
        })
        .flatten()
        .collect();
    let names: Vec<String> = cases.iter().map(Case::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("mconn", &names);
    }
    let mut reporter = Reporter::new(&args);
    for (case, name) in cases.iter().zip(&names).filter(|(_, name)| wanted.contains(name)) {
        reporter.outcome(name, case.line(name, &args));
    }
    reporter.finish()
}

#[derive(Clone, Copy)]
enum Way {
    Tx,
    Rx,
}

#[derive(Clone, Copy)]
struct Case {
    way: Way,
    size: usize,
    packet: usize,
}

impl Case {
    fn name(&self) -> String {
        let way = match self.way {
            Way::Tx => "tx",
            Way::Rx => "rx",
        };
        format!("{way}/size={}/packet={}", self.size, self.packet)
    }

    fn line(&self, name: &str, args: &Args) -> Outcome<Line> {
        let blocks = args.pick(2000, 50);
        let runs = (0..args.runs()).map(|_| match self.way {
            Way::Tx => self.tx(blocks),
            Way::Rx => self.rx(blocks),
        });
        let runs = runs.collect::<Outcome<Vec<_>>>()?;
        let value = Summary::of(runs.iter().map(|(_, ours)| *ours));
        let ratio = Summary::of(runs.iter().map(|(bare, ours)| ours / bare));
        let bare = Summary::of(runs.iter().map(|(bare, _)| *bare));
        Ok(Line::new(name, value, "ns/KiB")
            .ratio(ratio, "bare")
            .also("bare_ns_per_kib", bare.median))
    }

    /// Nanoseconds per KiB of payload: bare, ours.
    fn tx(&self, blocks: usize) -> Outcome<(f64, f64)> {
        let mut sender = Sending::new(self);
        let mut bare = Bare::new(&KEY);
        let mut frames = vec![0x5a; BLOCK / PAYLOAD * SEALED];
        let mut batch = Vec::with_capacity(BATCH * SEALED);
        take_turns(
            blocks,
            || {
                timed(|| {
                    frames.chunks_exact_mut(SEALED).for_each(|frame| bare.seal(frame));
                    Ok(())
                })
            },
            || {
                sender.source.left = BLOCK / self.size;
                timed(|| {
                    loop {
                        batch.clear();
                        let more = sender.fill(&mut batch)?;
                        black_box(&batch);
                        if !more {
                            return Ok(());
                        }
                    }
                })
            },
        )
    }

    fn rx(&self, blocks: usize) -> Outcome<(f64, f64)> {
        let sealed = self.sealed()?;
        let mut ours = sealed.clone();
        let bare_sealed = bare_frames();
        let mut theirs = bare_sealed.clone();
        let mut receiver = self.mconn();
        let mut sink = Counting::default();
        let measured = take_turns(
            blocks,
            || {
                theirs.copy_from_slice(&bare_sealed);
                let mut bare = Bare::new(&KEY);
                timed(|| {
                    theirs.chunks_exact_mut(SEALED).for_each(|frame| bare.open(frame));
                    Ok(())
                })
            },
            || {
                ours.copy_from_slice(&sealed);
                let mut opener = Opener::<ChaCha>::new(&KEY);
                timed(|| {
                    let mut reader = opener.reader();
                    for frame in ours.chunks_exact_mut(SEALED) {
                        receiver.receive(reader.open(frame)?, NOW, &mut sink)?;
                    }
                    Ok(())
                })
            },
        )?;
        if sink.bytes != blocks * BLOCK {
            return Err(format!("{} bytes came out, not {}", sink.bytes, blocks * BLOCK).into());
        }
        Ok(measured)
    }

    /// One block as the peer would send it.
    fn sealed(&self) -> Outcome<Vec<u8>> {
        let mut sender = Sending::new(self);
        sender.source.left = BLOCK / self.size;
        let mut sealed = Vec::new();
        while sender.fill(&mut sealed)? {}
        Ok(sealed)
    }

    fn mconn(&self) -> MConn {
        let settings = MConnSettings {
            max_packet_msg_payload_size: self.packet,
            max_recv_packet_size: 1 << 20,
            send_rate: 0,
            recv_rate: 0,
            ping_interval: Duration::from_secs(60),
            pong_timeout: Duration::from_secs(45),
            unsolicited_pong_interval: Duration::from_secs(20),
        };
        MConn::new(&settings, &[ChannelDescriptor::new(0x30)], NOW)
    }
}

/// One sending side, fed with the same message over and over.
struct Sending {
    mconn: MConn,
    sealer: Sealer<ChaCha>,
    source: Source,
}

impl Sending {
    fn new(case: &Case) -> Self {
        let source = Source { message: vec![0x5a; case.size].into(), left: 0 };
        Self { mconn: case.mconn(), sealer: Sealer::new(&KEY), source }
    }

    /// Appends one batch; whether there is more.
    fn fill(&mut self, out: &mut Vec<u8>) -> Outcome<bool> {
        let mut frames = self.sealer.writer(out, BATCH);
        let filled = self.mconn.fill(&mut frames, &mut self.source, NOW);
        frames.finish()?;
        Ok(filled.more)
    }
}

struct Source {
    message: Payload,
    left: usize,
}

impl Outgoing for Source {
    fn take(&mut self, _: usize) -> Option<Payload> {
        self.left = self.left.checked_sub(1)?;
        Some(self.message.clone())
    }
}

#[derive(Default)]
struct Counting {
    bytes: usize,
}

impl Incoming for Counting {
    fn message(&mut self, _: usize, message: Vec<u8>) -> Flow {
        self.bytes += black_box(message).len();
        Flow::Continue
    }
}

fn bare_frames() -> Vec<u8> {
    let mut bare = Bare::new(&KEY);
    let mut frames = vec![0x5a; BLOCK / PAYLOAD * SEALED];
    frames.chunks_exact_mut(SEALED).for_each(|frame| bare.seal(frame));
    frames
}

/// The median over the blocks of each, per KiB of payload.
fn take_turns(
    blocks: usize,
    mut bare: impl FnMut() -> Outcome<f64>,
    mut ours: impl FnMut() -> Outcome<f64>,
) -> Outcome<(f64, f64)> {
    let kib = (BLOCK / 1024) as f64;
    let (mut a, mut b) = (Vec::with_capacity(blocks), Vec::with_capacity(blocks));
    for _ in 0..blocks {
        a.push(bare()? / kib);
        b.push(ours()? / kib);
    }
    Ok((percentile(&mut a, 50), percentile(&mut b, 50)))
}

/// Nanoseconds.
fn timed(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_nanos() as f64)
}
