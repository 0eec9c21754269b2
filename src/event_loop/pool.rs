//! The accepted connections that are not established yet: how many of whom, and who goes first
//! when there are too many.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
};

use super::gate::subnet;
use crate::address::Cidr;

/// All pending connections. As large as its owner lets it become.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Who goes first comes first: everybody by age, then the authenticated by age.
    places: BTreeMap<(bool, u64), u32>,
    /// Those that have not begun, by age.
    silent: BTreeMap<u64, u32>,
    per_ip: BTreeMap<IpAddr, usize>,
    per_subnet: BTreeMap<Cidr, usize>,
    next: u64,
}

/// A connection's place in the pool.
#[derive(Debug)]
pub(super) struct Place {
    /// Later ones have a greater number.
    number: u64,
    is_authenticated: bool,
    /// `None`: exempt from the rules about addresses.
    ip: Option<IpAddr>,
}

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Pool {
    /// Takes the connection in; `None` as address does not count for the rules about addresses.
    pub(super) fn join(&mut self, slot: u32, ip: Option<IpAddr>) -> Place {
        let number = self.next;
        self.next += 1;
        self.places.insert((false, number), slot);
        if let Some(ip) = ip {
            *self.per_ip.entry(ip).or_default() += 1;
            *self.per_subnet.entry(subnet(ip)).or_default() += 1;
        }
        Place { number, is_authenticated: false, ip }
    }

    /// The connection is over, or established.
    pub(super) fn leave(&mut self, place: Place) {
        self.places.remove(&(place.is_authenticated, place.number));
        self.silent.remove(&place.number);
        if let Some(ip) = place.ip {
            release(&mut self.per_ip, ip);
            release(&mut self.per_subnet, subnet(ip));
        }
    }

    /// Whether it has proven who it is: then it goes after everybody who has not.
    pub(super) fn set_authenticated(&mut self, place: &mut Place, is_authenticated: bool) {
        let before = std::mem::replace(&mut place.is_authenticated, is_authenticated);
        if before != is_authenticated
            && let Some(slot) = self.places.remove(&(before, place.number))
        {
            self.places.insert((is_authenticated, place.number), slot);
        }
    }

    /// The handshake may begin and has not.
    pub(super) fn set_silent(&mut self, place: &Place, slot: u32) {
        self.silent.insert(place.number, slot);
    }

    /// The handshake of the connection with this number has begun.
    pub(super) fn set_begun(&mut self, number: u64) {
        self.silent.remove(&number);
    }

    /// The oldest that has not begun, among those that joined before that number was next.
    pub(super) fn oldest_silent(&self, before: u64) -> Option<u32> {
        let (number, slot) = self.silent.first_key_value()?;
        (*number < before).then_some(*slot)
    }

    /// Whether somebody has not begun.
    pub(super) fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// The number that the next one gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Who has to go for somebody else.
    pub(super) fn first_to_go(&self) -> Option<u32> {
        self.places.first_key_value().map(|(_, slot)| *slot)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn of_ip(&self, ip: &IpAddr) -> usize {
        self.per_ip.get(ip).copied().unwrap_or(0)
    }

    pub(super) fn of_subnet(&self, subnet: &Cidr) -> usize {
        self.per_subnet.get(subnet).copied().unwrap_or(0)
    }
}

fn release<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Entry::Occupied(mut entry) = counts.entry(key) {
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_authenticated_last() {
        let mut pool = Pool::default();
        let mut places: Vec<_> = (0..3).map(|slot| pool.join(slot, None)).collect();
        assert_eq!(pool.first_to_go(), Some(0));
        pool.set_authenticated(&mut places[0], true);
        assert_eq!(pool.first_to_go(), Some(1));
        pool.leave(places.remove(1));
        assert_eq!(pool.first_to_go(), Some(2));
        pool.leave(places.remove(1));
        assert_eq!(pool.first_to_go(), Some(0));
        let newest = pool.join(3, None);
        assert_eq!(pool.first_to_go(), Some(3));
        // A refused one has lost its privilege.
        pool.set_authenticated(&mut places[0], false);
        assert_eq!(pool.first_to_go(), Some(0));
        pool.leave(places.remove(0));
        pool.leave(newest);
        assert_eq!((pool.len(), pool.first_to_go()), (0, None));
    }

    #[test]
    fn nothing_is_left_of_those_that_leave() {
        let mut pool = Pool::default();
        let join = |pool: &mut Pool, n: u8| pool.join(n.into(), Some([10, 0, n % 3, n].into()));
        let places: Vec<_> = (0..100).map(|n| join(&mut pool, n)).collect();
        for (slot, place) in places.iter().enumerate() {
            pool.set_silent(place, slot as u32);
        }
        assert_eq!(pool.of_subnet(&"10.0.0.0/24".parse().unwrap()), 34);
        assert_eq!((pool.oldest_silent(0), pool.oldest_silent(1)), (None, Some(0)));
        pool.set_begun(places[0].number());
        assert_eq!(pool.oldest_silent(100), Some(1));
        places.into_iter().for_each(|place| pool.leave(place));
        assert!(pool.places.is_empty() && pool.silent.is_empty());
        assert!(pool.per_ip.is_empty() && pool.per_subnet.is_empty());
    }
}
