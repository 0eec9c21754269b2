//! What an operator changes and asks while the switch runs.
//!
//! These calls wait for the switch's own thread to do what they ask for, some microseconds: when
//! they return it is done. They may be made on any thread but the library's own, so also by a
//! reactor, and answer `WrongThread` there.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::SwitchHandle;
use crate::{
    addrbook::{BanError, UnbanError},
    address::{AddressError, PeerAddress},
    ban::{Ban, BanTarget},
    identity::NodeId,
    reactor::{CloseMode, DisconnectReason, Notify},
    switch::{Answer, ConnectionState, Control, ControlError, Limits, PeerState, Request},
    thread,
};

/// Why a list of nodes is not dialed. None of them is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialPeersError {
    /// An entry is no address.
    #[error("entry {position} of the list: {error}")]
    Address {
        /// Which, from 1.
        position: usize,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The switch did not take the list.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl SwitchHandle {
    /// Dials nodes, given as `id@host:port`: in random order, each after a random part of
    /// [`Config::dial_spread`](crate::Config::dial_spread). Nodes that are connected or being
    /// dialed, and this one, are left out. How each went is told by events.
    ///
    /// # Errors
    /// The first entry that is no address, and then none is dialed.
    pub fn dial_peers_async<A: AsRef<str>>(&self, addrs: &[A]) -> Result<(), DialPeersError> {
        let parse = |(at, text): (usize, &A)| {
            let parsed = text.as_ref().parse::<PeerAddress>();
            parsed.map_err(|error| DialPeersError::Address { position: at + 1, error })
        };
        let addrs = addrs.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(self.control(Control::DialPeers(addrs))?)
    }

    /// Keeps a connection with this node from now on, at this address, whatever the limits.
    /// For a node that is persistent already: at this address from now on.
    ///
    /// # Errors
    /// See [`ControlError`]; nothing has changed.
    pub fn add_persistent(&self, addr: PeerAddress) -> Result<(), ControlError> {
        self.control(Control::AddPersistent(addr))
    }

    /// No longer dials this node by itself. A session with it stays.
    ///
    /// # Errors
    /// See [`ControlError`]; [`UnknownPeer`](ControlError::UnknownPeer) if it is not persistent.
    pub fn remove_persistent(&self, id: NodeId) -> Result<(), ControlError> {
        self.control(Control::RemovePersistent(id))
    }

    /// Admits this node from now on whatever the limits and whoever shares its address.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn add_unconditional(&self, id: NodeId) -> Result<(), ControlError> {
        self.control(Control::AddUnconditional(id))
    }

    /// Tells nobody the address of this node.
    ///
    /// # Errors
    /// The switch has stopped.
    pub fn add_private(&self, id: NodeId) -> Result<(), ControlError> {
        self.running()?;
        self.inner().pex.add_private(vec![id]);
        Ok(())
    }

    /// Other limits from now on. Nobody is disconnected for them.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), ControlError> {
        self.control(Control::SetLimits(limits))?;
        self.inner().pex.set_max_outbound(limits.max_num_outbound_peers);
        Ok(())
    }

    /// Ends the session with this node at once. For operators; a reactor stops the session it
    /// holds.
    ///
    /// # Errors
    /// The switch has stopped, or there is no session with this node.
    pub fn disconnect(&self, id: &NodeId, reason: impl Into<String>) -> Result<(), ControlError> {
        self.running()?;
        let peer = self.peer(id).ok_or(ControlError::UnknownPeer(*id))?;
        let reason = DisconnectReason::Operator(reason.into());
        self.inner().mailbox.close(peer.conn(), CloseMode::Now(reason));
        Ok(())
    }

    /// Bans a node, an address or a range: its connections end, and there are no others, in either
    /// direction, for so long (`None`: until it is lifted). The target need not be known. Kept
    /// in the [`BookStore`](crate::BookStore), if there is one.
    ///
    /// # Errors
    /// See [`BanError`].
    pub fn ban(
        &self,
        target: impl Into<BanTarget>,
        duration: Option<Duration>,
        reason: impl Into<String>,
    ) -> Result<Ban, BanError> {
        self.inner().pex.ban(target.into(), duration, reason.into())
    }

    /// Lifts the ban of exactly this target.
    ///
    /// # Errors
    /// See [`UnbanError`].
    pub fn unban(&self, target: impl Into<BanTarget>) -> Result<Ban, UnbanError> {
        self.inner().pex.unban(target.into())
    }

    /// Every ban in force. Does not wait.
    pub fn bans(&self) -> Vec<Ban> {
        let wall = self.inner().clock.now().wall;
        let table = self.inner().pex.bans();
        table.iter().filter(|ban| ban.is_in_force(wall)).cloned().collect()
    }

    /// The address of this node is of no use for so long: it is not dialed by peer exchange nor
    /// told to others. The node itself may still connect to us; see [`ban`](Self::ban) for the
    /// contrary. Does not wait.
    ///
    /// # Errors
    /// The switch has stopped.
    pub fn mark_bad(
        &self,
        id: NodeId,
        duration: Duration,
        reason: impl Into<String>,
    ) -> Result<(), ControlError> {
        self.running()?;
        let peer = self.peer(&id);
        let dialed = peer.as_ref().and_then(|peer| peer.dialed_addr()?.net_address());
        self.inner().pex.mark_bad(id, dialed, duration, reason.into());
        Ok(())
    }

    /// This node has proved useful: it is not bad any more. Does not wait.
    ///
    /// # Errors
    /// The switch has stopped.
    pub fn mark_good(&self, id: NodeId) -> Result<(), ControlError> {
        self.running()?;
        self.inner().pex.mark_good(id);
        Ok(())
    }

    /// What is known of every node, sorted by ID, with bans of addresses at the end: one entry per
    /// node, a ban before a session before anything that is to come.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn peer_states(&self) -> Result<Vec<PeerState>, ControlError> {
        let mut states = match self.answer(Control::States)? {
            Answer::States(states) => states,
            Answer::Done(_) | Answer::Dialed(_) => return Err(ControlError::Stopped),
        };
        let wall = self.inner().clock.now().wall;
        for bad in self.inner().pex.bad_addresses().unwrap_or_default() {
            if bad.until <= wall || states.iter().any(|state| state.id == Some(bad.id)) {
                continue;
            }
            let mut state = PeerState::new(Some(bad.id), ConnectionState::Bad);
            state.dial_addr = bad.addr.map(PeerAddress::from);
            state.remaining = Some(bad.until.saturating_sub(wall));
            state.reason = Some(bad.reason);
            states.push(state);
        }
        for ban in self.bans() {
            let id = match ban.target {
                BanTarget::Id(id) => Some(id),
                BanTarget::Ip(_) | BanTarget::Cidr(_) => None,
            };
            states.retain(|state| id.is_none() || state.id != id);
            let mut state = PeerState::new(id, ConnectionState::Banned);
            state.remaining = ban.until.map(|until| until.saturating_sub(wall));
            state.reason = Some(format!("{}: {}", ban.target, ban.reason));
            states.push(state);
        }
        states.sort_by_key(|state| (state.id.is_none(), state.id));
        Ok(states)
    }

    fn control(&self, control: Control) -> Result<(), ControlError> {
        match self.answer(control)? {
            Answer::Done(result) => result,
            Answer::States(_) | Answer::Dialed(_) => Err(ControlError::Stopped),
        }
    }

    fn answer(&self, control: Control) -> Result<Answer, ControlError> {
        if thread::is_ours() {
            return Err(ControlError::WrongThread);
        }
        let ticket = self.inner().next_ticket.fetch_add(1, Relaxed);
        let request = Request::Control { ticket, control };
        let answer = self.ask(ticket, request).map_err(|_| ControlError::Stopped)?;
        answer.recv().map_err(|_| ControlError::Stopped)
    }

    fn running(&self) -> Result<(), ControlError> {
        let has_stopped = self.inner().shared.stop_reason.lock().is_some();
        if has_stopped { Err(ControlError::Stopped) } else { Ok(()) }
    }
}
