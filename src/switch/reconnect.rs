//! Persistent peers: dialed until they are connected, and again when they are lost.

use std::sync::Arc;

use super::{Origin, Output, SwitchCore, SwitchEvent, backoff, timer::Timer};
use crate::{
    address::PeerAddress,
    event_loop::Command,
    identity::NodeId,
    reactor::{Blame, DisconnectReason, LocalFault},
    time::Now,
};

impl SwitchCore {
    /// From the start on there is to be a connection with each of these nodes. One that is listed
    /// with several addresses is dialed at one after the other.
    pub(super) fn start_persistent(&mut self, addrs: Vec<PeerAddress>, now: Now) {
        for addr in &addrs {
            self.persistent.add(addr.clone());
        }
        for addr in addrs {
            self.keep_from_now(addr, now);
        }
    }

    /// From now on there is to be a connection with this node, at this address.
    pub(super) fn add_persistent(&mut self, addr: PeerAddress, now: Now) {
        self.persistent.set(addr.clone());
        self.keep_from_now(addr, now);
    }

    fn keep_from_now(&mut self, addr: PeerAddress, now: Now) {
        let id = addr.id();
        self.mark(&id);
        self.list(&addr);
        let is_known = self.persistent.get(&id).is_some_and(|peer| peer.next.is_some());
        if !is_known && !self.is_served(&id) {
            self.dial_spread(addr, Origin::Persistent, now);
        }
    }

    /// Tells the loop where persistent peers are, if that has changed.
    pub(super) fn tell_known(&mut self) {
        let known = self.persistent.addresses();
        if known != *self.told_known {
            self.told_known = Arc::new(known);
            self.outputs.push_back(Output::Command(Command::Known(self.told_known.clone())));
        }
    }

    /// The timer of a persistent peer.
    pub(super) fn persistent_due(&mut self, id: &NodeId, now: Now) {
        let Some(peer) = self.persistent.get_mut(id) else { return };
        if peer.next.is_none_or(|next| next > now.mono) {
            return;
        }
        peer.next = None;
        let addr = peer.addr().clone();
        // A session or somebody else's attempt: whatever ends it comes back to `keep_persistent`.
        if !self.is_served(id) {
            self.dial(addr, Origin::Persistent, None, now);
        }
    }

    /// A session or an attempt with this node is over: if it is persistent and nothing else is
    /// under way, it is dialed after a pause, or at once if it was a peer for long.
    pub(super) fn keep_persistent(&mut self, id: &NodeId, now: Now) {
        if self.is_stopping || *id == self.settings.id || self.is_served(id) {
            return;
        }
        let cap = self.persistent_cap();
        let Some(peer) = self.persistent.get_mut(id) else { return };
        if peer.next.is_some_and(|next| next > now.mono) {
            return;
        }
        // Each of its addresses within that time.
        let cap = cap / peer.num_places();
        let give_up = self.settings.reconnect_give_up;
        if give_up > 0 && peer.failures >= give_up {
            let addr = peer.addr().clone();
            self.persistent.remove(id);
            self.mark(id);
            self.tell_known();
            return self.event(SwitchEvent::GaveUp { addr });
        }
        let (failures, cap) = match &peer.last {
            // Its back-off stands still meanwhile.
            Some(DisconnectReason::Local(_)) => (u32::MAX, cap.min(backoff::LOCAL)),
            Some(DisconnectReason::Lookup { .. }) => {
                (peer.failures.max(peer.failed_lookups), cap.min(backoff::LOOKUP_CAP))
            }
            _ => (peer.failures, cap),
        };
        // Most that are lost are there still, or again. Who stays for a moment only is not dialed in a
        // loop.
        let pause = match std::mem::take(&mut peer.is_lost) {
            true => backoff::at_once(&mut self.rng),
            false => backoff::pause(failures, cap, &mut self.rng),
        };
        let at = now.mono + pause;
        peer.next = Some(at);
        self.timers.add(at, Timer::Persistent(*id));
    }

    /// An attempt of a persistent peer has failed; how many have in a row.
    pub(super) fn persistent_failed(&mut self, id: &NodeId, reason: &DisconnectReason) -> u32 {
        let Some(peer) = self.persistent.get_mut(id) else { return 1 };
        // It is connected after all, or it is we who could not dial: no failure of the peer.
        let is_connected = matches!(
            reason,
            DisconnectReason::DuplicateId(_)
                | DisconnectReason::AlreadyDialing(_)
                | DisconnectReason::Undecided(_)
        );
        let is_lookup = matches!(reason, DisconnectReason::Lookup { .. });
        if is_lookup {
            peer.failed_lookups = peer.failed_lookups.saturating_add(1);
        } else if !is_connected && reason.blame() != Blame::Machine {
            (peer.failures, peer.failed_lookups) = (peer.failures.saturating_add(1), 0);
        }
        // It may be there at its next address, unless this machine could not have got there either. A
        // machine without IPv6 may well get to the address of IPv4.
        let is_of_all =
            |fault: &LocalFault| !matches!(fault, LocalFault::NoRoute | LocalFault::NoAddress);
        let is_ours = matches!(reason, DisconnectReason::Local(fault) if is_of_all(fault));
        if !is_connected && !is_ours {
            peer.turn();
        }
        peer.last = Some(reason.clone());
        peer.is_lost = false;
        if is_lookup { peer.failed_lookups } else { peer.failures }
    }

    /// A session with this node has ended; a session that was no success is a failed attempt. `was_long`:
    /// it has lasted for as long as one that says nothing must to be one.
    pub(super) fn persistent_down(
        &mut self,
        id: &NodeId,
        reason: &DisconnectReason,
        is_proven: bool,
        was_long: bool,
    ) {
        let Some(peer) = self.persistent.get_mut(id) else { return };
        peer.failures = if is_proven { 0 } else { peer.failures.saturating_add(1) };
        peer.failed_lookups = 0;
        peer.last = Some(reason.clone());
        peer.is_lost = was_long;
    }

    /// A session with this node is a success.
    pub(super) fn persistent_proven(&mut self, id: &NodeId) {
        if let Some(peer) = self.persistent.get_mut(id) {
            (peer.failures, peer.failed_lookups) = (0, 0);
        }
    }

    /// Whether there is a session or an attempt, or a connection that may become one.
    fn is_served(&self, id: &NodeId) -> bool {
        self.peers.session(id).is_some()
            || self.dialing.contains(id)
            || self.peers.is_deciding_attempt(id)
    }

    fn persistent_cap(&self) -> std::time::Duration {
        let cap = self.settings.persistent_peers_max_dial_period;
        if cap.is_zero() { backoff::DEFAULT_CAP } else { cap }
    }
}
