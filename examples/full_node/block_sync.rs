//! The reactors that have nothing to give: they say so where peers would wait for an answer.

use std::sync::Arc;

use prost::Message as _;
use tmp2p::{Event, Peer, crossbeam_channel::Receiver};

use crate::{console::Console, verdict};

const BLOCK_CHANNEL: u8 = 0x40;

/// `tendermint.blockchain.Message` without the blocks.
#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(message, optional, tag = "1")]
    block_request: Option<Height>,
    #[prost(message, optional, tag = "2")]
    no_block_response: Option<Height>,
    #[prost(message, optional, tag = "4")]
    status_request: Option<Empty>,
    /// Which blocks a node has; 0 and 0: none.
    #[prost(message, optional, tag = "5")]
    status_response: Option<Empty>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Height {
    #[prost(int64, tag = "1")]
    height: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Empty {}

/// Answers that there are no blocks here. A node that is catching up asks everybody, and goes on
/// only when it knows what its peers have.
pub(crate) fn run(console: &Arc<Console>, events: &Receiver<Event>) {
    for event in events {
        console.reactor_event(&event);
        match event {
            Event::PeerUp(peer) => answer(&peer, &no_blocks()),
            Event::Message(envelope) => {
                let peer = envelope.peer();
                match Message::decode(&envelope.payload()[..]) {
                    Ok(Message { block_request: Some(wanted), .. }) => {
                        let message =
                            Message { no_block_response: Some(wanted), ..Message::default() };
                        answer(peer, &message);
                    }
                    Ok(Message { status_request: Some(_), .. }) => answer(peer, &no_blocks()),
                    Ok(_) => {}
                    Err(error) => verdict::bad(peer, format!("no block sync message: {error}")),
                }
            }
            _ => {}
        }
    }
}

/// Reads what is for others.
pub(crate) fn ignore(console: &Arc<Console>, events: &Receiver<Event>) {
    events.iter().for_each(|event| console.reactor_event(&event));
}

fn no_blocks() -> Message {
    Message { status_response: Some(Empty {}), ..Message::default() }
}

/// Peers ask again.
fn answer(peer: &Peer, message: &Message) {
    let _ = peer.try_send(BLOCK_CHANNEL, message.encode_to_vec());
}
