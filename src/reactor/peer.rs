//! The handle of one session.

use std::{
    any::TypeId,
    cell::RefCell,
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, TryRecvError};
use log::Level;
use serde::{Deserialize, Serialize};

use super::{
    ChannelStatus, CloseMode, DisconnectReason, Pushed, Refused, SendError, SendErrorKind, Session,
    Waiter, session::SessionChannel, waiter::WaitCell,
};
use crate::{
    address::PeerAddress,
    guard::{P2P, tell},
    identity::NodeId,
    ids::{ChannelId, ConnId, Direction},
    node_info::NodeInfo,
    payload::Payload,
    thread,
};

/// One session with a peer. Cheap to clone, usable from any thread, also after the session's end:
/// then sending says so. It names the session, not the ID: a late [`stop`](Self::stop) cannot end
/// the next session of the same node. Two are equal if they are of the same session.
///
/// # How it ends
/// What a reactor decides: whether it found a fault, and whether what is queued for the peer is still
/// written. The reason goes to every reactor with [`PeerDown`](super::Event::PeerDown).
///
/// | | with a reason: a fault ([`Reactor`](DisconnectReason::Reactor)) | without one ([`Finished`](DisconnectReason::Finished)) |
/// |---|---|---|
/// | what is queued is dropped | [`stop`](Self::stop) | [`stop_gracefully`](Self::stop_gracefully) |
/// | what is queued is written | [`flush_stop_for`](Self::flush_stop_for) | [`flush_stop`](Self::flush_stop) |
///
/// None of them waits, each may be called on any thread and more than once: the first one counts.
#[derive(Clone)]
pub struct Peer(Arc<Session>);

/// Counters of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[doc(alias = "ConnectionStatus")]
pub struct PeerStatus {
    /// Per channel of this switch, in the order of registration.
    pub channels: Vec<ChannelStatus>,
    /// Last measured round trip of a ping; `None` before the first.
    pub rtt: Option<Duration>,
    /// What we send to the peer now, bytes per second, over the last second or two; 0 after two seconds
    /// of silence. Counted in packets, pings among them, before they are sealed;
    /// [`Config::send_rate`](crate::Config::send_rate) charges something for each frame beside.
    #[doc(alias = "SendMonitor")]
    pub send_rate: u64,
    /// The same for what the peer sends to us and we have read.
    #[doc(alias = "RecvMonitor")]
    pub recv_rate: u64,
}

impl Peer {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self(session)
    }

    pub(crate) fn session(&self) -> &Session {
        &self.0
    }

    /// The peer's authenticated ID.
    pub fn id(&self) -> NodeId {
        self.0.id
    }

    /// The connection that this session runs on; never used again for another.
    pub fn conn(&self) -> ConnId {
        self.0.conn
    }

    /// What the peer said of itself. Only its ID is authenticated.
    #[doc(alias = "NodeInfo")]
    pub fn node_info(&self) -> &NodeInfo {
        &self.0.node_info
    }

    /// Who dialed whom.
    #[doc(alias = "IsOutbound")]
    pub fn direction(&self) -> Direction {
        self.0.direction
    }

    /// The socket's remote address.
    #[doc(alias = "RemoteAddr")]
    #[doc(alias = "RemoteIP")]
    pub fn remote_addr(&self) -> SocketAddr {
        self.0.remote_addr
    }

    /// The address that was dialed, for an outbound session.
    #[doc(alias = "SocketAddr")]
    pub fn dialed_addr(&self) -> Option<&PeerAddress> {
        self.0.dialed_addr.as_ref()
    }

    /// Whether it is one of the persistent peers now.
    #[doc(alias = "IsPersistent")]
    pub fn is_persistent(&self) -> bool {
        self.0.is_persistent()
    }

    /// Whether the peer announced the channel.
    pub fn has_channel(&self, channel: impl Into<ChannelId>) -> bool {
        self.0.node_info.has_channel(channel.into())
    }

    /// A snapshot of the counters.
    pub fn status(&self) -> PeerStatus {
        let channels = self.0.channels.iter().map(|c| c.counters.status(c.id, c.queue_len()));
        let (now, (sent, received)) = (self.0.notify.now(), *self.0.meters.lock());
        PeerStatus {
            channels: channels.collect(),
            rtt: self.0.vitals().rtt,
            send_rate: sent.rate(now),
            recv_rate: received.rate(now),
        }
    }

    /// Queues a message, waiting for a place if the queue is full, at most `Config::send_timeout`
    /// (10 s as in Go). `Ok` means queued: it is sent unless the connection ends.
    ///
    /// **Not on the thread that receives.** While a reactor's thread waits here it takes no events.
    /// If the peer's does the same, each waits for the other to read, nothing moves until both
    /// time out, and what they wanted to send is lost; of twenty nodes that answer each other so,
    /// all stand still for 10 s at a time. A thread that reads [`Reactor::events`](crate::Reactor)
    /// uses [`try_send`](Self::try_send), keeps what finds a queue full, and goes on when
    /// [`Event::Writable`](super::Event::Writable) comes; or it leaves sending to another thread.
    /// [`Reactor`](crate::Reactor) shows both.
    ///
    /// # Errors
    /// See [`SendErrorKind`]; never `Full`.
    pub fn send(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        self.send_payload(channel.into(), &payload).map_err(|kind| SendError { kind, payload })
    }

    /// Queues a message if there is a place now. After a `Full` the channel's reactor gets exactly
    /// one [`Event::Writable`](super::Event::Writable) once there is one again.
    ///
    /// # Errors
    /// See [`SendErrorKind`]; never `TimedOut` or `WrongThread`.
    #[doc(alias = "TrySend")]
    pub fn try_send(
        &self,
        channel: impl Into<ChannelId>,
        payload: impl Into<Payload>,
    ) -> Result<(), SendError> {
        let payload = payload.into();
        self.try_send_payload(channel.into(), &payload).map_err(|kind| SendError { kind, payload })
    }

    /// Whether a `try_send` of a message that fits the channel would succeed now.
    #[doc(alias = "CanSend")]
    pub fn can_send(&self, channel: impl Into<ChannelId>) -> bool {
        let channel = channel.into();
        self.0.channel(channel).is_some_and(|c| c.is_open && c.may_accept())
    }

    /// Ends the session at once, for a fault that this reactor found. Queued messages are dropped, and
    /// so is what the peer has sent and no reactor has got yet.
    #[doc(alias = "StopPeerForError")]
    pub fn stop(&self, reason: impl Into<String>) {
        self.0.close(CloseMode::Now(DisconnectReason::Reactor(reason.into())));
    }

    /// Ends the session without a fault. Queued messages are dropped, what is already sealed is
    /// written.
    #[doc(alias = "StopPeerGracefully")]
    pub fn stop_gracefully(&self) {
        self.0.close(CloseMode::Graceful(DisconnectReason::Finished));
    }

    /// Ends the session without a fault, after everything accepted so far was written, or
    /// [`Config::close_timeout`](crate::Config::close_timeout) is over.
    #[doc(alias = "FlushStop")]
    pub fn flush_stop(&self) {
        self.0.close(CloseMode::Flush(DisconnectReason::Finished));
    }

    /// Ends the session for a fault that this reactor found, after everything accepted so far was
    /// written: such as the message that tells the peer of its fault. Takes no longer than
    /// [`flush_stop`](Self::flush_stop).
    pub fn flush_stop_for(&self, reason: impl Into<String>) {
        self.0.close(CloseMode::Flush(DisconnectReason::Reactor(reason.into())));
    }

    /// This node has proved useful, to this reactor at least: its address has a place among the good
    /// ones, and is bad no more. Go's `MarkPeerAsGood`. Does not wait; may be called as often as
    /// one likes, on any thread.
    #[doc(alias = "MarkPeerAsGood")]
    pub fn mark_good(&self) {
        self.0.verdicts.mark_good(self.id());
    }

    /// The address of this node is of no use for so long: peer exchange neither dials it nor tells
    /// others of it, however long this session goes on. The session stays, see
    /// [`stop`](Self::stop); and the node may connect to us, see
    /// [`SwitchHandle::ban`](crate::SwitchHandle::ban). Nothing happens to a persistent peer: it is
    /// never bad. Does not wait, on any thread.
    #[doc(alias = "MarkBad")]
    pub fn mark_bad(&self, duration: Duration, reason: impl Into<String>) {
        let dialed = self.dialed_addr().and_then(PeerAddress::net_address);
        let addr = dialed.or_else(|| self.node_info().listen_net_address());
        self.0.verdicts.mark_bad(self.id(), addr, duration, reason.into());
    }

    /// Keeps a value of any type with the session, one per type, for other reactors to read. In Go
    /// that is `peer.Set`.
    ///
    /// A value goes when another of its type is set, on the thread that sets it, and with the
    /// session: on the thread `p2p-switch`, where its `Drop` must not block, once every reactor has
    /// dropped its [`PeerDown`](super::Event::PeerDown), and at the latest a minute after it or when
    /// the switch has stopped. So a value may hold the [`Peer`] itself, and a reactor finds it until
    /// its last event of the session. One that is set later is dropped at once.
    #[doc(alias = "Set")]
    pub fn set<T: Send + Sync + 'static>(&self, value: T) {
        self.0.set_value(Arc::new(value), TypeId::of::<T>());
    }

    /// The value of this type that some reactor keeps with the session. `None` after the session,
    /// see [`set`](Self::set).
    #[doc(alias = "Get")]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.value(TypeId::of::<T>())?.downcast().ok()
    }

    /// A channel that carries nothing and closes when the session is over, for `select!`.
    #[doc(alias = "Quit")]
    pub fn closed(&self) -> &Receiver<Infallible> {
        &self.0.closed
    }

    /// Whether the session is over: nothing is sent or received any more.
    #[doc(alias = "IsRunning")]
    pub fn is_closed(&self) -> bool {
        matches!(self.0.closed.try_recv(), Err(TryRecvError::Disconnected))
    }

    fn send_payload(&self, id: ChannelId, payload: &Payload) -> Result<(), SendErrorKind> {
        if thread::is_ours() {
            return Err(SendErrorKind::WrongThread);
        }
        let channel = self.checked(id, payload)?;
        counted(channel, payload, self.push_and_wait(channel, payload))
    }

    fn push_and_wait(
        &self,
        channel: &SessionChannel,
        payload: &Payload,
    ) -> Result<(), SendErrorKind> {
        thread_local! {
            // One per thread, not per message: a thread waits for one send at a time.
            static CELL: RefCell<Option<Arc<WaitCell>>> = const { RefCell::new(None) };
        }
        let mut cell = None;
        let pushed = self.0.with_queue(channel, |queue| {
            if queue.may_accept() {
                return queue.try_push(payload).map(|()| Pushed::Accepted);
            }
            let own = CELL.with(|c| c.borrow_mut().get_or_insert_default().clone());
            cell = Some(own.clone());
            queue.push(payload, None, Waiter::Thread(own))
        });
        let ticket = match (pushed, &cell) {
            (Ok(Pushed::Accepted), _) => return Ok(()),
            (Err(refused), _) => return Err(self.refuse(channel, refused)),
            (Ok(Pushed::Waiting(ticket)), _) => ticket,
        };
        #[expect(
            clippy::expect_used,
            reason = "`push` alone makes it wait, and the cell comes first"
        )]
        let cell = cell.expect("an entry waits only with its cell");
        if let Some(outcome) = cell.wait_for(self.0.send_timeout) {
            return outcome;
        }
        if self.0.with_queue(channel, |queue| queue.cancel(ticket)).is_some() {
            channel.drop_messages(1);
            return Err(SendErrorKind::TimedOut);
        }
        // Settled between the timeout and the lock: the outcome is there or about to be.
        cell.wait_for(Duration::MAX).unwrap_or(Err(SendErrorKind::TimedOut))
    }

    pub(crate) fn try_send_payload(
        &self,
        id: ChannelId,
        payload: &Payload,
    ) -> Result<(), SendErrorKind> {
        let channel = self.checked(id, payload)?;
        let pushed = self.0.with_queue(channel, |queue| queue.try_push(payload));
        let sent = pushed.map_err(|refused| self.refuse(channel, refused));
        counted(channel, payload, sent)
    }

    /// Queues one peer's part of a broadcast.
    pub(crate) fn push_broadcast(
        &self,
        id: ChannelId,
        payload: &Payload,
        deadline: crate::time::Mono,
        waiter: Waiter,
    ) -> Result<Pushed, SendErrorKind> {
        let channel = self.checked(id, payload)?;
        let (pushed, is_first) = self.0.with_queue(channel, |queue| {
            let is_first = !queue.may_expire();
            (queue.push(payload, Some(deadline), waiter), is_first)
        });
        // A connection that cannot be written to is marked already, and nobody would look at the
        // deadline; later ones are found when this one is due.
        if is_first && matches!(pushed, Ok(Pushed::Waiting(_))) {
            self.0.announce_deadline();
        }
        pushed.map_err(|refused| self.refuse(channel, refused))
    }

    fn checked(&self, id: ChannelId, payload: &Payload) -> Result<&SessionChannel, SendErrorKind> {
        if log::log_enabled!(target: P2P, Level::Trace) {
            tell!(Level::Trace, "{self} is sent {} bytes on {id}", payload.len());
        }
        let channel = self.0.channel(id).filter(|c| c.is_open);
        let channel = channel.ok_or(SendErrorKind::NoSuchChannel)?;
        if payload.len() > channel.capacity {
            channel.drop_messages(1);
            return Err(SendErrorKind::TooLarge);
        }
        Ok(channel)
    }

    /// A message that was received and is let go is counted by its type, if somebody names it. Runs code
    /// of the application, so not on our threads: there it is dropped because its reactor is gone.
    #[expect(
        clippy::indexing_slicing,
        reason = "the position is that of an envelope of this session"
    )]
    pub(super) fn count_received(&self, channel: usize, message: &Payload) {
        if let Some(types) = &self.0.channels[channel].types
            && !thread::is_ours()
        {
            types.counters(message).on_received(message.len());
        }
    }

    fn refuse(&self, channel: &SessionChannel, refused: Refused) -> SendErrorKind {
        channel.drop_messages(1);
        match refused {
            Refused::Full => SendErrorKind::Full,
            Refused::Closed => SendErrorKind::Closed,
        }
    }
}

/// What was sent is counted by its type, if somebody names it. Runs code of the application.
fn counted(
    channel: &SessionChannel,
    payload: &Payload,
    sent: Result<(), SendErrorKind>,
) -> Result<(), SendErrorKind> {
    if let (Ok(()), Some(types)) = (sent, &channel.types) {
        types.counters(payload).on_sent(payload.len());
    }
    sent
}

impl PartialEq for Peer {
    /// Two handles of the same session.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Peer {}

impl Hash for Peer {
    /// By the connection, which is the session's own for as long as the process lives.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.conn.hash(state);
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id(), self.0.remote_addr)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self} {})", self.0.direction)
    }
}
