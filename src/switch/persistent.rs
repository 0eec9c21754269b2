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
    /// As configured, and always dialed there: what an inbound session says of its address is not
    /// trusted, and a name is resolved anew each time.
    pub(super) addr: PeerAddress,
    /// What its name stood for when it was resolved last.
    resolved: Vec<IpAddr>,
    /// Attempts in a row that failed, or whose session ended before it was a success.
    pub(super) failures: u32,
    /// Look-ups of its name that have failed since: they make the pauses longer, but without a link
    /// all of them fail, and nobody is given up for that.
    pub(super) failed_lookups: u32,
    /// When it is dialed next; `None` while there is a session or an attempt.
    pub(super) next: Option<Mono>,
    /// How the last attempt or session ended.
    pub(super) last: Option<DisconnectReason>,
}

/// All of them. **Invariant**, kept by the core: each has a session, an attempt, or a `next`.
#[derive(Debug, Default)]
pub(super) struct PersistentPeers(BTreeMap<NodeId, Persistent>);

impl PersistentPeers {
    /// Adds a node, or gives it another address.
    pub(super) fn add(&mut self, addr: PeerAddress) {
        let new = Persistent {
            addr: addr.clone(),
            resolved: Vec::new(),
            failures: 0,
            failed_lookups: 0,
            next: None,
            last: None,
        };
        let peer = self.0.entry(addr.id()).or_insert(new);
        if peer.addr != addr {
            (peer.addr, peer.failures, peer.failed_lookups) = (addr, 0, 0);
            peer.resolved.clear();
        }
    }

    pub(super) fn remove(&mut self, id: &NodeId) -> Option<Persistent> {
        self.0.remove(id)
    }

    /// The name of the node's address was resolved.
    pub(super) fn set_resolved(&mut self, addr: &PeerAddress, found: &[SocketAddr]) {
        if let Some(peer) = self.0.get_mut(&addr.id()).filter(|peer| peer.addr == *addr) {
            let ips = found.iter().map(|addr| addr.ip().to_canonical());
            peer.resolved = ips.take(MAX_RESOLVED).collect();
        }
    }

    /// Where they are: the addresses that are configured, and what configured names stand for.
    pub(super) fn addresses(&self) -> BTreeSet<IpAddr> {
        let of = |peer: &Persistent| {
            let configured = peer.addr.net_address().map(|addr| addr.ip().to_canonical());
            configured.into_iter().chain(peer.resolved.clone())
        };
        self.0.values().flat_map(of).collect()
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
