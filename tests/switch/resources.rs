//! Threads and descriptors come back. Both are counted for the whole process, so each of these
//! tests runs in a process of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::TcpStream,
    os::fd::OwnedFd,
};

use socket2::{Domain, Socket, Type};
use tmp2p::{
    ChannelDescriptor, Config, DisconnectReason, Event, NodeKey, Payload, Peer, SwitchEvent,
};

use crate::{process::*, support::*};

#[test]
fn a_stopped_switch_leaves_no_thread_and_no_descriptor() {
    if !is_alone("resources::a_stopped_switch_leaves_no_thread_and_no_descriptor") {
        return;
    }
    let before = resources();
    assert!(before.0.is_empty());
    for hard in [false, true, false, true] {
        let nodes: Vec<_> = (0..4).map(|_| node()).collect();
        for (i, from) in nodes.iter().enumerate() {
            for to in &nodes[i + 1..] {
                connect(&from.0, &to.0);
            }
        }
        until("every thread has its name", || resources().0.values().sum::<usize>() >= 12);
        let expected = ["p2p-loop", "p2p-pex", "p2p-switch"].map(|name| (name.to_owned(), 4));
        let threads = resources().0;
        assert_eq!(threads, BTreeMap::from(expected), "however many connections there are");
        let held: Vec<_> =
            nodes.iter().map(|(s, _)| (s.handle().peers(), s.handle().clone())).collect();
        for (switch, reactor) in nodes {
            if hard {
                drop(switch);
            } else {
                switch.stop(DEADLINE).unwrap();
            }
            // Receivers keep nothing of the system.
            reactor.events().iter().for_each(drop);
        }
        // Neither do handles and peers, also if they are used.
        assert!(held.iter().map(|(peers, _)| peers.len()).sum::<usize>() >= 6);
        for (peers, handle) in &held {
            peers.iter().for_each(Peer::stop_gracefully);
            handle.request_stop();
        }
        // The system shows a thread that was joined for a moment longer.
        until("everything is given back", || resources() == before);
    }
}

#[test]
fn two_hundred_sessions_leak_nothing() {
    if !is_alone("resources::two_hundred_sessions_leak_nothing") {
        return;
    }
    let (alice, bob) = (node(), node());
    until("every thread has its name", || resources().0.values().sum::<usize>() == 6);
    let before = resources();
    let mut held = Vec::new();
    for number in 0..200 {
        let (to_bob, to_alice) = pair(&alice, &bob);
        to_alice.send(CHANNEL, vec![1; 5000]).unwrap();
        let envelope = message(&alice.1);
        match number % 4 {
            0 => to_bob.stop("dialer"),
            1 => to_alice.stop("listener"),
            2 => to_bob.stop_gracefully(),
            _ => to_alice.flush_stop(),
        }
        for reactor in [&alice.1, &bob.1] {
            while !matches!(next(reactor.events()), Event::PeerDown(..)) {}
        }
        // Whoever keeps a peer or a message keeps memory, not a socket.
        held.push((to_bob, to_alice, envelope));
    }
    until("every socket is closed", || resources() == before);
    assert!(alice.0.handle().peers().is_empty() && bob.0.handle().peers().is_empty());
    drop(held);
    pair(&alice, &bob);
}

/// One descriptor is kept to accept and close. Without it whoever comes would hang in the kernel's
/// queue, as if we were there and had nothing to say, and when it is full not even that.
#[test]
fn without_descriptors_who_comes_is_closed_and_not_left_waiting() {
    let test = "resources::without_descriptors_who_comes_is_closed_and_not_left_waiting";
    if !is_alone_with_files(test, 64) {
        return;
    }
    let alice = node();
    let (addr, events) = (alice.0.handle().local_addr().unwrap(), alice.0.handle().subscribe());
    for _ in 0..3 {
        let guest = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let guests: Vec<Socket> = (0..3).map(|_| guest()).collect();
        let mut files = Vec::new();
        let error = loop {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert!(files.len() > 10 && error.raw_os_error() == Some(24), "{error}");
        for guest in guests {
            guest.connect(&addr.into()).unwrap();
            let stream = TcpStream::from(guest);
            assert!(!is_let_in(&stream));
            // It stays open here: the next one finds no descriptor that is free.
            files.push(File::from(OwnedFd::from(stream)));
            // Told when nobody is left in the queue: who comes after that is not closed with them.
            happens(&events, |event| matches!(event, SwitchEvent::AcceptFailed(_)).then_some(()));
        }
        drop(files);
        let bob = node();
        connect(&bob.0, &alice.0);
        assert_eq!(up(&alice.1).id(), bob.0.handle().id());
        bob.0.stop(DEADLINE).unwrap();
        down(&alice.1);
    }
}

/// Soft limit on descriptors of this process.
fn soft_limit() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_limit_on_descriptors_is_raised_unless_it_is_to_stay() {
    let test = "resources::the_limit_on_descriptors_is_raised_unless_it_is_to_stay";
    if !is_alone_with_limits(test, 200, 1000) {
        return;
    }
    assert_eq!(soft_limit(), 200);
    let kept = built(local(), NodeKey::generate(), |builder, _| builder.keep_descriptor_limit());
    assert_eq!(soft_limit(), 200);
    drop(kept);
    let _raised = node();
    assert_eq!(soft_limit(), 1000);
}

/// The fault: as many handshakes could be pending as there are descriptors, and the application could
/// not open its database.
#[test]
fn strangers_leave_descriptors_to_the_application() {
    const LIMIT: usize = 400;
    const STRANGERS: usize = 150;
    if !is_alone_with_files("resources::strangers_leave_descriptors_to_the_application", LIMIT) {
        return;
    }
    let alice = node();
    let (addr, events) = (alice.0.handle().local_addr().unwrap(), alice.0.handle().subscribe());
    let before = resources().1;
    // With a thousand peers as it is configured, strangers have an eighth.
    let strangers: Vec<_> = (0..STRANGERS).map(|_| TcpStream::connect(addr).unwrap()).collect();
    for _ in 0..STRANGERS - LIMIT / 8 {
        happens(&events, |event| match event {
            SwitchEvent::Rejected { reason: DisconnectReason::Evicted, .. } => Some(()),
            _ => None,
        });
    }
    until("the others are closed", || resources().1 <= before + STRANGERS + LIMIT / 8);
    File::open("/dev/null").unwrap();
    drop(strangers);
}

/// What the documentation of `Config` says that peers can make a node hold; with one reactor, beside
/// what it holds anyway.
fn most_memory(config: &Config, message: usize) -> usize {
    let peers = config.max_num_inbound_peers + config.max_num_outbound_peers;
    let totals = config.delivered_total + config.parking_total + config.reassembly_pool;
    let strangers = (config.max_pending_handshakes * 20 + (10 << 10)) << 10;
    totals + 3 * message + peers * (200 << 10) + strangers
}

/// Floods a node whose reactor reads nothing until nothing more is taken; what it holds then.
fn memory_of_a_flood(config: Config, peers: usize, message: usize) -> usize {
    let channel = || ChannelDescriptor::new(CHANNEL).recv_message_capacity(message);
    let alice = node_with(config.clone(), channel());
    // One payload for all: what senders hold is not what is measured.
    let payload = Payload::from(vec![7; message]);
    let few = || Config { send_timeout: DEADLINE, ..unlimited() };
    let senders: Vec<_> = (0..peers).map(|_| node_with(few(), channel())).collect();
    let connected = |sender: &(tmp2p::Switch, tmp2p::Reactor)| {
        connect(&sender.0, &alice.0);
        up(&sender.1)
    };
    let sessions: Vec<Peer> = senders.iter().map(connected).collect();
    let before = memory();
    let taken = || -> u64 {
        let peers = alice.0.handle().peers();
        peers.iter().map(|peer| peer.status().channels[0].received_bytes).sum()
    };
    let most = (config.delivered_total + config.parking_total) as u64;
    until("delivered and parked is as much as may be", || {
        for session in &sessions {
            while session.try_send(CHANNEL, payload.clone()).is_ok() {}
        }
        taken() + (config.delivered_total / 8 + config.parking_total / 8) as u64 >= most
    });
    // As many times again as it took to get here, at least, for what is incomplete.
    for _ in 0..100 {
        for session in &sessions {
            let _ = session.try_send(CHANNEL, payload.clone());
        }
    }
    let whole = peers * message;
    assert!(taken() <= most + whole as u64 + 2 * message as u64, "{} of {most}", taken());
    let held = memory().saturating_sub(before);
    println!("{} MiB held, the formula says {}", held >> 20, most_memory(&config, message) >> 20);
    // It is not held for ever.
    alice.1.events().try_iter().for_each(drop);
    held
}

#[test]
fn a_flood_makes_a_node_hold_no_more_than_the_formula_says() {
    if !is_alone("resources::a_flood_makes_a_node_hold_no_more_than_the_formula_says") {
        return;
    }
    const MIB: usize = 1 << 20;
    let config = Config {
        delivered_total: 24 * MIB,
        parking_total: 24 * MIB,
        reassembly_pool: 24 * MIB,
        max_num_inbound_peers: 16,
        max_num_outbound_peers: 0,
        max_pending_handshakes: 100,
        ..unlimited()
    };
    let held = memory_of_a_flood(config.clone(), 16, MIB);
    assert!(held <= most_memory(&config, MIB), "{held} bytes");
    assert!(held >= 40 * MIB, "only {held} bytes: nothing was measured");
}

/// The number in the documentation of `Config`.
#[test]
#[ignore = "holds a gigabyte"]
fn a_flood_makes_a_node_with_the_defaults_hold_no_more_than_is_documented() {
    let test = "resources::a_flood_makes_a_node_with_the_defaults_hold_no_more_than_is_documented";
    if !is_alone(test) {
        return;
    }
    const MESSAGE: usize = 22_020_096;
    let limits = Config::default();
    let config = Config { max_num_inbound_peers: limits.max_num_inbound_peers, ..unlimited() };
    let held = memory_of_a_flood(config.clone(), 40, MESSAGE);
    assert!(held <= most_memory(&config, MESSAGE), "{held} bytes");
}
