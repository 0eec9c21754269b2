//! Why a connection ends: always for what the peer did.

use thiserror::Error;

use super::packet::PacketError;
use crate::{ids::ChannelId, protocol::wire::DecodeError};

/// What the peer did wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MConnError {
    /// Not a byte came for the pong time-out after a ping.
    #[error("the peer did not answer a ping")]
    PongTimeout,
    /// A packet for a channel that we do not have, or that is no channel number at all.
    #[error("packet for unknown channel {0}")]
    UnknownChannel(i64),
    /// A packet's length is over the limit.
    #[error("packet of {size} bytes, {limit} are allowed")]
    PacketTooLarge {
        /// Announced length in bytes, without the prefix.
        size: u64,
        /// Largest that is allowed.
        limit: usize,
    },
    /// A message is larger than its channel's `recv_message_capacity`.
    #[error("message of {size} bytes or more on channel {channel}, {capacity} are allowed")]
    MessageTooLarge {
        /// The channel.
        channel: ChannelId,
        /// Bytes announced so far.
        size: usize,
        /// The channel's capacity.
        capacity: usize,
    },
    /// Bytes that are no packet.
    #[error("malformed packet: {0}")]
    Malformed(#[source] DecodeError),
    /// A packet that is neither ping, pong nor part of a message.
    #[error("unknown kind of packet")]
    UnknownPacket,
}

impl From<PacketError> for MConnError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::UnknownKind => Self::UnknownPacket,
            PacketError::Malformed(error) => Self::Malformed(error),
        }
    }
}
