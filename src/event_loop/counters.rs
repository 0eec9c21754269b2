//! What only the loop knows, and counts for everybody: shared with the handles, which read it while the
//! loop runs and after it has ended.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;

use crate::reactor::bump;

/// A turn that lasts longer than this is [counted](EventLoopStatus::long_turns): so long a message that
/// is urgent waits behind what others have sent.
const LONG_TURN: Duration = Duration::from_millis(2);

/// What the event loop has counted since it started. Small steps of the loop are not under one lock:
/// the figures of one moment may differ by what happens in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EventLoopStatus {
    /// Connections that were accepted, whatever became of them.
    pub accepted: u64,
    /// Bytes read from all sockets: sealed frames, handshakes.
    pub read_bytes: u64,
    /// Bytes that the system has taken for all sockets.
    pub written_bytes: u64,
    /// Turns of the loop: each looks once at timers, the listener, and connections that are ready, of which
    /// a crowd is left for the next turns.
    pub turns: u64,
    /// Turns that lasted longer than 2 ms. The time in which another thread has the processor
    /// counts, too.
    pub long_turns: u64,
    /// The longest one.
    pub longest_turn: Duration,
}

/// Where it is counted. Only the loop writes.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    turns: AtomicU64,
    long_turns: AtomicU64,
    longest_turn: AtomicU64,
}

impl Counters {
    pub(super) fn on_accepted(&self) {
        bump(&self.accepted, 1);
    }

    pub(super) fn on_read(&self, bytes: usize) {
        bump(&self.read_bytes, bytes);
    }

    pub(super) fn on_written(&self, bytes: usize) {
        bump(&self.written_bytes, bytes);
    }

    /// A turn is over that has lasted so long.
    pub(super) fn on_turn(&self, lasted: Duration) {
        bump(&self.turns, 1);
        bump(&self.long_turns, usize::from(lasted > LONG_TURN));
        let nanos = u64::try_from(lasted.as_nanos()).unwrap_or(u64::MAX);
        if nanos > self.longest_turn.load(Relaxed) {
            self.longest_turn.store(nanos, Relaxed);
        }
    }

    /// Up to now. Any thread.
    pub fn status(&self) -> EventLoopStatus {
        EventLoopStatus {
            accepted: self.accepted.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
            written_bytes: self.written_bytes.load(Relaxed),
            turns: self.turns.load(Relaxed),
            long_turns: self.long_turns.load(Relaxed),
            longest_turn: Duration::from_nanos(self.longest_turn.load(Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_over_two_milliseconds_are_long() {
        let counters = Counters::default();
        for micros in [10, 2000, 2001, 7000, 30] {
            counters.on_turn(Duration::from_micros(micros));
        }
        let status = counters.status();
        assert_eq!((status.turns, status.long_turns), (5, 2));
        assert_eq!(status.longest_turn, Duration::from_millis(7));
    }

    #[test]
    fn bytes_are_counted_by_direction() {
        let counters = Counters::default();
        for bytes in [3, 4] {
            counters.on_read(bytes);
            counters.on_written(100 * bytes);
        }
        let status = counters.status();
        assert_eq!((status.read_bytes, status.written_bytes), (7, 700));
    }
}
