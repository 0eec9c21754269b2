//! What a peer that is known can make us do before messages flow.

/// How many frames a peer may use for its NodeInfo: 267 KB on the wire, for 10 KB in 11 frames at
/// most as everybody writes it. Each costs us about 0.6 µs whatever is in it, so all of them cost less
/// than one and a half of the steps before; without the limit, frames of one byte with empty ones
/// between them are 174,080.
pub const MAX_NODE_INFO_FRAMES: usize = 256;
