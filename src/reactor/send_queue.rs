//! The queue of one channel of one session, between whoever sends and the event loop. Pure.

use std::collections::VecDeque;

use crate::{payload::Payload, time::Mono};

/// Counted for each entry beside its bytes, so that empty messages are bounded too: about what
/// the entry and the shared payload's header take.
const ENTRY_OVERHEAD: usize = 64;

/// Waiting entries of broadcasts may hold this many times the byte bound: nobody's thread is
/// blocked on them, so nothing else bounds a producer that outruns a slow peer.
const BROADCAST_FACTOR: usize = 4;

/// Messages of one (session, channel) that the event loop has not taken.
///
/// An entry is *accepted* while fewer than `capacity` entries are, or while their bytes are below
/// `bytes`. Go's strict count (capacity 1 by default) costs two thread wake-ups per message:
/// measured, 15,000 small messages a second against more than 300,000 with the byte bound. Later
/// entries *wait*, each with a token `W` that is handed back when the entry is accepted or fails.
/// Accepted is what a flush must write.
#[derive(Debug)]
pub struct SendQueue<W> {
    capacity: usize,
    bytes: usize,
    accepted: VecDeque<Payload>,
    accepted_bytes: usize,
    waiting: VecDeque<Waiting<W>>,
    broadcast_bytes: usize,
    next_ticket: u64,
    wants_writable: bool,
    closed: bool,
}

#[derive(Debug)]
struct Waiting<W> {
    ticket: u64,
    payload: Payload,
    /// Set for a broadcast: the loop expires it. A blocked sender expires its own entry.
    deadline: Option<Mono>,
    waiter: W,
}

/// Where a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be sent unless the connection ends.
    Accepted,
    /// It waits for a place, under this ticket.
    Waiting(u64),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No room.
    Full,
    /// The session is over.
    Closed,
}

impl<W> SendQueue<W> {
    /// An empty queue that accepts `capacity` entries, or `bytes` bytes if that is more.
    /// `bytes` of 0 is the strict count.
    pub fn new(capacity: usize, bytes: usize) -> Self {
        Self {
            capacity,
            bytes,
            accepted: VecDeque::new(),
            accepted_bytes: 0,
            waiting: VecDeque::new(),
            broadcast_bytes: 0,
            next_ticket: 0,
            wants_writable: false,
            closed: false,
        }
    }

    /// Takes the message only if it is accepted at once. After a `Full`, the next [`take`] that
    /// leaves room says so.
    ///
    /// [`take`]: Self::take
    pub fn try_push(&mut self, payload: &Payload) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if !self.may_accept() {
            self.wants_writable = true;
            return Err(Refused::Full);
        }
        self.accept(payload.clone());
        Ok(())
    }

    /// Takes the message, to wait if it must. A blocked sender gives no deadline and is bounded by
    /// its thread; a broadcast gives one and is refused once too much waits.
    pub fn push(
        &mut self,
        payload: &Payload,
        deadline: Option<Mono>,
        waiter: W,
    ) -> Result<Pushed, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.may_accept() {
            self.accept(payload.clone());
            return Ok(Pushed::Accepted);
        }
        if deadline.is_some() {
            let held = self.accepted_bytes + self.broadcast_bytes + cost(payload);
            if self.broadcast_bytes > 0 && held > BROADCAST_FACTOR * self.bytes {
                return Err(Refused::Full);
            }
            self.broadcast_bytes += cost(payload);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiting { ticket, payload: payload.clone(), deadline, waiter });
        Ok(Pushed::Waiting(ticket))
    }

    /// Moves everything accepted to the end of `into`, then accepts as many waiting entries as
    /// there are places; their tokens are appended to `accepted`. True: somebody was told `Full`,
    /// and now there is room.
    pub fn take(&mut self, into: &mut VecDeque<Payload>, accepted: &mut Vec<W>) -> bool {
        if into.is_empty() {
            std::mem::swap(into, &mut self.accepted);
        } else {
            into.append(&mut self.accepted);
        }
        self.accepted_bytes = 0;
        while self.has_room() {
            let Some(waiting) = self.waiting.pop_front() else { break };
            self.forget_broadcast(&waiting);
            self.accept(waiting.payload);
            accepted.push(waiting.waiter);
        }
        self.wants_writable && self.may_accept() && {
            self.wants_writable = false;
            true
        }
    }

    /// Gives up the waiting entry with this ticket; `None` if it does not wait any more.
    pub fn cancel(&mut self, ticket: u64) -> Option<W> {
        let at = self.waiting.iter().position(|w| w.ticket == ticket)?;
        let waiting = self.waiting.remove(at)?;
        self.forget_broadcast(&waiting);
        Some(waiting.waiter)
    }

    /// Gives up the waiting entries whose deadline has come; their tokens are appended.
    pub fn expire(&mut self, now: Mono, expired: &mut Vec<W>) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        for entry in std::mem::take(&mut self.waiting) {
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                self.forget_broadcast(&entry);
                expired.push(entry.waiter);
            } else {
                self.waiting.push_back(entry);
            }
        }
    }

    /// Whether any waiting entry has a deadline.
    pub fn may_expire(&self) -> bool {
        self.broadcast_bytes > 0
    }

    /// When the loop must call [`expire`](Self::expire).
    pub fn next_deadline(&self) -> Option<Mono> {
        self.waiting.iter().filter_map(|w| w.deadline).min()
    }

    /// No more messages. The tokens of all waiting entries are appended to `failed` and their
    /// payloads freed; accepted ones stay for a flush, or are dropped and counted.
    pub fn close(&mut self, flush: bool, failed: &mut Vec<W>) -> usize {
        self.closed = true;
        self.broadcast_bytes = 0;
        failed.extend(self.waiting.drain(..).map(|w| w.waiter));
        self.waiting = VecDeque::new();
        if flush {
            return 0;
        }
        let dropped = self.accepted.len();
        self.accepted = VecDeque::new();
        self.accepted_bytes = 0;
        dropped
    }

    /// Whether a `try_push` would succeed.
    pub fn may_accept(&self) -> bool {
        !self.closed && self.waiting.is_empty() && self.has_room()
    }

    /// Accepted and waiting entries.
    pub fn len(&self) -> usize {
        self.accepted.len() + self.waiting.len()
    }

    /// Whether nothing is accepted and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn has_room(&self) -> bool {
        self.accepted.len() < self.capacity || self.accepted_bytes < self.bytes
    }

    fn accept(&mut self, payload: Payload) {
        self.accepted_bytes += cost(&payload);
        self.accepted.push_back(payload);
    }

    fn forget_broadcast(&mut self, waiting: &Waiting<W>) {
        if waiting.deadline.is_some() {
            self.broadcast_bytes -= cost(&waiting.payload);
        }
    }
}

fn cost(payload: &Payload) -> usize {
    payload.len() + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(len: usize) -> Payload {
        vec![0; len].into()
    }

    fn at(ms: u64) -> Mono {
        Mono::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_strict_count_is_the_reference() {
        let mut queue = SendQueue::<u32>::new(2, 0);
        assert_eq!(queue.try_push(&payload(1)), Ok(()));
        assert_eq!(queue.try_push(&payload(1)), Ok(()));
        assert_eq!(queue.try_push(&payload(1)), Err(Refused::Full));
    }

    #[test]
    fn small_messages_are_bounded_by_bytes_not_by_count() {
        let mut queue = SendQueue::<u32>::new(1, 64 << 10);
        let mut accepted = 0;
        while queue.try_push(&payload(1024)).is_ok() {
            accepted += 1;
        }
        assert_eq!(accepted, (64usize << 10).div_ceil(1024 + ENTRY_OVERHEAD));
        let mut empty = SendQueue::<u32>::new(1, 64 << 10);
        let mut accepted = 0;
        while empty.try_push(&payload(0)).is_ok() {
            accepted += 1;
        }
        assert_eq!(accepted, 1024, "empty messages are bounded too");
    }

    #[test]
    fn can_send_follows_the_channels_capacity() {
        // Go's CanSend compares with 1 whatever the channel's capacity is.
        let mut queue = SendQueue::<u32>::new(3, 0);
        for _ in 0..3 {
            assert!(queue.may_accept());
            queue.try_push(&payload(1)).unwrap();
        }
        assert!(!queue.may_accept());
    }

    #[test]
    fn waiting_entries_keep_their_order_and_are_accepted_as_places_come_free() {
        let mut queue = SendQueue::new(2, 0);
        for i in 0..5u8 {
            let pushed = queue.push(&vec![i].into(), None, i).unwrap();
            assert_eq!(pushed == Pushed::Accepted, i < 2);
        }
        assert_eq!(queue.try_push(&payload(1)), Err(Refused::Full), "others wait");
        let (mut out, mut accepted) = (VecDeque::new(), Vec::new());
        assert!(!queue.take(&mut out, &mut accepted));
        assert_eq!(accepted, [2, 3]);
        assert!(queue.take(&mut out, &mut accepted), "the last one waits no more, a place is free");
        assert_eq!(accepted, [2, 3, 4]);
        assert!(!queue.take(&mut out, &mut accepted), "told once");
        let order: Vec<u8> = out.iter().map(|p| p[0]).collect();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn writable_is_told_once_after_full() {
        let mut queue = SendQueue::<u32>::new(1, 0);
        let (mut out, mut accepted) = (VecDeque::new(), Vec::new());
        queue.try_push(&payload(1)).unwrap();
        assert!(!queue.take(&mut out, &mut accepted), "nobody was refused");
        queue.try_push(&payload(1)).unwrap();
        queue.try_push(&payload(1)).unwrap_err();
        queue.try_push(&payload(1)).unwrap_err();
        assert!(queue.take(&mut out, &mut accepted));
        assert!(!queue.take(&mut out, &mut accepted));
    }

    #[test]
    fn a_cancelled_or_expired_entry_is_not_sent() {
        let mut queue = SendQueue::new(1, 0);
        queue.push(&payload(1), None, 0).unwrap();
        let Ok(Pushed::Waiting(ticket)) = queue.push(&payload(2), None, 1) else { panic!() };
        queue.push(&payload(3), Some(at(10)), 2).unwrap();
        assert_eq!(queue.next_deadline(), Some(at(10)));
        assert!(queue.may_expire());
        assert_eq!(queue.cancel(ticket), Some(1));
        assert_eq!(queue.cancel(ticket), None);
        let mut expired = Vec::new();
        queue.expire(at(9), &mut expired);
        assert!(expired.is_empty());
        queue.expire(at(10), &mut expired);
        assert_eq!(expired, [2]);
        assert!(!queue.may_expire());
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn broadcasts_to_a_slow_peer_are_bounded() {
        let mut queue = SendQueue::new(1, 1000);
        let mut taken = 0;
        while queue.push(&payload(500), Some(at(1)), taken).is_ok() {
            taken += 1;
        }
        assert_eq!(taken, 7, "4000 bytes at 564 each");
        // A blocked sender is bounded by its own thread, and always may wait.
        assert!(matches!(queue.push(&payload(5000), None, 99), Ok(Pushed::Waiting(_))));
    }

    #[test]
    fn closing_fails_who_waits_and_keeps_what_a_flush_must_write() {
        for flush in [false, true] {
            let mut queue = SendQueue::new(1, 0);
            queue.push(&payload(1), None, 0).unwrap();
            queue.push(&payload(1), None, 1).unwrap();
            let mut failed = Vec::new();
            assert_eq!(queue.close(flush, &mut failed), usize::from(!flush));
            assert_eq!(failed, [1]);
            assert_eq!(queue.try_push(&payload(1)), Err(Refused::Closed));
            let mut out = VecDeque::new();
            queue.take(&mut out, &mut failed);
            assert_eq!(out.len(), usize::from(flush));
        }
    }
}
