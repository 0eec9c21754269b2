//! The channels of a complete node, with the descriptors of Tendermint v0.34.24. That of peer
//! exchange, 0x00, belongs to the switch.

use tmp2p::ChannelDescriptor;

const MIB: usize = 1 << 20;

/// Blocks. One message carries a block, of at most 100 MiB.
pub(crate) fn block_sync() -> [ChannelDescriptor; 1] {
    [channel(0x40, 5, 1000, 100 * MIB + 5)]
}

/// Round steps, proposals and block parts, votes, vote sets.
pub(crate) fn consensus() -> [ChannelDescriptor; 4] {
    [
        channel(0x20, 6, 100, MIB),
        channel(0x21, 10, 100, MIB),
        channel(0x22, 7, 100, MIB),
        channel(0x23, 1, 2, MIB),
    ]
}

/// Transactions. A message carries one of at most 1 MiB, and the 8 bytes around it.
pub(crate) fn mempool() -> [ChannelDescriptor; 1] {
    [channel(0x30, 5, 1, MIB + 8)]
}

/// Evidence of misbehaviour.
pub(crate) fn evidence() -> [ChannelDescriptor; 1] {
    [channel(0x38, 6, 1, MIB)]
}

/// Snapshots of the application's state and their chunks.
pub(crate) fn state_sync() -> [ChannelDescriptor; 2] {
    [channel(0x60, 5, 10, 4_000_000), channel(0x61, 3, 10, 16_000_000)]
}

fn channel(id: u8, priority: u32, queue: usize, capacity: usize) -> ChannelDescriptor {
    ChannelDescriptor::new(id)
        .priority(priority)
        .send_queue_capacity(queue)
        .recv_message_capacity(capacity)
}
