//! A network of members that come, go and look for each other by one of two sets of rules.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    path::Path,
    rc::Rc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use tmp2p::{
    Cidr, Config, Direction, Event, MemoryStore, NetAddress, NodeId, NodeInfo, NodeKey, Peer,
    PeerAddress, Reactor, ReactorSpec, Switch, SwitchHandle,
    internals::pex,
    testing::{Network, NodeIndex},
};

use crate::{
    internet::Internet,
    reference::{Book, Pex},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// By whose rules a network finds itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rules {
    /// This crate's, by default.
    Ours,
    /// Those of Tendermint v0.34: its peer exchange and its book, and a switch that lets in whoever comes as long
    /// as there is a place (ours, where everybody is exempt from its rules for strangers).
    Reference,
}

impl Rules {
    pub(crate) const BOTH: [Self; 2] = [Self::Ours, Self::Reference];

    /// For a legend.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "tmp2p",
            Self::Reference => "rules of Tendermint v0.34",
        }
    }
}

/// What every node of a network says of itself.
pub(crate) fn node_info() -> NodeInfo {
    NodeInfo::new("simulated", "node").expect("short names")
}

/// All addresses: who is exempt from rules for strangers where there are none.
pub(crate) fn everybody() -> Vec<Cidr> {
    vec!["0.0.0.0/0".parse().expect("a range")]
}

/// What a member is to be.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) addr: NetAddress,
    key: NodeKey,
    /// Nobody can dial it.
    pub(crate) is_hidden: bool,
    pub(crate) is_seed: bool,
    /// Where its book is, by our rules; `None`: it has none that outlives it.
    store: Option<MemoryStore>,
    /// What it has at the moment.
    pub(crate) running: Option<Running>,
    /// The book of the reference, between two runs.
    kept: Rc<RefCell<Option<Book>>>,
}

/// A member that runs.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) index: NodeIndex,
    reference: Option<Rc<RefCell<Pex>>>,
}

/// The network, and who takes part.
pub(crate) struct World {
    pub(crate) network: Network,
    pub(crate) rules: Rules,
    pub(crate) members: Vec<Member>,
    pub(crate) by_id: HashMap<NodeId, usize>,
    pub(crate) internet: Internet,
    pub(crate) rng: StdRng,
    pub(crate) seeds: Vec<NetAddress>,
    /// Who is no switch, and looks every 50 ms what there is to do.
    pub(crate) by_hand: Vec<Box<dyn FnMut(Duration)>>,
}

impl World {
    pub(crate) fn new(rules: Rules, seed: u64) -> Self {
        let mut network = Network::new(seed);
        network.latency(Duration::from_millis(1)..=Duration::from_millis(20));
        Self {
            network,
            rules,
            members: Vec::new(),
            by_id: HashMap::new(),
            internet: Internet::default(),
            rng: StdRng::seed_from_u64(seed),
            seeds: Vec::new(),
            by_hand: Vec::new(),
        }
    }

    /// Somebody with a key and an address, who does not run yet.
    pub(crate) fn member_at(&mut self, at: SocketAddr) -> usize {
        let key = NodeKey::from_seed(self.rng.random());
        let addr = NetAddress::new(key.id(), at.ip(), at.port());
        let number = self.members.len();
        self.by_id.insert(addr.id(), number);
        self.members.push(Member {
            addr,
            key,
            is_hidden: false,
            is_seed: false,
            store: None,
            running: None,
            kept: Rc::default(),
        });
        number
    }

    /// The same, somewhere.
    pub(crate) fn member(&mut self) -> usize {
        let at = self.internet.somewhere(&mut self.rng);
        self.member_at(at)
    }

    /// Seeds that everybody knows; they run.
    pub(crate) fn add_seeds(&mut self, count: usize) -> Vec<usize> {
        let seeds: Vec<_> = (0..count).map(|_| self.member()).collect();
        self.seeds = seeds.iter().map(|seed| self.members[*seed].addr).collect();
        for &seed in &seeds {
            self.members[seed].is_seed = true;
            self.start(seed, |_| {});
        }
        seeds
    }

    /// A seed that everybody knows, and whose book is in a database.
    pub(crate) fn seed_with_database(&mut self, database: &Path) -> usize {
        let seed = self.member();
        self.seeds = vec![self.members[seed].addr];
        self.members[seed].is_seed = true;
        self.start(seed, |config| config.addr_book_file = Some(database.to_owned()));
        seed
    }

    /// Adds these to its book, each told by itself.
    pub(crate) fn tell(&mut self, member: usize, addrs: &[NetAddress]) {
        let running = self.members[member].running.as_ref().expect("it runs");
        if let Some(pex) = &running.reference {
            let now = self.network.now();
            for addr in addrs {
                pex.borrow_mut().book.add(*addr, *addr, now, &mut self.rng);
            }
            return;
        }
        let place = |addr: &NetAddress| json!({ "id": addr.id().to_string(), "ip": addr.ip().to_string(), "port": addr.port() });
        let never = "0001-01-01T00:00:00Z";
        let entry = |addr: &NetAddress| {
            json!({
                "addr": place(addr), "src": place(addr), "buckets": [0], "attempts": 0,
                "bucket_type": 1, "last_attempt": never, "last_success": never,
                "last_ban_time": never,
            })
        };
        let entries: Vec<_> = addrs.iter().map(entry).collect();
        let file = json!({ "key": "0123456789abcdef01234567", "addrs": entries }).to_string();
        let import = |switch: &SwitchHandle| switch.import_addrbook(file.as_bytes());
        let report = self.network.call(running.index, import).expect("a file in order");
        assert!(report.added > 0, "{report:?}");
    }

    /// Its book outlives it.
    pub(crate) fn keep_book(&mut self, member: usize) {
        self.members[member].store = Some(MemoryStore::new());
    }

    /// It begins to run, or does so again, with the book that it had.
    pub(crate) fn start(&mut self, member: usize, change: impl FnOnce(&mut Config)) {
        let Member { addr, key, is_hidden, is_seed, store, running, kept } =
            self.members[member].clone();
        let seeds = self.seeds.iter().filter(|seed| seed.id() != addr.id());
        let seeds: Vec<NetAddress> = seeds.copied().collect();
        let mut config = Config {
            laddr: Some(addr.socket_addr().into()),
            seeds: seeds.iter().map(|seed| PeerAddress::from(*seed)).collect(),
            seed_mode: is_seed,
            ..Config::default()
        };
        if is_seed {
            config.max_num_inbound_peers = 1000;
        }
        if self.rules == Rules::Reference {
            config.pex = false;
            config.seed_mode = false;
            config.exempt_cidrs = everybody();
        }
        change(&mut config);
        let outbound = config.max_num_outbound_peers;
        let mut builder = Switch::builder(config, key, node_info());
        if let Some(store) = store {
            builder.book_store(store);
        }
        let reactor = (self.rules == Rules::Reference).then(|| {
            let spec = ReactorSpec::new("reference").channel(pex::channel());
            builder.reactor(spec).expect("the only reactor")
        });
        let index = match running {
            Some(Running { index, .. }) => {
                self.network.restart(index, builder).expect("a restart");
                index
            }
            None => self.network.add(builder).expect("a start"),
        };
        let delay = Duration::from_millis(self.rng.random_range(2..80));
        self.network.delay(index, delay);
        if is_hidden {
            self.network.hide(index);
        }
        let now = self.network.now();
        let reference = reactor.map(|reactor| {
            let mut rng = StdRng::from_rng(&mut self.rng);
            let book = kept.borrow_mut().take();
            let book = book.unwrap_or_else(|| Book::new(addr.id(), &mut rng));
            let pex = Pex::new(book, rng, seeds, outbound, is_seed, now);
            let pex = Rc::new(RefCell::new(pex));
            self.drive(index, reactor, pex.clone());
            pex
        });
        self.members[member].running = Some(Running { index, reference });
    }

    fn drive(&mut self, index: NodeIndex, reactor: Reactor, pex: Rc<RefCell<Pex>>) {
        let switch = self.network.switch(index).clone();
        let clock = self.network.clock();
        let handle = move |event: Event| pex.borrow_mut().handle(event, &switch, clock.now());
        self.network.drive(index, reactor, handle);
    }

    /// Its process ends without a word; what it has written is still there.
    pub(crate) fn kill(&mut self, member: usize) {
        let Some(running) = &self.members[member].running else { return };
        self.network.kill(running.index);
        if let Some(pex) = &running.reference
            && self.members[member].store.is_some()
        {
            let mut rng = StdRng::from_rng(&mut self.rng);
            let mut pex = pex.borrow_mut();
            let mut book =
                std::mem::replace(&mut pex.book, Book::new(NodeId::from_bytes([0; 20]), &mut rng));
            book.reload(&mut rng);
            *self.members[member].kept.borrow_mut() = Some(book);
        }
    }

    /// Whether it runs.
    pub(crate) fn is_running(&self, member: usize) -> bool {
        let running = self.members[member].running.as_ref();
        running.is_some_and(|running| self.network.is_running(running.index))
    }

    /// Lets time pass, in steps of a second; in shorter ones if somebody does things by hand.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.network.now() + time;
        let step = if self.by_hand.is_empty() { SECOND } else { SECOND / 20 };
        while self.network.now() < end {
            self.network.run_for(step.min(end - self.network.now()));
            let now = self.network.now();
            self.by_hand.iter_mut().for_each(|tick| tick(now));
            if self.rules == Rules::Ours {
                continue;
            }
            let now = self.network.now();
            for member in 0..self.members.len() {
                let Some(running) = &self.members[member].running else { continue };
                let Some(pex) = running.reference.as_ref() else { continue };
                if self.network.is_running(running.index) {
                    pex.borrow_mut().tick(self.network.switch(running.index), now);
                }
            }
        }
    }

    /// Lets time pass until it is so, asked every second: after how long; `None`: it is not within the limit.
    pub(crate) fn time_until(
        &mut self,
        limit: Duration,
        mut is_so: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let begun = self.network.now();
        while self.network.now() < begun + limit {
            self.run(SECOND);
            if is_so(self) {
                return Some(self.network.now() - begun);
            }
        }
        None
    }

    /// Whom it has dialed and is connected with.
    pub(crate) fn outbound(&self, member: usize) -> Vec<NodeId> {
        self.sessions_of(member, |peer| peer.direction() == Direction::Outbound)
    }

    /// Whom it is connected with.
    pub(crate) fn peers(&self, member: usize) -> Vec<NodeId> {
        self.sessions_of(member, |_| true)
    }

    fn sessions_of(&self, member: usize, is_meant: fn(&Peer) -> bool) -> Vec<NodeId> {
        let running = self.members[member].running.as_ref();
        let Some(running) = running.filter(|running| self.network.is_running(running.index)) else {
            return Vec::new();
        };
        let peers = self.network.switch(running.index).peers();
        peers.iter().filter(|peer| is_meant(peer)).map(Peer::id).collect()
    }

    /// Sessions that it has had since it was started.
    pub(crate) fn sessions(&self, member: usize) -> u64 {
        let running = self.members[member].running.as_ref();
        running.map_or(0, |running| self.network.switch(running.index).metrics().sessions)
    }

    /// In how many networks (/16) these are.
    pub(crate) fn groups(&self, ids: &[NodeId]) -> usize {
        let group = |id: &NodeId| {
            let member = self.by_id.get(id)?;
            Some(self.members[*member].addr.group_key(true))
        };
        ids.iter().filter_map(group).collect::<BTreeSet<_>>().len()
    }

    /// Something between 0 and 1.
    pub(crate) fn chance(&mut self) -> f64 {
        self.rng.random_range(0.0..1.0)
    }
}
