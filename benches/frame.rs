//! Sealing and opening frames, against the bare cipher on the same bytes.
//!
//! Ours copies the payload into its slot and writes the length; the bare cipher works on a frame
//! that is there already. Both take turns in short blocks, so that a busy machine slows both.

mod common;

use std::{hint::black_box, process::ExitCode, time::Instant};

use common::{Args, Bare, CLEAR, Line, PAYLOAD, Reporter, SEALED, Summary, percentile};
use tmp2p::internals::protocol::secret::{ChaCha, Opener, Sealer};

const KEY: [u8; 32] = [7; 32];

/// Frames of one block, as many as one write of the event loop has.
const FRAMES: usize = 64;

fn main() -> ExitCode {
    let args = Args::parse("frame");
    let names = ["bare/seal", "seal", "bare/open", "open"];
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("frame", &names);
    }
    let mut reporter = Reporter::new(&args);
    let blocks = args.pick(5000, 200);
    for (bare, ours, measure) in
        [("bare/seal", "seal", seal as fn(usize) -> (f64, f64)), ("bare/open", "open", open)]
    {
        if !wanted.contains(&bare) && !wanted.contains(&ours) {
            continue;
        }
        let runs: Vec<_> = (0..args.runs()).map(|_| measure(blocks)).collect();
        if wanted.contains(&bare) {
            reporter.line(&Line::new(bare, Summary::of(runs.iter().map(|r| r.0)), "ns/KiB"));
        }
        if wanted.contains(&ours) {
            let value = Summary::of(runs.iter().map(|r| r.1));
            let ratio = Summary::of(runs.iter().map(|r| r.1 / r.0));
            reporter.line(&Line::new(ours, value, "ns/KiB").ratio(ratio, bare));
        }
    }
    reporter.finish()
}

/// Nanoseconds per KiB of payload: bare, ours.
fn seal(blocks: usize) -> (f64, f64) {
    let payload = [0x5a; PAYLOAD];
    let mut frames = vec![0x5a; FRAMES * SEALED];
    let mut out = Vec::with_capacity(FRAMES * SEALED);
    let mut bare = Bare::new(&KEY);
    let mut sealer = Sealer::<ChaCha>::new(&KEY);
    take_turns(
        blocks,
        || timed(|| frames.chunks_exact_mut(SEALED).for_each(|frame| bare.seal(frame))),
        || {
            out.clear();
            timed(|| {
                let mut writer = sealer.writer(&mut out, FRAMES);
                for _ in 0..FRAMES {
                    writer.put(black_box(&payload));
                }
                let sealed = writer.finish().expect("a bench does not use up its nonces");
                assert_eq!(sealed, FRAMES);
            })
        },
    )
}

fn open(blocks: usize) -> (f64, f64) {
    let sealed = sealed_frames();
    let (mut theirs, mut ours) = (sealed.clone(), sealed.clone());
    take_turns(
        blocks,
        || {
            theirs.copy_from_slice(&sealed);
            let mut bare = Bare::new(&KEY);
            timed(|| theirs.chunks_exact_mut(SEALED).for_each(|frame| bare.open(frame)))
        },
        || {
            ours.copy_from_slice(&sealed);
            let mut opener = Opener::<ChaCha>::new(&KEY);
            timed(|| {
                let mut reader = opener.reader();
                for frame in ours.chunks_exact_mut(SEALED) {
                    let data = reader.open(frame).expect("this program sealed it");
                    assert_eq!(black_box(data).len(), PAYLOAD);
                }
            })
        },
    )
}

fn sealed_frames() -> Vec<u8> {
    let mut bare = Bare::new(&KEY);
    let mut frames = vec![0x5a; FRAMES * SEALED];
    for frame in frames.chunks_exact_mut(SEALED) {
        frame[..CLEAR - PAYLOAD].copy_from_slice(&(PAYLOAD as u32).to_le_bytes());
        bare.seal(frame);
    }
    frames
}

/// The median over the blocks of each, per frame and thus per KiB.
fn take_turns(
    blocks: usize,
    mut bare: impl FnMut() -> f64,
    mut ours: impl FnMut() -> f64,
) -> (f64, f64) {
    let (mut a, mut b) = (Vec::with_capacity(blocks), Vec::with_capacity(blocks));
    for _ in 0..blocks {
        a.push(bare() / FRAMES as f64);
        b.push(ours() / FRAMES as f64);
    }
    (percentile(&mut a, 50), percentile(&mut b, 50))
}

/// Nanoseconds.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}
