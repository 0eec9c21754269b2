//! What the specification says of connections, sessions and limits, in as few words as possible;
//! the switch's core is compared with it after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tmp2p::{
    Ban, BanTarget, ConnId, Direction, DisconnectReason, Limits, NodeId,
    internals::event_loop::BanTable, internals::time::Mono,
};

/// A second connection of the other direction waits so long for the other node's decision.
const CROSSED: Duration = Duration::from_secs(3);
/// The longest that any second connection waits for a verdict.
const PARKED: Duration = Duration::from_secs(5);

/// A stranger's address may begin one session in so many seconds, and ten at once.
const PACE: f64 = 5.0;
const BURST: f64 = 10.0;

/// What there is, and what was said of it.
#[derive(Debug)]
pub(crate) struct Reference {
    pub(crate) own: NodeId,
    pub(crate) limits: Limits,
    pub(crate) allow_duplicate_ip: bool,
    pub(crate) max_peers_per_ip: usize,
    pub(crate) persistent: BTreeSet<NodeId>,
    pub(crate) unconditional: BTreeSet<NodeId>,
    pub(crate) bans: Vec<Ban>,
    /// A reactor has left more unread than this many times what it may.
    pub(crate) stalled: usize,
    /// What each address may still begin, in seconds of waiting, and as of when.
    pub(crate) pace: BTreeMap<IpAddr, (f64, Mono)>,
    pub(crate) is_stopping: bool,
    /// Established and not closed.
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    pub(crate) sessions: BTreeMap<NodeId, ConnId>,
    /// All that ever were.
    pub(crate) over: BTreeSet<ConnId>,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: NodeId,
    pub(crate) remote: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) verdict: Option<Verdict>,
    /// When the verdict fell, or the wait for it began.
    pub(crate) since: Mono,
    /// `Ending` was reported.
    pub(crate) is_ending: bool,
    /// The switch wants it closed.
    pub(crate) is_unwanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Up,
    Refused,
}

/// What is to become of a connection without filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Up,
    Refused(&'static str),
    Waits,
}

impl Reference {
    pub(crate) fn is_reserved(&self, id: &NodeId) -> bool {
        self.persistent.contains(id) || self.unconditional.contains(id)
    }

    pub(crate) fn is_banned(&self, id: &NodeId, remote: SocketAddr, wall: SystemTime) -> bool {
        let covers = |ban: &Ban| match ban.target {
            BanTarget::Id(banned) => banned == *id,
            BanTarget::Ip(ip) => ip == remote.ip(),
            BanTarget::Cidr(cidr) => cidr.contains(remote.ip()),
        };
        self.bans.iter().any(|ban| ban.until.is_none_or(|until| wall < until) && covers(ban))
    }

    pub(crate) fn ban_table(&self) -> Arc<BanTable> {
        Arc::new(self.bans.iter().cloned().collect())
    }

    /// Sessions that count against the limit.
    pub(crate) fn limited(&self, direction: Direction) -> usize {
        let up = self.sessions.values().map(|conn| &self.conns[conn]);
        up.filter(|conn| conn.direction == direction && !self.is_reserved(&conn.id)).count()
    }

    /// What is to become of this connection now.
    pub(crate) fn expected(&self, id: ConnId, now: Mono) -> Expected {
        let conn = &self.conns[&id];
        let wall = SystemTime::UNIX_EPOCH + now.since(Mono::ZERO);
        if self.is_stopping {
            return Expected::Refused("stopped");
        }
        if self.is_banned(&conn.id, conn.remote, wall) {
            return Expected::Refused("banned");
        }
        if let Some(session) = self.sessions.get(&conn.id) {
            let old = &self.conns[session];
            let waits = |(other, c): (&ConnId, &Conn)| {
                *other != id && c.id == conn.id && c.verdict.is_none()
            };
            let is_crossed = old.direction != conn.direction && now.since(old.since) <= CROSSED;
            let is_decided = !old.is_ending && is_crossed && self.own < conn.id;
            return if is_decided || self.conns.iter().any(waits) {
                Expected::Refused("duplicate_id")
            } else {
                Expected::Waits
            };
        }
        if self.stalled > usize::from(self.is_reserved(&conn.id)) {
            return Expected::Refused("reactor_stalled");
        }
        if self.is_reserved(&conn.id) {
            return Expected::Up;
        }
        let same_ip = |c: &&Conn| c.remote.ip() == conn.remote.ip();
        let same: Vec<&Conn> =
            self.sessions.values().map(|c| &self.conns[c]).filter(same_ip).collect();
        if !self.allow_duplicate_ip && !same.is_empty() {
            return Expected::Refused("duplicate_ip");
        }
        let counted = same.iter().filter(|c| !self.is_reserved(&c.id)).count();
        if self.allow_duplicate_ip && self.max_peers_per_ip > 0 && counted >= self.max_peers_per_ip
        {
            return Expected::Refused("full");
        }
        if self.is_paced(conn) && self.left(conn.remote.ip(), now) < PACE {
            return Expected::Refused("full");
        }
        if conn.direction == Direction::Inbound
            && self.limited(Direction::Inbound) >= self.limits.max_num_inbound_peers
        {
            return Expected::Refused("full");
        }
        Expected::Up
    }

    fn is_paced(&self, conn: &Conn) -> bool {
        let is_stranger = !self.is_reserved(&conn.id);
        is_stranger && conn.direction == Direction::Inbound && !self.allow_duplicate_ip
    }

    fn left(&self, ip: IpAddr, now: Mono) -> f64 {
        let (left, as_of) = self.pace.get(&ip).copied().unwrap_or((PACE * BURST, now));
        (left + now.since(as_of).as_secs_f64()).min(PACE * BURST) + 1e-6
    }

    /// The switch makes a session of it. What may be asked of that whatever the filters are.
    pub(crate) fn introduce(&mut self, id: ConnId, now: Mono) {
        assert_eq!(self.expected(id, now), Expected::Up, "{id} is made a session");
        let conn = &self.conns[&id];
        if self.is_paced(conn) {
            let ip = conn.remote.ip();
            let left = self.left(ip, now) - PACE;
            self.pace.insert(ip, (left, now));
        }
        let conn = self.conns.get_mut(&id).expect("looked at");
        assert_eq!(conn.verdict, None, "a second verdict");
        (conn.verdict, conn.since) = (Some(Verdict::Up), now);
        let before = self.sessions.insert(conn.id, id);
        assert_eq!(before, None, "two sessions with one node");
    }

    /// The reactors did not want it.
    pub(crate) fn not_introduced(&mut self, id: ConnId) {
        let conn = self.conns.get_mut(&id).expect("introduced");
        conn.verdict = None;
        self.sessions.remove(&conn.id);
    }

    pub(crate) fn reject(&mut self, id: ConnId, reason: &DisconnectReason, now: Mono) {
        let wall = SystemTime::UNIX_EPOCH + now.since(Mono::ZERO);
        let conn = &self.conns[&id];
        let is_reserved = self.is_reserved(&conn.id);
        let is_right = match reason {
            DisconnectReason::Stopped => self.is_stopping,
            DisconnectReason::Banned(_) => self.is_banned(&conn.id, conn.remote, wall),
            DisconnectReason::DuplicateId(_) => self.sessions.contains_key(&conn.id),
            DisconnectReason::Undecided(_) => {
                let waits = |(other, c): (&ConnId, &Conn)| {
                    *other != id && c.id == conn.id && c.verdict.is_none()
                };
                self.conns.iter().any(waits) && !self.sessions.contains_key(&conn.id)
            }
            DisconnectReason::ReactorStalled(_) => self.stalled > usize::from(is_reserved),
            DisconnectReason::Full(_) | DisconnectReason::DuplicateIp(_) => !is_reserved,
            DisconnectReason::Filtered(_) | DisconnectReason::Reactor(_) => true,
            _ => false,
        };
        assert!(is_right, "{id} is refused: {reason}");
        let conn = self.conns.get_mut(&id).expect("looked at");
        assert_eq!(conn.verdict, None, "a second verdict");
        (conn.verdict, conn.is_unwanted) = (Some(Verdict::Refused), true);
    }

    pub(crate) fn close(&mut self, id: ConnId) {
        let conn = self.conns.get_mut(&id).expect("a command for a connection that is over");
        assert_eq!(conn.verdict, Some(Verdict::Up), "closed and no session");
        conn.is_unwanted = true;
    }

    pub(crate) fn down(&mut self, id: ConnId) {
        assert!(self.over.contains(&id), "down of a connection that is open");
        let up = self.sessions.iter().find(|(_, conn)| **conn == id).map(|(node, _)| *node);
        self.sessions.remove(&up.expect("down without up, or twice"));
        self.conns.remove(&id);
    }

    /// What holds after every step. `is_prompt`: nobody is asked before a verdict.
    pub(crate) fn check(&self, is_prompt: bool, now: Mono) {
        let wall = SystemTime::UNIX_EPOCH + now.since(Mono::ZERO);
        for (id, conn) in self.conns.iter().filter(|(id, _)| !self.over.contains(id)) {
            if conn.verdict == Some(Verdict::Up) {
                let is_banned = self.is_banned(&conn.id, conn.remote, wall);
                assert!(!is_banned || conn.is_unwanted || now > conn.since, "{id} is banned");
            }
            if conn.verdict.is_none() && is_prompt {
                let session = self.sessions.get(&conn.id).expect("waits for no session");
                let old = &self.conns[session];
                assert!(
                    now.since(conn.since) <= PARKED || old.is_ending || old.is_unwanted,
                    "{id} waits for the living {session} since {:?}",
                    conn.since
                );
            }
        }
    }
}
