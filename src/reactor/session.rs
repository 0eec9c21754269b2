//! One connection's life between admission and `PeerDown`, as every thread sees it.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, VecDeque},
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::{
    DisconnectReason, MessageTypes, SendErrorKind, SendQueue, Waiter, counters::ChannelCounters,
};
use crate::{
    address::{NetAddress, PeerAddress},
    channel::ChannelDescriptor,
    identity::NodeId,
    ids::{ChannelId, ConnId, Direction},
    node_info::NodeInfo,
    origin::Origin,
    payload::Payload,
    protocol::mconn::Meter,
    time::Mono,
    wake::{Budget, Dirty},
};

/// How a session reaches the event loop: plain data, any thread, never blocks.
pub trait Notify: Send + Sync {
    /// The session has queued messages. Called once until the loop has looked.
    fn dirty(&self, conn: ConnId);
    /// A reactor has let go enough for the loop to go on delivering.
    fn resume(&self, conn: ConnId);
    /// A reactor has let a message go, whose memory may be used again.
    fn recycle(&self, payload: Payload) {
        drop(payload);
    }
    /// The session is to end.
    fn close(&self, conn: ConnId, mode: CloseMode);
    /// What the loop's clock shows.
    fn now(&self) -> Mono;
}

/// Where reactors' opinions of peers go: the address book's thread. Any thread, never blocks.
pub trait Verdicts: Send + Sync + fmt::Debug {
    /// The node behaved well.
    fn mark_good(&self, id: NodeId);
    /// The node's address, if it is known, is of no use for so long.
    fn mark_bad(&self, id: NodeId, addr: Option<NetAddress>, duration: Duration, reason: String);
}

/// Nobody keeps a book.
impl Verdicts for () {
    fn mark_good(&self, _: NodeId) {}
    fn mark_bad(&self, _: NodeId, _: Option<NetAddress>, _: Duration, _: String) {}
}

/// How a session ends from our side.
#[derive(Clone, Debug)]
pub enum CloseMode {
    /// At once: what is queued and what was received and not delivered is dropped.
    Now(DisconnectReason),
    /// What is queued is dropped, what is already sealed is written.
    Graceful(DisconnectReason),
    /// Everything accepted is written first.
    Flush(DisconnectReason),
}

impl CloseMode {
    pub(crate) fn reason(self) -> DisconnectReason {
        match self {
            Self::Now(reason) | Self::Graceful(reason) | Self::Flush(reason) => reason,
        }
    }
}

/// What all sessions of a switch share.
#[derive(Clone, Debug)]
pub struct SessionSettings {
    /// Every channel of the switch, in descriptor order, with the number of its reactor.
    pub channels: Arc<[(ChannelDescriptor, usize)]>,
    /// How many reactors there are.
    pub reactors: usize,
    /// Bytes per (session, reactor) that may be delivered and not let go.
    pub reactor_budget: usize,
    /// Byte bound of a send queue, see [`SendQueue`].
    pub send_queue_bytes: usize,
    /// How long a blocking send waits.
    pub send_timeout: Duration,
    /// Where reactors' opinions of peers go.
    pub verdicts: Arc<dyn Verdicts>,
    /// Of channels whose messages somebody names.
    pub message_types: Vec<Arc<MessageTypes>>,
}

#[cfg(test)]
impl SessionSettings {
    /// Those of a switch with one reactor, that of these channels, where there is room for nothing.
    pub(crate) fn for_test(channels: &[ChannelDescriptor]) -> Self {
        Self {
            channels: channels.iter().map(|channel| (*channel, 0)).collect(),
            reactors: 1,
            reactor_budget: 1,
            send_queue_bytes: 0,
            send_timeout: Duration::ZERO,
            verdicts: Arc::new(()),
            message_types: Vec::new(),
        }
    }
}

/// What is seen of a session from outside, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Last measured round trip of a ping.
    pub rtt: Option<Duration>,
    /// When the last message came, on whatever channel.
    pub last_message: Option<Mono>,
}

/// A connection that is to become a session.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The connection.
    pub conn: ConnId,
    /// The peer's authenticated ID.
    pub id: NodeId,
    /// The peer's NodeInfo.
    pub node_info: Arc<NodeInfo>,
    /// Who dialed.
    pub direction: Direction,
    /// The socket's remote address.
    pub remote_addr: SocketAddr,
    /// What was dialed, for an outbound one.
    pub dialed_addr: Option<PeerAddress>,
    /// Who wanted it dialed, for an outbound one.
    pub origin: Option<Origin>,
    /// It is one of the persistent peers.
    pub is_persistent: bool,
    /// It is persistent or unconditional: it has its place whatever the limits say.
    pub is_reserved: bool,
}

/// A session: send queues, budgets and counters, shared by the event loop, the switch and the
/// reactors' threads. It holds no thread and no socket; what it asks of the loop goes through
/// [`Notify`], so the same session runs in a simulation.
pub struct Session {
    pub(crate) conn: ConnId,
    pub(crate) id: NodeId,
    pub(crate) node_info: Arc<NodeInfo>,
    pub(crate) direction: Direction,
    pub(crate) remote_addr: SocketAddr,
    pub(crate) dialed_addr: Option<PeerAddress>,
    pub(crate) origin: Option<Origin>,
    /// See [`Admission`]; the lists may change during a session.
    persistent: AtomicBool,
    reserved: AtomicBool,
    pub(crate) channels: Box<[SessionChannel]>,
    budgets: Box<[Budget]>,
    dirty: Dirty,
    pub(super) notify: Arc<dyn Notify>,
    pub(crate) verdicts: Arc<dyn Verdicts>,
    pub(crate) send_timeout: Duration,
    /// Nanoseconds; 0 = not measured yet.
    pub(crate) rtt: AtomicU64,
    /// Of what is sent and what is received, as the loop has left them.
    pub(crate) meters: Mutex<(Meter, Meter)>,
    /// When the last message came, nanoseconds; 0 = none yet.
    last_message: AtomicU64,
    closed_sender: Mutex<Option<Sender<Infallible>>>,
    pub(crate) closed: Receiver<Infallible>,
    /// What reactors keep with it; `None` once it is over. **Invariant:** no value is dropped under
    /// the lock, for its `Drop` may ask for another one.
    values: Mutex<Option<HashMap<TypeId, Value>>>,
}

/// A value that a reactor keeps with a session.
pub(crate) type Value = Arc<dyn Any + Send + Sync>;

/// One channel of a session.
pub(crate) struct SessionChannel {
    pub(crate) id: ChannelId,
    /// Number of the reactor that owns it.
    pub(crate) reactor: usize,
    /// Largest message, bytes.
    pub(crate) capacity: usize,
    /// Whether the peer's NodeInfo lists it: nothing is ever sent on one that it does not list.
    pub(crate) is_open: bool,
    queue: Mutex<SendQueue<Waiter>>,
    /// Entries in the queue, so that the loop looks at an empty one without its lock.
    queued: AtomicUsize,
    pub(crate) counters: ChannelCounters,
    /// Of all sessions, if somebody names the channel's messages.
    pub(super) types: Option<Arc<MessageTypes>>,
}

impl Session {
    /// A session that the switch has admitted.
    pub fn new(admission: Admission, settings: &SessionSettings, notify: Arc<dyn Notify>) -> Self {
        let Admission { conn, id, node_info, direction, remote_addr, dialed_addr, .. } = admission;
        let channels = settings.channels.iter().map(|(descriptor, reactor)| SessionChannel {
            id: descriptor.id,
            reactor: *reactor,
            capacity: descriptor.recv_message_capacity,
            is_open: node_info.has_channel(descriptor.id),
            queue: Mutex::new(SendQueue::new(
                descriptor.send_queue_capacity,
                settings.send_queue_bytes,
            )),
            queued: AtomicUsize::new(0),
            counters: ChannelCounters::default(),
            types: settings.message_types.iter().find(|t| t.channel == descriptor.id).cloned(),
        });
        let (closed_sender, closed) = crossbeam_channel::bounded(0);
        Self {
            conn,
            id,
            direction,
            remote_addr,
            dialed_addr,
            origin: admission.origin,
            persistent: AtomicBool::new(admission.is_persistent),
            reserved: AtomicBool::new(admission.is_reserved),
            channels: channels.collect(),
            budgets: (0..settings.reactors).map(|_| Budget::new(settings.reactor_budget)).collect(),
            node_info,
            dirty: Dirty::new(),
            notify,
            verdicts: settings.verdicts.clone(),
            send_timeout: settings.send_timeout,
            rtt: AtomicU64::new(0),
            meters: Mutex::default(),
            last_message: AtomicU64::new(0),
            closed_sender: Mutex::new(Some(closed_sender)),
            closed,
            values: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Whether it is one of the persistent peers.
    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent.load(Relaxed)
    }

    /// Whether it is persistent or unconditional.
    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved.load(Relaxed)
    }

    /// The lists have changed.
    pub fn set_reserved(&self, persistent: bool, reserved: bool) {
        self.persistent.store(persistent, Relaxed);
        self.reserved.store(reserved, Relaxed);
    }

    /// The budget of a reactor.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is a budget for each reactor that was registered"
    )]
    pub fn budget(&self, reactor: usize) -> &Budget {
        &self.budgets[reactor]
    }

    /// A message of this cost was let go. Any thread.
    pub(crate) fn release(&self, reactor: usize, cost: usize) {
        if self.budget(reactor).release(cost) {
            self.notify.resume(self.conn);
        }
    }

    /// A message's bytes were let go. Any thread.
    pub(super) fn recycle(&self, payload: Payload) {
        self.notify.recycle(payload);
    }

    /// Asks the loop to end the session.
    pub(crate) fn close(&self, mode: CloseMode) {
        self.notify.close(self.conn, mode);
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Option<&SessionChannel> {
        self.channels.iter().find(|c| c.id == id)
    }

    /// Runs `push` on the channel's queue, then tells the loop if something is queued.
    pub(super) fn with_queue<T>(
        &self,
        channel: &SessionChannel,
        push: impl FnOnce(&mut SendQueue<Waiter>) -> T,
    ) -> T {
        let (result, queued) = {
            let mut queue = channel.queue.lock();
            let result = push(&mut queue);
            channel.queued.store(queue.len(), Relaxed);
            (result, queue.len())
        };
        if queued > 0 && self.dirty.mark() {
            self.notify.dirty(self.conn);
        }
        result
    }

    /// Makes the loop look at the deadlines of what waits.
    pub(super) fn announce_deadline(&self) {
        self.notify.dirty(self.conn);
    }

    /// What tells whether it is worth having.
    pub fn vitals(&self) -> Vitals {
        let (rtt, last) = (self.rtt.load(Relaxed), self.last_message.load(Relaxed));
        Vitals {
            rtt: (rtt > 0).then(|| Duration::from_nanos(rtt)),
            last_message: (last > 0).then(|| Mono::from_nanos(last)),
        }
    }

    // ---- called by the event loop ----

    /// Whether a message was cut into packets, other than of peer exchange, which asks everybody at
    /// once.
    pub(crate) fn has_sent(&self) -> bool {
        let mut channels = self.channels.iter().filter(|c| c.id != ChannelId::PEX);
        channels.any(|c| c.counters.has_sent())
    }

    /// A message is complete.
    pub(crate) fn heard(&self, now: Mono) {
        self.last_message.store(now.as_nanos().max(1), Relaxed);
    }

    /// The loop is about to look at the queues. Before it does.
    pub(crate) fn clear_dirty(&self) {
        self.dirty.clear();
    }

    /// The loop looks at the queues as soon as it can send again, and need not be woken before.
    pub(crate) fn keep_dirty(&self) {
        _ = self.dirty.mark();
    }

    /// Moves what the channel has accepted into `into` and wakes as many waiters as there are
    /// places now; `accepted` is scratch. True: the owner is to be told that the channel is
    /// writable again.
    #[expect(
        clippy::indexing_slicing,
        reason = "the loop has made a lane for each of the session's channels"
    )]
    pub(crate) fn take_queued(
        &self,
        channel: usize,
        into: &mut VecDeque<Payload>,
        accepted: &mut Vec<Waiter>,
    ) -> bool {
        let channel = &self.channels[channel];
        if channel.queued.load(Relaxed) == 0 {
            return false;
        }
        let is_writable = {
            let mut queue = channel.queue.lock();
            let is_writable = queue.take(into, accepted);
            channel.queued.store(queue.len(), Relaxed);
            is_writable
        };
        for waiter in accepted.drain(..) {
            waiter.settle(Ok(()));
        }
        is_writable
    }

    /// Fails the waiting entries of broadcasts whose time is over; when to look again.
    pub(crate) fn expire_waiting(&self, now: Mono) -> Option<Mono> {
        let mut next = None;
        for channel in &self.channels {
            if channel.queued.load(Relaxed) == 0 {
                continue;
            }
            let mut expired = Vec::new();
            {
                let mut queue = channel.queue.lock();
                queue.expire(now, &mut expired);
                channel.queued.store(queue.len(), Relaxed);
                next = crate::time::earliest(next, queue.next_deadline());
            }
            channel.drop_messages(expired.len());
            for waiter in expired {
                waiter.settle(Err(SendErrorKind::TimedOut));
            }
        }
        next
    }

    /// Ends sending: nothing is taken any more, who waits fails. With `flush` the accepted entries
    /// stay to be taken, else they are dropped and counted.
    pub(crate) fn end_sending(&self, flush: bool) {
        for channel in &self.channels {
            let mut failed = Vec::new();
            let dropped = {
                let mut queue = channel.queue.lock();
                let dropped = queue.close(flush, &mut failed);
                channel.queued.store(queue.len(), Relaxed);
                dropped
            };
            channel.drop_messages(dropped + failed.len());
            for waiter in failed {
                waiter.settle(Err(SendErrorKind::Closed));
            }
        }
    }

    /// The session is over for good: whoever selects on `closed` wakes up.
    pub(crate) fn end(&self) {
        self.end_sending(false);
        self.closed_sender.lock().take();
    }

    // ---- values ----

    pub(crate) fn set_value(&self, value: Value, of: TypeId) {
        let old = match &mut *self.values.lock() {
            Some(values) => values.insert(of, value),
            None => Some(value),
        };
        drop(old);
    }

    pub(crate) fn value(&self, of: TypeId) -> Option<Value> {
        self.values.lock().as_ref()?.get(&of).cloned()
    }

    /// What reactors have kept with the session, which keeps nothing from now on: a value may hold
    /// the session's peer, and each would keep the other for ever. Whoever drops it runs code of
    /// the application.
    #[must_use]
    pub(crate) fn take_values(&self) -> Vec<Value> {
        self.values.lock().take().into_iter().flat_map(HashMap::into_values).collect()
    }
}

impl SessionChannel {
    /// Counts messages that were taken and will not be sent, or were refused.
    pub(crate) fn drop_messages(&self, messages: usize) {
        if messages > 0 {
            self.counters.on_dropped(messages);
        }
    }

    pub(super) fn queue_len(&self) -> usize {
        self.queued.load(Relaxed)
    }

    pub(super) fn may_accept(&self) -> bool {
        self.queue.lock().may_accept()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} {}@{} {})", self.conn, self.id, self.remote_addr, self.direction)
    }
}
