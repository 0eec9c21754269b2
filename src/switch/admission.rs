//! Whether an authenticated connection becomes a session.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    Candidate, Notice, Output, SwitchCore, SwitchEvent,
    filter::Subject,
    peer_set::{Conn, Parked, Stage},
    timer::Timer,
};
use crate::{
    address::{GroupKey, NetAddress},
    config::Config,
    event_loop::{Command, Established},
    identity::NodeId,
    ids::{ConnId, Direction},
    reactor::{Admission, CloseMode, DisconnectReason, Room, Vitals},
    text::shown,
    time::Now,
};

/// Two connections of opposite direction within this time are two nodes that dialed each other at
/// once; and so long the one that does not decide waits for the other's decision. A dial and its
/// handshake take less on any network where both nodes can be of use.
const CROSSED: Duration = Duration::from_secs(3);
/// How long a session has to give a sign of life when its node connects anew: a few round trips,
/// and less than the time after which a rebooted node would give up on us.
const PROBE: Duration = Duration::from_secs(5);
/// A session that lasts so long is a success for back-off, even without a message. A node without
/// room authenticates first and then closes, within a round trip.
const PROVEN: Duration = Duration::from_secs(10);
/// A node that has no room closes the connection as soon as it knows who we are: a round trip or two
/// later.
const REFUSAL: Duration = Duration::from_secs(1);

/// How long the loop waits for a verdict: as long as everything may take that a switch waits for (the
/// session of an earlier connection, the filters), and as long again as a handshake, in case it
/// is held up.
pub fn verdict_timeout(config: &Config) -> Duration {
    let parked = PROBE + config.drain_timeout;
    parked + config.peer_filter_timeout + config.handshake_timeout
}

/// What becomes of a connection.
enum Ruling {
    Admit,
    /// It would be admitted if another one left.
    Weigh,
    /// It is admitted, and this session leaves.
    Replace(ConnId),
    Refuse(DisconnectReason),
    /// It waits what becomes of the session with the same node.
    Park(Parked),
}

impl SwitchCore {
    /// The loop has authenticated somebody.
    pub(super) fn established(&mut self, established: Established, now: Now) {
        let Established { conn, ticket, id, node_info, direction, remote } = established;
        self.notice(Notice::Authenticated { id, direction });
        let attempt = ticket.and_then(|ticket| self.dialing.remove(ticket));
        let new = Conn {
            id,
            remote,
            direction,
            node_info,
            attempt,
            established: now.mono,
            stage: Stage::New,
            since: now.mono,
            is_reserved: self.is_reserved(&id),
            group: self.counted_group(id, direction, remote),
            is_proven: false,
            ending: None,
            is_replaced: false,
        };
        self.peers.insert(conn, new);
        self.consider(conn, false, now);
    }

    /// Decides about a connection that is not a session yet.
    fn consider(&mut self, id: ConnId, is_filtered: bool, now: Now) {
        let Some(conn) = self.peers.get(id) else { return };
        let verdict = self.judge(conn, now);
        self.settle(id, verdict, is_filtered, now);
    }

    fn settle(&mut self, id: ConnId, verdict: Ruling, is_filtered: bool, now: Now) {
        match verdict {
            Ruling::Refuse(reason) => self.refuse(id, reason, now),
            Ruling::Park(why) => self.park(id, why, now),
            Ruling::Weigh => self.weigh(id, now),
            Ruling::Admit | Ruling::Replace(_)
                if !is_filtered && self.settings.peer_filters > 0 =>
            {
                self.peers.enter(id, Stage::Filtering, now.mono);
                let Some(conn) = self.peers.get(id) else { return };
                let (direction, node) = (conn.direction, Some(conn.id));
                self.ask_filters(Subject::Peer(id), direction, node, now);
            }
            Ruling::Admit => self.introduce(id, now),
            Ruling::Replace(session) => {
                self.replace(session);
                self.introduce(id, now);
            }
        }
        self.tell_whether_full();
    }

    /// What is known of the sessions that [`Output::Weigh`] has named: whether one of them leaves for
    /// the newcomer.
    pub(super) fn weighed(&mut self, newcomer: ConnId, sessions: &[(ConnId, Vitals)], now: Now) {
        let Some(conn) = self.peers.get(newcomer) else { return };
        let is_filtered = conn.stage == Stage::Filtering;
        if !is_filtered && conn.stage != Stage::New {
            return;
        }
        let verdict = match self.judge(conn, now) {
            Ruling::Weigh => match self.choose(conn, sessions, now) {
                Some(session) => Ruling::Replace(session),
                None => Ruling::Refuse(DisconnectReason::Full(Room::Inbound)),
            },
            // There is room by now, or there are other reasons.
            verdict => verdict,
        };
        self.settle(newcomer, verdict, is_filtered, now);
    }

    fn judge(&self, conn: &Conn, now: Now) -> Ruling {
        if self.is_stopping {
            return Ruling::Refuse(DisconnectReason::Stopped);
        }
        let ban = self.bans.find_id(&conn.id, now.wall);
        if let Some(ban) = ban.or_else(|| self.bans.find_ip(conn.remote.ip(), now.wall)) {
            return Ruling::Refuse(DisconnectReason::Banned(ban.target));
        }
        if let Some(session) = self.peers.session(&conn.id) {
            return self.judge_duplicate(session, conn, now);
        }
        if let Some(first) = self.peers.filtering(&conn.id)
            && conn.stage != Stage::Filtering
        {
            return self.judge_undecided(first, conn, now);
        }
        if let Some(name) = &self.stalled
            && (!conn.is_reserved || self.is_stalled_for_all)
        {
            return Ruling::Refuse(DisconnectReason::ReactorStalled(name.clone()));
        }
        if conn.is_reserved {
            return Ruling::Admit;
        }
        if let Some(reason) = self.why_no_more_of(conn.remote.ip(), &conn.id) {
            return Ruling::Refuse(reason);
        }
        if conn.direction == Direction::Outbound {
            return Ruling::Admit;
        }
        if Self::is_paced(conn) && !self.paces.may_begin(conn.remote.ip(), now.mono) {
            return Ruling::Refuse(DisconnectReason::Full(Room::SessionRate));
        }
        let itself = usize::from(conn.is_limited());
        let most = self.settings.max_inbound_per_subnet;
        if conn.group.is_some() && self.peers.networks().is_full(conn.remote.ip(), most, itself) {
            return Ruling::Refuse(DisconnectReason::Full(Room::Subnet));
        }
        let inbound = self.peers.count(Direction::Inbound) - itself;
        if inbound < self.most_inbound() {
            Ruling::Admit
        } else if self.settings.is_seed || conn.group.is_some() {
            Ruling::Weigh
        } else {
            Ruling::Refuse(DisconnectReason::Full(Room::Inbound))
        }
    }

    /// The part of the internet that a peer has dialed us from, if it is a matter how many others
    /// have: not in private networks, nor where the operator says that many share an address.
    fn counted_group(
        &self,
        id: NodeId,
        direction: Direction,
        remote: SocketAddr,
    ) -> Option<GroupKey> {
        let addr = NetAddress::new(id, remote.ip(), remote.port());
        let is_counted = direction == Direction::Inbound
            && !self.settings.allow_duplicate_ip
            && addr.is_public()
            && !self.is_exempt(addr.ip());
        is_counted.then(|| addr.group_key(true))
    }

    pub(super) fn most_inbound(&self) -> usize {
        self.settings.limits.max_num_inbound_peers.min(self.settings.most_inbound)
    }

    fn is_exempt(&self, ip: IpAddr) -> bool {
        self.settings.exempt.iter().any(|cidr| cidr.contains(ip))
    }

    /// A second connection with the node of a session.
    fn judge_duplicate(&self, session: ConnId, conn: &Conn, now: Now) -> Ruling {
        let duplicate = DisconnectReason::DuplicateId(conn.id);
        let (Some(old), None) = (self.peers.get(session), self.peers.parked(&conn.id)) else {
            return Ruling::Refuse(duplicate);
        };
        let is_crossed = old.direction != conn.direction && now.mono.since(old.since) <= CROSSED;
        if old.ending.is_some() {
            Ruling::Park(Parked::Succeeding)
        } else if !is_crossed {
            Ruling::Park(Parked::Probing(now.mono + PROBE))
        } else if self.settings.id < conn.id {
            // The lower ID decides, so that both keep the same connection.
            Ruling::Refuse(duplicate)
        } else {
            Ruling::Park(Parked::Crossed(now.mono + CROSSED))
        }
    }

    /// A second connection with a node about which the filters have not decided: one place is enough
    /// for it. As with a session, of two nodes that dial each other both keep the same connection.
    fn judge_undecided(&self, first: ConnId, conn: &Conn, now: Now) -> Ruling {
        let is_crossed = self.peers.get(first).is_some_and(|first| {
            first.direction != conn.direction && now.mono.since(first.since) <= CROSSED
        });
        if !is_crossed || self.settings.id < conn.id || self.peers.parked(&conn.id).is_some() {
            return Ruling::Refuse(DisconnectReason::Undecided(conn.id));
        }
        Ruling::Park(Parked::Crossed(now.mono + CROSSED))
    }

    /// Why a second connection with the node does not wait any longer.
    fn duplicate(&self, node: NodeId) -> DisconnectReason {
        match self.peers.session(&node) {
            Some(_) => DisconnectReason::DuplicateId(node),
            None => DisconnectReason::Undecided(node),
        }
    }

    /// Whether sessions of its address come at a pace: where its network counts.
    fn is_paced(conn: &Conn) -> bool {
        conn.group.is_some() && !conn.is_reserved
    }

    /// Why there is to be no other peer with this address.
    pub(super) fn why_no_more_of(&self, ip: IpAddr, besides: &NodeId) -> Option<DisconnectReason> {
        let held = self.peers.count_ip(ip, besides);
        if !self.settings.allow_duplicate_ip {
            return (held.all > 0).then_some(DisconnectReason::DuplicateIp(ip));
        }
        let most = self.settings.max_peers_per_ip;
        (most > 0 && held.limited >= most && !self.is_exempt(ip))
            .then_some(DisconnectReason::Full(Room::Ip))
    }

    fn park(&mut self, id: ConnId, why: Parked, now: Now) {
        self.peers.enter(id, Stage::Parked(why), now.mono);
        match why {
            Parked::Crossed(until) => self.timers.add(until, Timer::Parked(id)),
            Parked::Probing(until) => {
                self.timers.add(until, Timer::Parked(id));
                let node = self.peers.get(id).map(|conn| conn.id);
                if let Some(session) = node.and_then(|node| self.peers.session(&node)) {
                    self.outputs.push_back(Output::Command(Command::Probe(session)));
                }
            }
            Parked::Succeeding => {}
        }
    }

    /// A duplicate has waited as long as it may.
    pub(super) fn parked_due(&mut self, id: ConnId, now: Now) {
        let Some(conn) = self.peers.get(id) else { return };
        let node = conn.id;
        match conn.stage {
            Stage::Parked(Parked::Crossed(until)) if until <= now.mono => {
                self.refuse(id, self.duplicate(node), now);
            }
            // The session is dead, its connection only does not know yet.
            Stage::Parked(Parked::Probing(until)) if until <= now.mono => {
                self.peers.enter(id, Stage::Parked(Parked::Succeeding), now.mono);
                if let Some(session) = self.peers.session(&node) {
                    let mode = CloseMode::Now(DisconnectReason::Superseded);
                    self.outputs.push_back(Output::Command(Command::Close { conn: session, mode }));
                }
            }
            _ => {}
        }
    }

    /// The session's peer has given a sign of life.
    pub(super) fn alive(&mut self, session: ConnId, now: Now) {
        let Some(node) = self.peers.get(session).map(|conn| conn.id) else { return };
        if self.peers.session(&node) != Some(session) {
            return;
        }
        let Some(parked) = self.peers.parked(&node) else { return };
        let stage = self.peers.get(parked).map(|conn| conn.stage);
        if matches!(stage, Some(Stage::Parked(Parked::Probing(_)))) {
            self.refuse(parked, DisconnectReason::DuplicateId(node), now);
        }
    }

    /// The session is about to end: whoever waits for its place waits for its `Closed` now. One that
    /// waits and is about to end itself has nothing to wait for: the other side wants the session.
    pub(super) fn ending(&mut self, session: ConnId, now: Now) {
        let Some(conn) = self.peers.get_mut(session) else { return };
        conn.ending = conn.ending.or(Some(now.mono));
        let (node, stage) = (conn.id, conn.stage);
        if matches!(stage, Stage::Parked(Parked::Crossed(_) | Parked::Probing(_))) {
            return self.refuse(session, self.duplicate(node), now);
        }
        if self.peers.session(&node) == Some(session)
            && let Some(parked) = self.peers.parked(&node)
        {
            self.peers.enter(parked, Stage::Parked(Parked::Succeeding), now.mono);
        }
    }

    fn introduce(&mut self, id: ConnId, now: Now) {
        self.peers.enter(id, Stage::Introducing, now.mono);
        let Some(conn) = self.peers.get(id) else { return };
        if Self::is_paced(conn) {
            self.paces.begin(conn.remote.ip(), now.mono);
        }
        let admission = Admission {
            conn: id,
            id: conn.id,
            node_info: conn.node_info.clone(),
            direction: conn.direction,
            remote_addr: conn.remote,
            dialed_addr: conn.attempt.as_ref().map(|attempt| attempt.addr.clone()),
            origin: conn.attempt.as_ref().map(|attempt| attempt.origin),
            is_persistent: self.persistent.contains(&conn.id),
            is_reserved: conn.is_reserved,
        };
        self.outputs.push_back(Output::Introduce(admission));
    }

    /// The reactors were told of a connection, or will not be.
    pub(super) fn introduced(&mut self, id: ConnId, result: Result<(), String>, now: Now) {
        match result {
            Ok(()) => {
                self.peers.enter(id, Stage::Up, now.mono);
                self.timers.add(now.mono + PROVEN, Timer::Proven(id));
                let Some(conn) = self.peers.get_mut(id) else { return };
                let reply = conn.attempt.take().and_then(|attempt| attempt.reply);
                let up = SwitchEvent::Connected {
                    id: conn.id,
                    addr: conn.remote,
                    direction: conn.direction,
                    moniker: shown(conn.node_info.moniker()),
                };
                let node = conn.id;
                self.event(up);
                if let Some(reply) = reply {
                    self.answer(reply, Ok(node));
                }
            }
            // A fault of ours, not of the peer's.
            Err(why) => self.refuse(id, DisconnectReason::Filtered(why), now),
        }
        self.tell_whether_full();
    }

    /// A session has lasted long enough, or delivered a message.
    pub(super) fn proven(&mut self, id: ConnId, by_time: bool, now: Now) {
        let Some(conn) = self.peers.get_mut(id) else { return };
        let is_due = !by_time || now.mono.since(conn.since) >= PROVEN;
        if conn.stage == Stage::Up && is_due && !conn.is_proven {
            conn.is_proven = true;
            let node = conn.id;
            self.persistent_proven(&node);
        }
    }

    pub(super) fn refuse(&mut self, id: ConnId, reason: DisconnectReason, now: Now) {
        let Some(conn) = self.peers.get(id).filter(|conn| conn.stage != Stage::Refused) else {
            return;
        };
        let node = conn.id;
        self.peers.enter(id, Stage::Refused, now.mono);
        let command = Command::Reject { conn: id, reason: reason.clone() };
        self.outputs.push_back(Output::Command(command));
        self.not_admitted(id, reason, now);
        self.tell_whether_full();
        self.promote(&node, now);
    }

    /// A connection with the node is over or refused: the one that has waited for that is next.
    fn promote(&mut self, node: &NodeId, now: Now) {
        if self.peers.session(node).is_some() || self.peers.filtering(node).is_some() {
            return;
        }
        if let Some(parked) = self.peers.parked(node) {
            self.peers.enter(parked, Stage::New, now.mono);
            self.consider(parked, false, now);
        }
    }

    /// Says that a connection does not become a session.
    fn not_admitted(&mut self, id: ConnId, reason: DisconnectReason, now: Now) {
        let Some(conn) = self.peers.get_mut(id) else { return };
        let (attempt, addr, node) = (conn.attempt.take(), conn.remote, conn.id);
        match attempt {
            Some(attempt) => self.attempt_failed(attempt, reason, now),
            None => {
                let id = Some(node);
                self.event(SwitchEvent::Rejected { addr, id, reason, others: 0 });
                // It may have counted as the session until an init hook failed.
                self.keep_persistent(&node, now);
            }
        }
    }

    /// A connection is over.
    pub(super) fn closed(
        &mut self,
        id: ConnId,
        reason: DisconnectReason,
        has_sent: bool,
        now: Now,
    ) {
        let Some(conn) = self.peers.get(id) else { return };
        let (node, stage) = (conn.id, conn.stage);
        let was_silent = conn.direction == Direction::Outbound
            && !(has_sent || conn.is_proven)
            && matches!(reason, DisconnectReason::Eof | DisconnectReason::Reset);
        // Its end may have had to wait for a slow filter of ours.
        let ended = conn.ending.unwrap_or(now.mono);
        let was_refused = was_silent && ended.since(conn.established) <= REFUSAL;
        let reason = match stage {
            // The other side has closed one of two.
            Stage::Parked(_) if was_silent => DisconnectReason::DuplicateId(node),
            _ if was_refused => DisconnectReason::RefusedAfterHandshake,
            _ => reason,
        };
        match stage {
            Stage::Refused => _ = self.peers.remove(id),
            Stage::New | Stage::Filtering | Stage::Parked(_) => {
                self.peers.enter(id, Stage::Refused, now.mono);
                self.not_admitted(id, reason, now);
                self.peers.remove(id);
                self.promote(&node, now);
            }
            Stage::Introducing | Stage::Up => self.down(id, reason, now),
        }
        self.tell_whether_full();
    }

    fn down(&mut self, id: ConnId, reason: DisconnectReason, now: Now) {
        let Some(conn) = self.peers.remove(id) else { return };
        self.outputs.push_back(Output::Down { conn: id, reason: reason.clone() });
        let was_long = now.mono.since(conn.since) >= PROVEN;
        self.persistent_down(&conn.id, &reason, conn.is_proven, was_long);
        let Conn { id, remote: addr, direction, .. } = conn;
        self.event(SwitchEvent::Disconnected { id, addr, direction, reason });
        self.promote(&conn.id, now);
        self.keep_persistent(&conn.id, now);
    }

    /// Tells the loop when inbound peers have no room any more, or again.
    pub(super) fn tell_whether_full(&mut self) {
        let most = self.most_inbound();
        let is_full = self.peers.count(Direction::Inbound) >= most;
        if is_full != self.is_told_full {
            self.is_told_full = is_full;
            self.outputs.push_back(Output::Command(Command::InboundFull(is_full)));
        }
    }

    // ---- filters ----

    pub(super) fn ask_filters(
        &mut self,
        subject: Subject,
        direction: Direction,
        id: Option<NodeId>,
        now: Now,
    ) {
        let settings = &self.settings;
        let (filters, timeout) = match subject {
            Subject::Peer(_) => (settings.peer_filters, settings.peer_filter_timeout),
            _ => (settings.connection_filters, settings.connection_filter_timeout),
        };
        let deadline = now.mono + timeout;
        let (addr, node_info) = match subject {
            Subject::Accepted(_, addr) | Subject::Attempt(_, addr) => (addr, None),
            Subject::Peer(conn) => {
                let Some(conn) = self.peers.get(conn) else { return };
                (conn.remote, Some(conn.node_info.clone()))
            }
        };
        let ticket = self.filters.ask(subject, filters, deadline);
        self.timers.add(deadline, Timer::Filter(ticket));
        let candidate = Candidate { addr, direction, id, node_info };
        self.outputs.push_back(Output::Filter { ticket, candidate });
    }

    pub(super) fn filters_due(&mut self, ticket: u64, now: Now) {
        if let Some(subject) = self.filters.expire(ticket, now.mono) {
            self.filtered(subject, Err("no answer in time".to_owned()), now);
        }
    }

    pub(super) fn decided(&mut self, ticket: u64, result: Result<(), String>, now: Now) {
        if let Some((subject, result)) = self.filters.decide(ticket, result) {
            self.filtered(subject, result, now);
        }
    }

    fn filtered(&mut self, subject: Subject, result: Result<(), String>, now: Now) {
        match subject {
            Subject::Accepted(conn, _) => {
                let verdict = result.map_err(DisconnectReason::Filtered);
                self.outputs.push_back(Output::Command(Command::Filtered { conn, verdict }));
            }
            Subject::Attempt(ticket, addr) => self.approach_filtered(ticket, addr, result, now),
            Subject::Peer(conn) => {
                let is_waiting =
                    self.peers.get(conn).is_some_and(|conn| conn.stage == Stage::Filtering);
                match result {
                    _ if !is_waiting => {}
                    Ok(()) => self.consider(conn, true, now),
                    Err(why) => self.refuse(conn, DisconnectReason::Filtered(why), now),
                }
            }
        }
    }
}
