//! Threads and descriptors come back. Both are counted for the whole process, so each of these
//! tests runs in a process of its own.

use std::{collections::BTreeMap, fs, process::Command};

use tmp2p::Event;

use crate::support::*;

/// Set in the process that runs a test alone.
const ALONE: &str = "TMP2P_TEST_ALONE";

/// Whether this process runs the test alone; if not, one that does is started and must succeed.
#[track_caller]
fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("resources::{test}"), "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test has another name: {text}");
    false
}

/// The library's threads by name, and how many descriptors are open.
fn resources() -> (BTreeMap<String, usize>, usize) {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").unwrap() {
        // A thread may end while we look.
        let Ok(name) = fs::read_to_string(task.unwrap().path().join("comm")) else { continue };
        if name.starts_with("p2p-") {
            *threads.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    (threads, fs::read_dir("/proc/self/fd").unwrap().count())
}

#[test]
fn a_stopped_switch_leaves_no_thread_and_no_descriptor() {
    if !is_alone("a_stopped_switch_leaves_no_thread_and_no_descriptor") {
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
        let expected = [("p2p-loop", 4), ("p2p-switch", 4)].map(|(name, n)| (name.to_owned(), n));
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
    if !is_alone("two_hundred_sessions_leak_nothing") {
        return;
    }
    let (alice, bob) = (node(), node());
    until("every thread has its name", || resources().0.values().sum::<usize>() == 4);
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
