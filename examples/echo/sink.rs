//! The other half of the server: swallows, counts and hashes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ring::digest::{Context, SHA256};
use serde_json::json;
use tmp2p::{
    ConnId, Envelope, Event, NodeId,
    crossbeam_channel::{Receiver, RecvTimeoutError},
};

use crate::console::Console;

/// Silence after which the totals of a session are told.
const SILENCE: Duration = Duration::from_secs(1);

/// Counts what arrives, and tells the totals a second after the last message of a session.
pub(crate) struct Sink<'a> {
    console: &'a Console,
    sessions: BTreeMap<ConnId, Totals>,
}

/// Since the session began.
struct Totals {
    id: NodeId,
    messages: u64,
    bytes: u64,
    hash: Context,
    /// When to tell; `None` if there is nothing new.
    due: Option<Instant>,
    is_over: bool,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(console: &'a Console) -> Self {
        Self { console, sessions: BTreeMap::new() }
    }

    pub(crate) fn run(mut self, events: &Receiver<Event>) {
        let mut next = None;
        loop {
            let event = match next {
                Some(due) => events.recv_deadline(due),
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(event) => {
                    self.console.reactor_event(&event);
                    next = self.handle(event, next);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = Instant::now();
            if next.is_some_and(|due| due <= now) {
                next = self.tell(|due| due <= now);
            }
        }
        // The switch has stopped: nothing more comes.
        self.tell(|_| true);
    }

    /// When to look next.
    fn handle(&mut self, event: Event, next: Option<Instant>) -> Option<Instant> {
        match event {
            Event::Message(envelope) => {
                let due = self.swallow(envelope);
                // An earlier look finds nothing due and is followed by the right one.
                return Some(next.map_or(due, |next| next.min(due)));
            }
            Event::PeerDown(peer, _) => {
                if let Some(totals) = self.sessions.get_mut(&peer.conn()) {
                    totals.is_over = true;
                    if totals.due.is_none() {
                        self.sessions.remove(&peer.conn());
                    }
                }
            }
            _ => {}
        }
        next
    }

    fn swallow(&mut self, envelope: Envelope) -> Instant {
        let peer = envelope.peer();
        let totals = self.sessions.entry(peer.conn()).or_insert_with(|| Totals {
            id: peer.id(),
            messages: 0,
            bytes: 0,
            hash: Context::new(&SHA256),
            due: None,
            is_over: false,
        });
        totals.messages += 1;
        totals.bytes += envelope.payload().len() as u64;
        totals.hash.update(&envelope.payload()[..]);
        let due = Instant::now() + SILENCE;
        totals.due = Some(due);
        due
    }

    /// Tells the sessions that are due; when the next one is.
    fn tell(&mut self, is_due: impl Fn(Instant) -> bool) -> Option<Instant> {
        for totals in self.sessions.values_mut() {
            if totals.due.is_some_and(&is_due) {
                totals.due = None;
                let fields = json!({
                    "id": totals.id.to_string(),
                    "messages": totals.messages,
                    "bytes": totals.bytes,
                    "sha256": hex::encode(totals.hash.clone().finish()),
                });
                self.console.report("sunk", fields);
            }
        }
        self.sessions.retain(|_, totals| !totals.is_over || totals.due.is_some());
        self.sessions.values().filter_map(|totals| totals.due).min()
    }
}
