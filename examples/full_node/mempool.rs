//! Which transaction goes to which peer. Pure: no sockets, no clocks.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use ring::digest::{SHA256, digest};
use tmp2p::{ConnId, NodeId, Payload};

/// Largest transaction where nobody says otherwise, bytes: Tendermint's default of `max_tx_bytes`.
pub(crate) const DEFAULT_MAX_TX_BYTES: usize = 1 << 20;

/// Most transactions of a message. Tendermint's nodes send one; without a limit a message of a
/// megabyte could carry 350,000, each with a hash to compute and a place in every peer's queue.
const MAX_TXS: usize = 1000;

/// Hashes remembered, so that a transaction that goes round in circles is relayed once: ten times
/// Tendermint's cache.
const MAX_SEEN: usize = 100_000;

/// How long a transaction is also sent to peers that come later: by then it is in a block, or in
/// the mempools of all others.
const RECENT: Duration = Duration::from_secs(60);

/// Most such transactions; beyond it the oldest go first.
const MAX_RECENT: usize = 1000;

/// Most transactions that wait for one peer, so that a peer that does not read cannot make us hold
/// everything. Tendermint's mempool has 5000.
const MAX_WAITING: usize = 5000;

/// Bytes of the recent ones, and of those that wait for one peer; two of the largest fit in any case.
const MAX_BYTES: usize = 16 << 20;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// `tendermint.mempool.Message`.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, optional, tag = "1")]
    txs: Option<Txs>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Txs {
    #[prost(bytes = "vec", repeated, tag = "1")]
    txs: Vec<Vec<u8>>,
}

/// The transactions of a message; an error says what is wrong with it.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let no_message = |error| format!("no mempool message: {error}");
    if count(payload).map_err(no_message)? > MAX_TXS {
        return Err(format!("a mempool message of more than {MAX_TXS} transactions"));
    }
    Ok(Message::decode(payload).map_err(no_message)?.txs.unwrap_or_default().txs)
}

/// How many transactions a message has, before anything is made of them.
fn count(mut payload: &[u8]) -> Result<usize, prost::DecodeError> {
    let mut count = 0;
    while let Some(mut txs) = field(&mut payload)? {
        while field(&mut txs)?.is_some() {
            count += 1;
        }
    }
    Ok(count)
}

/// The next field number 1 with a length; others are passed over.
fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, prost::DecodeError> {
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(rest)?;
        if (tag, wire_type) != (1, WireType::LengthDelimited) {
            skip_field(wire_type, tag, rest, DecodeContext::default())?;
            continue;
        }
        let len = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
        let Some((value, after)) = rest.split_at_checked(len) else {
            *rest = &[];
            return Ok(None); // cut off: decoding says so
        };
        *rest = after;
        return Ok(Some(value));
    }
    Ok(None)
}

/// A transaction's hash as Tendermint writes it.
pub(crate) fn shown(hash: &Hash) -> String {
    hex::encode_upper(hash)
}

pub(crate) fn hash(tx: &[u8]) -> Hash {
    let digest = digest(&SHA256, tx);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A transaction on its way.
pub(crate) struct Tx {
    pub(crate) hash: Hash,
    /// The message that carries it, and it alone, as Tendermint sends them.
    pub(crate) message: Payload,
}

/// Decides which transaction goes to which peer: each once to everybody who did not send it, and
/// again only to who was gone in between.
pub(crate) struct Relay {
    max_bytes: usize,
    seen: BTreeSet<Hash>,
    /// The same, in the order of arrival.
    seen_order: VecDeque<Hash>,
    recent: BTreeMap<Hash, Recent>,
    recent_order: VecDeque<Hash>,
    recent_bytes: usize,
    outboxes: BTreeMap<ConnId, Outbox>,
}

struct Recent {
    tx: Arc<Tx>,
    at: Duration,
    /// Who has it, or has been queued to get it.
    told: BTreeSet<NodeId>,
}

/// What waits for one peer.
struct Outbox {
    id: NodeId,
    queue: VecDeque<Arc<Tx>>,
    bytes: usize,
    /// Of the queue, what the peer has not sent us in the meantime.
    wanted: BTreeSet<Hash>,
}

impl Relay {
    /// For transactions of at most so many bytes.
    pub(crate) fn new(max_tx_bytes: usize) -> Self {
        Self {
            max_bytes: MAX_BYTES.max(max_tx_bytes.saturating_mul(2)),
            seen: BTreeSet::new(),
            seen_order: VecDeque::new(),
            recent: BTreeMap::new(),
            recent_order: VecDeque::new(),
            recent_bytes: 0,
            outboxes: BTreeMap::new(),
        }
    }

    /// A transaction has come, from a peer or from this machine; its hash if it is a new one.
    pub(crate) fn take(
        &mut self,
        tx: Vec<u8>,
        from: Option<(ConnId, NodeId)>,
        now: Duration,
    ) -> Option<Hash> {
        let hash = hash(&tx);
        if let Some(outbox) = from.and_then(|(conn, _)| self.outboxes.get_mut(&conn)) {
            outbox.wanted.remove(&hash);
        }
        let sender = from.map(|(_, id)| id);
        if !self.seen.insert(hash) {
            if let Some(recent) = self.recent.get_mut(&hash) {
                recent.told.extend(sender);
            }
            return None;
        }
        self.seen_order.push_back(hash);
        if self.seen_order.len() > MAX_SEEN
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }

        let message = Message { txs: Some(Txs { txs: vec![tx] }) }.encode_to_vec().into();
        let tx = Arc::new(Tx { hash, message });
        let mut told = BTreeSet::from_iter(sender);
        for outbox in self.outboxes.values_mut() {
            if told.insert(outbox.id) {
                outbox.push(tx.clone(), self.max_bytes);
            }
        }
        self.recent_bytes += tx.message.len();
        self.recent_order.push_back(hash);
        self.recent.insert(hash, Recent { tx, at: now, told });
        self.forget_old(now);
        Some(hash)
    }

    /// A peer has come: it gets what is recent and not known to it.
    pub(crate) fn peer_up(&mut self, conn: ConnId, id: NodeId, now: Duration) {
        self.forget_old(now);
        let outbox = Outbox { id, queue: VecDeque::new(), bytes: 0, wanted: BTreeSet::new() };
        let outbox = self.outboxes.entry(conn).or_insert(outbox);
        for hash in &self.recent_order {
            if let Some(recent) = self.recent.get_mut(hash)
                && recent.told.insert(id)
            {
                outbox.push(recent.tx.clone(), self.max_bytes);
            }
        }
    }

    /// A peer is gone, and what it was told may be lost with it: like Tendermint's, its next session
    /// gets everything again.
    pub(crate) fn peer_down(&mut self, conn: ConnId) {
        let Some(Outbox { id, .. }) = self.outboxes.remove(&conn) else { return };
        if self.outboxes.values().all(|outbox| outbox.id != id) {
            for recent in self.recent.values_mut() {
                recent.told.remove(&id);
            }
        }
    }

    /// The next transaction for this peer; it stays there until [`sent`](Self::sent).
    pub(crate) fn next(&mut self, conn: ConnId) -> Option<Arc<Tx>> {
        let outbox = self.outboxes.get_mut(&conn)?;
        while let Some(tx) = outbox.queue.front() {
            if outbox.wanted.contains(&tx.hash) {
                return Some(tx.clone());
            }
            outbox.pop();
        }
        None
    }

    /// The next transaction of this peer is with the switch now.
    pub(crate) fn sent(&mut self, conn: ConnId) {
        if let Some(outbox) = self.outboxes.get_mut(&conn) {
            outbox.pop();
        }
    }

    fn forget_old(&mut self, now: Duration) {
        while let Some(hash) = self.recent_order.front() {
            let is_full = self.recent.len() > MAX_RECENT || self.recent_bytes > self.max_bytes;
            let at = self.recent.get(hash).map_or(Duration::ZERO, |recent| recent.at);
            if !is_full && now.saturating_sub(at) < RECENT {
                return;
            }
            if let Some(recent) = self.recent.remove(hash) {
                self.recent_bytes -= recent.tx.message.len();
            }
            self.recent_order.pop_front();
        }
    }
}

impl Outbox {
    fn push(&mut self, tx: Arc<Tx>, max_bytes: usize) {
        self.bytes += tx.message.len();
        self.wanted.insert(tx.hash);
        self.queue.push_back(tx);
        while self.queue.len() > MAX_WAITING || self.bytes > max_bytes {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(tx) = self.queue.pop_front() {
            self.bytes -= tx.message.len();
            self.wanted.remove(&tx.hash);
        }
    }
}
