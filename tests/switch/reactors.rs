//! Reactors that do not do their part.

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeKey, Peer, Reactor, ReactorSpec, StopReason, Stopped,
    Switch, SwitchEvent, crossbeam_channel::Receiver,
};

use crate::support::*;

#[test]
fn a_dead_reactor_thread_keeps_swallowing_votes() {
    // Noticed at once, whether or not there ever is an event for it, and how it ended.
    for (is_connected, has_panicked) in [(true, true), (true, false), (false, true), (false, false)]
    {
        let mut builder = builder(unlimited());
        let votes = builder.reactor(spec("votes", [ChannelDescriptor::new(CHANNEL)])).unwrap();
        let other = builder.reactor(spec("other", [ChannelDescriptor::new(CHANNEL + 1)])).unwrap();
        let told = builder.subscribe();
        let alice = builder.start().unwrap();
        let bob = node();
        if is_connected {
            connect(&bob.0, &alice);
            assert_eq!(up(&votes), up(&other));
        }
        let thread = std::thread::spawn(move || {
            let _votes = votes;
            assert!(!has_panicked, "a panic on purpose");
        });
        assert_eq!(thread.join().is_err(), has_panicked);
        let gone = StopReason::ReactorGone("votes".to_owned());
        let (alice, reason) = in_time(move || {
            let reason = alice.wait();
            (alice, reason)
        });
        assert_eq!(reason, gone);
        let told: Vec<SwitchEvent> = told.iter().collect();
        assert_eq!(told.last(), Some(&SwitchEvent::Stopped(gone)));
        let name = "votes".to_owned();
        assert!(told.contains(&SwitchEvent::ReactorGone { name, has_panicked }), "{told:?}");
        // The others are told of every end, and then their receivers end.
        let events: Vec<Event> = other.events().iter().collect();
        assert_eq!(matches!(events.last(), Some(Event::PeerDown(..))), is_connected, "{events:?}");
        let dial = alice.handle().dial(bob.0.handle().peer_address().unwrap());
        assert_eq!(dial.wait(), Err(Stopped.into()));
        alice.stop(DEADLINE).unwrap();
    }
}

#[test]
fn a_reactor_that_was_dropped_before_the_start_stops_the_switch() {
    let mut builder = builder(unlimited());
    drop(builder.reactor(spec("votes", [ChannelDescriptor::new(CHANNEL)])).unwrap());
    let alice = builder.start().unwrap();
    let reason = in_time(move || alice.wait());
    assert_eq!(reason, StopReason::ReactorGone("votes".to_owned()));
}

#[test]
fn reactors_go_as_they_like_once_the_switch_stops() {
    let (alice, bob) = (node(), node());
    let told = alice.0.handle().subscribe();
    pair(&alice, &bob);
    alice.0.handle().request_stop();
    // One goes with the first end that it is told of, one after everything.
    down(&alice.1);
    drop(alice.1);
    assert_eq!(alice.0.wait_timeout(DEADLINE), Some(StopReason::Requested));
    let last = told.iter().last();
    assert_eq!(last, Some(SwitchEvent::Stopped(StopReason::Requested)));
    bob.0.stop(DEADLINE).unwrap();
    drop(bob.1);
}

#[test]
fn a_clone_of_the_receiver_outlives_a_reactor_that_may_end() {
    let alice = built(unlimited(), NodeKey::generate(), |_, spec| may_end(spec));
    let bob = node();
    let events = alice.1.events().clone();
    drop(alice.1);
    connect(&bob.0, &alice.0);
    up(&bob.1).send(CHANNEL, b"somebody reads it".to_vec()).unwrap();
    assert!(matches!(next(&events), Event::PeerUp(_)));
    let Event::Message(message) = next(&events) else { panic!("lost") };
    assert_eq!(&message.payload()[..], b"somebody reads it");
}

#[test]
fn a_reactor_may_end_where_the_builder_was_told() {
    let (alice, reactor) = built(unlimited(), NodeKey::generate(), |_, spec| may_end(spec));
    let bob = node();
    drop(reactor);
    for _ in 0..3 {
        connect(&bob.0, &alice);
        let to_alice: Peer = up(&bob.1);
        to_alice.send(CHANNEL, b"nobody reads it".to_vec()).unwrap();
        to_alice.flush_stop();
        down(&bob.1);
    }
    let alice_again = alice.handle().clone();
    in_time(move || alice.stop(DEADLINE)).unwrap();
    assert_eq!(alice_again.metrics().sessions, 3);
}

/// A guest comes, and goes if it was let in. Only the busy reactor reads of it.
fn visit(alice: &Switch, told: &Receiver<SwitchEvent>, busy: &Reactor) -> Result<(), String> {
    busy.events().try_iter().for_each(drop);
    let guest: (Switch, Reactor) = node();
    match knock(&guest.0, alice.handle().peer_address().unwrap(), told) {
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
    let busy =
        builder.reactor(ReactorSpec::new("busy").channel(ChannelDescriptor::new(CHANNEL))).unwrap();
    let lazy = builder
        .reactor(ReactorSpec::new("lazy").channel(ChannelDescriptor::new(CHANNEL + 1)))
        .unwrap();
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
        assert_eq!(lazy.events().try_iter().count(), 2 * (most + 1));
        assert_eq!(visit(&alice, &told, &busy), Ok(()), "it reads again");
        let recovered = happens(&seen, |event| match event {
            SwitchEvent::ReactorRecovered(name) => Some(name),
            _ => None,
        });
        assert_eq!(recovered, "lazy");
        lazy.events().try_iter().for_each(drop);
    }
    alice.stop(DEADLINE).unwrap();
}
