//! How often an address may begin sessions.

use std::{net::IpAddr, time::Duration};

use crate::{
    event_loop::{Buckets, Pace, networks},
    time::Mono,
};

/// Time between two sessions of an address, and how many it may begin at once. Each session is an
/// entry in every reactor's inbox until the reactor reads it, so who comes and goes makes others
/// wait. An honest node dials again after 5 s at the earliest if it is kept (Go `p2p/switch.go`,
/// `reconnectInterval`), and after minutes else; ours dials at once whom it lost, and then
/// with pauses of 1, 2 and 4 s.
const PACE: (Duration, u32) = (Duration::from_secs(5), 10);

/// How often strangers begin sessions, by their address or, with IPv6, their /64.
#[derive(Debug, Default)]
pub(super) struct SessionPaces(Buckets<crate::address::Cidr>);

impl SessionPaces {
    /// Whether somebody at this address may begin a session now.
    pub(super) fn may_begin(&self, ip: IpAddr, now: Mono) -> bool {
        self.0.may_take(&key(ip), pace(), now)
    }

    /// Somebody at this address begins one.
    pub(super) fn begin(&mut self, ip: IpAddr, now: Mono) {
        self.0.take(key(ip), pace(), now);
    }
}

fn pace() -> Pace {
    Pace::every(PACE.0, PACE.1)
}

fn key(ip: IpAddr) -> crate::address::Cidr {
    let narrowest = networks(ip).next().filter(|_| ip.is_ipv6());
    narrowest.map_or(ip.into(), |(network, _)| network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_begins_a_session_in_five_seconds_and_ten_at_once() {
        let mut paces = SessionPaces::default();
        let at = |secs| Mono::ZERO + Duration::from_secs(secs);
        let mut begin = |ip: &str, now| {
            let ip = ip.parse().unwrap();
            let may = paces.may_begin(ip, now);
            paces.begin(ip, now);
            may
        };
        for (one, same, other) in
            [("1.2.3.4", "1.2.3.4", "1.2.3.5"), ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")]
        {
            assert_eq!((0..50).filter(|_| begin(one, at(0))).count(), 10);
            assert!(!begin(same, at(4)) && begin(same, at(5)) && !begin(same, at(5)));
            assert!(begin(other, at(5)), "another one has its own");
        }
    }
}
