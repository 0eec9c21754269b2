//! Follows the height of the chain, from what peers say of theirs.
//!
//! Tendermint's nodes send transactions only to peers that are not behind, so this node tells what
//! it was told. It never votes and never has a block, and nobody minds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use prost::Message as _;
use serde_json::json;
use tmp2p::{ConnId, Event, Peer, crossbeam_channel::Receiver};

use crate::{console::Console, verdict};

/// The channel that carries `NewRoundStep`.
pub(crate) const STATE_CHANNEL: u8 = 0x20;

/// `tendermint.consensus.Message`, of which only one kind matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, optional, tag = "1")]
    new_round_step: Option<NewRoundStep>,
}

/// Where a node is in consensus.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NewRoundStep {
    #[prost(int64, tag = "1")]
    height: i64,
    #[prost(int32, tag = "2")]
    round: i32,
    #[prost(uint32, tag = "3")]
    step: u32,
    #[prost(int64, tag = "4")]
    seconds_since_start_time: i64,
    #[prost(int32, tag = "5")]
    last_commit_round: i32,
}

/// What peers say of their heights.
pub(crate) struct Heights {
    /// The first height of the chain.
    initial: i64,
    peers: BTreeMap<ConnId, Told>,
}

/// What was said between this node and a peer.
#[derive(Default)]
struct Told {
    /// Its height and its `last_commit_round`.
    by_it: Option<(i64, i32)>,
    /// The height that it was told.
    to_it: i64,
}

impl Heights {
    pub(crate) fn new(initial: i64) -> Self {
        Self { initial, peers: BTreeMap::new() }
    }

    /// The height that the connected peers work on; 0 if none has said. Somebody may be lying, but
    /// only as long as he stays.
    pub(crate) fn highest(&self) -> i64 {
        let heights = self.peers.values().filter_map(|told| told.by_it);
        heights.map(|(height, _)| height).max().unwrap_or(0)
    }

    /// The height of this peer; 0 if it has not said.
    pub(crate) fn of(&self, conn: ConnId) -> i64 {
        self.peers.get(&conn).and_then(|told| told.by_it).map_or(0, |(height, _)| height)
    }

    /// A peer has said where it is; whether that is of use: it is as far as anybody, or further
    /// than it was. Who follows the chain shows so even while somebody lies. An error is what no
    /// honest node says.
    fn heard(&mut self, conn: ConnId, said: &NewRoundStep) -> Result<bool, &'static str> {
        let is_valid = said.height >= 1
            && said.round >= 0
            && (1..=8).contains(&said.step)
            && said.last_commit_round >= -1;
        if !is_valid {
            return Err("a NewRoundStep that makes no sense");
        }
        let before = self.of(conn);
        let is_useful = said.height >= self.highest() || (before > 0 && said.height > before);
        self.peers.entry(conn).or_default().by_it = Some((said.height, said.last_commit_round));
        Ok(is_useful)
    }

    fn forget(&mut self, conn: ConnId) {
        self.peers.remove(&conn);
    }

    /// What to tell a peer, if it is new to it. A height that peers say themselves comes back with
    /// their own `last_commit_round`: whether that has to be negative only they know.
    fn news_for(&mut self, conn: ConnId) -> Option<NewRoundStep> {
        let (initial, highest) = (self.initial, self.highest());
        let told = self.peers.entry(conn).or_default();
        if highest <= told.to_it {
            return None;
        }
        let last_commit_round = match told.by_it {
            Some((height, round)) if height == highest => round,
            None if highest <= initial => -1,
            _ => 0,
        };
        let step = 1; // NewHeight
        Some(NewRoundStep { height: highest, step, last_commit_round, ..Default::default() })
    }

    fn was_told(&mut self, conn: ConnId, height: i64) {
        if let Some(told) = self.peers.get_mut(&conn) {
            told.to_it = height;
        }
    }
}

/// The reactor of the consensus channels.
pub(crate) struct Consensus {
    console: Arc<Console>,
    heights: Arc<Mutex<Heights>>,
    peers: BTreeMap<ConnId, Peer>,
    /// The last height that was reported.
    reported: i64,
}

impl Consensus {
    pub(crate) fn new(console: Arc<Console>, heights: Arc<Mutex<Heights>>) -> Self {
        Self { console, heights, peers: BTreeMap::new(), reported: 0 }
    }

    pub(crate) fn run(mut self, events: &Receiver<Event>) {
        for event in events {
            self.console.reactor_event(&event);
            match event {
                Event::PeerUp(peer) => {
                    self.tell(&peer);
                    self.peers.insert(peer.conn(), peer);
                }
                Event::Message(envelope) if envelope.channel() == STATE_CHANNEL.into() => {
                    self.hear(envelope.peer(), envelope.payload());
                }
                Event::Writable(peer, _) => self.tell(&peer),
                Event::PeerDown(peer, _) => {
                    self.peers.remove(&peer.conn());
                    lock(&self.heights).forget(peer.conn());
                }
                // Proposals, block parts and votes are for nodes that have the blocks.
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
        let highest = heights.highest();
        drop(heights);
        match heard {
            Ok(true) => verdict::good(peer),
            Ok(false) => {}
            Err(why) => return verdict::bad(peer, why),
        }
        if highest > self.reported {
            self.reported = highest;
            let from = peer.id().to_string();
            self.console.event("height", json!({ "height": highest, "from": from }));
            self.peers.values().for_each(|peer| self.tell(peer));
        } else {
            self.tell(peer);
        }
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
