//! Why a connection's protocol ends.

use super::limits::MAX_NODE_INFO_FRAMES;
use crate::{
    identity::NodeId,
    node_info::{Incompatible, MAX_NODE_INFO_SIZE, NodeInfoError},
    protocol::{
        mconn::MConnError,
        secret::{FrameError, HandshakeError, NonceExhausted},
    },
};

/// What the peer did wrong, or that it is not the peer we want.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The secret connection could not be established.
    #[error("secret connection: {0}")]
    Handshake(HandshakeError),
    /// A frame is not authentic, or empty once too often.
    #[error("sealed frame: {0}")]
    Frame(FrameError),
    /// The counter of our own frames is used up.
    #[error("{0}")]
    Nonce(NonceExhausted),
    /// The dialed node is somebody else.
    #[error("wrong node: dialed {expected}, authenticated as {actual}")]
    WrongId {
        /// The ID that was dialed.
        expected: NodeId,
        /// The ID that was authenticated.
        actual: NodeId,
    },
    /// The peer has our own key.
    #[error("connected to ourselves")]
    SelfConnection,
    /// The peer announces a NodeInfo larger than any may be.
    #[error("node info of {0} bytes, the limit is {MAX_NODE_INFO_SIZE}")]
    NodeInfoTooLarge(u64),
    /// The peer's NodeInfo was not complete after [`MAX_NODE_INFO_FRAMES`] frames.
    #[error("node info in more than {MAX_NODE_INFO_FRAMES} frames")]
    NodeInfoFrames,
    /// The peer's NodeInfo has no readable length.
    #[error("node info without a length")]
    NodeInfoLength,
    /// The peer's NodeInfo cannot be read or is not valid.
    #[error("node info: {0}")]
    NodeInfo(NodeInfoError),
    /// The peer's NodeInfo names another ID than the one it authenticated.
    #[error("node info of {}, who has authenticated as {authenticated}", claimant(.claimed))]
    ForeignNodeInfo {
        /// The ID in the NodeInfo.
        claimed: Option<NodeId>,
        /// The ID that was authenticated.
        authenticated: NodeId,
    },
    /// The peer cannot be a peer of ours.
    #[error("incompatible: {0}")]
    Incompatible(Incompatible),
    /// The peer broke the rules of the multiplexed connection, or did not answer a ping.
    #[error("{0}")]
    MConn(MConnError),
}

fn claimant(claimed: &Option<NodeId>) -> String {
    claimed.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

impl LinkError {
    /// A stable snake_case word, see [`DisconnectReason::kind`](crate::DisconnectReason::kind).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Handshake(_) | Self::Frame(_) => "auth_failure",
            Self::WrongId { .. } => "wrong_id",
            Self::SelfConnection => "self",
            Self::Incompatible(_) => "incompatible",
            Self::MConn(MConnError::PongTimeout) => "pong_timeout",
            _ => "protocol",
        }
    }

    /// Whether the peer did nothing wrong, so that it is to get what was sent before the error and
    /// an orderly end: it then finds its own reason (we are as incompatible to it as it is to us)
    /// and not just a broken connection.
    pub fn is_polite(&self) -> bool {
        matches!(
            self,
            Self::Incompatible(_) | Self::NodeInfo(_) | Self::SelfConnection | Self::WrongId { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monitors group by these words, and programs count by them: they are part of what is promised.
    #[test]
    fn each_kind_of_error_has_its_word() {
        let (expected, actual) = (NodeId::from_bytes([1; 20]), NodeId::from_bytes([2; 20]));
        let channels = Incompatible::NoCommonChannel { ours: vec![], theirs: vec![] };
        let blocks = Incompatible::BlockProtocol { ours: 11, theirs: 10 };
        for (error, word) in [
            (LinkError::WrongId { expected, actual }, "wrong_id"),
            (LinkError::SelfConnection, "self"),
            (LinkError::Incompatible(channels), "incompatible"),
            (LinkError::Incompatible(blocks), "incompatible"),
            (LinkError::Handshake(HandshakeError::LowOrderKey), "auth_failure"),
            (LinkError::NodeInfoLength, "protocol"),
            (LinkError::MConn(MConnError::PongTimeout), "pong_timeout"),
        ] {
            assert_eq!(error.kind(), word, "{error}");
        }
    }

    #[test]
    fn a_node_info_of_somebody_else_is_told_with_both_names() {
        let [claimed, authenticated] = [1, 2].map(|n| NodeId::from_bytes([n; 20]));
        let text = |claimed| LinkError::ForeignNodeInfo { claimed, authenticated }.to_string();
        assert_eq!(
            text(Some(claimed)),
            format!("node info of {claimed}, who has authenticated as {authenticated}")
        );
        assert!(text(None).starts_with("node info of nobody, who"), "{}", text(None));
    }
}
