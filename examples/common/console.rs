//! What happens, on stdout: for people, or one JSON object a line.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tmp2p::{ConnId, DisconnectReason, Envelope, Event, Peer, SwitchEvent};

use crate::cli::stdout;

/// Tells what happens. Shared by the threads of all reactors.
#[derive(Debug)]
pub(crate) struct Console {
    has_events: bool,
    /// How many reactors tell of each session.
    reactors: usize,
    /// How many reactors have seen the end of each session that some reactor has seen begin.
    sessions: Mutex<BTreeMap<ConnId, usize>>,
}

impl Console {
    /// With `has_events` stdout carries one JSON object a line. An event that finds no room, because
    /// nobody has read those before it, is lost, and an event in its place tells how many were.
    pub(crate) fn new(has_events: bool, reactors: usize) -> Self {
        if has_events {
            stdout().set_notice(|lost| line("lost", json!({ "lines": lost })));
        }
        Self { has_events, reactors, sessions: Mutex::default() }
    }

    /// A line for people; nothing where programs read.
    pub(crate) fn say(&self, line: impl AsRef<str>) {
        if !self.has_events {
            stdout().push(line.as_ref());
        }
    }

    /// Where something listens.
    pub(crate) fn listening(&self, service: &str, addr: impl ToString) {
        let addr = addr.to_string();
        self.say(format!("listening {service} {addr}"));
        self.event("listening", json!({ "service": service, "addr": addr }));
    }

    /// An event for programs that watch events.
    pub(crate) fn event(&self, event: &str, fields: Value) {
        if self.has_events {
            self.report(event, fields);
        }
    }

    /// An event for everybody.
    pub(crate) fn report(&self, event: &str, fields: Value) {
        stdout().push(&line(event, fields));
    }

    /// What a reactor saw. Several reactors see the same session: its beginning is told by the
    /// first of them and its end by the last, so that its messages are between the two.
    pub(crate) fn reactor_event(&self, event: &Event) {
        if !self.has_events {
            return;
        }
        match event {
            Event::PeerUp(peer) => self.up(peer),
            Event::PeerDown(peer, reason) => self.down(peer, reason),
            Event::Message(envelope) => self.message(envelope),
            _ => {}
        }
    }

    /// What the switch said. The beginning and the end of sessions are left to the reactors.
    pub(crate) fn switch_event(&self, event: &SwitchEvent) {
        match event {
            SwitchEvent::DialFailed { addr, reason, .. } => {
                let addr = addr.to_string();
                let fields =
                    json!({ "addr": addr, "reason": reason.to_string(), "kind": reason.kind() });
                self.event("dial_failed", fields);
            }
            SwitchEvent::Rejected { addr, id, reason, .. } => {
                let mut fields = json!({
                    "addr": addr.to_string(), "reason": reason.to_string(), "kind": reason.kind(),
                });
                if let Some(id) = id {
                    fields["id"] = id.to_string().into();
                }
                self.event("rejected", fields);
            }
            SwitchEvent::Banned(ban) => {
                let until = ban.until.map(millis);
                let target = ban.target.to_string();
                let fields = json!({ "target": target, "until_ms": until, "reason": ban.reason });
                self.event("banned", fields);
            }
            SwitchEvent::Lost(events) => {
                log::warn!("{events} events were not written: nobody took them in time");
            }
            _ => {}
        }
    }

    fn up(&self, peer: &Peer) {
        let mut sessions = self.lock();
        let Entry::Vacant(entry) = sessions.entry(peer.conn()) else { return };
        entry.insert(0);
        // Under the lock: another reactor's message must not come before it.
        let fields = json!({
            "id": peer.id().to_string(),
            "addr": peer.remote_addr().to_string(),
            "direction": peer.direction().to_string(),
            "moniker": peer.node_info().moniker(),
        });
        self.report("peer_up", fields);
    }

    fn down(&self, peer: &Peer, reason: &DisconnectReason) {
        let mut sessions = self.lock();
        let seen = sessions.entry(peer.conn()).or_default();
        *seen += 1;
        if *seen == self.reactors {
            sessions.remove(&peer.conn());
            let fields = json!({
                "id": peer.id().to_string(), "reason": reason.to_string(), "kind": reason.kind(),
            });
            self.report("peer_down", fields);
        }
    }

    fn message(&self, envelope: &Envelope) {
        let fields = json!({
            "id": envelope.peer().id().to_string(),
            "channel": envelope.channel().as_u8(),
            "bytes": envelope.payload().len(),
        });
        self.report("message", fields);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnId, usize>> {
        self.sessions.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The line of an event.
fn line(event: &str, mut fields: Value) -> String {
    fields["event"] = event.into();
    fields["at_ms"] = json!(millis(SystemTime::now()));
    fields.to_string()
}
