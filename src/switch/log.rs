//! What the log says of the switch's events: at `info` and above what an operator wants to know, whatever
//! strangers do; at `debug` the rest, as much of it as a person can read.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use log::Level;

use super::{StopReason, SwitchEvent};
use crate::{
    ban::{Ban, BanOrigin},
    event_loop::Pace,
    identity::NodeId,
    ids::Direction,
    reactor::{Blame, DisconnectReason, LocalFault},
    text::shown_up_to,
    time::{Mono, Wall},
};

/// Lines of one kind at once; a kind that was quiet has as many again.
const LINES: u32 = 10;
/// Then one in so long. Only what is configured causes such lines at `info` and above: 3 a minute of
/// each kind if all of it comes and goes all the time.
const PAUSE: Duration = Duration::from_secs(20);
/// The same for who looks closely, at `debug`.
const DEBUG_PAUSE: Duration = Duration::from_millis(100);
/// The same for what is wrong with this machine or this program: it is one fault, however many
/// connections meet it. Without descriptors that is ten times a second.
const FAULT_PAUSE: Duration = Duration::from_secs(300);

/// Time until it is said again that a configured node cannot be reached.
const REMINDER_PERIOD: Duration = Duration::from_secs(3600);
/// Nodes whose reminders are remembered: more than anybody configures at once.
const MAX_MISSED: usize = 1000;

/// Most characters of a line: two addresses and a reason. An application's reason may have in it
/// whatever a peer has sent.
const MAX_LINE: usize = 400;

/// Decides which events become lines. What is left out is counted in the next line of its kind, and
/// by kind of reason in [`Metrics`](super::Metrics).
#[derive(Debug, Default)]
pub struct Log {
    kinds: BTreeMap<(Level, &'static str), Kind>,
    seeds: BTreeSet<NodeId>,
    /// Configured nodes that could not be reached.
    missed: BTreeMap<NodeId, Missed>,
    /// Descriptors that the process may have.
    descriptors: Option<u64>,
}

#[derive(Debug, Default)]
struct Kind {
    /// When it may have all its lines at once.
    full_at: Mono,
    left_out: u64,
}

#[derive(Debug)]
struct Missed {
    /// When that was said last.
    told_at: Mono,
    /// It was not reached since.
    is_open: bool,
}

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// One line, without its end.
    pub text: String,
}

/// What a node is to the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Persistent,
    Seed,
    Other,
}

impl Log {
    /// The log of a switch with these seeds, of a process that may have so many descriptors.
    pub fn new(seeds: impl IntoIterator<Item = NodeId>, descriptors: Option<u64>) -> Self {
        Self { seeds: seeds.into_iter().collect(), descriptors, ..Self::default() }
    }

    /// The line for an event, unless there were too many like it.
    pub fn line(
        &mut self,
        event: &SwitchEvent,
        is_persistent: impl Fn(&NodeId) -> bool,
        now: Mono,
    ) -> Option<Line> {
        let id = id_of(event);
        let role = match id {
            Some(id) if is_persistent(&id) => Role::Persistent,
            Some(id) if self.seeds.contains(&id) => Role::Seed,
            _ => Role::Other,
        };
        let (level, name) = self.weigh(event, role, now);
        // By level, too: what is not even shown must not take the room of what is.
        let kind = self.kinds.entry((level, name)).or_default();
        let Some(full_at) = pace(level, name).take(kind.full_at, now) else {
            kind.left_out += 1;
            return None;
        };
        kind.full_at = full_at;
        let left_out = mem::take(&mut kind.left_out);
        let text = if name == UNREACHABLE { self.missed(event, role, now) } else { None };
        let text = text.unwrap_or_else(|| text_of(event, role, self.descriptors));
        let mut text = shown_up_to(&text, MAX_LINE);
        if left_out > 0 {
            text.push_str(&format!(" ({left_out} more like it were not logged)"));
        }
        Some(Line { level, text })
    }

    /// How important it is, and of which kind. Whom we dial does not drown in those who dial us.
    fn weigh(&mut self, event: &SwitchEvent, role: Role, now: Mono) -> (Level, &'static str) {
        match event {
            SwitchEvent::Connected { id, direction, .. } => {
                let missed = self.missed.get_mut(id);
                let is_back = missed.is_some_and(|missed| mem::take(&mut missed.is_open));
                let is_news = is_back || role == Role::Persistent;
                let level = if is_news { Level::Info } else { Level::Debug };
                (level, if *direction == Direction::Inbound { "up" } else { "up_outbound" })
            }
            SwitchEvent::Disconnected { reason, direction, .. } => match reason {
                DisconnectReason::SwitchBusy(_) => (Level::Warn, BUSY),
                _ => {
                    let is_inbound = *direction == Direction::Inbound;
                    (level_of_end(reason, role), if is_inbound { "down" } else { "down_outbound" })
                }
            },
            SwitchEvent::DialFailed { addr, reason, .. } => match fault(reason) {
                Some(fault) => (Level::Warn, fault),
                None if self.is_missed(&addr.id(), reason, role, now) => (Level::Warn, UNREACHABLE),
                None => (Level::Debug, "dial_failed"),
            },
            SwitchEvent::Rejected { reason: DisconnectReason::SwitchBusy(_), .. } => {
                (Level::Warn, BUSY)
            }
            // Anybody can cause these, the latter without a key.
            SwitchEvent::Rejected { id: Some(_), .. } => (Level::Debug, "rejected"),
            SwitchEvent::Rejected { id: None, .. } => (Level::Debug, "refused"),
            SwitchEvent::Banned(ban) => (level_of_ban(ban), "banned"),
            SwitchEvent::Unbanned(ban) => (level_of_ban(ban), "unbanned"),
            SwitchEvent::Dialing { .. } => (Level::Debug, "dialing"),
            SwitchEvent::Bad { .. } => (Level::Debug, "bad"),
            SwitchEvent::Reinstated { .. } => (Level::Debug, "reinstated"),
            SwitchEvent::GaveUp { .. } => (Level::Warn, "gave_up"),
            SwitchEvent::ReactorStalled(_) => (Level::Error, "stalled"),
            SwitchEvent::ReactorRecovered(_) => (Level::Warn, "stalled"),
            SwitchEvent::AcceptFailed(reason) => {
                (Level::Warn, fault(reason).unwrap_or(ACCEPT_FAILED))
            }
            // Only told to one who did not read.
            SwitchEvent::Lost(_) => (Level::Debug, "lost"),
            SwitchEvent::ReactorGone { .. } => (Level::Error, "reactor_gone"),
            SwitchEvent::Stopped(StopReason::Failed) => (Level::Error, "stopped"),
            // Whoever has stopped it knows.
            SwitchEvent::Stopped(_) => (Level::Debug, "stopped"),
        }
    }

    /// Whether it is to be said that a node cannot be reached: it is configured, and that was not said
    /// for long.
    fn is_missed(&self, id: &NodeId, reason: &DisconnectReason, role: Role, now: Mono) -> bool {
        let is_failure = !matches!(
            reason,
            // It is connected, or about to be; or nobody wants it.
            DisconnectReason::AlreadyDialing(_)
                | DisconnectReason::DuplicateId(_)
                | DisconnectReason::Full(_)
                | DisconnectReason::Stopped
                | DisconnectReason::Undecided(_)
        );
        let told = self.missed.get(id);
        let is_due = told.is_none_or(|missed| now.since(missed.told_at) >= REMINDER_PERIOD);
        role != Role::Other && is_failure && is_due
    }

    /// Says that a configured node cannot be reached.
    fn missed(&mut self, event: &SwitchEvent, role: Role, now: Mono) -> Option<String> {
        let SwitchEvent::DialFailed { addr, reason, failures } = event else { return None };
        if self.missed.len() >= MAX_MISSED {
            self.missed.retain(|_, missed| now.since(missed.told_at) < REMINDER_PERIOD);
        }
        self.missed.insert(addr.id(), Missed { told_at: now, is_open: true });
        let remedy = match reason {
            DisconnectReason::WrongId { .. } => "; correct the ID that is configured for it",
            _ => "",
        };
        let attempts =
            if *failures > 1 { format!(" ({failures} attempts)") } else { String::new() };
        Some(format!("cannot reach the {} {addr}{attempts}: {reason}{remedy}", name_of(role)))
    }
}

const UNREACHABLE: &str = "unreachable";
const BUSY: &str = "busy";
const ACCEPT_FAILED: &str = "accept_failed";

fn pace(level: Level, name: &str) -> Pace {
    match name {
        BUSY | ACCEPT_FAILED | "descriptors" | "addresses" | "memory" | "randomness" => {
            Pace::every(FAULT_PAUSE, 1)
        }
        _ if level <= Level::Info => Pace::every(PAUSE, LINES),
        _ => Pace::every(DEBUG_PAUSE, LINES),
    }
}

/// What is wrong with this machine, if somebody can do something about it. That no route leads to an
/// address is no fault where there is no IPv6.
fn fault(reason: &DisconnectReason) -> Option<&'static str> {
    match reason {
        DisconnectReason::Local(LocalFault::Descriptors) => Some("descriptors"),
        DisconnectReason::Local(LocalFault::NoAddress) => Some("addresses"),
        DisconnectReason::Local(LocalFault::Memory) => Some("memory"),
        DisconnectReason::Local(LocalFault::Randomness) => Some("randomness"),
        _ => None,
    }
}

/// Whom the operator wants is news when he goes, and more if it is for a fault. Others come and go.
fn level_of_end(reason: &DisconnectReason, role: Role) -> Level {
    // A ping that was not answered may be the network's.
    let is_fault = reason.blame() == Blame::Peer || matches!(reason, DisconnectReason::Protocol(_));
    match role {
        _ if matches!(reason, DisconnectReason::Stopped) => Level::Debug,
        Role::Persistent if is_fault => Level::Warn,
        Role::Persistent => Level::Info,
        Role::Seed | Role::Other => Level::Debug,
    }
}

/// Strangers get themselves banned as often as they like.
fn level_of_ban(ban: &Ban) -> Level {
    match ban.origin {
        BanOrigin::Operator => Level::Info,
        BanOrigin::Automatic => Level::Debug,
    }
}

fn id_of(event: &SwitchEvent) -> Option<NodeId> {
    match event {
        SwitchEvent::Connected { id, .. } | SwitchEvent::Disconnected { id, .. } => Some(*id),
        SwitchEvent::DialFailed { addr, .. } => Some(addr.id()),
        _ => None,
    }
}

fn name_of(role: Role) -> &'static str {
    match role {
        Role::Persistent => "persistent peer",
        Role::Seed => "seed",
        Role::Other => "peer",
    }
}

/// A point in time, to the second.
fn moment(time: SystemTime) -> String {
    let seconds = time.since(SystemTime::UNIX_EPOCH).as_secs();
    let moment = i64::try_from(seconds).ok().and_then(|s| Timestamp::from_second(s).ok());
    moment.map_or_else(|| format!("{seconds} s after 1970"), |moment| moment.to_string())
}

fn text_of(event: &SwitchEvent, role: Role, descriptors: Option<u64>) -> String {
    let what = name_of(role);
    match event {
        SwitchEvent::Connected { id, addr, direction, moniker } => {
            format!("{what} {id}@{addr} up, {direction}, \"{moniker}\"")
        }
        SwitchEvent::Disconnected { id, addr, reason, .. } => {
            format!("{what} {id}@{addr} down: {reason}")
        }
        SwitchEvent::DialFailed { reason, .. } if fault(reason).is_some() => {
            format!("cannot dial: {}", fault_text(reason, descriptors))
        }
        SwitchEvent::DialFailed { addr, reason, failures: 0 | 1 } => {
            format!("dialing {addr} failed: {reason}")
        }
        SwitchEvent::DialFailed { addr, reason, failures } => {
            format!("dialing {addr} failed, {failures} times in a row: {reason}")
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
            Some(until) => {
                format!("banned {} until {}: {}", ban.target, moment(until), ban.reason)
            }
        },
        SwitchEvent::Dialing { addr } => format!("dialing {addr}"),
        SwitchEvent::Unbanned(ban) => format!("{} is banned no more", ban.target),
        SwitchEvent::Bad { id, addr: Some(addr), until, reason } => {
            format!("{id}@{} is bad until {}: {reason}", addr.socket_addr(), moment(*until))
        }
        SwitchEvent::Bad { id, addr: None, until, reason } => {
            format!("{id} is bad until {}: {reason}", moment(*until))
        }
        SwitchEvent::Reinstated { id } => format!("{id} may be dialed again"),
        SwitchEvent::GaveUp { addr } => format!("giving up persistent peer {addr}"),
        SwitchEvent::ReactorStalled(name) => {
            format!("reactor {name:?} does not take its events: nobody is admitted until it does")
        }
        SwitchEvent::ReactorRecovered(name) => format!("reactor {name:?} takes its events again"),
        SwitchEvent::AcceptFailed(reason) => {
            format!("cannot accept connections: {}", fault_text(reason, descriptors))
        }
        SwitchEvent::Lost(events) => format!("a subscriber lost {events} events"),
        SwitchEvent::ReactorGone { name, has_panicked } => {
            let how = if *has_panicked { "has panicked" } else { "was dropped" };
            format!("reactor {name:?} {how}")
        }
        SwitchEvent::Stopped(reason) => format!("switch stopped: {reason}"),
    }
}

/// What to do about it, with the number that is too small.
fn fault_text(reason: &DisconnectReason, descriptors: Option<u64>) -> String {
    match (reason, descriptors) {
        (DisconnectReason::Local(LocalFault::Descriptors), Some(limit)) => format!(
            "too many open files: this process may have {limit}; allow it more (ulimit -n, or \
             LimitNOFILE of a systemd unit)"
        ),
        (reason, _) => reason.to_string(),
    }
}
