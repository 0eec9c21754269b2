//! Every authenticated connection, and which of them are sessions.
//!
//! What is asked at each event is counted as connections come, change and go: nothing here looks
//! at all of them, however many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{attempt::Attempt, network::Networks};
use crate::{
    address::GroupKey,
    identity::NodeId,
    ids::{ConnId, Direction},
    node_info::NodeInfo,
    time::Mono,
};

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) id: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) direction: Direction,
    pub(super) node_info: Arc<NodeInfo>,
    /// The attempt that it came from, until it is known how that ended.
    pub(super) attempt: Option<Attempt>,
    /// When it was established.
    pub(super) established: Mono,
    /// Changed by [`PeerSet::enter`] alone.
    pub(super) stage: Stage,
    /// Since when it is in this stage.
    pub(super) since: Mono,
    /// Skips limits, and is counted in none. Changed by [`PeerSet::set_reserved`] alone.
    pub(super) is_reserved: bool,
    /// The part of the internet that it dialed us from, if networks are counted there.
    pub(super) group: Option<GroupKey>,
    /// It lasted or delivered a message: the attempt was a success.
    pub(super) is_proven: bool,
    /// When its end was seen; it is closed as soon as what has arrived is delivered.
    pub(super) ending: Option<Mono>,
    /// Another one has its place, and it is being closed. Changed by [`PeerSet::replace`] alone.
    pub(super) is_replaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Just reported; nothing is decided.
    New,
    /// The peer filters were asked.
    Filtering,
    /// It has the ID of a session, and waits whether that is still alive.
    Parked(Parked),
    /// The reactors are being told.
    Introducing,
    /// It is a session.
    Up,
    /// It was refused and is about to be closed.
    Refused,
}

/// Why a duplicate waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parked {
    /// Both nodes dialed each other at once, and the other one decides which connection stays.
    Crossed(Mono),
    /// The session was asked for a sign of life.
    Probing(Mono),
    /// The session is over; its `Closed` is under way.
    Succeeding,
}

/// The connections.
#[derive(Debug, Default)]
pub(super) struct PeerSet {
    /// Boxed: nodes of a map that grows at its end stay half empty, 290 bytes a connection.
    conns: BTreeMap<ConnId, Box<Conn>>,
    /// **Invariant:** all connections, by node.
    by_id: BTreeSet<(NodeId, ConnId)>,
    /// **Invariant:** exactly the connections that are `Introducing` or `Up`, one per ID.
    sessions: BTreeMap<NodeId, ConnId>,
    /// **Invariant:** exactly the connections that are `Filtering`, at most one per ID.
    filtering: BTreeMap<NodeId, ConnId>,
    /// **Invariant:** exactly the connections that are `Parked`, at most one per ID.
    parked: BTreeMap<NodeId, ConnId>,
    /// **Invariant:** those that [hold a place](Conn::holds_place), by address.
    ips: BTreeMap<IpAddr, Held>,
    /// **Invariant:** those of them that are not reserved, by direction.
    inbound: usize,
    outbound: usize,
    /// **Invariant:** those of them that count against the limit of their networks.
    networks: Networks,
}

/// Places that are held: all of them, and those that are not reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) all: usize,
    pub(super) limited: usize,
}

impl PeerSet {
    pub(super) fn insert(&mut self, id: ConnId, new: Conn) {
        self.by_id.insert((new.id, id));
        self.conns.insert(id, Box::new(new));
        self.tally(id, true);
    }

    /// Takes a closed connection out.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.tally(id, false);
        let conn = self.conns.remove(&id)?;
        self.unlist(conn.id, id);
        self.by_id.remove(&(conn.id, id));
        Some(*conn)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id).map(Box::as_ref)
    }

    /// For everything but what the lists and counts depend on.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.conns.iter().map(|(id, conn)| (*id, &**conn))
    }

    /// The connections with this node.
    pub(super) fn of(&self, node: &NodeId) -> impl Iterator<Item = (ConnId, &Conn)> {
        let first = ConnId::new(0, 0, 0);
        let conns = self.by_id.range((*node, first)..).take_while(move |(of, _)| of == node);
        conns.filter_map(|(_, id)| Some((*id, self.get(*id)?)))
    }

    /// Puts the connection into another stage, and on the lists where it belongs.
    pub(super) fn enter(&mut self, id: ConnId, stage: Stage, now: Mono) {
        self.change(id, |conn| (conn.stage, conn.since) = (stage, now));
        let Some(node) = self.conns.get(&id).map(|conn| conn.id) else { return };
        match stage {
            Stage::Introducing => {
                self.unlist(node, id);
                let before = self.sessions.insert(node, id);
                debug_assert_eq!(before, None, "two sessions with {node}");
            }
            Stage::Up => {}
            Stage::Parked(_) => _ = self.parked.insert(node, id),
            Stage::Filtering => {
                self.unlist(node, id);
                let before = self.filtering.insert(node, id);
                debug_assert_eq!(before, None, "the filters are asked twice about {node}");
            }
            Stage::New | Stage::Refused => self.unlist(node, id),
        }
    }

    /// The node is reserved from now on, or no longer.
    pub(super) fn set_reserved(&mut self, node: &NodeId, is_reserved: bool) {
        let conns: Vec<ConnId> = self.of(node).map(|(id, _)| id).collect();
        for id in conns {
            self.change(id, |conn| conn.is_reserved = is_reserved);
        }
    }

    /// Another one has this session's place from now on.
    pub(super) fn replace(&mut self, id: ConnId) {
        self.change(id, |conn| conn.is_replaced = true);
    }

    /// The session with this node.
    pub(super) fn session(&self, id: &NodeId) -> Option<ConnId> {
        self.sessions.get(id).copied()
    }

    /// The connection with this node about which the filters have not decided.
    pub(super) fn filtering(&self, id: &NodeId) -> Option<ConnId> {
        self.filtering.get(id).copied()
    }

    /// The duplicate that waits for the end of the session with this node.
    pub(super) fn parked(&self, id: &NodeId) -> Option<ConnId> {
        self.parked.get(id).copied()
    }

    /// Whether an attempt has brought a connection to this node that is still being decided about.
    pub(super) fn is_deciding_attempt(&self, id: &NodeId) -> bool {
        self.of(id).any(|(_, conn)| {
            conn.attempt.is_some() && matches!(conn.stage, Stage::Filtering | Stage::Parked(_))
        })
    }

    /// Sessions, and connections about to be, that count against the limit of their direction.
    pub(super) fn count(&self, direction: Direction) -> usize {
        match direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        }
    }

    /// Sessions, and connections about to be, with this address and other nodes than `besides`. Two
    /// connections with one node are told apart by its ID: if each node refused the second one for
    /// its address, both could go.
    pub(super) fn count_ip(&self, ip: IpAddr, besides: &NodeId) -> Held {
        let mut held = self.ips.get(&ip).copied().unwrap_or_default();
        for (_, conn) in self.of(besides).filter(|(_, conn)| conn.remote.ip() == ip) {
            held.all -= usize::from(conn.holds_place());
            held.limited -= usize::from(conn.is_limited());
        }
        held
    }

    /// Who counts against the limit of their networks.
    pub(super) fn networks(&self) -> &Networks {
        &self.networks
    }

    fn change(&mut self, id: ConnId, change: impl FnOnce(&mut Conn)) {
        self.tally(id, false);
        if let Some(conn) = self.conns.get_mut(&id) {
            change(conn);
        }
        self.tally(id, true);
    }

    /// Counts the connection, or what it counted for no more.
    fn tally(&mut self, id: ConnId, is_counted: bool) {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.holds_place()) else { return };
        let count = |held: &mut usize| if is_counted { *held += 1 } else { *held -= 1 };
        let ip = conn.remote.ip();
        let held = self.ips.entry(ip).or_default();
        count(&mut held.all);
        if conn.is_limited() {
            count(&mut held.limited);
            count(match conn.direction {
                Direction::Inbound => &mut self.inbound,
                Direction::Outbound => &mut self.outbound,
            });
            if conn.group.is_some() {
                self.networks.count(ip, is_counted);
            }
        }
        if held.all == 0 {
            self.ips.remove(&ip);
        }
    }

    fn unlist(&mut self, node: NodeId, id: ConnId) {
        for list in [&mut self.sessions, &mut self.filtering, &mut self.parked] {
            if list.get(&node) == Some(&id) {
                list.remove(&node);
            }
        }
    }
}

impl Conn {
    /// Whether it is a session or may become one without another being ended.
    pub(super) fn holds_place(&self) -> bool {
        matches!(self.stage, Stage::Filtering | Stage::Introducing | Stage::Up) && !self.is_replaced
    }

    /// Whether its place is one of a limited number.
    pub(super) fn is_limited(&self) -> bool {
        self.holds_place() && !self.is_reserved
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::address::NetAddress;

    fn conn(n: u8) -> ConnId {
        ConnId::new(0, u32::from(n), 0)
    }

    fn node(n: u8) -> NodeId {
        NodeId::from_bytes([n; 20])
    }

    fn ip(n: u8) -> IpAddr {
        [20, 0, n % 2, n % 3].into()
    }

    fn new(node: NodeId, ip: IpAddr, is_inbound: bool, is_reserved: bool) -> Conn {
        let group = NetAddress::new(node, ip, 1).group_key(true);
        Conn {
            id: node,
            remote: (ip, 1).into(),
            direction: if is_inbound { Direction::Inbound } else { Direction::Outbound },
            node_info: Arc::new(NodeInfo::new("test", "test").unwrap()),
            attempt: None,
            established: Mono::ZERO,
            stage: Stage::New,
            since: Mono::ZERO,
            is_reserved,
            group: is_inbound.then_some(group),
            is_proven: false,
            ending: None,
            is_replaced: false,
        }
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_a_look_at_all_would_count(
            steps in vec((0u8..12, 0u8..9, 0u8..6, any::<bool>(), any::<bool>()), 0..120),
        ) {
            let mut peers = PeerSet::default();
            for (n, step, of, is_inbound, is_reserved) in steps {
                let (id, of) = (conn(n), node(of));
                match step {
                    0 | 1 if peers.get(id).is_none() => {
                        peers.insert(id, new(of, ip(n), is_inbound, is_reserved));
                    }
                    2 => _ = peers.remove(id),
                    3 => peers.set_reserved(&of, is_reserved),
                    4 => peers.replace(id),
                    5 => {
                        let is_first = |conn: &Conn| {
                            peers.filtering(&conn.id).is_none_or(|first| first == id)
                        };
                        if peers.get(id).is_some_and(is_first) {
                            peers.enter(id, Stage::Filtering, Mono::ZERO);
                        }
                    }
                    6 => peers.enter(id, Stage::Refused, Mono::ZERO),
                    _ => {
                        let is_free = |conn: &Conn| peers.session(&conn.id).is_none();
                        if peers.get(id).is_some_and(is_free) {
                            peers.enter(id, Stage::Introducing, Mono::ZERO);
                            peers.enter(id, Stage::Up, Mono::ZERO);
                        }
                    }
                }
                let count = |is: &dyn Fn(&Conn) -> bool| peers.iter().filter(|(_, c)| is(c)).count();
                for direction in [Direction::Inbound, Direction::Outbound] {
                    let counted = count(&|c| c.is_limited() && c.direction == direction);
                    prop_assert_eq!(peers.count(direction), counted);
                }
                for (n, besides) in (0..6).flat_map(|n| (0..6).map(move |of| (n, node(of)))) {
                    let (ip, is_other) = (ip(n), |c: &Conn| c.id != besides);
                    let has_ip = |c: &Conn| is_other(c) && c.remote.ip() == ip;
                    let all = count(&|c| has_ip(c) && c.holds_place());
                    let limited = count(&|c| has_ip(c) && c.is_limited());
                    prop_assert_eq!(peers.count_ip(ip, &besides), Held { all, limited });
                    let same = |c: &Conn| c.remote.ip().to_string()[..6] == ip.to_string()[..6];
                    let inbound = count(&|c| c.is_limited() && c.group.is_some() && same(c));
                    prop_assert!(inbound == 0 || peers.networks().is_full(ip, inbound, 0));
                    prop_assert!(!peers.networks().is_full(ip, inbound + 1, 0));
                }
                for of in (0..6).map(node) {
                    prop_assert_eq!(peers.of(&of).count(), count(&|c| c.id == of));
                }
                prop_assert_eq!(peers.by_id.len(), peers.conns.len());
            }
            for n in 0..12 {
                peers.remove(conn(n));
            }
            prop_assert!(peers.by_id.is_empty() && peers.ips.is_empty());
        }
    }
}
