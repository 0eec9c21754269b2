//! Nodes to be connected to at all times.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{address::PeerAddress, identity::NodeId, reactor::DisconnectReason, time::Mono};

/// Addresses that are kept of one name: more than any node has, so that a name server which tells
/// ever more of them does not open the door for all of them.
pub(super) const MAX_RESOLVED: usize = 16;

/// A node to be connected to at all times.
#[derive(Debug)]
pub(super) struct Persistent {
    /// Where it is, one place or more: an operator may list a node under several addresses.
    places: Vec<Place>,
    /// Which of them is dialed next. Each failed attempt gives the turn to the next one, so that the
    /// one that works keeps it.
    turn: usize,
    /// Attempts in a row that failed, or whose session ended before it was a success.
    pub(super) failures: u32,
    /// Look-ups of its name that have failed since: they make the pauses longer, but without a link
    /// all of them fail, and nobody is given up for that.
    pub(super) failed_lookups: u32,
    /// The last session was a long one: its node is dialed again at once, once.
    pub(super) is_lost: bool,
    /// When it is dialed next; `None` while there is a session or an attempt.
    pub(super) next: Option<Mono>,
    /// How the last attempt or session ended.
    pub(super) last: Option<DisconnectReason>,
}

/// Where a node is.
#[derive(Debug)]
struct Place {
    /// As configured, and always dialed there: what an inbound session says of its address is not
    /// trusted, and a name is resolved anew each time.
    addr: PeerAddress,
    /// What its name stood for when it was resolved last.
    resolved: Vec<IpAddr>,
}

impl Place {
    fn new(addr: PeerAddress) -> Self {
        Self { addr, resolved: Vec::new() }
    }
}

impl Persistent {
    fn new(addr: PeerAddress) -> Self {
        Self {
            places: vec![Place::new(addr)],
            turn: 0,
            failures: 0,
            failed_lookups: 0,
            is_lost: false,
            next: None,
            last: None,
        }
    }

    /// Where it is dialed next.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is one place at least, and `turn` stays below their number"
    )]
    pub(super) fn addr(&self) -> &PeerAddress {
        &self.places[self.turn].addr
    }

    /// How many addresses it has.
    pub(super) fn num_places(&self) -> u32 {
        self.places.len() as u32
    }

    /// The next attempt goes to its next address.
    pub(super) fn turn(&mut self) {
        self.turn = (self.turn + 1) % self.places.len();
    }
}

/// All of them. **Invariant**, kept by the core: each has a session, an attempt, or a `next`.
#[derive(Debug, Default)]
pub(super) struct PersistentPeers(BTreeMap<NodeId, Persistent>);

impl PersistentPeers {
    /// Adds a node, or one more address of it.
    pub(super) fn add(&mut self, addr: PeerAddress) {
        let peer = self.0.entry(addr.id()).or_insert_with(|| Persistent::new(addr.clone()));
        if peer.places.iter().all(|place| place.addr != addr) {
            peer.places.push(Place::new(addr));
        }
    }

    /// Adds a node, or gives it this address alone.
    pub(super) fn set(&mut self, addr: PeerAddress) {
        let peer = self.0.entry(addr.id()).or_insert_with(|| Persistent::new(addr.clone()));
        if peer.places.len() > 1 || *peer.addr() != addr {
            (peer.places, peer.turn) = (vec![Place::new(addr)], 0);
            (peer.failures, peer.failed_lookups) = (0, 0);
        }
    }

    pub(super) fn remove(&mut self, id: &NodeId) -> Option<Persistent> {
        self.0.remove(id)
    }

    /// The name of an address of the node was resolved.
    pub(super) fn set_resolved(&mut self, addr: &PeerAddress, found: &[SocketAddr]) {
        let peer = self.0.get_mut(&addr.id());
        let place = peer.and_then(|peer| peer.places.iter_mut().find(|place| place.addr == *addr));
        if let Some(place) = place {
            let ips = found.iter().map(|addr| addr.ip().to_canonical());
            place.resolved = ips.take(MAX_RESOLVED).collect();
        }
    }

    /// Where they are: the addresses that are configured, and what configured names stand for.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let of = |place: &Place| {
            let configured = place.addr.net_address().map(|addr| addr.ip().to_canonical());
            configured.into_iter().chain(place.resolved.clone())
        };
        self.0.values().flat_map(|peer| &peer.places).flat_map(of).collect()
    }

    pub(super) fn contains(&self, id: &NodeId) -> bool {
        self.0.contains_key(id)
    }

    pub(super) fn get(&self, id: &NodeId) -> Option<&Persistent> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Persistent> {
        self.0.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Persistent)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";

    fn addr(location: &str) -> PeerAddress {
        format!("{ID}@{location}").parse().unwrap()
    }

    /// The door knows all of them: the node may dial us from any.
    #[test]
    fn a_node_is_at_each_of_its_addresses_and_where_their_names_lead() {
        let mut peers = PersistentPeers::default();
        let (first, second) = (addr("1.2.3.4:1"), addr("a.example.com:1"));
        peers.add(first.clone());
        peers.add(second.clone());
        peers.add(first.clone());
        let id = first.id();
        assert_eq!(peers.get(&id).unwrap().num_places(), 2);
        peers.set_resolved(&second, &["5.6.7.8:1".parse().unwrap()]);
        let ips = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(peers.addresses(), ips(&["1.2.3.4", "5.6.7.8"]));
        // What a name that is not configured stands for is no matter.
        peers.set_resolved(&addr("b.example.com:1"), &["9.9.9.9:1".parse().unwrap()]);
        assert_eq!(peers.addresses(), ips(&["1.2.3.4", "5.6.7.8"]));
        let peer = peers.get_mut(&id).unwrap();
        let turns = [0; 3].map(|_| {
            let at = peer.addr().clone();
            peer.turn();
            at
        });
        assert_eq!(turns, [first.clone(), second, first.clone()]);
        peers.set(addr("4.3.2.1:1"));
        assert_eq!(peers.addresses(), ips(&["4.3.2.1"]));
        assert_eq!(*peers.get(&id).unwrap().addr(), addr("4.3.2.1:1"));
    }
}
