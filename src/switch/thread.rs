//! The thread `p2p-switch`: performs what the core decides.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use ::log::Level;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use parking_lot::{Condvar, Mutex, RwLock};

use super::{
    Answer, Candidate, Decision, Filter, Input, Lineup, Notice, Output, PeerState, Resolved,
    ResolverPool, StopReason, SwitchCore, SwitchEvent, log::Log, metrics::Tally,
};
use crate::{
    clock::Clock,
    event_loop::{Command, Mailbox, Report},
    guard::{guarded, tell},
    identity::NodeId,
    ids::ConnId,
    reactor::{DisconnectReason, Inbox, Peer},
    time::earliest,
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
    pub(crate) answers: Mutex<BTreeMap<u64, Sender<Answer>>>,
    /// Attempts under way or scheduled.
    pub(crate) dialing: AtomicUsize,
    /// What has happened so far, and what sessions that are over had counted.
    pub(crate) tally: Mutex<Tally>,
    pub(crate) subscribers: Mutex<Vec<Sender<SwitchEvent>>>,
    /// Set once every reactor was told of every end.
    pub(crate) stop_reason: Mutex<Option<StopReason>>,
    pub(crate) stopped: Condvar,
}

/// Everything that the thread owns.
pub(crate) struct SwitchThread<I> {
    pub(crate) core: SwitchCore,
    pub(crate) inputs: Receiver<Input>,
    pub(crate) own_inputs: Sender<Input>,
    pub(crate) lineup: Lineup<I>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) resolver: ResolverPool,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Clock,
    pub(crate) sessions: BTreeMap<ConnId, Peer>,
    pub(crate) connection_filters: Vec<Filter>,
    pub(crate) peer_filters: Vec<Filter>,
    pub(crate) log: Log,
    /// What peer exchange is to know.
    pub(crate) notices: Box<dyn Fn(Notice) + Send>,
}

impl Shared {
    /// The switch is over: whoever waits for it is told, and nobody waits from now on. The first
    /// reason counts.
    pub(crate) fn close(&self, reason: StopReason) {
        // The flag first: whoever registers something afterwards is refused, whoever did before
        // is found here.
        self.stop_reason.lock().get_or_insert(reason);
        self.stopped.notify_all();
        self.answers.lock().clear();
        self.dialing.store(0, Relaxed);
        self.subscribers.lock().clear();
        let peers = std::mem::take(&mut *self.peers.write());
        drop(peers);
    }
}

impl<I: Inbox> SwitchThread<I> {
    /// Runs until the event loop has stopped. However the thread ends, loop and sessions end with
    /// it, and nobody waits for it for ever. Whether it ended as it should; else it had panicked.
    pub(crate) fn run(mut self) -> bool {
        let is_sound = guarded(|| self.run_core()).is_some();
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
        is_sound
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
        let now = self.clock.mono();
        for peer in std::mem::take(&mut self.sessions).into_values() {
            self.lineup.dismiss(&peer, DisconnectReason::Stopped, now);
        }
    }

    fn run_core(&mut self) {
        self.core.start(self.clock.now());
        self.perform_all();
        while !self.core.is_stopped() {
            let deadline = earliest(self.core.next_deadline(), self.lineup.next_deadline());
            let timeout = deadline.map(|deadline| self.clock.until(deadline));
            let input = match timeout {
                Some(timeout) => self.inputs.recv_timeout(timeout),
                None => self.inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = self.clock.now();
            let (reactor, unread) = self.lineup.unread();
            self.core.handle_unread(reactor, unread);
            match input {
                Ok(input) => self.core.handle(input, now),
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: the thread itself holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.core.handle_timeout(now);
            self.perform_all();
            self.lineup.let_go(now.mono);
        }
    }

    fn perform_all(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.perform(output);
            if let Some(reactor) = self.lineup.take_gone() {
                self.core.handle(Input::ReactorGone(reactor), self.clock.now());
            }
        }
        self.shared.dialing.store(self.core.num_dialing(), Relaxed);
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Command(command) => self.mailbox.command(command),
            Output::Introduce(admission) => {
                let conn = admission.conn;
                let list = |peer: &Peer| {
                    self.shared.peers.write().insert(peer.id(), peer.clone());
                    self.sessions.insert(conn, peer.clone());
                };
                let result = self
                    .lineup
                    .introduce(admission, list)
                    .map(|session| self.mailbox.command(Command::Admit { conn, session }));
                self.core.handle_introduced(conn, result, self.clock.now());
            }
            Output::Weigh { newcomer, sessions } => {
                let vitals =
                    |conn: &ConnId| Some((*conn, self.sessions.get(conn)?.session().vitals()));
                let sessions: Vec<_> = sessions.iter().filter_map(vitals).collect();
                self.core.handle_weighed(newcomer, &sessions, self.clock.now());
            }
            Output::Down { conn, reason } => {
                let Some(peer) = self.sessions.remove(&conn) else { return };
                // First, so that who was told of the end does not find the session listed.
                self.shared.peers.write().remove(&peer.id());
                self.lineup.dismiss(&peer, reason, self.clock.mono());
                self.shared.tally.lock().retire(&peer.status());
            }
            Output::Mark { conn, is_persistent, is_reserved } => {
                if let Some(peer) = self.sessions.get(&conn) {
                    peer.session().set_reserved(is_persistent, is_reserved);
                }
            }
            Output::Filter { ticket, candidate } => self.ask_filters(ticket, &candidate),
            Output::Answer { ticket, mut answer } => {
                if let Answer::States(states) = &mut answer {
                    self.add_status(states);
                }
                // What it stands for is to be seen by whoever is told of it.
                self.shared.dialing.store(self.core.num_dialing(), Relaxed);
                if let Some(waiting) = self.shared.answers.lock().remove(&ticket) {
                    // The ticket may have been dropped.
                    let _ = waiting.send(answer);
                }
            }
            Output::Resolve(request) => {
                let (ticket, inputs) = (request.ticket, self.own_inputs.clone());
                let answer = move |resolved| {
                    // Late answers find the switch gone.
                    let _ = inputs.send(Input::Resolved(resolved));
                };
                if let Err(error) = self.resolver.submit(request, answer) {
                    let result = Err(error.to_string());
                    let _ = self.own_inputs.send(Input::Resolved(Resolved { ticket, result }));
                }
            }
            Output::Notice(notice) => (self.notices)(notice),
            Output::Event(event) => self.publish(event),
        }
    }

    fn ask_filters(&self, ticket: u64, candidate: &Candidate) {
        let filters = match candidate.node_info {
            None => &self.connection_filters,
            Some(_) => &self.peer_filters,
        };
        for filter in filters {
            let inputs = self.own_inputs.clone();
            let decision = Decision::new(move |result| {
                // A late decision finds the switch gone.
                let _ = inputs.send(Input::Decided { ticket, result });
            });
            // Unwinding drops the decision, which refuses the candidate.
            if guarded(|| filter(candidate, decision)).is_none() {
                tell!(Level::Error, "a filter panicked about {}", candidate.addr);
            }
        }
    }

    fn add_status(&self, states: &mut [PeerState]) {
        let peers = self.shared.peers.read();
        for state in states {
            let peer = state.id.and_then(|id| peers.get(&id));
            let Some(peer) = peer else { continue };
            state.status = Some(peer.status());
            if let Some(addr) = peer.dialed_addr() {
                state.dial_addr = Some(addr.clone());
            }
        }
    }

    fn publish(&mut self, event: SwitchEvent) {
        let is_persistent = |id: &NodeId| self.core.is_persistent(id);
        if let Some(line) = self.log.line(&event, is_persistent, self.clock.mono()) {
            tell!(line.level, "{}", line.text);
        }
        self.shared.tally.lock().count(&event);
        self.shared.subscribers.lock().retain(|subscriber| {
            match subscriber.try_send(event.clone()) {
                // A subscriber that does not read loses events, not the switch its memory.
                Ok(()) | Err(TrySendError::Full(_)) => true,
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        switch::{Request, Resolver, SwitchSettings, SystemResolver},
    };

    struct Told(Sender<Event>);

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
        let (own_inputs, inputs) = unbounded();
        let (to_reactor, events) = unbounded();
        let mailbox = Arc::new(Mailbox::new(|| {}));
        let shared = Arc::new(Shared::default());
        let id = NodeKey::from_seed([1; 32]).id();
        let settings = SessionSettings {
            channels: Arc::new([]),
            reactors: 1,
            reactor_budget: 1,
            send_queue_bytes: 0,
            send_timeout: Duration::ZERO,
            verdicts: Arc::new(()),
        };
        let admission = Admission {
            conn: ConnId::new(0, 1, 0),
            id,
            node_info: Box::new(
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
        let (waits, answer) = crossbeam_channel::bounded(1);
        shared.answers.lock().insert(7, waits);
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
            own_inputs: own_inputs.clone(),
            lineup: Lineup::new(settings, names, Told(to_reactor), mailbox.clone()),
            mailbox: mailbox.clone(),
            resolver: ResolverPool::new(resolver),
            shared: shared.clone(),
            clock: Clock::start(),
            sessions: [(peer.conn(), peer.clone())].into(),
            connection_filters: Vec::new(),
            peer_filters: Vec::new(),
            log: Log::default(),
            notices: Box::new(|_| panic!("a panic on purpose")),
        };
        let addr = "ed99ea2d90b79612618deaed7cdde9e9786223b7@127.0.0.1:1".parse().unwrap();
        let request = Request::DialUnasked { addr, origin: Origin::Operator };
        own_inputs.send(Input::Request(request)).unwrap();
        // What the loop answers.
        own_inputs.send(Input::Report(Report::Stopped)).unwrap();
        assert!(!thread.run(), "it had panicked");
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
