//! Which IP addresses are whose. All of them take canonical addresses: no IPv4-mapped IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Can be somebody's (`p2p/netaddress.go`, `Valid`).
pub(super) fn is_valid(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !is_rfc3849(ip),
    }
}

/// This machine (`Local`).
pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.octets()[0] == 0,
        IpAddr::V6(ip) => ip.is_loopback(),
    }
}

/// What the reference takes for an address on the internet (`Routable`). Group keys are built on
/// this one, because they decide places in books that both share.
pub(super) fn is_routable_upstream(ip: IpAddr) -> bool {
    let is_reserved = match ip {
        // RFC 1918, RFC 3927.
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        // RFC 4862: fe80::/64, not the whole /10; RFC 4193: fc00::/7; RFC 4843: 2001:10::/28.
        IpAddr::V6(ip) => {
            starts_with(ip, 0xfe80 << 112, 64) || ip.is_unique_local() || is_rfc4843(ip)
        }
    };
    is_valid(ip) && !is_local(ip) && !is_reserved
}

/// [`is_routable_upstream`] without the ranges in which nobody can answer, and without the IPv6
/// addresses that lead to an IPv4 address that is not routable: whoever tells `64:ff9b::10.0.0.1`
/// would have us dial what is behind our own translator.
pub(super) fn is_routable(ip: IpAddr) -> bool {
    let is_nobodys = match ip {
        // TEST-NET-1 to 3 (RFC 5737), class E. 100.64.0.0/10 (RFC 6598) stays: private networks are
        // built on it.
        IpAddr::V4(ip) => {
            ip.is_multicast()
                || ip.is_documentation()
                || ip.octets()[0] >= 240
                || is_rfc6890(ip)
                || is_rfc2544(ip)
        }
        // RFC 9637; 2001:db8::/32 is not even valid.
        IpAddr::V6(ip) => {
            let leads_nowhere = |inside: Ipv4Addr| !is_routable(inside.into());
            ip.is_multicast()
                || starts_with(ip, 0x3fff << 112, 20)
                || embedded_ipv4(ip).is_some_and(leads_nowhere)
        }
    };
    is_routable_upstream(ip) && !is_nobodys
}

/// The IPv4 address inside an IPv6 address of one of the transition schemes.
pub(super) fn embedded_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = ip.to_bits() as u32;
    if is_rfc6145(ip) || is_rfc6052(ip) {
        Some(Ipv4Addr::from_bits(low))
    } else if is_rfc3964(ip) {
        Some(Ipv4Addr::from_bits((ip.to_bits() >> 80) as u32))
    } else if is_rfc4380(ip) {
        Some(Ipv4Addr::from_bits(!low))
    } else {
        None
    }
}

/// Protocol assignments, 192.0.0.0/24.
fn is_rfc6890(ip: Ipv4Addr) -> bool {
    ip.octets()[..3] == [192, 0, 0]
}

/// Shared by the customers of a provider, 100.64.0.0/10.
pub(super) fn is_rfc6598(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64)
}

/// Benchmarks, 198.18.0.0/15.
fn is_rfc2544(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 198 && b & 0xfe == 18
}

/// Documentation.
fn is_rfc3849(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x2001_0db8 << 96, 32)
}

/// ORCHID, names rather than places.
fn is_rfc4843(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x2001_0010 << 96, 28)
}

/// Translated IPv4, ::ffff:0:0:0/96.
fn is_rfc6145(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0xffff << 48, 96)
}

/// NAT64, 64:ff9b::/96.
fn is_rfc6052(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x0064_ff9b << 96, 96)
}

/// 6to4, 2002::/16.
fn is_rfc3964(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x2002 << 112, 16)
}

/// Teredo, 2001::/32.
fn is_rfc4380(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x2001_0000 << 96, 32)
}

/// OnionCat's stand-ins for Tor services, fd87:d87e:eb43::/48.
pub(super) fn is_onioncat(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0xfd87_d87e_eb43 << 80, 48)
}

/// he.net, whose users hold /36 blocks of 2001:470::/32.
pub(super) fn is_hurricane_electric(ip: Ipv6Addr) -> bool {
    starts_with(ip, 0x2001_0470 << 96, 32)
}

fn starts_with(ip: Ipv6Addr, prefix: u128, bits: u32) -> bool {
    (ip.to_bits() ^ prefix).leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden data cover the reference's ranges; these are the edges of ours.
    #[test]
    fn nobodys_ranges_end_where_they_should() {
        for (text, routable) in [
            ("223.255.255.255", true),
            ("224.0.0.0", false),
            ("239.255.255.255", false),
            ("240.0.0.0", false),
            ("255.255.255.254", false),
            ("191.255.255.255", true),
            ("192.0.0.0", false),
            ("192.0.0.255", false),
            ("192.0.1.0", true),
            ("192.0.1.255", true),
            ("198.17.255.255", true),
            ("198.18.0.0", false),
            ("198.19.255.255", false),
            ("198.20.0.0", true),
            ("192.0.2.0", false),
            ("192.0.2.255", false),
            ("192.0.3.0", true),
            ("198.51.99.255", true),
            ("198.51.100.0", false),
            ("198.51.101.0", true),
            ("203.0.112.255", true),
            ("203.0.113.255", false),
            ("203.0.114.0", true),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("3ffe:ffff::", true),
            ("3fff::", false),
            ("3fff:fff:ffff::", false),
            ("3fff:1000::", true),
            ("feff::", true),
            ("ff00::", false),
            ("ffff::", false),
        ] {
            assert_eq!(is_routable(text.parse().unwrap()), routable, "{text}");
        }
    }

    /// NAT64, 6to4, Teredo and translated IPv4.
    #[test]
    fn ipv6_that_leads_to_private_ipv4_is_not_routable() {
        for (inside, routable) in [
            ("8.8.8.8", true),
            ("100.64.0.1", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("169.254.169.254", false),
            ("192.168.1.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("255.255.255.255", false),
        ] {
            let bits = u128::from(inside.parse::<Ipv4Addr>().unwrap().to_bits());
            for ip in [
                (0x0064_ff9b << 96) | bits,
                (0x2002 << 112) | (bits << 80) | 1,
                (0x2001_0000 << 96) | (0x0808_0808 << 64) | (bits ^ 0xffff_ffff),
                (0xffff << 48) | bits,
            ] {
                let ip = Ipv6Addr::from_bits(ip);
                assert_eq!(is_routable(ip.into()), routable, "{ip} with {inside}");
            }
        }
        // What only begins alike holds no IPv4 address.
        for text in ["64:ff9b:2::a00:1", "2003:a00:1::", "2001:1::f5ff:fffe"] {
            assert!(is_routable(text.parse().unwrap()), "{text}");
        }
    }
}
