//! The packet: the unit of multiplexing, as it stands on the wire.
//!
//! `Packet` is a protobuf oneof {1 ping, 2 pong, 3 msg{1 int32 channel_id, 2 bool eof, 3 bytes data}}
//! behind a varint length (`proto/tendermint/p2p/conn.proto`). Sending writes a header and then
//! the payload's own bytes; receiving recognises the one form that every implementation writes by
//! its header alone; [`Packet::decode`] reads everything else, with the reader of all messages.

use thiserror::Error;

use crate::protocol::wire::{DecodeError, Fields, decode_varint, varint_len};

/// A packet, borrowing its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "PacketMsg")]
#[doc(alias = "PacketPing")]
#[doc(alias = "PacketPong")]
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

/// Why bytes are no packet. Only what Go refuses, too, and channel numbers of more than 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// No Protocol Buffers message.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Well-formed, but neither ping, pong nor msg.
    #[error("unknown kind of packet")]
    UnknownKind,
}

impl<'a> Packet<'a> {
    /// Reads the bytes after the length prefix as Go does: unknown fields are skipped, a repeated
    /// oneof or field replaces the earlier one, varints need not be minimal.
    pub fn decode(body: &'a [u8]) -> Result<Self, PacketError> {
        let mut packet = None;
        for field in Fields::new(body) {
            let field = field?;
            packet = Some(match field.number {
                1 => {
                    Fields::new(field.bytes()?).check()?;
                    Packet::Ping
                }
                2 => {
                    Fields::new(field.bytes()?).check()?;
                    Packet::Pong
                }
                3 => Self::decode_msg(field.bytes()?)?,
                _ => continue,
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

    fn decode_msg(body: &'a [u8]) -> Result<Self, DecodeError> {
        let (mut channel_id, mut eof, mut data) = (0, false, &[][..]);
        for field in Fields::new(body) {
            let field = field?;
            match field.number {
                // Where Go drops the bits above the 64th, a channel would take the place of another.
                1 => channel_id = field.whole_varint()? as i64,
                2 => eof = field.varint()? != 0,
                3 => data = field.bytes()?,
                _ => {}
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
        header.put_varint(delimited_len(inner).saturating_add(1) as u64);
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

    #[expect(clippy::indexing_slicing, reason = "`len` is what was put, which has room")]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn empty() -> Self {
        Self { bytes: [0; Self::ROOM], len: 0 }
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "`ROOM` is the sum of the longest parts, and a header has each part once"
    )]
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

/// Length of an encoded msg packet, without its prefix. A limit on the data may be any number: where the
/// sum has no room in a `usize` it is the largest one.
pub(super) fn packet_len(channel_id: i64, eof: bool, data_len: usize) -> usize {
    delimited_len(msg_len(channel_id, eof, data_len)).saturating_add(1)
}

fn msg_len(channel_id: i64, eof: bool, data_len: usize) -> usize {
    let channel = if channel_id == 0 { 0 } else { varint_len(channel_id as u64).saturating_add(1) };
    let data = if data_len == 0 { 0 } else { delimited_len(data_len).saturating_add(1) };
    data.saturating_add(channel).saturating_add(if eof { 2 } else { 0 })
}

/// So many bytes with their length in front.
pub(super) fn delimited_len(len: usize) -> usize {
    varint_len(len as u64).saturating_add(len)
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
#[expect(clippy::arithmetic_side_effects, reason = "prefix and header are at most 30 bytes long")]
pub(super) fn recognise(bytes: &[u8], limit: usize) -> Result<Recognised, Option<u64>> {
    let prefix = decode_varint(bytes).map_err(|_| None)?;
    let Some((len, prefix_len)) = prefix else { return Ok(Recognised::NeedMore) };
    if len > limit as u64 {
        return Err(Some(len));
    }
    let len = len as usize;
    let body = bytes.get(prefix_len..).unwrap_or_default();
    let body = body.get(..len).unwrap_or(body);
    let mut cursor = Cursor { body, at: 0, len };
    let usual = cursor.packet();
    let (header_len, data_len) = (prefix_len + cursor.at, cursor.rest());
    Ok(match usual {
        Ok(Usual::Ping) => Recognised::Ping { len: header_len },
        Ok(Usual::Pong) => Recognised::Pong { len: header_len },
        Ok(Usual::Msg { channel_id, eof }) => {
            Recognised::Msg { header_len, channel_id, eof, data_len }
        }
        Err(Unclear::NeedMore) => Recognised::NeedMore,
        Err(Unclear::Other) => Recognised::Other { prefix_len, len },
    })
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
        let is_whole = self.varint()? == self.rest() as u64;
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
        if tag == TAG_DATA && self.varint()? == self.rest() as u64 {
            Ok((channel_id, eof))
        } else {
            Err(Unclear::Other)
        }
    }

    /// Bytes of the packet after the cursor, come or not.
    #[inline]
    fn rest(&self) -> usize {
        self.len.saturating_sub(self.at)
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, Unclear> {
        match self.body.get(self.at) {
            Some(&byte) => {
                self.at = self.at.saturating_add(1);
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
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Unclear::Other)
    }
}
