//! What the document on peer management says, statement by statement, on whole nodes at default
//! settings unless a test says otherwise.

mod bias;
mod counting;
mod dead_book;
mod evicting;
mod lists;
mod more;
mod persistent;
mod seeds;
mod states;
mod success;
mod told;
mod verdicts;

use std::time::Duration;

use serde_json::json;
use tmp2p::{
    DisconnectReason, NetAddress, NodeId, SwitchEvent,
    pex::{PexMessage, PexRequest},
    protocol::secret::Null,
};

use crate::world::World;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

impl World<Null> {
    /// When the node's peer exchange has asked the switch to dial this node, by the wall clock.
    fn asked_to_dial(&self, node: usize, id: NodeId) -> Vec<Duration> {
        let dials = self.nodes[node].pex.dials.iter();
        dials.filter(|(_, addr)| addr.id() == id).map(|(at, _)| *at).collect()
    }

    /// When the node has asked this peer for addresses.
    fn requests_to(&self, node: usize, id: NodeId) -> Vec<Duration> {
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
            SwitchEvent::PeerDown { id: of, reason, .. } if *of == id => Some(reason.clone()),
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

    /// Adds addresses to the node's book that were good once.
    fn tell_good(&mut self, node: usize, addrs: impl IntoIterator<Item = NetAddress>) {
        let never = "0001-01-01T00:00:00Z";
        let entry = |addr: NetAddress| {
            let (id, ip) = (addr.id().to_string(), addr.ip().to_string());
            let addr = json!({ "id": id, "ip": ip, "port": addr.port() });
            json!({
                "addr": addr, "src": addr, "buckets": [0], "attempts": 0, "bucket_type": 2,
                "last_attempt": never, "last_success": "2023-11-01T00:00:00Z",
                "last_ban_time": never,
            })
        };
        let entries: Vec<_> = addrs.into_iter().map(entry).collect();
        let file = json!({ "key": "0123456789abcdef01234567", "addrs": entries }).to_string();
        let imported = tmp2p::addrbook::json::parse(file.as_bytes()).unwrap();
        let ticket = (1 << 33) + self.nodes[node].pex.answers.len() as u64;
        self.request(node, PexRequest::Import { ticket, imported });
        let is_done = |w: &Self| w.nodes[node].pex.answers.contains_key(&ticket);
        assert!(self.run_until(Duration::from_secs(1), is_done), "nothing was imported");
    }
}
