//! The packet: the unit of multiplexing, as it stands on the wire.
//!
//! `Packet` is a protobuf oneof {1 ping, 2 pong, 3 msg{1 int32 channel_id, 2 bool eof, 3 bytes data}}
//! behind a varint length (`proto/tendermint/p2p/conn.proto`). Sending writes a header and then
//! the payload's own bytes; receiving recognises the one form that every implementation writes by
//! its header alone; [`Packet::decode`] reads everything else.

use thiserror::Error;

/// A packet, borrowing its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// "Are you there?"
    Ping,
    /// The answer to a ping.
    Pong,
    /// A piece of a message.
    Msg {
        /// As received: anything outside 0–255 is a fault of the peer.
        channel_id: i64,
        /// Whether the message ends here.
        eof: bool,
        /// The piece.
        data: &'a [u8],
    },
}

/// Why bytes are no packet. Only what Go refuses too (gogoproto's generated `Unmarshal`), except
/// that a channel number of more than 64 bits is not cut down to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// A field goes on after the end of its message, or a group has no end.
    #[error("a field is cut off")]
    Truncated,
    /// A varint of more than ten bytes.
    #[error("a varint has more than 64 bits")]
    VarintOverflow,
    /// A known field is encoded as something else.
    #[error("field {field} has wire type {wire_type}")]
    WrongWireType {
        /// Number of the field.
        field: i32,
        /// Its wire type.
        wire_type: u8,
    },
    /// A field number below 1.
    #[error("field number {0}")]
    IllegalField(i32),
    /// Wire type 6 or 7.
    #[error("wire type {0}")]
    IllegalWireType(u8),
    /// The end of a group that has no start.
    #[error("end of a group without its start")]
    UnexpectedEndOfGroup,
    /// A length of 2^63 or more.
    #[error("negative length")]
    NegativeLength,
    /// Well-formed, but neither ping, pong nor msg.
    #[error("unknown kind of packet")]
    UnknownKind,
}

impl<'a> Packet<'a> {
    /// Reads the bytes after the length prefix as Go does: unknown fields are skipped, a repeated
    /// oneof or field replaces the earlier one, varints need not be minimal.
    pub fn decode(body: &'a [u8]) -> Result<Self, PacketError> {
        let mut fields = Fields { rest: body };
        let mut packet = None;
        while let Some((field, wire_type)) = fields.next()? {
            packet = Some(match field {
                1 => {
                    skip_all(fields.message(field, wire_type)?)?;
                    Packet::Ping
                }
                2 => {
                    skip_all(fields.message(field, wire_type)?)?;
                    Packet::Pong
                }
                3 => Self::decode_msg(fields.message(field, wire_type)?)?,
                _ => {
                    fields.skip(wire_type)?;
                    continue;
                }
            });
        }
        packet.ok_or(PacketError::UnknownKind)
    }

    /// Appends the packet with its length prefix. The sending path does not use this: it writes a
    /// header and copies the data once, into the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Ping => out.extend_from_slice(&PING),
            Self::Pong => out.extend_from_slice(&PONG),
            Self::Msg { channel_id, eof, data } => {
                out.extend_from_slice(Header::msg(channel_id, eof, data.len()).as_bytes());
                out.extend_from_slice(data);
            }
        }
    }

    fn decode_msg(body: &'a [u8]) -> Result<Self, PacketError> {
        let mut fields = Fields { rest: body };
        let (mut channel_id, mut eof, mut data) = (0, false, &[][..]);
        while let Some((field, wire_type)) = fields.next()? {
            match field {
                1 => channel_id = fields.int(field, wire_type)?,
                2 => eof = fields.bool(field, wire_type)?,
                3 => data = fields.message(field, wire_type)?,
                _ => fields.skip(wire_type)?,
            }
        }
        Ok(Packet::Msg { channel_id, eof, data })
    }
}

/// A ping with its length prefix.
pub(super) const PING: [u8; 3] = [2, TAG_PING, 0];
/// A pong with its length prefix.
pub(super) const PONG: [u8; 3] = [2, TAG_PONG, 0];

const TAG_PING: u8 = 0x0a;
const TAG_PONG: u8 = 0x12;
const TAG_MSG: u8 = 0x1a;
const TAG_CHANNEL: u8 = 0x08;
const TAG_EOF: u8 = 0x10;
const TAG_DATA: u8 = 0x1a;

/// Everything of a packet before its data, length prefix included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    bytes: [u8; Self::ROOM],
    len: u8,
}

impl Header {
    /// Prefix (10) + tag and length (11) + channel (11) + eof (2) + tag and length (11).
    const ROOM: usize = 45;

    pub(super) fn ping() -> Self {
        let mut header = Self::empty();
        header.put(&PING);
        header
    }

    pub(super) fn pong() -> Self {
        let mut header = Self::empty();
        header.put(&PONG);
        header
    }

    pub(super) fn msg(channel_id: i64, eof: bool, data_len: usize) -> Self {
        let mut header = Self::empty();
        let inner = msg_len(channel_id, eof, data_len);
        header.put_varint((1 + varint_len(inner as u64) + inner) as u64);
        header.put(&[TAG_MSG]);
        header.put_varint(inner as u64);
        if channel_id != 0 {
            header.put(&[TAG_CHANNEL]);
            header.put_varint(channel_id as u64);
        }
        if eof {
            header.put(&[TAG_EOF, 1]);
        }
        if data_len != 0 {
            header.put(&[TAG_DATA]);
            header.put_varint(data_len as u64);
        }
        header
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn empty() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        let at = usize::from(self.len);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len() as u8;
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }
}

/// Length of an encoded msg packet, without its prefix.
pub(super) fn packet_len(channel_id: i64, eof: bool, data_len: usize) -> usize {
    let inner = msg_len(channel_id, eof, data_len);
    1 + varint_len(inner as u64) + inner
}

/// Bytes of the varint.
pub(super) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn msg_len(channel_id: i64, eof: bool, data_len: usize) -> usize {
    let channel = if channel_id == 0 { 0 } else { 1 + varint_len(channel_id as u64) };
    let data = if data_len == 0 { 0 } else { 1 + varint_len(data_len as u64) + data_len };
    channel + usize::from(eof) * 2 + data
}

/// What the first bytes of a packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// The bytes end before the data begins.
    NeedMore,
    /// A ping without anything in it, in so many bytes.
    Ping { len: usize },
    /// The same for a pong.
    Pong { len: usize },
    /// A msg whose last `data_len` bytes, after `header_len`, are the data.
    Msg { header_len: usize, channel_id: i64, eof: bool, data_len: usize },
    /// Anything else: `len` bytes after `prefix_len` for [`Packet::decode`].
    Other { prefix_len: usize, len: usize },
}

/// Longest header that [`recognise`] needs to see: prefix (10), tag and length (1 + 5), channel
/// (1 + 5), eof (2), tag and length (1 + 5).
pub(super) const LONGEST_HEADER: usize = 30;

/// Looks at the beginning of a packet. The error is a length prefix over `limit` (with its value)
/// or one that is no u64 (`None`), both as early as they show.
#[inline]
pub(super) fn recognise(bytes: &[u8], limit: usize) -> Result<Recognised, Option<u64>> {
    let Some((len, prefix_len)) = prefix(bytes)? else { return Ok(Recognised::NeedMore) };
    if len > limit as u64 {
        return Err(Some(len));
    }
    let len = len as usize;
    let body = &bytes[prefix_len..bytes.len().min(prefix_len + len)];
    let mut cursor = Cursor { body, at: 0, len };
    Ok(match cursor.packet() {
        Ok(Usual::Ping) => Recognised::Ping { len: prefix_len + len },
        Ok(Usual::Pong) => Recognised::Pong { len: prefix_len + len },
        Ok(Usual::Msg { channel_id, eof }) => Recognised::Msg {
            header_len: prefix_len + cursor.at,
            channel_id,
            eof,
            data_len: len - cursor.at,
        },
        Err(Unclear::NeedMore) => Recognised::NeedMore,
        Err(Unclear::Other) => Recognised::Other { prefix_len, len },
    })
}

/// The length prefix as Go's `binary.ReadUvarint` takes it, and its own length.
#[inline]
fn prefix(bytes: &[u8]) -> Result<Option<(u64, usize)>, Option<u64>> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        if i == 9 && byte > 1 {
            return Err(None);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Ok(Some((value, i + 1)));
        }
    }
    Ok(None)
}

/// A packet as every implementation writes it.
enum Usual {
    Ping,
    Pong,
    Msg { channel_id: i64, eof: bool },
}

enum Unclear {
    NeedMore,
    Other,
}

/// Reads the header of a packet of `len` bytes, of which `body` is what has come so far.
struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    len: usize,
}

impl Cursor<'_> {
    /// Leaves the cursor at the data.
    #[inline]
    fn packet(&mut self) -> Result<Usual, Unclear> {
        let tag = self.byte()?;
        let is_whole = self.varint()? == self.rest();
        match tag {
            TAG_MSG if is_whole => {
                let (channel_id, eof) = self.msg()?;
                Ok(Usual::Msg { channel_id, eof })
            }
            TAG_PING if is_whole && self.rest() == 0 => Ok(Usual::Ping),
            TAG_PONG if is_whole && self.rest() == 0 => Ok(Usual::Pong),
            _ => Err(Unclear::Other),
        }
    }

    #[inline]
    fn msg(&mut self) -> Result<(i64, bool), Unclear> {
        let (mut channel_id, mut eof) = (0, false);
        if self.rest() == 0 {
            return Ok((channel_id, eof));
        }
        let mut tag = self.byte()?;
        if tag == TAG_CHANNEL {
            channel_id = self.varint()? as i64;
            if self.rest() == 0 {
                return Ok((channel_id, eof));
            }
            tag = self.byte()?;
        }
        if tag == TAG_EOF {
            if self.byte()? != 1 {
                return Err(Unclear::Other);
            }
            eof = true;
            if self.rest() == 0 {
                return Ok((channel_id, eof));
            }
            tag = self.byte()?;
        }
        if tag == TAG_DATA && self.varint()? == self.rest() {
            Ok((channel_id, eof))
        } else {
            Err(Unclear::Other)
        }
    }

    /// Bytes of the packet after the cursor, come or not.
    #[inline]
    fn rest(&self) -> u64 {
        (self.len - self.at) as u64
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Unclear> {
        match self.body.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None if self.at < self.len => Err(Unclear::NeedMore),
            None => Err(Unclear::Other),
        }
    }

    /// Up to five bytes: enough for every length, and a longer channel number is not usual.
    #[inline]
    fn varint(&mut self) -> Result<u64, Unclear> {
        let mut value = 0;
        for i in 0..5 {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unclear::Other)
    }
}

/// Cursor over the fields of a message, with the checks of gogoproto's generated code.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Number and wire type of the next field; `None` at the end.
    fn next(&mut self) -> Result<Option<(i32, u8)>, PacketError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        // Go keeps 32 bits of the number.
        let (field, wire_type) = ((key >> 3) as i32, key as u8 & 7);
        if wire_type == 4 {
            return Err(PacketError::UnexpectedEndOfGroup);
        }
        if field <= 0 {
            return Err(PacketError::IllegalField(field));
        }
        Ok(Some((field, wire_type)))
    }

    fn message(&mut self, field: i32, wire_type: u8) -> Result<&'a [u8], PacketError> {
        expect_wire_type(field, wire_type, 2)?;
        let len = self.length()?;
        self.take(len)
    }

    fn int(&mut self, field: i32, wire_type: u8) -> Result<i64, PacketError> {
        expect_wire_type(field, wire_type, 0)?;
        let start = self.rest;
        let value = self.varint()?;
        // Where Go drops the bits above the 64th, a channel would take the place of another.
        if start.len() - self.rest.len() == 10 && start[9] > 1 {
            return Err(PacketError::VarintOverflow);
        }
        Ok(value as i64)
    }

    fn bool(&mut self, field: i32, wire_type: u8) -> Result<bool, PacketError> {
        expect_wire_type(field, wire_type, 0)?;
        Ok(self.varint()? != 0)
    }

    /// Skips the value of an unknown field, groups with all that is in them. As in Go, neither the
    /// numbers of fields inside nor that of the end are looked at. No recursion: a depth is all it
    /// takes, so nesting costs nothing.
    fn skip(&mut self, mut wire_type: u8) -> Result<(), PacketError> {
        let mut depth = 0usize;
        loop {
            match wire_type {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let len = self.length()?;
                    self.take(len)?;
                }
                3 => depth += 1,
                4 => {
                    depth = depth.checked_sub(1).ok_or(PacketError::UnexpectedEndOfGroup)?;
                }
                5 => {
                    self.take(4)?;
                }
                other => return Err(PacketError::IllegalWireType(other)),
            }
            if depth == 0 {
                return Ok(());
            }
            wire_type = self.varint()? as u8 & 7;
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], PacketError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(PacketError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, PacketError> {
        let len = i64::try_from(self.varint()?).map_err(|_| PacketError::NegativeLength)?;
        usize::try_from(len).map_err(|_| PacketError::Truncated)
    }

    /// Up to ten bytes; as in Go, bits above the 64th are dropped.
    fn varint(&mut self) -> Result<u64, PacketError> {
        let mut value = 0;
        for i in 0..10 {
            let (&byte, rest) = self.rest.split_first().ok_or(PacketError::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PacketError::VarintOverflow)
    }
}

fn skip_all(body: &[u8]) -> Result<(), PacketError> {
    let mut fields = Fields { rest: body };
    while let Some((_, wire_type)) = fields.next()? {
        fields.skip(wire_type)?;
    }
    Ok(())
}

fn expect_wire_type(field: i32, wire_type: u8, expected: u8) -> Result<(), PacketError> {
    if wire_type == expected {
        Ok(())
    } else {
        Err(PacketError::WrongWireType { field, wire_type })
    }
}
