//! What is counted of each channel of a session.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::ids::ChannelId;

/// Counters of one channel of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// The channel.
    pub channel: ChannelId,
    /// Messages in the send queue: accepted or waiting. What the event loop has taken from it and not
    /// cut into packets, at most a full queue more, is counted nowhere.
    pub queued: usize,
    /// Messages cut into packets.
    pub sent_messages: u64,
    /// Their payload bytes.
    pub sent_bytes: u64,
    /// Complete messages received.
    pub received_messages: u64,
    /// Their payload bytes.
    pub received_bytes: u64,
    /// Messages that were refused, timed out, or dropped at the session's end. A `try_send` that finds
    /// the queue full is a refusal each time, though the caller keeps the message.
    pub dropped: u64,
}

impl ChannelStatus {
    /// Nothing counted yet.
    pub(crate) fn new(channel: ChannelId) -> Self {
        ChannelCounters::default().status(channel, 0)
    }
    /// Counts what the other one has counted of the same channel.
    pub(crate) fn add(&mut self, other: &Self) {
        self.queued += other.queued;
        self.sent_messages += other.sent_messages;
        self.sent_bytes += other.sent_bytes;
        self.received_messages += other.received_messages;
        self.received_bytes += other.received_bytes;
        self.dropped += other.dropped;
    }
}

/// Where they are counted.
#[derive(Debug, Default)]
pub(crate) struct ChannelCounters {
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
    dropped: AtomicU64,
}

impl ChannelCounters {
    /// A message was cut into packets. Only the loop calls it.
    pub(crate) fn on_sent(&self, bytes: usize) {
        bump(&self.sent_messages, 1);
        bump(&self.sent_bytes, bytes);
    }

    /// A message is complete. Only the loop calls it.
    pub(crate) fn on_received(&self, bytes: usize) {
        bump(&self.received_messages, 1);
        bump(&self.received_bytes, bytes);
    }

    pub(super) fn has_sent(&self) -> bool {
        self.sent_messages.load(Relaxed) > 0
    }

    /// Messages will not be sent. Any thread.
    pub(super) fn on_dropped(&self, messages: usize) {
        self.dropped.fetch_add(messages as u64, Relaxed);
    }

    pub(super) fn status(&self, channel: ChannelId, queued: usize) -> ChannelStatus {
        ChannelStatus {
            channel,
            queued,
            sent_messages: self.sent_messages.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_messages: self.received_messages.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

/// Adds to a counter that has one writer: a load and a store instead of a locked instruction.
pub(crate) fn bump(counter: &AtomicU64, n: usize) {
    counter.store(counter.load(Relaxed).wrapping_add(n as u64), Relaxed);
}
