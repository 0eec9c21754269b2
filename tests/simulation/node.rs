//! One complete node: the real cores, and drivers that only carry things between them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use crossbeam_channel::Sender;
use tmp2p::{
    Candidate, ConnId, Direction, Event, MemoryStore, NodeId, NodeKey, Peer, PeerAddress,
    SwitchEvent, crossbeam_channel,
    internals::addrbook::BookLimits,
    internals::drive::{Core, Driver},
    internals::event_loop::{Command, LoopCore, LoopSettings, Mailbox, Report},
    internals::pex::PexInput,
    internals::protocol::secret::Cipher,
    internals::reactor::{Admission, Inbox, Progress, Session, SessionSettings},
    internals::switch::{
        Dialed, Hook, Input, Kept, Lineup, Output, ReactorSettings, Request, ResolveRequest,
        SwitchCore, SwitchSettings, verdict_timeout,
    },
    internals::testing::agreement,
    internals::time::{Mono, Now, Wall},
};

use crate::{
    dice::Dice,
    invariants::Witness,
    net::{SockId, Wire},
    options::Options,
    pex::SimPex,
    reactor::{InitLog, Ledger, SimReactor},
    schedule::Turn,
    sockets::SimSockets,
};

/// When simulated time begins.
pub(crate) fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The reactors' inboxes.
#[derive(Clone)]
pub(crate) struct SimInbox {
    senders: Vec<Sender<Event>>,
    /// By all copies.
    delivered: Rc<RefCell<Vec<u64>>>,
    /// A reactor whose receiver was found gone: simulated ones have no guard that says so.
    gone: Rc<Cell<Option<usize>>>,
}

impl Inbox for SimInbox {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        self.delivered.borrow_mut()[reactor] += 1;
        let is_delivered = self.senders[reactor].send(event).is_ok();
        if !is_delivered {
            self.gone.set(Some(reactor));
        }
        is_delivered
    }

    fn progress(&self, reactor: usize) -> Progress {
        let delivered = self.delivered.borrow()[reactor];
        Progress { delivered, waiting: self.senders[reactor].len() }
    }
}

/// A node, and what its drivers hold.
pub(crate) struct SimNode<C: Cipher> {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    pub(crate) host: usize,
    pub(crate) core: LoopCore<SimSockets, SimInbox, C>,
    pub(crate) mailbox: Arc<Mailbox>,
    woken: Arc<AtomicBool>,
    /// The loop sits in its poll until then.
    pub(crate) asleep: Option<Option<Mono>>,
    pub(crate) is_loop_over: bool,
    pub(crate) turns: u64,
    pub(crate) switch: SwitchCore,
    lineup: Lineup<SimInbox>,
    /// What the line-up's inboxes have found.
    gone: Rc<Cell<Option<usize>>>,
    pub(crate) pex: SimPex,
    /// What its wall clock shows at the beginning of simulated time.
    pub(crate) wall: SystemTime,
    /// What it should show then, as far as the process knows.
    expected: SystemTime,
    /// The process is gone.
    pub(crate) is_dead: bool,
    pub(crate) options: Options,
    pub(crate) witness: Witness,
    /// From loop, users, resolvers and peer exchange to the switch.
    pub(crate) inputs: VecDeque<Input>,
    /// From the switch and peer exchange to the loop.
    pub(crate) commands: VecDeque<Command>,
    pub(crate) lookups: VecDeque<ResolveRequest>,
    pub(crate) sessions: BTreeMap<ConnId, Peer>,
    /// All that ever were, up or down.
    pub(crate) introduced: BTreeMap<ConnId, Arc<Session>>,
    /// The socket of every connection that was established.
    pub(crate) socks: BTreeMap<ConnId, SockId>,
    /// How dials of users ended, once they have, by ticket.
    pub(crate) dialed: BTreeMap<u64, Kept<Dialed>>,
    /// What filters were asked and have not answered; the test does it for them.
    pub(crate) asked: Vec<(u64, Candidate)>,
    is_started: bool,
    /// What the clocks show to the switch, in this step.
    shown: Now,
    pub(crate) events: Vec<SwitchEvent>,
    pub(crate) reactors: Vec<SimReactor>,
    pub(crate) init_log: InitLog,
    /// Connections that were reported as established and not as closed.
    open_reports: BTreeMap<ConnId, bool>,
    /// Connections that were reported as ending.
    pub(crate) ending: BTreeSet<ConnId>,
    /// What the loop reported that the switch core does not know of.
    pub(crate) told: Vec<String>,
    /// Connections that wait for the filters.
    pub(crate) accepted: Vec<ConnId>,
    /// Whose sessions have a reserved place.
    pub(crate) reserved: BTreeSet<NodeId>,
    pub(crate) established: usize,
    pub(crate) next_ticket: u64,
    /// When the switch had the loop dial, and where.
    pub(crate) dials: Vec<(Mono, SocketAddr)>,
}

/// What a new node finds.
pub(crate) struct Surroundings {
    pub(crate) net: Wire,
    pub(crate) ledger: Ledger,
    pub(crate) dice: Dice,
    pub(crate) store: MemoryStore,
    pub(crate) now: Mono,
    /// See [`SimNode::wall`].
    pub(crate) wall: SystemTime,
}

/// The key of the node with this number.
pub(crate) fn key_of(number: usize) -> NodeKey {
    let mut seed = [number as u8 ^ 0xff; 32];
    if number < 255 {
        seed = [number as u8 + 1; 32];
    } else {
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    NodeKey::from_seed(seed)
}

/// The ID of the node with this number, which there need not be yet.
pub(crate) fn id_of(number: usize) -> NodeId {
    key_of(number).id()
}

/// Where that node listens.
pub(crate) fn addr_of(number: usize) -> SocketAddr {
    ([10, (number >> 16) as u8, (number >> 8) as u8, (number as u8).wrapping_add(1)], 26656).into()
}

/// Both, as they are configured.
pub(crate) fn peer_addr_of(number: usize) -> PeerAddress {
    format!("{}@{}", id_of(number), addr_of(number)).parse().unwrap()
}

impl<C: Cipher> SimNode<C> {
    pub(crate) fn new(number: usize, options: Options, around: Surroundings) -> Self {
        let Surroundings { net, ledger, mut dice, store, now, wall } = around;
        let key = options.key.clone().unwrap_or_else(|| key_of(number));
        let addr = options.addr.unwrap_or_else(|| addr_of(number));
        let sockets = SimSockets::new(net, addr.ip());
        let host = sockets.host;
        let config = &options.config;
        let mut names: Vec<String> = (0..options.reactors.len()).map(|i| format!("r{i}")).collect();
        if config.pex {
            names.push("PEX".to_owned());
        }
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            names.iter().map(|_| crossbeam_channel::unbounded()).unzip();
        let delivered = Rc::new(RefCell::new(vec![0; names.len()]));
        let gone = Rc::new(Cell::new(None));
        let inbox = SimInbox { senders, delivered, gone: gone.clone() };
        // The loop finds out by itself.
        let of_loop = SimInbox { gone: Rc::default(), ..inbox.clone() };
        let own_events = if config.pex { receivers.pop() } else { None };
        let own_events = own_events.unwrap_or_else(crossbeam_channel::never);
        let elapsed = now.since(Mono::ZERO);
        let longest = BookLimits::of(config).automatic_ban;
        let begin = Now { mono: now, wall: store.stored().now(wall + elapsed, longest) };
        let expected = begin.wall.before(elapsed);
        let pex = SimPex::new((key.id(), addr), &options, own_events, store, begin, &mut dice);
        let bans = pex.core.book().bans().clone();
        let mut settings = LoopSettings::of(
            config,
            options.link(&key, addr),
            names.len(),
            verdict_timeout(config),
        );
        settings.gate = settings.gate.within(options.descriptors, 0);
        settings.filter_connections = options.filter_connections;
        let seed = dice.bytes();
        let agreement = Box::new(move || Some(agreement(dice.bytes())));
        let mut core = LoopCore::new(settings, sockets, of_loop, agreement);
        core.listen(addr).unwrap();
        let woken = Arc::new(AtomicBool::new(false));
        let wake = woken.clone();
        let mailbox = Arc::new(Mailbox::new(move || wake.store(true, Relaxed), || Mono::ZERO));
        mailbox.command(Command::Bans(bans.clone()));
        let session_settings = SessionSettings {
            channels: options.channels().into(),
            reactors: names.len(),
            reactor_budget: config.reactor_budget,
            send_queue_bytes: config.send_queue_bytes,
            send_timeout: config.send_timeout,
            verdicts: pex.verdicts.clone(),
            message_types: Vec::new(),
        };
        let reactor =
            |name: &String| ReactorSettings { name: name.clone(), may_end: options.may_end };
        let reactor_settings = names.iter().map(reactor).collect();
        let mut switch = SwitchSettings::of(key.id(), config, reactor_settings);
        switch.connection_filters = usize::from(options.filter_connections);
        switch.peer_filters = usize::from(options.filter_peers);
        let log = InitLog::default();
        let hooks = hooks(&log, options.reactors.len());
        let reactors =
            receivers.into_iter().map(|r| SimReactor::new(host, r, ledger.clone(), log.clone()));
        let witness = Witness::new(key.id(), &options);
        Self {
            id: key.id(),
            addr,
            host,
            core,
            lineup: Lineup::new(session_settings, names, inbox, mailbox.clone()).with_hooks(hooks),
            gone,
            pex,
            wall,
            expected,
            is_dead: false,
            witness,
            mailbox,
            woken,
            asleep: None,
            is_loop_over: false,
            turns: 0,
            switch: SwitchCore::new(switch, bans, seed),
            is_started: false,
            shown: begin,
            asked: Vec::new(),
            inputs: VecDeque::new(),
            commands: VecDeque::new(),
            lookups: VecDeque::new(),
            sessions: BTreeMap::new(),
            introduced: BTreeMap::new(),
            socks: BTreeMap::new(),
            dialed: BTreeMap::new(),
            events: Vec::new(),
            reactors: reactors.collect(),
            init_log: log,
            open_reports: BTreeMap::new(),
            ending: BTreeSet::new(),
            told: Vec::new(),
            accepted: Vec::new(),
            reserved: BTreeSet::new(),
            established: 0,
            next_ticket: 0,
            dials: Vec::new(),
            options,
        }
    }

    /// What its clocks show.
    pub(crate) fn at(&self, now: Mono) -> Now {
        let elapsed = now.since(Mono::ZERO);
        Now::believed(now, self.wall.after(elapsed), self.expected.after(elapsed))
    }

    /// When the loop's poll returns, if the loop is in it.
    pub(crate) fn loop_turn(&self, now: Mono, has_edges: bool) -> Turn {
        match self.asleep {
            _ if self.is_loop_over => Turn::Never,
            Some(until) if !has_edges && !self.woken.load(Relaxed) => Turn::at(until, now),
            _ => Turn::Now,
        }
    }

    pub(crate) fn switch_turn(&self, now: Mono) -> Turn {
        if !self.is_started || !self.inputs.is_empty() {
            return Turn::Now;
        }
        Turn::at(self.switch.next_deadline(), now)
    }

    /// Peer exchange takes an input or an event and does all that follows, as its thread does it.
    pub(crate) fn run_pex(&mut self, now: Now, dice: &mut Dice) {
        let effects = self.pex.run_one(now, dice);
        effects.inputs.iter().for_each(|input| self.witness.ask(input));
        self.commands.extend(effects.commands);
        self.inputs.extend(effects.inputs);
        self.check_agreement();
    }

    /// Once around the loop, as its thread does it.
    pub(crate) fn run_loop(
        &mut self,
        edges: Vec<(u32, tmp2p::internals::event_loop::Readiness)>,
        now: Now,
    ) {
        self.woken.store(false, Relaxed);
        self.mailbox.awake();
        self.asleep = None;
        for (slot, readiness) in edges {
            self.core.handle_readiness(slot, readiness);
        }
        self.turns += 1;
        self.core.take_posts(&self.mailbox, now);
        self.core.run_turn(now);
        while let Some(report) = self.core.poll_report() {
            self.note(&report);
            self.witness.note(&report);
            self.inputs.push_back(Input::Report(report));
        }
        if self.core.is_stopped() {
            self.is_loop_over = true;
        } else if !self.core.has_work() && self.mailbox.may_sleep() {
            self.asleep = Some(self.core.next_deadline());
        }
    }

    /// One `Closed` per `Established`, `FirstMessage` at most once between.
    fn note(&mut self, report: &Report) {
        if let Report::Accepted { conn, .. } = report {
            self.accepted.push(*conn);
        }
        match report {
            Report::Established(established) => {
                self.established += 1;
                if let Ok(sock) = self.core.sockets_mut().sock(established.conn.slot()) {
                    self.socks.insert(established.conn, sock);
                }
                let before = self.open_reports.insert(established.conn, false);
                assert_eq!(before, None, "established twice");
            }
            Report::FirstMessage(conn) => {
                let told = self.open_reports.get_mut(conn).expect("of an established connection");
                assert!(!std::mem::replace(told, true), "first message twice");
            }
            Report::Closed { conn, .. } => {
                self.open_reports.remove(conn).expect("closed without established, or twice");
            }
            Report::Ending(conn) => {
                assert!(self.open_reports.contains_key(conn), "ends and is not open");
                assert!(self.ending.insert(*conn), "ending twice");
            }
            Report::Stopped => assert!(self.open_reports.is_empty(), "{:?}", self.open_reports),
            Report::Accepted { .. }
            | Report::Refused { .. }
            | Report::Alive(_)
            | Report::ReactorGone(_) => self.told.push(format!("{report:?}")),
            _ => {}
        }
    }

    /// The switch takes one input and does all that follows, as its thread does it.
    pub(crate) fn run_switch(&mut self, now: Now) {
        self.shown = now;
        if !std::mem::replace(&mut self.is_started, true) {
            self.step(Input::Start);
        }
        let was_stopped = self.switch.is_stopped();
        let input = self.next_input();
        self.step(input);
        self.lineup.let_go(now.mono);
        if self.switch.is_stopped() && !was_stopped {
            self.pex.inputs.push_back(PexInput::Stop);
        }
        self.check_agreement();
    }

    /// How a user's dial ended, once it has.
    pub(crate) fn answer(&self, ticket: u64) -> Option<&Dialed> {
        let answer = self.dialed.get(&ticket)?.get()?;
        Some(answer.as_ref().expect("the switch is there"))
    }

    fn introduce(&mut self, mut admission: Admission) {
        admission.is_reserved |= self.reserved.contains(&admission.id);
        let conn = admission.conn;
        self.check_admission(&admission);
        let (id, origin) = (admission.id, admission.origin);
        let list = |peer: &Peer| _ = self.sessions.insert(conn, peer.clone());
        let result = self.lineup.introduce(admission, list).map(|session| {
            self.introduced.insert(conn, session.clone());
            self.commands.push_back(Command::Admit { conn, session });
            self.witness.is_up(conn, id, origin);
        });
        self.feed(Input::Introduced { conn, result });
    }

    /// The session with this node, as the reactor sees it.
    pub(crate) fn peer(&self, reactor: usize, id: NodeId) -> Option<Peer> {
        self.reactors[reactor].peer(id)
    }

    /// Whose sessions have ended, in order.
    pub(crate) fn downs(&self) -> Vec<NodeId> {
        let down = |event: &SwitchEvent| match event {
            SwitchEvent::Disconnected { id, .. } => Some(*id),
            _ => None,
        };
        self.events.iter().filter_map(down).collect()
    }

    /// How often a session began, and how often one ended.
    pub(crate) fn ups_and_downs(&self) -> (usize, usize) {
        let is_up = |event: &&SwitchEvent| matches!(event, SwitchEvent::Connected { .. });
        (self.events.iter().filter(is_up).count(), self.downs().len())
    }

    /// Kinds of the reasons for which inbound connections were rejected.
    pub(crate) fn rejections(&self) -> Vec<&'static str> {
        let kind = |event: &SwitchEvent| match event {
            SwitchEvent::Rejected { reason, .. } => Some(reason.kind()),
            _ => None,
        };
        self.events.iter().filter_map(kind).collect()
    }

    /// Whether no session is up.
    pub(crate) fn is_alone(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Bytes that the peer has delivered to a reactor and that were not let go.
    pub(crate) fn budget_used(&self, conn: ConnId, reactor: usize) -> usize {
        self.introduced[&conn].budget(reactor).used()
    }

    /// How many reactors its sessions know, peer exchange included.
    pub(crate) fn lineup_len(&self) -> usize {
        self.reactors.len() + usize::from(self.options.config.pex)
    }

    /// Sockets that are open.
    pub(crate) fn num_sockets(&mut self) -> usize {
        self.core.sockets_mut().num_open()
    }
}

/// The thread `p2p-switch`, which takes one input at a time.
impl<C: Cipher> Driver for SimNode<C> {
    type Core = SwitchCore;

    fn core(&mut self) -> &mut SwitchCore {
        &mut self.switch
    }

    fn now(&self) -> Now {
        self.shown
    }

    fn next_input(&mut self) -> Input {
        let (reactor, sessions) = self.lineup.unread();
        self.feed(Input::Unread { reactor, sessions });
        let Some(input) = self.inputs.pop_front() else { return Input::Timeout };
        let is_of = |id: NodeId| self.sessions.values().any(|peer| peer.id() == id);
        let is_connected = match &input {
            Input::Request(Request::Dial { addr, reply: None, .. }) => is_of(addr.id()),
            _ => false,
        };
        let outbound = self.switch.num_limited(Direction::Outbound);
        self.witness.hear(&input, is_connected, outbound + self.switch.num_dialing());
        input
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Command(command) => {
                match &command {
                    Command::Dial { ticket, addr, expected, .. } => {
                        self.dials.push((self.shown.mono, *addr));
                        self.check_dial(*ticket, *expected);
                    }
                    Command::Close { conn, mode } => self.check_close(*conn, mode),
                    _ => {}
                }
                self.commands.push_back(command);
            }
            Output::Introduce(admission) => self.introduce(admission),
            Output::Weigh { newcomer, sessions } => {
                let vitals = |conn: &ConnId| Some((*conn, self.introduced.get(conn)?.vitals()));
                let sessions = sessions.iter().filter_map(vitals).collect();
                self.feed(Input::Weighed { newcomer, sessions });
            }
            Output::Down { conn, reason } => {
                self.witness.is_down(conn);
                if let Some(peer) = self.sessions.remove(&conn) {
                    self.lineup.dismiss(&peer, reason, self.shown.mono);
                }
            }
            Output::Answer(answer) => answer.give(),
            Output::Mark { conn, is_persistent, is_reserved } => {
                self.introduced[&conn].set_reserved(is_persistent, is_reserved);
            }
            Output::Filter { ticket, candidate } => self.asked.push((ticket, candidate)),
            Output::Resolve(request) => self.lookups.push_back(request),
            Output::Notice(notice) => {
                self.witness.read(&notice);
                self.pex.inputs.push_back(PexInput::Notice(notice));
            }
            Output::Event(event) => {
                self.witness.see(&event);
                self.events.push(event);
            }
        }
        if let Some(reactor) = self.gone.take() {
            self.feed(Input::ReactorGone { reactor, has_panicked: false });
        }
    }
}

/// Each reactor's init hook notes that it has run, or panics for a peer that is not welcome.
fn hooks(log: &InitLog, reactors: usize) -> Vec<(usize, Hook)> {
    let hook = |reactor| {
        let log = log.clone();
        let run = move |peer: &Peer| {
            let is_welcome = {
                let mut log = log.lock().unwrap();
                log.ran.insert((reactor, peer.conn()));
                !log.unwelcome.contains(&(reactor, peer.id()))
            };
            if !is_welcome {
                // A panic as any, but without a line in the output.
                std::panic::resume_unwind(Box::new("not welcome"));
            }
        };
        (reactor, Box::new(run) as Hook)
    };
    (0..reactors).map(hook).collect()
}
