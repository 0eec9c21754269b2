//! What an operator changes and asks while the switch runs.
//!
//! These calls wait for the switch's own thread to do what they ask for, some microseconds: when
//! they return it is done. They may be made on any thread but the library's own, so also by a
//! reactor, and answer `WrongThread` there.

use std::{collections::BTreeMap, slice::from_ref, time::Duration};

use super::SwitchHandle;
use crate::{
    addrbook::{BanError, KnownAddress, UnbanError, Unstored},
    address::PeerAddress,
    ban::{Ban, BanTarget},
    identity::NodeId,
    pex::Candidates,
    reactor::{CloseMode, DisconnectReason, Notify, Verdicts},
    refused::{Stopped, WrongThread},
    reply::Reply,
    switch::{ConnectionState, Control, ControlError, Limits, PeerState, Request, StateCounts},
    thread,
    time::Wall,
};

/// Candidates that are told at once: a full book has 20,480 addresses, and nobody reads them all.
const MAX_CANDIDATES: usize = 1000;

/// Why a list of nodes is not dialed. None of them is.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialPeersError {
    /// Nobody can be at an entry's address.
    #[error(
        "entry {position} of the list: {addr} cannot be dialed; give an IP address or a host, and a \
         port above 0"
    )]
    Undialable {
        /// Which, from 1.
        position: usize,
        /// The entry.
        addr: PeerAddress,
    },
    /// The switch did not take the list.
    #[error(transparent)]
    Control(#[from] ControlError),
}

crate::text::readable_debug!(DialPeersError);

/// Why a list of targets is not banned: none of them is, unless it says so.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BanManyError {
    /// An entry cannot be banned.
    #[error("entry {position} of the list: {error}")]
    Target {
        /// Which, from 1.
        position: usize,
        /// Why not.
        error: BanError,
    },
    /// All of them are banned all the same.
    #[error(transparent)]
    Unstored(#[from] Unstored),
    /// Nobody took the list.
    #[error(transparent)]
    Control(#[from] ControlError),
}

crate::text::readable_debug!(BanManyError);

impl SwitchHandle {
    /// Dials nodes: in random order, each after a random part of
    /// [`Config::dial_spread`](crate::Config::dial_spread). Nodes that are connected or being
    /// dialed, and this one, are left out. How each went is told by events.
    ///
    /// All of them go into the address book, with this node itself as the source.
    ///
    /// # Errors
    /// The first entry where nobody can be, and then none is dialed; or there is no switch.
    #[doc(alias = "DialPeersAsync")]
    pub fn dial_peers(
        &self,
        addrs: impl IntoIterator<Item = PeerAddress>,
    ) -> Result<(), DialPeersError> {
        let addrs: Vec<_> = addrs.into_iter().collect();
        if let Some((position, addr)) = (1..).zip(&addrs).find(|(_, addr)| !addr.is_dialable()) {
            return Err(DialPeersError::Undialable { position, addr: addr.clone() });
        }
        Ok(self.control(Control::DialPeers(addrs))?)
    }

    /// Keeps a connection with this node from now on, at this address, whatever the limits.
    /// For a node that is persistent already: at this address from now on.
    ///
    /// # Errors
    /// See [`ControlError`]; nothing has changed.
    #[doc(alias = "AddPersistentPeers")]
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
    #[doc(alias = "AddUnconditionalPeerIDs")]
    pub fn add_unconditional(&self, id: NodeId) -> Result<(), ControlError> {
        self.control(Control::AddUnconditional(id))
    }

    /// Limits apply to this node from now on as to others, unless it is persistent. Its session
    /// stays.
    ///
    /// # Errors
    /// See [`ControlError`]; [`UnknownPeer`](ControlError::UnknownPeer) if it is not unconditional.
    pub fn remove_unconditional(&self, id: NodeId) -> Result<(), ControlError> {
        self.control(Control::RemoveUnconditional(id))
    }

    /// Tells nobody the address of this node.
    ///
    /// # Errors
    /// The switch has stopped.
    #[doc(alias = "AddPrivatePeerIDs")]
    #[doc(alias = "AddPrivateIDs")]
    pub fn add_private(&self, id: NodeId) -> Result<(), ControlError> {
        self.running()?.pex.add_private(vec![id]);
        Ok(())
    }

    /// The address of this node may be told again.
    ///
    /// # Errors
    /// The switch has stopped.
    pub fn remove_private(&self, id: NodeId) -> Result<(), ControlError> {
        self.running()?.pex.remove_private(vec![id]);
        Ok(())
    }

    /// How many peers there may be. Does not wait.
    #[doc(alias = "MaxNumOutboundPeers")]
    pub fn limits(&self) -> Limits {
        *self.inner().shared.limits.lock()
    }

    /// Other limits from now on. Nobody is disconnected for them.
    ///
    /// # Errors
    /// See [`ControlError`].
    pub fn set_limits(&self, limits: Limits) -> Result<(), ControlError> {
        self.control(Control::SetLimits(limits))?;
        self.started()?.pex.set_max_outbound(limits.max_num_outbound_peers);
        Ok(())
    }

    /// Ends the session with this node at once. For operators; a reactor stops the session it
    /// holds.
    ///
    /// # Errors
    /// The switch has stopped, or there is no session with this node.
    #[doc(alias = "StopPeerForError")]
    pub fn disconnect(&self, id: NodeId, reason: impl Into<String>) -> Result<(), ControlError> {
        let running = self.running()?;
        let peer = self.peer(id).ok_or(ControlError::UnknownPeer(id))?;
        let reason = DisconnectReason::Operator(reason.into());
        running.mailbox.close(peer.conn(), CloseMode::Now(reason));
        Ok(())
    }

    /// Bans a node, an address or a range: its connections end, and there are no others, in either
    /// direction, for so long (`None`: until it is lifted). It takes the place of an earlier ban of the same
    /// target, also of a longer one. The target need not be known. Kept
    /// in the [`BookStore`](crate::BookStore), if there is one, whose write is waited for, a second at
    /// most: lists go through [`ban_many`](Self::ban_many), and a thread that reads events has better
    /// things to do where disks may hang.
    ///
    /// # Errors
    /// See [`BanError`]. With [`Unstored`] the ban is in force, until the next start
    /// at least, and comes with the error.
    pub fn ban(
        &self,
        target: impl Into<BanTarget>,
        duration: Option<Duration>,
        reason: impl Into<String>,
    ) -> Result<Ban, BanError> {
        let pex = &self.started()?.pex;
        let ban = pex.ban(target.into(), duration, reason.into())?;
        pex.stored(from_ref(&ban))?;
        Ok(ban)
    }

    /// Bans a whole list as [`ban`](Self::ban) does one: all of it, or nothing if an entry cannot be
    /// banned. The way to set a list of thousands of ranges: it takes effect and is stored at
    /// once, not entry by entry, each of which would copy the table of all bans. The bans as they
    /// stand, in the order of the list.
    ///
    /// # Errors
    /// See [`BanManyError`].
    pub fn ban_many<T: Into<BanTarget>>(
        &self,
        targets: impl IntoIterator<Item = T>,
        duration: Option<Duration>,
        reason: impl Into<String>,
    ) -> Result<Vec<Ban>, BanManyError> {
        let targets = targets.into_iter().map(Into::into).collect();
        let target = |(at, error): (usize, _)| BanManyError::Target { position: at + 1, error };
        let pex = &self.started().map_err(ControlError::from)?.pex;
        let bans = pex.ban_many(targets, duration, reason.into())?.map_err(target)?;
        if !bans.is_empty() {
            pex.stored(&bans)?;
        }
        Ok(bans)
    }

    /// Lifts the ban of exactly this target. Waits for the store as [`ban`](Self::ban) does.
    ///
    /// # Errors
    /// See [`UnbanError`].
    pub fn unban(&self, target: impl Into<BanTarget>) -> Result<Ban, UnbanError> {
        let pex = &self.started()?.pex;
        let ban = pex.unban(target.into())?;
        pex.stored(from_ref(&ban))?;
        Ok(ban)
    }

    /// Every ban in force. Does not wait.
    pub fn bans(&self) -> Vec<Ban> {
        let Ok(started) = self.started() else { return Vec::new() };
        let wall = started.clock.now().wall;
        let table = started.pex.bans();
        table.iter().filter(|ban| ban.is_in_force(wall)).cloned().collect()
    }

    /// The address of this node is of no use for so long: it is not dialed by peer exchange nor
    /// told to others, and that a session with it lasts changes nothing. The node itself may still
    /// connect to us; see [`ban`](Self::ban) for the contrary. Nothing happens to a persistent
    /// peer, which is never bad, to this node itself, and for no time. A reactor has it at hand as [`Peer::mark_bad`](crate::Peer::mark_bad).
    /// Does not wait.
    ///
    /// # Errors
    /// The switch has stopped.
    #[doc(alias = "MarkBad")]
    pub fn mark_bad(
        &self,
        id: NodeId,
        duration: Duration,
        reason: impl Into<String>,
    ) -> Result<(), ControlError> {
        let running = self.running()?;
        let peer = self.peer(id);
        let dialed = peer.as_ref().and_then(|peer| peer.dialed_addr()?.net_address());
        running.pex.mark_bad(id, dialed, duration, reason.into());
        Ok(())
    }

    /// This node has proved useful: its address has a place among the good ones, and is bad no more.
    /// A reactor has it at hand as [`Peer::mark_good`](crate::Peer::mark_good). Does not wait.
    ///
    /// # Errors
    /// The switch has stopped.
    #[doc(alias = "MarkPeerAsGood")]
    pub fn mark_good(&self, id: NodeId) -> Result<(), ControlError> {
        self.running()?.pex.mark_good(id);
        Ok(())
    }

    /// The address of this node is bad no more, although its time is not over: it is new, with a clean
    /// record, and may be dialed at once. Whether it was bad. Bans are another matter, see
    /// [`unban`](Self::unban).
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    #[doc(alias = "ReinstateBadPeers")]
    pub fn reinstate(&self, id: NodeId) -> Result<bool, ControlError> {
        self.started()?.pex.reinstate(id)
    }

    /// What is known of every node, sorted by ID, with bans of addresses at the end: one entry per
    /// node, with the strongest of its states: banned, connected, dialing, reconnecting, bad,
    /// candidate. Of the *candidates* of
    /// the address book no more than the first 1000; [`candidates`](Self::candidates) gives all,
    /// page by page, and [`state_counts`](Self::state_counts) says how many there are.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn peer_states(&self) -> Result<Vec<PeerState>, ControlError> {
        let (mut states, bans) = self.met_states()?;
        let met = states.keys().copied().collect();
        let candidates = self.started()?.pex.candidates(None, MAX_CANDIDATES, met)?;
        states.extend(candidates.page.iter().map(|known| (known.addr.id(), candidate(known))));
        Ok(states.into_values().chain(bans).collect())
    }

    /// How many nodes are in which state, and how many bans of addresses and ranges there are.
    ///
    /// # Errors
    /// As [`peer_states`](Self::peer_states).
    pub fn state_counts(&self) -> Result<StateCounts, ControlError> {
        let (states, bans) = self.met_states()?;
        let met = states.keys().copied().collect();
        let candidate = self.started()?.pex.candidates(None, 0, met)?.total;
        let mut counts = StateCounts { candidate, banned: bans.len(), ..StateCounts::default() };
        for state in states.values() {
            let count = match state.state {
                ConnectionState::Candidate => &mut counts.candidate,
                ConnectionState::Dialing => &mut counts.dialing,
                ConnectionState::Connected => &mut counts.connected,
                ConnectionState::Reconnecting => &mut counts.reconnecting,
                ConnectionState::Bad => &mut counts.bad,
                ConnectionState::Banned => &mut counts.banned,
            };
            *count += 1;
        }
        Ok(counts)
    }

    /// A page of the *candidates*: who is known from the address book and not connected, and may be
    /// dialed when peers are needed. By ID, at most 1000, from the first one after this node on;
    /// [`Candidates::next`] says where the next page begins.
    ///
    /// # Errors
    /// The switch has stopped, or called on a thread of the library.
    pub fn candidates(&self, after: Option<NodeId>) -> Result<Candidates, ControlError> {
        let met = self.met_states()?.0.into_keys().collect();
        self.started()?.pex.candidates(after, MAX_CANDIDATES, met)
    }

    /// Everybody but candidates of the book, by ID, and what is banned that has no ID.
    fn met_states(&self) -> Result<(BTreeMap<NodeId, PeerState>, Vec<PeerState>), ControlError> {
        let shared = self.inner().shared.clone();
        // On the switch's thread, so that both tell of the same moment.
        let with_status = move |mut states: Vec<PeerState>| {
            shared.add_status(&mut states);
            states
        };
        let states = self.answer(|reply| Request::States(reply.map(with_status)))?;
        let mut states: BTreeMap<_, _> =
            states.into_iter().filter_map(|state| Some((state.id?, state))).collect();
        let started = self.started()?;
        let wall = started.clock.now().wall;
        for bad in started.pex.bad_addresses().unwrap_or_default() {
            let state = states.entry(bad.id).or_insert_with(|| {
                let mut state = PeerState::new(Some(bad.id), ConnectionState::Bad);
                state.dial_addr = bad.addr.map(PeerAddress::from);
                state.remaining = Some(bad.until.since(wall)).filter(|left| !left.is_zero());
                state.reason = Some(bad.reason);
                state
            });
            state.is_bad = true;
        }
        let mut without_id = Vec::new();
        for ban in self.bans() {
            let id = match ban.target {
                BanTarget::Id(id) => Some(id),
                BanTarget::Ip(_) | BanTarget::Cidr(_) => None,
            };
            let mut state = PeerState::new(id, ConnectionState::Banned);
            state.remaining = ban.until.map(|until| until.since(wall));
            state.reason = Some(format!("{}: {}", ban.target, ban.reason));
            match id {
                Some(id) => {
                    if let Some(met) = states.get(&id) {
                        (state.is_persistent, state.is_unconditional, state.is_bad) =
                            (met.is_persistent, met.is_unconditional, met.is_bad);
                        state.dial_addr.clone_from(&met.dial_addr);
                    }
                    states.insert(id, state);
                }
                None => without_id.push(state),
            }
        }
        Ok((states, without_id))
    }

    fn control(&self, control: Control) -> Result<(), ControlError> {
        self.answer(|reply| Request::Control { control, reply })?
    }

    fn answer<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, ControlError> {
        if thread::is_ours() {
            return Err(WrongThread.into());
        }
        self.ask(request)?.recv().map_err(|_| Stopped.into())
    }
}

fn candidate(known: &KnownAddress) -> PeerState {
    let mut state = PeerState::new(Some(known.addr.id()), ConnectionState::Candidate);
    state.dial_addr = Some(known.addr.into());
    state.failures = known.history().dial_failures;
    state
}
