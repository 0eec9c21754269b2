//! From send queue to packet: what the loop has taken from a session's queues and not yet cut.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    payload::Payload,
    protocol::mconn::Outgoing,
    reactor::{Session, Waiter},
};

/// Above this many entries a drained queue's memory is given back: a burst must not stay resident
/// in an idle connection.
const KEPT_ENTRIES: usize = 64;

/// Messages taken from a session's send queues, per channel.
#[derive(Debug)]
pub(super) struct Outflow {
    lanes: Box<[Lane]>,
    /// Channels whose owner is to be told that they are writable again.
    writable: Vec<usize>,
    /// Scratch: who waited for a place and has one now.
    accepted: Vec<Waiter>,
}

/// What one channel has in the loop.
#[derive(Debug, Default)]
struct Lane {
    taken: VecDeque<Payload>,
    /// The link has one that is not all in packets.
    is_cutting: bool,
}

impl Outflow {
    pub(super) fn new(channels: usize) -> Self {
        let lanes = (0..channels).map(|_| Lane::default()).collect();
        Self { lanes, writable: Vec::new(), accepted: Vec::new() }
    }

    /// Channels that became writable since the last call.
    pub(super) fn take_writable(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.writable)
    }

    /// Drops what was taken and not cut, and counts it. Nothing is cut any more.
    pub(super) fn clear(&mut self, session: &Session) {
        for (lane, channel) in self.lanes.iter_mut().zip(&session.channels) {
            let Lane { taken, is_cutting } = std::mem::take(lane);
            channel.drop_messages(taken.len().saturating_add(usize::from(is_cutting)));
        }
    }
}

/// Gives messages to the link.
pub(super) struct Supply<'a> {
    pub(super) outflow: &'a mut Outflow,
    pub(super) session: &'a Arc<Session>,
}

impl Outgoing for Supply<'_> {
    #[expect(clippy::indexing_slicing, reason = "link and lanes have the session's channels")]
    fn take(&mut self, channel: usize) -> Option<Payload> {
        let Lane { taken, is_cutting } = &mut self.outflow.lanes[channel];
        // Only when nothing of the channel is left uncut: what the loop holds does not count
        // against the queue's bound.
        if taken.is_empty() && self.session.take_queued(channel, taken, &mut self.outflow.accepted)
        {
            self.outflow.writable.push(channel);
        }
        let payload = taken.pop_front();
        *is_cutting = payload.is_some();
        if taken.is_empty() && taken.capacity() > KEPT_ENTRIES {
            *taken = VecDeque::new();
        }
        payload
    }

    #[expect(clippy::indexing_slicing, reason = "link and lanes have the session's channels")]
    fn sent(&mut self, channel: usize, payload_bytes: usize) {
        self.outflow.lanes[channel].is_cutting = false;
        self.session.channels[channel].counters.on_sent(payload_bytes);
    }
}
