//! How often memory is asked for, per message, and how much of it is held.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    thread,
};

use tmp2p::ChannelDescriptor;

use crate::{
    common::{Args, Goal, Line, Outcome, Summary},
    node::{CHANNEL, Packet, Pair},
};

const SIZE: usize = 65_536;

/// Most allocations of both nodes per message.
const GOAL: f64 = 5.0;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
/// Bytes asked for and not given back while it counted; below 0 if older memory was given back.
static HELD: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counting when asked to. Otherwise it costs one look at a flag.
pub(crate) struct Counting;

impl Counting {
    fn note(&self, bytes: usize) {
        if IS_COUNTING.load(Relaxed) {
            COUNT.fetch_add(1, Relaxed);
            HELD.fetch_add(bytes as i64, Relaxed);
        }
    }

    fn note_freed(&self, bytes: usize) {
        if IS_COUNTING.load(Relaxed) {
            HELD.fetch_sub(bytes as i64, Relaxed);
        }
    }
}

// SAFETY: every call goes unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note(size);
        self.note_freed(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        self.note_freed(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// From now on this process counts.
pub(crate) fn watch() {
    IS_COUNTING.store(true, Relaxed);
}

/// KiB that the program holds more than at [`watch`], as it asked for them: without what the allocator
/// adds and keeps. Of use as a difference.
pub(crate) fn held_kib() -> f64 {
    HELD.load(Relaxed) as f64 / 1024.0
}

pub(crate) fn name(packet: Packet) -> String {
    format!("allocations/size={SIZE}/packet={}", packet.word())
}

pub(crate) fn line(packet: Packet, args: &Args) -> Outcome<Line> {
    let messages = args.pick(2000, 200);
    let runs = (0..args.runs()).map(|_| run(packet, messages)).collect::<Outcome<Vec<_>>>()?;
    let value = Summary::of(runs);
    let goal = Goal::at_most("allocations", GOAL, value.median);
    Ok(Line::new(name(packet), value, "allocations/message").goal(goal))
}

fn run(packet: Packet, messages: usize) -> Outcome<f64> {
    let pair = Pair::start(&packet.config(), ChannelDescriptor::new(CHANNEL))?;
    // Until every buffer has its size.
    pour(&pair, messages / 4)?;
    COUNT.store(0, Relaxed);
    IS_COUNTING.store(true, Relaxed);
    let poured = pour(&pair, messages);
    IS_COUNTING.store(false, Relaxed);
    poured?;
    Ok(COUNT.load(Relaxed) as f64 / messages as f64)
}

/// Each message is made anew, as an application would.
fn pour(pair: &Pair, messages: usize) -> Outcome<()> {
    thread::scope(|scope| {
        let sending = scope.spawn(|| -> Outcome<()> {
            for _ in 0..messages {
                pair.peer.send(CHANNEL, vec![0x5a; SIZE])?;
            }
            Ok(())
        });
        for _ in 0..messages {
            pair.far.next_message()?;
        }
        sending.join().map_err(|_| "the sending thread panicked")?
    })
}
