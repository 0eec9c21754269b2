//! Why a message was not sent.

use crate::payload::Payload;

/// Why a message was not sent. The payload comes back.
#[derive(Clone, thiserror::Error)]
#[error("{kind}")]
pub struct SendError {
    /// Why.
    pub kind: SendErrorKind,
    /// The message.
    pub payload: Payload,
}

crate::text::readable_debug!(SendError);

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SendErrorKind {
    /// The channel's queue has no room now.
    #[error("the channel's send queue is full")]
    Full,
    /// The channel's queue had no room for as long as a send waits (`Config::send_timeout`).
    #[error("the channel's send queue stayed full")]
    TimedOut,
    /// No reactor of ours owns the channel, or the peer does not know it.
    #[error("no such channel between these nodes")]
    NoSuchChannel,
    /// The message is larger than the channel's capacity; the peer would disconnect us.
    #[error("larger than the channel's message capacity")]
    TooLarge,
    /// The session is over.
    #[error("the session is over")]
    Closed,
    /// A call that may block, made on one of the library's own threads (an init hook).
    #[error("a blocking send on a thread of the switch")]
    WrongThread,
}
