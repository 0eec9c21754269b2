//! How many of the peers that dialed us come from one network.

use std::net::IpAddr;

use crate::{
    address::Cidr,
    event_loop::{Counts, around},
};

/// A /48 is what one customer of a provider has of IPv6 at most, as a rule; twice the limit is for it.
const OF_IPV6: &[(u8, u32)] = &[(64, 1), (48, 2)];

/// Peers by network: IPv4 /24, IPv6 /64 and /48.
#[derive(Debug, Default)]
pub(super) struct Networks(Counts<Cidr>);

impl Networks {
    /// One more with this address, or one less.
    pub(super) fn count(&mut self, ip: IpAddr, is_more: bool) {
        for (network, _) in around(ip.to_canonical(), OF_IPV6) {
            if is_more { self.0.add(network) } else { self.0.remove(network) }
        }
    }

    /// Whether one of the networks of this address has as many as may be, besides so many: `most` of
    /// a /24 or /64, twice as many of a /48. 0 is no limit.
    pub(super) fn is_full(&self, ip: IpAddr, most: usize, besides: usize) -> bool {
        let is_full = |(network, times): (Cidr, u32)| {
            let peers = self.0.of(&network).saturating_sub(besides);
            peers >= most.saturating_mul(times as usize)
        };
        most > 0 && around(ip.to_canonical(), OF_IPV6).any(is_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_full_with_its_limit_and_a_site_with_twice_as_much() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut networks = Networks::default();
        for last in 1..=4 {
            assert!(!networks.is_full(ip("1.2.3.9"), 4, 0));
            networks.count([1, 2, 3, last].into(), true);
        }
        assert!(
            networks.is_full(ip("1.2.3.9"), 4, 0) && networks.is_full(ip("::ffff:1.2.3.9"), 4, 0)
        );
        assert!(!networks.is_full(ip("1.2.4.9"), 4, 0) && !networks.is_full(ip("1.2.3.9"), 0, 0));
        assert!(!networks.is_full(ip("1.2.3.9"), 4, 1), "it is one of them itself");
        networks.count(ip("1.2.3.4"), false);
        assert!(!networks.is_full(ip("1.2.3.9"), 4, 0));
        for subnet in ["2001:470:1:1::", "2001:470:1:2::"] {
            for last in 1..=4 {
                let addr = ip(&format!("{subnet}{last}"));
                assert!(!networks.is_full(addr, 4, 0), "{addr}");
                networks.count(addr, true);
            }
            assert!(networks.is_full(ip(&format!("{subnet}9")), 4, 0));
        }
        assert!(networks.is_full(ip("2001:470:1:3::1"), 4, 0), "the /48 has its eight");
        assert!(!networks.is_full(ip("2001:470:2:1::1"), 4, 0));
        for last in 1..=4 {
            networks.count(ip(&format!("2001:470:1:1::{last}")), false);
        }
        assert!(!networks.is_full(ip("2001:470:1:3::1"), 4, 0));
    }
}
