//! The examples in a network with complete Go nodes.
//!
//! What these do on their own cannot be hurried: they look for peers when they start, when a seed
//! answers, and then every 30 seconds.

mod node;

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tempfile::TempDir;
use tmp2p::{
    BookKey, NetAddress, NodeId, PeerAddress, Placement,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts, json},
};

use self::node::{Chain, Node};
use crate::{
    figure,
    go::{Release, text},
    program::{Program, command},
};

for_each_release![
    our_seed_bootstraps_real_nodes,
    full_node_follows_a_chain,
    a_joiner_is_not_held_up_by_ours,
    a_real_seed_bootstraps_ours,
    mixed_network,
    address_books_are_exchanged,
];

/// For one event: twice what the nodes wait between two attempts.
const DEADLINE: Duration = Duration::from_secs(60);

/// Between two looks at what can only be asked for.
const POLL: Duration = Duration::from_millis(100);

fn our_seed_bootstraps_real_nodes(release: Release) {
    let chain = Chain::new(release);
    let seed = Ours::start("seed", &chain, &["--p2p.crawl_period=5s"]);
    let seeds = seeds(&seed.addr());
    let started = Instant::now();
    let validator = chain.validator(&seeds);
    // Else the second one may be told of nobody, and ask again after half a minute.
    seed.event("book", |event| event["addresses"] == 1);
    let other = chain.node("1", &seeds);
    validator.wait_for_peer(&other.id());
    other.wait_for_peer(&validator.id());
    figure(format_args!("go {release:?}: bootstrapped after {:?}", started.elapsed()));
    // The other one can know blocks only from the validator.
    other.wait("/status", |status| height(status) >= 2);
    seed.event("book", |event| event["addresses"] == 2);
    seed.assert_content();
    validator.assert_content();
    other.assert_content();
}

fn full_node_follows_a_chain(release: Release) {
    const BLOCKS: u64 = 12;
    let chain = Chain::new(release);
    // Slow enough for a busy machine to tell each height before the next one.
    let settings = "consensus.timeout_commit = \"1s\"\nlog_level = \"consensus:debug,*:info\"";
    let validator = chain.validator(settings);
    let peer = format!("--p2p.persistent_peers={}", validator.addr);
    let ours = Ours::start("full_node", &chain, &[&peer]);
    let started = Instant::now();
    let first = ours.event("height", |_| true)["height"].as_u64().unwrap();
    ours.event("height", |event| event["height"].as_u64() >= Some(first + BLOCKS));
    figure(format_args!("go {release:?}: {BLOCKS} blocks followed in {:?}", started.elapsed()));
    let shown = height(&ours.program.call("/status"));
    assert!(shown >= first + BLOCKS - 1, "{shown}, not {first} + {BLOCKS} - 1");

    // Quotes as they are, as curl sends them, and encoded.
    for (tx, key, value) in [("\"ours=1\"", "ours", "MQ=="), ("%22more=2%22", "more", "Mg==")] {
        let sent = ours.program.call(&format!("/broadcast_tx_async?tx={tx}"));
        let found = format!("/tx?hash=0x{}", text(&sent, "hash"));
        let found = validator.wait(&found, |tx| !tx.is_null());
        assert!(text(&found, "height").parse::<u64>().unwrap() > first, "{found}");
        let stored = validator.call(&format!("/abci_query?data=%22{key}%22"));
        assert_eq!(stored["response"]["value"], value, "{stored}");
    }

    let sent = validator.call("/broadcast_tx_sync?tx=%22theirs=3%22");
    assert_eq!(sent["code"], 0, "{sent}");
    let came = ours.event("tx", |event| event["hash"] == sent["hash"]);
    assert_eq!((text(&came, "from"), &came["bytes"]), (&*validator.id(), &8.into()));
    // The fault: v0.34 tried without a pause, from each block until it was told a new height.
    let vain = validator.logged("Sending block part for catchup failed");
    figure(format_args!("go {release:?}: parts of blocks offered in vain: {vain}"));
    assert_eq!(vain, 0);
    ours.assert_content();
    validator.assert_content();
}

/// The fault: a node that joined a chain with ours as its first peer took the answer "no blocks" for
/// the end of the chain, and left fast sync at height 0.
fn a_joiner_is_not_held_up_by_ours(release: Release) {
    const BLOCKS: u64 = 500;
    let chain = Chain::new(release);
    let fast = chain.validator("consensus.timeout_commit = \"1ms\"");
    fast.wait("/status", |status| height(status) >= BLOCKS);
    fast.stop();
    // No more of them, so that there is an end.
    let validator = chain.validator("consensus.timeout_commit = \"300s\"");
    let tip = height(&validator.call("/status"));
    let ours =
        Ours::start("full_node", &chain, &[&format!("--p2p.persistent_peers={}", validator.addr)]);
    ours.event("peer_up", |_| true);

    let mut times = Vec::new();
    let mut joined: Vec<Node> = Vec::new();
    for with_ours in [false, true, true] {
        let mut peers = vec![validator.addr.to_string()];
        if with_ours {
            // Dialed first or last: it comes to the same.
            peers.push(ours.addr().to_string());
        }
        // The third time two nodes have the blocks.
        peers.extend(joined.first().filter(|_| joined.len() > 1).map(|node| node.addr.to_string()));
        let started = Instant::now();
        let settings = format!("p2p.persistent_peers = \"{}\"", peers.join(","));
        let joiner = chain.node(&format!("joiner{}", times.len()), &settings);
        if with_ours {
            joiner.wait_for_peer(&ours.id());
        }
        let synced = joiner.wait("/status", |status| status["sync_info"]["catching_up"] == false);
        times.push(started.elapsed());
        // Fast sync leaves the last block to consensus.
        let at = height(&synced);
        assert!(at + 2 >= tip, "taken for the end at {at} of {tip}");
        // On a busy machine v0.38 finds fault with blocks of its own kind that come late.
        joined.push(joiner);
    }
    ours.assert_content();
    figure(format_args!(
        "go {release:?}: {tip} blocks caught up with without ours in {:?}, with it {:?} and {:?}",
        times[0], times[1], times[2]
    ));
}

fn a_real_seed_bootstraps_ours(release: Release) {
    let chain = Chain::new(release);
    let known = Ours::start("full_node", &chain, &[]);
    // As a persistent peer it is in the Go seed's book; its own seeds would not be.
    let settings = format!("p2p.seed_mode = true\np2p.persistent_peers = \"{}\"", known.addr());
    let seed = chain.validator(&settings);
    known.event("peer_up", |event| event["id"] == seed.id());
    let knows = [&format!("--p2p.seeds={}", seed.addr), "--p2p.ensure_peers_period=1s"];
    let started = Instant::now();
    let ours = [(); 2].map(|()| Ours::start("full_node", &chain, &knows));
    for (node, other) in [(&ours[0], &ours[1]), (&ours[1], &ours[0])] {
        node.event("peer_up", |event| event["id"] == other.id());
        node.event("peer_up", |event| event["id"] == known.id());
    }
    figure(format_args!("go {release:?}: a Go seed, bootstrapped after {:?}", started.elapsed()));
    ours.iter().chain([&known]).for_each(Ours::assert_content);
    seed.assert_content();
}

fn mixed_network(release: Release) {
    let _alone = crate::alone();
    let chain = Chain::new(release);
    let seed = Ours::start("seed", &chain, &["--p2p.crawl_period=5s"]);
    let started = Instant::now();
    let settings = format!("p2p.max_num_outbound_peers = 3\n{}", seeds(&seed.addr()));
    let knows = [
        &format!("--p2p.seeds={}", seed.addr()),
        "--p2p.max_num_outbound_peers=3",
        "--p2p.ensure_peers_period=1s",
    ];
    let ours = [(); 4].map(|()| Ours::start("full_node", &chain, &knows));
    let mut theirs = vec![chain.validator(&settings)];
    theirs.extend(["1", "2", "3"].map(|name| chain.node(name, &settings)));

    let graph = wait(2 * DEADLINE, || {
        let ours = ours.iter().map(|node| (node.id(), node.peers()));
        let theirs = theirs.iter().map(|node| (node.id(), node.peers()));
        let graph: BTreeMap<_, _> = ours.chain(theirs).collect();
        if is_connected(&graph) { Ok(graph) } else { Err(format!("not connected: {graph:#?}")) }
    });
    let sizes: Vec<usize> = graph.values().map(BTreeSet::len).collect();
    figure(format_args!("go {release:?}: connected after {:?}: {sizes:?}", started.elapsed()));
    // Who has the validator as a peer hears of the chain, as far as half of its Go peers do: ours do
    // not take each other's word, and a Go node that has peers of ours only gets no blocks. Before
    // that it says nothing of its height, afterwards its old one for ever.
    wait(2 * DEADLINE, || {
        let states = theirs.iter().map(|node| (node.id(), node.call("/status")));
        let states: BTreeMap<String, Value> = states.collect();
        let tip = height(&states[&theirs[0].id()]);
        let behind = ours.iter().filter_map(|node| {
            let peers = node.peers();
            let claims = states.iter().filter(|(id, state)| {
                peers.contains(*id) && state["sync_info"]["catching_up"] == false
            });
            let mut claims: Vec<u64> = claims.map(|(_, state)| height(state)).collect();
            claims.sort_unstable_by(|a, b| b.cmp(a));
            let half = claims.len().div_ceil(2).max(2).min(claims.len());
            let known = height(&node.program.call("/status"));
            let hears = !peers.contains(&theirs[0].id())
                || known >= claims.get(half.wrapping_sub(1)).copied().unwrap_or(0);
            (!hears).then(|| format!("{} knows {known} of {claims:?}", node.id()))
        });
        let behind: Vec<String> = behind.collect();
        if tip >= 3 && behind.is_empty() { Ok(()) } else { Err(format!("{tip}: {behind:?}")) }
    });
    theirs.iter().for_each(Node::assert_content);
    ours.iter().chain([&seed]).for_each(Ours::assert_content);
}

/// A Go node with an address book that we wrote finds the node in it; what it makes of that file is
/// read by us.
fn address_books_are_exchanged(release: Release) {
    let chain = Chain::new(release);
    let known = Ours::start("full_node", &chain, &[]);
    let alive = known.addr().net_address().unwrap();
    let now = SystemTime::now();
    let mut rng = StdRng::seed_from_u64(1);
    let own = NodeId::from_bytes([0; 20]);
    let settings = BookSettings { own, is_strict: false, limits: BookLimits::default() };
    let mut book = Book::new(settings, BookKey::random(&mut rng));
    // Nobody is at the others: port 1.
    let dead = (1..=4).map(|n| NetAddress::new(NodeId::from_bytes([n; 20]), alive.ip(), 1));
    for addr in dead.chain([alive]) {
        book.add(addr, addr, now, &mut rng).unwrap();
    }
    book.attempted(&alive, now);
    book.authenticated(&alive, &NodeFacts::default(), now);
    book.mark_good(&alive.id(), now, &mut rng);
    assert_eq!((book.num_new(), book.num_old()), (4, 1));
    let started = Instant::now();
    let node = chain.node_with_book("1", &json::write(&book, now));
    known.event("peer_up", |event| event["id"] == node.id());
    figure(format_args!("go {release:?}: found ours in our book after {:?}", started.elapsed()));
    node.assert_content();

    let file = node.stop();
    let theirs = json::parse(&file).unwrap();
    // Both by ID.
    let ids: Vec<NodeId> = theirs.addresses.iter().map(|known| known.addr.id()).collect();
    let expected: Vec<NodeId> = book.iter().map(|known| known.addr.id()).collect();
    assert_eq!(ids, expected);
    let back = theirs.addresses.iter().find(|known| known.addr == alive).unwrap();
    assert!(matches!(back.placement, Placement::Old(_)), "{back:?}");
    assert_eq!(theirs.key, book.key().text);
    let mut again = Book::new(settings, BookKey::random(&mut rng));
    assert_eq!(again.import(theirs, now, &mut rng).added, 5);
    assert_eq!((again.num_new(), again.num_old()), (4, 1));
}

/// An example of ours, in a home of its own.
struct Ours {
    program: Program,
    _home: TempDir,
}

impl Ours {
    fn start(name: &str, chain: &Chain, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(name, home.path());
        command.args(["--chain-id", &chain.id]).args(flags);
        if name == "full_node" {
            command.args(["--rpc.laddr", "tcp://127.0.0.1:0"]);
        }
        Self { program: Program::start(command), _home: home }
    }

    #[track_caller]
    fn addr(&self) -> PeerAddress {
        self.program.addr()
    }

    #[track_caller]
    fn id(&self) -> String {
        self.addr().id().to_string()
    }

    #[track_caller]
    fn event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.program.event_within(DEADLINE, name, fits)
    }

    /// The IDs of the peers that it has now.
    #[track_caller]
    fn peers(&self) -> BTreeSet<String> {
        peers(&self.program.call("/net_info"))
    }

    /// Fails if it has banned somebody.
    #[track_caller]
    fn assert_content(&self) {
        let seen = self.program.seen();
        let banned: Vec<_> = seen.iter().filter(|event| event["event"] == "banned").collect();
        assert!(banned.is_empty(), "{banned:#?}");
    }
}

impl Node {
    fn id(&self) -> String {
        self.addr.id().to_string()
    }
}

/// The line of a configuration file that names the only seed.
fn seeds(addr: &PeerAddress) -> String {
    format!("p2p.seeds = \"{addr}\"")
}

/// The latest height of an answer to `/status`.
#[track_caller]
fn height(status: &Value) -> u64 {
    text(&status["sync_info"], "latest_block_height").parse().unwrap()
}

/// The IDs in an answer to `/net_info`.
#[track_caller]
fn peers(info: &Value) -> BTreeSet<String> {
    let peers = info["peers"].as_array().unwrap_or_else(|| panic!("no peers in {info}"));
    peers.iter().map(|peer| text(&peer["node_info"], "id").to_owned()).collect()
}

/// Whether each node reaches all others over connections between these nodes.
fn is_connected(graph: &BTreeMap<String, BTreeSet<String>>) -> bool {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = graph.keys().take(1).collect();
    while let Some(node) = next.pop() {
        // Peers that are no such node: the seed.
        if let Some(peers) = graph.get(node)
            && reached.insert(node)
        {
            next.extend(peers);
        }
    }
    reached.len() == graph.len()
}

/// Looks again and again until there is what was looked for; else the last reason why not.
#[track_caller]
fn wait<T>(deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + deadline;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
        thread::sleep(POLL);
    }
}
