//! What everybody but the owner holds of a switch.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::{
    address::{NetAddress, PeerAddress},
    clock::Clock,
    event_loop::{Command, Mailbox},
    identity::NodeId,
    ids::{ChannelId, Direction},
    node_info::NodeInfo,
    payload::Payload,
    pex::PexHandle,
    reactor::{BroadcastHandle, DisconnectReason, Peer, SendErrorKind, start_broadcast},
    reply::Reply,
    switch::{Dialed, Input, Metrics, Origin, Request, Shared, SwitchEvent, ToSwitch},
    thread,
    time::Mono,
};

/// Events that a subscriber may leave unread. A subscriber that does not read loses later ones.
const SUBSCRIBER_EVENTS: usize = 4096;

/// A handle of a switch: cheap to clone, usable from any thread, also after the switch has stopped
/// (then calls say so). It never joins a thread.
#[derive(Clone)]
pub struct SwitchHandle(Arc<Inner>);

pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) to_switch: ToSwitch,
    pub(super) shared: Arc<Shared>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) pex: PexHandle,
    pub(super) id: NodeId,
    pub(super) node_info: NodeInfo,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) send_timeout: Duration,
    pub(super) close_timeout: Duration,
}

/// The switch has stopped, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the switch has stopped")]
pub struct Stopped;

/// How many peers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumPeers {
    /// Sessions that we dialed.
    pub outbound: usize,
    /// Sessions that dialed us.
    pub inbound: usize,
    /// Attempts under way.
    pub dialing: usize,
}

/// The answer to a dial, when it comes. Dropping it does not cancel the dial.
#[derive(Debug)]
pub struct DialTicket {
    answer: Receiver<Dialed>,
}

/// Why there is no session with the dialed node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The attempt failed.
    #[error("{0}")]
    Failed(DisconnectReason),
    /// The switch stopped before the attempt was over.
    #[error("the switch has stopped")]
    Stopped,
    /// Waited on one of the library's own threads, which would wait for itself.
    #[error("waiting for a dial on a thread of the switch")]
    WrongThread,
}

impl SwitchHandle {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    /// This node's ID.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// What this node announces.
    pub fn node_info(&self) -> &NodeInfo {
        &self.0.node_info
    }

    /// Where the listener is bound, with the real port; `None` if the node only dials.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.local_addr
    }

    /// What others dial to reach this node from this machine: ID and bound address. A node that
    /// only dials has port 0 here.
    pub fn peer_address(&self) -> PeerAddress {
        let addr = self.0.local_addr.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        NetAddress::new(self.id(), addr.ip(), addr.port()).into()
    }

    /// Dials a node. Returns at once; the ticket tells how it went, and so does
    /// [`SwitchEvent::DialFailed`]. The node must authenticate as the address's ID.
    ///
    /// # Errors
    /// The switch has stopped.
    pub fn dial(&self, addr: PeerAddress) -> Result<DialTicket, Stopped> {
        let origin = Origin::Operator;
        let answer = self.ask(|reply| Request::Dial { addr, origin, reply: Some(reply) })?;
        Ok(DialTicket { answer })
    }

    /// The sessions, by ID.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.shared.peers.read().values().cloned().collect()
    }

    /// The session with this node.
    pub fn peer(&self, id: &NodeId) -> Option<Peer> {
        self.0.shared.peers.read().get(id).cloned()
    }

    /// How many peers there are.
    pub fn num_peers(&self) -> NumPeers {
        let peers = self.0.shared.peers.read();
        let outbound = peers.values().filter(|p| p.direction() == Direction::Outbound).count();
        let inbound = peers.len() - outbound;
        NumPeers { outbound, inbound, dialing: self.0.shared.dialing.load(Relaxed) }
    }

    /// Queues the message for every peer that has the channel, encoded once and shared. Returns at
    /// once; entries that find a full queue wait up to `Config::send_timeout`.
    pub fn broadcast(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> BroadcastHandle {
        let channel = channel.into();
        let deadline = self.0.clock.mono() + self.0.send_timeout;
        start_broadcast(self.peers_with(channel), channel, &payload.into(), deadline)
    }

    /// The same, but a full queue is a refusal. The outcome per peer, by ID.
    pub fn try_broadcast(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> Vec<(Peer, Result<(), SendErrorKind>)> {
        let (channel, payload) = (channel.into(), payload.into());
        let send = |peer: Peer| {
            let outcome = peer.try_send_payload(channel, &payload);
            (peer, outcome)
        };
        self.peers_with(channel).into_iter().map(send).collect()
    }

    /// What was counted since the start, and how many peers there are now. Stays after the stop.
    pub fn metrics(&self) -> Metrics {
        let (peers, now) = (self.peers(), self.num_peers());
        let statuses = peers.iter().map(Peer::status);
        let mut metrics = self.0.shared.tally.lock().with_sessions(statuses);
        let wall = self.0.clock.now().wall;
        metrics.bans = self.0.pex.bans().iter().filter(|ban| ban.is_in_force(wall)).count();
        (metrics.outbound_peers, metrics.inbound_peers) = (now.outbound, now.inbound);
        metrics.dialing = now.dialing;
        metrics
    }

    /// What happens from now on. Ends after [`SwitchEvent::Stopped`]. A subscriber that leaves
    /// 4096 events unread loses later ones.
    pub fn subscribe(&self) -> Receiver<SwitchEvent> {
        let (sender, receiver) = crossbeam_channel::bounded(SUBSCRIBER_EVENTS);
        // Under the lock of the flag, so that the end of the thread cannot fall in between.
        let stop_reason = self.0.shared.stop_reason.lock();
        if stop_reason.is_none() {
            self.0.shared.subscribers.lock().push(sender);
        }
        receiver
    }

    /// Starts the stop of the switch, from anywhere, also from a signal handler's thread; `wait`
    /// of the owner then returns. Peers get what was accepted for them, within
    /// `Config::close_timeout`.
    pub fn request_stop(&self) {
        self.stop_by(self.0.clock.mono() + self.0.close_timeout);
    }

    pub(super) fn stop_by(&self, deadline: Mono) {
        // Nobody is there to take it once the switch has stopped.
        let _ = self.request(Request::Stop { deadline });
        // The loop hears it from us, too: the switch's thread may sit in code of the application. Not
        // before the switch could, so that it knows that the ends it hears of were asked for.
        self.0.mailbox.command(Command::Shutdown { deadline });
    }

    /// Posts a request whose answer comes in the receiver; that ends without one if the switch
    /// stops before.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<Receiver<T>, Stopped> {
        let (reply, answer) = self.0.shared.waiting.ask().ok_or(Stopped)?;
        self.request(request(reply))?;
        Ok(answer)
    }

    fn request(&self, request: Request) -> Result<(), Stopped> {
        let stop_reason = self.0.shared.stop_reason.lock();
        if stop_reason.is_some() {
            return Err(Stopped);
        }
        if self.0.to_switch.tell(Input::Request(request)) { Ok(()) } else { Err(Stopped) }
    }

    fn peers_with(&self, channel: ChannelId) -> Vec<Peer> {
        let peers = self.0.shared.peers.read();
        peers.values().filter(|peer| peer.has_channel(channel)).cloned().collect()
    }
}

impl fmt::Debug for SwitchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwitchHandle({})", self.peer_address())
    }
}

impl DialTicket {
    /// Waits until the dial has succeeded (every reactor has been told of the peer) or failed.
    ///
    /// # Errors
    /// Why there is no session.
    pub fn wait(self) -> Result<NodeId, DialError> {
        if thread::is_ours() {
            return Err(DialError::WrongThread);
        }
        self.answer.recv().map_err(|_| DialError::Stopped)?.map_err(DialError::Failed)
    }

    /// Waits no longer than this; `None` if there is no answer by then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<NodeId, DialError>> {
        if thread::is_ours() {
            return Some(Err(DialError::WrongThread));
        }
        match self.answer.recv_timeout(timeout) {
            Ok(dialed) => Some(dialed.map_err(DialError::Failed)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(DialError::Stopped)),
        }
    }
}
