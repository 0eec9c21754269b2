//! What of the loop a connection may touch in its run: all but the table in which it is.

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use super::inflow::Parking;
use crate::{
    event_loop::{
        Counters, LoopSettings, Report, Sockets, door::Door, inbox::Watched, spares::Spares,
    },
    protocol::{
        link::MAX_BATCH_FRAMES,
        secret::{FRAME_DATA, FRAME_SEALED, KeyAgreement},
    },
    reactor::Inbox,
    time::{Mono, Now},
};

/// What one read takes at most. Measured: throughput is flat above 16 KiB, CPU per byte falls until
/// 64 KiB.
const MOST_READ: usize = 64 << 10;
/// Input of one turn over all ready connections: bounds the time between two looks at timers and
/// control (about 0.5 ms of opening frames), whatever the number of peers that flood us.
const TURN_BYTES: usize = 256 << 10;
/// The least that one read takes, so that many ready connections do not drown in system calls.
const LEAST_READ: usize = 8 << 10;
/// Sessions, and connections that are closed, that have a run in one turn; the others share the next ones
/// with those to whom something happens. As many as can have the least read of what a turn takes in. A
/// broadcast to 1000 peers makes 1000 ready at once, and their writes alone take 10 ms.
const RUNS_PER_TURN: usize = TURN_BYTES / LEAST_READ;
/// The same of all others: a crowd of strangers can say something, or go, all at once. 1024 of them took
/// 30 ms.
const STRANGER_RUNS_PER_TURN: usize = 64;
/// Connections whose time is over in one turn: those that came together are due together.
const OVERDUE_PER_TURN: usize = 64;
/// The least that one write seals, in frames: below, throughput falls.
const LEAST_BATCH: usize = 16;
/// Expensive handshake steps of one turn, about 110 µs each: with 4, peers wait at most 0.5 ms for
/// a crowd of handshakes; with 32 it was 3.5 ms.
const HANDSHAKE_STEPS_PER_TURN: usize = 4;
/// Write buffers kept for reuse. One per connection that is being written to at the same time is
/// enough; idle connections hold none.
const SPARE_BUFFERS: usize = 8;

/// The parts of the loop that all connections share.
pub(in crate::event_loop) struct Context<S, I> {
    pub(in crate::event_loop) settings: LoopSettings,
    pub(in crate::event_loop) sockets: S,
    pub(in crate::event_loop) inbox: Watched<I>,
    pub(in crate::event_loop) spares: Spares,
    pub(in crate::event_loop) parking: Parking,
    pub(in crate::event_loop) door: Door,
    pub(in crate::event_loop) counters: Arc<Counters>,
    /// Bytes of unfinished messages over all connections.
    pub(in crate::event_loop) pooled: usize,
    pub(in crate::event_loop) reports: VecDeque<Report>,
    pub(in crate::event_loop) key_agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    /// What is read goes here first.
    pub(in crate::event_loop) scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// Expensive steps that are left in this turn.
    pub(in crate::event_loop) handshake_steps: usize,
    /// Runs of sessions that are left in this turn.
    pub(in crate::event_loop) session_runs: usize,
    /// Runs of others.
    pub(in crate::event_loop) stranger_runs: usize,
    /// How many may still be ended in this turn because their time is over.
    pub(in crate::event_loop) overdue: usize,
    /// The last turn has left sessions over.
    pub(in crate::event_loop) is_crowded: bool,
    /// What one read takes in this turn.
    pub(in crate::event_loop) quantum: usize,
    /// When everything must be over, once the loop is to stop.
    pub(in crate::event_loop) shutdown: Option<Mono>,
    pub(in crate::event_loop) now: Now,
}

impl<S: Sockets, I: Inbox> Context<S, I> {
    pub(in crate::event_loop) fn new(
        settings: LoopSettings,
        sockets: S,
        inbox: I,
        key_agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    ) -> Self {
        Self {
            inbox: Watched::new(inbox, settings.reactors),
            spares: Spares::default(),
            parking: Parking::new(&settings),
            door: Door::new(settings.gate.clone()),
            counters: Arc::default(),
            pooled: 0,
            reports: VecDeque::new(),
            key_agreement,
            scratch: vec![0; MOST_READ + FRAME_SEALED],
            spare: Vec::new(),
            handshake_steps: 0,
            session_runs: RUNS_PER_TURN,
            stranger_runs: STRANGER_RUNS_PER_TURN,
            overdue: OVERDUE_PER_TURN,
            is_crowded: false,
            quantum: MOST_READ,
            shutdown: None,
            now: Now { mono: Mono::ZERO, wall: SystemTime::UNIX_EPOCH },
            settings,
            sockets,
        }
    }

    /// A turn begins, in which so many connections are ready.
    pub(in crate::event_loop) fn begin_turn(&mut self, now: Now) {
        self.now = now;
        // While sessions wait for their run strangers go on, and take less of the time.
        self.handshake_steps = if self.is_crowded { 1 } else { HANDSHAKE_STEPS_PER_TURN };
        self.session_runs = RUNS_PER_TURN;
        self.stranger_runs = STRANGER_RUNS_PER_TURN;
        self.overdue = OVERDUE_PER_TURN;
    }

    /// Shares the bytes of the turn among so many that are ready.
    pub(in crate::event_loop) fn share_bytes(&mut self, ready: usize) {
        let share = TURN_BYTES.checked_div(ready).unwrap_or(TURN_BYTES);
        self.quantum = share.clamp(LEAST_READ, MOST_READ);
    }

    /// Frames that one write seals at most: fewer as one read takes less.
    pub(super) fn batch_frames(&self) -> usize {
        (self.quantum / FRAME_DATA).clamp(LEAST_BATCH, MAX_BATCH_FRAMES)
    }

    pub(in crate::event_loop) fn report(&mut self, report: Report) {
        self.reports.push_back(report);
    }

    /// When a close that begins now must be over.
    pub(super) fn close_deadline(&self) -> Mono {
        let deadline = self.now.mono + self.settings.close_timeout;
        self.shutdown.map_or(deadline, |shutdown| shutdown.min(deadline))
    }

    pub(super) fn spare_buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    pub(super) fn recycle(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() > 0 && self.spare.len() < SPARE_BUFFERS {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}
