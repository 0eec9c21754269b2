//! The thread `p2p-pex`: does what the core decides.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Select, TryRecvError};
use log::Level;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    CHANNEL, PeerFacts, PexCore, PexHandle, PexInput, PexNotice, PexOutput, PexRequest,
    PexSettings,
    handle::{Shared, ToPex},
};
use crate::{
    addrbook::{
        Book, BookKey, BookSettings, BookStore, ImportReport, StoreEnd, StoreError, StoreWriter,
        StoredBook, json::ImportedBook,
    },
    ban::BanTable,
    clock::Clock,
    drive::{Core, Driver},
    event_loop::{Command, Mailbox},
    guard::{PEX, tell},
    identity::NodeId,
    ids::ConnId,
    reactor::{Event, Peer, Reactor},
    switch::{Input, Request, ToSwitch},
    thread::{self, Joined, Thread},
    time::{Mono, Now},
};

/// Time that a store is given for its last write even if the stop has none left: one that works
/// needs milliseconds, and an operator's ban should not be lost to a hard stop.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What is needed to begin.
pub(crate) struct Start {
    /// How peer exchange behaves.
    pub(crate) settings: PexSettings,
    /// Whose book it is, and what it takes.
    pub(crate) book: BookSettings,
    /// Nodes whose addresses are told to nobody.
    pub(crate) private: Vec<NodeId>,
    /// What is to be taken into the book before anything else. Asked once, with the digest of the file
    /// that was taken in last.
    pub(crate) find: Box<dyn FnOnce(Option<[u8; 32]>) -> Option<FoundBook>>,
    /// Random bytes: everything that is decided by chance, and the key of a new book.
    pub(crate) seed: [u8; 32],
    /// More of them.
    pub(crate) book_seed: [u8; 32],
}

/// An `addrbook.json` that was not taken in yet.
pub(crate) struct FoundBook {
    /// SHA-256 of the file.
    pub(crate) digest: [u8; 32],
    /// What is in it.
    pub(crate) book: ImportedBook,
}

/// The book is read and no thread is started yet: whoever needs the bans before the first
/// connection takes them from here.
pub(crate) struct Prepared {
    book: Book,
    settings: PexSettings,
    seed: [u8; 32],
    store: Option<(Box<dyn BookStore>, StoredBook)>,
    clock: Clock,
    inputs: Receiver<PexInput>,
    handle: PexHandle,
    imported: Option<ImportReport>,
}

/// The running threads `p2p-pex` and `p2p-store`. Dropping it stops them.
pub(crate) struct Pex {
    handle: PexHandle,
    thread: Option<Thread<Option<StoreWriter>>>,
    clock: Clock,
}

/// How the two threads ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PexEnd {
    /// `p2p-pex` had panicked: a bug.
    pub(crate) had_panicked: bool,
    /// `p2p-pex` did not come back in time, from a logger or a function of the application, and is
    /// left behind.
    pub(crate) is_left_behind: bool,
    /// How the writing ended; `None` without a store.
    pub(crate) store: Option<StoreEnd>,
}

impl Prepared {
    /// Reads the book. Waits for the store.
    pub(crate) fn load(
        start: Start,
        store: Option<Box<dyn BookStore>>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut store = store;
        let stored = store.as_mut().map(|store| store.load()).transpose()?.unwrap_or_default();
        let time = stored.now(clock.now().wall, start.book.limits.automatic_ban);
        let clock = clock.set_to(time);
        let now = clock.now();
        let mut rng = StdRng::from_seed(start.book_seed);
        let fresh = BookKey::random(&mut rng);
        let mut book = Book::load(start.book, fresh, stored.clone(), now.wall, &mut rng);
        match book.left_out() {
            0 => {}
            count => tell!(
                target: PEX,
                Level::Warn,
                "addresses of the address book that are left out, and stay in its file: {count}, which \
                 cannot be reached from everywhere while addr_book_strict is on"
            ),
        }
        book.add_private(start.private);
        let imported = (start.find)(stored.imported).map(|found| {
            book.set_imported(found.digest);
            book.import(found.book, now.wall, &mut rng)
        });
        let (to_pex, inputs) = ToPex::new();
        let shared = Arc::new(Shared::default());
        *shared.bans.write() = book.bans().clone();
        let handle = PexHandle { to_pex, shared };
        let store = store.map(|store| (store, stored));
        let (settings, seed) = (start.settings, start.seed);
        Ok(Self { book, settings, seed, store, clock, inputs, handle, imported })
    }

    /// The bans there are at the start. `publish` gets later tables, not this one.
    pub(crate) fn bans(&self) -> Arc<BanTable> {
        self.handle.bans()
    }

    /// What became of the addresses of the file that was taken in, if one was.
    pub(crate) fn imported(&self) -> Option<&ImportReport> {
        self.imported.as_ref()
    }

    /// The clock to go on with: the book may know better what time it is than the machine.
    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// What handles of the switch hold. Requests wait for the start.
    pub(crate) fn handle(&self) -> PexHandle {
        self.handle.clone()
    }

    /// What waits for the start.
    #[cfg(test)]
    pub(super) fn num_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// Nobody is to book these: they are this node.
    pub(crate) fn add_own(&mut self, addr: SocketAddr) {
        self.book.add_own(addr);
    }

    /// Starts the threads; `p2p-store` only if there is a store. Peers and their messages come to
    /// `reactor`, if the node exchanges addresses.
    pub(crate) fn start(
        mut self,
        reactor: Option<Reactor>,
        to_switch: ToSwitch,
        to_loop: Arc<Mailbox>,
    ) -> io::Result<Pex> {
        let to_pex = self.handle.to_pex.clone();
        let store = self
            .store
            .take()
            .map(|(store, stored)| {
                StoreWriter::start(store, &stored, self.clock.clone(), move |error| {
                    // The other thread outlives this one unless the switch has stopped.
                    to_pex.tell(PexInput::StoreFailed(error));
                })
            })
            .transpose()?;
        if let Some(store) = &store {
            let _ = self.handle.shared.store.set(store.watch());
        }
        let (handle, clock) = (self.handle.clone(), self.clock.clone());
        let driver = self.driver(reactor, to_switch, to_loop, store);
        let thread = Some(thread::spawn("p2p-pex", move || driver.run_to_end())?);
        Ok(Pex { handle, thread, clock })
    }

    /// What runs on `p2p-pex`, for who has no such thread. The store is written at once.
    #[cfg(feature = "testing")]
    pub(crate) fn without_threads(
        mut self,
        reactor: Option<Reactor>,
        to_switch: ToSwitch,
        to_loop: Arc<Mailbox>,
    ) -> PexThread {
        let store = self.store.take().map(|(store, _)| StoreWriter::inline(store, &self.clock));
        self.driver(reactor, to_switch, to_loop, store)
    }

    fn driver(
        self,
        reactor: Option<Reactor>,
        to_switch: ToSwitch,
        to_loop: Arc<Mailbox>,
        store: Option<StoreWriter>,
    ) -> PexThread {
        let mut book = self.book;
        if store.is_none() {
            book.forget_changes();
        }
        PexThread {
            core: PexCore::new(self.settings, book, self.seed, self.clock.now()),
            inputs: self.inputs,
            events: match &reactor {
                Some(reactor) => reactor.events().clone(),
                None => crossbeam_channel::never(),
            },
            _reactor: reactor,
            took_event: false,
            peers: BTreeMap::new(),
            verdict: None,
            shared: self.handle.shared.clone(),
            store,
            to_switch,
            to_loop,
            clock: self.clock,
        }
    }
}

impl Pex {
    /// Ends both threads: requests are refused, what is left is written. What does not come back by
    /// the deadline, or one second from now if that is later, is left behind.
    pub(crate) fn stop(mut self, deadline: Mono) -> PexEnd {
        self.join(deadline)
    }

    fn join(&mut self, deadline: Mono) -> PexEnd {
        let mut end = PexEnd { had_panicked: false, is_left_behind: false, store: None };
        let Some(thread) = self.thread.take() else { return end };
        // Fails if the thread has ended already.
        self.handle.to_pex.tell(PexInput::Stop);
        let deadline = deadline.max(self.clock.mono() + LAST_WRITE);
        match thread.join_within(self.clock.until(deadline)) {
            Joined::Over(store) => end.store = store.map(|store| store.stop(deadline)),
            Joined::Panicked => end.had_panicked = true,
            Joined::LeftBehind => {
                end.is_left_behind = true;
                self.handle.close();
            }
        }
        end
    }
}

impl Drop for Pex {
    fn drop(&mut self) {
        self.join(Mono::ZERO);
    }
}

/// Everything that the thread owns.
pub(crate) struct PexThread {
    core: PexCore,
    inputs: Receiver<PexInput>,
    events: Receiver<Event>,
    /// When there last was one of both.
    took_event: bool,
    /// However the thread ends, the switch hears of it.
    _reactor: Option<Reactor>,
    peers: BTreeMap<ConnId, Peer>,
    /// What a reactor has said of a peer, and how many events are to be taken before it: among them
    /// may be the beginning of that peer's session.
    verdict: Option<(PexInput, usize)>,
    shared: Arc<Shared>,
    store: Option<StoreWriter>,
    to_switch: ToSwitch,
    to_loop: Arc<Mailbox>,
    clock: Clock,
}

impl PexThread {
    /// When there is something to do; without a thread, whoever has it asks.
    #[cfg(feature = "testing")]
    pub(crate) fn next_turn(&self) -> Option<Mono> {
        let has_some = !self.inputs.is_empty() || !self.events.is_empty() || self.verdict.is_some();
        if has_some { Some(Mono::ZERO) } else { self.core.next_deadline() }
    }

    /// Runs until it is told to stop; hands out what still writes.
    fn run_to_end(mut self) -> Option<StoreWriter> {
        self.run();
        self.store.take()
    }

    /// What happens next; `None`: something is due, or the event is none of the core's.
    fn receive(&mut self) -> Option<PexInput> {
        if let Some((verdict, events_before)) = self.verdict.take() {
            if let Some(left) = events_before.checked_sub(1)
                && let Ok(event) = self.events.try_recv()
            {
                self.verdict = Some((verdict, left));
                return self.translate(event);
            }
            return Some(verdict);
        }
        let takes_event = match (self.inputs.is_empty(), self.events.is_empty()) {
            (true, true) if self.clock.is_virtual() => return None,
            (true, true) => {
                let mut select = Select::new();
                select.recv(&self.inputs);
                let events = select.recv(&self.events);
                let ready = match self.core.next_deadline() {
                    Some(deadline) => select.ready_timeout(self.clock.until(deadline)).ok()?,
                    None => select.ready(),
                };
                ready == events
            }
            // In turn, so that neither waits for ever; not at random, so that it can be repeated.
            (false, false) => {
                self.took_event = !self.took_event;
                self.took_event
            }
            (is_event, _) => is_event,
        };
        if !takes_event {
            return match self.inputs.try_recv() {
                Ok(input) => {
                    if let PexInput::Request(PexRequest::MarkGood { id }) = &input {
                        self.shared.good.lock().remove(id);
                    }
                    if !input.is_verdict() || self.events.is_empty() {
                        return Some(input);
                    }
                    self.verdict = Some((input, self.events.len()));
                    None
                }
                Err(TryRecvError::Empty) => None,
                // Nobody is left who could stop it.
                Err(TryRecvError::Disconnected) => Some(PexInput::Stop),
            };
        }
        match self.events.try_recv() {
            Ok(event) => self.translate(event),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                // The switch has stopped; the stop of this thread follows.
                self.events = crossbeam_channel::never();
                None
            }
        }
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
        }
    }
}

impl Driver for PexThread {
    type Core = PexCore;

    fn core(&mut self) -> &mut PexCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn next_input(&mut self) -> PexInput {
        self.receive().unwrap_or(PexInput::Timeout)
    }

    fn perform(&mut self, output: PexOutput) {
        match output {
            PexOutput::Publish { table, added } => {
                *self.shared.bans.write() = table.clone();
                self.to_loop.command(Command::Bans(table.clone()));
                self.to_switch.tell(Input::Bans { table, added });
            }
            PexOutput::Answer(answer) => answer.give(),
            PexOutput::Store { batch, is_urgent } => {
                if let Some(store) = &self.store {
                    store.add(batch, is_urgent);
                }
            }
            PexOutput::Send { conn, message, is_request } => {
                // Whoever does not read ten answers does not need one more, and a session
                // that is over needs none.
                let sent = self.peers.get(&conn).map(|peer| peer.try_send(CHANNEL, message));
                if is_request && !matches!(sent, Some(Ok(()))) {
                    self.feed(PexInput::NotSent(conn));
                }
            }
            PexOutput::Evict { conn, reason } => {
                self.to_switch.tell(Input::Request(Request::Evict { conn, reason }));
            }
            PexOutput::Stop { conn, reason } => {
                if let Some(peer) = self.peers.get(&conn) {
                    peer.stop(reason);
                }
            }
            PexOutput::Dial { addr, origin } => {
                let request = Request::Dial { addr, origin, reply: None };
                self.to_switch.tell(Input::Request(request));
            }
            PexOutput::Event(event) => _ = self.to_switch.tell(Input::Event(event)),
            PexOutput::Notice(PexNotice::UnfitBias(why)) => {
                tell!(target: PEX, Level::Warn, "{why}")
            }
            PexOutput::Notice(PexNotice::NoneRoutable(count)) => {
                tell!(
                    target: PEX,
                Level::Warn,
                    "addresses told: {count}, none routable: in a private network set \
                     addr_book_strict = false"
                );
            }
            PexOutput::Notice(PexNotice::StoreFailed(error)) => {
                tell!(
                    target: PEX,
                    Level::Warn,
                    "the address book cannot be stored, it is tried again: {error}"
                );
            }
        }
    }
}

impl Drop for PexThread {
    /// However the thread ends, nobody waits for it for ever.
    fn drop(&mut self) {
        self.shared.waiting.close();
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Sender, unbounded};

    use super::*;
    use crate::{
        config::Config,
        pex::tests::{begin, to_loop},
        reactor::{DisconnectReason, Verdicts, peer_without_connection},
    };

    /// The thread's driver, where its reactor's events come from, and its handle.
    fn thread() -> (PexThread, Sender<Event>, PexHandle) {
        let start = Start { settings: PexSettings::of(&Config::default()), ..begin() };
        let prepared = Prepared::load(start, None, Clock::start()).unwrap();
        let handle = prepared.handle();
        let mut thread = prepared.driver(None, ToSwitch::new().0, to_loop(), None);
        let (to_thread, events) = unbounded();
        thread.events = events;
        (thread, to_thread, handle)
    }

    /// The next input that is one for the core, in a word, and whom it is about.
    fn next(thread: &mut PexThread) -> (&'static str, NodeId) {
        loop {
            match thread.next_input() {
                PexInput::Timeout => {}
                PexInput::PeerUp(facts) => return ("up", facts.id),
                PexInput::Request(PexRequest::MarkGood { id }) => return ("good", id),
                PexInput::Request(PexRequest::MarkBad { id, .. }) => return ("bad", id),
                input => panic!("{input:?}"),
            }
        }
    }

    /// What a reactor says of a peer counts as long as the session: said of nobody it is lost. The
    /// reactor has seen the session begin, and this thread may be behind it.
    #[test]
    fn a_verdict_is_taken_after_the_events_that_were_there_before_it_and_no_later() {
        let (mut thread, to_thread, handle) = thread();
        let peers: Vec<Peer> = (1..=5).map(peer_without_connection).collect();
        let id = |number: usize| peers[number].id();
        let up = |number: usize| to_thread.send(Event::PeerUp(peers[number].clone())).unwrap();
        (0..3).for_each(up);
        handle.mark_good(id(2));
        assert_eq!(next(&mut thread), ("up", id(0)), "in turn, events first");
        let verdict = thread.next_input();
        assert!(matches!(verdict, PexInput::Timeout), "it waits: {verdict:?}");
        // Who comes afterwards, and what is said next, comes afterwards.
        up(3);
        handle.mark_bad(id(3), None, LAST_WRITE, "x".to_owned());
        let told: Vec<_> = (0..5).map(|_| next(&mut thread)).collect();
        let expected = [("up", 1), ("up", 2), ("good", 2), ("up", 3), ("bad", 3)];
        assert_eq!(told, expected.map(|(what, number)| (what, id(number))));
        // A word that was read may be said again, and with nothing before it it counts at once.
        handle.mark_good(id(2));
        assert_eq!(next(&mut thread), ("good", id(2)));
    }

    /// A message that is no verdict waits for no events, or a busy reactor would hold up operators.
    #[test]
    fn other_requests_wait_for_no_more_than_their_turn() {
        let (mut thread, to_thread, handle) = thread();
        for number in 1..=3 {
            to_thread.send(Event::PeerUp(peer_without_connection(number))).unwrap();
        }
        handle.request_more_peers();
        assert!(matches!(thread.next_input(), PexInput::PeerUp(_)));
        assert!(matches!(thread.next_input(), PexInput::Request(PexRequest::MorePeers)));
    }

    #[test]
    fn what_is_no_input_of_the_core_is_passed_over_and_who_is_gone_is_forgotten() {
        let (mut thread, to_thread, handle) = thread();
        let peer = peer_without_connection(1);
        let reason = Arc::new(DisconnectReason::Eof);
        to_thread.send(Event::PeerUp(peer.clone())).unwrap();
        to_thread.send(Event::Writable(peer.clone(), CHANNEL)).unwrap();
        to_thread.send(Event::PeerDown(peer.clone(), reason)).unwrap();
        assert!(matches!(thread.next_input(), PexInput::PeerUp(_)));
        assert!(thread.peers.contains_key(&peer.conn()));
        assert!(matches!(thread.next_input(), PexInput::Timeout));
        let down = thread.next_input();
        assert!(
            matches!(&down, PexInput::PeerDown { conn, .. } if *conn == peer.conn()),
            "{down:?}"
        );
        assert!(thread.peers.is_empty(), "nobody holds a session that is over");
        // The switch has stopped, and operators may still ask.
        drop(to_thread);
        handle.request_more_peers();
        assert!(matches!(thread.next_input(), PexInput::Request(_)));
        assert!(matches!(thread.next_input(), PexInput::Timeout), "found out");
        let mut select = Select::new();
        select.recv(&thread.events);
        assert!(
            select.try_ready().is_err(),
            "or a thread that waits would wake up for it for ever"
        );
        handle.request_more_peers();
        assert!(matches!(thread.next_input(), PexInput::Request(_)), "and no more looked at");
        drop(handle);
        assert!(matches!(thread.next_input(), PexInput::Stop), "nobody is left who could stop it");
    }
}
