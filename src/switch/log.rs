//! What the log says of the switch's events: lines a person can read, as many as a person can read.

use std::{collections::BTreeMap, time::Duration};

use log::Level;

use super::SwitchEvent;
use crate::{reactor::DisconnectReason, time::Mono};

/// Lines of one kind at once, and a second later as many again: peers that come and go as fast as
/// they can would else fill the disk.
const LINES: u32 = 10;
const PER: Duration = Duration::from_secs(1);

/// Decides which events become lines.
#[derive(Debug, Default)]
pub(crate) struct Log {
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    /// When the current second began.
    since: Mono,
    lines: u32,
    left_out: u64,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) text: String,
}

impl Log {
    /// The line for an event, unless there were too many like it.
    pub(super) fn line(&mut self, event: &SwitchEvent, now: Mono) -> Option<Line> {
        let (kind, level) = (kind(event), level(event));
        let state = self.kinds.entry(kind).or_default();
        if now.since(state.since) >= PER {
            (state.since, state.lines) = (now, 0);
        }
        if state.lines >= LINES {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        let mut text = text(event);
        let left_out = std::mem::take(&mut state.left_out);
        if left_out > 0 {
            text.push_str(&format!(" ({left_out} more like it were not logged)"));
        }
        Some(Line { level, text })
    }
}

fn kind(event: &SwitchEvent) -> &'static str {
    match event {
        SwitchEvent::PeerUp { .. } => "up",
        SwitchEvent::PeerDown { .. } => "down",
        SwitchEvent::DialFailed { .. } => "dial_failed",
        SwitchEvent::Rejected { id: Some(_), .. } => "rejected",
        SwitchEvent::Rejected { id: None, .. } => "refused",
        SwitchEvent::Dialing { .. } => "dialing",
        SwitchEvent::Banned(_) => "banned",
        SwitchEvent::Unbanned(_) => "unbanned",
        SwitchEvent::Bad { .. } => "bad",
        SwitchEvent::Reinstated { .. } => "reinstated",
        SwitchEvent::GaveUp { .. } => "gave_up",
        SwitchEvent::ReactorStalled(_) | SwitchEvent::ReactorRecovered(_) => "stalled",
        SwitchEvent::AcceptFailed(_) => "accept_failed",
        SwitchEvent::Stopped => "stopped",
    }
}

/// A peer that misbehaves is worth more than one that leaves, and a failure that is repeated worth
/// less than a new one.
fn level(event: &SwitchEvent) -> Level {
    let by_reason = |reason: &DisconnectReason| {
        if reason.is_notable() { Level::Warn } else { Level::Info }
    };
    match event {
        SwitchEvent::PeerUp { .. } | SwitchEvent::Stopped | SwitchEvent::Banned(_) => Level::Info,
        SwitchEvent::Unbanned(_) => Level::Info,
        // Told at other places, or of interest to who looks closely.
        SwitchEvent::Dialing { .. } | SwitchEvent::Bad { .. } | SwitchEvent::Reinstated { .. } => {
            Level::Debug
        }
        SwitchEvent::PeerDown { reason, .. } => by_reason(reason),
        // The first failure, then the 16th, the 32nd: an hour later it is still known.
        SwitchEvent::DialFailed { failures: 0 | 1, .. } => Level::Info,
        SwitchEvent::DialFailed { failures, .. } if failures.is_multiple_of(16) => Level::Info,
        SwitchEvent::DialFailed { .. } => Level::Debug,
        SwitchEvent::Rejected { id: Some(_), .. } => Level::Info,
        // Anybody can cause these without a key: not worth a line each.
        SwitchEvent::Rejected { id: None, .. } => Level::Debug,
        SwitchEvent::GaveUp { .. } | SwitchEvent::ReactorRecovered(_) => Level::Warn,
        SwitchEvent::AcceptFailed(_) => Level::Warn,
        SwitchEvent::ReactorStalled(_) => Level::Error,
    }
}

fn text(event: &SwitchEvent) -> String {
    match event {
        SwitchEvent::PeerUp { id, addr, direction, moniker } => {
            format!("peer {id}@{addr} up, {direction}, {moniker:?}")
        }
        SwitchEvent::PeerDown { id, addr, reason } => format!("peer {id}@{addr} down: {reason}"),
        SwitchEvent::DialFailed { addr, reason, failures: 0 | 1 } => {
            format!("dialing {addr} failed: {reason}")
        }
        SwitchEvent::DialFailed { addr, reason, failures } => {
            format!("dialing {addr} failed for the {failures}th time: {reason}")
        }
        SwitchEvent::Rejected { addr, id: Some(id), reason, .. } => {
            format!("rejected {id}@{addr}: {reason}")
        }
        SwitchEvent::Rejected { addr, id: None, reason, others: 0 } => {
            format!("rejected {addr}: {reason}")
        }
        SwitchEvent::Rejected { addr, id: None, reason, others } => {
            format!("rejected {addr}: {reason}; {others} others since the last such line")
        }
        SwitchEvent::Banned(ban) => match ban.until {
            None => format!("banned {}: {}", ban.target, ban.reason),
            Some(until) => format!(
                "banned {} until {} s after 1970: {}",
                ban.target,
                until.as_secs(),
                ban.reason
            ),
        },
        SwitchEvent::Dialing { addr } => format!("dialing {addr}"),
        SwitchEvent::Unbanned(ban) => format!("{} is banned no more", ban.target),
        SwitchEvent::Bad { id, addr: Some(addr), until, reason } => {
            format!(
                "{id}@{} is bad until {} s after 1970: {reason}",
                addr.socket_addr(),
                until.as_secs()
            )
        }
        SwitchEvent::Bad { id, addr: None, until, reason } => {
            format!("{id} is bad until {} s after 1970: {reason}", until.as_secs())
        }
        SwitchEvent::Reinstated { id } => format!("{id} may be dialed again"),
        SwitchEvent::GaveUp { addr } => format!("giving up persistent peer {addr}"),
        SwitchEvent::ReactorStalled(name) => {
            format!("reactor {name:?} does not take its events: nobody is admitted until it does")
        }
        SwitchEvent::ReactorRecovered(name) => format!("reactor {name:?} takes its events again"),
        SwitchEvent::AcceptFailed(kind) => format!("cannot accept connections: {kind}"),
        SwitchEvent::Stopped => "switch stopped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(failures: u32) -> SwitchEvent {
        let addr = "ed99ea2d90b79612618deaed7cdde9e9786223b7@1.2.3.4:5".parse().unwrap();
        SwitchEvent::DialFailed { addr, reason: DisconnectReason::Refused, failures }
    }

    /// tm#9977, fx-core#40: an end of file as an error, peers nobody can read.
    #[test]
    fn eof_logged_as_an_error_and_unreadable_peers() {
        let id = "ed99ea2d90b79612618deaed7cdde9e9786223b7".parse().unwrap();
        let addr = "1.2.3.4:5".parse().unwrap();
        let down = SwitchEvent::PeerDown { id, addr, reason: DisconnectReason::Eof };
        let line = Log::default().line(&down, Mono::ZERO).unwrap();
        let text =
            "peer ed99ea2d90b79612618deaed7cdde9e9786223b7@1.2.3.4:5 down: closed by the peer";
        assert_eq!(line, Line { level: Level::Info, text: text.to_owned() });
        let reason = DisconnectReason::Reactor("bad block".into());
        let down = SwitchEvent::PeerDown { id, addr, reason };
        assert_eq!(Log::default().line(&down, Mono::ZERO).unwrap().level, Level::Warn);
    }

    #[test]
    fn a_flood_of_events_is_ten_lines_a_second_and_a_count() {
        let mut log = Log::default();
        let lines = (0..1000).filter_map(|_| log.line(&refused(1), Mono::ZERO)).count();
        assert_eq!(lines, 10);
        // Another kind is not held up by it.
        assert!(log.line(&SwitchEvent::Stopped, Mono::ZERO).is_some());
        let next = log.line(&refused(1), Mono::ZERO + PER).unwrap();
        assert!(next.text.ends_with("(990 more like it were not logged)"), "{}", next.text);
        let next = log.line(&refused(1), Mono::ZERO + PER).unwrap();
        assert!(next.text.ends_with("connection refused"), "{}", next.text);
    }

    #[test]
    fn repeated_failures_are_worth_less() {
        let levels: Vec<Level> = [1, 2, 15, 16, 17, 32].map(|n| level(&refused(n))).into();
        use Level::{Debug, Info};
        assert_eq!(levels, [Info, Debug, Debug, Info, Debug, Info]);
    }
}
