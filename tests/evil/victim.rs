//! The node that is attacked: a process that takes commands and answers in lines of JSON.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{Write, stdin},
    net::SocketAddr,
    process::{Child, ChildStdin, Command},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tmp2p::{
    ChannelDescriptor, Config, Event, NodeId, NodeInfo, NodeKey, Payload, Peer, Reactor,
    ReactorSpec, Switch, SwitchEvent, Verdict, crossbeam_channel::Receiver,
};

use crate::{DEADLINE, go, own, support::CHANNEL};

/// Where the process finds what it is to be.
const SETTINGS: &str = "TMP2P_EVIL_VICTIM";

/// The chain that everybody is of.
pub(crate) const CHAIN: &str = "test-chain";

/// What honest nodes say to each other goes through the victim here.
pub(crate) const TALK: u8 = CHANNEL;

/// What comes here is read and forgotten.
pub(crate) const SINK: u8 = 0x71;

/// Whoever says something here is sent all that there is room for.
pub(crate) const FOUNTAIN: u8 = 0x72;

/// Largest message of all channels but that of peer exchange.
pub(crate) const SINK_CAPACITY: usize = 1 << 20;

/// What the victim is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// What differs from the defaults of `[p2p]`.
    pub(crate) p2p: Value,
    /// Whose messages go on to the others of them.
    pub(crate) honest: Vec<String>,
    /// Whether what comes is read.
    pub(crate) reads: bool,
    /// Whether anybody but the honest ever gets an answer of the peer filter.
    pub(crate) decides: bool,
    /// Whether it tells of each end, and does not only count.
    pub(crate) tells: bool,
    /// Bytes that the fountain sends at once.
    pub(crate) drop: usize,
}

impl Settings {
    pub(crate) fn new(p2p: Value) -> Self {
        let honest = Vec::new();
        Self { p2p, honest, reads: true, decides: true, tells: true, drop: 60_000 }
    }

    /// With so little memory for others that more than that shows.
    pub(crate) fn frugal(more: Value) -> Self {
        let mut table = json!({
            "delivered_total": 9 << 20,
            "parking_total": 4 << 20,
            "parking_per_peer": 1 << 20,
            "reassembly_pool": 4 << 20,
            "max_pending_handshakes": 256,
        });
        for (key, value) in more.as_object().unwrap() {
            table[key] = value.clone();
        }
        Self::new(table)
    }

    /// Its settings as the library has them.
    pub(crate) fn config(&self) -> Config {
        let mut table = json!({ "laddr": "tcp://127.0.0.1:0", "addr_book_file": "" });
        for (key, value) in self.p2p.as_object().unwrap() {
            table[key] = value.clone();
        }
        serde_json::from_value(table).unwrap()
    }
}

/// What the victim has, and has counted.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Report {
    /// These are looked at from outside: the victim may have no descriptor to look with.
    #[serde(skip)]
    pub(crate) threads: BTreeMap<String, usize>,
    #[serde(skip)]
    pub(crate) descriptors: usize,
    #[serde(skip)]
    pub(crate) memory: usize,
    pub(crate) peers: usize,
    pub(crate) rejected: BTreeMap<String, u64>,
    pub(crate) disconnects: BTreeMap<String, u64>,
    pub(crate) read_bytes: u64,
    pub(crate) accepted: u64,
    pub(crate) accept_failures: u64,
    pub(crate) bans: usize,
    /// Bytes of messages that have come on [`SINK`].
    pub(crate) sunk: u64,
    pub(crate) longest_turn: Duration,
    /// Messages of honest nodes for which there was no room.
    pub(crate) dropped: u64,
}

/// How a connection ended, by the victim's account.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) at: Instant,
}

/// The running process. Killed when dropped.
pub(crate) struct Victim {
    child: Child,
    input: Mutex<ChildStdin>,
    told: Arc<Told>,
    pub(crate) addr: SocketAddr,
    pub(crate) id: NodeId,
    pub(crate) config: Config,
    /// What it had when the honest were there and nobody else.
    before: Option<Report>,
}

#[derive(Default)]
struct Told {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    ends: BTreeMap<SocketAddr, End>,
    answers: VecDeque<Value>,
    has_panicked: bool,
    /// Nothing more is told.
    is_over: bool,
}

impl Victim {
    pub(crate) fn start(settings: &Settings) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["victim::node", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(SETTINGS, serde_json::to_string(settings).unwrap());
        let told = Arc::<Told>::default();
        let heard = told.clone();
        // The test harness says something, too.
        let is_answer = |line: &str| line.starts_with('{');
        let (child, input, lines) = go::talk(&mut command, is_answer, move |line| {
            eprintln!("victim: {line}");
            if line.contains("panicked at") {
                lock(&heard.state).has_panicked = true;
            }
        });
        let heard = told.clone();
        thread::spawn(move || {
            lines.iter().for_each(|line| heard.hear(line));
            lock(&heard.state).is_over = true;
            heard.news.notify_all();
        });
        let input = Mutex::new(input);
        let started = told.answer();
        let addr = started["addr"].as_str().unwrap().parse().unwrap();
        let id = started["id"].as_str().unwrap().parse().unwrap();
        Self { child, input, told, addr, id, config: settings.config(), before: None }
    }

    fn ask(&self, command: &str) -> Value {
        writeln!(lock(&self.input), "{command}").unwrap();
        self.told.answer()
    }

    pub(crate) fn report(&self) -> Report {
        let mut report: Report = serde_json::from_value(self.ask("report")).unwrap();
        let process = self.child.id().to_string();
        (report.threads, report.descriptors) = own::resources_of(&process);
        report.memory = own::memory_of(&process);
        report
    }

    /// It takes all descriptors that are left; how many.
    pub(crate) fn hoard(&self) -> u64 {
        self.ask("hoard")["files"].as_u64().unwrap()
    }

    /// It gives them back.
    pub(crate) fn release(&self) {
        self.ask("release");
    }

    /// From now on it may have so many descriptors more than now, and not notice before it asks for one.
    pub(crate) fn limit_descriptors(&self, more: u64) -> Rlimit {
        let pid = Some(Pid::from_child(&self.child));
        let limit =
            Rlimit { current: Some(self.report().descriptors as u64 + more), ..own_limit() };
        prlimit(pid, Resource::Nofile, limit).unwrap()
    }

    pub(crate) fn set_limit(&self, limit: Rlimit) {
        prlimit(Some(Pid::from_child(&self.child)), Resource::Nofile, limit).unwrap();
    }

    /// How the connection from this address ended.
    #[track_caller]
    pub(crate) fn end(&self, of: SocketAddr) -> End {
        let deadline = Instant::now() + DEADLINE;
        self.told.wait(deadline, |state| state.ends.remove(&of)).expect("nothing is told of it")
    }

    /// What it has now is what it has before anybody attacks.
    #[track_caller]
    pub(crate) fn settled(&mut self, peers: usize) {
        self.before = Some(self.comes_to(peers));
    }

    /// It has so many peers, and nothing changes any more.
    #[track_caller]
    fn comes_to(&self, peers: usize) -> Report {
        let deadline = Instant::now() + DEADLINE;
        let mut last = self.report();
        loop {
            thread::park_timeout(Duration::from_millis(20));
            let report = self.report();
            let of =
                |report: &Report| (report.threads.clone(), report.descriptors, report.accepted);
            if report.peers == peers && of(&report) == of(&last) {
                return report;
            }
            assert!(Instant::now() < deadline, "{report:?} instead of {peers} peers");
            last = report;
        }
    }

    /// It has the sessions, threads and descriptors that it had before, or will have soon.
    #[track_caller]
    pub(crate) fn recovers(&self) -> Report {
        let before = self.before.as_ref().unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let now = self.report();
            let of = |report: &Report| (report.threads.clone(), report.descriptors, report.peers);
            if of(&now) == of(before) {
                assert_eq!(now.dropped, 0, "what honest nodes said was dropped");
                assert!(!lock(&self.told.state).has_panicked, "it has panicked");
                return now;
            }
            assert!(Instant::now() < deadline, "{now:?} instead of {before:?}");
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Memory beyond what it had before anybody attacked, bytes.
    pub(crate) fn grown(&self) -> usize {
        let before = self.before.as_ref().unwrap().memory;
        self.report().memory.saturating_sub(before)
    }

    /// What the documentation of `Config` says that others can make it hold beyond.
    pub(crate) fn most_memory(&self) -> usize {
        let config = &self.config;
        let reactors = 3;
        let peers = config.max_num_inbound_peers + config.max_num_outbound_peers;
        let totals = config.delivered_total + config.parking_total + config.reassembly_pool;
        let strangers = (config.max_pending_handshakes * 20 + (10 << 10)) << 10;
        totals + (reactors + 2) * SINK_CAPACITY + peers * (200 << 10) + strangers + (3 << 20)
    }

    /// It stops in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.ask("stop");
        assert!(self.child.wait().unwrap().success());
        assert!(!lock(&self.told.state).has_panicked);
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Told {
    fn hear(&self, line: Value) {
        let mut state = lock(&self.state);
        match line["event"].as_str() {
            Some("end") => {
                let text = |key: &str| line[key].as_str().unwrap().to_owned();
                let (kind, reason) = (text("kind"), text("reason"));
                let addr = text("addr").parse().unwrap();
                state.ends.insert(addr, End { kind, reason, at: Instant::now() });
            }
            _ => state.answers.push_back(line),
        }
        self.news.notify_all();
    }

    #[track_caller]
    fn answer(&self) -> Value {
        let deadline = Instant::now() + DEADLINE;
        self.wait(deadline, |state| state.answers.pop_front()).expect("the victim does not answer")
    }

    fn wait<T>(&self, deadline: Instant, take: impl Fn(&mut State) -> Option<T>) -> Option<T> {
        let mut state = lock(&self.state);
        loop {
            let taken = take(&mut state);
            let left = deadline.saturating_duration_since(Instant::now());
            if taken.is_some() || left.is_zero() || state.is_over {
                return taken;
            }
            let (next, _) = self.news.wait_timeout(state, left).unwrap();
            state = next;
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of this process, and of its children.
pub(crate) fn own_limit() -> Rlimit {
    getrlimit(Resource::Nofile)
}

#[test]
#[ignore = "is a process of the others"]
fn node() {
    let Ok(settings) = std::env::var(SETTINGS) else { return };
    let settings: Settings = serde_json::from_str(&settings).unwrap();
    let log = env_logger::Env::default().default_filter_or("p2p=error,pex=error");
    env_logger::Builder::from_env(log).init();
    // Behind what the test harness has begun.
    println!();

    let honest: Vec<NodeId> = settings.honest.iter().map(|id| id.parse().unwrap()).collect();
    let info = NodeInfo::new(CHAIN, "victim").unwrap();
    let mut builder = Switch::builder(settings.config(), NodeKey::generate(), info);
    let channel = |id| ChannelDescriptor::new(id).recv_message_capacity(SINK_CAPACITY);
    let talk = ReactorSpec::new("talk").channel(channel(TALK).priority(5));
    let talk = builder.reactor(talk).unwrap();
    let spec = ReactorSpec::new("target").channel(channel(SINK)).channel(channel(FOUNTAIN));
    let target = builder.reactor(spec).unwrap();
    let undecided = Mutex::new(Vec::new());
    if !settings.decides {
        let honest = honest.clone();
        builder.peer_filter(move |candidate| {
            if candidate.id.is_some_and(|id| honest.contains(&id)) {
                return Verdict::Accept;
            }
            let (decision, verdict) = Verdict::later();
            lock(&undecided).push(decision);
            verdict
        });
    }
    let events = builder.subscribe();
    let switch = builder.start().unwrap();
    let handle = switch.handle().clone();
    let addr = handle.local_addr().unwrap();
    say(&json!({ "event": "started", "addr": addr, "id": handle.id().to_string() }));

    let (dropped, sunk, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| relay(&talk, &honest, &dropped));
        scope.spawn(|| {
            while !settings.reads && !is_over.load(SeqCst) {
                thread::park_timeout(Duration::from_millis(20));
            }
            take(&target, settings.drop, &sunk);
        });
        scope.spawn(|| tell(&events, settings.tells));
        let mut files = Vec::new();
        for line in stdin().lines() {
            match &*line.unwrap() {
                "report" => {
                    let metrics = handle.metrics();
                    say(&json!({
                        "peers": metrics.inbound_peers + metrics.outbound_peers,
                        "rejected": metrics.rejected,
                        "disconnects": metrics.disconnects,
                        "read_bytes": metrics.event_loop.read_bytes,
                        "accepted": metrics.event_loop.accepted,
                        "accept_failures": metrics.accept_failures,
                        "bans": metrics.bans,
                        "sunk": sunk.load(SeqCst),
                        "longest_turn": metrics.event_loop.longest_turn,
                        "dropped": dropped.load(SeqCst),
                    }));
                }
                "hoard" => {
                    files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                    say(&json!({ "files": files.len() }));
                }
                "release" => {
                    files.clear();
                    say(&json!({}));
                }
                "stop" => break,
                other => panic!("no command {other:?}"),
            }
        }
        is_over.store(true, SeqCst);
        switch.stop(Duration::from_secs(20)).unwrap();
    });
    say(&json!({ "event": "stopped" }));
}

/// One line, whole.
fn say(line: &Value) {
    println!("{line}");
}

/// What an honest node says goes to the others of them.
fn relay(talk: &Reactor, honest: &[NodeId], dropped: &AtomicU64) {
    let mut peers: Vec<Peer> = Vec::new();
    for event in talk.events() {
        match event {
            Event::PeerUp(peer) if honest.contains(&peer.id()) => peers.push(peer),
            Event::PeerDown(peer, _) => peers.retain(|other| other.id() != peer.id()),
            Event::Message(envelope) => {
                let (from, _, payload) = envelope.into_parts();
                for to in peers.iter().filter(|to| to.id() != from.id()) {
                    if honest.contains(&from.id()) && to.try_send(TALK, payload.clone()).is_err() {
                        dropped.fetch_add(1, SeqCst);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Reads what comes, and sends to whom asks for it.
fn take(target: &Reactor, drop: usize, sunk: &AtomicU64) {
    for event in target.events() {
        let Event::Message(envelope) = event else { continue };
        let (from, channel, payload) = envelope.into_parts();
        match channel.as_u8() {
            FOUNTAIN => {
                // Each of its own: memory that is not shared.
                while from.try_send(FOUNTAIN, Payload::from(vec![7; drop])).is_ok() {}
            }
            _ => {
                sunk.fetch_add(payload.len() as u64, SeqCst);
            }
        }
    }
}

/// Tells of each connection's end.
fn tell(events: &Receiver<SwitchEvent>, tells: bool) {
    for event in events {
        match event {
            SwitchEvent::Rejected { addr, reason, .. }
            | SwitchEvent::Disconnected { addr, reason, .. }
                if tells =>
            {
                let (kind, reason) = (reason.kind(), reason.to_string());
                say(&json!({ "event": "end", "addr": addr, "kind": kind, "reason": reason }));
            }
            SwitchEvent::Lost(events) => panic!("{events} events were not read"),
            _ => {}
        }
    }
}
