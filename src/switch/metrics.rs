//! What a switch has counted. The number of series depends on the channels and on the kinds of
//! events alone, never on how many peers there were.

use std::collections::BTreeMap;

use serde::Serialize;

use super::SwitchEvent;
use crate::{
    event_loop::EventLoopStatus,
    ids::ChannelId,
    reactor::{ChannelStatus, MessageTypeStatus, PeerStatus},
};

/// Everything that was counted since the switch started, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Sessions that we dialed, now.
    pub outbound_peers: usize,
    /// Sessions that dialed us, now.
    pub inbound_peers: usize,
    /// Attempts under way or scheduled, now.
    pub dialing: usize,
    /// Bans in force, now.
    pub bans: usize,
    /// Sessions that began.
    pub sessions: u64,
    /// Per channel of this switch, over all sessions that there were and are; `queued` is of those that
    /// are.
    pub channels: BTreeMap<ChannelId, ChannelStatus>,
    /// Per type of message, for channels [whose messages somebody
    /// names](crate::ChannelDescriptor::message_type).
    pub message_types: BTreeMap<ChannelId, BTreeMap<&'static str, MessageTypeStatus>>,
    /// Attempts to connect that failed, by [kind](crate::DisconnectReason::kind).
    pub dials_failed: BTreeMap<&'static str, u64>,
    /// Inbound connections that did not become sessions, by kind.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Sessions that ended, by kind.
    pub disconnects: BTreeMap<&'static str, u64>,
    /// Times that the system refused to accept connections.
    pub accept_failures: u64,
    /// What the thread of all sockets has counted.
    pub event_loop: EventLoopStatus,
}

/// What adds up over time: everything but what is to be looked up at the moment of asking.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Metrics);

impl Tally {
    /// An event of the switch.
    pub(crate) fn count(&mut self, event: &SwitchEvent) {
        let metrics = &mut self.0;
        match event {
            SwitchEvent::Connected { .. } => metrics.sessions += 1,
            SwitchEvent::Disconnected { reason, .. } => {
                bump(&mut metrics.disconnects, reason.kind(), 1)
            }
            SwitchEvent::DialFailed { reason, .. } => {
                bump(&mut metrics.dials_failed, reason.kind(), 1);
            }
            SwitchEvent::Rejected { reason, others, .. } => {
                // The others were closed at the door for one of the reasons that end there.
                bump(&mut metrics.rejected, reason.kind(), 1 + others);
            }
            SwitchEvent::AcceptFailed(_) => metrics.accept_failures += 1,
            _ => {}
        }
    }

    /// A session is over: its counters are kept, the session is not.
    pub(crate) fn retire(&mut self, status: &PeerStatus) {
        add_channels(&mut self.0.channels, status, false);
    }

    /// Everything counted, with what the sessions that there are have counted. All of these channels
    /// are in it.
    pub(crate) fn with_sessions(
        &self,
        channels: impl IntoIterator<Item = ChannelId>,
        sessions: impl Iterator<Item = PeerStatus>,
    ) -> Metrics {
        let mut metrics = self.0.clone();
        for channel in channels {
            metrics.channels.entry(channel).or_insert(ChannelStatus::new(channel));
        }
        for status in sessions {
            add_channels(&mut metrics.channels, &status, true);
        }
        metrics
    }
}

fn bump(counts: &mut BTreeMap<&'static str, u64>, kind: &'static str, by: u64) {
    *counts.entry(kind).or_default() += by;
}

fn add_channels(
    channels: &mut BTreeMap<ChannelId, ChannelStatus>,
    status: &PeerStatus,
    is_live: bool,
) {
    for of_session in &status.channels {
        let channel = of_session.channel;
        let queued = if is_live { of_session.queued } else { 0 };
        let sum = channels.entry(channel).or_insert(ChannelStatus::new(channel));
        sum.add(&ChannelStatus { queued, ..*of_session });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DisconnectReason, identity::NodeId, ids::Direction};

    fn series(metrics: &Metrics) -> usize {
        metrics.channels.len()
            + metrics.dials_failed.len()
            + metrics.rejected.len()
            + metrics.disconnects.len()
    }

    /// tm#2600: a label per peer, and so a series for everybody who ever connected.
    #[test]
    fn per_peer_metric_labels_without_bound() {
        let mut tally = Tally::default();
        let mut after_some = 0;
        for n in 0..100_000_u32 {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&n.to_be_bytes());
            let (id, addr) = (NodeId::from_bytes(bytes), ([10, 1, 2, 3], n as u16).into());
            let reason = match n % 3 {
                0 => DisconnectReason::Eof,
                1 => DisconnectReason::DuplicateId(id),
                _ => DisconnectReason::Reactor(format!("reason {n}")),
            };
            tally.count(&SwitchEvent::Rejected {
                addr,
                id: Some(id),
                reason: reason.clone(),
                others: 1,
            });
            let direction = Direction::Inbound;
            tally.count(&SwitchEvent::Disconnected { id, addr, direction, reason });
            let channel = |id: u8| ChannelStatus { sent_bytes: 7, ..ChannelStatus::new(id.into()) };
            let channels = vec![channel(1), channel(2)];
            tally.retire(&PeerStatus { channels, rtt: None, send_rate: 0, recv_rate: 0 });
            if n == 10 {
                after_some = series(&tally.with_sessions([], std::iter::empty()));
            }
        }
        let metrics = tally.with_sessions([], std::iter::empty());
        assert_eq!(series(&metrics), after_some);
        assert_eq!(metrics.channels[&1.into()].sent_bytes, 700_000);
        assert_eq!(metrics.rejected.values().sum::<u64>(), 200_000);
        assert_eq!(metrics.disconnects["eof"], 33_334);
        let json = serde_json::to_value(&metrics).unwrap();
        assert_eq!(json["channels"]["1"]["sent_bytes"], 700_000);
        assert_eq!(json["disconnects"]["eof"], 33_334);
    }
}
