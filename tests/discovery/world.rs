//! Many nodes' cores of peer exchange in virtual time. What is between them (switches, sockets,
//! black holes) is this file: it connects, carries and loses, and decides nothing that a core
//! decides.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tmp2p::{
    BookKey, Config, ConnId, Direction, DisconnectReason, MemoryStore, Mono, NetAddress, NodeId,
    Now, Origin, PeerAddress, StoredBook,
    addrbook::{Book, BookLimits, BookSettings, BookStore, NodeFacts},
    pex::{PeerFacts, PexCore, PexInput, PexMessage, PexOutput, PexRequest, PexSettings},
    switch::Notice,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(20);
/// When the simulated time begins, since the Unix epoch.
pub(crate) const START: Duration = Duration::from_secs(1_700_000_000);

/// Which node of the world.
pub(crate) type Number = usize;

pub(crate) struct Node {
    pub(crate) core: PexCore,
    pub(crate) addr: NetAddress,
    pub(crate) config: Config,
    pub(crate) store: MemoryStore,
    pub(crate) is_alive: bool,
    /// Refuses whoever dials, after the handshake.
    pub(crate) is_full: bool,
    /// Never looks at a message.
    pub(crate) is_mute: bool,
    woken_at: Option<Mono>,
    /// By session, who is at the other end and under which session there.
    sessions: BTreeMap<ConnId, (Number, ConnId)>,
    next_session: u32,
    /// When it was told to dial whom.
    pub(crate) dials: Vec<(Duration, PeerAddress)>,
    /// What it has sent, to whom.
    pub(crate) sent: Vec<(Duration, NodeId, PexMessage)>,
    /// Sessions that it has ended for an error of the peer.
    pub(crate) stopped: Vec<(NodeId, String)>,
}

enum Happening {
    Input(Number, PexInput),
    Wake(Number),
    Connect(Number, PeerAddress, Origin),
    /// The other end of a session has closed it.
    Close(Number, ConnId, DisconnectReason),
}

/// A node that looks for nobody.
pub(crate) fn quiet() -> Config {
    Config { max_num_outbound_peers: 0, ..Config::default() }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    by_addr: BTreeMap<SocketAddr, Number>,
    /// By name.
    pub(crate) names: BTreeMap<String, SocketAddr>,
    queue: BinaryHeap<Reverse<(Mono, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    pub(crate) now: Mono,
    pub(crate) rng: StdRng,
    /// Messages, connections and failures so far.
    pub(crate) steps: u64,
}

pub(crate) fn id(number: u64) -> NodeId {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&(number + 1).to_be_bytes());
    bytes[8..16].copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// A routable address per number, few of them in one /16: each has its places in a book.
pub(crate) fn addr(number: u64) -> NetAddress {
    let [.., a, b] = (number / 5).to_be_bytes();
    let ip = IpAddr::from([20 + a, b, 1, (number % 5) as u8 + 1]);
    NetAddress::new(id(number), ip, 26656)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        eprintln!("seed {seed}");
        Self {
            nodes: Vec::new(),
            by_addr: BTreeMap::new(),
            names: BTreeMap::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            now: Mono::ZERO,
            rng: StdRng::seed_from_u64(seed),
            steps: 0,
        }
    }

    /// A node at its own address that starts now.
    pub(crate) fn add(&mut self, config: Config) -> Number {
        let addr = addr(self.nodes.len() as u64);
        self.add_at(addr, config, StoredBook::default())
    }

    pub(crate) fn add_at(&mut self, addr: NetAddress, config: Config, book: StoredBook) -> Number {
        let number = self.nodes.len();
        let store = MemoryStore::new();
        let core = self.core(addr, &config, book);
        self.by_addr.insert(addr.socket_addr(), number);
        self.nodes.push(Node {
            core,
            addr,
            config,
            store,
            is_alive: true,
            is_full: false,
            is_mute: false,
            woken_at: None,
            sessions: BTreeMap::new(),
            next_session: 1,
            dials: Vec::new(),
            sent: Vec::new(),
            stopped: Vec::new(),
        });
        let now = self.at();
        self.nodes[number].core.start(now);
        self.perform(number);
        number
    }

    fn core(&mut self, addr: NetAddress, config: &Config, stored: StoredBook) -> PexCore {
        let settings = BookSettings {
            own: addr.id(),
            is_strict: config.addr_book_strict,
            limits: BookLimits::default(),
        };
        let fresh = BookKey::random(&mut self.rng);
        let mut book = Book::load(settings, fresh, stored, self.at().wall, &mut self.rng);
        book.add_private(config.private_peer_ids.iter().copied());
        book.add_own(addr.socket_addr());
        PexCore::new(PexSettings::new(config), book, self.rng.random(), self.at())
    }

    /// The node is gone, without a word.
    pub(crate) fn kill(&mut self, number: Number) {
        self.nodes[number].is_alive = false;
        for (conn, (other, theirs)) in std::mem::take(&mut self.nodes[number].sessions) {
            let _ = conn;
            self.after(LATENCY, Happening::Close(other, theirs, DisconnectReason::Reset));
        }
    }

    /// The node comes back with what its store holds.
    pub(crate) fn revive(&mut self, number: Number) {
        let stored = self.nodes[number].store.load().unwrap();
        let (addr, config) = (self.nodes[number].addr, self.nodes[number].config.clone());
        let core = self.core(addr, &config, stored);
        let now = self.at();
        let node = &mut self.nodes[number];
        (node.core, node.is_alive, node.woken_at) = (core, true, None);
        node.core.start(now);
        self.perform(number);
    }

    pub(crate) fn at(&self) -> Now {
        Now { mono: self.now, wall: START + self.now.since(Mono::ZERO) }
    }

    pub(crate) fn input(&mut self, number: Number, input: PexInput) {
        let now = self.at();
        self.nodes[number].core.handle(input, now);
        self.perform(number);
    }

    pub(crate) fn request(&mut self, number: Number, request: PexRequest) {
        self.input(number, PexInput::Request(request));
    }

    /// Adds addresses to the node's book, each told by somebody.
    pub(crate) fn tell(
        &mut self,
        number: Number,
        addrs: impl IntoIterator<Item = (NetAddress, NetAddress)>,
    ) {
        let entry = |addr: NetAddress| json!({ "id": addr.id().to_string(), "ip": addr.ip().to_string(), "port": addr.port() });
        let never = "0001-01-01T00:00:00Z";
        let entries: Vec<_> = addrs.into_iter().map(|(addr, src)| json!({
            "addr": entry(addr), "src": entry(src), "buckets": [0], "attempts": 0, "bucket_type": 1,
            "last_attempt": never, "last_success": never, "last_ban_time": never,
        })).collect();
        let file = json!({ "key": "0123456789abcdef01234567", "addrs": entries }).to_string();
        let imported = tmp2p::addrbook::json::parse(file.as_bytes()).unwrap();
        self.request(number, PexRequest::Import { ticket: 0, imported });
    }

    /// A peer that the node has asked tells it of an address.
    pub(crate) fn gossip(&mut self, number: Number, addr: NetAddress) {
        let teller = self.add(quiet());
        self.nodes[teller].is_mute = true;
        let from = self.nodes[teller].addr;
        self.dial(number, from);
        self.run(SECOND);
        self.receive(number, from.id(), PexMessage::Addrs(vec![addr]).encode());
        self.kill(teller);
        self.run(SECOND);
    }

    /// The application of the node dials.
    pub(crate) fn dial(&mut self, number: Number, addr: NetAddress) {
        self.after(LATENCY, Happening::Connect(number, addr.into(), Origin::Operator));
    }

    /// The other end of the node's session with a peer sends this.
    pub(crate) fn receive(&mut self, number: Number, from: NodeId, bytes: Vec<u8>) {
        let conn = self.session(number, from).expect("a session with that peer");
        self.input(number, PexInput::Message { conn, payload: bytes.into() });
    }

    pub(crate) fn session(&self, number: Number, with: NodeId) -> Option<ConnId> {
        let sessions = self.nodes[number].sessions.iter();
        let mut of = sessions.filter(|(_, (other, _))| self.nodes[*other].addr.id() == with);
        of.next_back().map(|(conn, _)| *conn)
    }

    pub(crate) fn num_peers(&self, number: Number) -> usize {
        self.nodes[number].sessions.len()
    }

    pub(crate) fn peers(&self, number: Number) -> impl Iterator<Item = Number> {
        self.nodes[number].sessions.values().map(|(other, _)| *other)
    }

    /// Lets so much time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until it is so, at most this much. Whether it is.
    pub(crate) fn run_until(&mut self, time: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            if is_so(self) {
                return true;
            }
            match self.queue.peek() {
                Some(Reverse((at, _))) if *at <= end => {}
                _ => {
                    self.now = end;
                    return is_so(self);
                }
            }
            let Reverse((at, key)) = self.queue.pop().unwrap();
            self.now = self.now.max(at);
            let happening = self.happenings.remove(&key).unwrap();
            self.steps += 1;
            self.happen(happening);
        }
    }

    fn after(&mut self, time: Duration, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((self.now + time, self.next)));
        self.happenings.insert(self.next, happening);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input(number, input) if self.nodes[number].is_alive => {
                let is_stale = match &input {
                    PexInput::Message { conn, .. } => {
                        let node = &self.nodes[number];
                        node.is_mute || !node.sessions.contains_key(conn)
                    }
                    _ => false,
                };
                if !is_stale {
                    self.input(number, input);
                }
            }
            Happening::Wake(number) if self.nodes[number].is_alive => {
                let now = self.at();
                let node = &mut self.nodes[number];
                if node.woken_at.is_some_and(|at| at <= now.mono) {
                    node.woken_at = None;
                    node.core.handle_timeout(now);
                    self.perform(number);
                }
            }
            Happening::Connect(number, addr, origin) if self.nodes[number].is_alive => {
                self.connect(number, addr, origin);
            }
            Happening::Close(number, conn, reason) if self.nodes[number].is_alive => {
                let Some(_) = self.nodes[number].sessions.remove(&conn) else { return };
                let reason = Arc::new(reason);
                self.input(number, PexInput::PeerDown { conn, reason });
            }
            _ => {}
        }
    }

    fn connect(&mut self, number: Number, addr: PeerAddress, origin: Origin) {
        let wanted = addr.id();
        if origin == Origin::Operator {
            self.input(number, PexInput::Notice(Notice::DialBegun { id: wanted, origin }));
        }
        let dialed = addr.clone();
        let target = match addr.net_address() {
            Some(addr) => Some(addr.socket_addr()),
            None => self.names.get(&addr.host().to_string()).copied(),
        };
        let fail = |reason| {
            let addr = dialed.clone();
            PexInput::Notice(Notice::DialFailed { addr, origin, reason })
        };
        let other = target.and_then(|target| self.by_addr.get(&target).copied());
        let Some(other) = other.filter(|&other| self.nodes[other].is_alive) else {
            let time = self.nodes[number].config.dial_timeout;
            let reason = DisconnectReason::DialTimeout(time);
            return self.after(time, Happening::Input(number, fail(reason)));
        };
        let actual = self.nodes[other].addr.id();
        let wall = self.at().wall;
        let is_banned = |by: &Node, whom: &NetAddress| {
            let bans = by.core.book().bans();
            let ban = bans.find_id(&whom.id(), wall).or_else(|| bans.find_ip(whom.ip(), wall));
            ban.map(|ban| ban.target)
        };
        let (here, there) = (&self.nodes[number], &self.nodes[other]);
        let refusal = if actual != wanted {
            Some(DisconnectReason::WrongId { expected: wanted, actual })
        } else if other == number {
            Some(DisconnectReason::SelfConnection)
        } else if let Some(target) = is_banned(here, &there.addr) {
            Some(DisconnectReason::Banned(target))
        } else if here.sessions.values().any(|(with, _)| *with == other) {
            Some(DisconnectReason::DuplicateId(wanted))
        } else {
            is_banned(there, &here.addr).map(|_| DisconnectReason::Eof)
        };
        if let Some(reason) = refusal {
            return self.after(LATENCY, Happening::Input(number, fail(reason)));
        }
        let (ours, theirs) = (self.new_session(number), self.new_session(other));
        let is_full = self.nodes[other].is_full;
        let up = |facts_of: &Node, direction, conn, dialed| {
            PexInput::PeerUp(PeerFacts {
                conn,
                id: facts_of.addr.id(),
                direction,
                remote: facts_of.addr.socket_addr(),
                dialed,
                announced: Some(facts_of.addr),
                origin: (direction == Direction::Outbound).then_some(origin),
                speaks_pex: true,
                facts: NodeFacts {
                    moniker: "simulated".into(),
                    version: "0.34.24".into(),
                    network: "simulation".into(),
                },
            })
        };
        let input = up(&self.nodes[other], Direction::Outbound, ours, addr.net_address());
        self.nodes[number].sessions.insert(ours, (other, theirs));
        if is_full {
            let reason = DisconnectReason::RefusedAfterHandshake;
            self.after(LATENCY, Happening::Close(number, ours, reason));
        } else {
            self.nodes[other].sessions.insert(theirs, (number, ours));
            let input = up(&self.nodes[number], Direction::Inbound, theirs, None);
            self.input(other, input);
        }
        self.input(number, input);
    }

    fn new_session(&mut self, number: Number) -> ConnId {
        let node = &mut self.nodes[number];
        node.next_session += 1;
        ConnId::new(0, node.next_session, 1)
    }

    fn perform(&mut self, number: Number) {
        while let Some(output) = self.nodes[number].core.poll_output() {
            let wall = self.at().wall;
            match output {
                PexOutput::Send { conn, message } => {
                    let Some(&(other, theirs)) = self.nodes[number].sessions.get(&conn) else {
                        continue;
                    };
                    let decoded = PexMessage::decode(&message).expect("what we send is in order");
                    let to = self.nodes[other].addr.id();
                    self.nodes[number].sent.push((wall, to, decoded));
                    let input = PexInput::Message { conn: theirs, payload: message.into() };
                    self.after(LATENCY, Happening::Input(other, input));
                }
                PexOutput::Evict { conn, reason } => {
                    self.hang_up(number, conn, reason);
                }
                PexOutput::Stop { conn, reason } => {
                    if let Some((other, _)) = self.nodes[number].sessions.get(&conn) {
                        let id = self.nodes[*other].addr.id();
                        self.nodes[number].stopped.push((id, reason.clone()));
                    }
                    self.hang_up(number, conn, DisconnectReason::Reactor(reason));
                }
                PexOutput::Dial { addr, origin } => {
                    self.nodes[number].dials.push((wall, addr.clone()));
                    self.after(LATENCY, Happening::Connect(number, addr, origin));
                }
                PexOutput::Store { batch, .. } => {
                    self.nodes[number].store.write(&batch).unwrap();
                }
                PexOutput::Publish { added, .. } => {
                    let Some(ban) = added else { continue };
                    let sessions = self.nodes[number].sessions.clone();
                    for (conn, (other, _)) in sessions {
                        if ban.target == self.nodes[other].addr.id().into() {
                            self.hang_up(number, conn, DisconnectReason::Banned(ban.target));
                        }
                    }
                }
                PexOutput::Answer { .. } | PexOutput::Event(_) | PexOutput::Notice(_) => {}
            }
        }
        let deadline = self.nodes[number].core.next_deadline();
        if let Some(at) = deadline
            && self.nodes[number].woken_at.is_none_or(|earlier| at < earlier)
        {
            self.nodes[number].woken_at = Some(at);
            let wait = at.since(self.now);
            self.after(wait, Happening::Wake(number));
        }
    }

    /// The node ends a session; everything sent before arrives.
    fn hang_up(&mut self, number: Number, conn: ConnId, reason: DisconnectReason) {
        let Some((other, theirs)) = self.nodes[number].sessions.remove(&conn) else { return };
        let reason = Arc::new(reason);
        self.after(Duration::ZERO, Happening::Input(number, PexInput::PeerDown { conn, reason }));
        self.after(LATENCY, Happening::Close(other, theirs, DisconnectReason::Eof));
    }
}
