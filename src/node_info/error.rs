//! Why a NodeInfo is refused.

use std::fmt;

use super::limits::{MAX_CHANNELS, MAX_NODE_INFO_SIZE};
use crate::{AddressError, ChannelId, protocol::wire::DecodeError};

/// A NodeInfo that nodes do not accept. What it quotes is shortened and made printable.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeInfoError {
    /// More than [`MAX_NODE_INFO_SIZE`] bytes.
    #[error("a node info of {found} bytes is larger than {MAX_NODE_INFO_SIZE}")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// Not the protobuf message, or text in it that is not UTF-8.
    #[error("undecodable node info: {reason}")]
    Malformed {
        /// What the decoder stumbled over.
        reason: String,
    },
    /// ID and listen address do not make an address.
    #[error("id and listen address of a node info: {0}")]
    ListenAddress(#[source] AddressError),
    /// The version is set and not printable ASCII, or blank.
    #[error("the version \"{found}\" is blank or not printable ascii")]
    Version {
        /// The version.
        found: String,
    },
    /// More than 16 channels.
    #[error("{found} channels are more than {MAX_CHANNELS}")]
    TooManyChannels {
        /// How many there are.
        found: usize,
    },
    /// A channel is listed twice.
    #[error("channel {0} is listed twice")]
    DuplicateChannel(ChannelId),
    /// The moniker is empty, blank or not printable ASCII.
    #[error("the moniker \"{found}\" is blank or not printable ascii")]
    Moniker {
        /// The moniker.
        found: String,
    },
    /// Neither "on" nor "off" nor empty.
    #[error("tx_index is \"{found}\", neither on nor off")]
    TxIndex {
        /// What it is.
        found: String,
    },
    /// The RPC address is set and not printable ASCII, or blank.
    #[error("the rpc address \"{found}\" is blank or not printable ascii")]
    RpcAddress {
        /// The address.
        found: String,
    },
    /// Our own network was left empty.
    #[error("the network (chain id) is empty")]
    Network,
}

crate::text::readable_debug!(NodeInfoError);

impl From<DecodeError> for NodeInfoError {
    fn from(error: DecodeError) -> Self {
        Self::Malformed { reason: error.to_string() }
    }
}

/// Two nodes that have nothing to say to each other. What it quotes is shortened and made
/// printable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatible {
    /// They speak of different blocks.
    BlockProtocol {
        /// Our version.
        ours: u64,
        /// The peer's.
        theirs: u64,
    },
    /// They belong to different chains.
    Network {
        /// Our chain ID.
        ours: String,
        /// The peer's.
        theirs: String,
    },
    /// They have no channel in common. Of each side at most 16 are shown.
    NoCommonChannel {
        /// Our channels.
        ours: Vec<ChannelId>,
        /// The peer's.
        theirs: Vec<ChannelId>,
    },
}

impl std::error::Error for Incompatible {}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockProtocol { ours, theirs } => {
                write!(f, "the peer has block protocol {theirs}, we have {ours}")
            }
            Self::Network { ours, theirs } => {
                write!(f, "the peer is on network \"{theirs}\", we are on \"{ours}\"")
            }
            Self::NoCommonChannel { ours, theirs } => {
                write!(f, "the peer has channels {theirs:?}, none of ours {ours:?}")
            }
        }
    }
}
