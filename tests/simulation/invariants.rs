//! What holds at a node after each step, whatever happens and in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use tmp2p::{
    BanOrigin, BanTarget, ConnId, Direction, DisconnectReason, NodeId, Origin, SwitchEvent,
    internals::drive::Core,
    internals::event_loop::Report,
    internals::protocol::secret::Cipher,
    internals::reactor::{Admission, CloseMode},
    internals::switch::{Control, Input, Notice, Request},
};

use crate::{node::SimNode, options::Options};

/// The reason of every ban and bad mark that is an operator's.
pub(crate) const BY_HAND: &str = "by hand";

/// What the checks have to remember.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Attempts that the loop has, or is about to get, by ticket.
    at_loop: BTreeMap<u64, NodeId>,
    /// Attempts without an outcome, by node and by whether peer exchange has asked.
    under_way: BTreeMap<(NodeId, bool), usize>,
    /// Sessions that were dialed to have enough peers.
    limited: BTreeMap<ConnId, NodeId>,
    persistent: BTreeSet<NodeId>,
    unconditional: BTreeSet<NodeId>,
    max_inbound: usize,
    max_outbound: usize,
    /// It was no higher than that.
    most_outbound: usize,
    own: Option<NodeId>,
    is_stopping: bool,
    /// Peer exchange wants a node dialed that is connected, or for which there is no room.
    idle: Option<NodeId>,
}

impl Witness {
    pub(crate) fn new(own: NodeId, options: &Options) -> Self {
        let config = &options.config;
        Self {
            persistent: config.persistent_peers.iter().map(|peer| peer.id()).collect(),
            unconditional: config.unconditional_peer_ids.iter().copied().collect(),
            max_inbound: config.max_num_inbound_peers,
            max_outbound: config.max_num_outbound_peers,
            most_outbound: config.max_num_outbound_peers,
            own: Some(own),
            ..Self::default()
        }
    }

    /// Peer exchange wants this of the switch.
    pub(crate) fn ask(&mut self, input: &Input) {
        if let Input::Request(Request::Dial { addr, origin, .. }) = input {
            self.begin(addr.id(), *origin);
        }
    }

    /// The switch is about to learn this. So many peers count against the limit of outbound ones,
    /// those that are dialed included.
    pub(crate) fn hear(&mut self, input: &Input, is_connected: bool, taken: usize) {
        self.idle = None;
        let control = match input {
            Input::Request(Request::Control { control, .. }) if !self.is_stopping => control,
            // A test in the place of peer exchange.
            Input::Request(Request::Dial { addr, origin, reply: Some(_) })
                if origin.is_discovery() =>
            {
                return self.begin(addr.id(), *origin);
            }
            Input::Request(Request::Stop { .. }) => {
                self.is_stopping = true;
                return;
            }
            Input::Request(Request::Dial { addr, origin, reply: None }) => {
                let id = addr.id();
                let is_limited = matches!(origin, Origin::Discovery { is_limited: true, .. });
                let is_full = is_limited && taken >= self.max_outbound && !self.is_reserved(&id);
                let is_others = self.under_way.contains_key(&(id, false));
                self.idle = (is_connected || is_full && !is_others).then_some(id);
                return;
            }
            _ => return,
        };
        match control {
            Control::AddPersistent(addr) if Some(addr.id()) == self.own => {}
            Control::AddPersistent(addr) => {
                self.persistent.insert(addr.id());
                self.counts_no_more(addr.id());
            }
            Control::RemovePersistent(id) => _ = self.persistent.remove(id),
            Control::AddUnconditional(id) => {
                self.unconditional.insert(*id);
                self.counts_no_more(*id);
            }
            Control::RemoveUnconditional(id) => _ = self.unconditional.remove(id),
            Control::SetLimits(limits) => {
                self.max_inbound = limits.max_num_inbound_peers;
                self.max_outbound = limits.max_num_outbound_peers;
                // Who is being dialed when it is lowered may still come.
                self.most_outbound = self.most_outbound.max(self.max_outbound);
            }
            _ => {}
        }
    }

    /// The loop has told this.
    pub(crate) fn note(&mut self, report: &Report) {
        match report {
            Report::Established(established) => {
                if let Some(ticket) = established.ticket {
                    let id = self.at_loop.remove(&ticket).expect("of an attempt");
                    assert_eq!(id, established.id, "somebody else was reached");
                }
            }
            Report::DialFailed { ticket, .. } => {
                self.at_loop.remove(ticket).expect("of an attempt");
            }
            _ => {}
        }
    }

    /// The switch tells this.
    pub(crate) fn see(&mut self, event: &SwitchEvent) {
        match event {
            SwitchEvent::GaveUp { addr } => _ = self.persistent.remove(&addr.id()),
            SwitchEvent::Dialing { addr } => {
                assert!(self.idle != Some(addr.id()), "{addr} is dialed, and was not to be");
            }
            _ => {}
        }
    }

    /// The switch tells peer exchange this.
    pub(crate) fn read(&mut self, notice: &Notice) {
        match notice {
            Notice::DialBegun { id, origin } => {
                assert!(!origin.is_discovery(), "peer exchange knows what it has asked for");
                self.begin(*id, *origin);
            }
            Notice::DialFailed { addr, origin, .. } => self.end(addr.id(), *origin),
            Notice::Authenticated { .. } | Notice::Listed(_) | Notice::Standing { .. } => {}
        }
    }

    /// Reactors were told of a session.
    pub(crate) fn is_up(&mut self, conn: ConnId, id: NodeId, origin: Option<Origin>) {
        let Some(origin) = origin else { return };
        self.end(id, origin);
        let is_limited = matches!(origin, Origin::Discovery { is_limited: true, .. });
        if is_limited && !self.is_reserved(&id) {
            self.limited.insert(conn, id);
            let (taken, most) = (self.limited.len(), self.most_outbound);
            assert!(taken <= most, "{taken} peers were found of {most}");
        }
    }

    pub(crate) fn is_down(&mut self, conn: ConnId) {
        self.limited.remove(&conn);
    }

    fn counts_no_more(&mut self, id: NodeId) {
        self.limited.retain(|_, of| *of != id);
    }

    fn begin(&mut self, id: NodeId, origin: Origin) {
        *self.under_way.entry((id, origin.is_discovery())).or_default() += 1;
    }

    /// Every attempt has one outcome, told to whoever has asked.
    fn end(&mut self, id: NodeId, origin: Origin) {
        let key = (id, origin.is_discovery());
        let left = self.under_way.get_mut(&key).expect("an outcome of no attempt");
        *left -= 1;
        if *left == 0 {
            self.under_way.remove(&key);
        }
    }

    /// Whether limits do not apply to the node.
    pub(crate) fn is_reserved(&self, id: &NodeId) -> bool {
        self.persistent.contains(id) || self.unconditional.contains(id)
    }
}

impl<C: Cipher> SimNode<C> {
    /// The switch has the loop dial.
    pub(crate) fn check_dial(&mut self, ticket: u64, expected: NodeId) {
        let is_other = self.witness.at_loop.values().all(|id| *id != expected);
        assert!(is_other, "{expected} is being dialed already");
        let is_connected = self.sessions.values().any(|peer| peer.id() == expected);
        assert!(!is_connected, "{expected} is connected");
        self.witness.at_loop.insert(ticket, expected);
    }

    /// The switch ends a session.
    pub(crate) fn check_close(&self, conn: ConnId, mode: &CloseMode) {
        use DisconnectReason::{Finished, Replaced};
        let CloseMode::Flush(reason @ (Finished | Replaced)) = mode else { return };
        let id = self.sessions[&conn].id();
        assert!(!self.witness.is_reserved(&id), "{id} is reserved, and sent away: {reason}");
    }

    /// The switch admits somebody.
    pub(crate) fn check_admission(&self, admission: &Admission) {
        let is_inbound = admission.direction == Direction::Inbound;
        assert_eq!(admission.origin.is_none(), is_inbound, "who dialed {}?", admission.id);
        if admission.is_reserved || !is_inbound {
            return;
        }
        let (taken, most) = (self.switch.num_limited(Direction::Inbound), self.witness.max_inbound);
        assert!(taken <= most, "{taken} inbound peers of {most}");
    }

    /// Once everything is told, switch and peer exchange know the same. After each step of either.
    pub(crate) fn check_agreement(&self) {
        if self.switch.is_stopped() {
            let left = &self.witness.under_way;
            // What was asked too late lies there.
            let is_late = !self.inputs.is_empty();
            assert!(is_late || left.keys().all(|(_, is_own)| *is_own), "no outcome: {left:?}");
            return;
        }
        if !self.inputs.is_empty() || self.pex.has_work() {
            return;
        }
        let (pex, witness) = (&self.pex.core, &self.witness);
        if self.options.config.pex {
            let switch = self.sessions.iter().map(|(conn, peer)| (*conn, peer.id()));
            assert!(pex.sessions().eq(switch), "not the sessions of {:?}", self.sessions);
            let dialed: BTreeSet<_> = witness.under_way.keys().map(|(id, _)| *id).collect();
            let knows_all = dialed.iter().all(|id| pex.is_dialing(id));
            assert!(knows_all && pex.num_dialing() == dialed.len(), "not the dials {dialed:?}");
        }
        let standings = pex.standings();
        assert_eq!(standings.persistent, witness.persistent);
        assert_eq!(standings.unconditional, witness.unconditional);
        let book = pex.book();
        let bad = witness.persistent.iter().find_map(|id| book.bad_address(id));
        assert!(bad.is_none(), "a persistent peer is bad: {bad:?}");
        for id in &witness.unconditional {
            let bad = book.bad_address(id);
            assert!(bad.is_none_or(|bad| bad.reason == BY_HAND), "found bad: {bad:?}");
        }
        for id in witness.persistent.union(&witness.unconditional) {
            let ban = book.bans().get(&BanTarget::from(*id));
            let is_ours = ban.is_some_and(|ban| ban.origin == BanOrigin::Automatic);
            assert!(!is_ours, "{id} is reserved and banned: {ban:?}");
        }
    }
}
