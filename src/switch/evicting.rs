//! Evicting: which peers have to go although nothing is wrong with their connection. Whoever has a
//! reason asks the switch, which knows who may be asked to go; nobody ends such a session beside it.
//! This page lists all of it. Each eviction is an event with its reason:
//! [`PeerDown`](super::SwitchEvent::PeerDown) for a session, [`Rejected`](super::SwitchEvent::Rejected)
//! before.
//!
//! | who goes | when | why | reason |
//! | --- | --- | --- | --- |
//! | the oldest connection that has not authenticated itself | the pool of pending handshakes is full and another one comes | many silent connections must keep nobody out | [`Evicted`](DisconnectReason::Evicted) |
//! | the holder of most unfinished messages that is not reserved | the pool for them is full | memory is bounded | [`ReassemblyPool`](DisconnectReason::ReassemblyPool) |
//! | a session that gives no sign of life | its node connects anew, and 5 s have passed | a rebooted node is not locked out by its own past | [`Superseded`](DisconnectReason::Superseded) |
//! | sessions with a node or an address | it is banned | a ban holds at once | [`Banned`](DisconnectReason::Banned) |
//! | the outbound peer that is needed least | a reactor asked for other peers while there were enough, and another one has proved itself | an application that gets nowhere with the peers it has must get others | [`Replaced`](DisconnectReason::Replaced) |
//! | a guest of a seed | it was answered, or has stayed for `seed_disconnect_wait_period` | the next one wants the place | [`Finished`](DisconnectReason::Finished) |
//! | a node that a seed has dialed | it has answered, or had `crawl_timeout` to | it was dialed for its answer | [`Finished`](DisconnectReason::Finished) |
//! | a seed that we have dialed | it has not answered for a third of `ensure_peers_period` | another one may | [`Finished`](DisconnectReason::Finished) |
//! | a node that was dialed to see whether it is there | it is there | it was dialed for nothing else | [`Finished`](DisconnectReason::Finished) |
//!
//! The last five are asked for by peer exchange; what was accepted for the peer is written first. A reserved peer (persistent or unconditional) is
//! never evicted but by a ban of the operator's or in favour of a new connection of its own. No
//! limit that is lowered evicts anybody: it holds for those who come.

use super::{Output, SwitchCore, peer_set::Stage};
use crate::{
    event_loop::Command,
    ids::ConnId,
    reactor::{CloseMode, DisconnectReason},
};

impl SwitchCore {
    /// Somebody does not need this session any more. Nothing happens to one that is over, or whose
    /// node has become reserved meanwhile.
    pub(super) fn evict(&mut self, conn: ConnId, reason: DisconnectReason) {
        let Some(peer) = self.peers.get(conn) else { return };
        if matches!(peer.stage, Stage::Introducing | Stage::Up) && !peer.is_reserved {
            let mode = CloseMode::Flush(reason);
            self.outputs.push_back(Output::Command(Command::Close { conn, mode }));
        }
    }
}
