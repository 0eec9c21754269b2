//! Who may still prove that a place is reserved for it while there is no room for others.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use super::{networks::widest, rates::Pace};
use crate::{address::Cidr, time::Mono};

/// Handshakes a second, and how many at once, with strangers that will most likely be refused.
/// Persistent and unconditional peers have a place all the same, but who somebody is shows only
/// after authentication. 8 handshakes are about 2 ms of the loop's thread a second; nobody must be
/// able to make us compute more for guests that we cannot take.
const RATE: u32 = 8;

/// How long it is remembered that a network was served. Longer than the longest pause between two
/// dials of a peer that is kept, and so many networks can be told apart as are served in that time.
const MEMORY: Duration = Duration::from_secs(600);

/// How often what may be forgotten is looked for.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// Shares these handshakes among the networks that ask, however often they do.
///
/// A network whose last handshake is long enough ago for everybody else to have had one takes any
/// token; the others take only what is left over: the tokens above half of the bucket. So a network
/// that comes for the first time finds a token whatever the crowd does, and one that is alone has
/// all of them.
///
/// A network is remembered when it was served, so there are at most [`RATE`] × [`MEMORY`] of them,
/// about 5000 entries of 50 bytes. Who has more networks than this would be new each time: an IPv6
/// provider has 65,536, so that its /32 must be due, too.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// When the bucket is full again.
    full_at: Mono,
    networks: Served,
    providers: Served,
    pruned: Mono,
}

/// When each was served last.
#[derive(Debug, Default)]
struct Served(BTreeMap<Cidr, Mono>);

impl Share {
    /// Whether somebody at this canonical address may have a handshake now; then it counts.
    pub(super) fn take(&mut self, ip: IpAddr, now: Mono) -> bool {
        if now.since(self.pruned) >= FORGET_EVERY {
            self.pruned = now;
            for served in [&mut self.networks, &mut self.providers] {
                served.0.retain(|_, at| now.since(*at) < MEMORY);
            }
        }
        let network = widest(ip);
        let provider = ip.is_ipv6().then(|| Cidr::around(ip, 32, 32));
        let is_due = self.networks.is_due(&network, now)
            && provider.is_none_or(|provider| self.providers.is_due(&provider, now));
        let burst = if is_due { RATE } else { RATE / 2 };
        let Some(full_at) = Pace::new(RATE, burst).take(self.full_at, now) else { return false };
        self.full_at = full_at;
        self.networks.0.insert(network, now);
        if let Some(provider) = provider {
            self.providers.0.insert(provider, now);
        }
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.networks.0.len()
    }
}

impl Served {
    fn is_due(&self, network: &Cidr, now: Mono) -> bool {
        self.0.get(network).is_none_or(|at| now.since(*at) >= self.turn())
    }

    /// Time in which everybody has had one: each network once with half of the tokens, so that the
    /// other half is there for those who come anew.
    fn turn(&self) -> Duration {
        let networks = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        (Duration::from_secs(2) / RATE).saturating_mul(networks).min(MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::ZERO + Duration::from_millis(millis)
    }

    fn network(number: u32) -> IpAddr {
        (0x0b00_0000 + number * 256).to_be_bytes().into()
    }

    /// A /48 of the provider's 65,536.
    fn six(provider: u32, number: u16) -> IpAddr {
        let provider = (0x2a00_0000 + provider).to_be_bytes();
        let [a, b, c, d] = provider;
        let [e, f] = number.to_be_bytes();
        Ipv6Addr::from([a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]).into()
    }

    #[test]
    fn who_is_alone_has_all_of_it() {
        let mut share = Share::default();
        let taken = (0..10_000).filter(|&ms| share.take(network(1), at(ms))).count();
        assert!((79..=85).contains(&taken), "{taken} in 10 s");
    }

    #[test]
    fn a_crowd_leaves_a_place_for_who_comes_anew() {
        let (mut share, mut rng) = (Share::default(), StdRng::seed_from_u64(1));
        let mut served = [0; 100];
        for ms in 0..600_000_u64 {
            let crowd = rng.random_range(0..100_u32);
            served[crowd as usize] += u32::from(share.take(network(crowd), at(ms)));
            if ms > 60_000 && ms % 1000 == 0 {
                let newcomer = network(1000 + (ms / 1000) as u32);
                assert!(share.take(newcomer, at(ms)), "at {ms} ms");
            }
        }
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        let all: u32 = served.iter().sum();
        assert!(all > 3000, "the others are served, too: {all}");
        assert!(*least * 5 >= *most * 2, "{least} and {most}");
    }

    /// The fault: each of the 65,536 networks of one provider was a new one, and had every token.
    #[test]
    fn a_provider_with_very_many_networks_leaves_a_place_for_who_comes_anew() {
        let mut share = Share::default();
        for ms in 0..300_000_u64 {
            for knock in 0..10 {
                share.take(six(1, (ms * 10 + knock) as u16), at(ms));
            }
            if ms > 10_000 && ms % 1000 == 0 {
                assert!(share.take(network((ms / 1000) as u32), at(ms)), "IPv4 at {ms} ms");
                let other = six(2 + (ms / 1000) as u32, 0);
                assert!(share.take(other, at(ms + 300)), "another provider at {ms} ms");
            }
        }
    }

    #[test]
    fn however_many_networks_there_are_few_are_remembered() {
        let mut share = Share::default();
        for n in 0..2_000_000_u32 {
            share.take(network(n % 60_000), at(u64::from(n)));
        }
        let most = RATE as usize * (MEMORY + FORGET_EVERY).as_secs() as usize + RATE as usize;
        assert!(share.len() <= most, "{}", share.len());
    }
}
