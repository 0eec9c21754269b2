//! One complete node: the real cores, and drivers that only carry things between them.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use crossbeam_channel::Sender;
use tmp2p::{
    Candidate, ChannelDescriptor, Config, ConnId, DisconnectReason, Event, ListenAddress, Mono,
    NodeId, NodeInfo, NodeKey, Now, Peer, PeerAddress, SwitchEvent, crossbeam_channel,
    event_loop::{Command, Inbox, LoopCore, LoopSettings, Mailbox, Progress, Report},
    protocol::{
        LinkSettings,
        mconn::MConnSettings,
        secret::{Cipher, KeyAgreement},
    },
    reactor::{Session, SessionSettings},
    switch::{
        Answer, Hook, Input, Lineup, Output, ReactorSettings, ResolveRequest, SwitchCore,
        SwitchSettings,
    },
};

use crate::{
    dice::Dice,
    net::{SockId, Wire},
    reactor::{InitLog, Ledger, SimReactor},
    sockets::SimSockets,
};

/// What a node is to be.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) network: &'static str,
    /// The channels of each reactor.
    pub(crate) reactors: Vec<Vec<ChannelDescriptor>>,
    /// The key of this node, if not the one of its number.
    pub(crate) key: Option<NodeKey>,
    /// Accepted connections wait for a verdict, which the test gives.
    pub(crate) filter_connections: bool,
    /// The switch goes on without reactors that are gone.
    pub(crate) may_end: bool,
    /// Authenticated nodes wait for one, too.
    pub(crate) filter_peers: bool,
}

impl Default for Options {
    /// Two reactors; the first has two channels of different priority.
    fn default() -> Self {
        let channel = |id: u8, priority| {
            ChannelDescriptor::new(id).priority(priority).recv_message_capacity(1 << 20)
        };
        Self {
            config: Config {
                send_rate: 0,
                recv_rate: 0,
                // All nodes live in a few networks.
                allow_duplicate_ip: true,
                max_num_inbound_peers: 1000,
                exempt_cidrs: vec!["0.0.0.0/0".parse().unwrap()],
                ..Config::default()
            },
            network: "simulation",
            reactors: vec![vec![channel(0x20, 5), channel(0x81, 1)], vec![channel(0x30, 2)]],
            key: None,
            filter_connections: false,
            filter_peers: false,
            may_end: false,
        }
    }
}

impl Options {
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut options = Self::default();
        change(&mut options.config);
        options
    }

    pub(crate) fn channels(&self) -> Vec<(ChannelDescriptor, usize)> {
        let of = |(number, channels): (usize, &Vec<ChannelDescriptor>)| {
            channels.iter().map(move |c| (*c, number)).collect::<Vec<_>>()
        };
        self.reactors.iter().enumerate().flat_map(of).collect()
    }

    pub(crate) fn link(&self, key: &NodeKey, addr: SocketAddr) -> LinkSettings {
        let channels = self.channels();
        let node_info = NodeInfo::new(self.network, "simulated").unwrap();
        LinkSettings {
            key: key.clone(),
            node_info: node_info
                .with_id(key.id())
                .with_listen_addr(&ListenAddress::from(addr))
                .with_channels(channels.iter().map(|(c, _)| c.id())),
            channels: channels.iter().map(|(c, _)| *c).collect(),
            mconn: MConnSettings {
                max_packet_msg_payload_size: self.config.max_packet_msg_payload_size,
                max_recv_packet_size: self.config.max_recv_packet_size,
                send_rate: self.config.send_rate,
                recv_rate: self.config.recv_rate,
                ping_interval: self.config.ping_interval,
                pong_timeout: self.config.pong_timeout,
                unsolicited_pong_interval: self.config.unsolicited_pong_interval,
            },
        }
    }
}

/// The reactors' inboxes. Keeps the last peer that was announced through it.
#[derive(Clone)]
pub(crate) struct SimInbox {
    senders: Vec<Sender<Event>>,
    /// By all copies.
    delivered: Rc<RefCell<Vec<u64>>>,
    last_up: Rc<RefCell<Option<Peer>>>,
}

impl Inbox for SimInbox {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        if let Event::PeerUp(peer) = &event {
            *self.last_up.borrow_mut() = Some(peer.clone());
        }
        self.delivered.borrow_mut()[reactor] += 1;
        self.senders[reactor].send(event).is_ok()
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
    last_up: Rc<RefCell<Option<Peer>>>,
    /// From loop, users and resolvers to the switch.
    pub(crate) inputs: VecDeque<Input>,
    /// From the switch to the loop.
    pub(crate) commands: VecDeque<Command>,
    pub(crate) lookups: VecDeque<ResolveRequest>,
    sessions: BTreeMap<ConnId, Peer>,
    /// All that ever were, up or down.
    pub(crate) introduced: BTreeMap<ConnId, Arc<Session>>,
    /// The socket of every connection that was established.
    pub(crate) socks: BTreeMap<ConnId, SockId>,
    pub(crate) answers: BTreeMap<u64, Result<NodeId, DisconnectReason>>,
    /// Of requests that are no dials.
    pub(crate) controls: BTreeMap<u64, Answer>,
    /// What filters were asked and have not answered; the test does it for them.
    pub(crate) asked: Vec<(u64, Candidate)>,
    is_started: bool,
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

/// The ID of the node with this number, which there need not be yet.
pub(crate) fn id_of(number: usize) -> NodeId {
    NodeKey::from_seed([number as u8 + 1; 32]).id()
}

/// Where that node listens.
pub(crate) fn addr_of(number: usize) -> SocketAddr {
    ([10, 0, (number >> 8) as u8, number as u8 + 1], 26656).into()
}

/// Both, as they are configured.
pub(crate) fn peer_addr_of(number: usize) -> PeerAddress {
    format!("{}@{}", id_of(number), addr_of(number)).parse().unwrap()
}

impl<C: Cipher> SimNode<C> {
    pub(crate) fn new(
        number: usize,
        options: Options,
        net: Wire,
        ledger: Ledger,
        mut dice: Dice,
    ) -> Self {
        let key = options.key.clone().unwrap_or_else(|| NodeKey::from_seed([number as u8 + 1; 32]));
        let addr = addr_of(number);
        let sockets = SimSockets::new(net, addr.ip());
        let host = sockets.host;
        let names: Vec<String> = (0..options.reactors.len()).map(|i| format!("r{i}")).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) =
            names.iter().map(|_| crossbeam_channel::unbounded()).unzip();
        let last_up = Rc::default();
        let delivered = Rc::new(RefCell::new(vec![0; names.len()]));
        let inbox = SimInbox { senders, delivered, last_up: Rc::clone(&last_up) };
        let config = &options.config;
        let settings = LoopSettings {
            event_loop: 0,
            link: options.link(&key, addr),
            reactors: names.len(),
            dial_timeout: config.dial_timeout,
            handshake_timeout: config.handshake_timeout,
            close_timeout: config.close_timeout,
            drain_timeout: config.drain_timeout,
            parking_per_peer: config.parking_per_peer,
            parking_total: config.parking_total,
            reassembly_pool: config.reassembly_pool,
            gate: config.into(),
            filter_connections: options.filter_connections,
        };
        let seed = dice.bytes();
        let agreement = Box::new(move || Some(agreement(dice.bytes())));
        let mut core = LoopCore::new(settings, sockets, inbox.clone(), agreement);
        core.listen(addr).unwrap();
        let woken = Arc::new(AtomicBool::new(false));
        let wake = woken.clone();
        let mailbox = Arc::new(Mailbox::new(move || wake.store(true, Relaxed)));
        let session_settings = SessionSettings {
            channels: options.channels().into(),
            reactors: names.len(),
            reactor_budget: config.reactor_budget,
            send_queue_bytes: config.send_queue_bytes,
            send_timeout: config.send_timeout,
            verdicts: Arc::new(()),
        };
        let reactor =
            |name: &String| ReactorSettings { name: name.clone(), may_end: options.may_end };
        let reactor_settings = names.iter().map(reactor).collect();
        let mut switch = SwitchSettings::new(key.id(), config, reactor_settings);
        switch.connection_filters = usize::from(options.filter_connections);
        switch.peer_filters = usize::from(options.filter_peers);
        let log = InitLog::default();
        let hooks = hooks(&log, names.len());
        let reactors =
            receivers.into_iter().map(|r| SimReactor::new(host, r, ledger.clone(), log.clone()));
        Self {
            id: key.id(),
            addr,
            host,
            core,
            lineup: Lineup::new(session_settings, names, inbox, mailbox.clone()).with_hooks(hooks),
            last_up,
            mailbox,
            woken,
            asleep: None,
            is_loop_over: false,
            turns: 0,
            switch: SwitchCore::new(switch, Arc::default(), seed),
            is_started: false,
            controls: BTreeMap::new(),
            asked: Vec::new(),
            inputs: VecDeque::new(),
            commands: VecDeque::new(),
            lookups: VecDeque::new(),
            sessions: BTreeMap::new(),
            introduced: BTreeMap::new(),
            socks: BTreeMap::new(),
            answers: BTreeMap::new(),
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
        }
    }

    /// Whether the loop's poll would return, or the loop is not in it.
    pub(crate) fn is_loop_ready(&self, now: Mono, has_edges: bool) -> bool {
        !self.is_loop_over
            && match self.asleep {
                None => true,
                Some(until) => {
                    has_edges || self.woken.load(Relaxed) || until.is_some_and(|u| u <= now)
                }
            }
    }

    /// Once around the loop, as its thread does it.
    pub(crate) fn run_loop(&mut self, edges: Vec<(u32, tmp2p::event_loop::Readiness)>, now: Now) {
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
        if !std::mem::replace(&mut self.is_started, true) {
            self.switch.start(now);
        }
        let most = self.switch.max_unread_sessions();
        self.switch.handle_stalled(self.lineup.stalled(most));
        if let Some(input) = self.inputs.pop_front() {
            self.switch.handle(input, now);
        }
        self.switch.handle_timeout(now);
        while let Some(output) = self.switch.poll_output() {
            self.perform(output, now);
            if let Some(reactor) = self.lineup.take_gone() {
                self.switch.handle(Input::ReactorGone(reactor), now);
            }
        }
    }

    fn perform(&mut self, output: Output, now: Now) {
        match output {
            Output::Command(command) => {
                if let Command::Dial { addr, .. } = &command {
                    self.dials.push((now.mono, *addr));
                }
                self.commands.push_back(command);
            }
            Output::Introduce(mut admission) => {
                admission.is_reserved |= self.reserved.contains(&admission.id);
                let conn = admission.conn;
                let result = self.lineup.introduce(admission, |_| {}).map(|session| {
                    let peer = self.last_up.take().expect("there is a reactor, and it was told");
                    assert_eq!(peer.conn(), conn);
                    self.sessions.insert(conn, peer);
                    self.introduced.insert(conn, session.clone());
                    self.commands.push_back(Command::Admit { conn, session });
                });
                self.switch.handle_introduced(conn, result, now);
            }
            Output::Down { conn, reason } => {
                if let Some(peer) = self.sessions.remove(&conn) {
                    self.lineup.dismiss(&peer, reason);
                }
            }
            Output::Answer { ticket, answer: Answer::Dialed(result) } => {
                let before = self.answers.insert(ticket, result);
                assert!(before.is_none(), "ticket {ticket} was answered twice");
            }
            Output::Answer { ticket, answer } => {
                let before = self.controls.insert(ticket, answer);
                assert!(before.is_none(), "ticket {ticket} was answered twice");
            }
            Output::Mark { conn, is_persistent, is_reserved } => {
                self.introduced[&conn].set_reserved(is_persistent, is_reserved);
            }
            Output::Filter { ticket, candidate } => self.asked.push((ticket, candidate)),
            Output::Resolve(request) => self.lookups.push_back(request),
            Output::Notice(_) => {}
            Output::Event(event) => self.events.push(event),
        }
    }

    /// Whether the switch has begun.
    pub(crate) fn is_started(&self) -> bool {
        self.is_started
    }

    /// The session with this node, as the reactor sees it.
    pub(crate) fn peer(&self, reactor: usize, id: NodeId) -> Option<Peer> {
        self.reactors[reactor].peer(id)
    }

    /// Whose sessions have ended, in order.
    pub(crate) fn downs(&self) -> Vec<NodeId> {
        let down = |event: &SwitchEvent| match event {
            SwitchEvent::PeerDown { id, .. } => Some(*id),
            _ => None,
        };
        self.events.iter().filter_map(down).collect()
    }

    /// How often a session began, and how often one ended.
    pub(crate) fn ups_and_downs(&self) -> (usize, usize) {
        let is_up = |event: &&SwitchEvent| matches!(event, SwitchEvent::PeerUp { .. });
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

    /// Sockets that are open.
    pub(crate) fn num_sockets(&mut self) -> usize {
        self.core.sockets_mut().num_open()
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

/// A key agreement that is none: both sides get the same bytes, and nothing is computed.
pub(crate) fn agreement(public: [u8; 32]) -> KeyAgreement {
    let agree = move |theirs: [u8; 32]| {
        let mut secret = [1; 32];
        for (i, byte) in secret.iter_mut().enumerate() {
            *byte |= public[i] ^ theirs[i];
        }
        Some(secret)
    };
    KeyAgreement { public, agree: Box::new(agree) }
}
