//! A node's reactor of transactions, the same as that of `full_node`: what is handed to one node
//! reaches all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use tmp2p::{
    Reactor,
    crossbeam_channel::{Sender, unbounded},
};

use crate::{
    cli::{self, Failure},
    mempool::{DEFAULT_MAX_TX_BYTES, Hash},
    node::lock,
    relay::{Relay, Seen, Submitted},
};

/// How often each transaction was new to the node.
type Known = BTreeMap<Hash, u32>;

pub(crate) struct Mempool {
    submit: Sender<Submitted>,
    known: Arc<Mutex<Known>>,
    relay: JoinHandle<()>,
}

impl Mempool {
    pub(crate) fn start(reactor: Reactor) -> Result<Self, Failure> {
        let (submit, submitted) = unbounded();
        let known = Arc::<Mutex<Known>>::default();
        let shared = known.clone();
        let relay = Relay::new(DEFAULT_MAX_TX_BYTES, move |seen: Seen<'_>| {
            if let Seen::Tx { hash, .. } = seen {
                *lock(&shared).entry(hash).or_default() += 1;
            }
        });
        let relay = cli::spawn("mempool", move || relay.run(reactor.events(), submitted))?;
        Ok(Self { submit, known, relay })
    }

    /// Hands the node a transaction of its own.
    pub(crate) fn submit(&self, tx: Vec<u8>) -> Result<(), String> {
        self.submit.send(Submitted { tx, from: "here" }).map_err(|_| "the node has stopped".into())
    }

    /// How many of these the node has. An error: it has taken one twice.
    pub(crate) fn count(&self, txs: &[Hash]) -> Result<usize, String> {
        let known = lock(&self.known);
        match known.values().find(|times| **times > 1) {
            Some(times) => Err(format!("one transaction was new {times} times")),
            None => Ok(txs.iter().filter(|hash| known.contains_key(*hash)).count()),
        }
    }

    /// Waits for the thread, which ends with the switch.
    pub(crate) fn join(self) -> thread::Result<()> {
        self.relay.join()
    }
}
