//! Persistent peers that are gone for good.

use std::time::{Duration, Instant};

use tmp2p::{Config, ConnectionState, NodeKey, PeerAddress};

use crate::{process::*, support::*};

#[test]
#[ignore = "a measurement, to be read by a person"]
fn redialing_dead_persistent_peers_degrades_the_node() {
    if !is_alone("dead_peers::redialing_dead_persistent_peers_degrades_the_node") {
        return;
    }
    let dead = |n: usize| -> PeerAddress {
        // Closed ports, addresses that nobody has, and names.
        match n % 3 {
            0 => stranger(closed_port()),
            1 => stranger(([192, 0, 2, n as u8 + 1], 26656).into()),
            _ => format!("{}@gone-{n}.invalid:26656", NodeKey::generate().id()).parse().unwrap(),
        }
    };
    let dial_timeout = Config::default().dial_timeout;
    let persistent_peers = (0..50).map(dead).collect();
    let config = Config { persistent_peers, dial_timeout, ..unlimited() };
    let (alice, _bob, started) = (node_from(config), node(), Instant::now());
    let (told, mut failed, from) = (alice.0.handle().subscribe(), 0, ticks());
    // The busiest time: pauses only grow.
    let until = started + Duration::from_secs(20);
    while let Ok(event) = told.recv_deadline(until) {
        failed += usize::from(matches!(event, tmp2p::SwitchEvent::DialFailed { .. }));
    }
    let busy = (ticks() - from) as f64 / 100.0 / started.elapsed().as_secs_f64();
    println!("50 dead peers, {failed} failed dials in 20 s: {:.2} % of a processor", busy * 100.0);
    let states = alice.0.handle().peer_states().unwrap();
    assert_eq!(states.len(), 50);
    assert!(states.iter().all(|state| {
        let state = state.state;
        state == ConnectionState::Reconnecting || state == ConnectionState::Dialing
    }));
}
