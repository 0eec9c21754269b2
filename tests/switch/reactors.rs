//! Reactors that do not do their part.

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeKey, Peer, Reactor, StopReason, Switch, SwitchBuilder,
    SwitchEvent, crossbeam_channel::Receiver,
};

use crate::support::*;

#[test]
fn a_dead_reactor_thread_keeps_swallowing_votes() {
    // Noticed with the next event for it, whether that is a message or a peer.
    for is_connected in [true, false] {
        let mut builder = builder(unlimited());
        let votes = builder.reactor("votes", [ChannelDescriptor::new(CHANNEL)]).unwrap();
        let other = builder.reactor("other", [ChannelDescriptor::new(CHANNEL + 1)]).unwrap();
        let alice = builder.start().unwrap();
        let told = alice.handle().subscribe();
        let bob = node();
        let peer = is_connected.then(|| {
            connect(&bob.0, &alice);
            assert_eq!(up(&votes), up(&other));
            up(&bob.1)
        });
        drop(votes);
        match peer {
            Some(peer) => peer.send(CHANNEL, b"vote".to_vec()).unwrap(),
            None => _ = bob.0.handle().dial(alice.handle().peer_address()).unwrap(),
        }
        let alice = in_time(move || {
            assert_eq!(alice.wait(), StopReason::ReactorGone("votes".to_owned()));
            alice
        });
        assert_eq!(told.iter().last(), Some(SwitchEvent::Stopped));
        // The others are told of every end, and then their receivers end.
        let events: Vec<Event> = other.events.iter().collect();
        assert!(matches!(events.last(), Some(Event::PeerDown(..))), "{events:?}");
        assert!(alice.handle().dial(bob.0.handle().peer_address()).is_err());
        alice.stop(DEADLINE).unwrap();
    }
}

#[test]
fn a_reactor_may_end_where_the_builder_was_told() {
    let (alice, reactor) = built(unlimited(), NodeKey::generate(), SwitchBuilder::may_end);
    let bob = node();
    drop(reactor);
    for _ in 0..3 {
        connect(&bob.0, &alice);
        let to_alice: Peer = up(&bob.1);
        to_alice.send(CHANNEL, b"nobody reads it".to_vec()).unwrap();
        to_alice.flush_stop();
        down(&bob.1);
    }
    let alice_again = alice.handle();
    in_time(move || alice.stop(DEADLINE)).unwrap();
    assert_eq!(alice_again.metrics().sessions, 3);
}

/// A guest comes, and goes if it was let in. Only the busy reactor reads of it.
fn visit(alice: &Switch, told: &Receiver<SwitchEvent>, busy: &Reactor) -> Result<(), String> {
    busy.events.try_iter().for_each(drop);
    let guest: (Switch, Reactor) = node();
    match knock(&guest.0, alice.handle().peer_address(), told) {
        Ok(_) => {
            drop(guest);
            peer_down(told);
            Ok(())
        }
        Err(reason) => Err(reason.to_string()),
    }
}

#[test]
fn a_reactor_that_reads_nothing_while_peers_come_and_go() {
    let config = Config { max_num_inbound_peers: 2, max_num_outbound_peers: 0, ..unlimited() };
    let most = 4 * 2;
    let mut builder = builder(config);
    let busy = builder.reactor("busy", [ChannelDescriptor::new(CHANNEL)]).unwrap();
    let lazy = builder.reactor("lazy", [ChannelDescriptor::new(CHANNEL + 1)]).unwrap();
    let alice = builder.start().unwrap();
    let (told, seen) = (alice.handle().subscribe(), alice.handle().subscribe());
    for _ in 0..2 {
        // One more than may be unread is a stall.
        for _ in 0..=most {
            assert_eq!(visit(&alice, &told, &busy), Ok(()));
        }
        let refused = visit(&alice, &told, &busy).unwrap_err();
        assert_eq!(refused, "reactor \"lazy\" does not take its events");
        assert!(visit(&alice, &told, &busy).is_err(), "and so for the next one");
        let stalled = happens(&seen, |event| match event {
            SwitchEvent::ReactorStalled(name) => Some(name),
            _ => None,
        });
        assert_eq!(stalled, "lazy");
        // What waits is bounded: a beginning and an end of each.
        assert_eq!(lazy.events.try_iter().count(), 2 * (most + 1));
        assert_eq!(visit(&alice, &told, &busy), Ok(()), "it reads again");
        let recovered = happens(&seen, |event| match event {
            SwitchEvent::ReactorRecovered(name) => Some(name),
            _ => None,
        });
        assert_eq!(recovered, "lazy");
        lazy.events.try_iter().for_each(drop);
    }
    alice.stop(DEADLINE).unwrap();
}
