//! What a stranger can make us hold and do before it has proven who it is.

use crate::protocol::wire::MAX_VARINT;

/// Longest authentication message accepted, in bytes without its length prefix.
///
/// Whoever sends it has not proven anything yet, so this is what a stranger can make us hold. A
/// real one has 102 bytes; the rest is room for fields of later versions. (Go takes 1 MiB.)
pub const MAX_AUTH: usize = 256;

/// How many frames a peer may use for its authentication message.
///
/// Each costs us about 0.6 µs and the peer has proven nothing yet. The number is that of the
/// longest message sent byte by byte: all of them together cost less than two steps of the
/// handshake, and a peer that sends more is not getting anywhere.
pub const MAX_AUTH_FRAMES: usize = MAX_AUTH + MAX_VARINT;
