//! Every authenticated connection, and which of them are sessions.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::dialing::Attempt;
use crate::{
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
    pub(super) node_info: Box<NodeInfo>,
    /// The attempt that it came from, until it is known how that ended.
    pub(super) attempt: Option<(u64, Attempt)>,
    pub(super) stage: Stage,
    /// Since when it is in this stage.
    pub(super) since: Mono,
    /// Skips limits, and is counted in none.
    pub(super) is_reserved: bool,
    /// It lasted or delivered a message: the attempt was a success.
    pub(super) is_proven: bool,
    /// Its end was seen; it is closed as soon as what has arrived is delivered.
    pub(super) is_ending: bool,
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
    conns: BTreeMap<ConnId, Conn>,
    /// **Invariant:** exactly the connections that are `Introducing` or `Up`, one per ID.
    sessions: BTreeMap<NodeId, ConnId>,
    /// **Invariant:** exactly the connections that are `Parked`, at most one per session.
    parked: BTreeMap<NodeId, ConnId>,
}

impl PeerSet {
    pub(super) fn insert(&mut self, conn: ConnId, new: Conn) {
        self.conns.insert(conn, new);
    }

    /// Takes a closed connection out.
    pub(super) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(&id)?;
        self.unlist(conn.id, id);
        Some(conn)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.conns.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.conns.iter().map(|(id, conn)| (*id, conn))
    }

    /// Puts the connection into another stage, and on the lists where it belongs.
    pub(super) fn enter(&mut self, id: ConnId, stage: Stage, now: Mono) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        (conn.stage, conn.since) = (stage, now);
        let node = conn.id;
        match stage {
            Stage::Introducing => {
                let before = self.sessions.insert(node, id);
                debug_assert_eq!(before, None, "two sessions with {node}");
                self.parked.remove(&node);
            }
            Stage::Up => {}
            Stage::Parked(_) => _ = self.parked.insert(node, id),
            Stage::New | Stage::Filtering | Stage::Refused => self.unlist(node, id),
        }
    }

    /// The session with this node.
    pub(super) fn session(&self, id: &NodeId) -> Option<ConnId> {
        self.sessions.get(id).copied()
    }

    /// The duplicate that waits for the end of the session with this node.
    pub(super) fn parked(&self, id: &NodeId) -> Option<ConnId> {
        self.parked.get(id).copied()
    }

    /// Whether an attempt has brought a connection to this node that is still being decided about.
    pub(super) fn is_deciding_attempt(&self, id: &NodeId) -> bool {
        self.conns.values().any(|conn| {
            conn.id == *id
                && conn.attempt.is_some()
                && matches!(conn.stage, Stage::Filtering | Stage::Parked(_))
        })
    }

    /// Sessions, and connections about to be, other than `besides`, that count against the limit
    /// of their direction.
    pub(super) fn count(&self, direction: Direction, besides: Option<ConnId>) -> usize {
        let counts = |(id, conn): &(ConnId, &Conn)| {
            conn.holds_place() && conn.direction == direction && Some(*id) != besides
        };
        self.iter().filter(counts).filter(|(_, conn)| !conn.is_reserved).count()
    }

    /// Sessions, and connections about to be, with this address and other nodes than `besides`: all
    /// of them, and those that are not reserved. Two connections with one node are told apart by
    /// its ID: if each node refused the second one for its address, both could go.
    pub(super) fn count_ip(&self, ip: IpAddr, besides: &NodeId) -> (usize, usize) {
        let has_ip = |(_, conn): &(ConnId, &Conn)| {
            conn.holds_place() && conn.remote.ip() == ip && conn.id != *besides
        };
        let same = || self.iter().filter(has_ip);
        (same().count(), same().filter(|(_, conn)| !conn.is_reserved).count())
    }

    fn unlist(&mut self, node: NodeId, id: ConnId) {
        for list in [&mut self.sessions, &mut self.parked] {
            if list.get(&node) == Some(&id) {
                list.remove(&node);
            }
        }
    }
}

impl Conn {
    /// Whether it is a session or may become one without another being ended.
    pub(super) fn holds_place(&self) -> bool {
        matches!(self.stage, Stage::Filtering | Stage::Introducing | Stage::Up)
    }
}
