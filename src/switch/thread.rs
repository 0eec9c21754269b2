//! The thread `p2p-switch`: does what the core decides.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ::log::Level;
use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex, RwLock};

use super::{
    Candidate, Filter, Input, Limits, Lineup, Notice, Output, PeerState, ResolveRequest, Resolved,
    ResolverPool, StopReason, SwitchCore, SwitchEvent, Verdict, log::Log, metrics::Tally,
    subscribers::Subscribers,
};
use crate::{
    clock::Clock,
    drive::{Core, Driver},
    event_loop::{Command, Mailbox, Report, Reports},
    guard::{guarded, tell},
    identity::NodeId,
    ids::ConnId,
    reactor::{Admission, DisconnectReason, Inbox, Peer},
    thread::Waiting,
    time::{Mono, Now, earliest},
};

/// How long a thread that has failed waits for the event loop's end, which it has asked for: so
/// that no message follows a session's end. The loop waits for nobody and needs a turn.
const LOOP_END: Duration = Duration::from_secs(1);

/// What the switch's thread shares with the handles.
#[derive(Default)]
pub(crate) struct Shared {
    /// The sessions, by ID.
    pub(crate) peers: RwLock<BTreeMap<NodeId, Peer>>,
    /// Who waits for the answer to a request.
    pub(crate) waiting: Waiting,
    /// How many peers there may be.
    pub(crate) limits: Mutex<Limits>,
    /// Attempts under way or scheduled.
    pub(crate) dialing: AtomicUsize,
    /// What has happened so far, and what sessions that are over had counted.
    pub(crate) tally: Mutex<Tally>,
    pub(crate) subscribers: Mutex<Subscribers>,
    /// Set once every reactor was told of every end.
    pub(crate) stop_reason: Mutex<Option<StopReason>>,
    pub(crate) stopped: Condvar,
}

/// Tells the switch, from any thread; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct ToSwitch(Sender<Input>);

/// Where the switch tells what peer exchange and the book are to know. Never blocks.
pub(crate) trait Notices {
    /// Tells it.
    fn notice(&self, notice: Notice);
}

/// Everything that the thread owns.
pub(crate) struct SwitchThread<I, N> {
    pub(crate) core: SwitchCore,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) to_switch: ToSwitch,
    pub(crate) lineup: Lineup<I>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) resolver: ResolverPool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) sessions: BTreeMap<ConnId, Peer>,
    pub(crate) connection_filters: Vec<Filter>,
    pub(crate) peer_filters: Vec<Filter>,
    pub(crate) log: Log,
    pub(crate) notices: N,
}

impl ToSwitch {
    /// One, and where it leads: to a [`SwitchThread`].
    pub(crate) fn new() -> (Self, Receiver<Input>) {
        let (sender, inputs) = crossbeam_channel::unbounded();
        (Self(sender), inputs)
    }

    /// Tells it. Whether it is there; if not, a request has been answered with that.
    pub(crate) fn tell(&self, input: Input) -> bool {
        self.0.send(input).is_ok()
    }
}

/// Loop → switch. It outlives the loop, or nobody is left to be told.
impl Reports for ToSwitch {
    fn report(&mut self, report: Report) {
        self.tell(Input::Report(report));
    }
}

impl Shared {
    /// The switch is over: whoever waits for it is told, and nobody waits from now on. The first
    /// reason counts.
    pub(crate) fn close(&self, reason: StopReason) {
        // The flag first: whoever registers something afterwards is refused, whoever did before
        // is found here.
        let reason = self.stop_reason.lock().get_or_insert(reason).clone();
        self.stopped.notify_all();
        self.waiting.close();
        self.dialing.store(0, Relaxed);
        self.subscribers.lock().end(&reason);
        let mut tally = self.tally.lock();
        let peers = std::mem::take(&mut *self.peers.write());
        peers.values().for_each(|peer| tally.retire(&peer.status()));
        drop(tally);
        drop(peers);
    }

    /// What sessions know of their peers that the core does not.
    pub(crate) fn add_status(&self, states: &mut [PeerState]) {
        let peers = self.peers.read();
        for state in states {
            let peer = state.id.and_then(|id| peers.get(&id));
            let Some(peer) = peer else { continue };
            state.status = Some(peer.status());
            if let Some(addr) = peer.dialed_addr() {
                state.dial_addr = Some(addr.clone());
            }
        }
    }
}

impl<I: Inbox, N: Notices> SwitchThread<I, N> {
    /// Runs until the event loop has stopped. However the thread ends, loop and sessions end with
    /// it, and nobody waits for it for ever. Whether it ended as it should; else it had panicked.
    pub(crate) fn run_to_end(mut self) -> bool {
        let is_sound = guarded(|| self.run()).is_some();
        self.end(is_sound);
        is_sound
    }

    /// Ends as with its process: at once, without the loop.
    #[cfg(feature = "testing")]
    pub(crate) fn kill(mut self) {
        self.dismiss_all();
        self.end(true);
    }

    /// Nothing is left of it, and whoever waits for it is told.
    pub(crate) fn end(mut self, is_sound: bool) {
        // Nothing below runs code of the application unguarded.
        if !is_sound {
            self.fail();
        }
        let reason = self.core.stop_reason().unwrap_or(StopReason::Failed);
        self.shared.close(reason);
        self.lineup.let_go_of_all();
        let Self { connection_filters, peer_filters, resolver, .. } = self;
        for filter in connection_filters.into_iter().chain(peer_filters) {
            _ = guarded(|| drop(filter));
        }
        _ = guarded(|| drop(resolver));
    }

    /// When there is something to do; without a thread, whoever has the switch asks.
    #[cfg(feature = "testing")]
    pub(crate) fn next_turn(&self) -> Option<Mono> {
        if self.inputs.is_empty() { self.next_deadline() } else { Some(Mono::ZERO) }
    }

    /// When there is something to do without an input.
    fn next_deadline(&self) -> Option<Mono> {
        earliest(self.core.next_deadline(), self.lineup.next_deadline())
    }

    /// Ends what there is, as the core would have.
    fn fail(&mut self) {
        self.mailbox.command(Command::Shutdown { deadline: self.clock.mono() });
        let deadline = self.clock.mono() + LOOP_END;
        while let Ok(input) = self.inputs.recv_timeout(self.clock.until(deadline)) {
            if matches!(input, Input::Report(Report::Stopped)) {
                break;
            }
        }
        self.dismiss_all();
    }

    /// Tells every reactor that all sessions are over.
    fn dismiss_all(&mut self) {
        let now = self.clock.mono();
        for peer in std::mem::take(&mut self.sessions).into_values() {
            self.lineup.dismiss(&peer, DisconnectReason::Stopped, now);
        }
    }

    /// Tells every reactor of a session that begins.
    fn introduce(&mut self, admission: Admission) {
        let conn = admission.conn;
        let list = |peer: &Peer| {
            self.shared.peers.write().insert(peer.id(), peer.clone());
            self.sessions.insert(conn, peer.clone());
        };
        let result = self
            .lineup
            .introduce(admission, list)
            .map(|session| self.mailbox.command(Command::Admit { conn, session }));
        self.feed(Input::Introduced { conn, result });
    }

    /// Tells every reactor of a session that is over.
    fn dismiss(&mut self, conn: ConnId, reason: DisconnectReason) {
        let Some(peer) = self.sessions.remove(&conn) else { return };
        // Held until it is retired: who adds up meanwhile would count it twice, or not at all.
        let mut tally = self.shared.tally.lock();
        // First, so that who was told of the end does not find the session listed.
        let is_listed = self.shared.peers.write().remove(&peer.id()).is_some();
        self.lineup.dismiss(&peer, reason, self.clock.mono());
        // Unless a stop that did not wait for this thread has done it.
        if is_listed {
            tally.retire(&peer.status());
        }
    }

    fn resolve(&mut self, request: ResolveRequest) {
        let (ticket, to_switch) = (request.ticket, self.to_switch.clone());
        let answer = move |resolved| {
            // Late answers find the switch gone.
            to_switch.tell(Input::Resolved(resolved));
        };
        if let Err(error) = self.resolver.submit(request, answer) {
            let result = Err(error.to_string());
            self.to_switch.tell(Input::Resolved(Resolved { ticket, result }));
        }
    }

    fn ask_filters(&self, ticket: u64, candidate: &Candidate) {
        let filters = match candidate.node_info {
            None => &self.connection_filters,
            Some(_) => &self.peer_filters,
        };
        for filter in filters {
            let to_switch = self.to_switch.clone();
            let verdict = guarded(|| filter(candidate)).unwrap_or_else(|| {
                tell!(Level::Error, "a filter panicked about {}", candidate.addr);
                Verdict::reject("the filter panicked")
            });
            verdict.tell(move |result| {
                // A late decision finds the switch gone.
                to_switch.tell(Input::Decided { ticket, result });
            });
        }
    }

    fn publish(&mut self, event: SwitchEvent) {
        let is_persistent = |id: &NodeId| self.core.is_persistent(id);
        if let Some(line) = self.log.line(&event, is_persistent, self.clock.mono()) {
            tell!(line.level, "{}", line.text);
        }
        self.shared.tally.lock().count(&event);
        // They hear of the end last, however it comes: see `Shared::close`.
        if !matches!(event, SwitchEvent::Stopped(_)) {
            self.shared.subscribers.lock().tell(&event);
        }
    }
}

impl<I: Inbox, N: Notices> Driver for SwitchThread<I, N> {
    type Core = SwitchCore;

    fn core(&mut self) -> &mut SwitchCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn next_input(&mut self) -> Input {
        self.shared.dialing.store(self.core.num_dialing(), Relaxed);
        self.lineup.let_go(self.clock.mono());
        let input = self.clock.receive(&self.inputs, self.next_deadline());
        let (reactor, sessions) = self.lineup.unread();
        self.feed(Input::Unread { reactor, sessions });
        // Only the time can be over: the thread itself holds a sender.
        input.unwrap_or(Input::Timeout)
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Command(command) => self.mailbox.command(command),
            Output::Introduce(admission) => self.introduce(admission),
            Output::Weigh { newcomer, sessions } => {
                let vitals =
                    |conn: &ConnId| Some((*conn, self.sessions.get(conn)?.session().vitals()));
                let sessions = sessions.iter().filter_map(vitals).collect();
                self.feed(Input::Weighed { newcomer, sessions });
            }
            Output::Down { conn, reason } => self.dismiss(conn, reason),
            Output::Mark { conn, is_persistent, is_reserved } => {
                if let Some(peer) = self.sessions.get(&conn) {
                    peer.session().set_reserved(is_persistent, is_reserved);
                }
            }
            Output::Filter { ticket, candidate } => self.ask_filters(ticket, &candidate),
            Output::Answer(answer) => {
                // What it stands for is to be seen by whoever is told of it.
                *self.shared.limits.lock() = self.core.limits();
                self.shared.dialing.store(self.core.num_dialing(), Relaxed);
                answer.give();
            }
            Output::Resolve(request) => self.resolve(request),
            Output::Notice(notice) => self.notices.notice(notice),
            Output::Event(event) => self.publish(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::{
        ban::BanTable,
        config::Config,
        event_loop::Posts,
        identity::NodeKey,
        ids::{ChannelId, Direction},
        node_info::NodeInfo,
        origin::Origin,
        reactor::{Admission, Event, Progress, Session, SessionSettings},
        switch::{Reply, Request, Resolver, SwitchSettings, SystemResolver},
    };

    struct Told(Sender<Event>);

    struct Bomb;

    impl Notices for Bomb {
        fn notice(&self, _: Notice) {
            panic!("a panic on purpose")
        }
    }

    impl Inbox for Told {
        fn deliver(&mut self, _: usize, event: Event) -> bool {
            self.0.send(event).is_ok()
        }

        fn progress(&self, _: usize) -> Progress {
            Progress::default()
        }
    }

    /// A bug of this library, whatever it is: `drop(switch)` waited for ever, sessions went on without
    /// a switch, and whoever waited for an answer did so for ever.
    #[test]
    fn a_thread_that_dies_takes_loop_and_sessions_with_it() {
        let (to_switch, inputs) = ToSwitch::new();
        let (to_reactor, events) = unbounded();
        let mailbox = Arc::new(Mailbox::new(|| {}, || crate::time::Mono::ZERO));
        let shared = Arc::new(Shared::default());
        let id = NodeKey::from_seed([1; 32]).id();
        let settings = SessionSettings::for_test(&[]);
        let admission = Admission {
            conn: ConnId::new(0, 1, 0),
            id,
            node_info: Arc::new(
                NodeInfo::new("chain", "peer")
                    .unwrap()
                    .with_id(id)
                    .with_channels([ChannelId::new(1)]),
            ),
            direction: Direction::Inbound,
            remote_addr: ([10, 0, 0, 1], 1).into(),
            dialed_addr: None,
            origin: None,
            is_persistent: false,
            is_reserved: false,
        };
        let peer = Peer::new(Arc::new(Session::new(admission, &settings, mailbox.clone())));
        peer.set(peer.clone());
        shared.peers.write().insert(id, peer.clone());
        let (reply, answer) = shared.waiting.ask().unwrap();
        let names = vec!["votes".to_owned()];
        let resolver: Arc<dyn Resolver> = Arc::new(SystemResolver);
        let own = NodeKey::from_seed([2; 32]).id();
        let thread = SwitchThread {
            core: SwitchCore::new(
                SwitchSettings::of(own, &Config::default(), Vec::new()),
                Arc::new(BanTable::default()),
                [0; 32],
            ),
            inputs,
            to_switch: to_switch.clone(),
            lineup: Lineup::new(settings, names, Told(to_reactor), mailbox.clone()),
            mailbox: mailbox.clone(),
            resolver: ResolverPool::new(resolver),
            shared: shared.clone(),
            clock: Clock::start(),
            sessions: [(peer.conn(), peer.clone())].into(),
            connection_filters: Vec::new(),
            peer_filters: Vec::new(),
            log: Log::default(),
            notices: Bomb,
        };
        let addr = "ed99ea2d90b79612618deaed7cdde9e9786223b7@127.0.0.1:1".parse().unwrap();
        let request = Request::Dial { addr, origin: Origin::Operator, reply: Some(reply) };
        assert!(to_switch.tell(Input::Request(request)));
        // What the loop answers.
        to_switch.clone().report(Report::Stopped);
        assert!(!thread.run_to_end(), "it had panicked");
        let (late, kept) = Reply::kept();
        assert!(!to_switch.tell(Input::Request(Request::States(late))));
        assert_eq!(kept.get(), Some(&None), "answered all the same");
        let mut posts = Posts::default();
        mailbox.take(&mut posts);
        assert!(posts.commands.iter().any(|post| matches!(post, Command::Shutdown { .. })));
        assert_eq!(*shared.stop_reason.lock(), Some(StopReason::Failed));
        assert!(answer.recv().is_err() && shared.peers.read().is_empty());
        let told: Vec<_> = events.iter().collect();
        assert!(matches!(&told[..], [Event::PeerDown(down, _)] if *down == peer), "{told:?}");
        assert!(peer.closed().try_recv().unwrap_err().is_disconnected());
        assert!(peer.get::<Peer>().is_none(), "they hold each other no more");
    }
}
