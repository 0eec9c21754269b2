//! One channel's incoming message while it is put together.

use super::{Incoming, MConnError};
use crate::{channel::ChannelDescriptor, ids::ChannelId};

/// Most that is reserved ahead of the data. A peer can make us reserve this much per channel with
/// a few bytes, so it is small; above it buffers double. Without any reservation 64 KiB messages
/// arrive a quarter slower.
const MAX_RESERVED: usize = 64 * 1024;

/// What a small message may waste: allocators give memory in steps of 16 bytes anyway.
const SPARED: usize = 15;

/// The pieces of one channel's current message. Holds no memory between messages.
#[derive(Debug)]
pub(super) struct Reassembly {
    id: ChannelId,
    capacity: usize,
    buffer: Vec<u8>,
    last_size: usize,
}

impl Reassembly {
    pub(super) fn new(descriptor: &ChannelDescriptor) -> Self {
        Self {
            id: descriptor.id,
            capacity: descriptor.recv_message_capacity,
            buffer: Vec::new(),
            last_size: 0,
        }
    }

    pub(super) fn id(&self) -> ChannelId {
        self.id
    }

    /// Bytes of memory held.
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// A packet with this many bytes begins: refused before any of them is stored if the message
    /// would get too large.
    pub(super) fn begin(
        &mut self,
        data_len: usize,
        eof: bool,
        incoming: &mut impl Incoming,
    ) -> Result<(), MConnError> {
        let size = self.buffer.len().saturating_add(data_len);
        if size > self.capacity {
            return Err(MConnError::MessageTooLarge {
                channel: self.id,
                size,
                capacity: self.capacity,
            });
        }
        if self.buffer.capacity() == 0 && data_len != 0 {
            let expected = if eof { data_len } else { data_len.max(self.last_size) };
            self.buffer = incoming.buffer(expected.min(MAX_RESERVED).min(self.capacity));
        }
        Ok(())
    }

    /// Appends a piece of a packet of which `packet_rest` bytes, this piece included, are missing.
    pub(super) fn append(&mut self, piece: &[u8], packet_rest: usize, eof: bool) {
        if self.buffer.capacity() - self.buffer.len() < piece.len() {
            // Checked in `begin`: the packet's end is within the capacity.
            let end = self.buffer.len() + packet_rest;
            grow(&mut self.buffer, piece.len(), if eof { end } else { self.capacity });
        }
        self.buffer.extend_from_slice(piece);
    }

    /// The finished message, in a buffer of about its size.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.buffer);
        self.last_size = message.len();
        // A message may stay with a reactor for long; what it wastes is not in any budget.
        if message.capacity() > message.len() + (message.len() / 8).max(SPARED) {
            message.shrink_to_fit();
        }
        message
    }
}

/// Makes room for `more` bytes in a buffer that will never hold more than `end`: doubles, so that
/// the memory held stays in proportion to what really came.
pub(super) fn grow(buffer: &mut Vec<u8>, more: usize, end: usize) {
    let needed = buffer.len() + more;
    let target = (buffer.capacity() * 2).clamp(needed, end.max(needed));
    buffer.reserve_exact(target - buffer.len());
}
