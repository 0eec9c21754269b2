//! One channel's incoming message while it is put together.

use super::{Incoming, MConnError};
use crate::{channel::ChannelDescriptor, ids::ChannelId, payload::buffer_size};

/// Most that is reserved ahead of the data. A peer can make us reserve this much per channel with
/// a few bytes, so it is small. Without any reservation 64 KiB messages arrive a quarter slower. A part of a
/// block (64 KiB) with what proves where it belongs fits.
///
/// Memory comes in the sizes of [`buffer_size`], so that it may be an eighth more than a channel's capacity.
pub(crate) const MAX_RESERVED: usize = buffer_size(65 << 10);

/// What larger messages begin with. Buffers double, so theirs are powers of two, as many messages are.
const LARGE_BEGINS: usize = 64 << 10;

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
            let reserved = if expected <= MAX_RESERVED { expected } else { LARGE_BEGINS };
            self.buffer = incoming.buffer(reserved.min(self.capacity));
        }
        Ok(())
    }

    /// Appends a piece of a packet of which `packet_rest` bytes, this piece included, are missing.
    pub(super) fn append(&mut self, piece: &[u8], packet_rest: usize, eof: bool) {
        // Checked in `begin`: the packet's end is within the capacity.
        let end = self.buffer.len().saturating_add(packet_rest);
        grow(&mut self.buffer, piece.len(), if eof { end } else { self.capacity });
        self.buffer.extend_from_slice(piece);
    }

    /// The finished message, in a buffer of about its size.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.buffer);
        self.last_size = message.len();
        // A message may stay with a reactor for long.
        message.shrink_to(buffer_size(message.len()));
        message
    }
}

/// Makes room for `more` bytes in a buffer that will never hold more than `end`: doubles, so that
/// the memory held stays in proportion to what really came.
pub(super) fn grow(buffer: &mut Vec<u8>, more: usize, end: usize) {
    let needed = buffer.len().saturating_add(more);
    if needed > buffer.capacity() {
        let target = buffer.capacity().saturating_mul(2).clamp(needed, end.max(needed));
        buffer.reserve_exact(target.saturating_sub(buffer.len()));
    }
}
