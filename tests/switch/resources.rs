//! Threads and descriptors come back. Both are counted for the whole process, so each of these
//! tests runs in a process of its own.

use std::{collections::BTreeMap, fs::File, net::TcpStream, os::fd::OwnedFd};

use socket2::{Domain, Socket, Type};
use tmp2p::{Event, SwitchEvent};

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
        let (threads, _) = resources();
        let expected = ["p2p-loop", "p2p-pex", "p2p-switch"].map(|name| (name.to_owned(), 4));
        assert_eq!(threads, BTreeMap::from(expected), "however many connections there are");
        for (switch, reactor) in nodes {
            let handle = switch.handle();
            if hard {
                drop(switch);
            } else {
                switch.stop(DEADLINE).unwrap();
            }
            // Handles, receivers and peers keep nothing of the system.
            reactor.events.iter().for_each(drop);
            drop(handle);
        }
        assert_eq!(resources(), before, "joined, so at once; hard: {hard}");
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
            while !matches!(next(&reactor.events), Event::PeerDown(..)) {}
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
