//! What everybody but the owner holds of a switch.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::{
    address::{NetAddress, PeerAddress},
    clock::Clock,
    event_loop::{Command, Counters, Mailbox},
    identity::NodeId,
    ids::{ChannelId, Direction},
    node_info::NodeInfo,
    payload::Payload,
    pex::PexHandle,
    reactor::{
        BroadcastHandle, DisconnectReason, MessageTypes, Peer, SendError, SendErrorKind,
        SendOutcomes, start_broadcast,
    },
    refused::{Stopped, WrongThread},
    reply::Reply,
    switch::{DialError, Dialed, Input, Metrics, Origin, Request, Shared, SwitchEvent, ToSwitch},
    thread,
    time::Mono,
};

/// A handle of a switch: cheap to clone, usable from any thread. It never joins a thread.
///
/// It may be older than the switch ([`SwitchBuilder::handle`](crate::SwitchBuilder::handle)) and
/// outlive it. Where there is no switch to ask, calls say [`Stopped`]; those that have no error for it
/// tell of a node without peers. Before the start there are two that do their work:
/// [`subscribe`](Self::subscribe), which misses nothing, and [`request_stop`](Self::request_stop),
/// which stops the switch as soon as it has started.
#[derive(Clone)]
pub struct SwitchHandle(Arc<Inner>);

pub(super) struct Inner {
    pub(super) to_switch: ToSwitch,
    pub(super) shared: Arc<Shared>,
    pub(super) id: NodeId,
    /// As the application gave it.
    pub(super) node_info: NodeInfo,
    pub(super) send_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) started: OnceLock<Started>,
}

/// What there is from the start on, also after the stop.
pub(super) struct Started {
    pub(super) clock: Clock,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) pex: PexHandle,
    /// With channels and address.
    pub(super) node_info: NodeInfo,
    pub(super) local_addr: Option<SocketAddr>,
    pub(super) counters: Arc<Counters>,
    /// Of channels whose messages somebody names.
    pub(super) message_types: Vec<Arc<MessageTypes>>,
}

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

/// A dial under way, and its outcome when it is known. Dropping it does not cancel the dial.
#[derive(Debug)]
#[must_use = "it says how the dial went"]
pub struct DialTicket {
    outcome: Receiver<Result<Peer, DialError>>,
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

    /// What this node announces; before the start as the application gave it, without channels and
    /// address.
    #[doc(alias = "NodeInfo")]
    pub fn node_info(&self) -> &NodeInfo {
        self.0.started.get().map_or(&self.0.node_info, |started| &started.node_info)
    }

    /// Where the listener is bound, with the real port; `None` if the node only dials, and before the
    /// start.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.0.started.get()?.local_addr
    }

    /// What others dial to reach this node from this machine: ID and bound address; `None` where
    /// there is no [`local_addr`](Self::local_addr).
    #[doc(alias = "NetAddress")]
    pub fn peer_address(&self) -> Option<PeerAddress> {
        let addr = self.local_addr()?;
        Some(NetAddress::new(self.id(), addr.ip(), addr.port()).into())
    }

    /// Dials a node. Returns at once, on any thread; the ticket tells how it went, also that there is no
    /// switch, and so does [`SwitchEvent::DialFailed`]. The node must authenticate as the
    /// address's ID.
    #[doc(alias = "DialPeerWithAddress")]
    pub fn dial(&self, addr: PeerAddress) -> DialTicket {
        let (sender, outcome) = crossbeam_channel::bounded(1);
        let shared = self.0.shared.clone();
        let reply = Reply::new(move |dialed: Option<Dialed>| {
            let failed = |reason| match reason {
                DisconnectReason::Stopped => Stopped.into(),
                reason => DialError::Failed(reason),
            };
            let dialed = dialed.ok_or(Stopped.into()).and_then(|dialed| dialed.map_err(failed));
            // Listed before it is said, unless it is over already.
            let peer = |id| shared.peers.read().get(&id).cloned().ok_or(Stopped.into());
            // The ticket may have been dropped.
            let _ = sender.send(dialed.and_then(peer));
        });
        // Without a switch the reply is dropped, which says so.
        if let (Ok(_), Some(reply)) = (self.running(), self.0.shared.waiting.hold(reply)) {
            let (origin, reply) = (Origin::Operator, Some(reply));
            let _ = self.request(Request::Dial { addr, origin, reply });
        }
        DialTicket { outcome }
    }

    /// The sessions, by ID.
    #[doc(alias = "Peers")]
    pub fn peers(&self) -> Vec<Peer> {
        self.0.shared.peers.read().values().cloned().collect()
    }

    /// The session with this node.
    pub fn peer(&self, id: NodeId) -> Option<Peer> {
        self.0.shared.peers.read().get(&id).cloned()
    }

    /// How many peers there are.
    #[doc(alias = "NumPeers")]
    pub fn num_peers(&self) -> NumPeers {
        let peers = self.0.shared.peers.read();
        let outbound = peers.values().filter(|p| p.direction() == Direction::Outbound).count();
        let inbound = peers.len() - outbound;
        NumPeers { outbound, inbound, dialing: self.0.shared.dialing.load(Relaxed) }
    }

    /// Queues the message for every peer that has the channel, encoded once and shared. Returns at
    /// once; entries that find a full queue wait up to `Config::send_timeout`.
    ///
    /// # Errors
    /// [`NoSuchChannel`](SendErrorKind::NoSuchChannel) if no reactor of this switch owns the channel.
    #[doc(alias = "Broadcast")]
    pub fn broadcast(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> Result<BroadcastHandle, SendError> {
        let (channel, payload) = self.owned(channel.into(), payload.into())?;
        // Before the start there is nobody to send to.
        let now = self.0.started.get().map_or(Mono::ZERO, |started| started.clock.mono());
        let deadline = now + self.0.send_timeout;
        Ok(start_broadcast(self.peers_with(channel), channel, &payload, deadline))
    }

    /// The same, but a full queue is a refusal. The outcome per peer, by ID.
    ///
    /// # Errors
    /// As [`broadcast`](Self::broadcast).
    #[doc(alias = "TryBroadcast")]
    #[must_use = "it has the outcome for each peer"]
    pub fn try_broadcast(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> Result<SendOutcomes, SendError> {
        let (channel, payload) = self.owned(channel.into(), payload.into())?;
        let send = |peer: Peer| {
            let outcome = peer.try_send_payload(channel, &payload);
            (peer, outcome)
        };
        Ok(self.peers_with(channel).into_iter().map(send).collect())
    }

    /// What was counted since the start, and how many peers there are now. Stays after the stop.
    pub fn metrics(&self) -> Metrics {
        let tally = self.0.shared.tally.lock();
        let (peers, now) = (self.peers(), self.num_peers());
        let statuses = peers.iter().map(Peer::status);
        let channels = self.node_info().channels().iter().copied();
        let mut metrics = tally.with_sessions(channels, statuses);
        drop(tally);
        if let Some(started) = self.0.started.get() {
            let types = started.message_types.iter();
            metrics.message_types = types.map(|of| (of.channel, of.status())).collect();
            metrics.event_loop = started.counters.status();
        }
        metrics.bans = self.bans().len();
        (metrics.outbound_peers, metrics.inbound_peers) = (now.outbound, now.inbound);
        metrics.dialing = now.dialing;
        metrics
    }

    /// What happens from now on; of a switch that has not started all of it. Ends after
    /// [`SwitchEvent::Stopped`], also if the switch is never started; of one that has stopped at once. A subscriber that leaves 4096
    /// events unread loses later ones, and [`SwitchEvent::Lost`] says how many.
    pub fn subscribe(&self) -> Receiver<SwitchEvent> {
        // Under the lock of the flag, so that the end cannot fall in between.
        let stop_reason = self.0.shared.stop_reason.lock();
        match &*stop_reason {
            None => self.0.shared.subscribers.lock().add(),
            Some(_) => crossbeam_channel::bounded(0).1,
        }
    }

    /// Starts the stop of the switch, from anywhere, also from a signal handler's thread; `wait`
    /// of the owner then returns. Peers get what was accepted for them, within
    /// `Config::close_timeout`. Before the start: the switch stops as soon as it has started.
    pub fn request_stop(&self) {
        let now = self.0.started.get().map_or(Mono::ZERO, |started| started.clock.mono());
        self.stop_by(now + self.0.close_timeout);
    }

    pub(super) fn stop_by(&self, deadline: Mono) {
        // Nobody is there to take it once the switch has stopped.
        let _ = self.request(Request::Stop { deadline });
        // The loop hears it from us, too: the switch's thread may sit in code of the application. Not
        // before the switch could, so that it knows that the ends it hears of were asked for.
        if let Some(started) = self.0.started.get() {
            started.mailbox.command(Command::Shutdown { deadline });
        }
    }

    /// The switch, unless it was not started or has stopped.
    pub(super) fn running(&self) -> Result<&Started, Stopped> {
        let has_stopped = self.0.shared.stop_reason.lock().is_some();
        if has_stopped { Err(Stopped) } else { self.started() }
    }

    /// The switch, also if it has stopped.
    pub(super) fn started(&self) -> Result<&Started, Stopped> {
        self.0.started.get().ok_or(Stopped)
    }

    /// Posts a request whose answer comes in the receiver; that ends without one if the switch
    /// stops before.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<Receiver<T>, Stopped> {
        self.running()?;
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

    /// The message, if a reactor of this switch owns the channel.
    fn owned(
        &self,
        channel: ChannelId,
        payload: Payload,
    ) -> Result<(ChannelId, Payload), SendError> {
        // Before the start it is not known whose it is.
        let started = self.0.started.get();
        if started.is_none_or(|started| started.node_info.has_channel(channel)) {
            Ok((channel, payload))
        } else {
            Err(SendError { kind: SendErrorKind::NoSuchChannel, payload })
        }
    }

    fn peers_with(&self, channel: ChannelId) -> Vec<Peer> {
        let peers = self.0.shared.peers.read();
        peers.values().filter(|peer| peer.has_channel(channel)).cloned().collect()
    }
}

impl fmt::Debug for SwitchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SwitchHandle({}", self.id())?;
        self.local_addr().map_or(Ok(()), |addr| write!(f, "@{addr}"))?;
        f.write_str(")")
    }
}

impl DialTicket {
    /// Waits until the dial has succeeded (every reactor has been told of the peer) or failed. The other
    /// node may refuse us after that: its answer is that it closes
    /// ([`RefusedAfterHandshake`](DisconnectReason::RefusedAfterHandshake)).
    ///
    /// # Errors
    /// Why there is no session.
    pub fn wait(self) -> Result<Peer, DialError> {
        if thread::is_ours() {
            return Err(WrongThread.into());
        }
        self.outcome.recv().unwrap_or(Err(Stopped.into()))
    }

    /// Waits no longer than this; `None` if the outcome is not known by then. It is told once.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Result<Peer, DialError>> {
        if thread::is_ours() {
            return Some(Err(WrongThread.into()));
        }
        match self.outcome.recv_timeout(timeout) {
            Ok(outcome) => Some(outcome),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(Stopped.into())),
        }
    }

    /// Where the outcome comes, once, for `select!`; after that it is always ready, with an error. Not to
    /// be waited on in a hook or filter: the switch's thread would wait for itself.
    pub fn outcome(&self) -> &Receiver<Result<Peer, DialError>> {
        &self.outcome
    }
}
