//! From complete message to reactor inbox: budgets, and parking of what a slow reactor cannot
//! take yet.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    event_loop::{LoopSettings, delivered::Delivered, inbox::Watched, spares::Spares},
    payload::Payload,
    protocol::mconn::{Flow, Incoming},
    reactor::{Envelope, Event, Inbox, Peer, Session},
    time::Mono,
    wake::Charged,
};

/// Limits of parking, and how much all connections of the loop have parked.
#[derive(Debug)]
pub(in crate::event_loop) struct Parking {
    /// Bytes per connection; above, the connection is not read.
    pub(in crate::event_loop) per_peer: usize,
    /// Bytes over all connections: what a crowd of peers that all talk to one stuck reactor may
    /// make us hold.
    pub(in crate::event_loop) total: usize,
    /// Parked now, over all connections.
    pub(in crate::event_loop) parked: usize,
    /// What has left it.
    pub(in crate::event_loop) delivered: Delivered,
}

impl Parking {
    pub(in crate::event_loop) fn new(settings: &LoopSettings) -> Self {
        Self {
            per_peer: settings.parking_per_peer,
            total: settings.parking_total,
            parked: 0,
            delivered: Delivered::new(settings.delivered_total, settings.reactors),
        }
    }
}

/// What one connection has received and not yet delivered. Nothing is ever dropped for lack of
/// room: the sender counts a message as delivered once its send succeeded.
#[derive(Debug)]
pub(in crate::event_loop) struct Inflow {
    waiting: Box<[Waiting]>,
    parked: usize,
    /// A message that found the parking full. Until it is delivered, nothing is read.
    stalled: Option<(usize, Payload)>,
    has_delivered: bool,
}

/// What waits for one reactor.
#[derive(Debug, Default)]
struct Waiting {
    /// Its budget is spent.
    is_blocked: bool,
    parked: VecDeque<(usize, Payload)>,
}

impl Inflow {
    pub(in crate::event_loop) fn new(reactors: usize) -> Self {
        let waiting = (0..reactors).map(|_| Waiting::default()).collect();
        Self { waiting, parked: 0, stalled: None, has_delivered: false }
    }

    /// Whether nothing may be read because a message waits.
    pub(in crate::event_loop) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Bytes of the message that waits for room in the parking.
    pub(in crate::event_loop) fn stalled_bytes(&self) -> usize {
        self.stalled.as_ref().map_or(0, |(_, payload)| payload.len())
    }

    /// Whether everything received was delivered.
    pub(in crate::event_loop) fn is_empty(&self) -> bool {
        self.parked == 0 && self.stalled.is_none()
    }

    /// True once: the first message was delivered since the last call.
    pub(in crate::event_loop) fn take_first(&mut self, reported: &mut bool) -> bool {
        self.has_delivered && !std::mem::replace(reported, true)
    }

    /// A budget has room again: delivers what is parked, in order, as far as budgets go.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "`reactor` counts what there is; what is taken out was counted when it was parked"
    )]
    pub(in crate::event_loop) fn resume(
        &mut self,
        session: &Arc<Session>,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) {
        for reactor in 0..self.waiting.len() {
            self.waiting[reactor].is_blocked &= session.budget(reactor).is_paused();
            while !self.waiting[reactor].is_blocked && parking.delivered.may_take(reactor) {
                let Some((channel, payload)) = self.waiting[reactor].parked.pop_front() else {
                    self.waiting[reactor].parked = VecDeque::new();
                    break;
                };
                self.parked -= Envelope::cost(&payload);
                parking.parked -= Envelope::cost(&payload);
                self.deliver(session, reactor, channel, payload, parking, inbox);
            }
        }
        if let Some((channel, payload)) = self.stalled.take() {
            self.offer(session, channel, payload, parking, inbox);
        }
    }

    /// Drops what was not delivered.
    #[expect(clippy::arithmetic_side_effects, reason = "the sum over all has this one's part")]
    pub(in crate::event_loop) fn clear(&mut self, parking: &mut Parking) {
        parking.parked -= self.parked;
        self.parked = 0;
        self.stalled = None;
        for waiting in &mut self.waiting {
            waiting.parked = VecDeque::new();
        }
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "channels are the session's, their reactors the loop's; memory has fewer bytes"
    )]
    fn offer(
        &mut self,
        session: &Arc<Session>,
        channel: usize,
        payload: Payload,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) -> Flow {
        let reactor = session.channels[channel].reactor;
        let waiting = &self.waiting[reactor];
        if !waiting.is_blocked && waiting.parked.is_empty() && parking.delivered.may_take(reactor) {
            self.deliver(session, reactor, channel, payload, parking, inbox);
            return Flow::Continue;
        }
        if self.parked >= parking.per_peer || parking.parked >= parking.total {
            self.stalled = Some((channel, payload));
            return Flow::Stop;
        }
        self.parked += Envelope::cost(&payload);
        parking.parked += Envelope::cost(&payload);
        self.waiting[reactor].parked.push_back((channel, payload));
        Flow::Continue
    }

    #[expect(clippy::indexing_slicing, reason = "`reactor` is of one of the session's channels")]
    fn deliver(
        &mut self,
        session: &Arc<Session>,
        reactor: usize,
        channel: usize,
        payload: Payload,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) {
        let cost = Envelope::cost(&payload);
        parking.delivered.charge(reactor, cost);
        if session.budget(reactor).charge(cost) == Charged::Paused {
            self.waiting[reactor].is_blocked = true;
        }
        let envelope = Envelope::new(Peer::new(session.clone()), channel, payload);
        inbox.hold(reactor, Event::Message(envelope));
        self.has_delivered = true;
    }
}

/// Takes complete messages from the link.
pub(in crate::event_loop) struct Delivery<'a, I> {
    pub(in crate::event_loop) inflow: &'a mut Inflow,
    pub(in crate::event_loop) session: &'a Arc<Session>,
    pub(in crate::event_loop) parking: &'a mut Parking,
    pub(in crate::event_loop) inbox: &'a mut Watched<I>,
    pub(in crate::event_loop) spares: &'a mut Spares,
    pub(in crate::event_loop) now: Mono,
}

impl<I: Inbox> Incoming for Delivery<'_, I> {
    fn buffer(&mut self, size: usize) -> Vec<u8> {
        self.spares.buffer(size)
    }

    #[expect(clippy::indexing_slicing, reason = "the link has the session's channels")]
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        let payload = self.spares.payload(message);
        self.session.channels[channel].counters.on_received(payload.len());
        self.session.heard(self.now);
        self.inflow.offer(self.session, channel, payload, self.parking, self.inbox)
    }
}
