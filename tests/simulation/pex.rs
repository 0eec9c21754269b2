//! Peer exchange of a node: the real core, and what its thread does for it.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use crossbeam_channel::Receiver;
use rand::{SeedableRng, rngs::StdRng};
use tmp2p::{
    Blame, BookKey, ConnId, Event, MemoryStore, NetAddress, NodeId, Peer, PeerAddress,
    crossbeam_channel,
    internals::addrbook::{Book, BookLimits, BookSettings, BookStore},
    internals::drive::{Core, Driver},
    internals::event_loop::Command,
    internals::pex::{
        CHANNEL, PeerFacts, PexCore, PexInput, PexMessage, PexNotice, PexOutput, PexRequest,
        PexSettings,
    },
    internals::reactor::Verdicts,
    internals::switch::{Input, Notice, Request},
    internals::time::{Mono, Now},
};

use crate::{dice::Dice, options::Options, schedule::Turn};

/// What others get of a step.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) commands: Vec<Command>,
    pub(crate) inputs: Vec<Input>,
}

/// What reactors think of peers, on its way to peer exchange.
#[derive(Debug, Default)]
pub(crate) struct Opinions(Mutex<Vec<PexRequest>>);

impl Verdicts for Opinions {
    fn mark_good(&self, id: NodeId) {
        self.0.lock().unwrap().push(PexRequest::MarkGood { id });
    }

    fn mark_bad(&self, id: NodeId, addr: Option<NetAddress>, duration: Duration, reason: String) {
        self.0.lock().unwrap().push(PexRequest::MarkBad { id, addr, duration, reason });
    }
}

pub(crate) struct SimPex {
    pub(crate) core: PexCore,
    /// From the switch and from users.
    pub(crate) inputs: VecDeque<PexInput>,
    /// From reactors: as good as inputs.
    pub(crate) verdicts: Arc<Opinions>,
    /// Events that are to be taken before the first input.
    events_before: Option<usize>,
    /// As a reactor: in order, and in no order with the inputs.
    events: Receiver<Event>,
    /// One of them is next.
    takes_event: bool,
    pub(crate) peers: BTreeMap<ConnId, Peer>,
    /// Survives the node.
    pub(crate) store: MemoryStore,
    is_started: bool,
    /// What the clocks show, in this step.
    shown: Now,
    effects: Effects,
    /// When it had the switch dial, by the wall clock, and whom.
    pub(crate) dials: Vec<(SystemTime, PeerAddress)>,
    /// What it has sent, to whom.
    pub(crate) sent: Vec<(SystemTime, NodeId, PexMessage)>,
    /// Sessions that it has ended for an error of the peer.
    pub(crate) stopped: Vec<(NodeId, String)>,
    /// What it tells people.
    pub(crate) notices: Vec<PexNotice>,
}

impl SimPex {
    pub(crate) fn new(
        own: (NodeId, SocketAddr),
        options: &Options,
        events: Receiver<Event>,
        mut store: MemoryStore,
        now: Now,
        dice: &mut Dice,
    ) -> Self {
        let config = &options.config;
        let limits = BookLimits::of(config);
        let settings = BookSettings { own: own.0, is_strict: config.addr_book_strict, limits };
        let mut rng = StdRng::from_seed(dice.bytes());
        let fresh = BookKey::random(&mut rng);
        let stored = store.load().unwrap();
        let mut book = Book::load(settings, fresh, stored, now.wall, &mut rng);
        book.add_private(config.private_peer_ids.iter().copied());
        book.add_own(own.1);
        let core = PexCore::new(PexSettings::of(config), book, dice.bytes(), now);
        Self {
            core,
            inputs: VecDeque::new(),
            verdicts: Arc::default(),
            events_before: None,
            events,
            takes_event: false,
            peers: BTreeMap::new(),
            store,
            is_started: false,
            shown: now,
            effects: Effects::default(),
            dials: Vec::new(),
            sent: Vec::new(),
            stopped: Vec::new(),
            notices: Vec::new(),
        }
    }

    pub(crate) fn turn(&self, now: Mono) -> Turn {
        if self.core.is_stopped() {
            Turn::Never
        } else if !self.is_started || self.has_work() {
            Turn::Now
        } else {
            Turn::at(self.core.next_deadline(), now)
        }
    }

    /// Whether there is something that it does not know yet.
    pub(crate) fn has_work(&self) -> bool {
        let has_verdicts = !self.verdicts.0.lock().unwrap().is_empty();
        has_verdicts || !self.is_started || !self.inputs.is_empty() || !self.events.is_empty()
    }

    /// Takes an input or an event, or does what is due, as its thread does it.
    pub(crate) fn run_one(&mut self, now: Now, dice: &mut Dice) -> Effects {
        self.shown = now;
        if !std::mem::replace(&mut self.is_started, true) {
            self.step(PexInput::Start);
        }
        self.takes_event = self.choose(dice);
        let input = self.next_input();
        let about = self.about(&input);
        let before = about.and_then(|(id, ..)| self.record(&id));
        // Whom it has dialed when it hears that he is persistent it has dialed not knowing that.
        if matches!(input, PexInput::Notice(Notice::Standing { .. })) {
            self.step(PexInput::Timeout);
        }
        self.step(input);
        let effects = std::mem::take(&mut self.effects);
        if let (Some((id, attempts, failures)), Some(before)) = (about, before)
            && let Some(after) = self.record(&id)
        {
            let is_of = |input: &&Input| {
                let Input::Request(Request::Dial { addr, .. }) = input else { return false };
                addr.id() == id
            };
            let dials = effects.inputs.iter().filter(is_of).count() as u32;
            assert!(after.0 <= before.0 + attempts + dials, "{id}: {dials} dials, {after:?}");
            assert!(after.1 <= before.1 + failures, "{id}: of {before:?} became {after:?}");
        }
        if self.core.is_stopped() {
            self.events = crossbeam_channel::never();
            self.inputs.clear();
        }
        effects
    }

    /// Whether an event comes next, or else an input.
    fn choose(&mut self, dice: &mut Dice) -> bool {
        let verdicts = std::mem::take(&mut *self.verdicts.0.lock().unwrap());
        self.inputs.extend(verdicts.into_iter().map(PexInput::Request));
        // What sessions have told before a verdict comes before it.
        if self.events_before.is_none() && self.inputs.front().is_some_and(PexInput::is_verdict) {
            self.events_before = Some(self.events.len());
        }
        let takes_event = match self.events_before {
            Some(before) => before > 0,
            None if self.inputs.is_empty() || self.events.is_empty() => self.inputs.is_empty(),
            None => dice.one_in(2),
        };
        self.events_before = self.events_before.filter(|_| takes_event).map(|before| before - 1);
        takes_event
    }

    /// Whom an input is about, and how many attempts and failures it may count.
    fn about(&self, input: &PexInput) -> Option<(NodeId, u32, u32)> {
        match input {
            PexInput::Notice(Notice::DialFailed { addr, origin, reason }) => {
                let is_failure = matches!(reason.blame(), Blame::Peer | Blame::Network);
                // What peer exchange has asked for is counted when it asks.
                let is_attempt = is_failure && !origin.is_discovery();
                Some((addr.id(), is_attempt.into(), is_failure.into()))
            }
            PexInput::PeerUp(facts) => Some((facts.id, 0, 0)),
            PexInput::Message { conn, .. } | PexInput::PeerDown { conn, .. } => {
                let mut sessions = self.core.sessions();
                sessions.find(|(of, _)| of == conn).map(|(_, id)| (id, 0, 1))
            }
            _ => None,
        }
    }

    /// Attempts and failures of a node.
    fn record(&self, id: &NodeId) -> Option<(u32, u32)> {
        self.core
            .book()
            .get(id)
            .map(|known| (known.history().attempts, known.history().dial_failures))
    }

    fn translate(&mut self, event: Event) -> Option<PexInput> {
        match event {
            Event::PeerUp(peer) => {
                let facts = PeerFacts::of(&peer);
                self.peers.insert(facts.conn, peer);
                Some(PexInput::PeerUp(facts))
            }
            Event::Message(envelope) => {
                let conn = envelope.peer().conn();
                Some(PexInput::Message { conn, payload: envelope.into_payload() })
            }
            Event::PeerDown(peer, reason) => {
                self.peers.remove(&peer.conn());
                Some(PexInput::PeerDown { conn: peer.conn(), reason })
            }
            Event::Writable(..) => None,
            other => panic!("unknown event {other:?}"),
        }
    }
}

/// The thread `p2p-pex`, which takes one input at a time.
impl Driver for SimPex {
    type Core = PexCore;

    fn core(&mut self) -> &mut PexCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        self.shown
    }

    fn next_input(&mut self) -> PexInput {
        let input = if self.takes_event {
            self.events.try_recv().ok().and_then(|event| self.translate(event))
        } else {
            self.inputs.pop_front()
        };
        input.unwrap_or(PexInput::Timeout)
    }

    fn perform(&mut self, output: PexOutput) {
        let effects = &mut self.effects;
        match output {
            PexOutput::Publish { table, added } => {
                effects.commands.push(Command::Bans(table.clone()));
                effects.inputs.push(Input::Bans { table, added });
            }
            PexOutput::Answer(answer) => answer.give(),
            PexOutput::Store { batch, .. } => self.store.write(&batch).unwrap(),
            PexOutput::Send { conn, message, is_request } => {
                let decoded = PexMessage::decode(&message).expect("what we send is in order");
                assert_eq!(is_request, decoded == PexMessage::Request);
                let peer = self.peers.get(&conn);
                match peer.filter(|peer| peer.try_send(CHANNEL, message).is_ok()) {
                    Some(peer) => self.sent.push((self.shown.wall, peer.id(), decoded)),
                    None if is_request => self.feed(PexInput::NotSent(conn)),
                    None => {}
                }
            }
            PexOutput::Evict { conn, reason } => {
                effects.inputs.push(Input::Request(Request::Evict { conn, reason }));
            }
            PexOutput::Stop { conn, reason } => {
                if let Some(peer) = self.peers.get(&conn) {
                    self.stopped.push((peer.id(), reason.clone()));
                    peer.stop(reason);
                }
            }
            PexOutput::Dial { addr, origin } => {
                let persistent = &self.core.standings().persistent;
                assert!(!persistent.contains(&addr.id()), "{addr} is the switch's to dial");
                self.dials.push((self.shown.wall, addr.clone()));
                let request = Request::Dial { addr, origin, reply: None };
                effects.inputs.push(Input::Request(request));
            }
            PexOutput::Event(event) => effects.inputs.push(Input::Event(event)),
            PexOutput::Notice(notice) => self.notices.push(notice),
        }
    }
}
