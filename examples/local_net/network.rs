//! All nodes, and what is done with them.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tmp2p::{NodeId, PeerAddress, Switch};

use crate::{
    cli,
    interrupt::Interrupt,
    mempool::{self, Hash},
    node::{self, Node},
    pattern,
};

/// How long nodes may take to see what happened to another one.
const PATIENCE: Duration = Duration::from_secs(15);
/// Messages that carry transactions in one step, roughly, and bytes of a transaction.
const GOSSIPED: usize = 50_000;
const TX_BYTES: usize = 250;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

pub(crate) struct Network<'a> {
    interrupt: &'a Interrupt,
    ids: Arc<[NodeId]>,
    pub(crate) clock: Instant,
    /// `None` once it is dead.
    seed: Option<Switch>,
    /// The only address that the nodes are told.
    seed_addr: Option<PeerAddress>,
    /// `None` while it is dead.
    nodes: Vec<Option<Node>>,
    /// Where each one is reached, dead or alive.
    addrs: Vec<Option<PeerAddress>>,
    /// Messages that each node has sent to all others, in the last round.
    pub(crate) sent: Vec<u64>,
    pub(crate) rounds: u32,
    /// Transactions that all nodes are to have.
    txs: Vec<Hash>,
    /// Transactions ever made.
    num_txs: u64,
    /// The last field: dropped when nobody writes into it any more.
    folder: TempDir,
}

/// One line of the summary.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) peers: usize,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) bytes: u64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl<'a> Network<'a> {
    /// An empty network for this many nodes, each with a folder of its own. What waits gives up once
    /// the program is to end.
    pub(crate) fn new(nodes: usize, interrupt: &'a Interrupt) -> Result<Self, String> {
        let folder = TempDir::with_prefix("local_net-").map_err(|error| error.to_string())?;
        interrupt.removes(folder.path());
        let ids: Result<Vec<NodeId>, String> =
            (0..nodes).map(|i| Ok(node::key(&home(&folder, i))?.id())).collect();
        Ok(Self {
            interrupt,
            ids: ids?.into(),
            clock: Instant::now(),
            seed: None,
            seed_addr: None,
            nodes: (0..nodes).map(|_| None).collect(),
            addrs: vec![None; nodes],
            sent: vec![0; nodes],
            rounds: 0,
            txs: Vec::new(),
            num_txs: 0,
            folder,
        })
    }

    pub(crate) fn start_all(&mut self) -> Result<String, String> {
        let seed = node::start_seed(self.nodes.len())?;
        self.seed_addr = seed.handle().peer_address();
        self.seed = Some(seed);
        for number in 0..self.nodes.len() {
            self.interrupt.check()?;
            self.start(number)?;
        }
        Ok(format!("a seed, and {} nodes that know only it", self.nodes.len()))
    }

    fn start(&mut self, number: usize) -> Result<(), String> {
        let home = home(&self.folder, number);
        let before = self.addrs[number].as_ref().and_then(PeerAddress::net_address);
        let laddr = before.map(|addr| addr.socket_addr());
        let seed = self.seed_addr.as_ref().ok_or("there never was a seed")?;
        let node = Node::start(number, &home, laddr, seed, self.ids.clone(), self.clock)?;
        self.addrs[number] = node.handle().peer_address();
        self.nodes[number] = Some(node);
        Ok(())
    }

    /// The nodes that live, with their numbers.
    pub(crate) fn living(&self) -> impl Iterator<Item = (usize, &Node)> + Clone {
        self.nodes.iter().enumerate().filter_map(|(i, node)| Some((i, node.as_ref()?)))
    }

    /// They ask the seed, which has to reach them before it tells of them; then they ask each other.
    pub(crate) fn find_all(&self) -> Result<String, String> {
        self.wait_until("everybody to have everybody as a peer", || self.is_full_mesh())?;
        let connections = self.living().map(|(_, node)| node.num_peers()).sum::<usize>() / 2;
        Ok(format!("{}, all with all", cli::counted(connections, "connection")))
    }

    /// The seed is dropped without a word. Nobody needs it any more.
    pub(crate) fn kill_seed(&mut self) -> Result<String, String> {
        drop(self.seed.take().ok_or("it is dead already")?);
        if !self.is_full_mesh() {
            return Err("the nodes have lost each other with the seed".to_owned());
        }
        Ok("the seed is gone, and nobody misses it".to_owned())
    }

    /// All nodes stop and start again, with what is in their books and without the seed.
    pub(crate) fn restart_all(&mut self) -> Result<String, String> {
        self.stop()?;
        // What is not in a block is in memory only.
        self.txs.clear();
        for number in 0..self.nodes.len() {
            self.start(number)?;
        }
        let books = self.living().filter_map(|(_, node)| node.handle().book().ok());
        let least = books.map(|book| book.addresses.len()).min().unwrap_or(0);
        let found = self.find_all()?;
        Ok(format!("{least} or more addresses in each book:\n{found}"))
    }

    /// Transactions are handed to one node after the other. They go from peer to peer to everybody,
    /// also to who comes a little later, and are new to each node once.
    pub(crate) fn gossip(&mut self) -> Result<String, String> {
        let nodes = self.living().count();
        // Every node tells almost every other one, whoever told it.
        let count = (GOSSIPED / (nodes * nodes)).clamp(10, 200);
        let made: Vec<_> = (0..count)
            .map(|n| pattern::message(u64::MAX, self.num_txs + n as u64, TX_BYTES))
            .collect();
        self.num_txs += count as u64;
        self.txs.extend(made.iter().map(|tx| mempool::hash(tx)));
        for (tx, (_, node)) in made.into_iter().zip(self.living().cycle()) {
            node.mempool.submit(tx)?;
        }
        let all = self.txs.len();
        self.wait_until("everybody to have every transaction", || {
            // What is wrong stays so, and is told below.
            self.living().all(|(_, node)| node.mempool.count(&self.txs).unwrap_or(all) == all)
        })?;
        for (i, node) in self.living() {
            node.mempool.count(&self.txs).map_err(|why| format!("node {i}: {why}"))?;
        }
        let before = match all - count {
            0 => String::new(),
            before => format!(" and the {before} before"),
        };
        Ok(format!("{count} transactions, each given to one node:\nall {nodes} have them{before}"))
    }

    /// The node is dropped without a word; the others must notice.
    pub(crate) fn kill(&mut self, victim: usize) -> Result<String, String> {
        self.living().for_each(|(_, node)| node.tally().left.clear());
        let id = self.ids[victim];
        self.nodes[victim].take().ok_or("it is dead already")?.kill();
        self.wait_until("everybody to notice", || {
            self.living().all(|(_, node)| {
                node.tally().left.iter().any(|left| left.id == id)
                    && node.handle().peer(id).is_none()
            })
        })?;
        let mut kinds = BTreeMap::<&str, usize>::new();
        for (_, node) in self.living() {
            for left in &node.tally().left {
                if left.id != id && self.ids.contains(&left.id) {
                    return Err(format!("{} is gone too: {}", left.id, left.why));
                }
                if left.id == id {
                    *kinds.entry(left.kind).or_default() += 1;
                }
            }
        }
        let kinds: Vec<String> =
            kinds.into_iter().map(|(kind, nodes)| format!("{nodes} × {kind}")).collect();
        Ok(format!("node {victim} is gone, the others saw:\n{}", kinds.join(", ")))
    }

    /// The node comes back with the same key, address and book. Nobody is told.
    pub(crate) fn restart(&mut self, victim: usize) -> Result<String, String> {
        self.start(victim)?;
        self.wait_until("everybody to have everybody as a peer", || self.is_full_mesh())?;
        Ok(format!("node {victim} is back as {}", short(&self.ids[victim])))
    }

    pub(crate) fn stop(&mut self) -> Result<String, String> {
        let nodes: Vec<Node> = self.nodes.iter_mut().filter_map(Option::take).collect();
        let number = nodes.len();
        // At the same time: each waits for what its peers have yet to take.
        let stop = |node: Node| cli::spawn("stop", move || node.stop());
        let threads: Result<Vec<_>, _> = nodes.into_iter().map(stop).collect();
        for thread in threads.map_err(|why| why.to_string())? {
            thread.join().map_err(|_| "a node has panicked".to_owned())??;
        }
        Ok(format!("{number} nodes, every thread joined"))
    }

    /// Ends what still runs, and removes all folders.
    pub(crate) fn close(self) -> Result<(), String> {
        let Self { folder, nodes, seed, .. } = self;
        drop((nodes, seed));
        let path = folder.path().display().to_string();
        folder.close().map_err(|error| format!("cannot remove {path}: {error}"))
    }

    /// An error once the program is to end.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.interrupt.check()
    }

    /// What each node has done in the last round.
    pub(crate) fn summary(&self) -> Vec<Row> {
        let rows = self.living().map(|(i, node)| {
            let peers = node.num_peers();
            let tally = node.tally();
            Row {
                name: i.to_string(),
                id: short(&self.ids[i]),
                peers,
                sent: self.sent[i] * peers as u64,
                received: tally.received,
                bytes: tally.bytes,
                p50: tally.latency.percentile(0.5),
                p99: tally.latency.percentile(0.99),
            }
        });
        let mut rows: Vec<Row> = rows.collect();
        let mut latency = crate::latency::Latency::new();
        self.living().for_each(|(_, node)| latency.merge(&node.tally().latency));
        rows.push(Row {
            name: "all".to_owned(),
            id: String::new(),
            peers: rows.iter().map(|row| row.peers).sum::<usize>() / 2,
            sent: rows.iter().map(|row| row.sent).sum(),
            received: rows.iter().map(|row| row.received).sum(),
            bytes: rows.iter().map(|row| row.bytes).sum(),
            p50: latency.percentile(0.5),
            p99: latency.percentile(0.99),
        });
        rows
    }

    fn is_full_mesh(&self) -> bool {
        let others = self.living().count() - 1;
        self.living().all(|(_, node)| node.num_peers() == others)
    }

    fn wait_until(&self, what: &str, is_done: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while !is_done() {
            self.check()?;
            if Instant::now() > deadline {
                return Err(format!("waited {PATIENCE:?} for {what}"));
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

fn home(folder: &TempDir, number: usize) -> PathBuf {
    folder.path().join(format!("node{number}"))
}

fn short(id: &NodeId) -> String {
    id.to_string().chars().take(8).collect()
}
