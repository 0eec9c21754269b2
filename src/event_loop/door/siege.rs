//! A siege of a full node, with nothing but the door: how long it keeps out whom we want.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    GateSettings,
    gate::Gate,
    pool::{Class, Place, Pool},
};
use crate::{
    config::Config,
    time::{Mono, Now},
};

const KNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(99, 0, 0, 1));
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(98, 0, 0, 1));
const RTT: Duration = Duration::from_millis(200);

struct Siege {
    gate: Gate,
    pool: Pool,
    places: BTreeMap<u32, Place>,
    /// Who stays silent until then.
    silent: std::collections::VecDeque<(Mono, u32)>,
    next: u32,
    most: usize,
}

impl Siege {
    fn new() -> Self {
        let settings = GateSettings::of(&Config::default());
        let most = settings.max_pending;
        let mut gate = Gate::new(settings);
        gate.is_full = true;
        gate.known = Arc::new([KNOWN].into());
        let (pool, places) = Default::default();
        Self { gate, pool, places, silent: Default::default(), next: 0, most }
    }

    /// The slot, if the door is opened.
    fn knock(&mut self, ip: IpAddr, mono: Mono) -> Option<u32> {
        let now = Now { mono, wall: std::time::SystemTime::UNIX_EPOCH };
        let standing = self.gate.admit(ip, &self.pool, now).ok()?;
        self.next += 1;
        let place = self.pool.join(self.next, Some((ip, standing)));
        self.places.insert(self.next, place);
        while self.pool.len() > self.most {
            let slot = self.pool.first_to_go(self.most).expect("more than none");
            self.leave(slot);
        }
        Some(self.next)
    }

    fn leave(&mut self, slot: u32) {
        if let Some(place) = self.places.remove(&slot) {
            self.pool.leave(place);
        }
    }

    /// Strangers knock until then: 10,000 times a second, 1000 addresses of 100 networks.
    fn pass_to(&mut self, from: Mono, to: Mono, rng: &mut StdRng) {
        let mut now = from;
        while now < to {
            now = now + Duration::from_micros(100);
            while self.silent.front().is_some_and(|(until, _)| *until <= now) {
                let (_, slot) = self.silent.pop_front().expect("looked at");
                self.leave(slot);
            }
            let ip = [11, 0, rng.random_range(0..100), rng.random_range(0..10)].into();
            if let Some(slot) = self.knock(ip, now) {
                // Every other one goes as far as one can without a NodeInfo.
                let place = self.places.get_mut(&slot).filter(|_| slot % 2 == 0);
                let stays = place.map_or(20, |place| {
                    self.pool.set_class(place, Class::Authenticated);
                    3
                });
                self.silent.push_back((now + Duration::from_secs(stays), slot));
            }
        }
    }

    /// When the node has its handshake behind it, with the pauses of a node that keeps dialing.
    fn get_in(&mut self, ip: IpAddr, from: Mono, rng: &mut StdRng) -> (Duration, usize) {
        let (mut now, mut pause) = (from, Duration::from_secs(1));
        for tries in 1.. {
            let slot = self.knock(ip, now);
            let next =
                now + if slot.is_some() { RTT } else { pause.mul_f64(rng.random_range(1.0..1.25)) };
            self.pass_to(now, next, rng);
            now = next;
            if slot.is_some_and(|slot| self.places.contains_key(&slot)) {
                return (now.since(from), tries);
            }
            pause = (2 * pause).min(Duration::from_secs(60));
        }
        unreachable!("it never gives up")
    }
}

/// The fault: four handshakes a second for whoever came first; ten addresses left a reserved node
/// 4 % a try.
#[test]
fn reserved_nodes_get_in_while_ten_thousand_knock_each_second() {
    let mut waits = Vec::new();
    for seed in 1..=100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut siege = Siege::new();
        // At the beginning, which is the worst time, or later.
        let begin = Mono::ZERO + Duration::from_millis(rng.random_range(1..10_000));
        siege.pass_to(Mono::ZERO, begin, &mut rng);
        let known = siege.get_in(KNOWN, begin, &mut rng);
        assert_eq!(known, (RTT, 1), "a known address, seed {seed}");
        let (wait, _) = siege.get_in(UNKNOWN, begin + RTT, &mut rng);
        assert!(siege.pool.len() <= 1024);
        waits.push(wait);
    }
    waits.sort();
    let (median, most) = (waits[50], waits[99]);
    println!("median {median:?}, at most {most:?}");
    assert!(median <= Duration::from_secs(60), "{waits:?}");
    assert!(most <= Duration::from_secs(180), "{waits:?}");
}
