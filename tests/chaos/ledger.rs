//! What one node has sent and what has come: on each channel of each session everything that was
//! accepted, once, in its order, from the first on, whatever happens to the session in the end.

use std::collections::{BTreeMap, HashMap};

use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use tmp2p::{Envelope, Payload, Peer, SendErrorKind};

use crate::child::CHANNELS;

/// What is in front of each message of ours: the number of the session with its sender, made of dice, and
/// the number of the message.
const HEAD: usize = 16;

/// The moniker of Go nodes, whose messages begin with their number in the flood.
const GO: &str = "go";

/// What one node knows.
#[derive(Default)]
pub(crate) struct Ledger {
    sessions: HashMap<Peer, Session>,
    /// By the sender's number of the session and the channel: how many have come.
    came: HashMap<(u64, u8), u64>,
    /// All that should never be.
    faults: Vec<String>,
    /// Sessions that there were.
    ups: u64,
    /// Messages that came in all of them.
    messages: u64,
}

/// A session that goes on.
struct Session {
    number: u64,
    sent: BTreeMap<u8, Sent>,
    /// The peer's number of the session, once something has come.
    theirs: Option<u64>,
    /// Of a Go peer: messages that have come, and the number of the last one.
    floods: BTreeMap<u8, (u64, u64)>,
}

/// What was accepted on a channel.
struct Sent {
    count: u64,
    digest: Context,
}

impl Ledger {
    pub(crate) fn up(&mut self, peer: Peer, number: u64) {
        self.ups += 1;
        let (sent, floods) = (BTreeMap::new(), BTreeMap::new());
        let session = Session { number, sent, theirs: None, floods };
        if self.sessions.insert(peer.clone(), session).is_some() {
            self.faults.push(format!("{}: up twice", peer.id()));
        }
    }

    pub(crate) fn down(&mut self, peer: &Peer) {
        if self.sessions.remove(peer).is_none() {
            self.faults.push(format!("{}: down and was not up", peer.id()));
        }
    }

    /// Sends one more message of this size on the channel, if there is room for it.
    pub(crate) fn send(&mut self, peer: &Peer, channel: u8, size: usize) {
        let Some(session) = self.sessions.get_mut(peer) else { return };
        let sent = session
            .sent
            .entry(channel)
            .or_insert_with(|| Sent { count: 0, digest: Context::new(&SHA256) });
        let payload = Payload::from(message(session.number, sent.count, size));
        match peer.try_send(channel, payload.clone()) {
            Ok(()) => {
                sent.digest.update(&payload);
                sent.count += 1;
            }
            Err(error) if matches!(error.kind, SendErrorKind::Full | SendErrorKind::Closed) => {}
            Err(error) => self.faults.push(format!("{}: {error}", peer.id())),
        }
    }

    pub(crate) fn message(&mut self, envelope: &Envelope) {
        self.messages += 1;
        let (peer, channel) = (envelope.peer(), envelope.channel().as_u8());
        let Some(session) = self.sessions.get_mut(peer) else {
            return self.faults.push(format!("{}: a message without a session", peer.id()));
        };
        let fault = if peer.node_info().moniker() == GO {
            session.flooded(channel, envelope.payload())
        } else {
            session.came(channel, envelope.payload(), &mut self.came)
        };
        if let Err(fault) = fault {
            self.faults.push(format!("{} on {channel:#x}: {fault}", peer.id()));
        }
    }

    /// For the one who compares it with what the others say.
    pub(crate) fn report(&self) -> Value {
        let sessions = self.sessions.iter().map(|(peer, session)| {
            let sent = session.sent.iter().map(|(channel, sent)| {
                let sha256 = hex::encode(sent.digest.clone().finish());
                (channel.to_string(), json!({ "count": sent.count, "sha256": sha256 }))
            });
            let is_go = peer.node_info().moniker() == GO;
            let came = CHANNELS.map(|channel| {
                let count = if is_go {
                    session.floods.get(&channel).map(|(count, _)| *count)
                } else {
                    session.theirs.and_then(|theirs| self.came.get(&(theirs, channel)).copied())
                };
                (channel.to_string(), json!(count.unwrap_or(0)))
            });
            json!({
                "id": peer.id().to_string(),
                "is_go": is_go,
                "number": session.number,
                "theirs": session.theirs,
                "sent": Value::Object(sent.collect()),
                "came": Value::Object(came.into_iter().collect()),
            })
        });
        json!({
            "event": "report",
            "sessions": sessions.collect::<Vec<_>>(),
            "faults": self.faults,
            "ups": self.ups,
            "messages": self.messages,
        })
    }
}

impl Session {
    /// A message of one of ours: the one after the last.
    fn came(
        &mut self,
        channel: u8,
        payload: &[u8],
        came: &mut HashMap<(u64, u8), u64>,
    ) -> Result<(), String> {
        let number = |at: usize| -> Result<u64, String> {
            let bytes = payload.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            Ok(u64::from_be_bytes(bytes.ok_or("too short")?))
        };
        let (session, index) = (number(0)?, number(8)?);
        let theirs = *self.theirs.get_or_insert(session);
        if theirs != session {
            return Err(format!("of session {session:x} in {theirs:x}"));
        }
        let expected = came.entry((session, channel)).or_default();
        if index != *expected {
            return Err(format!("message {index} instead of {expected}"));
        }
        *expected += 1;
        if payload != message(session, index, payload.len()) {
            return Err(format!("message {index} has other bytes"));
        }
        Ok(())
    }

    /// A message of a flood of a Go node, which leaves out what its queue had no place for.
    fn flooded(&mut self, channel: u8, payload: &[u8]) -> Result<(), String> {
        let bytes = payload.get(..8).and_then(|bytes| bytes.try_into().ok()).ok_or("too short")?;
        let index = u64::from_be_bytes(bytes);
        let (count, last) = self.floods.entry(channel).or_insert((0, 0));
        if *count > 0 && index <= *last {
            return Err(format!("message {index} of a flood after {last}"));
        }
        (*count, *last) = (*count + 1, index);
        Ok(())
    }
}

fn message(session: u64, index: u64, size: usize) -> Vec<u8> {
    let mut message = vec![index as u8 ^ session as u8; size.max(HEAD)];
    message[..8].copy_from_slice(&session.to_be_bytes());
    message[8..HEAD].copy_from_slice(&index.to_be_bytes());
    message
}
