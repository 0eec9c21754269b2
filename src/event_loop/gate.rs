//! Who may begin a handshake.
//!
//! A handshake costs this thread about 0.3 ms and a stranger nearly nothing, so strangers are
//! weighed by what they cannot make up: where they connect from. Who is refused here is closed at
//! once and costs a system call or two.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::pool::Pool;
use crate::{
    address::Cidr,
    ban::BanTable,
    config::Config,
    reactor::{DisconnectReason, Room},
    time::{Mono, Now},
};

/// While there is no room for inbound peers: handshakes a second, and how many at once. Persistent
/// and unconditional peers have a place all the same, but who somebody is shows only after
/// authentication, so nobody must be able to make us compute more than this for guests we cannot
/// take: 4 handshakes are about 1 ms of this thread a second. A reserved peer that is refused
/// comes again with its back-off.
const WHEN_FULL: (u32, u32) = (4, 4);

/// Refusals told to the switch: a second, and how many at once. What an operator can read; a flood
/// of connections must not become a flood of reports and log lines.
const REFUSALS_TOLD: (u32, u32) = (20, 50);

/// Addresses, and as many networks, whose rate is kept in mind. An entry is about 50 bytes, so both
/// tables take 6 MiB at most. Who has more addresses than this gets those beyond it past the rate
/// rules; the pool of pending handshakes still bounds what they cost.
const MAX_TRACKED: usize = 1 << 16;

/// How often those that may be forgotten are looked for, and how often at most while the table is
/// full: a look at 65,536 entries takes about 1 ms.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
const PRUNE_AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// Limits on connections that are accepted and not yet established.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateSettings {
    /// All of them together, see `Config::max_pending_handshakes`.
    pub max_pending: usize,
    /// Of one address.
    pub per_ip: usize,
    /// Of one /24 of IPv4 or /64 of IPv6, which is what one customer of a provider has.
    pub per_subnet: usize,
    /// Connections a second from one address, 0 = unlimited.
    pub ip_rate: u32,
    /// How many of them at once.
    pub ip_burst: u32,
    /// The same for one /24 or /64.
    pub subnet_rate: u32,
    /// How many of them at once.
    pub subnet_burst: u32,
    /// Addresses to which none of these applies but `max_pending`.
    pub exempt: Vec<Cidr>,
}

/// The rules, and what they remember.
#[derive(Debug)]
pub(super) struct Gate {
    settings: GateSettings,
    pub(super) bans: Arc<BanTable>,
    /// There is no room for inbound peers but reserved ones.
    pub(super) is_full: bool,
    ips: Buckets<IpAddr>,
    subnets: Buckets<Cidr>,
    when_full: Bucket,
    told: Bucket,
    /// Refused since the last one that was told.
    untold: u64,
}

impl From<&Config> for GateSettings {
    fn from(config: &Config) -> Self {
        Self {
            max_pending: config.max_pending_handshakes,
            per_ip: config.max_pending_per_ip,
            per_subnet: config.max_pending_per_subnet,
            ip_rate: config.accept_rate_per_ip,
            ip_burst: config.accept_burst_per_ip,
            subnet_rate: config.accept_rate_per_subnet,
            subnet_burst: config.accept_burst_per_subnet,
            exempt: config.exempt_cidrs.clone(),
        }
    }
}

impl Gate {
    pub(super) fn new(settings: GateSettings) -> Self {
        Self {
            bans: Arc::default(),
            is_full: false,
            ips: Buckets::new(Pace::new(settings.ip_rate, settings.ip_burst)),
            subnets: Buckets::new(Pace::new(settings.subnet_rate, settings.subnet_burst)),
            when_full: Bucket::new(WHEN_FULL),
            told: Bucket::new(REFUSALS_TOLD),
            untold: 0,
            settings,
        }
    }

    /// Whether the rules about single addresses are not for this one.
    pub(super) fn is_exempt(&self, ip: IpAddr) -> bool {
        self.settings.exempt.iter().any(|cidr| cidr.contains(ip))
    }

    /// Whether a connection from this canonical address may begin a handshake, beside those in the
    /// pool. `Ok` counts against the rates, and so does the refusal for lack of room, which leaves
    /// everybody else's chances where they are. Other refusals do not count, so that an address
    /// which keeps trying is served at its rate.
    pub(super) fn admit(
        &mut self,
        ip: IpAddr,
        pool: &Pool,
        now: Now,
    ) -> Result<(), DisconnectReason> {
        if let Some(ban) = self.bans.find_ip(ip, now.wall) {
            return Err(DisconnectReason::Banned(ban.target));
        }
        if !self.is_exempt(ip) {
            let subnet = subnet(ip);
            let settings = &self.settings;
            let room = if !self.ips.may_take(&ip, now.mono) {
                Some(Room::IpRate)
            } else if !self.subnets.may_take(&subnet, now.mono) {
                Some(Room::SubnetRate)
            } else if pool.of_ip(&ip) >= settings.per_ip {
                Some(Room::IpPending)
            } else if pool.of_subnet(&subnet) >= settings.per_subnet {
                Some(Room::SubnetPending)
            } else {
                None
            };
            if let Some(room) = room {
                return Err(DisconnectReason::Full(room));
            }
            self.ips.take(ip, now.mono);
            self.subnets.take(subnet, now.mono);
        }
        if self.is_full && !self.when_full.take(now.mono) {
            return Err(DisconnectReason::Full(Room::Inbound));
        }
        Ok(())
    }

    /// A connection was refused. `Some` if this one is to be told, with the number of those that
    /// were not.
    pub(super) fn note_refusal(&mut self, now: Mono) -> Option<u64> {
        if self.told.take(now) {
            return Some(std::mem::take(&mut self.untold));
        }
        self.untold += 1;
        None
    }

    #[cfg(test)]
    fn tracked(&self) -> (usize, usize) {
        (self.ips.full_at.len(), self.subnets.full_at.len())
    }
}

/// The network that a canonical address is judged with.
pub(super) fn subnet(ip: IpAddr) -> Cidr {
    let prefix = if ip.is_ipv4() { 24 } else { 64 };
    Cidr::new(ip, prefix).expect("no longer than an address of its kind")
}

/// How fast tokens flow into a bucket, and how many it holds.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Time of one token; zero: there are always enough.
    interval: Duration,
    /// Time of a whole bucket.
    whole: Duration,
}

impl Pace {
    fn new(rate: u32, burst: u32) -> Self {
        let nanos = 1_000_000_000_u64.checked_div(rate.into()).unwrap_or(0);
        let whole = nanos.saturating_mul(burst.into());
        Self { interval: Duration::from_nanos(nanos), whole: Duration::from_nanos(whole) }
    }

    /// When a bucket that would be full at `full_at` is full after one more token was taken;
    /// `None` if there is none to take.
    fn take(&self, full_at: Mono, now: Mono) -> Option<Mono> {
        let next = full_at.max(now) + self.interval;
        (next.since(now) <= self.whole).then_some(next)
    }
}

/// A token bucket, as the time when it is full again.
#[derive(Debug)]
struct Bucket {
    pace: Pace,
    full_at: Mono,
}

impl Bucket {
    fn new((rate, burst): (u32, u32)) -> Self {
        Self { pace: Pace::new(rate, burst), full_at: Mono::ZERO }
    }

    fn take(&mut self, now: Mono) -> bool {
        let next = self.pace.take(self.full_at, now);
        self.full_at = next.unwrap_or(self.full_at);
        next.is_some()
    }
}

/// A token bucket for each key; one that is full again is as good as none and is forgotten.
#[derive(Debug)]
struct Buckets<K> {
    pace: Pace,
    full_at: BTreeMap<K, Mono>,
    pruned: Mono,
}

impl<K: Ord> Buckets<K> {
    fn new(pace: Pace) -> Self {
        Self { pace, full_at: BTreeMap::new(), pruned: Mono::ZERO }
    }

    fn may_take(&self, key: &K, now: Mono) -> bool {
        self.pace.interval.is_zero()
            || self.full_at.get(key).is_none_or(|&full_at| self.pace.take(full_at, now).is_some())
    }

    fn take(&mut self, key: K, now: Mono) {
        if self.pace.interval.is_zero() {
            return;
        }
        if let Some(full_at) = self.full_at.get_mut(&key) {
            *full_at = self.pace.take(*full_at, now).unwrap_or(*full_at);
            return;
        }
        let is_at_cap = self.full_at.len() >= MAX_TRACKED;
        let pause = if is_at_cap { PRUNE_AT_MOST_EVERY } else { PRUNE_EVERY };
        if now.since(self.pruned) >= pause {
            self.pruned = now;
            self.full_at.retain(|_, full_at| *full_at > now);
        }
        if self.full_at.len() < MAX_TRACKED {
            self.full_at.insert(key, now + self.pace.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ban::{Ban, BanOrigin};

    const NEVER_FULL: GateSettings = GateSettings {
        max_pending: 1000,
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
        Now { mono: Mono::ZERO + time, wall: time }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn room(result: Result<(), DisconnectReason>) -> Option<Room> {
        match result {
            Ok(()) => None,
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
        let places: Vec<_> = (0..2).map(|slot| pool.join(slot, Some(ip("1.2.3.4")))).collect();
        assert_eq!(admit("1.2.3.4", &pool), Some(Room::IpPending));
        assert_eq!(admit("1.2.3.5", &pool), None);
        pool.join(2, Some(ip("1.2.3.5")));
        assert_eq!(admit("1.2.3.6", &pool), Some(Room::SubnetPending));
        assert_eq!(admit("1.2.4.6", &pool), None);
        for place in places {
            pool.leave(place);
        }
        assert_eq!((admit("1.2.3.4", &pool), admit("1.2.3.6", &pool)), (None, None));
    }

    #[test]
    fn exempt_addresses_know_no_rule_but_bans_and_room() {
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
            assert_eq!(gate.admit(ip("10.1.1.1"), &pool, at(0)), Ok(()));
        }
        assert_eq!(room(gate.admit(ip("11.1.1.1"), &pool, at(0))), Some(Room::IpPending));
        gate.is_full = true;
        let rooms: Vec<_> =
            (0..5).map(|_| room(gate.admit(ip("10.1.1.1"), &pool, at(0)))).collect();
        assert_eq!(rooms, [None, None, None, None, Some(Room::Inbound)]);
        assert_eq!(room(gate.admit(ip("10.1.1.1"), &pool, at(250))), None, "four a second");
    }

    #[test]
    fn bans_come_first_and_end() {
        let mut gate = Gate::new(NEVER_FULL);
        let mut table = BanTable::default();
        for (target, until) in [("1.2.3.4", Some(Duration::from_secs(5))), ("2001:db8::/32", None)]
        {
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
        assert_eq!(admit("1.2.3.4", 5000), Ok(()));
        assert_eq!(admit("2001:db8::7", 5000), banned("2001:db8::/32"));
        assert_eq!(admit("1.2.3.5", 0), Ok(()));
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
            assert_eq!(gate.admit(who, &pool, at(u64::from(n) / 1_000_000)), Ok(()));
        }
        assert_eq!(gate.tracked(), (MAX_TRACKED, MAX_TRACKED));
        // Who is in the table is held to its rate all the while.
        let first = IpAddr::from([1, 0, 0, 0]);
        let more = (0..20).filter(|_| gate.admit(first, &pool, at(1)).is_ok()).count();
        assert_eq!(more, 9);
        // Their buckets are full again, all but that address's.
        assert_eq!(gate.admit(ip("9.9.9.9"), &pool, at(1500)), Ok(()));
        assert_eq!(gate.tracked(), (2, 1));
    }

    #[test]
    fn a_flood_of_refusals_is_told_in_few_words() {
        let mut gate = Gate::new(NEVER_FULL);
        let told = (0..1050).filter_map(|_| gate.note_refusal(at(0).mono)).collect::<Vec<_>>();
        assert_eq!(told, [0; 50]);
        assert_eq!(gate.note_refusal(at(50).mono), Some(1000));
        assert_eq!(gate.note_refusal(at(50).mono), None);
        assert_eq!(gate.note_refusal(at(100).mono), Some(1));
    }
}
