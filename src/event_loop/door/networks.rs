//! The networks that an address is counted with.

use std::net::IpAddr;

use crate::address::Cidr;

/// The networks of an address, the narrowest first, each with how many times the limits
/// of a network hold for it. A /24 of IPv4 or a /64 of IPv6 is what one customer of a provider has
/// at least. With IPv6 one gets a /56 or a /48 as easily, that is 256 or 65,536 of these, so the
/// wider ones are counted, too, with room for some honest neighbours.
pub(crate) fn networks(ip: IpAddr) -> impl Iterator<Item = (Cidr, u32)> {
    around(ip, &[(64, 1), (56, 2), (48, 4)])
}

/// The same with these networks of IPv6, each with its factor.
pub(crate) fn around(
    ip: IpAddr,
    of_ipv6: &'static [(u8, u32)],
) -> impl Iterator<Item = (Cidr, u32)> {
    let of: &[(u8, u32)] = if ip.to_canonical().is_ipv4() { &[(24, 1)] } else { of_ipv6 };
    of.iter().map(move |&(prefix, factor)| (Cidr::around(ip, prefix, prefix), factor))
}

/// The widest of them.
pub(crate) fn widest(ip: IpAddr) -> Cidr {
    Cidr::around(ip, 24, 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_network_or_three() {
        let of = |ip: &str| -> Vec<_> {
            networks(ip.parse().unwrap()).map(|(net, n)| format!("{net} {n}")).collect()
        };
        assert_eq!(of("1.2.3.4"), ["1.2.3.0/24 1"]);
        assert_eq!(of("::ffff:1.2.3.4"), of("1.2.3.4"));
        let six = ["2001:db8:1:2ff::/64 1", "2001:db8:1:200::/56 2", "2001:db8:1::/48 4"];
        assert_eq!(of("2001:db8:1:2ff::9"), six);
        assert_eq!(widest("1.2.3.4".parse().unwrap()).to_string(), "1.2.3.0/24");
        assert_eq!(widest("2001:db8:1:2ff::9".parse().unwrap()).to_string(), "2001:db8:1::/48");
    }
}
