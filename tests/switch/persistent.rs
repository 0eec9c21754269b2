//! Persistent peers come back, whatever happened to them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tmp2p::{
    Config, ConnectionState, ControlError, Direction, DisconnectReason, NodeKey, PeerAddress,
    Reactor, Resolver, Switch, SwitchEvent,
};

use crate::support::*;

/// Dials at once, and again after some milliseconds.
fn eager(persistent_peers: Vec<PeerAddress>) -> Config {
    Config {
        persistent_peers,
        persistent_peers_max_dial_period: Duration::from_millis(20),
        dial_spread: Duration::ZERO,
        ..unlimited()
    }
}

/// A node that can be started again at the same place: nobody else takes ports of this address.
fn start_at(key: &NodeKey, addr: SocketAddr) -> (Switch, Reactor) {
    built(listening(unlimited(), addr), key.clone(), |_, _| {})
}

#[test]
fn a_peer_that_is_killed_comes_back_with_or_without_pex() {
    for (pex, host) in [(true, 1), (false, 2)] {
        let key = NodeKey::generate();
        let bob = start_at(&key, (Ipv4Addr::new(127, 31, 0, host), 0).into());
        let addr = bob.0.handle().local_addr().unwrap();
        let alice = node_from(Config { pex, ..eager(vec![at(key.id(), addr)]) });
        let told = alice.0.handle().subscribe();
        let peer = up(&alice.1);
        assert_eq!((peer.id(), peer.is_persistent()), (key.id(), true));
        let mut bob = Some(bob);
        for is_killed in [true, false, true] {
            let (switch, reactor) = bob.take().unwrap();
            if is_killed {
                drop(switch);
            } else {
                switch.stop(DEADLINE).unwrap();
            }
            drop(reactor);
            assert_eq!(peer_down(&told).0, key.id());
            let (failed, reason, failures) = dial_failed(&told);
            assert_eq!((failed, reason.kind()), (at(key.id(), addr), "refused"));
            assert!(failures >= 1);
            bob = Some(start_at(&key, addr));
            assert_eq!(peer_up(&told), key.id());
        }
    }
}

#[test]
fn persistent_peers_are_added_and_removed_at_run_time() {
    let alice = node_from(eager(Vec::new()));
    let (handle, told) = (alice.0.handle(), alice.0.handle().subscribe());
    let key = NodeKey::generate();
    let bob = start_at(&key, (Ipv4Addr::new(127, 31, 0, 3), 0).into());
    let (id, addr) = (key.id(), bob.0.handle().local_addr().unwrap());
    assert_eq!(handle.remove_persistent(id), Err(ControlError::UnknownPeer(id)));
    assert_eq!(
        handle.add_persistent(handle.peer_address().unwrap()),
        Err(ControlError::OwnId(handle.id()))
    );
    for nobody in ["127.0.0.1:0", "0.0.0.0:1", "bob.example:0"] {
        let addr: PeerAddress = format!("{id}@{nobody}").parse().unwrap();
        assert_eq!(handle.add_persistent(addr.clone()), Err(ControlError::Undialable(addr)));
    }
    assert_eq!(handle.peer_states(), Ok(Vec::new()), "nothing has changed");

    handle.add_persistent(at(id, addr)).unwrap();
    let peer = up(&alice.1);
    assert!(peer.is_persistent());
    drop(bob);
    peer_down(&told);
    let bob = start_at(&key, addr);
    assert_eq!(peer_up(&told), id);
    // Removed: the session stays, and what comes after it is not dialed.
    handle.remove_persistent(id).unwrap();
    assert_eq!(handle.remove_persistent(id), Err(ControlError::UnknownPeer(id)));
    let peer = handle.peer(id).unwrap();
    until("the session is told", || !peer.is_persistent());
    drop(bob);
    peer_down(&told);
    assert_eq!(handle.peer_states(), Ok(Vec::new()));
    assert_eq!(handle.num_peers().dialing, 0);
    // Removed between two attempts.
    handle.add_persistent(at(id, addr)).unwrap();
    assert_eq!(dial_failed(&told).2, 1);
    assert_eq!(dial_failed(&told).2, 2, "it is dialed again and again");
    handle.remove_persistent(id).unwrap();
    until("the last attempt is over", || handle.peer_states() == Ok(Vec::new()));
    assert_eq!(handle.num_peers().dialing, 0);
}

/// A name server whose answer changes.
#[derive(Default)]
struct Names(Mutex<Option<SocketAddr>>);

impl Resolver for Names {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let addr = *self.0.lock().unwrap();
        addr.map(|addr| vec![addr]).ok_or_else(|| io::Error::other("no such name"))
    }
}

#[test]
fn dns_resolved_once() {
    let (names, key) = (Arc::new(Names::default()), NodeKey::generate());
    let addr: PeerAddress = format!("{}@bob.example:26656", key.id()).parse().unwrap();
    let alice = built(eager(vec![addr.clone()]), NodeKey::generate(), |builder, _| {
        builder.resolver(names.clone());
    });
    let told = alice.0.handle().subscribe();
    // Unknown at the start, and asked again all the same.
    for _ in 0..3 {
        let (failed, reason, _) = dial_failed(&told);
        assert_eq!((&failed, reason.kind()), (&addr, "lookup"));
    }
    let bob = start_at(&key, (Ipv4Addr::new(127, 31, 0, 4), 0).into());
    let there = bob.0.handle().local_addr().unwrap();
    *names.0.lock().unwrap() = Some(there);
    assert_eq!(up(&alice.1).remote_addr(), there);
    // It moves.
    drop(bob);
    peer_down(&told);
    let bob = start_at(&key, (Ipv4Addr::new(127, 31, 0, 5), 0).into());
    let there = bob.0.handle().local_addr().unwrap();
    *names.0.lock().unwrap() = Some(there);
    down(&alice.1);
    let peer = up(&alice.1);
    assert_eq!((peer.remote_addr(), peer.dialed_addr()), (there, Some(&addr)));
}

#[test]
fn our_own_id_among_them_is_only_a_warning() {
    let (own, key) = (NodeKey::generate(), NodeKey::generate());
    let bob = start_at(&key, (Ipv4Addr::LOCALHOST, 0).into());
    let addr = bob.0.handle().local_addr().unwrap();
    let config = eager(vec![at(own.id(), addr), at(key.id(), addr)]);
    let alice = built(config, own, |_, _| {});
    assert_eq!(up(&alice.1).id(), key.id(), "the others are dialed");
    let states = alice.0.handle().peer_states().unwrap();
    assert_eq!(states.len(), 1, "{states:?}");
}

#[test]
fn a_peer_that_had_dialed_us_is_dialed_at_its_configured_address() {
    let (alice, bob) = (node_from(eager(Vec::new())), node());
    connect(&bob.0, &alice.0);
    let (to_alice, to_bob) = (up(&bob.1), up(&alice.1));
    assert_eq!((to_bob.direction(), to_bob.is_persistent()), (Direction::Inbound, false));
    let addr = bob.0.handle().peer_address().unwrap();
    alice.0.handle().add_persistent(addr.clone()).unwrap();
    until("the session is told", || to_bob.is_persistent());
    assert_eq!(alice.0.handle().num_peers().dialing, 0, "it is connected");
    to_alice.stop("the test says so");
    down(&alice.1);
    let peer = up(&alice.1);
    assert_eq!((peer.direction(), peer.dialed_addr()), (Direction::Outbound, Some(&addr)));
}

#[test]
fn reconnect_give_up_is_a_number_of_attempts() {
    for most in [1, 3] {
        let addr = stranger(closed_port());
        let config = Config { reconnect_give_up: most, ..eager(Vec::new()) };
        let alice = node_from(config);
        let (handle, told) = (alice.0.handle(), alice.0.handle().subscribe());
        // Given up is not for ever: who is added again is dialed again.
        for _ in 0..2 {
            handle.add_persistent(addr.clone()).unwrap();
            for failure in 1..=most {
                let reason = DisconnectReason::Refused;
                assert_eq!(dial_failed(&told), (addr.clone(), reason, failure));
            }
            let next = next(&told);
            assert_eq!(next, SwitchEvent::GaveUp { addr: addr.clone() });
            assert_eq!(handle.peer_states(), Ok(Vec::new()));
            assert_eq!(
                handle.remove_persistent(addr.id()),
                Err(ControlError::UnknownPeer(addr.id()))
            );
        }
    }
}

#[test]
fn the_longest_pause_is_configured() {
    let addr = stranger(closed_port());
    // Doubling from a second, eight attempts would take two minutes.
    let alice = node_from(eager(vec![addr.clone()]));
    let told = alice.0.handle().subscribe();
    in_time(move || while dial_failed(&told).2 < 8 {});
    // 0 stands for a minute: the first pause is a second, and no less.
    let config = Config { persistent_peers_max_dial_period: Duration::ZERO, ..eager(Vec::new()) };
    let alice = node_from(config);
    let told = alice.0.handle().subscribe();
    let started = Instant::now();
    alice.0.handle().add_persistent(addr.clone()).unwrap();
    assert_eq!(dial_failed(&told).2, 1);
    let states = alice.0.handle().peer_states().unwrap();
    let state = &states[0];
    assert_eq!((state.state, state.failures), (ConnectionState::Reconnecting, 1));
    assert!(state.remaining.unwrap() <= Duration::from_millis(1250), "{state:?}");
    assert_eq!(dial_failed(&told).2, 2);
    assert!(started.elapsed() >= Duration::from_secs(1));
}
