//! The reactor of the mempool channel: transactions come in from peers, standard input and the RPC
//! server, and go out to everybody else.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read},
    time::Instant,
};

use tmp2p::{
    ConnId, Envelope, Event, Peer, SendErrorKind,
    crossbeam_channel::{Receiver, Sender, never, select},
};

use crate::{
    cli::{self, Failure},
    mempool::{self, Hash},
    verdict,
};

/// The channel of transactions.
pub(crate) const MEMPOOL_CHANNEL: u8 = 0x30;

/// A transaction of this machine, and where it came from.
pub(crate) struct Submitted {
    pub(crate) tx: Vec<u8>,
    pub(crate) from: &'static str,
}

/// What the reactor sees.
pub(crate) enum Seen<'a> {
    /// Of the switch, before anything is done about it.
    Event(&'a Event),
    /// A new transaction, and where it came from: a peer's ID, or what was said with it.
    Tx { hash: Hash, bytes: usize, from: &'a str },
}

/// The reactor, and who is told what it sees.
pub(crate) struct Relay<T> {
    tell: T,
    max_tx_bytes: usize,
    mempool: mempool::Relay,
    peers: BTreeMap<ConnId, Peer>,
    started: Instant,
}

impl<T: FnMut(Seen<'_>)> Relay<T> {
    pub(crate) fn new(max_tx_bytes: usize, tell: T) -> Self {
        let mempool = mempool::Relay::new(max_tx_bytes);
        Self { tell, max_tx_bytes, mempool, peers: BTreeMap::new(), started: Instant::now() }
    }

    pub(crate) fn run(mut self, events: &Receiver<Event>, mut submitted: Receiver<Submitted>) {
        loop {
            select! {
                recv(events) -> event => match event {
                    Ok(event) => self.handle(event),
                    // The switch has stopped.
                    Err(_) => return,
                },
                recv(submitted) -> tx => match tx {
                    Ok(Submitted { tx, from }) => self.take(tx, None, from),
                    Err(_) => submitted = never(),
                },
            }
        }
    }

    fn handle(&mut self, event: Event) {
        (self.tell)(Seen::Event(&event));
        match event {
            Event::PeerUp(peer) if peer.has_channel(MEMPOOL_CHANNEL) => {
                self.mempool.peer_up(peer.conn(), peer.id(), self.started.elapsed());
                self.send(&peer);
                self.peers.insert(peer.conn(), peer);
            }
            Event::Message(envelope) => self.receive(&envelope),
            Event::Writable(peer, _) => self.send(&peer),
            Event::PeerDown(peer, _) => {
                self.mempool.peer_down(peer.conn());
                self.peers.remove(&peer.conn());
            }
            _ => {}
        }
    }

    fn receive(&mut self, envelope: &Envelope) {
        let peer = envelope.peer();
        let txs = match mempool::decode(envelope.payload()) {
            Ok(txs) => txs,
            Err(why) => return verdict::bad(peer, why),
        };
        for tx in txs {
            // A network whose nodes take larger ones: nothing that this one could relay.
            if tx.len() <= self.max_tx_bytes {
                self.take(tx, Some(peer), "");
            }
        }
    }

    fn take(&mut self, tx: Vec<u8>, from: Option<&Peer>, source: &str) {
        let (bytes, now) = (tx.len(), self.started.elapsed());
        let sender = from.map(|peer| (peer.conn(), peer.id()));
        let Some(hash) = self.mempool.take(tx, sender, now) else { return };
        if let Some(peer) = from {
            verdict::good(peer);
        }
        let from = from.map_or_else(|| source.to_owned(), |peer| peer.id().to_string());
        (self.tell)(Seen::Tx { hash, bytes, from: &from });
        for peer in self.peers.values() {
            send(&mut self.mempool, peer);
        }
    }

    fn send(&mut self, peer: &Peer) {
        send(&mut self.mempool, peer);
    }
}

/// Sends what waits for this peer as long as its queue takes it; `Writable` tells when to go on.
fn send(mempool: &mut mempool::Relay, peer: &Peer) {
    while let Some(tx) = mempool.next(peer.conn()) {
        match peer.try_send(MEMPOOL_CHANNEL, tx.message.clone()) {
            Err(error) if error.kind == SendErrorKind::Full => return,
            // Too late or not for this peer: no reason to keep it.
            Ok(()) | Err(_) => mempool.sent(peer.conn()),
        }
    }
}

/// Every line of standard input is a transaction. The thread ends with the input or the process.
pub(crate) fn read_stdin(submitted: Sender<Submitted>, max_tx_bytes: usize) -> Result<(), Failure> {
    cli::spawn("stdin", move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut tx = Vec::new();
            // One more, to see that a line is too long.
            match stdin.by_ref().take(max_tx_bytes as u64 + 2).read_until(b'\n', &mut tx) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => return log::warn!("no more transactions from stdin: {error}"),
            }
            if tx.last() == Some(&b'\n') {
                tx.pop();
            }
            if tx.last() == Some(&b'\r') {
                tx.pop();
            }
            if tx.len() > max_tx_bytes {
                return log::warn!(
                    "a line on stdin has more than {max_tx_bytes} bytes: the rest is not read"
                );
            }
            if !tx.is_empty() && submitted.send(Submitted { tx, from: "stdin" }).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
