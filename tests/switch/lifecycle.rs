//! What reactors are told of sessions, and in which order.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tmp2p::{
    ChannelDescriptor, Direction, DisconnectReason, Event, ReactorSpec, SwitchEvent,
    crossbeam_channel::{after, select},
};

use crate::support::*;

#[test]
fn two_nodes_greet_each_other() {
    let (alice, bob) = (node(), node());
    connect(&alice.0, &bob.0);
    let (to_bob, to_alice) = (up(&alice.1), up(&bob.1));
    assert_eq!((to_bob.id(), to_alice.id()), (bob.0.handle().id(), alice.0.handle().id()));
    assert_eq!(to_bob.direction(), Direction::Outbound);
    assert_eq!(to_alice.direction(), Direction::Inbound);
    assert_eq!(to_bob.dialed_addr(), Some(&bob.0.handle().peer_address().unwrap()));
    assert_eq!(to_alice.dialed_addr(), None);
    assert_eq!(Some(to_bob.remote_addr()), bob.0.handle().local_addr());
    assert_eq!(to_alice.node_info().moniker(), "test");

    to_alice.try_send(CHANNEL, b"hello").unwrap();
    let hello = message(&alice.1);
    assert_eq!((&hello.payload()[..], hello.channel().as_u8()), (&b"hello"[..], CHANNEL));
    assert_eq!(*hello.peer(), to_bob);
    hello.peer().send(CHANNEL, hello.payload().clone()).unwrap();
    assert_eq!(&message(&bob.1).into_payload()[..], b"hello");

    let numbers = alice.0.handle().num_peers();
    assert_eq!((numbers.outbound, numbers.inbound, numbers.dialing), (1, 0, 0));
    assert_eq!(bob.0.handle().num_peers().inbound, 1);
    alice.0.stop(DEADLINE).unwrap();
    assert_eq!(*down(&bob.1).1, DisconnectReason::Eof);
    bob.0.stop(DEADLINE).unwrap();
}

#[test]
fn messages_go_to_the_reactor_that_owns_the_channel() {
    let start = || {
        let mut builder = builder(unlimited());
        let votes = [ChannelDescriptor::new(0x20), ChannelDescriptor::new(0x21).priority(5)];
        let votes = builder.reactor(spec("votes", votes)).unwrap();
        let blocks = builder
            .reactor(ReactorSpec::new("blocks").channel(ChannelDescriptor::new(0x22)))
            .unwrap();
        (builder.start().unwrap(), votes, blocks)
    };
    let (alice, bob) = (start(), start());
    connect(&alice.0, &bob.0);
    let (peer, _) = (up(&bob.1), up(&bob.2));
    for number in 0..100u8 {
        for channel in [0x20, 0x21, 0x22] {
            peer.send(channel, vec![number; 1 + usize::from(number) * 30]).unwrap();
        }
    }
    let mut counts = [0u8; 3];
    let deadline = after(DEADLINE);
    while counts != [100; 3] {
        let (event, own): (_, &[u8]) = select! {
            recv(alice.1.events()) -> event => (event.unwrap(), &[0x20, 0x21]),
            recv(alice.2.events()) -> event => (event.unwrap(), &[0x22]),
            recv(deadline) -> _ => panic!("not all messages came: {counts:?}"),
        };
        let Event::Message(envelope) = event else { continue };
        let channel = envelope.channel().as_u8();
        assert!(own.contains(&channel), "{channel} came to the wrong reactor");
        let count = &mut counts[usize::from(channel - 0x20)];
        let expected = vec![*count; 1 + usize::from(*count) * 30];
        assert_eq!(envelope.payload()[..], expected, "order of channel {channel:#04x}");
        *count += 1;
    }
}

/// How often init hooks have run for a session.
struct Inits(AtomicUsize);

#[test]
fn each_reactor_sees_init_up_messages_down() {
    let mut builder = builder(unlimited());
    let mut reactor = |name, before| {
        let mut spec = spec(name, [ChannelDescriptor::new(CHANNEL + before as u8)]);
        hook(&mut spec, move |peer, _| {
            if before == 0 {
                peer.set(Inits(AtomicUsize::new(0)));
            }
            let inits = peer.get::<Inits>().unwrap();
            assert_eq!(inits.0.fetch_add(1, SeqCst), before, "hooks run in order of registration");
        });
        builder.reactor(spec).unwrap()
    };
    let (first, second) = (reactor("first", 0), reactor("second", 1));
    let alice = builder.start().unwrap();

    let mut builder = crate::support::builder(unlimited());
    let channels = [ChannelDescriptor::new(CHANNEL), ChannelDescriptor::new(CHANNEL + 1)];
    let other = builder.reactor(spec("other", channels)).unwrap();
    let bob = builder.start().unwrap();

    for _ in 0..3 {
        connect(&bob, &alice);
        // At once: the messages race with what alice's reactors are told.
        let peer = up(&other);
        for number in 0..20u8 {
            peer.send(CHANNEL, [number].to_vec()).unwrap();
            peer.send(CHANNEL + 1, [number].to_vec()).unwrap();
        }
        peer.flush_stop();
        for reactor in [&first, &second] {
            let peer = up(reactor);
            let inits = peer.get::<Inits>().expect("the hooks ran before");
            assert_eq!(inits.0.load(SeqCst), 2, "every hook ran before anybody heard of the peer");
            for number in 0..20u8 {
                let envelope = message(reactor);
                assert_eq!(&envelope.payload()[..], &[number]);
                assert_eq!(*envelope.peer(), peer);
            }
            let (gone, reason) = down(reactor);
            assert_eq!((gone, &*reason), (peer, &DisconnectReason::Eof));
        }
        down(&other);
    }
    alice.stop(DEADLINE).unwrap();
    for reactor in [first, second] {
        assert!(reactor.events().recv().is_err(), "nothing after the last PeerDown");
    }
}

#[test]
fn a_panic_in_on_init_rejects_the_peer_and_the_switch_lives() {
    let mut builder = builder(unlimited());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let wants = ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL));
    let wants = wants.on_init(move |_, _| {
        assert!(counted.fetch_add(1, SeqCst) >= 2, "a panic on purpose");
    });
    let reactor = builder.reactor(wants).unwrap();
    let alice = builder.start().unwrap();
    let happenings = alice.handle().subscribe();
    let bob = node();

    // Outbound: the dial has failed.
    let reason = dial(&alice, bob.0.handle().peer_address().unwrap()).unwrap_err();
    assert_eq!(reason.kind(), "filtered", "{reason}");
    assert_eq!(down(&bob.1).1.kind(), "eof");
    // Inbound: bob finds the connection closed.
    connect(&bob.0, &alice);
    assert_eq!(down(&bob.1).1.kind(), "refused_after_handshake");
    happens(&happenings, |event| match event {
        SwitchEvent::Rejected { id, reason, .. } => {
            assert_eq!((id, reason.kind()), (Some(bob.0.handle().id()), "filtered"));
            Some(())
        }
        _ => None,
    });
    // The third one stays, and is the first that alice's reactor hears of.
    connect(&bob.0, &alice);
    let peer = up(&reactor);
    peer.send(CHANNEL, b"still here").unwrap();
    up(&bob.1);
    assert_eq!(&message(&bob.1).payload()[..], b"still here");
    assert_eq!(calls.load(SeqCst), 3);
    alice.stop(DEADLINE).unwrap();
}

#[test]
fn subscribers_hear_of_sessions_and_of_the_end() {
    let (alice, bob) = (node(), node());
    let (told, also) = (alice.0.handle().subscribe(), alice.0.handle().subscribe());
    connect(&bob.0, &alice.0);
    let peer = up(&bob.1);
    peer.stop("enough");
    assert_eq!(down(&bob.1).1.to_string(), "stopped by a reactor: enough");
    down(&alice.1);
    alice.0.stop(DEADLINE).unwrap();
    for events in [told, also] {
        let events: Vec<SwitchEvent> = events.iter().collect();
        let [
            SwitchEvent::Connected { id, direction, moniker, .. },
            SwitchEvent::Disconnected { reason, .. },
            SwitchEvent::Stopped(_),
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!((*id, *direction), (bob.0.handle().id(), Direction::Inbound));
        assert_eq!((moniker.as_str(), reason.kind()), ("test", "eof"));
    }
}
