//! What the document on peer management says, statement by statement, on whole nodes at default
//! settings unless a test says otherwise.

mod attacks;
mod bias;
mod clock;
mod counting;
mod dead_book;
mod disproved;
mod evicting;
mod lists;
mod more;
mod outage;
mod persistent;
mod poisoned;
mod seeds;
mod states;
mod success;
mod told;
mod verdicts;

use std::time::{Duration, SystemTime};

use tmp2p::{
    DisconnectReason, NodeId, SwitchEvent, internals::pex::PexMessage,
    internals::protocol::secret::Null,
};

use crate::{
    internet::{SECOND, quiet, seed},
    world::World,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

impl World<Null> {
    /// A seed that has reached so many living nodes, and these.
    fn living_seed(&mut self, count: usize) -> (usize, Vec<usize>) {
        let seed = self.join(seed());
        let others: Vec<_> = (0..count).map(|_| self.join(quiet())).collect();
        let addrs: Vec<_> = others.iter().map(|other| self.net_addr(*other)).collect();
        self.tell(seed, addrs);
        self.run_for(30 * SECOND);
        (seed, others)
    }

    /// When the node's peer exchange has asked the switch to dial this node, by the wall clock.
    fn asked_to_dial(&self, node: usize, id: NodeId) -> Vec<SystemTime> {
        let dials = self.nodes[node].pex.dials.iter();
        dials.filter(|(_, addr)| addr.id() == id).map(|(at, _)| *at).collect()
    }

    /// When the node has asked this peer for addresses.
    fn requests_to(&self, node: usize, id: NodeId) -> Vec<SystemTime> {
        let sent = self.nodes[node].pex.sent.iter();
        let requests = sent.filter(|(_, to, message)| *to == id && *message == PexMessage::Request);
        requests.map(|(at, ..)| *at).collect()
    }

    /// Why attempts to reach this node have failed.
    fn failures(&self, node: usize, id: NodeId) -> Vec<&'static str> {
        let kind = |event: &SwitchEvent| match event {
            SwitchEvent::DialFailed { addr, reason, .. } if addr.id() == id => Some(reason.kind()),
            _ => None,
        };
        self.nodes[node].events.iter().filter_map(kind).collect()
    }

    /// Why sessions with this node have ended.
    fn endings(&self, node: usize, id: NodeId) -> Vec<DisconnectReason> {
        let reason = |event: &SwitchEvent| match event {
            SwitchEvent::Disconnected { id: of, reason, .. } if *of == id => Some(reason.clone()),
            _ => None,
        };
        self.nodes[node].events.iter().filter_map(reason).collect()
    }

    /// Whether the node's address is bad now, or ever was.
    fn was_ever_bad(&self, node: usize, id: NodeId) -> bool {
        let is_it =
            |event: &SwitchEvent| matches!(event, SwitchEvent::Bad { id: of, .. } if *of == id);
        self.nodes[node].pex.core.book().is_bad(&id) || self.nodes[node].events.iter().any(is_it)
    }
}
