//! Nodes that were lost, or were refused, and are there again. With peer exchange, and Go's node as the
//! only one that is known.

use std::time::Duration;

use serde_json::json;
use tmp2p::{ConnectionState, Direction, DisconnectReason, Event};

use crate::{
    exchange::exchange,
    go::{Go, Release},
    ours::{CHANNEL, Ours},
};

for_each_release! {
    a_go_node_that_restarts_is_dialed_before_the_next_round,
    a_go_node_of_another_chain_is_a_peer_as_soon_as_it_is_of_ours,
}

/// Well before the round of looking for peers that comes half a minute after the start.
const SOON: Duration = Duration::from_secs(20);

/// What makes a node of Go be there again.
const SEED: &str = "2a";

fn go(release: Release, listen: &str, chain_id: &str) -> Go {
    Go::start(release, &["-laddr", listen, "-seed", &SEED.repeat(32), "-chain-id", chain_id])
}

fn ours() -> Ours {
    Ours::start(|setup| {
        setup.config.pex = true;
        setup.config.addr_book_strict = false;
    })
}

/// This node, which is there again, is soon dialed by ours.
#[track_caller]
fn assert_dialed(ours: &Ours, mut node: Go) {
    let event = ours.reactor.events().recv_timeout(SOON);
    let Ok(Event::PeerUp(peer)) = event else { panic!("{event:?}") };
    assert_eq!((peer.id(), peer.direction()), (node.id, Direction::Outbound));
    node.wait("peer_up", json!({}));
    exchange(ours, &mut node, &peer, &[CHANNEL], &[100]);
}

fn a_go_node_that_restarts_is_dialed_before_the_next_round(release: Release) {
    let _alone = crate::alone();
    let ours = ours();
    let mut node = go(release, "127.0.0.1:0", "interop");
    let listen = node.listen.clone();
    let peer = ours.connect(&mut node, Direction::Outbound);
    exchange(&ours, &mut node, &peer, &[CHANNEL], &[100]);
    node.kill();
    ours.down();

    assert_dialed(&ours, go(release, &listen, "interop"));
}

/// An upgrade under the same key. It is bad for a day, unless it shows itself to be of ours.
fn a_go_node_of_another_chain_is_a_peer_as_soon_as_it_is_of_ours(release: Release) {
    let _alone = crate::alone();
    let ours = ours();
    let node = go(release, "127.0.0.1:0", "another");
    let listen = node.listen.clone();
    let reason = ours.dial_fails(node.address());
    assert!(matches!(reason, DisconnectReason::Incompatible(_)), "{reason}");
    let state = ours.state(&node);
    assert_eq!(state.state, ConnectionState::Bad, "{state:?}");
    node.kill();

    let mut node = go(release, &listen, "interop");
    let peer = ours.connect(&mut node, Direction::Inbound);
    exchange(&ours, &mut node, &peer, &[CHANNEL], &[100]);
    node.kill();
    ours.down();
    // And it is dialed, as anybody who is known.
    assert_dialed(&ours, go(release, &listen, "interop"));
}
