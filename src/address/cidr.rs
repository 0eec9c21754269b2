//! Ranges of addresses.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::text::shown;

/// A range of IP addresses, `1.2.3.0/24` or `2001:db8::/32`. A bare address is the range of it
/// alone. The bits behind the prefix are 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// The text is no range of addresses.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no range of addresses; write it as 1.2.3.0/24 or 2001:db8::/32")]
pub struct CidrError {
    text: String,
}

crate::text::readable_debug!(CidrError);

impl Cidr {
    /// The range of the addresses that share the first `prefix` bits with this one; `None` if an
    /// address has fewer bits. An IPv4-mapped IPv6 range is the IPv4 range in it.
    pub fn new(ip: IpAddr, prefix: u8) -> Option<Self> {
        let canonical = ip.to_canonical();
        let prefix = match (ip, canonical) {
            // ::ffff:0:0/96 and longer lie in IPv4; a shorter one is wider than all of IPv4.
            (IpAddr::V6(_), IpAddr::V4(_)) => prefix.checked_sub(96)?,
            _ => prefix,
        };
        let bits = if canonical.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then(|| Self { base: mask(canonical, prefix), prefix })
    }

    /// The range around the address with a prefix of so many bits, by the kind of address; the address
    /// alone if it has fewer.
    pub(crate) fn around(ip: IpAddr, of_ipv4: u8, of_ipv6: u8) -> Self {
        let Self { base, prefix: bits } = ip.into();
        let prefix = bits.min(if base.is_ipv4() { of_ipv4 } else { of_ipv6 });
        Self { base: mask(base, prefix), prefix }
    }

    /// Whether the address lies in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.base.is_ipv4() && mask(ip, self.prefix) == self.base
    }

    /// Whether all of the other range lies in this one.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.base)
    }

    /// The address, if the range is of one alone.
    pub fn as_single(&self) -> Option<IpAddr> {
        let bits = if self.base.is_ipv4() { 32 } else { 128 };
        (self.prefix == bits).then_some(self.base)
    }
}

/// The address with everything behind the prefix cleared.
fn mask(ip: IpAddr, prefix: u8) -> IpAddr {
    let behind = |bits: u32| bits.saturating_sub(prefix.into());
    match ip {
        IpAddr::V4(ip) => {
            IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(behind(32)).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(behind(128)).unwrap_or(0)).into())
        }
    }
}

impl From<IpAddr> for Cidr {
    fn from(ip: IpAddr) -> Self {
        let base = ip.to_canonical();
        Self { base, prefix: if base.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || match text.split_once('/') {
            None => text.parse::<IpAddr>().ok().map(Self::from),
            Some((ip, prefix)) => {
                // `parse` would take "+8" and "008".
                let is_plain = prefix.bytes().all(|b| b.is_ascii_digit())
                    && (prefix == "0" || !prefix.starts_with('0'));
                let prefix = prefix.parse::<u8>().ok().filter(|_| is_plain)?;
                Self::new(ip.parse().ok()?, prefix)
            }
        };
        parse().ok_or_else(|| CidrError { text: shown(text) })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

crate::text::as_text!(Cidr);

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_lies_in_its_ranges_only() {
        for (range, inside, outside) in [
            ("10.1.2.0/24", "10.1.2.255", "10.1.3.0"),
            ("10.1.2.77/24", "10.1.2.0", "10.1.1.255"),
            ("1.2.3.4", "1.2.3.4", "1.2.3.5"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            // A mapped address is the IPv4 address in it, on either side.
            ("10.1.2.0/24", "::ffff:10.1.2.3", "::ffff:10.1.3.3"),
            ("::ffff:10.1.2.0/120", "10.1.2.3", "10.1.3.3"),
        ] {
            assert!(cidr(range).contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!cidr(range).contains(outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn text_comes_back_as_the_range_it_means() {
        for (text, shown) in [
            ("10.1.2.77/24", "10.1.2.0/24"),
            ("1.2.3.4", "1.2.3.4/32"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::ffff:1.2.3.4", "1.2.3.4/32"),
        ] {
            assert_eq!(cidr(text).to_string(), shown);
            assert_eq!(cidr(shown), cidr(text));
        }
        for text in [
            "",
            "/",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "::1/129",
            "x/8",
            "1.2.3/8",
            "::ffff:1.2.3.4/95",
            "1.2.3.4/8/8",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
