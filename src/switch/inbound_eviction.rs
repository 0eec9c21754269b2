//! Which of the peers that dialed us goes when there is no room and another one comes.
//!
//! The rules are those of Bitcoin Core's `SelectNodeToEvict`, in shares of the places instead of
//! fixed numbers: each group of guests that is kept has something that an attacker cannot have for
//! all of its nodes at once, so that somebody who is worth having stays whatever the attacker does.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::{address::GroupKey, ids::ConnId};

/// Nobody goes before it was there so long without a message: whoever comes has so much time to
/// show what it is good for. An honest node with something to say says it in seconds.
const SILENT: Duration = Duration::from_secs(60);

/// Of the guests, the tenth that the salt chooses by their networks stays: nobody can foresee in
/// which networks he must have nodes. Bitcoin Core: 4 of 117.
const BY_CHANCE: usize = 10;
/// The fifth that is nearest: being near to everybody costs a machine at each place. 8 of 117.
const NEAREST: usize = 5;
/// The tenth that spoke last: it costs work to have something to say. 4 + 4 of 117.
const TALKING: usize = 10;
/// Then half of the others, the oldest: an attacker who comes now cannot have been there before.
const OLDEST: usize = 2;

/// What is known of a peer that dialed us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest {
    pub(super) conn: ConnId,
    /// It has a place of its own and never goes.
    pub(super) is_reserved: bool,
    /// Whose part of the internet it comes from; `None`: that is not looked at.
    pub(super) group: Option<GroupKey>,
    /// How long it is there.
    pub(super) age: Duration,
    /// How long ago its last message came; its age, if there was none.
    pub(super) silent: Duration,
    /// Its round trip, once one was measured.
    pub(super) rtt: Option<Duration>,
}

impl Guest {
    fn has_spoken(&self) -> bool {
        self.silent < self.age
    }

    fn may_go(&self) -> bool {
        !self.is_reserved && self.silent >= SILENT && self.age >= SILENT
    }
}

/// A seed is there for whoever asks: the guest goes that was silent longest.
pub(super) fn of_seed(guests: &[Guest]) -> Option<ConnId> {
    let may_go = guests.iter().filter(|guest| guest.may_go());
    may_go.max_by_key(|guest| (guest.silent, guest.age, guest.conn)).map(|guest| guest.conn)
}

/// The guest that protects us least, if the newcomer's group has fewer guests than that one's. The
/// salt is a secret of this node.
pub(super) fn of_node(guests: &[Guest], newcomer: GroupKey, salt: u64) -> Option<ConnId> {
    let mut sizes: BTreeMap<GroupKey, usize> = BTreeMap::new();
    for group in guests.iter().filter(|guest| !guest.is_reserved).filter_map(|guest| guest.group) {
        *sizes.entry(group).or_default() += 1;
    }
    let size = |group: Option<GroupKey>| group.and_then(|g| sizes.get(&g)).copied().unwrap_or(0);
    let mut left: Vec<&Guest> =
        guests.iter().filter(|guest| guest.may_go() && guest.group.is_some()).collect();
    let all = left.len();
    keep(&mut left, all / BY_CHANCE, |guest| {
        let mut hasher = DefaultHasher::new();
        (salt, guest.group).hash(&mut hasher);
        Some(hasher.finish())
    });
    keep(&mut left, all / NEAREST, |guest| guest.rtt);
    keep(&mut left, all / TALKING, |guest| guest.has_spoken().then_some(guest.silent));
    let oldest = left.len().div_ceil(OLDEST);
    keep(&mut left, oldest, |guest| Some(Reverse(guest.age)));
    left.retain(|guest| size(guest.group) > size(Some(newcomer)));
    // The youngest of the largest group.
    let least = left
        .into_iter()
        .max_by_key(|guest| (size(guest.group), guest.group, Reverse(guest.age), guest.conn));
    least.map(|guest| guest.conn)
}

/// Takes the first so many out, by this key, of those that have one: they stay.
fn keep<K: Ord>(left: &mut Vec<&Guest>, many: usize, key: impl Fn(&Guest) -> Option<K>) {
    let with_key = left.iter().filter(|guest| key(guest).is_some()).count();
    left.sort_by_cached_key(|guest| {
        let key = key(guest);
        (key.is_none(), key, guest.conn)
    });
    left.drain(..many.min(with_key));
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{address::NetAddress, identity::NodeId};

    const MINUTE: Duration = Duration::from_secs(60);

    fn group(n: u8) -> GroupKey {
        NetAddress::new(NodeId::from_bytes([1; 20]), IpAddr::from([20, n, 0, 1]), 1).group_key(true)
    }

    /// Came so many minutes ago, said nothing, and is as far as others.
    fn guest(n: u32, from: u8, minutes: u32) -> Guest {
        let age = MINUTE * minutes;
        Guest {
            conn: ConnId::new(0, n, 0),
            is_reserved: false,
            group: Some(group(from)),
            age,
            silent: age,
            rtt: None,
        }
    }

    /// 20 strangers from one network, who came last, and 20 that are there for longer.
    fn captured() -> Vec<Guest> {
        let honest = (0..20).map(|n| guest(n, n as u8 + 1, 100 + n));
        honest.chain((20..40).map(|n| guest(n, 100, n))).collect()
    }

    #[test]
    fn the_youngest_of_the_largest_network_goes() {
        let guests = captured();
        let goes: Vec<_> = (0..50).filter_map(|salt| of_node(&guests, group(200), salt)).collect();
        assert!(goes.len() == 50 && goes.iter().all(|conn| conn.slot() >= 20), "{goes:?}");
        // Unless chance keeps some of that network.
        assert!(goes.iter().filter(|conn| **conn == guests[20].conn).count() > 25, "{goes:?}");
        // Not for another one of that network.
        assert_eq!(of_node(&guests, group(100), 7), None);
        // Nor for one of a network that has as many as all others.
        let even: Vec<Guest> = (0..40).map(|n| guest(n, n as u8, 5 + n)).collect();
        assert_eq!(of_node(&even, group(3), 7), None);
        assert!(of_node(&even, group(200), 7).is_some());
    }

    #[test]
    fn who_is_near_or_talks_or_came_first_stays() {
        let captured = captured();
        let goes = |change: &dyn Fn(&mut Guest)| {
            let mut guests = captured.clone();
            change(&mut guests[20]);
            // The chance that keeps a whole network is another matter.
            (0..50)
                .filter(|salt| of_node(&guests, group(200), *salt) == Some(guests[20].conn))
                .count()
        };
        assert!(goes(&|_| {}) > 25);
        assert_eq!(goes(&|guest| guest.rtt = Some(Duration::from_millis(1))), 0);
        assert_eq!(goes(&|guest| guest.silent = MINUTE), 0, "it has spoken last");
        assert_eq!(goes(&|guest| guest.silent = MINUTE / 2), 0);
        assert_eq!(goes(&|guest| guest.age = MINUTE * 1000), 0);
        assert_eq!(goes(&|guest| guest.is_reserved = true), 0);
        assert_eq!(goes(&|guest| guest.group = None), 0);
    }

    #[test]
    fn the_salt_decides_which_networks_are_kept() {
        let guests: Vec<Guest> = (0..40).map(|n| guest(n, n as u8, 10)).collect();
        let gone: std::collections::BTreeSet<_> =
            (0..50).filter_map(|salt| of_node(&guests, group(200), salt)).collect();
        assert!(gone.len() > 1, "{gone:?}");
    }

    #[test]
    fn a_seed_ends_the_one_that_was_silent_longest_and_nobody_before_a_minute() {
        let mut guests: Vec<Guest> = (0..5).map(|n| guest(n, 1, n)).collect();
        assert_eq!(of_seed(&guests), Some(guests[4].conn));
        guests[4].silent = MINUTE / 2;
        assert_eq!(of_seed(&guests), Some(guests[3].conn));
        guests[3].is_reserved = true;
        assert_eq!(of_seed(&guests), Some(guests[2].conn));
        assert_eq!(of_seed(&guests[..1]), None);
        assert_eq!(of_seed(&[]), None);
    }

    fn any_guest() -> impl Strategy<Value = Guest> {
        let rtt = prop_oneof![Just(None), (1u64..9).prop_map(|ms| Some(Duration::from_millis(ms)))];
        (0u8..6, 0u64..400, 0u64..400, rtt, 0u8..8).prop_map(|(from, age, silent, rtt, kind)| {
            Guest {
                conn: ConnId::new(0, 0, 0),
                is_reserved: kind == 0,
                group: (kind != 1).then(|| group(from)),
                age: Duration::from_secs(age),
                silent: Duration::from_secs(silent.min(age)),
                rtt,
            }
        })
    }

    proptest! {
        #[test]
        fn nobody_goes_who_must_not(
            mut guests in vec(any_guest(), 0..60),
            newcomer in 0u8..7,
            salt: u64,
            turn in 0usize..60,
        ) {
            for (n, guest) in guests.iter_mut().enumerate() {
                guest.conn = ConnId::new(0, n as u32, 0);
            }
            let of = |conn: ConnId| guests[conn.slot() as usize];
            let size = |group| {
                guests.iter().filter(|g| !g.is_reserved && g.group == Some(group)).count()
            };
            let goes = of_node(&guests, group(newcomer), salt);
            for conn in goes.into_iter().chain(of_seed(&guests)) {
                let guest = of(conn);
                prop_assert!(!guest.is_reserved && guest.silent >= SILENT && guest.age >= SILENT);
            }
            if let Some(guest) = goes.map(of) {
                let (theirs, ours) = (size(guest.group.unwrap()), size(group(newcomer)));
                prop_assert!(theirs > ours, "{} for {}", theirs, ours);
                let may_go: Vec<_> =
                    guests.iter().filter(|g| g.may_go() && g.group.is_some()).collect();
                // It is one of them itself.
                let nearer = may_go.iter().filter(|g| g.rtt.is_some() && g.rtt <= guest.rtt);
                prop_assert!(guest.rtt.is_none() || nearer.count() > may_go.len() / NEAREST);
                let later = may_go.iter().filter(|g| g.has_spoken() && g.silent <= guest.silent);
                prop_assert!(!guest.has_spoken() || later.count() > may_go.len() / TALKING);
                let older = may_go.iter().filter(|g| g.age >= guest.age).count();
                prop_assert!(older > (may_go.len() * 2 / 5).div_ceil(2).saturating_sub(1));
            }
            // It does not matter in which order they are told.
            let mut turned = guests.clone();
            turned.rotate_left(turn % guests.len().max(1));
            prop_assert_eq!(of_node(&turned, group(newcomer), salt), goes);
            prop_assert_eq!(of_seed(&turned), of_seed(&guests));
        }
    }
}
