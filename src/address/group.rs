//! Which part of the internet an address belongs to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::ranges;
use crate::text::Ipv4Text;

/// A part of the internet that one operator can be assumed to own: the address book spreads
/// addresses over its buckets by it, so that who owns one subnet cannot fill a book.
///
/// [`Display`](fmt::Display) gives the reference's text, which enters the book's hashes:
/// `"local"`, `"unroutable"`, the first address of an IPv4 /16 or IPv6 /32 (he.net: /36), or
/// `"tor:N"`.
#[allow(unnameable_types, reason = "only the book and tests ask for it")]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey(Kind);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Local,
    Unroutable,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    Tor(u8),
}

impl GroupKey {
    /// The group of a canonical address (`p2p/pex/addrbook.go`, `groupKeyFor`).
    pub(super) fn of(ip: IpAddr, strict: bool) -> Self {
        if strict && ranges::is_local(ip) {
            return Self(Kind::Local);
        }
        if strict && !ranges::is_routable_upstream(ip) {
            return Self(Kind::Unroutable);
        }
        Self(match ip {
            IpAddr::V4(ip) => v4(ip),
            IpAddr::V6(ip) => v6(ip),
        })
    }
}

fn v4(ip: Ipv4Addr) -> Kind {
    Kind::V4(Ipv4Addr::from_bits(ip.to_bits() & 0xffff_0000))
}

fn v6(ip: Ipv6Addr) -> Kind {
    if let Some(embedded) = ranges::embedded_ipv4(ip) {
        return v4(embedded);
    }
    if ranges::is_onioncat(ip) {
        return Kind::Tor(ip.octets()[6] & 0x0f);
    }
    let behind = if ranges::is_hurricane_electric(ip) { 128 - 36 } else { 128 - 32 };
    Kind::V6(Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << behind)))
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Local => f.write_str("local"),
            Kind::Unroutable => f.write_str("unroutable"),
            Kind::V4(ip) => f.write_str(Ipv4Text::of(ip).as_str()),
            Kind::V6(ip) => ip.fmt(f),
            Kind::Tor(key) => write!(f, "tor:{key}"),
        }
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
