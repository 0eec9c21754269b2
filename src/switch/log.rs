//! What the log says of the switch's events: lines a person can read, as many as a person can read.

use std::{collections::BTreeMap, time::Duration};

use log::Level;

use super::SwitchEvent;
use crate::{
    event_loop::Pace, ids::Direction, reactor::DisconnectReason, text::shown_up_to, time::Mono,
};

/// Lines of one kind at once; a kind that was quiet has as many again.
const LINES: u32 = 10;
/// Then one in so long. Strangers can cause half a dozen kinds at `info` and above, as fast as they
/// can connect: that is 20 lines a minute, 5 MB a day, where it was 3 million lines.
const PAUSE: Duration = Duration::from_secs(20);
/// The same for who looks closely, at `debug`.
const DEBUG_PAUSE: Duration = Duration::from_millis(100);

/// Most characters of a line: two addresses and a reason. An application's reason may have in it
/// whatever a peer has sent.
const MAX_LINE: usize = 400;

/// Decides which events become lines. What is left out is counted in the next line of its kind, and
/// by kind of reason in [`Metrics`](super::Metrics).
#[derive(Debug, Default)]
pub(crate) struct Log {
    kinds: BTreeMap<(Level, &'static str), Kind>,
}

#[derive(Debug, Default)]
struct Kind {
    /// When it may have [`LINES`] at once.
    full_at: Mono,
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
        let level = level(event);
        // By level, too: what is not even shown must not take the room of what is.
        let kind = self.kinds.entry((level, kind(event))).or_default();
        let pause = if level <= Level::Info { PAUSE } else { DEBUG_PAUSE };
        let Some(full_at) = Pace::every(pause, LINES).take(kind.full_at, now) else {
            kind.left_out += 1;
            return None;
        };
        kind.full_at = full_at;
        let mut text = shown_up_to(&text(event), MAX_LINE);
        let left_out = std::mem::take(&mut kind.left_out);
        if left_out > 0 {
            text.push_str(&format!(" ({left_out} more like it were not logged)"));
        }
        Some(Line { level, text })
    }
}

/// Whom we dial does not drown in those who dial us.
fn kind(event: &SwitchEvent) -> &'static str {
    match event {
        SwitchEvent::PeerUp { direction: Direction::Inbound, .. } => "up",
        SwitchEvent::PeerUp { direction: Direction::Outbound, .. } => "up_outbound",
        SwitchEvent::PeerDown { direction: Direction::Inbound, .. } => "down",
        SwitchEvent::PeerDown { direction: Direction::Outbound, .. } => "down_outbound",
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
            format!("peer {id}@{addr} up, {direction}, \"{moniker}\"")
        }
        SwitchEvent::PeerDown { id, addr, reason, .. } => {
            format!("peer {id}@{addr} down: {reason}")
        }
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

    fn down(direction: Direction, reason: DisconnectReason) -> SwitchEvent {
        let id = "ed99ea2d90b79612618deaed7cdde9e9786223b7".parse().unwrap();
        SwitchEvent::PeerDown { id, addr: "1.2.3.4:5".parse().unwrap(), direction, reason }
    }

    /// tm#9977, fx-core#40: an end of file as an error, peers nobody can read.
    #[test]
    fn eof_logged_as_an_error_and_unreadable_peers() {
        let line = down(Direction::Inbound, DisconnectReason::Eof);
        let line = Log::default().line(&line, Mono::ZERO).unwrap();
        let text =
            "peer ed99ea2d90b79612618deaed7cdde9e9786223b7@1.2.3.4:5 down: closed by the peer";
        assert_eq!(line, Line { level: Level::Info, text: text.to_owned() });
        let reason = DisconnectReason::Reactor("bad block".into());
        let down = down(Direction::Inbound, reason);
        assert_eq!(Log::default().line(&down, Mono::ZERO).unwrap().level, Level::Warn);
    }

    #[test]
    fn a_flood_of_events_is_ten_lines_and_a_count() {
        let mut log = Log::default();
        let lines = (0..1000).filter_map(|_| log.line(&refused(1), Mono::ZERO)).count();
        assert_eq!(lines, 10);
        // Another kind is not held up by it, nor is whom we dialed by who dials us.
        assert!(log.line(&SwitchEvent::Stopped, Mono::ZERO).is_some());
        for _ in 0..1000 {
            log.line(&down(Direction::Inbound, DisconnectReason::Eof), Mono::ZERO);
        }
        assert!(log.line(&down(Direction::Outbound, DisconnectReason::Eof), Mono::ZERO).is_some());
        let next = log.line(&refused(1), Mono::ZERO + PAUSE).unwrap();
        assert!(next.text.ends_with("(990 more like it were not logged)"), "{}", next.text);
        assert_eq!(log.line(&refused(1), Mono::ZERO + PAUSE), None);
        let next = log.line(&refused(1), Mono::ZERO + 10 * PAUSE).unwrap();
        assert!(next.text.ends_with("(1 more like it were not logged)"), "{}", next.text);
        let next = log.line(&refused(1), Mono::ZERO + 10 * PAUSE).unwrap();
        assert!(next.text.ends_with("connection refused"), "{}", next.text);
        // What is not shown takes nobody's room.
        (0..1000).for_each(|_| _ = log.line(&refused(2), Mono::ZERO + 100 * PAUSE));
        assert!(log.line(&refused(1), Mono::ZERO + 100 * PAUSE).is_some());
    }

    /// The fault: monikers of 10 KB in 10 lines a second of each kind, 9 to 17 GB a day.
    #[test]
    fn whatever_strangers_do_the_log_has_some_short_lines_a_minute() {
        let id = "ed99ea2d90b79612618deaed7cdde9e9786223b7".parse().unwrap();
        let addr = "[2001:470:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
        let (direction, long) = (Direction::Inbound, "x".repeat(10_000));
        let rejected = |reason| SwitchEvent::Rejected { addr, id: Some(id), reason, others: 0 };
        let events = [
            SwitchEvent::PeerUp { id, addr, direction, moniker: long.clone() },
            down(direction, DisconnectReason::Eof),
            down(direction, DisconnectReason::Reactor(long.clone())),
            rejected(DisconnectReason::Filtered(long.clone() + "\n")),
            rejected(DisconnectReason::DuplicateId(id)),
            refused(1),
        ];
        let mut log = Log::default();
        let (mut lines, mut told) = (0, 0);
        for millis in (0..3_600_000).step_by(10) {
            for event in &events {
                let now = Mono::ZERO + Duration::from_millis(millis);
                let Some(line) = log.line(event, now) else { continue };
                lines += 1;
                assert!(line.text.len() < 500 && !line.text.contains('\n'), "{}", line.text);
                let more =
                    line.text.rsplit_once('(').and_then(|(_, more)| more.split_once(" more "));
                told += 1 + more.map_or(0, |(more, _)| more.parse::<u64>().unwrap());
            }
        }
        assert!(lines <= 20 * 60 + 100, "{lines} in an hour");
        let all = 360_000 * events.len() as u64;
        assert!(told > all - all / 100, "{told} of {all} are told or counted");
    }

    #[test]
    fn repeated_failures_are_worth_less() {
        let levels: Vec<Level> = [1, 2, 15, 16, 17, 32].map(|n| level(&refused(n))).into();
        use Level::{Debug, Info};
        assert_eq!(levels, [Info, Debug, Debug, Info, Debug, Info]);
    }
}
