//! Small identifiers that every layer shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of a channel, the unit of multiplexing on a connection: one byte on the wire.
///
/// A reactor owns one or more channels; no two reactors of a switch share one. Compared with numbers
/// as a number: `envelope.channel() == 0x20`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChannelId(u8);

impl ChannelId {
    /// The channel of peer exchange.
    #[doc(alias = "PexChannel")]
    pub const PEX: Self = Self(0x00);

    /// The channel with this number.
    pub const fn new(id: u8) -> Self {
        Self(id)
    }

    /// The number as it stands on the wire.
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

impl From<u8> for ChannelId {
    fn from(id: u8) -> Self {
        Self(id)
    }
}

impl PartialEq<u8> for ChannelId {
    fn eq(&self, number: &u8) -> bool {
        self.0 == *number
    }
}

impl PartialEq<ChannelId> for u8 {
    fn eq(&self, channel: &ChannelId) -> bool {
        channel == self
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The remote node dialed us.
    Inbound,
    /// We dialed the remote node.
    Outbound,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        })
    }
}

/// Names one connection for as long as the process lives: event loop, slot in that loop, and the
/// generation of the slot, so that a late command can never reach the slot's next tenant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// Slots of one event loop: 24 bits.
    pub const MAX_SLOT: u32 = (1 << 24) - 1;

    /// # Panics
    /// If `slot` is above [`ConnId::MAX_SLOT`].
    pub const fn new(event_loop: u8, slot: u32, generation: u32) -> Self {
        assert!(slot <= Self::MAX_SLOT);
        Self((event_loop as u64) << 56 | (slot as u64) << 32 | generation as u64)
    }

    /// Number of the event loop that owns the connection.
    pub const fn event_loop(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// Slot in the loop's table, and the token of the socket.
    pub const fn slot(self) -> u32 {
        (self.0 >> 32) as u32 & Self::MAX_SLOT
    }

    /// How often the slot had been used before, modulo 2^32.
    pub const fn generation(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.event_loop(), self.slot(), self.generation())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_equals_its_number_in_both_directions() {
        let channel = ChannelId::new(0x20);
        assert_eq!(channel, 0x20);
        assert_eq!(0x20, channel);
        assert_ne!(channel, 0x21);
        assert_ne!(0x21, channel);
    }

    #[test]
    fn conn_id_keeps_its_parts_apart() {
        for (event_loop, slot, generation) in
            [(0, 0, 0), (255, ConnId::MAX_SLOT, u32::MAX), (1, 2, 3), (0, ConnId::MAX_SLOT, 0)]
        {
            let id = ConnId::new(event_loop, slot, generation);
            assert_eq!(
                (id.event_loop(), id.slot(), id.generation()),
                (event_loop, slot, generation)
            );
        }
    }
}
