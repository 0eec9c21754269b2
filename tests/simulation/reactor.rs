//! A scripted reactor: reads its inbox as it is told to, and checks everything that is promised of
//! events.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::{Arc, Mutex},
};

use crossbeam_channel::Receiver;
use tmp2p::{
    ChannelId, ConnId, DisconnectReason, Envelope, Event, NodeId, Payload, Peer, crossbeam_channel,
};

/// How a reactor treats its inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Reads and drops.
    Reads,
    /// Reads and keeps up to so many envelopes, so that their budget is not returned.
    Keeps(usize),
    /// Does not read.
    Stuck,
}

/// Which init hooks have run, and which are to panic.
pub(crate) type InitLog = Arc<Mutex<Inits>>;

#[derive(Debug, Default)]
pub(crate) struct Inits {
    pub(crate) ran: BTreeSet<(usize, ConnId)>,
    pub(crate) unwelcome: BTreeSet<(usize, NodeId)>,
}

/// What was sent and received over all sessions of all nodes.
pub(crate) type Ledger = Rc<RefCell<BTreeMap<SessionKey, Sent>>>;

/// Host and connection of one end of a session.
pub(crate) type SessionKey = (usize, ConnId);

/// What one end of a session has sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// Messages that were accepted, per channel.
    pub(crate) accepted: BTreeMap<ChannelId, u64>,
    /// Of these, delivered at the other end.
    pub(crate) delivered: BTreeMap<ChannelId, u64>,
    /// The other end, once something was delivered there.
    pub(crate) other: Option<SessionKey>,
}

/// Smallest message that can be checked.
pub(crate) const LEAST: usize = 24;

/// The message with this number of a channel of a session: says where it comes from.
pub(crate) fn message(from: SessionKey, number: u64, len: usize) -> Payload {
    let mut bytes = Vec::with_capacity(len.max(LEAST));
    bytes.extend((from.0 as u64).to_le_bytes());
    bytes.extend(u64::from(from.1.slot()).to_le_bytes()[..4].iter());
    bytes.extend(from.1.generation().to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((LEAST..len).map(|i| (number as usize * 31 + i) as u8));
    bytes.into()
}

fn parse(bytes: &[u8]) -> (SessionKey, u64) {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    ((word(0) as usize, ConnId::new(0, half(8), half(12))), word(16))
}

/// A reactor and what it has seen.
pub(crate) struct SimReactor {
    host: usize,
    events: Receiver<Event>,
    ledger: Ledger,
    init_log: InitLog,
    pub(crate) mode: Mode,
    /// Messages are not ours, so that only their bytes are counted.
    pub(crate) is_foreign: bool,
    pub(crate) kept: VecDeque<Envelope>,
    /// Every session that this reactor has heard of.
    pub(crate) sessions: BTreeMap<ConnId, Seen>,
    current: BTreeMap<NodeId, ConnId>,
    /// Foreign messages.
    pub(crate) messages: Vec<(ChannelId, Payload)>,
}

/// A session as a reactor saw it.
pub(crate) struct Seen {
    pub(crate) peer: Peer,
    pub(crate) down: Option<Arc<DisconnectReason>>,
    pub(crate) messages: u64,
    pub(crate) writable: BTreeMap<ChannelId, u64>,
    from: Option<SessionKey>,
}

impl SimReactor {
    pub(crate) fn new(
        host: usize,
        events: Receiver<Event>,
        ledger: Ledger,
        init_log: InitLog,
    ) -> Self {
        Self {
            host,
            events,
            ledger,
            init_log,
            mode: Mode::Reads,
            is_foreign: false,
            kept: VecDeque::new(),
            sessions: BTreeMap::new(),
            current: BTreeMap::new(),
            messages: Vec::new(),
        }
    }

    /// Drops its receiver.
    pub(crate) fn leave(&mut self) {
        self.events = crossbeam_channel::never();
    }

    pub(crate) fn wants_to_run(&self) -> bool {
        match self.mode {
            Mode::Stuck => false,
            Mode::Reads => !self.kept.is_empty() || !self.events.is_empty(),
            Mode::Keeps(_) => !self.events.is_empty(),
        }
    }

    pub(crate) fn peer(&self, id: NodeId) -> Option<Peer> {
        let conn = self.current.get(&id)?;
        Some(self.sessions[conn].peer.clone())
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.current.values().map(|conn| self.sessions[conn].peer.clone()).collect()
    }

    /// Messages of all sessions.
    pub(crate) fn num_messages(&self) -> u64 {
        self.sessions.values().map(|seen| seen.messages).sum()
    }

    /// Takes one event; what it was, for the trace.
    pub(crate) fn run(&mut self, reactor: usize) -> u64 {
        if self.mode == Mode::Reads && self.kept.pop_front().is_some() {
            return 1;
        }
        let Ok(event) = self.events.try_recv() else { return 0 };
        match event {
            Event::PeerUp(peer) => {
                let conn = peer.conn();
                let inits = self.init_log.lock().unwrap();
                for other in 0..=reactor {
                    assert!(inits.ran.contains(&(other, conn)), "up before init");
                }
                let before = self.current.insert(peer.id(), conn);
                assert_eq!(before, None, "up before the last session of {} was down", peer.id());
                let seen =
                    Seen { peer, down: None, messages: 0, writable: BTreeMap::new(), from: None };
                assert!(self.sessions.insert(conn, seen).is_none(), "up twice");
                conn_hash(conn) ^ 2
            }
            Event::Message(envelope) => self.take(envelope),
            Event::Writable(peer, channel) => {
                let seen = self.open(peer.conn());
                *seen.writable.entry(channel).or_default() += 1;
                conn_hash(peer.conn()) ^ 3
            }
            Event::PeerDown(peer, reason) => {
                self.open(peer.conn()).down = Some(reason);
                let current = self.current.remove(&peer.id());
                assert_eq!(current, Some(peer.conn()), "down of another session");
                assert!(peer.try_send(0x20, b"late").is_err(), "sending after the end");
                assert!(peer.is_closed(), "nobody was told of the end of {peer}");
                conn_hash(peer.conn()) ^ 4
            }
            other => panic!("unknown event {other:?}"),
        }
    }

    fn take(&mut self, envelope: Envelope) -> u64 {
        let (channel, payload) = (envelope.channel(), envelope.payload().clone());
        let conn = envelope.peer().conn();
        let hash = conn_hash(conn) ^ (payload.len() as u64) << 8 ^ 5;
        let is_foreign = self.is_foreign;
        let here = (self.host, conn);
        let ledger = self.ledger.clone();
        let seen = self.open(conn);
        seen.messages += 1;
        if is_foreign {
            self.messages.push((channel, payload));
        } else {
            let (from, number) = parse(&payload);
            assert_eq!(*seen.from.get_or_insert(from), from, "of another session");
            let mut ledger = ledger.borrow_mut();
            let sent = ledger.get_mut(&from).expect("from a session that sent");
            assert_eq!(*sent.other.get_or_insert(here), here, "to another session");
            let delivered = sent.delivered.entry(channel).or_default();
            assert_eq!(*delivered, number, "{channel} {from:?} to {here:?}: order");
            assert_eq!(payload, message(from, number, payload.len()), "bytes");
            *delivered += 1;
            assert!(sent.accepted[&channel] >= *delivered, "more than was sent");
        }
        if let Mode::Keeps(most) = self.mode {
            self.kept.push_back(envelope);
            while self.kept.len() > most {
                self.kept.pop_front();
            }
        }
        hash
    }

    /// The session, which must be up.
    fn open(&mut self, conn: ConnId) -> &mut Seen {
        let seen = self.sessions.get_mut(&conn).expect("before up");
        assert!(seen.down.is_none(), "after down");
        seen
    }
}

fn conn_hash(conn: ConnId) -> u64 {
    u64::from(conn.slot()) << 40 ^ u64::from(conn.generation()) << 24
}
