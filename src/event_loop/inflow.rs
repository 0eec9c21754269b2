//! From complete message to reactor inbox: budgets, and parking of what a slow reactor cannot
//! take yet.

use std::{collections::VecDeque, sync::Arc};

use super::{Inbox, LoopCore, Sockets, delivered::Delivered, probe::Watched};
use crate::{
    payload::Payload,
    protocol::{
        mconn::{Flow, Incoming},
        secret::Cipher,
    },
    reactor::{Envelope, Event, Peer, Permit, Session},
    time::Mono,
    wake::Charged,
};

/// Limits of parking, and how much all connections of the loop have parked.
#[derive(Debug)]
pub(super) struct Parking {
    /// Bytes per connection; above, the connection is not read.
    pub(super) per_peer: usize,
    /// Bytes over all connections: what a crowd of peers that all talk to one stuck reactor may
    /// make us hold.
    pub(super) total: usize,
    /// Parked now, over all connections.
    pub(super) parked: usize,
    /// What has left it.
    pub(super) delivered: Delivered,
}

/// What one connection has received and not yet delivered. Nothing is ever dropped for lack of
/// room: the sender counts a message as delivered once its send succeeded.
#[derive(Debug)]
pub(super) struct Inflow {
    lanes: Box<[Lane]>,
    parked: usize,
    /// A message that found the parking full. Until it is delivered, nothing is read.
    stalled: Option<(usize, Payload)>,
    has_delivered: bool,
}

/// The messages for one reactor.
#[derive(Debug, Default)]
struct Lane {
    /// Its budget is spent.
    is_blocked: bool,
    parked: VecDeque<(usize, Payload)>,
}

impl Inflow {
    pub(super) fn new(reactors: usize) -> Self {
        let lanes = (0..reactors).map(|_| Lane::default()).collect();
        Self { lanes, parked: 0, stalled: None, has_delivered: false }
    }

    /// Whether nothing may be read because a message waits.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Bytes of the message that waits for room in the parking.
    pub(super) fn stalled_bytes(&self) -> usize {
        self.stalled.as_ref().map_or(0, |(_, payload)| payload.len())
    }

    /// Whether everything received was delivered.
    pub(super) fn is_empty(&self) -> bool {
        self.parked == 0 && self.stalled.is_none()
    }

    /// True once: the first message was delivered since the last call.
    pub(super) fn take_first(&mut self, reported: &mut bool) -> bool {
        self.has_delivered && !std::mem::replace(reported, true)
    }

    /// A budget has room again: delivers what is parked, in order, as far as budgets go.
    pub(super) fn resume(
        &mut self,
        session: &Arc<Session>,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) {
        for reactor in 0..self.lanes.len() {
            self.lanes[reactor].is_blocked &= session.budget(reactor).is_paused();
            while !self.lanes[reactor].is_blocked && parking.delivered.may_take(reactor) {
                let Some((channel, payload)) = self.lanes[reactor].parked.pop_front() else {
                    self.lanes[reactor].parked = VecDeque::new();
                    break;
                };
                self.parked -= Permit::cost(payload.len());
                parking.parked -= Permit::cost(payload.len());
                self.deliver(session, reactor, channel, payload, parking, inbox);
            }
        }
        if let Some((channel, payload)) = self.stalled.take() {
            self.offer(session, channel, payload, parking, inbox);
        }
    }

    /// Drops what was not delivered.
    pub(super) fn clear(&mut self, parking: &mut Parking) {
        parking.parked -= self.parked;
        self.parked = 0;
        self.stalled = None;
        for lane in &mut self.lanes {
            lane.parked = VecDeque::new();
        }
    }

    fn offer(
        &mut self,
        session: &Arc<Session>,
        channel: usize,
        payload: Payload,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) -> Flow {
        let reactor = session.channels[channel].reactor;
        let lane = &self.lanes[reactor];
        if !lane.is_blocked && lane.parked.is_empty() && parking.delivered.may_take(reactor) {
            self.deliver(session, reactor, channel, payload, parking, inbox);
            return Flow::Continue;
        }
        if self.parked >= parking.per_peer || parking.parked >= parking.total {
            self.stalled = Some((channel, payload));
            return Flow::Stop;
        }
        self.parked += Permit::cost(payload.len());
        parking.parked += Permit::cost(payload.len());
        self.lanes[reactor].parked.push_back((channel, payload));
        Flow::Continue
    }

    fn deliver(
        &mut self,
        session: &Arc<Session>,
        reactor: usize,
        channel: usize,
        payload: Payload,
        parking: &mut Parking,
        inbox: &mut Watched<impl Inbox>,
    ) {
        let cost = Permit::cost(payload.len());
        parking.delivered.charge(reactor, cost);
        if session.budget(reactor).charge(cost) == Charged::Paused {
            self.lanes[reactor].is_blocked = true;
        }
        let permit = Permit::new(Peer::new(session.clone()), reactor, cost);
        let envelope = Envelope::new(permit, session.channels[channel].id, payload);
        inbox.deliver(reactor, Event::Message(envelope));
        self.has_delivered = true;
    }
}

/// Takes complete messages from the link.
pub(super) struct Delivery<'a, I> {
    pub(super) inflow: &'a mut Inflow,
    pub(super) session: &'a Arc<Session>,
    pub(super) parking: &'a mut Parking,
    pub(super) inbox: &'a mut Watched<I>,
    pub(super) now: Mono,
}

impl<I: Inbox> Incoming for Delivery<'_, I> {
    fn message(&mut self, channel: usize, payload: Payload) -> Flow {
        self.session.channels[channel].counters.on_received(payload.len());
        self.session.heard(self.now);
        self.inflow.offer(self.session, channel, payload, self.parking, self.inbox)
    }
}

impl<S: Sockets, I: Inbox, C: Cipher> LoopCore<S, I, C> {
    /// Bytes that are parked now, over all connections.
    pub fn parked_bytes(&self) -> usize {
        self.parking.parked
    }

    /// Bytes of unfinished messages now, over all connections.
    pub fn unfinished_bytes(&self) -> usize {
        self.pooled
    }
}
