//! Changes and questions at run time.

use std::sync::Arc;

use super::{
    ConnectionState, Control, ControlError, Notice, Origin, Output, PeerState, SwitchCore,
    SwitchEvent,
    peer_set::{Conn, Stage},
};
use crate::{
    address::PeerAddress,
    ban::{Ban, BanTable, BanTarget},
    config::MAX_PEERS,
    event_loop::Command,
    identity::NodeId,
    ids::{ConnId, Direction},
    reactor::{CloseMode, DisconnectReason},
    refused::Stopped,
    time::Now,
};

impl SwitchCore {
    pub(super) fn control(&mut self, control: Control, now: Now) -> Result<(), ControlError> {
        if self.is_stopping {
            return Err(Stopped.into());
        }
        match control {
            Control::DialPeers(addrs) => self.dial_peers(addrs, now),
            Control::AddPersistent(addr) => {
                let id = addr.id();
                if id == self.settings.id {
                    return Err(ControlError::OwnId(id));
                }
                if !addr.is_dialable() {
                    return Err(ControlError::Undialable(addr));
                }
                self.add_persistent(addr, now);
                self.tell_known();
            }
            Control::RemovePersistent(id) => {
                self.persistent.remove(&id).ok_or(ControlError::UnknownPeer(id))?;
                self.unschedule(&id);
                self.mark(&id);
                self.tell_known();
            }
            Control::AddUnconditional(id) => {
                self.unconditional.insert(id);
                self.mark(&id);
            }
            Control::RemoveUnconditional(id) => {
                if !self.unconditional.remove(&id) {
                    return Err(ControlError::UnknownPeer(id));
                }
                self.mark(&id);
            }
            Control::SetLimits(limits) => {
                for (key, value) in [
                    ("max_num_inbound_peers", limits.max_num_inbound_peers),
                    ("max_num_outbound_peers", limits.max_num_outbound_peers),
                ] {
                    if value > MAX_PEERS {
                        return Err(ControlError::OutOfRange { key, value, most: MAX_PEERS });
                    }
                }
                self.settings.limits = limits;
                self.tell_whether_full();
            }
        }
        Ok(())
    }

    /// In random order, each after a random time. Those that cannot or need not be dialed are left
    /// out silently: the caller gave a list, and it holds for the rest.
    fn dial_peers(&mut self, addrs: Vec<PeerAddress>, now: Now) {
        for addr in addrs {
            let id = addr.id();
            if id == self.settings.id {
                continue;
            }
            self.list(&addr);
            if self.peers.session(&id).is_none() && !self.dialing.contains(&id) {
                self.dial_spread(addr, Origin::Operator, now);
            }
        }
    }

    /// The operator names an address: it goes into the book. What a name stands for does once it
    /// is resolved.
    pub(super) fn list(&mut self, addr: &PeerAddress) {
        if let Some(addr) = addr.net_address() {
            self.notice(Notice::Listed(addr));
        }
    }

    /// The node has become persistent or reserved, or ceased to be: its connection and peer
    /// exchange are told.
    pub(super) fn mark(&mut self, id: &NodeId) {
        let is_reserved = self.is_reserved(id);
        self.peers.set_reserved(id, is_reserved);
        let is_persistent = self.persistent.contains(id);
        let is_unconditional = self.unconditional.contains(id);
        self.notice(Notice::Standing { id: *id, is_persistent, is_unconditional });
        if let Some(conn) = self.peers.session(id) {
            self.outputs.push_back(Output::Mark { conn, is_persistent, is_reserved });
        }
        self.tell_whether_full();
    }

    /// Who is banned from now on: connections with them end.
    pub(super) fn set_bans(&mut self, table: Arc<BanTable>, added: Vec<Ban>, now: Now) {
        self.bans = table;
        if added.is_empty() {
            // Some were lifted.
            return;
        }
        let node = |ban: &Ban| match ban.target {
            BanTarget::Id(node) => Some(node),
            BanTarget::Ip(_) | BanTarget::Cidr(_) => None,
        };
        // Bans of nodes come one by one, and their connections are known. For a list with addresses
        // each connection is looked at once, however long the list is.
        let nodes: Option<Vec<_>> = added.iter().map(node).collect();
        let conns: Vec<(ConnId, &Conn)> = match &nodes {
            Some(nodes) => nodes.iter().flat_map(|node| self.peers.of(node)).collect(),
            None => self.peers.iter().collect(),
        };
        let banned: Vec<_> = conns
            .into_iter()
            .filter(|(_, conn)| conn.stage != Stage::Refused)
            .filter_map(|(id, conn)| {
                let ban = self.bans.find_id(&conn.id, now.wall);
                let ban = ban.or_else(|| self.bans.find_ip(conn.remote.ip(), now.wall))?;
                Some((id, conn.stage, DisconnectReason::Banned(ban.target)))
            })
            .collect();
        added.into_iter().for_each(|ban| self.event(SwitchEvent::Banned(ban)));
        for (conn, stage, reason) in banned {
            if matches!(stage, Stage::Introducing | Stage::Up) {
                let mode = CloseMode::Now(reason);
                self.outputs.push_back(Output::Command(Command::Close { conn, mode }));
            } else {
                self.refuse(conn, reason, now);
            }
        }
    }

    /// Everybody that the switch knows, each once, with the strongest of its states: connected
    /// before dialing before what is to come.
    pub(super) fn states(&self, now: Now) -> Vec<PeerState> {
        let mut states = std::collections::BTreeMap::new();
        for (id, peer) in self.persistent.iter() {
            let mut state = PeerState::new(Some(*id), ConnectionState::Reconnecting)
                .with_reason(peer.last.as_ref());
            state.dial_addr = Some(peer.addr().clone());
            state.failures = peer.failures;
            state.remaining = peer.next.map(|next| next.since(now.mono));
            states.insert(*id, state);
        }
        for attempt in self.dialing.iter() {
            let id = attempt.addr.id();
            let waits = attempt.scheduled().filter(|at| *at > now.mono);
            let is_persistent = self.persistent.contains(&id);
            let kind = match waits {
                Some(_) if is_persistent => ConnectionState::Reconnecting,
                Some(_) | None => ConnectionState::Dialing,
            };
            let state = states.entry(id).or_insert_with(|| PeerState::new(Some(id), kind));
            state.state = kind;
            state.direction = Some(Direction::Outbound);
            state.dial_addr = Some(attempt.addr.clone());
            state.age = Some(now.mono.since(attempt.since()));
            state.remaining = waits.map(|at| at.since(now.mono));
        }
        for (_, conn) in self.peers.iter() {
            let kind = match conn.stage {
                Stage::Up | Stage::Introducing => ConnectionState::Connected,
                Stage::Filtering | Stage::Parked(_) if conn.attempt.is_some() => {
                    ConnectionState::Dialing
                }
                _ => continue,
            };
            let id = conn.id;
            let is_connected = |state: &PeerState| state.state == ConnectionState::Connected;
            if states.get(&id).is_some_and(is_connected) {
                continue;
            }
            let state = states.entry(id).or_insert_with(|| PeerState::new(Some(id), kind));
            state.state = kind;
            state.direction = Some(conn.direction);
            if let Some(attempt) = &conn.attempt {
                state.dial_addr = Some(attempt.addr.clone());
            }
            state.remote_addr = Some(conn.remote);
            state.age = Some(now.mono.since(conn.since));
            state.remaining = None;
        }
        for (id, state) in &mut states {
            state.is_persistent = self.persistent.contains(id);
            state.is_unconditional = self.unconditional.contains(id);
        }
        states.into_values().collect()
    }
}
