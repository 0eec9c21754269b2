//! The thread `p2p-switch`: performs what the core decides.

use std::{collections::BTreeMap, sync::Arc};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use parking_lot::{Condvar, Mutex, RwLock};

use super::{Input, Lineup, Output, Resolved, ResolverPool, StopReason, SwitchCore, SwitchEvent};
use crate::{
    clock::Clock,
    event_loop::{Command, Inbox, Mailbox},
    identity::NodeId,
    ids::ConnId,
    reactor::{DisconnectReason, Peer},
};

/// What the switch's thread shares with the handles.
#[derive(Default)]
pub(crate) struct Shared {
    /// The sessions, by ID.
    pub(crate) peers: RwLock<BTreeMap<NodeId, Peer>>,
    /// Who waits for the answer to a dial.
    pub(crate) dials: Mutex<BTreeMap<u64, Sender<Result<NodeId, DisconnectReason>>>>,
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
}

impl<I: Inbox> SwitchThread<I> {
    /// Runs until the event loop has stopped.
    pub(crate) fn run(mut self) {
        while !self.core.is_stopped() {
            let timeout = self.core.next_deadline().map(|deadline| self.clock.until(deadline));
            let input = match timeout {
                Some(timeout) => self.inputs.recv_timeout(timeout),
                None => self.inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = self.clock.now();
            match input {
                Ok(input) => self.core.handle(input, now),
                Err(RecvTimeoutError::Timeout) => {}
                // Cannot be: the thread itself holds a sender.
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.core.handle_timeout(now);
            while let Some(output) = self.core.poll_output() {
                self.perform(output);
            }
        }
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
                self.core.handle_introduced(conn, result);
            }
            Output::Down { conn, reason } => {
                let Some(peer) = self.sessions.remove(&conn) else { return };
                // First, so that who was told of the end does not find the session listed.
                self.shared.peers.write().remove(&peer.id());
                self.lineup.dismiss(&peer, reason);
            }
            Output::Answer { ticket, result } => {
                if let Some(waiting) = self.shared.dials.lock().remove(&ticket) {
                    // The ticket may have been dropped.
                    let _ = waiting.send(result);
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
            Output::Event(event) => self.publish(event),
        }
    }

    fn publish(&mut self, event: SwitchEvent) {
        log_event(&event);
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
        self.shared.dials.lock().clear();
        self.shared.subscribers.lock().clear();
        self.shared.peers.write().clear();
        self.shared.stopped.notify_all();
    }
}

/// One line a person can read; a peer that misbehaves is worth more than one that leaves.
fn log_event(event: &SwitchEvent) {
    let level = |reason: &DisconnectReason| {
        if reason.is_notable() { log::Level::Warn } else { log::Level::Info }
    };
    match event {
        SwitchEvent::PeerUp { id, addr, direction, moniker } => {
            log::info!("peer {id}@{addr} up, {direction}, {moniker:?}");
        }
        SwitchEvent::PeerDown { id, addr, reason } => {
            log::log!(level(reason), "peer {id}@{addr} down: {reason}");
        }
        SwitchEvent::DialFailed { addr, reason } => log::info!("dialing {addr} failed: {reason}"),
        SwitchEvent::Rejected { addr, id: Some(id), reason } => {
            log::info!("rejected {id}@{addr}: {reason}");
        }
        // Anybody can cause these without a key: not worth a line each.
        SwitchEvent::Rejected { addr, id: None, reason } => {
            log::debug!("rejected {addr}: {reason}");
        }
        SwitchEvent::AcceptFailed(kind) => log::warn!("cannot accept connections: {kind}"),
        SwitchEvent::Stopped => log::info!("switch stopped"),
    }
}
