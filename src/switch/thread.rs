//! The thread `p2p-switch`: performs what the core decides.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use parking_lot::{Condvar, Mutex, RwLock};

use super::{
    Answer, Candidate, Decision, Filter, Input, Lineup, Notice, Output, PeerState, Resolved,
    ResolverPool, StopReason, SwitchCore, SwitchEvent, log::Log, metrics::Tally,
};
use crate::{
    clock::Clock,
    event_loop::{Command, Inbox, Mailbox},
    identity::NodeId,
    ids::ConnId,
    reactor::Peer,
};

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

impl<I: Inbox> SwitchThread<I> {
    /// Runs until the event loop has stopped.
    pub(crate) fn run(mut self) {
        self.core.start(self.clock.now());
        self.perform_all();
        while !self.core.is_stopped() {
            let timeout = self.core.next_deadline().map(|deadline| self.clock.until(deadline));
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
                self.lineup.dismiss(&peer, reason);
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
            if catch_unwind(AssertUnwindSafe(|| filter(candidate, decision))).is_err() {
                log::error!("a filter panicked about {}", candidate.addr);
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
        if let Some(line) = self.log.line(&event, self.clock.mono()) {
            log::log!(line.level, "{}", line.text);
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

impl<I> Drop for SwitchThread<I> {
    /// However the thread ends, nobody waits for it for ever.
    fn drop(&mut self) {
        // The flag first: whoever registers something afterwards is refused, whoever did before
        // is found here.
        let reason = self.core.stop_reason().unwrap_or(StopReason::Failed);
        *self.shared.stop_reason.lock() = Some(reason);
        self.shared.answers.lock().clear();
        self.shared.dialing.store(0, Relaxed);
        self.shared.subscribers.lock().clear();
        self.shared.peers.write().clear();
        self.shared.stopped.notify_all();
    }
}
