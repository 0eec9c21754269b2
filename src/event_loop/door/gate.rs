//! Who may begin a handshake.
//!
//! A handshake costs this thread about 0.3 ms and a stranger nearly nothing, so strangers are
//! weighed by what they cannot make up: where they connect from. Who is refused here is closed at
//! once and costs a few system calls.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{
    networks::networks,
    pool::Pool,
    rates::{Buckets, Pace},
    share::Share,
    standing::Standing,
};
use crate::{
    address::Cidr,
    ban::BanTable,
    config::Config,
    reactor::{DisconnectReason, Room},
    time::Now,
};

/// Limits on connections that are accepted and no sessions yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// All of them together, see `Config::max_pending_handshakes`.
    pub max_pending: usize,
    /// Connections in any stage, sessions and dials included: beyond it pending ones give way, so
    /// that no stranger takes the last descriptor from the application. `usize::MAX` is no limit.
    pub max_connections: usize,
    /// Of one address.
    pub per_ip: usize,
    /// Of one /24 of IPv4 or /64 of IPv6, which is what one customer of a provider has; twice as
    /// many of a /56 and four times of a /48.
    pub per_subnet: usize,
    /// Connections a second from one address, 0 = unlimited.
    pub ip_rate: u32,
    /// How many of them at once.
    pub ip_burst: u32,
    /// The same for one /24 or /64; twice as many for a /56 and four times for a /48.
    pub subnet_rate: u32,
    /// How many of them at once.
    pub subnet_burst: u32,
    /// Addresses to which none of these applies but the first two.
    pub exempt: Vec<Cidr>,
}

/// The rules, and what they remember.
#[derive(Debug)]
pub(in crate::event_loop) struct Gate {
    settings: GateSettings,
    pub(in crate::event_loop) bans: Arc<BanTable>,
    /// Where persistent peers are.
    pub(in crate::event_loop) known: Arc<BTreeSet<IpAddr>>,
    /// There is no room for inbound peers but reserved ones.
    pub(in crate::event_loop) is_full: bool,
    ips: Buckets<IpAddr>,
    subnets: Buckets<Cidr>,
    share: Share,
}

impl GateSettings {
    /// What of the configuration concerns it.
    pub fn of(config: &Config) -> Self {
        Self {
            max_pending: config.max_pending_handshakes,
            max_connections: usize::MAX,
            per_ip: config.max_pending_per_ip,
            per_subnet: config.max_pending_per_subnet,
            ip_rate: config.accept_rate_per_ip,
            ip_burst: config.accept_burst_per_ip,
            subnet_rate: config.accept_rate_per_subnet,
            subnet_burst: config.accept_burst_per_subnet,
            exempt: config.exempt_cidrs.clone(),
        }
    }

    /// The same for a process that may have so many descriptors. Three quarters of them are for
    /// connections, and of one half peers come first; the rest is the application's: databases, RPC,
    /// files. However many peers there may be, an eighth of all is for those who come, or nobody could.
    #[must_use]
    pub fn within(mut self, descriptors: usize, peers: usize) -> Self {
        let pending = (descriptors / 2).saturating_sub(peers).max(descriptors / 8);
        self.max_pending = self.max_pending.min(pending).max(1);
        self.max_connections = self.max_connections.min(descriptors / 4 * 3).max(1);
        self
    }
}

impl Gate {
    pub(in crate::event_loop) fn new(settings: GateSettings) -> Self {
        Self {
            bans: Arc::default(),
            known: Arc::default(),
            is_full: false,
            ips: Buckets::default(),
            subnets: Buckets::default(),
            share: Share::default(),
            settings,
        }
    }

    /// What is known of this canonical address.
    fn standing(&self, ip: IpAddr) -> Standing {
        if self.settings.exempt.iter().any(|cidr| cidr.contains(ip)) {
            Standing::Exempt
        } else if self.known.contains(&ip) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }

    /// Whether a connection from this canonical address may begin a handshake, beside those in the
    /// pool. `Ok` counts against the rates, and so does the refusal for lack of room, which leaves
    /// everybody else's chances where they are. Other refusals do not count, so that an address
    /// which keeps trying is served at its rate.
    pub(in crate::event_loop) fn admit(
        &mut self,
        ip: IpAddr,
        pool: &Pool,
        now: Now,
    ) -> Result<Standing, DisconnectReason> {
        if let Some(ban) = self.bans.find_ip(ip, now.wall) {
            return Err(DisconnectReason::Banned(ban.target));
        }
        let standing = self.standing(ip);
        if let Some(room) = self.why_not(ip, standing, pool, now) {
            return Err(DisconnectReason::Full(room));
        }
        let (of_ip, of_subnet) = (self.ip_pace(), self.subnet_pace());
        if standing != Standing::Exempt {
            self.ips.take(ip, of_ip, now.mono);
        }
        if standing == Standing::Stranger {
            for (network, factor) in networks(ip) {
                self.subnets.take(network, of_subnet.times(factor), now.mono);
            }
            if self.is_full && !self.share.take(ip, now.mono) {
                return Err(DisconnectReason::Full(Room::Inbound));
            }
        }
        Ok(standing)
    }

    /// What speaks against one more of this address or of its networks.
    fn why_not(&self, ip: IpAddr, standing: Standing, pool: &Pool, now: Now) -> Option<Room> {
        if standing == Standing::Exempt {
            return None;
        }
        let (settings, now) = (&self.settings, now.mono);
        let is_stranger = standing == Standing::Stranger;
        let mut of = networks(ip).filter(|_| is_stranger);
        let comes_too_often = |(network, factor): (Cidr, u32)| {
            !self.subnets.may_take(&network, self.subnet_pace().times(factor), now)
        };
        if !self.ips.may_take(&ip, self.ip_pace(), now) {
            return Some(Room::IpRate);
        }
        if of.any(comes_too_often) {
            return Some(Room::SubnetRate);
        }
        if pool.of_ip(&ip) >= settings.per_ip {
            return Some(Room::IpPending);
        }
        let mut of = networks(ip).filter(|_| is_stranger);
        let has_too_many = |(network, factor): (Cidr, u32)| {
            pool.of_network(&network) >= settings.per_subnet.saturating_mul(factor as usize)
        };
        of.any(has_too_many).then_some(Room::SubnetPending)
    }

    fn ip_pace(&self) -> Pace {
        Pace::new(self.settings.ip_rate, self.settings.ip_burst)
    }

    fn subnet_pace(&self) -> Pace {
        Pace::new(self.settings.subnet_rate, self.settings.subnet_burst)
    }

    #[cfg(test)]
    fn tracked(&self) -> (usize, usize) {
        (self.ips.len(), self.subnets.len())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{super::rates::MAX_TRACKED, *};
    use crate::{
        ban::{Ban, BanOrigin},
        time::Mono,
    };

    const NEVER_FULL: GateSettings = GateSettings {
        max_pending: 1000,
        max_connections: usize::MAX,
        per_ip: 1000,
        per_subnet: 1000,
        ip_rate: 0,
        ip_burst: 0,
        subnet_rate: 0,
        subnet_burst: 0,
        exempt: Vec::new(),
    };

    fn at(millis: u64) -> Now {
        let time = Duration::from_millis(millis);
        Now { mono: Mono::ZERO + time, wall: SystemTime::UNIX_EPOCH + time }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn stranger(text: &str) -> Option<(IpAddr, Standing)> {
        Some((ip(text), Standing::Stranger))
    }

    fn room(result: Result<Standing, DisconnectReason>) -> Option<Room> {
        match result {
            Ok(_) => None,
            Err(DisconnectReason::Full(room)) => Some(room),
            Err(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn an_address_has_a_burst_and_a_rate() {
        let mut gate = Gate::new(GateSettings { ip_rate: 5, ip_burst: 10, ..NEVER_FULL });
        let pool = Pool::default();
        let mut admit = |who: &str, ms| room(gate.admit(ip(who), &pool, at(ms)));
        for _ in 0..10 {
            assert_eq!(admit("1.2.3.4", 0), None);
        }
        assert_eq!(admit("1.2.3.4", 0), Some(Room::IpRate));
        assert_eq!(admit("1.2.3.5", 0), None, "another address has its own");
        assert_eq!(admit("1.2.3.4", 199), Some(Room::IpRate));
        // Refusals cost nothing.
        assert_eq!(admit("1.2.3.4", 200), None);
        assert_eq!(admit("1.2.3.4", 200), Some(Room::IpRate));
        // It holds no more than the burst, however long it is left alone.
        for _ in 0..10 {
            assert_eq!(admit("1.2.3.4", 1_000_000), None);
        }
        assert_eq!(admit("1.2.3.4", 1_000_000), Some(Room::IpRate));
    }

    #[test]
    fn a_network_has_a_burst_and_a_rate() {
        let mut gate = Gate::new(GateSettings { subnet_rate: 1, subnet_burst: 2, ..NEVER_FULL });
        let pool = Pool::default();
        let mut admit = |who: &str| room(gate.admit(ip(who), &pool, at(0)));
        for (first, second, third, other) in [
            ("1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.4.3"),
            ("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:f::", "2001:db8:0:2::1"),
        ] {
            assert_eq!((admit(first), admit(second)), (None, None));
            assert_eq!(admit(third), Some(Room::SubnetRate));
            assert_eq!(admit(other), None);
        }
    }

    #[test]
    fn pending_ones_count_by_address_and_network() {
        let mut gate = Gate::new(GateSettings { per_ip: 2, per_subnet: 3, ..NEVER_FULL });
        let mut pool = Pool::default();
        let mut admit = |who, pool: &Pool| room(gate.admit(ip(who), pool, at(0)));
        let places: Vec<_> = (0..2).map(|slot| pool.join(slot, stranger("1.2.3.4"))).collect();
        assert_eq!(admit("1.2.3.4", &pool), Some(Room::IpPending));
        assert_eq!(admit("1.2.3.5", &pool), None);
        pool.join(2, stranger("1.2.3.5"));
        assert_eq!(admit("1.2.3.6", &pool), Some(Room::SubnetPending));
        assert_eq!(admit("1.2.4.6", &pool), None);
        for place in places {
            pool.leave(place);
        }
        assert_eq!((admit("1.2.3.4", &pool), admit("1.2.3.6", &pool)), (None, None));
    }

    #[test]
    fn exempt_addresses_know_no_rule_but_bans() {
        let exempt = vec!["10.0.0.0/8".parse().unwrap()];
        let (ip_rate, ip_burst, subnet_rate, subnet_burst) = (1, 1, 1, 1);
        let mut gate = Gate::new(GateSettings {
            per_ip: 0,
            per_subnet: 0,
            ip_rate,
            ip_burst,
            subnet_rate,
            subnet_burst,
            exempt,
            ..NEVER_FULL
        });
        let pool = Pool::default();
        for _ in 0..100 {
            assert_eq!(gate.admit(ip("10.1.1.1"), &pool, at(0)), Ok(Standing::Exempt));
        }
        assert_eq!(room(gate.admit(ip("11.1.1.1"), &pool, at(0))), Some(Room::IpPending));
        gate.is_full = true;
        for _ in 0..100 {
            assert_eq!(gate.admit(ip("10.1.1.1"), &pool, at(0)), Ok(Standing::Exempt));
        }
    }

    #[test]
    fn bans_come_first_and_end() {
        let mut gate = Gate::new(NEVER_FULL);
        let mut table = BanTable::default();
        for (target, until) in [("1.2.3.4", Some(at(5000).wall)), ("2001:db8::/32", None)] {
            let target = target.parse().unwrap();
            let (reason, origin) = (String::new(), BanOrigin::Operator);
            table.insert(Ban { target, until, reason, origin });
        }
        gate.bans = Arc::new(table);
        let pool = Pool::default();
        let mut admit = |who: &str, ms| gate.admit(ip(who), &pool, at(ms));
        let banned = |target: &str| Err(DisconnectReason::Banned(target.parse().unwrap()));
        assert_eq!(admit("1.2.3.4", 4999), banned("1.2.3.4"));
        assert_eq!(admit("::ffff:1.2.3.4", 4999), banned("1.2.3.4"));
        assert_eq!(admit("1.2.3.4", 5000), Ok(Standing::Stranger));
        assert_eq!(admit("2001:db8::7", 5000), banned("2001:db8::/32"));
        assert_eq!(admit("1.2.3.5", 0), Ok(Standing::Stranger));
    }

    #[test]
    fn a_million_addresses_take_bounded_memory_and_are_forgotten() {
        let mut gate = Gate::new(GateSettings {
            ip_rate: 5,
            ip_burst: 10,
            subnet_rate: 20,
            subnet_burst: 40,
            ..NEVER_FULL
        });
        let pool = Pool::default();
        for n in 0..1_000_000_u32 {
            let who = IpAddr::from((0x0100_0000 + n * 256).to_be_bytes());
            assert!(gate.admit(who, &pool, at(u64::from(n) / 1_000_000)).is_ok());
        }
        assert_eq!(gate.tracked(), (MAX_TRACKED, MAX_TRACKED));
        // Who is in the table is held to its rate all the while.
        let first = IpAddr::from([1, 0, 0, 0]);
        let more = (0..20).filter(|_| gate.admit(first, &pool, at(1)).is_ok()).count();
        assert_eq!(more, 9);
        // Their buckets are full again, all but that address's.
        assert!(gate.admit(ip("9.9.9.9"), &pool, at(1500)).is_ok());
        assert_eq!(gate.tracked(), (2, 1));
    }

    /// The fault: a /48, which anybody gets for nothing, counted as 65,536 networks.
    #[test]
    fn ipv6_is_counted_at_64_56_and_48() {
        let six = |n: u16, m: u16| ip(&format!("2001:db8:{n}:{m:x}::1"));
        // As many /64 as one likes, of one /56, and of several.
        for (step, factor) in [(1, 2), (256, 4)] {
            let settings = GateSettings { per_subnet: 3, ..NEVER_FULL };
            let (mut gate, mut pool) = (Gate::new(settings), Pool::default());
            let mut let_in = 0;
            for m in 0..50 {
                let who = six(1, m * step);
                if gate.admit(who, &pool, at(0)).is_ok() {
                    pool.join(m.into(), Some((who, Standing::Stranger)));
                    let_in += 1;
                }
            }
            assert_eq!(let_in, 3 * factor, "pending, {step}");
            let refused = gate.admit(six(1, 60 * step), &pool, at(0));
            assert_eq!(room(refused), Some(Room::SubnetPending));
            assert_eq!(room(gate.admit(six(2, 0), &pool, at(0))), None);
            let settings = GateSettings { subnet_rate: 1, subnet_burst: 3, ..NEVER_FULL };
            let (mut gate, pool) = (Gate::new(settings), Pool::default());
            let mut admit = |m: u16, ms| gate.admit(six(1, m * step), &pool, at(ms)).is_ok();
            assert_eq!((0..50).filter(|m| admit(*m, 0)).count(), 3 * factor, "burst, {step}");
            assert_eq!((50..99).filter(|m| admit(*m, 1000)).count(), factor, "rate, {step}");
            let refused = gate.admit(six(1, 60 * step), &pool, at(1000));
            assert_eq!(room(refused), Some(Room::SubnetRate));
            assert_eq!(room(gate.admit(six(2, 0), &pool, at(1000))), None);
        }
    }

    #[test]
    fn known_addresses_come_through_whatever_their_network_does_and_however_full_it_is() {
        let mut gate = Gate::new(GateSettings {
            per_ip: 2,
            per_subnet: 3,
            subnet_rate: 1,
            subnet_burst: 3,
            ip_rate: 1,
            ip_burst: 2,
            ..NEVER_FULL
        });
        gate.known = Arc::new([ip("1.2.3.99")].into());
        gate.is_full = true;
        let mut pool = Pool::default();
        for n in 0..100 {
            let who = ip(&format!("1.2.3.{n}"));
            if n != 99 && gate.admit(who, &pool, at(0)).is_ok() {
                pool.join(n, Some((who, Standing::Stranger)));
            }
        }
        assert_eq!(pool.len(), 3);
        for slot in 200..202 {
            assert_eq!(gate.admit(ip("1.2.3.99"), &pool, at(0)), Ok(Standing::Known));
            pool.join(slot, Some((ip("1.2.3.99"), Standing::Known)));
        }
        // It has the limits of one address, and does not count for its network.
        assert_eq!(room(gate.admit(ip("1.2.3.99"), &pool, at(0))), Some(Room::IpRate));
        let refused = gate.admit(ip("1.2.3.99"), &pool, at(5000));
        assert_eq!(room(refused), Some(Room::IpPending));
        assert_eq!(pool.of_network(&"1.2.3.0/24".parse().unwrap()), 3);
    }

    #[test]
    fn pool_and_connections_leave_descriptors_for_the_application() {
        let settings = GateSettings { max_pending: 1024, ..NEVER_FULL };
        for (descriptors, pending, all) in [(1024, 512, 768), (65_536, 1024, 49_152), (1, 1, 1)] {
            let within = settings.clone().within(descriptors, 0);
            assert_eq!((within.max_pending, within.max_connections), (pending, all));
        }
    }
}
