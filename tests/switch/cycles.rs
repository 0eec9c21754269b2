//! Peers that come and go for ever. Each short test has a long form, to be run alone:
//! `TMP2P_CYCLES=1000000 cargo test --release --test switch -- --ignored cycles`.

use std::{
    io::Write,
    net::{Ipv4Addr, SocketAddr},
};

use tmp2p::{DisconnectReason, Event, NodeInfo, NodeKey, Reactor, ReactorSpec, Switch};

use crate::{process::*, support::*};

/// How many, in the long forms.
fn cycles(default: usize) -> usize {
    let cycles = std::env::var("TMP2P_CYCLES");
    cycles.map_or(default, |cycles| cycles.parse().expect("TMP2P_CYCLES is a number"))
}

/// An address of this machine for this cycle, so that ports of ended connections do not run out.
fn host(cycle: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 40, (cycle / 250 % 250) as u8, (cycle % 250) as u8 + 1)
}

fn listening_everywhere() -> (Switch, Reactor) {
    node_from(listening(unlimited(), (Ipv4Addr::UNSPECIFIED, 0)))
}

/// Room for what allocators and tables keep.
const SLACK: usize = 16 << 20;

fn close_wait_and_fd_leaks(cycles: usize) {
    let (alice, bob) = (node(), listening_everywhere());
    let (id, port) = (bob.0.handle().id(), bob.0.handle().local_addr().unwrap().port());
    let run = |cycle: usize| {
        let addr = at(id, SocketAddr::from((host(cycle), port)));
        assert_eq!(dial(&alice.0, addr), Ok(id));
        let (to_bob, to_alice) = (up(&alice.1), up(&bob.1));
        match cycle % 4 {
            0 => to_bob.stop("dialer"),
            1 => to_alice.stop("listener"),
            2 => to_bob.flush_stop(),
            _ => to_alice.flush_stop(),
        }
        for reactor in [&alice.1, &bob.1] {
            assert!(matches!(next(reactor.events()), Event::PeerDown(..)));
        }
    };
    until("every thread has its name", || resources().0.values().sum::<usize>() == 6);
    let before = resources();
    let warm = cycles / 10;
    (0..warm).for_each(run);
    let memory_before = memory();
    (warm..cycles).for_each(run);
    until("every socket is closed", || resources() == before);
    let grown = memory().saturating_sub(memory_before);
    println!("{cycles} cycles, {} KiB more memory", grown >> 10);
    assert!(grown < SLACK, "{grown} bytes more after {cycles} cycles");
    assert_eq!(alice.0.handle().metrics().sessions, cycles as u64);
    let ended = || alice.0.handle().metrics().disconnects.values().sum::<u64>();
    until("each end is counted", || ended() == cycles as u64);
    assert_eq!(alice.0.handle().peer_states(), Ok(Vec::new()));
}

#[test]
fn close_wait_and_fd_leaks_2000() {
    if is_alone("cycles::close_wait_and_fd_leaks_2000") {
        close_wait_and_fd_leaks(2000);
    }
}

#[test]
#[ignore = "takes minutes: 10,000 cycles, or TMP2P_CYCLES"]
fn close_wait_and_fd_leaks_long() {
    if is_alone("cycles::close_wait_and_fd_leaks_long") {
        close_wait_and_fd_leaks(cycles(10_000));
    }
}

/// CVE-2020-5303: what is not a peer yet must not be taken out as one, nor stay.
fn remove_before_add(failures: usize) {
    let bob = listening_everywhere();
    let (id, port) = (bob.0.handle().id(), bob.0.handle().local_addr().unwrap().port());
    // Compatible with nobody here: it fails at the last step, authenticated.
    let info = NodeInfo::new("another-chain", "stranger").unwrap();
    let mut builder = Switch::builder(unlimited(), NodeKey::generate(), info);
    let stranger = builder
        .reactor(ReactorSpec::new("test").channel(tmp2p::ChannelDescriptor::new(CHANNEL)))
        .unwrap();
    let stranger = (builder.start().unwrap(), stranger);
    let friend = node();
    until("every thread has its name", || resources().0.values().sum::<usize>() == 9);
    let before = resources();
    let run = |n: usize| {
        let addr = SocketAddr::from((host(n), port));
        if n % 5 == 4 {
            let refused = dial(&stranger.0, at(id, addr)).unwrap_err();
            assert_eq!(refused.kind(), "incompatible");
            return;
        }
        let mut stream = plain_from(Ipv4Addr::LOCALHOST, addr);
        // Nothing, garbage, half a key, or a key that no answer follows.
        let key = [&[0x22, 0x0a, 0x20][..], &[9; 32]].concat();
        match n % 5 {
            0 => {}
            1 => _ = stream.write_all(&[0xff; 64]),
            2 => _ = stream.write_all(&key[..17]),
            _ => _ = stream.write_all(&[&key[1..], &[7; 2000]].concat()),
        }
    };
    let warm = failures / 10;
    (0..warm).for_each(run);
    let memory_before = memory();
    (warm..failures).for_each(run);
    let rejected = || bob.0.handle().metrics().rejected.values().sum::<u64>();
    until("each is counted once", || rejected() == failures as u64);
    until("every socket is closed", || resources() == before);
    let grown = memory().saturating_sub(memory_before);
    println!("{failures} failures, {} KiB more memory", grown >> 10);
    assert!(grown < SLACK, "{grown} bytes more after {failures} failures");
    assert!(bob.1.events().is_empty() && stranger.1.events().is_empty(), "no reactor heard of any");
    assert_eq!(bob.0.handle().peer_states(), Ok(Vec::new()));
    // Strictly in pairs, and the place is free.
    for _ in 0..3 {
        let (to_bob, to_friend) = pair(&friend, &bob);
        to_bob.stop("next");
        assert_eq!(down(&bob.1).0, to_friend);
        assert_eq!(down(&friend.1).0, to_bob);
    }
    let reason = dial(&stranger.0, at(id, SocketAddr::from((host(0), port)))).unwrap_err();
    assert!(matches!(reason, DisconnectReason::Incompatible(_)), "{reason}");
}

#[test]
fn remove_before_add_5000() {
    if is_alone("cycles::remove_before_add_5000") {
        remove_before_add(5000);
    }
}

#[test]
#[ignore = "takes minutes: 100,000 failures, or TMP2P_CYCLES"]
fn remove_before_add_long() {
    if is_alone("cycles::remove_before_add_long") {
        remove_before_add(cycles(100_000));
    }
}
