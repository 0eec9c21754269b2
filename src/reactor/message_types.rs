//! What is counted of each type of message of a channel, over all sessions of a switch.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use log::Level;
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    channel::ChannelDescriptor,
    guard::{guarded, tell},
    ids::ChannelId,
};

/// Names that are kept for a channel: a function that makes them of a peer's bytes does not fill our
/// memory with counters.
const MAX_NAMES: usize = 64;
/// What further names count as, and all messages once the function has panicked.
const OTHER: &str = "other";

/// What was counted of one type of message of a channel since the switch started, over all sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MessageTypeStatus {
    /// Messages that were accepted for sending: some may not have left before their session ended.
    pub sent_messages: u64,
    /// Their payload bytes.
    #[doc(alias = "message_send_bytes_total")]
    pub sent_bytes: u64,
    /// Messages that the reactor got and has let go of, see [`Envelope`](crate::Envelope).
    pub received_messages: u64,
    /// Their payload bytes.
    #[doc(alias = "message_receive_bytes_total")]
    pub received_bytes: u64,
}

/// The types of message of one channel. Only for channels that have a function that names them.
pub struct MessageTypes {
    pub(crate) channel: ChannelId,
    name: fn(&[u8]) -> &'static str,
    /// It is not called again: peers send what it panics at as often as they like.
    has_panicked: AtomicBool,
    counters: Mutex<BTreeMap<&'static str, Arc<TypeCounters>>>,
}

/// Where one type is counted. Any thread.
#[derive(Debug, Default)]
pub(crate) struct TypeCounters {
    sent_messages: AtomicU64,
    sent_bytes: AtomicU64,
    received_messages: AtomicU64,
    received_bytes: AtomicU64,
}

impl MessageTypes {
    /// `None`: nobody names the channel's messages.
    pub fn of(descriptor: &ChannelDescriptor) -> Option<Arc<Self>> {
        let (channel, name) = (descriptor.id, descriptor.message_type?);
        let (has_panicked, counters) = Default::default();
        Some(Arc::new(Self { channel, name, has_panicked, counters }))
    }

    /// Where this message is counted. Runs code of the application.
    pub(crate) fn counters(&self, message: &[u8]) -> Arc<TypeCounters> {
        let name = self.name(message).unwrap_or(OTHER);
        let mut counters = self.counters.lock();
        let is_full = counters.len() >= MAX_NAMES;
        let name = if is_full && !counters.contains_key(name) { OTHER } else { name };
        counters.entry(name).or_default().clone()
    }

    fn name(&self, message: &[u8]) -> Option<&'static str> {
        if self.has_panicked.load(Relaxed) {
            return None;
        }
        let name = guarded(|| (self.name)(message));
        if name.is_none() && !self.has_panicked.swap(true, Relaxed) {
            let channel = self.channel;
            tell!(
                Level::Error,
                "what names the messages of channel {channel} has panicked; they are not told apart any more"
            );
        }
        name
    }

    /// What was counted so far, by name.
    pub(crate) fn status(&self) -> BTreeMap<&'static str, MessageTypeStatus> {
        self.counters.lock().iter().map(|(name, counters)| (*name, counters.status())).collect()
    }
}

impl TypeCounters {
    pub(crate) fn on_sent(&self, bytes: usize) {
        self.sent_messages.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn on_received(&self, bytes: usize) {
        self.received_messages.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn status(&self) -> MessageTypeStatus {
        MessageTypeStatus {
            sent_messages: self.sent_messages.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_messages: self.received_messages.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
        }
    }
}

impl fmt::Debug for MessageTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.status()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_of_a_peers_bytes_are_bounded_and_after_a_panic_all_are_others() {
        let name = |message: &[u8]| match message {
            [] => panic!("a panic on purpose, in a function that names messages"),
            bytes => &*String::from_utf8_lossy(bytes).into_owned().leak(),
        };
        let types = MessageTypes::of(&ChannelDescriptor::new(0x20).message_type(name)).unwrap();
        for n in 0..10_000 {
            types.counters(format!("name {n}").as_bytes()).on_received(7);
        }
        types.counters(b"name 0").on_sent(6);
        for message in [&b""[..], b"name 0"] {
            types.counters(message).on_sent(message.len());
        }
        let status = types.status();
        assert_eq!(status.len(), MAX_NAMES + 1);
        assert_eq!((status["name 0"].sent_bytes, status["name 0"].received_bytes), (6, 7));
        assert_eq!((status[OTHER].sent_messages, status[OTHER].sent_bytes), (2, 6));
        let others = 10_000 - MAX_NAMES as u64;
        assert_eq!(
            (status[OTHER].received_messages, status[OTHER].received_bytes),
            (others, 7 * others)
        );
    }

    #[test]
    fn nothing_is_kept_for_a_channel_whose_messages_nobody_names() {
        assert!(MessageTypes::of(&ChannelDescriptor::new(0x20)).is_none());
    }
}
