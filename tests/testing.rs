//! The test kit: networks of whole nodes in virtual time.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, DialError, Direction, DisconnectReason, Event, MemoryStore,
    NodeInfo, NodeKey, PeerAddress, Reactor, ReactorSpec, SendErrorKind, Switch, SwitchBuilder,
    SwitchEvent,
    testing::{Network, NodeIndex},
};

const SECOND: Duration = Duration::from_secs(1);
const VOTES: u8 = 0x22;

fn builder(number: u8, config: Config) -> SwitchBuilder {
    let info = NodeInfo::new("test-chain", "node").unwrap();
    Switch::builder(config, NodeKey::from_seed([number; 32]), info)
}

fn votes(builder: &mut SwitchBuilder) -> Reactor {
    let spec = ReactorSpec::new("votes").channel(ChannelDescriptor::new(VOTES)).may_end();
    builder.reactor(spec).unwrap()
}

fn add_with(network: &mut Network, number: u8, config: Config) -> (NodeIndex, Reactor) {
    let mut builder = builder(number, config);
    let votes = votes(&mut builder);
    (network.add(builder).unwrap(), votes)
}

fn add(network: &mut Network, number: u8) -> (NodeIndex, Reactor) {
    add_with(network, number, Config { pex: false, ..Config::default() })
}

fn messages(reactor: &Reactor) -> usize {
    reactor.events().try_iter().filter(|event| matches!(event, Event::Message(_))).count()
}

fn num_peers(network: &Network, node: NodeIndex) -> usize {
    network.switch(node).peers().len()
}

#[test]
fn what_is_sent_in_a_partition_comes_when_it_is_over_unless_that_takes_too_long() {
    let mut network = Network::new(7);
    let ((alice, _a), (bob, b)) = (add(&mut network, 1), add(&mut network, 2));
    let peer = network.connect(alice, bob).unwrap();
    network.partition(&[&[alice], &[bob]]);
    peer.try_send(VOTES, b"yes".to_vec()).unwrap();
    assert!(!network.run_until(30 * SECOND, |_| messages(&b) > 0));
    network.heal();
    assert!(network.run_until(SECOND, |_| messages(&b) > 0));
    network.partition(&[&[alice]]);
    let begun = network.now();
    let is_over = |network: &Network| num_peers(network, alice) + num_peers(network, bob) == 0;
    assert!(network.run_until(3600 * SECOND, is_over));
    // Nobody has answered a ping.
    let Config { ping_interval, pong_timeout, .. } = Config::default();
    assert!(network.now() - begun <= ping_interval + pong_timeout + SECOND, "{network:?}");
    // Nobody answers a dial either, and then somebody does.
    assert!(matches!(network.connect(alice, bob), Err(DialError::Failed(_))));
    network.heal();
    network.connect(alice, bob).unwrap();
}

/// An hour of it, with all that it brings.
fn churn(seed: u64) -> Vec<String> {
    let mut network = Network::new(seed);
    let (hub, _hub) = add_with(&mut network, 1, Config { seed_mode: true, ..Config::default() });
    let seeds = vec![network.switch(hub).peer_address().unwrap()];
    let config = Config { seeds, ..Config::default() };
    let nodes: Vec<_> =
        (2..14).map(|number| add_with(&mut network, number, config.clone())).collect();
    let events: Vec<_> = nodes.iter().map(|(node, _)| network.switch(*node).subscribe()).collect();
    let mut told = Vec::new();
    for round in 0..12 {
        network.run_for(300 * SECOND);
        network.disconnect(nodes[round].0, nodes[(round + 1) % 12].0);
        for (number, events) in events.iter().enumerate() {
            told.extend(events.try_iter().map(|event| format!("{number}: {event:?}")));
        }
        told.push(format!("{network:?}"));
    }
    let all_have_peers = nodes.iter().all(|(node, _)| num_peers(&network, *node) >= 5);
    assert!(all_have_peers, "{told:#?}");
    told
}

#[test]
fn the_same_seed_makes_the_same_things_happen_and_another_one_others() {
    let first = churn(1);
    assert!(first.len() > 100);
    assert_eq!(churn(1), first);
    assert_ne!(churn(2), first);
}

#[test]
fn a_reactor_is_driven_by_the_network_and_answers() {
    let mut network = Network::new(3);
    let ((alice, a), (bob, b)) = (add(&mut network, 1), add(&mut network, 2));
    network.drive(bob, b, |event| {
        if let Event::Message(message) = event {
            message.peer().try_send(VOTES, message.payload().to_vec()).unwrap();
        }
    });
    let heard = Rc::new(RefCell::new(Vec::new()));
    let (hears, clock) = (heard.clone(), network.clock());
    network.drive(alice, a, move |event| {
        if let Event::Message(message) = event {
            hears.borrow_mut().push((message.payload().to_vec(), clock.now()));
        }
    });
    network.latency(10 * SECOND / 1000..=10 * SECOND / 1000);
    network.delay(bob, SECOND);
    let peer = network.connect(alice, bob).unwrap();
    let sent = network.now();
    peer.try_send(VOTES, b"yes".to_vec()).unwrap();
    assert!(network.run_until(5 * SECOND, |_| !heard.borrow().is_empty()));
    let (message, at) = heard.borrow()[0].clone();
    assert_eq!((&message[..], at - sent), (&b"yes"[..], 2 * (SECOND + SECOND / 100)));
}

#[test]
fn a_killed_node_is_gone_and_one_that_is_restarted_has_its_book() {
    let mut network = Network::new(4);
    let (alice, _a) = add(&mut network, 1);
    let (bob, _b) = add(&mut network, 2);
    let store = MemoryStore::new();
    let prepare = |store: &MemoryStore| {
        let mut builder = builder(3, Config::default());
        builder.book_store(store.clone());
        let reactor = votes(&mut builder);
        (builder, reactor)
    };
    let (carol_to_be, c) = prepare(&store);
    let carol = network.add(carol_to_be).unwrap();
    network.connect(carol, alice).unwrap();
    network.connect(carol, bob).unwrap();
    network.run_for(60 * SECOND);
    assert_eq!(num_peers(&network, alice), 1);
    assert!(network.num_sockets(carol) == 2 && network.is_running(carol));
    network.kill(carol);
    assert!(!network.is_running(carol) && network.nodes().count() == 2);
    // Resets arrive.
    network.run_for(SECOND);
    assert_eq!((num_peers(&network, alice), num_peers(&network, bob)), (0, 0));
    // Whoever holds something of it is told that nobody is there.
    assert!(c.events().try_iter().count() > 0 && c.events().recv().is_err());
    let (carol_again, _c) = prepare(&store);
    network.restart(carol, carol_again).unwrap();
    // It dials whom it knew.
    assert!(network.run_until(60 * SECOND, |network| num_peers(network, carol) == 2));
}

#[test]
fn calls_that_wait_are_refused_on_the_thread_of_the_network_which_makes_them() {
    let mut network = Network::new(5);
    let ((alice, _a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    let peer = network.connect(alice, bob).unwrap();
    assert!(network.switch(alice).peer_states().is_err());
    let states = network.call(alice, |switch| switch.peer_states()).unwrap();
    assert_eq!(states.len(), 1);
    let id = network.switch(bob).id();
    network.call(alice, |switch| switch.ban(id, None, "a test")).unwrap();
    assert!(network.run_until(SECOND, |network| num_peers(network, alice) == 0));
    assert!(matches!(
        network.connect(alice, bob),
        Err(DialError::Failed(DisconnectReason::Banned(_)))
    ));
    let sent = peer.send(VOTES, b"late".to_vec());
    assert_eq!(sent.unwrap_err().kind, SendErrorKind::WrongThread);
    // Without a network the thread is the test's again.
    drop(network);
    let sent = peer.send(VOTES, b"late".to_vec());
    assert_eq!(sent.unwrap_err().kind, SendErrorKind::Closed);
    let real = builder(9, Config { pex: false, ..Config::default() }).start().unwrap();
    assert!(real.handle().peer_states().unwrap().is_empty());
    real.stop(SECOND).unwrap();
}

#[test]
fn a_name_leads_to_a_node_and_nobody_reaches_one_that_is_hidden() {
    let mut network = Network::new(6);
    let (alice, _a) = add(&mut network, 1);
    let laddr = "tcp://40.1.2.3:26656".parse().unwrap();
    let config = Config { pex: false, laddr: Some(laddr), ..Config::default() };
    let (bob, _b) = add_with(&mut network, 2, config);
    network.name("bob.example", [40, 1, 2, 3].into());
    let dial = |network: &mut Network, host: &str| {
        let id = network.switch(bob).id();
        let addr: PeerAddress = format!("{id}@{host}:26656").parse().unwrap();
        let ticket = network.switch(alice).dial(addr);
        let outcome = ticket.outcome().clone();
        network.run_until(60 * SECOND, |_| !outcome.is_empty());
        outcome.try_recv().unwrap()
    };
    assert!(dial(&mut network, "bob.example").is_ok());
    network.disconnect(alice, bob);
    network.run_for(SECOND);
    assert!(dial(&mut network, "carol.example").is_err());
    network.hide(bob);
    assert!(dial(&mut network, "bob.example").is_err());
    assert!(network.connect(bob, alice).is_ok());
}

#[test]
fn a_switch_that_stops_is_stopped_and_its_reactor_hears_of_it() {
    let mut network = Network::new(8);
    let ((alice, a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    network.connect(alice, bob).unwrap();
    let downs = Rc::new(Cell::new(0));
    let counted = downs.clone();
    network.drive(alice, a, move |event| {
        counted.set(counted.get() + u32::from(matches!(event, Event::PeerDown(..))));
    });
    network.switch(alice).request_stop();
    assert!(network.run_until(60 * SECOND, |network| !network.is_running(alice)));
    assert_eq!((downs.get(), num_peers(&network, bob)), (1, 0));
    assert!(network.call(alice, |switch| switch.peer_states()).is_err());
}

/// A day in which nothing is sent but pings.
#[test]
fn a_day_passes_in_moments() {
    let begun = Instant::now();
    let mut network = Network::new(9);
    let ((alice, _a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    network.connect(alice, bob).unwrap();
    network.run_for(24 * 3600 * SECOND);
    assert_eq!((num_peers(&network, alice), num_peers(&network, bob)), (1, 1));
    eprintln!("{:?} for a day", begun.elapsed());
}

#[test]
fn a_start_that_fails_leaves_the_others_alone() {
    let mut network = Network::new(10);
    let (alice, _a) = add(&mut network, 1);
    let laddr = network.switch(alice).local_addr().unwrap().into();
    let taken = Config { pex: false, laddr: Some(laddr), ..Config::default() };
    assert!(network.add(builder(2, taken)).is_err(), "the address is taken");
    let (bob, b) = add(&mut network, 3);
    network.drive(bob, b, |event| {
        if let Event::Message(message) = event {
            message.peer().try_send(VOTES, message.payload().to_vec()).unwrap();
        }
    });
    let peer = network.connect(alice, bob).unwrap();
    network.run_for(SECOND);
    let sent = network.now();
    peer.try_send(VOTES, b"yes".to_vec()).unwrap();
    assert!(network.run_until(SECOND, |_| messages(&_a) > 0));
    assert!(network.now() - sent < SECOND / 10, "the newest node hears at once");
}

#[test]
fn what_a_condition_does_is_done() {
    let mut network = Network::new(11);
    let ((alice, _a), (bob, b)) = (add(&mut network, 1), add(&mut network, 2));
    let peer = network.connect(alice, bob).unwrap();
    network.run_for(SECOND);
    let (mut sent, mut came) = (0, 0);
    let begun = network.now();
    let is_so = network.run_until(SECOND, |_| {
        came += messages(&b);
        if sent == came && sent < 10 {
            peer.try_send(VOTES, b"yes".to_vec()).unwrap();
            sent += 1;
        }
        came == 10
    });
    assert!(
        is_so && network.now() - begun < SECOND / 5,
        "{came} after {:?}",
        network.now() - begun
    );
    let end = network.now() + SECOND;
    assert!(network.run_until(SECOND, |network| network.now() >= end), "asked at the end, too");
}

#[test]
fn who_is_killed_while_nobody_hears_it_is_gone_for_the_others_when_they_send() {
    let mut network = Network::new(12);
    let ((alice, _a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    let peer = network.connect(alice, bob).unwrap();
    network.run_for(SECOND);
    network.partition(&[&[alice], &[bob]]);
    let at_bob = network.switch(bob).peers().remove(0);
    network.kill(bob);
    assert!(at_bob.is_closed() && at_bob.try_send(VOTES, b"late".to_vec()).is_err());
    network.run_for(SECOND);
    assert_eq!(num_peers(&network, alice), 1, "no reset comes through");
    network.heal();
    network.run_for(SECOND);
    assert_eq!(num_peers(&network, alice), 1, "nobody says anything");
    peer.try_send(VOTES, b"are you there".to_vec()).unwrap();
    assert!(network.run_until(SECOND, |network| num_peers(network, alice) == 0));
}

#[test]
#[should_panic(expected = "a test that is wrong")]
fn a_panic_in_a_handler_ends_a_call() {
    let mut network = Network::new(13);
    let ((alice, a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    network.connect(alice, bob).unwrap();
    network.drive(alice, a, |event| {
        assert!(!matches!(event, Event::PeerDown(..)), "a test that is wrong");
    });
    let id = network.switch(bob).id();
    let _ = network.call(alice, |switch| switch.ban(id, None, "a test"));
    network.run_for(SECOND);
}

#[test]
#[should_panic(expected = "no answer as long as no time passes")]
fn a_call_that_needs_time_is_no_call() {
    let mut network = Network::new(14);
    let ((alice, _a), (bob, _b)) = (add(&mut network, 1), add(&mut network, 2));
    let addr = network.switch(bob).peer_address().unwrap();
    let _ = network.call(alice, |switch| switch.dial(addr).wait());
}

/// Silence alone tells them apart: who is there longer would go first.
#[test]
fn a_full_seed_lets_the_guest_go_that_was_silent_longest() {
    let mut network = Network::new(15);
    let config = Config { seed_mode: true, max_num_inbound_peers: 2, ..Config::default() };
    let (seed, s) = add_with(&mut network, 1, config);
    network.drive(seed, s, drop);
    let [(talker, _t), (silent, _s), (newcomer, _n), (next, _x)] =
        [2, 3, 4, 5].map(|number| add(&mut network, number));
    let talks = network.connect(talker, seed).unwrap();
    network.run_for(SECOND);
    let goes = network.connect(silent, seed).unwrap();
    for _ in 0..13 {
        network.run_for(5 * SECOND);
        talks.try_send(VOTES, b"yes".to_vec()).unwrap();
    }
    network.run_for(SECOND);
    assert!(!goes.is_closed() && num_peers(&network, seed) == 2);
    let events = network.switch(seed).subscribe();
    let comes = network.connect(newcomer, seed).unwrap();
    network.run_for(SECOND);
    assert!(goes.is_closed() && !talks.is_closed() && !comes.is_closed());
    let id = network.switch(silent).id();
    // The seed itself dials whom it has met, to see whether it is there.
    let ended = |event| match event {
        SwitchEvent::Disconnected { id, reason, direction: Direction::Inbound, .. } => {
            Some((id, reason))
        }
        _ => None,
    };
    let ended: Vec<_> = events.try_iter().filter_map(ended).collect();
    assert_eq!(ended, [(id, DisconnectReason::Replaced)]);
    // Of those who are left one has spoken a moment ago, and one has just come.
    let refused = network.connect(next, seed).unwrap();
    network.run_for(SECOND);
    assert!(refused.is_closed(), "nobody goes for it");
    assert!(!talks.is_closed() && !comes.is_closed());
}
