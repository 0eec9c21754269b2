//! What is told of a running node: what it has found and lost, what wants somebody to act, and every
//! few minutes how it stands. Decides only; whoever runs the node puts it into the log.

use std::{collections::BTreeSet, time::Duration};

use log::Level;
use tmp2p::{ListenAddress, NodeId, SwitchEvent};

use crate::cli::counted;

/// Time between two summaries.
const SUMMARY_PERIOD: Duration = Duration::from_secs(300);

/// Time until what wants somebody to act is said again.
const REMINDER_PERIOD: Duration = Duration::from_secs(3600);

/// So many nodes of another network, more than others, make one wonder.
const STRANGERS: u64 = 3;

/// Characters of what a peer calls itself: longer than any name in use.
const MAX_MONIKER: usize = 64;

/// A seed hangs up when it has answered, or half a minute later if it was asked shortly before; one that
/// stays for so long is a peer like others.
const SEED_STAYS: Duration = Duration::from_secs(120);

/// What can be seen of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// Peers that it has dialed.
    pub(crate) outbound: usize,
    /// Peers that have dialed it.
    pub(crate) inbound: usize,
    /// How many of all these are its own seeds.
    pub(crate) seeds: usize,
    /// Attempts under way.
    pub(crate) dialing: usize,
    /// Addresses in its book, and how many of them are bad.
    pub(crate) addresses: usize,
    pub(crate) bad: usize,
    /// The chain's height, if it follows one.
    pub(crate) height: Option<i64>,
}

/// What has happened since something.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sessions: u64,
    /// Dials.
    failed: u64,
    /// Connections.
    refused: u64,
}

/// Decides what of it is told.
#[derive(Debug)]
pub(crate) struct News {
    /// Whether it has somebody to ask, by its configuration.
    has_names: bool,
    /// Whom it asks for addresses. That they are there is no news of a network.
    seeds: BTreeSet<NodeId>,
    /// How long it may be without a peer before that is said.
    patience: Duration,
    /// When there was a peer last, or it started.
    alone_since: Duration,
    /// Since when a seed was there at each look, and none has come.
    seed_since: Option<Duration>,
    /// The last seed that has answered since there was a peer, as a peer is told.
    seed: Option<String>,
    /// Nothing was told of peers yet; or that there are some; or that there are none.
    told: Told,
    reminder_at: Duration,
    summary_at: Duration,
    /// Since there was a peer last.
    in_vain: u64,
    /// The dials that found a node of another network, since there was a peer, and what the last said.
    strangers: u64,
    stranger: String,
    /// Since the last summary.
    counts: Counts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Peers,
    Nobody,
}

/// A line of the log.
pub(crate) type Line = (Level, String);

impl News {
    /// Of a node that starts now. Times are since any moment, always the same one.
    pub(crate) fn new(
        has_names: bool,
        seeds: impl IntoIterator<Item = NodeId>,
        patience: Duration,
        now: Duration,
    ) -> Self {
        Self {
            has_names,
            seeds: seeds.into_iter().collect(),
            patience,
            alone_since: now,
            seed_since: None,
            seed: None,
            told: Told::Nothing,
            reminder_at: now,
            summary_at: now + SUMMARY_PERIOD,
            in_vain: 0,
            strangers: 0,
            stranger: String::new(),
            counts: Counts::default(),
        }
    }

    /// Something has happened.
    pub(crate) fn hear(&mut self, event: &SwitchEvent, now: Duration) -> Option<Line> {
        match event {
            SwitchEvent::Connected { .. } => self.counts.sessions += 1,
            SwitchEvent::DialFailed { reason, .. } => {
                self.counts.failed += 1;
                self.in_vain += 1;
                if reason.kind() == "incompatible" {
                    self.strangers += 1;
                    self.stranger = reason.to_string();
                }
            }
            SwitchEvent::Rejected { others, .. } => self.counts.refused += 1 + others,
            _ => {}
        }
        let SwitchEvent::Connected { id, addr, direction, moniker } = event else { return None };
        self.strangers = 0;
        // It may be as long as the peer likes.
        let name: String = moniker.chars().take(MAX_MONIKER).collect();
        let more = if name.len() < moniker.len() { "..." } else { "" };
        let who = format!("{id}@{addr}, {direction}, {name:?}{more}");
        if self.seeds.contains(id) {
            (self.seed, self.seed_since) = (Some(who), Some(now));
            return None;
        }
        self.meet(who, now)
    }

    /// There is a peer.
    fn meet(&mut self, who: String, now: Duration) -> Option<Line> {
        (self.alone_since, self.in_vain, self.strangers, self.seed) = (now, 0, 0, None);
        if self.told == Told::Peers {
            return None;
        }
        self.told = Told::Peers;
        Some((Level::Info, format!("first peer: {who}")))
    }

    /// A look at the node, about once a second.
    pub(crate) fn look(&mut self, facts: &Facts, now: Duration) -> Vec<Line> {
        let mut lines = Vec::new();
        self.seed_since = match facts.seeds {
            0 => None,
            _ => self.seed_since.or(Some(now)),
        };
        let has_seed = self.seed_since.is_some_and(|since| now - since >= SEED_STAYS);
        let has_others = facts.outbound + facts.inbound > facts.seeds;
        if has_others {
            (self.alone_since, self.in_vain, self.strangers, self.seed) = (now, 0, 0, None);
        } else if has_seed {
            let who = self.seed.take().unwrap_or_else(|| "a seed".to_owned());
            lines.extend(self.meet(who, now));
        }
        let is_alone = !has_others && !has_seed;
        if let Some(why) = self.hindrance(facts).filter(|_| is_alone && now >= self.reminder_at) {
            self.reminder_at = now + REMINDER_PERIOD;
            lines.push((Level::Warn, why));
        }
        let alone_for = now.saturating_sub(self.alone_since);
        if is_alone && self.told != Told::Nobody && alone_for >= self.patience {
            let what = if self.told == Told::Peers { "no peers any more" } else { "no peers yet" };
            let seed = match &self.seed {
                Some(who) => format!("its seed answers ({who}), but nobody else was reached; "),
                None => String::new(),
            };
            self.told = Told::Nobody;
            lines.push((
                Level::Warn,
                format!(
                    "{what}, for {}; {seed}{} known, {} meanwhile",
                    shown(alone_for),
                    counted(facts.addresses, "address"),
                    counted(self.in_vain, "failed dial"),
                ),
            ));
        }
        if now >= self.summary_at {
            self.summary_at = now + SUMMARY_PERIOD;
            lines.push((Level::Info, summary(facts, std::mem::take(&mut self.counts))));
        }
        lines
    }
}

impl News {
    /// Why a node without peers will hardly find any, if that is seen.
    fn hindrance(&self, facts: &Facts) -> Option<String> {
        if self.strangers >= STRANGERS && self.strangers * 2 > self.in_vain {
            return Some(format!(
                "{} of {} found nodes of another network, and nobody of this one: {}; is this the right \
                 chain id?",
                self.strangers,
                counted(self.in_vain, "dial"),
                self.stranger
            ));
        }
        let what = match (self.has_names, facts.addresses, facts.bad) {
            (true, ..) => return None,
            (_, 0, 0) => "the address book is empty".to_owned(),
            (_, all, bad) if bad >= all => {
                format!("nothing but bad addresses is in the address book, {bad} of them")
            }
            _ => return None,
        };
        Some(format!(
            "there is nobody to connect to: neither seeds nor persistent_peers are set, and {what}"
        ))
    }
}

fn summary(facts: &Facts, counts: Counts) -> String {
    let Facts { outbound, inbound, dialing, addresses, bad, .. } = facts;
    let Counts { sessions, failed, refused } = counts;
    let height = facts.height.map_or(String::new(), |height| format!("height {height}, "));
    format!(
        "{height}peers: {outbound} outbound, {inbound} inbound, {dialing} being dialed; {} ({bad} bad); in \
         {}: {}, {}, {}",
        counted(*addresses, "address"),
        shown(SUMMARY_PERIOD),
        counted(sessions, "session"),
        counted(failed, "failed dial"),
        counted(refused, "refused connection"),
    )
}

/// What is wrong with the address that peers are told, if they cannot dial it.
pub(crate) fn undialable(announced: &str) -> Option<String> {
    let addr = announced.parse::<ListenAddress>().ok()?.socket_addr()?;
    // Port 0: the node only dials.
    (addr.ip().is_unspecified() && addr.port() != 0).then(|| {
        format!(
            "peers are told the address {addr}, which nobody can dial: set external_address to that \
             under which others reach this node"
        )
    })
}

/// A time in words.
pub(crate) fn shown(time: Duration) -> String {
    shown_in(time, "days")
}

/// The same with this word for days, of which there is more or less room.
pub(crate) fn shown_in(time: Duration, days: &str) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} {days}", seconds / 86_400),
    }
}
