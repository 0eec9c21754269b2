//! The channels of what this node serves, with the descriptors of Tendermint v0.34.24. That of peer
//! exchange, 0x00, belongs to the switch.
//!
//! A channel that is announced is a promise: a node that catches up takes an answer without blocks
//! on 0x40 for the end of the chain, and evidence, votes, block parts and snapshots would be sent
//! here for nothing.

use prost::encoding::encoded_len_varint;
use tmp2p::ChannelDescriptor;

/// Where a node is in consensus.
pub(crate) fn consensus() -> [ChannelDescriptor; 1] {
    [ChannelDescriptor::new(0x20)
        .priority(6)
        .send_queue_capacity(100)
        .recv_message_capacity(1 << 20)]
}

/// Transactions: what a message with the largest one takes.
pub(crate) fn mempool(max_tx_bytes: usize) -> [ChannelDescriptor; 1] {
    let field = |len: usize| 1 + encoded_len_varint(len as u64) + len;
    let capacity = field(field(max_tx_bytes));
    [ChannelDescriptor::new(0x30)
        .priority(5)
        .send_queue_capacity(1)
        .recv_message_capacity(capacity)]
}
