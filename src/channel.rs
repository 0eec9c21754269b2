//! What a reactor says of a channel that it owns.

use crate::ids::ChannelId;

/// Go's default for the largest message a channel receives, bytes (`p2p/conn/connection.go`,
/// `defaultRecvMessageCapacity`).
pub const DEFAULT_RECV_MESSAGE_CAPACITY: usize = 22_020_096;

/// One channel of a reactor: its number and how it shares the connection with the others.
#[derive(Clone, Copy, Debug)]
#[must_use = "a reactor has it only once it is registered with it"]
pub struct ChannelDescriptor {
    pub(crate) id: ChannelId,
    pub(crate) priority: u32,
    pub(crate) send_queue_capacity: usize,
    pub(crate) recv_message_capacity: usize,
    pub(crate) message_type: Option<fn(&[u8]) -> &'static str>,
}

impl ChannelDescriptor {
    /// A channel with Go's defaults: priority 1, a send queue of one message, messages of up to
    /// [`DEFAULT_RECV_MESSAGE_CAPACITY`] bytes.
    pub fn new(id: impl Into<ChannelId>) -> Self {
        Self {
            id: id.into(),
            priority: 1,
            send_queue_capacity: 1,
            recv_message_capacity: DEFAULT_RECV_MESSAGE_CAPACITY,
            message_type: None,
        }
    }

    /// Share of the connection relative to the other channels that have something to send.
    /// 0 is refused when the reactor is registered.
    pub fn priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// How many messages may be queued, whatever their size. The queue also takes more as long as
    /// their bytes are below `Config::send_queue_bytes`.
    /// 0 is refused when the reactor is registered.
    #[doc(alias = "SendQueueCapacity")]
    pub fn send_queue_capacity(mut self, messages: usize) -> Self {
        self.send_queue_capacity = messages;
        self
    }

    /// Largest message in bytes, both accepted from a peer and taken for sending. A peer that
    /// exceeds it is disconnected. 0 is refused when the reactor is registered.
    #[doc(alias = "RecvMessageCapacity")]
    pub fn recv_message_capacity(mut self, bytes: usize) -> Self {
        self.recv_message_capacity = bytes;
        self
    }

    /// Names the type of a message of this channel: what
    /// [`Metrics::message_types`](crate::Metrics::message_types) tells apart. Without it nothing is
    /// counted by type, and it costs nothing.
    ///
    /// Called with the payload, on the thread that sends it and on the one that lets go of what it
    /// received ([`Envelope`](crate::Envelope)); never on the event loop's. It should be quick, such as a
    /// look at the first byte. 64 names are counted for each channel, further ones as `other`. After a
    /// panic, which is logged as an error, it is not called again, and all are `other`.
    pub fn message_type(mut self, name: fn(&[u8]) -> &'static str) -> Self {
        self.message_type = Some(name);
        self
    }

    /// The channel's number.
    pub fn id(&self) -> ChannelId {
        self.id
    }
}
