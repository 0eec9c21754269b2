//! Messages of channel 0x00 (`proto/tendermint/p2p/pex.proto`).

use std::net::IpAddr;

use crate::{
    address::NetAddress,
    channel::ChannelDescriptor,
    identity::NodeId,
    ids::ChannelId,
    protocol::wire::{DecodeError, Fields, put_bytes_field, put_message_field, put_varint_field},
    text::{Ipv4Text, shown},
};

use PexMessageError::Undecodable;

/// The channel of peer exchange.
pub const CHANNEL: ChannelId = ChannelId::PEX;

/// Addresses in one message (`p2p/pex/pex_reactor.go`: `maxMsgSize` is for 250). More would cost
/// the receiver an allocation each: a message of 64,000 bytes holds 32,000 empty ones.
pub const MAX_ADDRS: usize = 250;

/// Bytes of a message (`maxMsgSize`: 250 addresses of 256 bytes).
pub const MAX_MESSAGE_SIZE: usize = 64_000;

/// Longest node ID worth looking at: 40 digits. Longer text is no ID.
const MAX_ID: usize = 40;

/// Longest text of an IP address: 45 characters for IPv6 with an IPv4 tail.
const MAX_IP: usize = 45;

/// The channel as the reference describes it (`p2p/pex/pex_reactor.go`, `GetChannels`).
pub fn channel() -> ChannelDescriptor {
    let channel = ChannelDescriptor::new(CHANNEL).priority(1).send_queue_capacity(10);
    channel.recv_message_capacity(MAX_MESSAGE_SIZE)
}

/// A message of peer exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PexMessage {
    /// Send me addresses.
    Request,
    /// Addresses, as the answer to a request. Entries without a usable ID were left out.
    Addrs(Vec<NetAddress>),
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PexMessageError {
    /// No message at all, which may be an accident.
    #[error("undecodable message: {0}")]
    Undecodable(#[source] DecodeError),
    /// Neither a request nor addresses.
    #[error("neither a request nor addresses")]
    Unknown,
    /// More addresses than one message may have.
    #[error("more than {MAX_ADDRS} addresses in a message")]
    TooMany,
    /// This is no IP address.
    #[error("invalid IP address {0:?}")]
    Ip(String),
    /// This is no port.
    #[error("invalid port {0}")]
    Port(u32),
}

impl PexMessageError {
    /// Whether no honest node sends this, whatever it runs.
    pub fn is_abuse(&self) -> bool {
        match self {
            Self::Undecodable(_) | Self::Unknown => false,
            Self::TooMany | Self::Ip(_) | Self::Port(_) => true,
        }
    }
}

impl PexMessage {
    /// Decodes a message. The last of several parts counts, if all of them are well-formed; unknown fields
    /// do not count; as in the reference.
    ///
    /// # Errors
    /// See [`PexMessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PexMessageError> {
        let mut last = None;
        for field in Fields::new(bytes) {
            let field = field.map_err(Undecodable)?;
            match field.number {
                1 => {
                    // Nothing is in it, but it must be a message.
                    let request = field.bytes().map_err(Undecodable)?;
                    Fields::new(request).check().map_err(Undecodable)?;
                    last = Some(None);
                }
                2 => {
                    let addrs = field.bytes().map_err(Undecodable)?;
                    check_addrs(addrs).map_err(Undecodable)?;
                    last = Some(Some(addrs));
                }
                _ => {}
            }
        }
        match last {
            None => Err(PexMessageError::Unknown),
            Some(None) => Ok(Self::Request),
            Some(Some(addrs)) => decode_addrs(addrs).map(Self::Addrs),
        }
    }

    /// Encodes it. The first [`MAX_ADDRS`] addresses: they fit into [`MAX_MESSAGE_SIZE`] whatever
    /// they are.
    pub fn encode(&self) -> Vec<u8> {
        let (mut body, mut entry) = (Vec::new(), Vec::new());
        let number = match self {
            Self::Request => 1,
            Self::Addrs(addrs) => {
                for addr in addrs.iter().take(MAX_ADDRS) {
                    entry.clear();
                    put_bytes_field(1, &addr.id().digits(), &mut entry);
                    match addr.ip() {
                        IpAddr::V4(ip) => {
                            put_bytes_field(2, Ipv4Text::of(ip).as_str().as_bytes(), &mut entry);
                        }
                        IpAddr::V6(ip) => put_bytes_field(2, ip.to_string().as_bytes(), &mut entry),
                    }
                    put_varint_field(3, addr.port().into(), &mut entry);
                    put_message_field(1, &entry, &mut body);
                }
                2
            }
        };
        let mut message = Vec::with_capacity(body.len().saturating_add(4));
        put_message_field(number, &body, &mut message);
        message
    }
}

/// Whether it is a list of addresses, whatever stands in them.
fn check_addrs(message: &[u8]) -> Result<(), DecodeError> {
    for field in Fields::new(message) {
        let field = field?;
        if field.number != 1 {
            continue;
        }
        for field in Fields::new(field.bytes()?) {
            let field = field?;
            match field.number {
                1 | 2 => _ = field.bytes()?,
                3 => _ = field.varint()?,
                _ => {}
            }
        }
    }
    Ok(())
}

/// Counts the entries before it reads any of them.
fn decode_addrs(message: &[u8]) -> Result<Vec<NetAddress>, PexMessageError> {
    let mut count = 0;
    for field in Fields::new(message) {
        if field.map_err(Undecodable)?.number == 1 {
            count = 1_usize.saturating_add(count);
        }
        if count > MAX_ADDRS {
            return Err(PexMessageError::TooMany);
        }
    }
    let mut addrs = Vec::with_capacity(count);
    for field in Fields::new(message) {
        let field = field.map_err(Undecodable)?;
        if field.number == 1 {
            addrs.extend(decode_addr(field.bytes().map_err(Undecodable)?)?);
        }
    }
    Ok(addrs)
}

/// One address; `None` without a usable ID, which condemns the entry and not the list.
fn decode_addr(entry: &[u8]) -> Result<Option<NetAddress>, PexMessageError> {
    let (mut id, mut ip, mut port) = (&[][..], &[][..], 0);
    for field in Fields::new(entry) {
        let field = field.map_err(Undecodable)?;
        match field.number {
            1 => id = field.bytes().map_err(Undecodable)?,
            2 => ip = field.bytes().map_err(Undecodable)?,
            // The low 32 bits, as the reference reads a uint32.
            3 => port = field.varint().map_err(Undecodable)? as u32,
            _ => {}
        }
    }
    fn text(bytes: &[u8], most: usize) -> Option<&str> {
        std::str::from_utf8(bytes).ok().filter(|text| text.len() <= most)
    }
    let ip = text(ip, MAX_IP)
        .and_then(|ip| ip.parse::<IpAddr>().ok())
        .ok_or_else(|| PexMessageError::Ip(shown(&String::from_utf8_lossy(ip))))?;
    let port = u16::try_from(port).map_err(|_| PexMessageError::Port(port))?;
    let id = text(id, MAX_ID).and_then(|id| id.parse::<NodeId>().ok());
    Ok(id.map(|id| NetAddress::new(id, ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_parts_the_last_counts_and_all_have_to_be_messages() {
        let (request, list) = ([0x0a, 0], [0x12, 0]);
        let decode = |parts: [&[u8]; 2]| PexMessage::decode(&parts.concat());
        assert_eq!(decode([&list, &request]), Ok(PexMessage::Request));
        assert_eq!(decode([&request, &list]), Ok(PexMessage::Addrs(Vec::new())));
        // A field without an end, an entry that is a number, an entry whose ID is one.
        for bad in [&[0x12, 1, 0x0a][..], &[0x12, 2, 0x08, 1], &[0x12, 4, 0x0a, 2, 0x08, 1]] {
            for parts in [[bad, &request], [bad, &list], [&request, bad]] {
                let error = decode(parts).unwrap_err();
                assert!(matches!(error, Undecodable(_)), "{parts:02x?}: {error}");
            }
        }
        // That an earlier one has no address in it is nobody's business.
        assert_eq!(decode([&[0x12, 2, 0x0a, 0], &request]), Ok(PexMessage::Request));
    }

    #[test]
    fn fields_that_nobody_knows_are_skipped_wherever_they_stand() {
        let addr = NetAddress::new(NodeId::from_bytes([1; 20]), [50, 1, 1, 1].into(), 26656);
        let mut entry = Vec::new();
        put_varint_field(9, 9, &mut entry);
        put_bytes_field(1, addr.id().to_string().as_bytes(), &mut entry);
        put_bytes_field(2, addr.ip().to_string().as_bytes(), &mut entry);
        put_varint_field(3, addr.port().into(), &mut entry);
        put_varint_field(9, 9, &mut entry);
        let mut list = Vec::new();
        put_bytes_field(8, b"new", &mut list);
        put_message_field(1, &entry, &mut list);
        let mut message = Vec::new();
        put_message_field(2, &list, &mut message);
        assert_eq!(PexMessage::decode(&message), Ok(PexMessage::Addrs(vec![addr])));
        // Nor where the list is none that counts: a later part takes its place.
        put_message_field(1, &[], &mut message);
        assert_eq!(PexMessage::decode(&message), Ok(PexMessage::Request));
    }
}
