//! The reactor of the consensus channel: follows the height, and says what makes Tendermint's nodes
//! send their transactions. It never votes and never has a block.

use std::sync::{Arc, Mutex, MutexGuard};

use prost::Message as _;
use serde_json::json;
use tmp2p::{Event, Peer, crossbeam_channel::Receiver};

use crate::{
    console::Console,
    heights::{Heights, NewRoundStep},
    verdict,
};

/// The channel that carries `NewRoundStep`.
pub(crate) const STATE_CHANNEL: u8 = 0x20;

/// `tendermint.consensus.Message`, of which only one kind matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, optional, tag = "1")]
    new_round_step: Option<NewRoundStep>,
}

/// The reactor.
pub(crate) struct Consensus {
    console: Arc<Console>,
    heights: Arc<Mutex<Heights>>,
    /// The last height that was reported.
    reported: i64,
}

impl Consensus {
    pub(crate) fn new(console: Arc<Console>, heights: Arc<Mutex<Heights>>) -> Self {
        Self { console, heights, reported: 0 }
    }

    pub(crate) fn run(mut self, events: &Receiver<Event>) {
        for event in events {
            self.console.reactor_event(&event);
            match event {
                Event::Message(envelope) => self.hear(envelope.peer(), envelope.payload()),
                Event::Writable(peer, _) => self.tell(&peer),
                Event::PeerDown(peer, _) => lock(&self.heights).forget(peer.conn()),
                _ => {}
            }
        }
    }

    fn hear(&mut self, peer: &Peer, payload: &[u8]) {
        let said = match Message::decode(payload) {
            Ok(Message { new_round_step: Some(said) }) => said,
            Ok(_) => return,
            Err(error) => {
                return verdict::bad(peer, format!("no consensus message: {error}"));
            }
        };
        let mut heights = lock(&self.heights);
        let heard = heights.heard(peer.conn(), &said);
        let height = heights.height();
        drop(heights);
        match heard {
            Ok(true) => verdict::good(peer),
            Ok(false) => {}
            Err(why) => return verdict::bad(peer, why),
        }
        self.tell(peer);
        if height > self.reported {
            let from = peer.id().to_string();
            self.console.event("height", json!({ "height": height, "from": from }));
        }
        // Lower again once a liar has gone; the next step is news then.
        self.reported = height;
    }

    fn tell(&self, peer: &Peer) {
        let mut heights = lock(&self.heights);
        let Some(step) = heights.news_for(peer.conn()) else { return };
        let height = step.height;
        let message = Message { new_round_step: Some(step) }.encode_to_vec();
        // A full queue: `Writable` follows.
        if peer.try_send(STATE_CHANNEL, message).is_ok() {
            heights.was_told(peer.conn(), height);
        }
    }
}

pub(crate) fn lock(heights: &Mutex<Heights>) -> MutexGuard<'_, Heights> {
    heights.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
