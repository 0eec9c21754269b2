#![no_main]
//! A switch between an event loop, reactors, filters, resolvers and users that do what the script says, as
//! far as each of them may.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    Ban, BanOrigin, BanTarget, Config, ConnId, Direction, DisconnectReason, Limits, NodeId,
    NodeInfo, NodeKey, Origin, PeerAddress, PeerState, Purpose,
    internals::drive::{Core, Driver},
    internals::event_loop::{BanTable, Command, Established, Report},
    internals::reactor::Vitals,
    internals::switch::{
        Control, ControlError, Dialed, Input, Kept, Output, ReactorSettings, Reply, Request,
        Resolved, SwitchCore, SwitchSettings,
    },
    internals::time::Now,
};
use tmp2p_fuzz::{Script, node_info, now};

/// As many nodes as there are; the first is ourselves.
const NODES: u8 = 8;

/// Outputs of one input: far more than eight nodes give reason for.
const MOST_OUTPUTS: usize = 2000;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let mut world = World::new(&mut script);
    world.step(Input::Start);
    while !script.is_empty() && !world.core.is_stopped() {
        world.act(&mut script);
    }
    world.end();
});

fn id(node: u8) -> NodeId {
    static IDS: LazyLock<Vec<NodeId>> =
        LazyLock::new(|| (0..NODES).map(|node| NodeKey::from_seed([node + 1; 32]).id()).collect());
    IDS[usize::from(node % NODES)]
}

/// Two in a network, some in private ones and one of IPv6.
fn ip(node: u8) -> std::net::IpAddr {
    match node % NODES {
        node @ 0..=1 => [11, 0, 0, node + 1].into(),
        node @ 2..=5 => [12, node, 0, 1].into(),
        6 => [10, 0, 0, 1].into(),
        _ => "2001:470::1".parse().expect("an address"),
    }
}

fn address(node: u8) -> PeerAddress {
    let addr = SocketAddr::new(ip(node), 26656);
    format!("{}@{addr}", id(node)).parse().expect("an address")
}

/// A connection that the loop has told of.
#[derive(Debug)]
struct Conn {
    id: NodeId,
    /// The switch has said yes or no.
    is_judged: bool,
    /// Reactors know of it.
    is_up: bool,
    has_ended: bool,
    has_spoken: bool,
    probes: usize,
}

struct World {
    core: SwitchCore,
    infos: &'static [Arc<NodeInfo>],
    now: Now,
    ms: u64,
    next_conn: u32,
    conns: BTreeMap<ConnId, Conn>,
    accepted: BTreeSet<ConnId>,
    /// What the loop dials: whom.
    dials: BTreeMap<u64, NodeId>,
    /// What filters were asked, and how many answers are missing.
    asked: Vec<(u64, usize)>,
    lookups: Vec<u64>,
    /// What the next init hook says.
    hook_fails: bool,
    /// Told and not `Considered`, told and not `Heard`.
    questions: usize,
    statements: usize,
    is_shutting_down: bool,
    dialed: Vec<Kept<Dialed>>,
    states: Vec<Kept<Vec<PeerState>>>,
    controls: Vec<Kept<Result<(), ControlError>>>,
    filters: [usize; 2],
}

impl World {
    fn new(script: &mut Script) -> Self {
        let config = Config {
            max_num_inbound_peers: script.below(4),
            max_num_outbound_peers: script.below(4),
            allow_duplicate_ip: script.flag(),
            seed_mode: script.flag(),
            persistent_peers: (0..script.below(4)).map(|node| address(node as u8)).collect(),
            unconditional_peer_ids: (3..3 + script.below(3)).map(|node| id(node as u8)).collect(),
            reconnect_give_up: script.below(3) as u32,
            ..Config::default()
        };
        let reactors = [("needed", false), ("idle", true)]
            .map(|(name, may_end)| ReactorSettings { name: name.to_owned(), may_end });
        let mut settings = SwitchSettings::of(id(0), &config, reactors.into());
        let filters = [script.below(3), script.below(3)];
        (settings.connection_filters, settings.peer_filters) = filters.into();
        static INFOS: LazyLock<Vec<Arc<NodeInfo>>> = LazyLock::new(|| {
            let info = |node| Arc::new(node_info(&NodeKey::from_seed([node + 1; 32]), &[]));
            (0..NODES).map(info).collect()
        });
        Self {
            core: SwitchCore::new(settings, Arc::default(), [7; 32]),
            infos: &INFOS,
            now: now(0),
            ms: 0,
            next_conn: 0,
            conns: BTreeMap::new(),
            accepted: BTreeSet::new(),
            dials: BTreeMap::new(),
            asked: Vec::new(),
            lookups: Vec::new(),
            hook_fails: false,
            questions: 0,
            statements: 0,
            is_shutting_down: false,
            dialed: Vec::new(),
            states: Vec::new(),
            controls: Vec::new(),
            filters,
        }
    }

    fn conn(&mut self) -> ConnId {
        self.next_conn += 1;
        ConnId::new(0, self.next_conn, 1)
    }

    /// One of those that there are.
    fn some(&self, script: &mut Script, fits: impl Fn(&Conn) -> bool) -> Option<ConnId> {
        let conns: Vec<_> = self.conns.iter().filter(|(_, conn)| fits(conn)).collect();
        conns.get(script.below(conns.len())).map(|(conn, _)| **conn)
    }

    fn act(&mut self, script: &mut Script) {
        let node = script.byte() % NODES;
        match script.below(18) {
            0 => {
                self.ms += 1 << script.below(20);
                self.now = now(self.ms);
                self.wake();
            }
            1 => self.establish(node, None),
            2 => {
                let Some((&ticket, &expected)) = self.dials.iter().nth(script.below(4)) else {
                    return;
                };
                self.dials.remove(&ticket);
                if script.flag() {
                    let reasons = [
                        DisconnectReason::Refused,
                        DisconnectReason::Eof,
                        DisconnectReason::DialTimeout(Duration::from_secs(3)),
                        DisconnectReason::SelfConnection,
                    ];
                    let reason = reasons[script.below(4)].clone();
                    return self.report(Report::DialFailed { ticket, reason });
                }
                let node = (0..NODES).find(|node| id(*node) == expected).expect("one of ours");
                self.establish(node, Some(ticket));
            }
            3 => {
                let Some(conn) = self.some(script, |_| true) else { return };
                self.close(conn, script.flag());
            }
            4 => {
                let Some(conn) = self.some(script, |conn| !conn.has_ended) else { return };
                self.conns.get_mut(&conn).expect("it is there").has_ended = true;
                self.report(Report::Ending(conn));
            }
            5 => {
                let fits = |conn: &Conn| conn.is_up && !conn.has_spoken;
                let Some(conn) = self.some(script, fits) else { return };
                self.conns.get_mut(&conn).expect("it is there").has_spoken = true;
                self.report(Report::FirstMessage(conn));
            }
            6 => {
                let Some(conn) = self.some(script, |conn| conn.probes > 0) else { return };
                self.conns.get_mut(&conn).expect("it is there").probes -= 1;
                self.report(Report::Alive(conn));
            }
            7 => self.dial(node, script),
            8 => {
                let control = match script.below(6) {
                    0 => Control::DialPeers((0..NODES).map(address).collect()),
                    1 => Control::AddPersistent(address(node)),
                    2 => Control::RemovePersistent(id(node)),
                    3 => Control::AddUnconditional(id(node)),
                    4 => Control::RemoveUnconditional(id(node)),
                    _ => Control::SetLimits(Limits {
                        max_num_inbound_peers: script.below(5),
                        max_num_outbound_peers: script.below(5),
                    }),
                };
                let (reply, kept) = Reply::kept();
                self.controls.push(kept);
                self.step(Input::Request(Request::Control { control, reply }));
            }
            9 => {
                if self.asked.is_empty() {
                    return;
                }
                let at = script.below(self.asked.len());
                let (ticket, left) = &mut self.asked[at];
                let ticket = *ticket;
                *left -= 1;
                if *left == 0 {
                    self.asked.remove(at);
                }
                let result = if script.below(4) == 0 { Err("no".to_owned()) } else { Ok(()) };
                self.step(Input::Decided { ticket, result });
            }
            10 => {
                let Some(ticket) = self.lookups.pop() else { return };
                let result = match script.below(3) {
                    0 => Err("no such name".to_owned()),
                    n => Ok((0..n).map(|n| SocketAddr::new(ip(node + n as u8), 26656)).collect()),
                };
                self.step(Input::Resolved(Resolved { ticket, result }));
            }
            11 => self.ban(node, script),
            12 => {
                let Some(conn) = self.some(script, |_| true) else { return };
                let reason = [DisconnectReason::Finished, DisconnectReason::Replaced]
                    [script.below(2)]
                .clone();
                self.step(Input::Request(Request::Evict { conn, reason }));
            }
            13 => {
                let (reply, kept) = Reply::kept();
                self.states.push(kept);
                self.step(Input::Request(Request::States(reply)));
            }
            14 => {
                let (reactor, sessions) = (script.below(3), script.below(200));
                self.step(Input::Unread { reactor, sessions });
            }
            15 => {
                if self.filters[0] > 0 && self.questions < 64 && !self.is_shutting_down {
                    let (conn, remote) = (self.conn(), SocketAddr::new(ip(node), 1000));
                    self.accepted.insert(conn);
                    self.questions += 1;
                    self.report(Report::Accepted { conn, remote });
                }
            }
            16 => {
                self.hook_fails = script.flag();
                if script.below(8) == 0 {
                    let (reactor, has_panicked) = (script.below(3), script.flag());
                    self.step(Input::ReactorGone { reactor, has_panicked });
                }
            }
            _ => {
                self.statements += 1;
                let (remote, others) = (SocketAddr::new(ip(node), 1000), 3);
                let reason = DisconnectReason::Eof;
                let id = script.flag().then(|| id(node));
                self.report(Report::HandshakeFailed { remote, id, reason, others });
            }
        }
    }

    fn establish(&mut self, node: u8, ticket: Option<u64>) {
        if ticket.is_none() && (self.questions >= 64 || self.is_shutting_down) {
            return;
        }
        let conn = self.conn();
        let direction = if ticket.is_some() { Direction::Outbound } else { Direction::Inbound };
        // The loop refuses ourselves.
        if node == 0 {
            if let Some(ticket) = ticket {
                let reason = DisconnectReason::SelfConnection;
                self.report(Report::DialFailed { ticket, reason });
            }
            return;
        }
        self.questions += 1;
        let new = Conn {
            id: id(node),
            is_judged: false,
            is_up: false,
            has_ended: false,
            has_spoken: false,
            probes: 0,
        };
        self.conns.insert(conn, new);
        self.report(Report::Established(Established {
            conn,
            ticket,
            id: id(node),
            node_info: self.infos[usize::from(node)].clone(),
            direction,
            remote: SocketAddr::new(ip(node), 1000 + node as u16),
        }));
    }

    fn close(&mut self, conn: ConnId, has_sent: bool) {
        let was = self.conns.get(&conn).expect("it is there").is_up;
        self.report(Report::Closed { conn, reason: DisconnectReason::Eof, has_sent });
        let now = self.conns.remove(&conn).expect("it is there").is_up;
        assert!(!was || !now, "reactors were not told of the end of {conn:?}");
    }

    fn dial(&mut self, node: u8, script: &mut Script) {
        let is_limited = script.flag();
        let origin = match script.below(4) {
            0 => Origin::Operator,
            n => Origin::Discovery {
                purpose: [Purpose::Peers, Purpose::Seed, Purpose::Crawl][n - 1],
                failures: script.below(20) as u32,
                is_limited,
            },
        };
        let addr = match script.below(3) {
            0 => format!("{}@some.name:26656", id(node)).parse().expect("an address"),
            _ => address(node),
        };
        let reply = (origin == Origin::Operator).then(|| {
            let (reply, kept) = Reply::kept();
            self.dialed.push(kept);
            reply
        });
        self.step(Input::Request(Request::Dial { addr, origin, reply }));
    }

    fn ban(&mut self, node: u8, script: &mut Script) {
        let target = match script.below(3) {
            0 => BanTarget::Id(id(node)),
            1 => BanTarget::Ip(ip(node)),
            _ => BanTarget::Cidr("12.0.0.0/8".parse().expect("a range")),
        };
        let bans: Vec<Ban> = (0..script.below(2))
            .map(|_| Ban {
                target,
                until: script.flag().then(|| self.now.wall + Duration::from_secs(60)),
                reason: "fuzz".to_owned(),
                origin: BanOrigin::Operator,
            })
            .collect();
        let table: BanTable = bans.iter().cloned().collect();
        self.step(Input::Bans { table: Arc::new(table), added: bans });
    }

    fn report(&mut self, report: Report) {
        self.step(Input::Report(report));
        self.wake();
    }

    /// What is due is done, and then nothing is due.
    fn wake(&mut self) {
        for _ in 0..100 {
            match self.core.next_deadline() {
                Some(at) if at <= self.now.mono && !self.core.is_stopped() => {
                    self.step(Input::Timeout);
                }
                _ => return,
            }
        }
        panic!("it is due at once, for ever");
    }

    fn end(&mut self) {
        if !self.core.is_stopped() {
            self.step(Input::Request(Request::Stop { deadline: self.now.mono }));
            assert!(self.is_shutting_down, "it does not stop");
        }
        while let Some(conn) = self.conns.keys().next().copied() {
            self.close(conn, false);
        }
        for ticket in std::mem::take(&mut self.dials).into_keys() {
            let reason = DisconnectReason::Stopped;
            self.step(Input::Report(Report::DialFailed { ticket, reason }));
        }
        if !self.core.is_stopped() {
            self.step(Input::Report(Report::Stopped));
        }
        assert!(self.core.is_stopped() && self.core.stop_reason().is_some());
        assert_eq!(self.core.next_deadline(), None);
        for direction in [Direction::Inbound, Direction::Outbound] {
            assert_eq!(self.core.num_limited(direction), 0);
        }
        assert_eq!(self.core.num_dialing(), 0);
        assert!(self.dialed.iter().all(|kept| kept.get().is_some()), "a dial has no answer");
        assert!(self.states.iter().all(|kept| kept.get().is_some()));
        assert!(self.controls.iter().all(|kept| kept.get().is_some()));
        assert_eq!((self.questions, self.statements), (0, 0), "the loop is not told to go on");
    }
}

impl Driver for World {
    type Core = SwitchCore;

    fn core(&mut self) -> &mut SwitchCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        self.now
    }

    fn next_input(&mut self) -> Input {
        unreachable!("the script says what happens")
    }

    fn step(&mut self, input: Input) {
        self.feed(input);
        let mut outputs = 0;
        while let Some(output) = self.core.poll_output() {
            outputs += 1;
            assert!(outputs < MOST_OUTPUTS, "one input is answered by {outputs} outputs");
            self.perform(output);
        }
        let mut up = BTreeSet::new();
        for conn in self.conns.values().filter(|conn| conn.is_up) {
            assert!(up.insert(conn.id), "two sessions with {}", conn.id);
            assert!(conn.is_judged);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Command(command) => self.command(command),
            Output::Introduce(admission) => {
                let conn = self.conns.get_mut(&admission.conn).expect("it is there");
                assert!(!conn.is_judged, "judged twice");
                assert_eq!(conn.id, admission.id);
                let result = if self.hook_fails { Err("hook".to_owned()) } else { Ok(()) };
                // If the hook has failed it is yet to be rejected.
                (conn.is_up, conn.is_judged) = (result.is_ok(), result.is_ok());
                self.feed(Input::Introduced { conn: admission.conn, result });
            }
            Output::Weigh { newcomer, sessions } => {
                let vitals = Vitals { rtt: None, last_message: None };
                let sessions = sessions.into_iter().map(|conn| (conn, vitals.clone())).collect();
                self.feed(Input::Weighed { newcomer, sessions });
            }
            Output::Down { conn, .. } => {
                let conn = self.conns.get_mut(&conn).expect("it is there");
                assert!(std::mem::replace(&mut conn.is_up, false), "down and was not up");
            }
            Output::Mark { conn, .. } => {
                assert!(self.conns.contains_key(&conn), "marks what is over");
            }
            Output::Filter { ticket, candidate } => {
                let is_peer = candidate.node_info.is_some();
                let filters = self.filters[usize::from(is_peer)];
                assert!(filters > 0, "asks nobody");
                self.asked.push((ticket, filters));
            }
            Output::Answer(answer) => answer.give(),
            Output::Resolve(request) => self.lookups.push(request.ticket),
            Output::Notice(_) | Output::Event(_) => {}
        }
    }
}

impl World {
    fn command(&mut self, command: Command) {
        match command {
            Command::Dial { ticket, expected, .. } => {
                assert!(!self.is_shutting_down, "dials after the end");
                let is_dialed = self.dials.values().any(|id| *id == expected);
                assert!(!is_dialed, "{expected} is being dialed");
                assert_eq!(self.dials.insert(ticket, expected), None, "a ticket twice");
            }
            Command::Filtered { conn, .. } => {
                assert!(self.accepted.remove(&conn), "a verdict on nobody");
            }
            Command::Probe(conn) => {
                if let Some(conn) = self.conns.get_mut(&conn) {
                    conn.probes += 1;
                }
            }
            Command::Considered => self.questions -= 1,
            Command::Heard => self.statements -= 1,
            Command::Reject { conn, .. } => {
                let conn = self.conns.get_mut(&conn).expect("it is there");
                assert!(!std::mem::replace(&mut conn.is_judged, true), "judged twice");
            }
            Command::Shutdown { .. } => self.is_shutting_down = true,
            Command::Admit { .. } => panic!("whoever introduces it admits it"),
            Command::Bans(_) | Command::Known(_) | Command::InboundFull(_) => {}
            Command::Close { .. } => {}
        }
    }
}
