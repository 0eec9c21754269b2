//! How much a node may say of itself.

/// Largest encoded NodeInfo, bytes without the length in front (`p2p/node_info.go`,
/// `maxNodeInfoSize`). Bounds everything that one is decoded to.
pub const MAX_NODE_INFO_SIZE: usize = 10_240;

/// Most channels that a node may have (`p2p/node_info.go`, `maxNumChannels`).
pub(super) const MAX_CHANNELS: usize = 16;
