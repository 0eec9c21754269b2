//! What peers are asked, what they are answered, and what it costs them to misbehave
//! (`p2p/pex/pex_reactor.go`, `Receive`).

use std::{collections::BTreeMap, time::Duration};

use super::{
    PeerFacts, PexCore, PexMessage, PexOutput, Purpose,
    dials::Own,
    ensure::{BAD_FOR, MAX_ATTEMPTS},
    neighbour::{Neighbour, Verdict},
    timer::Timer,
};
use crate::{
    addrbook::{AddError, Added, BadAddress, BadCause},
    address::{NetAddress, PeerAddress},
    identity::NodeId,
    ids::{ConnId, Direction},
    origin::Origin,
    reactor::{Blame, DisconnectReason},
    switch::SwitchEvent,
    time::{Now, Wall},
};

/// New addresses among those a seed hands out, per cent (`biasToSelectNewPeers`).
const SEED_BIAS: u8 = 30;

impl PexCore {
    pub(super) fn peer_up(&mut self, facts: PeerFacts, now: Now) {
        let (id, conn) = (facts.id, facts.conn);
        match facts.origin {
            Some(Origin::Discovery { .. }) => _ = self.dials.settle(&id),
            Some(Origin::Operator | Origin::Persistent) if self.settings.is_enabled => {
                self.dials.ended(id);
            }
            Some(_) | None => {}
        }
        if let Some(dialed) = facts.dialed {
            self.outage.is_over(dialed.ip());
        }
        self.book_peer(&facts, now);
        self.book.seen(&id, &facts.facts, now.wall);
        let mut neighbour = Neighbour::new(facts, now.mono);
        let (purpose, is_outbound) = (neighbour.purpose(), neighbour.is_outbound());
        // A seed only wants to know whether the node is there.
        neighbour.is_proven = self.is_crawling() || purpose == Some(Purpose::Test);
        if neighbour.is_proven && is_outbound {
            self.book.reached(&id, true);
            self.reached_at = Some(now.mono);
        }
        let speaks_pex = neighbour.facts.speaks_pex;
        let is_reserved = self.standings.is_reserved(&id);
        self.by_id.insert(id, conn);
        self.neighbours.insert(conn, neighbour);
        if is_outbound {
            self.outbound.insert(conn);
        }
        if !self.settings.is_enabled {
            return;
        }
        for (after, timer) in self.timers_of(conn) {
            self.timers.add(now.mono + after, timer);
        }
        match (purpose, is_outbound) {
            (Some(Purpose::Test), _) if !is_reserved => {
                self.evict(conn, DisconnectReason::Finished);
            }
            (_, true) if self.is_crawling() && !is_reserved => {
                if speaks_pex {
                    self.ask(conn, now);
                }
                if self.neighbours.get(&conn).is_some_and(|neighbour| !neighbour.owes_answer) {
                    self.evict(conn, DisconnectReason::Finished);
                }
            }
            // However many addresses the book holds: they have not been enough.
            (Some(Purpose::Seed), _) => self.ask(conn, now),
            (_, true) if self.book.needs_more(now.wall) => self.ask(conn, now),
            _ => {}
        }
    }

    /// What becomes due in a session, and how long after its beginning.
    pub(super) fn timers_of(&self, conn: ConnId) -> [(Duration, Timer); 2] {
        if self.is_crawling() {
            [
                (self.settings.crawl_timeout, Timer::Crawled(conn)),
                (self.settings.seed_disconnect_wait_period, Timer::Overstayed(conn)),
            ]
        } else {
            [
                (self.settings.proven_after(), Timer::Proven(conn)),
                (self.settings.good_after, Timer::Good(conn)),
            ]
        }
    }

    /// Where the node is, as far as the session tells.
    fn book_peer(&mut self, facts: &PeerFacts, now: Now) {
        let addr = match facts.direction {
            Direction::Outbound => facts.dialed,
            Direction::Inbound => facts.announced,
        };
        let Some(addr) = addr else { return };
        match facts.direction {
            // Where the operator's own peers are says nothing of the network.
            Direction::Outbound => _ = self.add_to_book(addr, facts.source(), now),
            Direction::Inbound => {
                // Who comes from a private address is of a private network; others may say so.
                let is_near = !facts.source().is_routable();
                self.hear_of(addr, facts.source(), is_near, now);
            }
        }
        if facts.direction == Direction::Outbound {
            self.book.authenticated(&addr, &facts.facts, now.wall);
        }
    }

    pub(super) fn peer_down(&mut self, conn: ConnId, reason: &DisconnectReason, now: Now) {
        let Some(neighbour) = self.neighbours.remove(&conn) else { return };
        self.outbound.remove(&conn);
        for (after, timer) in self.timers_of(conn) {
            self.timers.remove(neighbour.since + after, timer);
        }
        let facts = &neighbour.facts;
        if self.by_id.get(&facts.id) == Some(&conn) {
            self.by_id.remove(&facts.id);
        }
        self.book.seen(&facts.id, &facts.facts, now.wall);
        self.crawl_soon(&facts.id, now);
        let is_ours = matches!(reason.blame(), Blame::Nobody | Blame::Machine);
        if neighbour.is_outbound() && !neighbour.is_proven && !neighbour.is_over && !is_ours {
            // It has refused us after the handshake: growing pauses, not a loop.
            if let Some(addr) = facts.dialed {
                self.failed_at(&addr, now);
            }
            self.go_on(neighbour.purpose(), now);
        }
        if neighbour.is_outbound() {
            self.refill_soon(now);
        }
        if *reason != DisconnectReason::Stopped {
            self.look_if_alone(now.mono.since(neighbour.since), now);
        }
    }

    /// An attempt, whoever wanted it, has brought no session.
    pub(super) fn dial_failed(
        &mut self,
        addr: PeerAddress,
        origin: Origin,
        reason: &DisconnectReason,
        now: Now,
    ) {
        let id = addr.id();
        let own = origin.is_discovery().then(|| self.dials.settle(&id)).flatten();
        if !origin.is_discovery() && self.settings.is_enabled {
            self.dials.ended(id);
        }
        if let Some(addr) = addr.net_address() {
            self.blame(addr, own, reason, now);
        }
        match (origin.purpose(), reason) {
            // Others' attempts had taken the places, which was not known when it was asked for.
            (Some(Purpose::Seed), DisconnectReason::Full(_)) => {
                self.untried_seeds.push(addr);
                self.is_seed_due = true;
                return self.refill_soon(now);
            }
            (purpose, _) => self.go_on(purpose, now),
        }
        if self.is_seed_due && self.num_wanted() > 0 {
            // Whoever asked for the attempt: it has made room for a seed.
            self.is_seed_due = false;
            self.dial_next_seed(now);
        }
    }

    /// What an attempt without a session says of the address.
    fn blame(&mut self, addr: NetAddress, own: Option<Own>, reason: &DisconnectReason, now: Now) {
        match reason.blame() {
            // It says nothing of anybody: as if it had not been tried.
            Blame::Machine => {
                if let Some(own) = own {
                    self.book.take_back(&addr, own.attempted_before);
                }
                let unit = self.settings.backoff_unit();
                let pauses = (unit.saturating_mul(4), unit.saturating_mul(25));
                self.outage.fault(addr.ip(), pauses, now.mono);
                return self.crawl_soon(&addr.id(), now);
            }
            // We have not dialed it: the address is innocent, and not to be asked for at once again.
            Blame::Nobody => {
                if own.is_some() {
                    self.book.take_back(&addr, Some(now.wall));
                }
                return;
            }
            Blame::Peer | Blame::Network => self.outage.is_over(addr.ip()),
        }
        let own_id = self.book.own();
        match reason {
            // By our own ID nothing was dialed. By another one somebody has told our address for his,
            // or for that of somebody whom we know better.
            DisconnectReason::SelfConnection if addr.id() == own_id => {}
            DisconnectReason::SelfConnection => self.book.meet_own(addr.socket_addr()),
            DisconnectReason::WrongId { actual, .. } if *actual == own_id => {
                self.book.meet_own(addr.socket_addr());
            }
            DisconnectReason::WrongId { .. } => self.book.wrong_id(&addr, now.wall),
            DisconnectReason::Incompatible(why) => {
                self.found_bad(addr, BadCause::Incompatible, why.to_string(), now);
            }
            _ => {
                // What peer exchange has asked for was counted then.
                if own.is_none() {
                    self.book.attempted(&addr, now.wall);
                }
                self.failed_at(&addr, now);
            }
        }
    }

    fn failed_at(&mut self, addr: &NetAddress, now: Now) {
        if self.book.dial_failed(addr, now.wall) > MAX_ATTEMPTS {
            let why = format!("{MAX_ATTEMPTS} attempts to connect have failed");
            self.found_bad(*addr, BadCause::Unreachable, why, now);
        }
    }

    /// A machine's verdict about an address: not about one whose node the operator wants.
    fn found_bad(&mut self, addr: NetAddress, cause: BadCause, reason: String, now: Now) {
        let id = addr.id();
        if !self.standings.is_reserved(&id) {
            let until = now.wall.after(BAD_FOR);
            self.mark_bad(BadAddress { id, addr: Some(addr), until, cause, reason }, now);
        }
    }

    /// The node has authenticated itself as one of ours, whoever dialed and whatever becomes of the
    /// connection: what was found about its address before may be disproved.
    pub(super) fn authenticated(&mut self, id: NodeId, direction: Direction, now: Now) {
        let was_dialed = direction == Direction::Outbound;
        if self.book.disprove_bad(&id, was_dialed, now.wall, &mut self.rng) {
            self.outputs.push_back(PexOutput::Event(SwitchEvent::Reinstated { id }));
            self.crawl_soon(&id, now);
        }
    }

    pub(super) fn message(&mut self, conn: ConnId, bytes: &[u8], now: Now) {
        if self.neighbours.get(&conn).is_none_or(|neighbour| neighbour.is_over) {
            return;
        }
        self.prove(conn);
        match PexMessage::decode(bytes) {
            Ok(PexMessage::Request) => self.requested(conn, now),
            Ok(PexMessage::Addrs(addrs)) => self.answered(conn, &addrs, now),
            Err(error) if error.is_abuse() => {
                self.punish(conn, error.to_string(), self.settings.ban_time, now);
            }
            Err(error) => {
                neighbour_over(&mut self.neighbours, conn);
                self.outputs.push_back(PexOutput::Stop { conn, reason: error.to_string() });
            }
        }
    }

    /// The peer is more than a node that refuses after the handshake.
    pub(super) fn prove(&mut self, conn: ConnId) {
        let Some(neighbour) = self.neighbours.get_mut(&conn).filter(|n| !n.is_proven) else {
            return;
        };
        neighbour.is_proven = true;
        let (id, is_outbound) = (neighbour.facts.id, neighbour.is_outbound());
        let purpose = neighbour.purpose();
        self.book.reached(&id, is_outbound);
        if is_outbound {
            self.round.has_reached |= purpose.is_some();
            if purpose == Some(Purpose::Exchange) {
                self.exchanged(conn);
            }
        }
    }

    fn requested(&mut self, conn: ConnId, now: Now) {
        let (is_seed, interval) = (self.is_crawling(), self.settings.receive_interval());
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return };
        let is_reserved = self.standings.is_reserved(&neighbour.facts.id);
        let verdict = neighbour.request(interval, now.mono);
        let is_guest = is_seed && !neighbour.is_outbound() && !is_reserved;
        if is_guest && neighbour.requests() > 1 {
            return;
        }
        match verdict {
            Verdict::Answer if is_seed => {
                // What it has reached itself, and nothing else.
                let addrs = self.book.verified_selection(SEED_BIAS, now.wall, &mut self.rng);
                self.send(conn, PexMessage::Addrs(addrs));
                // One answer each; the next one wants the place.
                if is_guest {
                    self.evict(conn, DisconnectReason::Finished);
                }
            }
            Verdict::Answer => {
                let addrs = self.book.selection(now.wall, &mut self.rng);
                self.send(conn, PexMessage::Addrs(addrs));
            }
            Verdict::Early => self.send(conn, PexMessage::Addrs(Vec::new())),
            Verdict::Abuse => {
                let why = "asks for addresses all the time".to_owned();
                self.punish(conn, why, self.settings.abuse_ban_time, now);
            }
        }
    }

    fn answered(&mut self, conn: ConnId, addrs: &[NetAddress], now: Now) {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return };
        if !std::mem::take(&mut neighbour.owes_answer) {
            let why = "sent addresses that nobody asked for".to_owned();
            return self.punish(conn, why, self.settings.ban_time, now);
        }
        let (id, is_outbound) = (neighbour.facts.id, neighbour.is_outbound());
        let is_reserved = self.standings.is_reserved(&id);
        let source = neighbour.facts.source();
        let is_configured = is_reserved || self.is_seed(&id);
        for addr in addrs {
            self.hear_of(*addr, source, is_configured, now);
        }
        if self.is_crawling() {
            if is_outbound && !is_reserved {
                self.evict(conn, DisconnectReason::Finished);
            }
        } else if self.is_seed(&id) {
            self.seed_answered(addrs, now);
        }
    }

    /// Asks the peer for addresses, unless it was asked a moment ago: receivers ban for it.
    pub(super) fn ask(&mut self, conn: ConnId, now: Now) {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return };
        if neighbour.owes_answer || neighbour.is_over || !neighbour.facts.speaks_pex {
            return;
        }
        let (id, interval) = (neighbour.facts.id, self.settings.request_interval);
        if self.asked.get(&id).is_some_and(|at| now.mono.since(*at) < interval) {
            return;
        }
        neighbour.owes_answer = true;
        self.asked.insert(id, now.mono);
        self.timers.add(now.mono + interval, Timer::Asked(id));
        self.send(conn, PexMessage::Request);
    }

    /// A peer has told an address, another's or its own. `counts`: what it tells says something of the
    /// network that we are in, which strangers on the internet do not.
    fn hear_of(&mut self, addr: NetAddress, src: NetAddress, counts: bool, now: Now) {
        if self.add_to_book(addr, src, now) == Err(AddError::NotRoutable) && counts {
            self.unroutable.heard();
        }
    }

    /// Adds what somebody told, and has it crawled.
    pub(super) fn add_to_book(
        &mut self,
        addr: NetAddress,
        src: NetAddress,
        now: Now,
    ) -> Result<Added, AddError> {
        let added = self.book.add(addr, src, now.wall, &mut self.rng);
        if added == Ok(Added::New) && self.is_crawling() {
            self.crawl_new(addr.id(), now);
        }
        added
    }

    fn send(&mut self, conn: ConnId, message: PexMessage) {
        let (is_request, message) = (message == PexMessage::Request, message.encode());
        self.outputs.push_back(PexOutput::Send { conn, message, is_request });
    }

    /// The peer was not asked after all: it owes nothing, and what it tells unasked is unsolicited.
    pub(super) fn request_not_sent(&mut self, conn: ConnId, now: Now) {
        let Some(neighbour) = self.neighbours.get_mut(&conn) else { return };
        neighbour.owes_answer = false;
        let is_reserved = self.standings.is_reserved(&neighbour.facts.id);
        let is_for_answer = matches!(neighbour.purpose(), Some(Purpose::Crawl | Purpose::Seed));
        // It was dialed for its answer, and does not even read.
        if is_for_answer && !neighbour.is_over && !is_reserved {
            let purpose = neighbour.purpose();
            self.evict(conn, DisconnectReason::Finished);
            self.go_on(purpose, now);
        }
    }

    /// Has the switch end the session once everything is sent.
    pub(super) fn evict(&mut self, conn: ConnId, reason: DisconnectReason) {
        neighbour_over(&mut self.neighbours, conn);
        self.outputs.push_back(PexOutput::Evict { conn, reason });
    }

    fn punish(&mut self, conn: ConnId, why: String, time: Duration, now: Now) {
        neighbour_over(&mut self.neighbours, conn);
        self.outputs.push_back(PexOutput::Stop { conn, reason: why.clone() });
        let Some(neighbour) = self.neighbours.get(&conn) else { return };
        let id = neighbour.facts.id;
        // The operator wants this peer whatever it does: it comes back, and starts anew.
        if !self.standings.is_reserved(&id) {
            self.ban_automatically(id, time, &why, now);
        }
    }
}

/// What still comes of this session is not looked at.
fn neighbour_over(neighbours: &mut BTreeMap<ConnId, Neighbour>, conn: ConnId) {
    if let Some(neighbour) = neighbours.get_mut(&conn) {
        neighbour.is_over = true;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        config::Config,
        drive::Core,
        pex::{
            PexInput,
            core::tests::{at, outputs, started},
        },
        switch::Notice,
        time::Mono,
    };

    /// An outbound peer that peer exchange has dialed for this.
    fn up(core: &mut PexCore, n: u8, purpose: Purpose) -> ConnId {
        let addr = NetAddress::new(NodeId::from_bytes([n; 20]), [50, n, 1, 1].into(), 26656);
        let facts = PeerFacts::for_test(addr, Some(purpose));
        let conn = facts.conn;
        core.handle_input(PexInput::PeerUp(facts), at(0));
        conn
    }

    fn num_requests(outputs: &[PexOutput]) -> usize {
        outputs.iter().filter(|o| matches!(o, PexOutput::Send { is_request: true, .. })).count()
    }

    #[test]
    fn who_was_not_asked_after_all_owes_nothing() {
        for was_sent in [true, false] {
            let mut core = started(&Config::default());
            let conn = up(&mut core, 1, Purpose::Peers);
            assert_eq!(num_requests(&outputs(&mut core)), 1);
            if !was_sent {
                core.handle_input(PexInput::NotSent(conn), at(0));
            }
            let payload = PexMessage::Addrs(Vec::new()).encode().into();
            core.handle_input(PexInput::Message { conn, payload }, at(0));
            let is_stop = |output: &PexOutput| matches!(output, PexOutput::Stop { .. });
            assert_eq!(outputs(&mut core).iter().any(is_stop), !was_sent, "{was_sent}");
            assert_eq!(core.book().bans().is_empty(), was_sent);
        }
    }

    #[test]
    fn who_was_not_asked_after_all_is_asked_again_in_time() {
        let mut core = started(&Config::default());
        let conn = up(&mut core, 1, Purpose::Peers);
        outputs(&mut core);
        core.handle_input(PexInput::NotSent(conn), at(0));
        let mut now = at(0);
        let mut asked = Vec::new();
        while now.mono < Mono::ZERO + Duration::from_secs(120) {
            let step = core.next_deadline().unwrap().since(now.mono).max(Duration::from_millis(1));
            now = Now { mono: now.mono + step, wall: now.wall + step };
            core.handle_input(PexInput::Timeout, now);
            let count = num_requests(&outputs(&mut core));
            asked.extend(std::iter::repeat_n(now.mono.since(Mono::ZERO), count));
        }
        // Once, for now it owes an answer; and not before the pace allows it.
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0] >= Duration::from_secs(30), "{asked:?}");
    }

    /// It was dialed for its answer.
    #[test]
    fn a_crawled_node_or_a_seed_that_could_not_be_asked_is_let_go() {
        for (is_seed, purpose) in [(true, Purpose::Crawl), (false, Purpose::Seed)] {
            let mut core = started(&Config { seed_mode: is_seed, ..Config::default() });
            let conn = up(&mut core, 1, purpose);
            assert_eq!(num_requests(&outputs(&mut core)), 1);
            core.handle_input(PexInput::NotSent(conn), at(0));
            let is_evict = |output: &PexOutput| matches!(output, PexOutput::Evict { conn: of, .. } if *of == conn);
            assert!(outputs(&mut core).iter().any(is_evict), "{purpose:?}");
        }
    }

    /// Somebody has told our address for his.
    #[test]
    fn only_an_address_at_which_we_are_is_our_own() {
        for (is_own, actual) in [(true, 0), (false, 9)] {
            let mut core = started(&Config::default());
            let node =
                |n: u8| NetAddress::new(NodeId::from_bytes([n; 20]), [50, 1, 1, 1].into(), 1);
            let addr = node(1);
            core.add_to_book(addr, addr, at(0)).unwrap();
            let (purpose, actual) = (Purpose::Peers, NodeId::from_bytes([actual; 20]));
            let reason = DisconnectReason::WrongId { expected: addr.id(), actual };
            let origin = Origin::Discovery { purpose, failures: 0, is_limited: true };
            let notice = Notice::DialFailed { addr: addr.into(), origin, reason };
            core.handle_input(PexInput::Notice(notice), at(0));
            assert!(core.book().get(&addr.id()).is_none(), "it leaves the book");
            let again = core.add_to_book(node(2), node(2), at(0));
            assert_eq!(again.is_err(), is_own, "{again:?}");
        }
    }

    fn is_evict(output: &PexOutput, conn: ConnId) -> bool {
        matches!(output, PexOutput::Evict { conn: of, .. } if *of == conn)
    }

    /// Another good node wants its place in the book: that it is there is all that was to be known.
    #[test]
    fn who_was_dialed_to_see_whether_it_is_there_is_let_go_unless_the_operator_wants_it() {
        for is_reserved in [false, true] {
            let id = NodeId::from_bytes([1; 20]);
            let unconditional = if is_reserved { vec![id] } else { Vec::new() };
            let mut core =
                started(&Config { unconditional_peer_ids: unconditional, ..Config::default() });
            let conn = up(&mut core, 1, Purpose::Test);
            let told = outputs(&mut core);
            assert_eq!(told.iter().any(|output| is_evict(output, conn)), !is_reserved);
            assert_eq!(num_requests(&told) > 0, is_reserved, "{told:?}");
            assert_eq!(core.reached_at, Some(Mono::ZERO), "the network is there");
        }
    }

    #[test]
    fn a_node_without_peer_exchange_books_its_peers_and_asks_nobody() {
        for pex in [false, true] {
            let mut core = started(&Config { pex, ..Config::default() });
            up(&mut core, 1, Purpose::Peers);
            assert_eq!(num_requests(&outputs(&mut core)), usize::from(pex));
            assert_eq!(core.book().len(), 1);
        }
    }

    /// Whoever tells our ID with a node's address has nobody forget that node.
    #[test]
    fn that_we_met_ourselves_under_our_own_id_says_nothing_of_the_address() {
        let at_there = |id| NetAddress::new(id, [50, 1, 1, 1].into(), 1);
        let [honest, liar] = [1, 2].map(|n| at_there(NodeId::from_bytes([n; 20])));
        for is_own in [true, false] {
            let mut core = started(&Config::default());
            let (wall, own) = (at(0).wall, at_there(core.book.own()));
            let mut rng = StdRng::seed_from_u64(1);
            core.book.add(honest, honest, wall, &mut rng).unwrap();
            let notice = Notice::DialFailed {
                addr: if is_own { own.into() } else { liar.into() },
                origin: Origin::Discovery {
                    purpose: Purpose::Peers,
                    failures: 0,
                    is_limited: true,
                },
                reason: DisconnectReason::SelfConnection,
            };
            core.handle_input(PexInput::Notice(notice), at(0));
            assert_eq!(core.book.get(&honest.id()).is_some(), is_own);
        }
    }
}
