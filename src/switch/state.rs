//! A look at what the switch knows of each node.

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    address::PeerAddress,
    config::Config,
    identity::NodeId,
    ids::Direction,
    reactor::{DisconnectReason, PeerStatus},
};

/// Where a node stands with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum ConnectionState {
    /// Known from the address book, and neither connected nor being dialed.
    Candidate,
    /// An attempt is under way, or about to begin after [`PeerState::remaining`].
    Dialing,
    /// There is a session.
    Connected,
    /// A persistent peer between two attempts, or before the first.
    Reconnecting,
    /// Its address is not dialed by peer exchange and not told to others for a while, and then until
    /// more peers are needed. Whoever has it may connect to us, and the application may dial it.
    Bad,
    /// No connection with it, in either direction.
    Banned,
}

/// What the switch knows of a node, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PeerState {
    /// Which node; `None` for a ban of an address or a range.
    pub id: Option<NodeId>,
    /// Where it stands.
    pub state: ConnectionState,
    /// Who dialed whom, for a session; outbound for what is being dialed.
    pub direction: Option<Direction>,
    /// The socket's remote address, for a session.
    pub remote_addr: Option<SocketAddr>,
    /// The address that was, is or will be dialed.
    pub dial_addr: Option<PeerAddress>,
    /// How long it has been in this state, where that is known.
    pub age: Option<Duration>,
    /// When the state ends by itself: the time to the next attempt or to the end of the ban. `None`
    /// for a bad address whose time is over: it is dialed again once more peers are needed.
    pub remaining: Option<Duration>,
    /// Whether it is a persistent peer.
    pub is_persistent: bool,
    /// Whether it is an unconditional peer.
    pub is_unconditional: bool,
    /// Whether its address is bad as well: of a connected node that is not its state, and becomes it
    /// when the session ends.
    pub is_bad: bool,
    /// Attempts in a row that have failed.
    pub failures: u32,
    /// How the last attempt or session ended, for a persistent peer; why, for a ban or a bad
    /// address.
    pub reason: Option<String>,
    /// Counters, queues and round trip, for a session.
    pub status: Option<PeerStatus>,
}

impl PeerState {
    pub(crate) fn new(id: Option<NodeId>, state: ConnectionState) -> Self {
        Self {
            id,
            state,
            direction: None,
            remote_addr: None,
            dial_addr: None,
            age: None,
            remaining: None,
            is_persistent: false,
            is_unconditional: false,
            is_bad: false,
            failures: 0,
            reason: None,
            status: None,
        }
    }

    pub(super) fn with_reason(mut self, reason: Option<&DisconnectReason>) -> Self {
        self.reason = reason.map(ToString::to_string);
        self
    }
}

/// How many nodes are in which [`ConnectionState`], at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StateCounts {
    /// Known and neither connected nor being dialed.
    pub candidate: usize,
    /// Being dialed.
    pub dialing: usize,
    /// Connected.
    pub connected: usize,
    /// Persistent, between two attempts.
    pub reconnecting: usize,
    /// Not to be dialed for a while.
    pub bad: usize,
    /// Banned nodes, addresses and ranges.
    pub banned: usize,
}

/// Limits that can be changed while the switch runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// See `Config::max_num_inbound_peers`.
    pub max_num_inbound_peers: usize,
    /// See `Config::max_num_outbound_peers`.
    pub max_num_outbound_peers: usize,
}

impl Limits {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            max_num_inbound_peers: config.max_num_inbound_peers,
            max_num_outbound_peers: config.max_num_outbound_peers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ids::ChannelId, reactor::ChannelStatus};

    #[test]
    fn states_come_back_from_json_and_are_readable() {
        let id = NodeId::from_bytes([0xab; 20]);
        let mut state = PeerState::new(Some(id), ConnectionState::Reconnecting);
        state.direction = Some(Direction::Outbound);
        state.remote_addr = Some(([1, 2, 3, 4], 5).into());
        state.dial_addr = Some(format!("{id}@a.example:26656").parse().unwrap());
        state.remaining = Some(Duration::from_millis(1500));
        let channels = vec![ChannelStatus::new(ChannelId::new(0x20))];
        state.status = Some(PeerStatus {
            channels,
            rtt: Some(Duration::from_micros(7)),
            send_rate: 8,
            recv_rate: 9,
        });
        let text = serde_json::to_string(&state).unwrap();
        for part in [
            format!("\"id\":\"{id}\",\"state\":\"reconnecting\",\"direction\":\"outbound\""),
            format!("\"dial_addr\":\"{id}@a.example:26656\""),
            "\"channel\":32".to_owned(),
        ] {
            assert!(text.contains(&part), "no {part} in {text}");
        }
        assert_eq!(serde_json::from_str::<PeerState>(&text).unwrap(), state);
        let counts = StateCounts { candidate: 3, ..StateCounts::default() };
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<StateCounts>(&text).unwrap(), counts);
        let short = serde_json::from_str::<PeerState>(&text.replace("candidate", "id"));
        assert!(short.is_err(), "a node's state cannot be guessed");
        assert!(serde_json::from_str::<NodeId>("\"abc\"").is_err());
    }
}
