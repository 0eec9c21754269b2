//! The switch's core, with a driver that holds everything it says against the reference, and an
//! event loop that keeps its side of the contract and does nothing by itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use tmp2p::{
    Config, ConnId, Direction, DisconnectReason, NodeId, NodeInfo, PeerAddress, SwitchEvent,
    internals::drive::{Core, Driver},
    internals::event_loop::{Command, Established, Report},
    internals::reactor::{CloseMode, Vitals},
    internals::switch::{
        Dialed, Input, Kept, Notice, Origin, Output, ReactorSettings, Reply, Request, SwitchCore,
        SwitchSettings,
    },
    internals::time::{Mono, Now},
};

use crate::{
    dice::Dice,
    node::id_of,
    reference::{Conn, Expected, Reference},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const NODES: usize = 6;

pub(crate) static IDS: LazyLock<Vec<NodeId>> = LazyLock::new(|| {
    let mut ids: Vec<NodeId> = (0..=NODES).map(id_of).collect();
    ids.sort();
    // Ours comes last, and is neither the lowest nor the highest.
    ids[NODES / 2..].rotate_left(1);
    ids
});
pub(crate) static INFO: LazyLock<NodeInfo> = LazyLock::new(|| NodeInfo::new("model", "m").unwrap());

/// Two nodes share each address.
pub(crate) fn place(node: usize) -> SocketAddr {
    ([20, 0, 0, (node % 3) as u8], 26656).into()
}

pub(crate) fn addr(node: usize, is_named: bool) -> PeerAddress {
    let host = if is_named { format!("n{node}.example:26656") } else { place(node).to_string() };
    format!("{}@{host}", IDS[node]).parse().unwrap()
}

impl Driver for Run {
    type Core = SwitchCore;

    fn core(&mut self) -> &mut SwitchCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: SystemTime::UNIX_EPOCH + self.now.since(Mono::ZERO) }
    }

    fn next_input(&mut self) -> Input {
        let (reactor, times) = self.unread;
        let sessions = times * self.core.max_unread_sessions() + times.min(1);
        self.feed(Input::Unread { reactor, sessions });
        self.inputs.pop_front().unwrap_or(Input::Timeout)
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Command(command) => self.take_command(command),
            Output::Introduce(admission) => {
                let conn = admission.conn;
                let entry = &self.model.conns[&conn];
                assert_eq!((admission.id, admission.direction), (entry.id, entry.direction));
                assert_eq!(admission.is_reserved, self.model.is_reserved(&entry.id));
                self.model.introduce(conn, self.now);
                self.introduced.push(conn);
                let (id, origin) = (admission.id, admission.origin);
                assert_eq!(origin.is_some(), admission.direction == Direction::Outbound);
                let result = if self.hooks_fail && self.dice.one_in(2) {
                    self.model.not_introduced(conn);
                    Err("no".to_owned())
                } else {
                    self.ups += 1;
                    origin.into_iter().for_each(|origin| self.outcome(id, origin));
                    Ok(())
                };
                self.feed(Input::Introduced { conn, result });
            }
            Output::Weigh { newcomer, sessions } => {
                let silent = |conn: &ConnId| (*conn, Vitals::default());
                let sessions = sessions.iter().map(silent).collect();
                self.feed(Input::Weighed { newcomer, sessions });
            }
            Output::Down { conn, .. } => {
                self.downs += 1;
                self.model.down(conn);
            }
            Output::Answer(answer) => answer.give(),
            Output::Filter { ticket, .. } => self.asked.push(ticket),
            Output::Resolve(request) => self.lookups.push(request.ticket),
            Output::Event(SwitchEvent::GaveUp { addr }) => {
                assert!(self.model.persistent.remove(&addr.id()), "gave up who is nobody");
            }
            Output::Mark { conn, is_reserved, .. } => {
                let id = self.model.conns[&conn].id;
                assert_eq!(self.model.sessions[&id], conn);
                assert_eq!(is_reserved, self.model.is_reserved(&id));
            }
            Output::Notice(Notice::DialBegun { id, origin }) => {
                assert!(!origin.is_discovery(), "peer exchange knows what it has asked for");
                self.is_under_way(id, origin);
            }
            Output::Notice(Notice::DialFailed { addr, origin, .. }) => {
                self.outcome(addr.id(), origin);
            }
            Output::Notice(Notice::Standing { id, is_persistent, is_unconditional }) => {
                let is_reserved = is_persistent || is_unconditional;
                self.standings.insert(id, is_reserved);
            }
            Output::Notice(Notice::Authenticated { .. } | Notice::Listed(_)) | Output::Event(_) => {
            }
        }
    }
}

/// The core, a loop that keeps its side of the contract, and everybody else.
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) dice: Dice,
    pub(crate) now: Mono,
    pub(crate) core: SwitchCore,
    pub(crate) model: Reference,
    pub(crate) has_filters: bool,
    pub(crate) peer_filters: usize,
    pub(crate) cap: Duration,
    // What the loop has.
    pub(crate) commands: VecDeque<Command>,
    pub(crate) dials: BTreeMap<u64, (SocketAddr, NodeId)>,
    /// Connections of the loop, and what ends them.
    pub(crate) open: BTreeMap<ConnId, Option<DisconnectReason>>,
    pub(crate) has_spoken: BTreeSet<ConnId>,
    pub(crate) probed: Vec<ConnId>,
    pub(crate) next_conn: u32,
    pub(crate) is_told_full: bool,
    // What others have.
    pub(crate) asked: Vec<u64>,
    pub(crate) lookups: Vec<u64>,
    pub(crate) dialed: Vec<Kept<Dialed>>,
    inputs: VecDeque<Input>,
    pub(crate) hooks_fail: bool,
    /// A reactor has left unread so many times what it may, and one more.
    pub(crate) unread: (usize, usize),
    /// Reports of strangers that the core has taken, as it has told the loop.
    taken: usize,
    pub(crate) introduced: Vec<ConnId>,
    /// Attempts that peer exchange was told of, or has asked for, without their outcome.
    pub(crate) under_way: BTreeMap<(NodeId, bool), usize>,
    pub(crate) rejected: BTreeMap<ConnId, &'static str>,
    /// Who is reserved or not, as peer exchange was told.
    pub(crate) standings: BTreeMap<NodeId, bool>,
    pub(crate) ups: usize,
    pub(crate) downs: usize,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at {:?}; again with TMP2P_SEED={}", self.now, self.seed);
        }
    }
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let cap = *dice.pick(&[Duration::ZERO, 10 * SECOND]);
        let config = Config {
            max_num_inbound_peers: dice.range(0..=4),
            max_num_outbound_peers: dice.range(0..=3),
            allow_duplicate_ip: dice.one_in(2),
            max_peers_per_ip: dice.below(3),
            persistent_peers_max_dial_period: cap,
            reconnect_give_up: if dice.one_in(5) { 3 } else { 0 },
            persistent_peers: (0..dice.below(4)).map(|n| addr(n, n == 1)).collect(),
            unconditional_peer_ids: vec![IDS[4]],
            ..Config::default()
        };
        let reactor = |may_end| ReactorSettings { name: format!("{may_end}"), may_end };
        let own = IDS[NODES];
        let mut settings = SwitchSettings::of(own, &config, vec![reactor(true), reactor(false)]);
        let has_filters = dice.one_in(3);
        if has_filters {
            (settings.peer_filters, settings.connection_filters) = (dice.range(1..=2), 1);
        }
        let model = Reference {
            own,
            limits: settings.limits,
            allow_duplicate_ip: config.allow_duplicate_ip,
            max_peers_per_ip: config.max_peers_per_ip,
            persistent: config.persistent_peers.iter().map(PeerAddress::id).collect(),
            unconditional: config.unconditional_peer_ids.iter().copied().collect(),
            bans: Vec::new(),
            stalled: 0,
            pace: BTreeMap::new(),
            is_stopping: false,
            conns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            over: BTreeSet::new(),
        };
        let peer_filters = settings.peer_filters;
        let core = SwitchCore::new(settings, Arc::default(), dice.bytes());
        let cap = if cap.is_zero() { 60 * SECOND } else { cap };
        let mut run = Self {
            seed,
            dice,
            now: Mono::ZERO,
            core,
            model,
            has_filters,
            peer_filters,
            cap,
            commands: VecDeque::new(),
            dials: BTreeMap::new(),
            open: BTreeMap::new(),
            has_spoken: BTreeSet::new(),
            probed: Vec::new(),
            next_conn: 0,
            is_told_full: false,
            asked: Vec::new(),
            lookups: Vec::new(),
            dialed: Vec::new(),
            inputs: VecDeque::new(),
            hooks_fail: false,
            unread: (0, 0),
            taken: 0,
            introduced: Vec::new(),
            under_way: BTreeMap::new(),
            rejected: BTreeMap::new(),
            standings: BTreeMap::new(),
            ups: 0,
            downs: 0,
        };
        run.step(Input::Start);
        run
    }

    // ---- the driver ----

    pub(crate) fn happen(&mut self, input: Option<Input>) {
        self.introduced.clear();
        self.rejected.clear();
        self.taken = 0;
        let is_to_be_taken = matches!(input, Some(Input::Report(Report::Established(_))));
        self.inputs.extend(input);
        let input = self.next_input();
        self.step(input);
        assert_eq!(self.taken, usize::from(is_to_be_taken), "what the loop knows to be taken");
        assert!(self.core.next_deadline().is_none_or(|at| at > self.now), "due and not done");
        self.model.check(!self.has_filters, self.now);
        if self.core.is_stopped() {
            return;
        }
        let (count, most) = (self.core.num_limited(Direction::Inbound), self.model.limits);
        let is_full = count >= most.max_num_inbound_peers;
        assert_eq!(self.is_told_full, is_full, "what the loop knows of {count} of {most:?}");
        // With filters those that wait for them take places, too.
        let up = self.model.limited(Direction::Inbound);
        assert!(if self.has_filters { up <= count } else { up == count }, "{up} {count}");
    }

    /// Asks for a change at run time, which is answered at once.
    pub(crate) fn request<T: Clone + Send + Sync + 'static>(
        &mut self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> T {
        let (reply, answer) = Reply::kept();
        self.happen(Some(Input::Request(request(reply))));
        answer.get().cloned().flatten().expect("it is answered at once")
    }

    /// Somebody has asked for an attempt, and peer exchange knows of it.
    pub(crate) fn is_under_way(&mut self, id: NodeId, origin: Origin) {
        *self.under_way.entry((id, origin.is_discovery())).or_default() += 1;
    }

    /// Every attempt has one outcome, told for the one who asked.
    fn outcome(&mut self, id: NodeId, origin: Origin) {
        let key = (id, origin.is_discovery());
        let left = self.under_way.get_mut(&key).expect("an outcome of no attempt");
        *left -= 1;
        if *left == 0 {
            self.under_way.remove(&key);
        }
    }

    pub(crate) fn take_command(&mut self, command: Command) {
        match &command {
            Command::Dial { addr, expected, .. } => {
                let wall = self.now().wall;
                assert!(!self.model.is_banned(expected, *addr, wall), "dials who is banned");
                let is_twice = self.dials.values().any(|(_, other)| other == expected);
                assert!(!is_twice, "two attempts with {expected}");
                assert!(!self.model.is_stopping, "dials while it stops");
            }
            Command::Reject { conn, reason } => {
                self.model.reject(*conn, reason, self.now);
                self.rejected.insert(*conn, reason.kind());
            }
            Command::Close { conn, .. } => self.model.close(*conn),
            Command::Probe(conn) => {
                let id = self.model.conns.get(conn).expect("a probe of who is over").id;
                assert_eq!(self.model.sessions.get(&id), Some(conn), "a probe of no session");
            }
            Command::InboundFull(is_full) => {
                assert_ne!(*is_full, self.is_told_full, "told what is known");
                self.is_told_full = *is_full;
            }
            Command::Considered => self.taken += 1,
            Command::Shutdown { .. } | Command::Known(_) => {}
            other => panic!("not the core's: {other:?}"),
        }
        self.commands.push_back(command);
    }

    // ---- the loop ----

    pub(crate) fn establish(&mut self, id: NodeId, remote: SocketAddr, ticket: Option<u64>) {
        let conn = ConnId::new(0, self.next_conn % 4, self.next_conn);
        self.next_conn += 1;
        let direction = if ticket.is_some() { Direction::Outbound } else { Direction::Inbound };
        let entry = Conn {
            id,
            remote,
            direction,
            verdict: None,
            since: self.now,
            is_ending: false,
            is_unwanted: false,
        };
        self.model.conns.insert(conn, entry);
        self.open.insert(conn, None);
        let expected = self.model.expected(conn, self.now);
        let node_info = std::sync::Arc::new(INFO.clone().with_id(id));
        let established = Established { conn, ticket, id, node_info, direction, remote };
        self.happen(Some(Input::Report(Report::Established(established))));
        self.compare(conn, expected);
    }

    /// What became of a connection about which the core had to decide just now.
    pub(crate) fn compare(&self, conn: ConnId, expected: Expected) {
        if self.has_filters {
            return;
        }
        let became = match self.rejected.get(&conn) {
            _ if self.introduced.contains(&conn) => Expected::Up,
            Some(kind) => Expected::Refused(kind),
            None => Expected::Waits,
        };
        assert_eq!(became, expected, "{conn}: {:?}", self.model.conns.get(&conn));
    }

    pub(crate) fn close(&mut self, conn: ConnId, by_peer: DisconnectReason) {
        let Some(ours) = self.open.remove(&conn) else { return };
        let reason = ours.unwrap_or(by_peer);
        self.has_spoken.remove(&conn);
        self.probed.retain(|probed| *probed != conn);
        let id = self.model.conns[&conn].id;
        let is_session = self.model.sessions.get(&id) == Some(&conn);
        self.model.over.insert(conn);
        if is_session {
            // As if it were over: who waits for its place is judged anew.
            let old = self.model.sessions.remove(&id).expect("looked at");
            let mut waiting = self.model.conns.iter().filter(|(_, c)| c.id == id);
            let heir = waiting.find(|(_, c)| c.verdict.is_none()).map(|(conn, _)| *conn);
            let expected = heir.map(|heir| (heir, self.model.expected(heir, self.now)));
            self.model.sessions.insert(id, old);
            let downs = self.downs;
            self.happen(Some(Input::Report(Report::Closed { conn, reason, has_sent: false })));
            assert_eq!(self.downs, downs + 1, "no down of {conn}");
            if let Some((heir, expected)) = expected {
                self.compare(heir, expected);
            }
        } else {
            self.model.conns.remove(&conn);
            self.happen(Some(Input::Report(Report::Closed { conn, reason, has_sent: false })));
        }
    }

    pub(crate) fn ending(&mut self, conn: ConnId) {
        let Some(entry) = self.model.conns.get_mut(&conn) else { return };
        if self.open.contains_key(&conn) && !std::mem::replace(&mut entry.is_ending, true) {
            self.happen(Some(Input::Report(Report::Ending(conn))));
        }
    }

    pub(crate) fn apply_command(&mut self) {
        match self.commands.pop_front() {
            Some(Command::Dial { ticket, addr, expected, .. }) => {
                let before = self.dials.insert(ticket, (addr, expected));
                assert_eq!(before, None);
            }
            Some(Command::Reject { conn, reason }) => self.set_closing(conn, reason),
            Some(Command::Close { conn, mode }) => {
                let CloseMode::Now(reason) = mode else { panic!("the core is not polite") };
                self.set_closing(conn, reason);
            }
            Some(Command::Probe(conn)) if self.open.contains_key(&conn) => self.probed.push(conn),
            _ => {}
        }
    }

    pub(crate) fn set_closing(&mut self, conn: ConnId, reason: DisconnectReason) {
        if let Some(open) = self.open.get_mut(&conn) {
            open.get_or_insert(reason);
        }
    }

    pub(crate) fn answer_dial(&mut self, is_reached: bool) {
        let Some((&ticket, &(remote, id))) = self.dials.iter().next() else { return };
        self.dials.remove(&ticket);
        if is_reached {
            return self.establish(id, remote, Some(ticket));
        }
        let reason = DisconnectReason::Refused;
        self.happen(Some(Input::Report(Report::DialFailed { ticket, reason })));
    }
}
