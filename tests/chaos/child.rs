//! One of our nodes: a process that takes commands and answers in lines of JSON.

use std::{
    fs,
    io::stdin,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, SystemTime},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tmp2p::{
    ChannelDescriptor, Config, Event, NodeInfo, NodeKey, PeerAddress, ReactorSpec, Switch,
    SwitchHandle,
};

use crate::{ledger::Ledger, own};

/// Where a process finds what it is to be.
const SETTINGS: &str = "TMP2P_CHAOS_NODE";

/// The test that is no test: what the process runs.
pub(crate) const NAME: &str = "child::node";

/// What all nodes have.
pub(crate) const CHANNELS: [u8; 2] = [0x70, 0x71];

/// Between two messages of one node.
const PACE: Duration = Duration::from_millis(2);

/// How one of our nodes is started.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) home: PathBuf,
    pub(crate) laddr: SocketAddr,
    pub(crate) key: u8,
    pub(crate) dice: u64,
    pub(crate) persistent: Vec<String>,
}

impl Settings {
    /// For the process.
    pub(crate) fn environment(&self) -> (&'static str, String) {
        (SETTINGS, serde_json::to_string(self).unwrap())
    }

    pub(crate) fn key(&self) -> NodeKey {
        NodeKey::from_seed([self.key; 32])
    }

    /// What others dial.
    pub(crate) fn addr(&self) -> PeerAddress {
        format!("{}@{}", self.key().id(), self.laddr).parse().unwrap()
    }
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

    let config = Config {
        laddr: Some(settings.laddr.into()),
        persistent_peers: settings.persistent.iter().map(|addr| addr.parse().unwrap()).collect(),
        addr_book_file: Some(settings.home.join("addrbook.sqlite")),
        // These addresses mean something on this machine only.
        addr_book_strict: false,
        persistent_peers_max_dial_period: Duration::from_secs(3),
        // A line that is cut is noticed within this test.
        ping_interval: Duration::from_secs(4),
        pong_timeout: Duration::from_secs(3),
        ..Config::default()
    };
    let info = NodeInfo::new("interop", "ours").unwrap();
    let mut builder = Switch::builder(config, settings.key(), info);
    let channel = |id, priority| ChannelDescriptor::new(id).priority(priority);
    let spec = ReactorSpec::new("chaos").channel(channel(0x70, 1)).channel(channel(0x71, 5));
    let reactor = builder.reactor(spec).unwrap();
    let switch = builder.start().unwrap();
    let handle = switch.handle().clone();
    let ledger = Mutex::new(Ledger::default());
    let (is_calm, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    println!("{}", json!({ "event": "started", "resources": resources() }));

    thread::scope(|scope| {
        let mut numbers = StdRng::seed_from_u64(settings.dice);
        let shared = &ledger;
        scope.spawn(move || {
            for event in reactor.events() {
                let mut ledger = lock(shared);
                match event {
                    Event::PeerUp(peer) => ledger.up(peer, numbers.random()),
                    Event::PeerDown(peer, _) => ledger.down(&peer),
                    Event::Message(envelope) => ledger.message(&envelope),
                    _ => {}
                }
            }
        });
        let dice = StdRng::seed_from_u64(settings.dice + 1);
        scope.spawn(|| pour(&handle, &ledger, dice, [&is_calm, &is_over]));
        for line in stdin().lines() {
            match &*line.unwrap() {
                "calm" => is_calm.store(true, SeqCst),
                "report" => {
                    let mut report = lock(&ledger).report();
                    report["resources"] = resources();
                    let shown = SystemTime::UNIX_EPOCH.elapsed().unwrap();
                    report["clock"] = shown.as_secs().into();
                    println!("{report}");
                }
                "stop" => break,
                other => panic!("no command {other:?}"),
            }
        }
        is_over.store(true, SeqCst);
        switch.stop(Duration::from_secs(20)).unwrap();
    });
    let faults = lock(&ledger).report()["faults"].clone();
    println!("{}", json!({ "event": "stopped", "faults": faults }));
}

/// Sends to everybody what there is room for, until it is over.
fn pour(
    handle: &SwitchHandle,
    ledger: &Mutex<Ledger>,
    mut dice: StdRng,
    [is_calm, is_over]: [&AtomicBool; 2],
) {
    while !is_over.load(SeqCst) {
        // Not a wait for anything: the rate of the messages.
        thread::sleep(PACE);
        if is_calm.load(SeqCst) {
            continue;
        }
        for peer in handle.peers() {
            let channel = CHANNELS[dice.random_range(0..CHANNELS.len())];
            let size =
                if dice.random_range(0..50) == 0 { 20_000 } else { dice.random_range(16..600) };
            lock(ledger).send(&peer, channel, size);
        }
    }
}

/// The library's threads by name, and open descriptors.
fn resources() -> serde_json::Value {
    let (threads, descriptors) = own::resources();
    // One that is closed by now is none.
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|open| fs::read_link(open.unwrap().path()).ok());
    let sockets = open.filter(|what| what.to_string_lossy().starts_with("socket:")).count();
    let others = descriptors.saturating_sub(sockets);
    json!({ "threads": threads, "sockets": sockets, "others": others })
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
