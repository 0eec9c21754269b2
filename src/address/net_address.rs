//! An ID and an IP address.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use super::{AddressError, GroupKey, Host, ranges, split};
use crate::NodeId;

/// A node and where it is reached: `id@ip:port`. What the address book keeps and peers exchange.
///
/// An IPv4-mapped IPv6 address becomes the IPv4 address that it stands for, or bans, group keys and
/// rules per IP would not see that the two are the same. Parsing never resolves a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetAddress {
    id: NodeId,
    ip: IpAddr,
    port: u16,
}

impl NetAddress {
    /// The address of this node.
    pub fn new(id: NodeId, ip: IpAddr, port: u16) -> Self {
        Self { id, ip: ip.to_canonical(), port }
    }

    /// The node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its IP address, never an IPv4-mapped one.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its TCP port. 0 parses, though nobody can be reached there.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to connect a socket to.
    pub fn socket_addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Whether the IP address can be anybody's at all: not unspecified, not 255.255.255.255, not
    /// 2001:db8::/32. An address that is not valid is never booked or dialed.
    pub fn is_valid(&self) -> bool {
        ranges::is_valid(self.ip)
    }

    /// Whether the address can be reached from anywhere on the internet.
    ///
    /// Beyond what the reference refuses (invalid, private, link-local, loopback and 0.0.0.0/8)
    /// multicast, 240.0.0.0/4, 192.0.0.0/24, 198.18.0.0/15 and the documentation ranges are not
    /// routable: nobody answers there, so they would only serve to fill a book with rubbish. Nor are
    /// NAT64, 6to4 and Teredo addresses of an IPv4 address that is not. 100.64.0.0/10 is: private
    /// networks are built on it.
    pub fn is_routable(&self) -> bool {
        ranges::is_routable(self.ip)
    }

    /// Whether the address is one of the internet's: routable, and not of 100.64.0.0/10, with which
    /// providers and clouds number whole networks of theirs.
    pub(crate) fn is_public(&self) -> bool {
        self.is_routable() && !ranges::is_rfc6598(self.ip)
    }

    /// Whether the address is this machine: loopback, or 0.0.0.0/8.
    pub fn is_local(&self) -> bool {
        ranges::is_local(self.ip)
    }

    /// The part of the internet that the address belongs to, which the address book limits.
    /// `strict` is `Config::addr_book_strict`: then all local addresses are one group and all that
    /// the reference calls unroutable another.
    #[doc(hidden)]
    pub fn group_key(&self, strict: bool) -> GroupKey {
        GroupKey::of(self.ip, strict)
    }
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.socket_addr())
    }
}

impl fmt::Debug for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NetAddress {
    type Err = AddressError;

    /// Parses `id@ip:port`. A `scheme://` in front and the zone of an IPv6 address are dropped.
    ///
    /// # Errors
    /// [`AddressError::LookupNeeded`] if the host is a name.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        match split(text)? {
            (id, Host::Ip(ip), port) => Ok(Self { id, ip, port }),
            (_, Host::Name(_), _) => Err(AddressError::lookup_needed(text)),
        }
    }
}

crate::text::as_text!(NetAddress);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";

    proptest! {
        #[test]
        fn what_is_shown_parses_to_the_same(id: [u8; 20], ip: [u8; 16], v4: bool, port: u16) {
            let ip = if v4 { IpAddr::from(*ip.last_chunk::<4>().unwrap()) } else { ip.into() };
            let address = NetAddress::new(NodeId::from_bytes(id), ip, port);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn no_text_panics(text in "(tcp://)?([0-9a-f]{40}@)?.{0,40}") {
            let _ = text.parse::<NetAddress>();
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mapped = NetAddress::new(ID.parse().unwrap(), "::ffff:10.0.0.1".parse().unwrap(), 1);
        assert_eq!(mapped, format!("{ID}@10.0.0.1:1").parse().unwrap());
        assert_eq!(mapped, format!("{ID}@[::ffff:a00:1]:1").parse().unwrap());
        assert_eq!(mapped.to_string(), format!("{ID}@10.0.0.1:1"));
    }

    #[test]
    fn every_truncation_is_an_error_or_a_shorter_port() {
        let whole = format!("{ID}@[2a01::1]:26656");
        for len in 0..whole.len() {
            match whole[..len].parse::<NetAddress>() {
                Ok(address) => assert!(address.port() < 26656 && len > whole.len() - 5),
                Err(AddressError::NoId { .. }) => assert!(len < 41),
                Err(AddressError::Invalid { .. }) => assert!(len >= 41),
                Err(error) => panic!("{len}: {error}"),
            }
        }
    }

    #[test]
    fn errors_quote_little_and_only_what_can_be_printed() {
        let error = format!("{}\n\u{1b}", "x".repeat(10_000)).parse::<NetAddress>().unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        let error = format!("{ID}@a\n\u{1b}[2J:1").parse::<NetAddress>().unwrap_err();
        assert!(error.to_string().bytes().all(|byte| matches!(byte, b' '..=b'~')), "{error}");
    }
}
