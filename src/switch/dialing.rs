//! How attempts to connect go on: at most one per node, from the moment it is scheduled.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use super::{
    Dialed, Notice, Origin, Output, ResolveRequest, Resolved, SwitchCore, SwitchEvent,
    attempt::{Attempt, AttemptStage},
    backoff,
    filter::Subject,
    lookup::{Found, LOOKUP_TIMEOUT},
    persistent::MAX_RESOLVED,
    timer::Timer,
};
use crate::{
    address::{NetAddress, PeerAddress},
    event_loop::Command,
    identity::NodeId,
    ids::Direction,
    reactor::{Blame, DisconnectReason, Room},
    reply::Reply,
    time::{Mono, Now},
};

/// How long an attempt of peer exchange may take in all. Addresses are told by anybody: one where
/// somebody takes the connection and says nothing would else hold a place for dial and handshake
/// time-out, 23 s. A node of the reference that has no room does so, too.
const DISCOVERY: Duration = Duration::from_secs(6);

impl SwitchCore {
    /// An attempt that begins at once.
    pub(super) fn dial(
        &mut self,
        addr: PeerAddress,
        origin: Origin,
        reply: Option<Reply<Dialed>>,
        now: Now,
    ) {
        self.attempt(addr, origin, reply, None, now);
    }

    /// One with a node of a list, after a random part of the configured time.
    pub(super) fn dial_spread(&mut self, addr: PeerAddress, origin: Origin, now: Now) {
        let at = now.mono + backoff::part_of(self.settings.dial_spread, &mut self.rng);
        self.attempt(addr, origin, None, Some(at), now);
    }

    fn attempt(
        &mut self,
        addr: PeerAddress,
        origin: Origin,
        reply: Option<Reply<Dialed>>,
        at: Option<Mono>,
        now: Now,
    ) {
        let stage = AttemptStage::Scheduled(at.unwrap_or(now.mono));
        // What is dialed by list comes here with a time, or is a persistent peer.
        let is_listed = at.is_some() || origin == Origin::Persistent;
        let attempt = Attempt {
            addr,
            origin,
            reply,
            untried: VecDeque::new(),
            failed: None,
            until: None,
            is_listed,
            stage,
            since: now.mono,
        };
        if !origin.is_discovery() {
            self.notice(Notice::DialBegun { id: attempt.addr.id(), origin });
        }
        if let Some(reason) = self.why_not_dial(&attempt, now) {
            return self.attempt_failed(attempt, reason, now);
        }
        let ticket = self.dialing.add(attempt);
        match at {
            Some(at) => self.timers.add(at, Timer::Attempt(ticket)),
            None => self.begin(ticket, now),
        }
    }

    /// Why this attempt is not to be made, before it is in the table.
    fn why_not_dial(&self, attempt: &Attempt, now: Now) -> Option<DisconnectReason> {
        let id = attempt.addr.id();
        if self.dialing.contains(&id) || self.peers.is_deciding_attempt(&id) {
            return Some(DisconnectReason::AlreadyDialing(id));
        }
        if attempt.origin.is_limited() {
            let taken = self.peers.count(Direction::Outbound) + self.dialing.len();
            if taken >= self.settings.limits.max_num_outbound_peers && !self.is_reserved(&id) {
                return Some(DisconnectReason::Full(Room::Outbound));
            }
        }
        self.why_not_begin(&id, now)
    }

    /// Why there is no point in connecting to this node now.
    fn why_not_begin(&self, id: &NodeId, now: Now) -> Option<DisconnectReason> {
        if self.is_stopping {
            Some(DisconnectReason::Stopped)
        } else if *id == self.settings.id {
            Some(DisconnectReason::SelfConnection)
        } else if let Some(ban) = self.bans.find_id(id, now.wall) {
            Some(DisconnectReason::Banned(ban.target))
        } else if self.peers.session(id).is_some() {
            Some(DisconnectReason::DuplicateId(*id))
        } else {
            None
        }
    }

    /// Nobody wants this persistent peer any more: an attempt that has not begun is none.
    pub(super) fn unschedule(&mut self, id: &NodeId) {
        let Some(ticket) = self.dialing.ticket_of(id) else { return };
        let is_waiting = |attempt: &Attempt| {
            attempt.origin == Origin::Persistent && attempt.scheduled().is_some()
        };
        if self.dialing.get(ticket).is_some_and(is_waiting)
            && let Some(Attempt { addr, origin, .. }) = self.dialing.remove(ticket)
        {
            let reason = DisconnectReason::Operator("not persistent any more".to_owned());
            self.notice(Notice::DialFailed { addr, origin, reason });
        }
    }

    /// A timer of an attempt: it begins, or its name was not resolved in time.
    pub(super) fn attempt_due(&mut self, ticket: u64, now: Now) {
        let Some(attempt) = self.dialing.get(ticket) else { return };
        match attempt.stage {
            AttemptStage::Scheduled(at) if at <= now.mono => self.begin(ticket, now),
            AttemptStage::LookingUp(until) if until <= now.mono => {
                self.lookups.give_up(ticket);
                self.looked_up(ticket, Err("no answer in time".to_owned()), now);
            }
            _ => {}
        }
    }

    fn begin(&mut self, ticket: u64, now: Now) {
        let Some(attempt) = self.dialing.get(ticket) else { return };
        let id = attempt.addr.id();
        match self.why_not_begin(&id, now) {
            None => {}
            // It has connected to us while the attempt was waiting: nothing that failed.
            Some(reason @ DisconnectReason::DuplicateId(_)) if attempt.reply.is_none() => {
                if let Some(Attempt { addr, origin, .. }) = self.dialing.remove(ticket) {
                    self.notice(Notice::DialFailed { addr, origin, reason });
                }
                return self.keep_persistent(&id, now);
            }
            Some(reason) => return self.fail_attempt(ticket, reason, now),
        }
        #[expect(clippy::expect_used, reason = "`why_not_begin` changes nothing")]
        let attempt = self.dialing.get_mut(ticket).expect("looked at above");
        attempt.since = now.mono;
        attempt.until = attempt.origin.is_discovery().then(|| now.mono + DISCOVERY);
        let event = SwitchEvent::Dialing { addr: attempt.addr.clone() };
        let net = attempt.addr.net_address();
        self.event(event);
        if let Some(net) = net {
            return self.approach(ticket, net.socket_addr(), now);
        }
        self.look_up(ticket, now);
    }

    fn look_up(&mut self, ticket: u64, now: Now) {
        let Some(attempt) = self.dialing.get_mut(ticket) else { return };
        let deadline = now.mono + LOOKUP_TIMEOUT;
        attempt.stage = AttemptStage::LookingUp(deadline);
        let (host, port) = (attempt.addr.host().to_string(), attempt.addr.port());
        match self.lookups.want(ticket, (host.clone(), port), now.mono) {
            Found::Late(addrs) => return self.looked_up(ticket, Ok(addrs), now),
            Found::Awaited(false) => {}
            Found::Awaited(true) => {
                let request = ResolveRequest { ticket, host, port };
                self.outputs.push_back(Output::Resolve(request));
            }
        }
        self.timers.add(deadline, Timer::Attempt(ticket));
    }

    pub(super) fn resolved(&mut self, resolved: Resolved, now: Now) {
        let Resolved { ticket, result } = resolved;
        for ticket in self.lookups.answered(ticket, &result, now.mono) {
            self.looked_up(ticket, result.clone(), now);
        }
    }

    /// The name of an attempt stands for these addresses, or for none.
    fn looked_up(&mut self, ticket: u64, result: Result<Vec<SocketAddr>, String>, now: Now) {
        // It may have ended in the meantime.
        let Some(attempt) = self.dialing.get_mut(ticket) else { return };
        if !matches!(attempt.stage, AttemptStage::LookingUp(_)) {
            return;
        }
        attempt.stage = AttemptStage::Connecting;
        let host = attempt.addr.host().to_string();
        let (mut listed, addr) = (None, attempt.addr.clone());
        let error = match result {
            Ok(addrs) => {
                self.persistent.set_resolved(&addr, &addrs);
                let first = addrs.first().filter(|_| attempt.is_listed);
                let id = attempt.addr.id();
                listed = first.map(|addr| NetAddress::new(id, addr.ip(), addr.port()));
                // A name may have thousands, each of which is tried in the call of the last one.
                attempt.untried = addrs.into_iter().take(MAX_RESOLVED).collect();
                "the name has no address".to_owned()
            }
            Err(error) => error,
        };
        self.tell_known();
        if let Some(addr) = listed {
            self.notice(Notice::Listed(addr));
        }
        self.try_next_address(ticket, DisconnectReason::Lookup { host, error }, now);
    }

    /// Tries the next address of the dialed name; without one the attempt has failed for `reason`.
    pub(super) fn try_next_address(&mut self, ticket: u64, reason: DisconnectReason, now: Now) {
        let Some(attempt) = self.dialing.get_mut(ticket) else { return };
        let is_local = reason.blame() == Blame::Machine;
        let is_over = self.is_stopping || attempt.until.is_some_and(|until| until <= now.mono);
        let next = if is_over { None } else { attempt.untried.pop_front() };
        match next {
            Some(target) => {
                // A look-up stands for the failure of all addresses until one of them was tried.
                if !matches!(reason, DisconnectReason::Lookup { .. }) && !is_local {
                    attempt.failed.get_or_insert(reason);
                }
                self.approach(ticket, target, now);
            }
            None => {
                let earlier = attempt.failed.take().filter(|_| is_local);
                self.fail_attempt(ticket, earlier.unwrap_or(reason), now);
            }
        }
    }

    /// Connects to one address of the node, unless something speaks against that address.
    fn approach(&mut self, ticket: u64, target: SocketAddr, now: Now) {
        let target = SocketAddr::new(target.ip().to_canonical(), target.port());
        let Some(attempt) = self.dialing.get(ticket) else { return };
        let id = attempt.addr.id();
        if let Some(reason) = self.why_not_approach(&id, target, now) {
            return self.try_next_address(ticket, reason, now);
        }
        if self.settings.connection_filters > 0 {
            self.set_stage(ticket, AttemptStage::Filtering);
            let subject = Subject::Attempt(ticket, target);
            return self.ask_filters(subject, Direction::Outbound, Some(id), now);
        }
        self.connect(ticket, target, now);
    }

    /// Why nobody is to connect to this address of the node.
    fn why_not_approach(
        &self,
        id: &NodeId,
        target: SocketAddr,
        now: Now,
    ) -> Option<DisconnectReason> {
        // It may have connected to us while its name was being resolved.
        if self.peers.session(id).is_some() {
            return Some(DisconnectReason::DuplicateId(*id));
        }
        let ban = self.bans.find_id(id, now.wall);
        if let Some(ban) = ban.or_else(|| self.bans.find_ip(target.ip(), now.wall)) {
            return Some(DisconnectReason::Banned(ban.target));
        }
        if self.is_reserved(id) { None } else { self.why_no_more_of(target.ip(), id) }
    }

    /// The connection filters have decided about an address.
    pub(super) fn approach_filtered(
        &mut self,
        ticket: u64,
        target: SocketAddr,
        result: Result<(), String>,
        now: Now,
    ) {
        let Some(attempt) = self.dialing.get(ticket) else { return };
        match result {
            Ok(()) if self.is_stopping => {
                self.try_next_address(ticket, DisconnectReason::Stopped, now);
            }
            // Much may have happened while they were deciding.
            Ok(()) => match self.why_not_approach(&attempt.addr.id(), target, now) {
                Some(reason) => self.try_next_address(ticket, reason, now),
                None => self.connect(ticket, target, now),
            },
            Err(why) => self.try_next_address(ticket, DisconnectReason::Filtered(why), now),
        }
    }

    fn connect(&mut self, ticket: u64, addr: SocketAddr, now: Now) {
        self.set_stage(ticket, AttemptStage::Connecting);
        let Some(attempt) = self.dialing.get(ticket) else { return };
        let expected = attempt.addr.id();
        let within = attempt.until.map(|until| until.since(now.mono));
        self.outputs.push_back(Output::Command(Command::Dial { ticket, addr, expected, within }));
    }

    fn set_stage(&mut self, ticket: u64, stage: AttemptStage) {
        if let Some(attempt) = self.dialing.get_mut(ticket) {
            attempt.stage = stage;
        }
    }

    fn fail_attempt(&mut self, ticket: u64, reason: DisconnectReason, now: Now) {
        if let Some(attempt) = self.dialing.remove(ticket) {
            self.lookups.give_up(ticket);
            self.attempt_failed(attempt, reason, now);
        }
    }

    /// An attempt that is in no table any more has brought no session.
    pub(super) fn attempt_failed(&mut self, attempt: Attempt, reason: DisconnectReason, now: Now) {
        let failures = match attempt.origin {
            Origin::Persistent => self.persistent_failed(&attempt.addr.id(), &reason),
            Origin::Operator => 1,
            Origin::Discovery { failures, .. } => match reason.blame() {
                Blame::Peer | Blame::Network => failures.saturating_add(1),
                Blame::Machine | Blame::Nobody => failures,
            },
        };
        let Attempt { addr, origin, reply, .. } = attempt;
        let id = addr.id();
        let notice = Notice::DialFailed { addr: addr.clone(), origin, reason: reason.clone() };
        self.notice(notice);
        self.event(SwitchEvent::DialFailed { addr, reason: reason.clone(), failures });
        if let Some(reply) = reply {
            self.answer(reply, Err(reason));
        }
        self.keep_persistent(&id, now);
    }

    /// Ends the attempts that the loop does not have; it reports those that it has.
    pub(super) fn stop_dialing(&mut self, all: bool, now: Now) {
        for ticket in self.dialing.tickets() {
            let Some(attempt) = self.dialing.get(ticket) else { continue };
            if all || attempt.stage != AttemptStage::Connecting {
                self.fail_attempt(ticket, DisconnectReason::Stopped, now);
            }
        }
    }
}
