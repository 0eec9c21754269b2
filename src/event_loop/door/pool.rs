//! The accepted connections that are no sessions yet: how many of whom, and who goes first when
//! there are too many.

use std::{collections::BTreeMap, net::IpAddr};

use super::{counts::Counts, networks::networks, standing::Standing};
use crate::address::Cidr;

/// How far a connection has come. Who has come less far goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::event_loop) enum Class {
    /// We have refused it, and only its farewell is under way.
    Refused,
    /// Has not proven who it is.
    Unproven,
    /// Has, and has not sent its NodeInfo.
    Authenticated,
    /// Waits for the switch's verdict.
    Established,
}

/// All pending connections. As large as its owner lets it become.
#[derive(Debug, Default)]
pub(in crate::event_loop) struct Pool {
    strangers: Group,
    /// Those for whom room is kept.
    favoured: Group,
    /// Those that have not begun, by age.
    silent: BTreeMap<u64, u32>,
    /// Those that the switch is to be asked about, by age.
    unasked: BTreeMap<u64, u32>,
    per_ip: Counts<IpAddr>,
    per_network: Counts<Cidr>,
    next: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// Who goes first comes first: by class, then by the time in the class.
    places: BTreeMap<(Class, u64), u32>,
    authenticated: usize,
}

/// A connection's place in the pool.
#[derive(Debug)]
pub(in crate::event_loop) struct Place {
    /// Later ones have a greater number.
    number: u64,
    /// Those later in the class have a greater one.
    order: u64,
    class: Class,
    is_favoured: bool,
    /// It counts for the rules about addresses.
    ip: Option<IpAddr>,
    /// And for those about networks.
    has_networks: bool,
}

impl Place {
    pub(in crate::event_loop) fn number(&self) -> u64 {
        self.number
    }
}

impl Pool {
    /// Takes the connection in. `None` is one that counts for no rule about addresses.
    pub(in crate::event_loop) fn join(
        &mut self,
        slot: u32,
        who: Option<(IpAddr, Standing)>,
    ) -> Place {
        let number = self.next;
        self.next += 1;
        let (ip, is_favoured, has_networks) = match who {
            None => (None, false, false),
            Some((ip, Standing::Stranger)) => (Some(ip), false, true),
            Some((ip, Standing::Known)) => (Some(ip), true, false),
            Some((_, Standing::Exempt)) => (None, true, false),
        };
        if let Some(ip) = ip {
            self.per_ip.add(ip);
            for (network, _) in networks(ip).filter(|_| has_networks) {
                self.per_network.add(network);
            }
        }
        let class = Class::Unproven;
        let place = Place { number, order: number, class, is_favoured, ip, has_networks };
        self.group(is_favoured).insert(&place, slot);
        place
    }

    /// The connection is over, or a session.
    pub(in crate::event_loop) fn leave(&mut self, mut place: Place) {
        self.group(place.is_favoured).remove(&place);
        self.silent.remove(&place.number);
        self.unasked.remove(&place.number);
        self.release(&mut place);
    }

    /// How far it has come: with a class it is the newest of that class.
    pub(in crate::event_loop) fn set_class(&mut self, place: &mut Place, class: Class) {
        if place.class == class {
            return;
        }
        let Some(slot) = self.group(place.is_favoured).remove(place) else { return };
        (place.class, place.order) = (class, self.next);
        self.next += 1;
        if class == Class::Refused {
            place.is_favoured = false;
            self.silent.remove(&place.number);
            self.unasked.remove(&place.number);
        }
        if class == Class::Established {
            // The limits of addresses and networks are of handshakes.
            self.release(place);
        }
        self.group(place.is_favoured).insert(place, slot);
    }

    /// The handshake may begin and has not.
    pub(in crate::event_loop) fn set_silent(&mut self, place: &Place, slot: u32) {
        self.silent.insert(place.number, slot);
    }

    /// The handshake of the connection with this number has begun.
    pub(in crate::event_loop) fn set_begun(&mut self, number: u64) {
        self.silent.remove(&number);
    }

    /// The oldest that has not begun, among those that joined before that number was next.
    pub(in crate::event_loop) fn oldest_silent(&self, before: u64) -> Option<u32> {
        let (number, slot) = self.silent.first_key_value()?;
        (*number < before).then_some(*slot)
    }

    /// Whether somebody has not begun.
    pub(in crate::event_loop) fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// The switch is to be asked about it.
    pub(in crate::event_loop) fn set_unasked(&mut self, place: &Place, slot: u32) {
        self.unasked.insert(place.number, slot);
    }

    /// Takes out the oldest that the switch is to be asked about.
    pub(in crate::event_loop) fn pop_unasked(&mut self) -> Option<u32> {
        self.unasked.pop_first().map(|(_, slot)| slot)
    }

    /// Whether the switch is to be asked about somebody.
    pub(in crate::event_loop) fn has_unasked(&self) -> bool {
        !self.unasked.is_empty()
    }

    /// The number that the next one gets.
    pub(in crate::event_loop) fn next(&self) -> u64 {
        self.next
    }

    /// Who has to go for somebody else, of so many places: who was refused; then, if more than a
    /// quarter of the places is theirs, who has authenticated itself and sends nothing more; then a
    /// stranger, unless the others have more than half of the places.
    pub(in crate::event_loop) fn first_to_go(&self, most: usize) -> Option<u32> {
        let refused = self.strangers.places.first_key_value();
        if let Some(((Class::Refused, _), slot)) = refused {
            return Some(*slot);
        }
        let quarter = (most / 4).max(1);
        let mut groups = [&self.strangers, &self.favoured];
        if let Some(group) = groups.iter().find(|group| group.authenticated > quarter) {
            let mut oldest = group.places.range((Class::Authenticated, 0)..);
            return oldest.next().map(|(_, slot)| *slot);
        }
        if self.favoured.places.len() > (most / 2).max(1) {
            groups.reverse();
        }
        groups.iter().find_map(|group| group.places.first_key_value()).map(|(_, slot)| *slot)
    }

    pub(in crate::event_loop) fn len(&self) -> usize {
        self.strangers.places.len() + self.favoured.places.len()
    }

    pub(in crate::event_loop) fn of_ip(&self, ip: &IpAddr) -> usize {
        self.per_ip.of(ip)
    }

    pub(in crate::event_loop) fn of_network(&self, network: &Cidr) -> usize {
        self.per_network.of(network)
    }

    fn group(&mut self, is_favoured: bool) -> &mut Group {
        if is_favoured { &mut self.favoured } else { &mut self.strangers }
    }

    /// Counts no longer for the rules about addresses.
    fn release(&mut self, place: &mut Place) {
        let Some(ip) = place.ip.take() else { return };
        self.per_ip.remove(ip);
        for (network, _) in networks(ip).filter(|_| place.has_networks) {
            self.per_network.remove(network);
        }
    }
}

impl Group {
    fn insert(&mut self, place: &Place, slot: u32) {
        self.authenticated += usize::from(place.class == Class::Authenticated);
        self.places.insert((place.class, place.order), slot);
    }

    fn remove(&mut self, place: &Place) -> Option<u32> {
        let slot = self.places.remove(&(place.class, place.order))?;
        self.authenticated -= usize::from(place.class == Class::Authenticated);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: usize = 1000;

    fn known(n: u8) -> Option<(IpAddr, Standing)> {
        Some(([10, 0, 0, n].into(), Standing::Known))
    }

    #[test]
    fn the_oldest_goes_first_and_who_has_come_furthest_last() {
        let mut pool = Pool::default();
        let mut places: Vec<_> = (0..4).map(|slot| pool.join(slot, None)).collect();
        assert_eq!(pool.first_to_go(MANY), Some(0));
        pool.set_class(&mut places[0], Class::Authenticated);
        assert_eq!(pool.first_to_go(MANY), Some(1));
        pool.set_class(&mut places[1], Class::Established);
        pool.leave(places.remove(2));
        pool.leave(places.remove(2));
        assert_eq!(pool.first_to_go(MANY), Some(0));
        let newest = pool.join(9, None);
        assert_eq!(pool.first_to_go(MANY), Some(9));
        // A refused one has lost its privilege.
        pool.set_class(&mut places[1], Class::Refused);
        assert_eq!(pool.first_to_go(MANY), Some(1));
        pool.leave(places.remove(1));
        pool.leave(newest);
        assert_eq!(pool.first_to_go(MANY), Some(0));
        pool.leave(places.remove(0));
        assert_eq!((pool.len(), pool.first_to_go(MANY)), (0, None));
    }

    #[test]
    fn a_quarter_is_for_those_who_authenticated_and_are_silent_the_oldest_go() {
        let mut pool = Pool::default();
        let mut places: Vec<_> = (0..12).map(|slot| pool.join(slot, None)).collect();
        // In another order than they came.
        for slot in [7, 3, 11] {
            pool.set_class(&mut places[slot], Class::Authenticated);
            assert_eq!(pool.first_to_go(12), Some(0), "who has not goes before them");
        }
        pool.set_class(&mut places[1], Class::Authenticated);
        assert_eq!(pool.first_to_go(12), Some(7), "more than three of twelve: the first of them");
        pool.set_class(&mut places[3], Class::Established);
        assert_eq!(pool.first_to_go(12), Some(0), "who sends its NodeInfo is none of them");
        assert_eq!((pool.first_to_go(4), pool.first_to_go(1)), (Some(7), Some(7)), "one at least");
    }

    #[test]
    fn strangers_go_before_those_for_whom_room_is_kept() {
        let mut pool = Pool::default();
        let mut stranger = pool.join(0, None);
        pool.set_class(&mut stranger, Class::Established);
        let _known: Vec<_> = (1..=4).map(|n| pool.join(n.into(), known(n))).collect();
        assert_eq!(pool.first_to_go(8), Some(0), "up to half of the places");
        assert_eq!(pool.first_to_go(7), Some(1), "and then they take no more from the others");
        pool.leave(stranger);
        assert_eq!(pool.first_to_go(8), Some(1));
        let mut refused = pool.join(9, known(9));
        pool.set_class(&mut refused, Class::Refused);
        assert_eq!(pool.first_to_go(4), Some(9));
    }

    #[test]
    fn nothing_is_left_of_those_that_leave() {
        let mut pool = Pool::default();
        let standing = [Standing::Stranger, Standing::Known, Standing::Exempt];
        let classes = [Class::Unproven, Class::Authenticated, Class::Established, Class::Refused];
        let mut places: Vec<_> = (0..100_u8)
            .map(|n| {
                let ip = match n % 2 {
                    0 => [10, 0, n % 3, n].into(),
                    _ => format!("2001:db8:0:{n}::1").parse().unwrap(),
                };
                pool.join(n.into(), Some((ip, standing[usize::from(n) / 5 % 3])))
            })
            .collect();
        for (slot, place) in places.iter().enumerate() {
            pool.set_silent(place, slot as u32);
            pool.set_unasked(place, slot as u32);
        }
        assert_eq!((pool.oldest_silent(0), pool.oldest_silent(1)), (None, Some(0)));
        pool.set_begun(places[0].number());
        assert_eq!(pool.oldest_silent(100), Some(1));
        for (n, place) in places.iter_mut().enumerate() {
            pool.set_class(place, classes[n % 4]);
        }
        places.into_iter().for_each(|place| pool.leave(place));
        assert!(pool.silent.is_empty() && pool.unasked.is_empty() && pool.len() == 0);
        assert!(pool.per_ip.is_empty() && pool.per_network.is_empty());
        assert_eq!((pool.strangers.authenticated, pool.favoured.authenticated), (0, 0));
    }

    #[test]
    fn who_waits_for_a_verdict_is_no_handshake_of_its_address() {
        let mut pool = Pool::default();
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut place = pool.join(0, Some((ip, Standing::Stranger)));
        let network = networks(ip).next().unwrap().0;
        assert_eq!((pool.of_ip(&ip), pool.of_network(&network), pool.len()), (1, 1, 1));
        pool.set_class(&mut place, Class::Established);
        assert_eq!((pool.of_ip(&ip), pool.of_network(&network), pool.len()), (0, 0, 1));
    }

    #[test]
    fn who_is_to_be_asked_about_is_known_until_it_was_taken_out() {
        let mut pool = Pool::default();
        let places: Vec<_> = (0..2).map(|slot| pool.join(slot, None)).collect();
        assert!(!pool.has_unasked());
        for (place, slot) in places.iter().zip([0, 1]).rev() {
            pool.set_unasked(place, slot);
        }
        for oldest in [0, 1] {
            assert!(pool.has_unasked());
            assert_eq!(pool.pop_unasked(), Some(oldest));
        }
        assert!(!pool.has_unasked() && pool.pop_unasked().is_none());
        places.into_iter().for_each(|place| pool.leave(place));
    }
}
