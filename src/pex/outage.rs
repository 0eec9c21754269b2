//! Whether it is our own machine that reaches nobody.

use std::{net::IpAddr, time::Duration};

use crate::time::{Mono, earliest};

/// Dials in a row that our own machine did not even begin, from which on it is assumed to begin
/// none. One alone may be the fault of a single route, which whoever tells addresses may know of.
const FAULTS: u32 = 4;

/// What is known of our own link, of IPv4 and IPv6 each: a machine without IPv6 is not without a
/// link.
#[derive(Debug, Default)]
pub(super) struct Outage {
    v4: Family,
    v6: Family,
}

#[derive(Debug, Default)]
struct Family {
    faults: u32,
    until: Mono,
}

impl Outage {
    /// A dial has failed here. It is tried again after a pause that doubles from the first to the
    /// longest one.
    pub(super) fn fault(&mut self, ip: IpAddr, (first, longest): (Duration, Duration), now: Mono) {
        let family = self.of(ip);
        // Those that had begun before are no further attempts.
        if now < family.until {
            return;
        }
        family.faults = family.faults.saturating_add(1);
        if let Some(rounds) = family.faults.checked_sub(FAULTS) {
            family.until = now + first.saturating_mul(1 << rounds.min(16)).min(longest);
        }
    }

    /// A dial has left the machine, whatever became of it.
    pub(super) fn is_over(&mut self, ip: IpAddr) {
        *self.of(ip) = Family::default();
    }

    /// Whether there is no point in dialing this address now.
    pub(super) fn concerns(&self, ip: IpAddr, now: Mono) -> bool {
        self.until(ip, now).is_some()
    }

    /// When there is a point in dialing this address again, if there is none now.
    pub(super) fn until(&self, ip: IpAddr, now: Mono) -> Option<Mono> {
        if ip.is_ipv4() { self.v4.until(now) } else { self.v6.until(now) }
    }

    /// When to try again.
    pub(super) fn next(&self, now: Mono) -> Option<Mono> {
        earliest(self.v4.until(now), self.v6.until(now))
    }

    fn of(&mut self, ip: IpAddr) -> &mut Family {
        if ip.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

impl Family {
    fn until(&self, now: Mono) -> Option<Mono> {
        Some(self.until).filter(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_a_row_of_faults_is_an_outage_and_only_of_its_family() {
        let (v4, v6) = (IpAddr::from([1, 2, 3, 4]), IpAddr::from([7; 16]));
        let at = |secs: u32| Mono::ZERO + SECOND * secs;
        let pauses = (4 * SECOND, 25 * SECOND);
        let mut outage = Outage::default();
        for _ in 0..3 {
            outage.fault(v6, pauses, at(1));
        }
        assert!(!outage.concerns(v6, at(1)));
        outage.is_over(v6);
        outage.fault(v6, pauses, at(1));
        assert!(!outage.concerns(v6, at(1)), "one in a row");
        for _ in 0..9 {
            outage.fault(v6, pauses, at(1));
        }
        assert!(outage.concerns(v6, at(4)) && !outage.concerns(v6, at(5)));
        assert!(!outage.concerns(v4, at(1)));
        assert_eq!((outage.next(at(1)), outage.next(at(5))), (Some(at(5)), None));
        // It lasts: ever longer, and never longer than may be.
        let mut now = 5;
        for expected in [8, 16, 25, 25] {
            outage.fault(v6, pauses, at(now));
            assert_eq!(outage.next(at(now)), Some(at(now + expected)));
            now += expected;
        }
        outage.is_over(v4);
        outage.fault(v6, pauses, at(now));
        assert!(outage.concerns(v6, at(now)));
        outage.is_over(v6);
        assert!(!outage.concerns(v6, at(now)));
    }
}
