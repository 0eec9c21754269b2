//! Two nodes that dial each other at the same moment.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tmp2p::{ConnId, Direction, Event};

use crate::{
    DEADLINE, figure,
    go::{Go, Release, number},
    ours::{CHANNEL, Ours},
};

#[path = "../switch/mesh.rs"]
mod mesh;

for_each_release! { simultaneous_dials }

/// 1035 pairs of our own.
#[test]
#[ignore = "46 nodes at once: run by .ci/run, or `cargo test --test interop -- --ignored`"]
fn a_thousand_simultaneous_dials_of_ours() {
    let _alone = crate::alone();
    let seen = mesh::all_dial_each_other(46);
    assert!(seen.pairs > 1000 && seen.refused > 0, "{seen:?}");
    figure(format_args!("simultaneous dials, ours and ours: {seen:?}"));
}

/// Of each release, at once and in batches.
const BATCHES: usize = 5;
const BATCH: usize = 10;

/// How long sessions must have stayed the same: many times what a handshake takes.
const SETTLED: Duration = Duration::from_millis(500);

/// Go keeps whichever connection it admitted first and we keep the one that the lower ID chooses, so
/// both may end; then each side dials again, and eventually there is one session.
fn simultaneous_dials(release: Release) {
    let mut go = Go::start(release, &["-allow-duplicate-ip", "-max-inbound", "1000"]);
    let (mut lost, mut slowest) = (0, Duration::ZERO);
    for _ in 0..BATCHES {
        let all: Vec<Ours> = (0..BATCH).map(|_| Ours::start(dial_at_once)).collect();
        let addrs: Vec<String> =
            all.iter().map(|o| o.handle.peer_address().unwrap().to_string()).collect();
        go.ask("persist", json!({ "addrs": addrs }), "done");

        let started = Instant::now();
        for (ours, addr) in all.iter().zip(&addrs) {
            go.tell("dial", json!({ "addr": addr }));
            ours.handle.add_persistent(go.address()).unwrap();
        }
        // A session on which both agree may still end: Go's other dial is under way, or a refusal.
        let mut agreed: Option<(Instant, Vec<(ConnId, u64)>)> = None;
        let status = loop {
            let status = go.ask("status", json!({}), "status");
            let sessions = all.iter().map(|ours| only_session(ours, &go, &status));
            agreed = match (sessions.collect::<Option<Vec<_>>>(), agreed.take()) {
                (Some(now), Some((since, before))) if now == before => Some((since, before)),
                (now, _) => now.map(|now| (Instant::now(), now)),
            };
            if let Some((since, _)) = agreed.as_ref().filter(|(at, _)| at.elapsed() > SETTLED) {
                slowest = slowest.max(*since - started);
                break status;
            }
            assert!(started.elapsed() < 2 * DEADLINE, "not one session each: {status}");
            thread::park_timeout(Duration::from_millis(10));
        };

        // They are the same sessions: what one side sends, the other one gets.
        for ours in &all {
            let id = ours.handle.id().to_string();
            ours.handle.peer(go.id).unwrap().send(CHANNEL, b"hello").unwrap();
            let session = &of(&status, ours)[0]["session"];
            go.wait("message", json!({ "id": id, "session": session }));
            go.tell("send", json!({ "id": id, "channel": CHANNEL, "size": 100 }));
            lost += until_message(ours);
            ours.assert_quiet();
        }
        for ours in all {
            let id = ours.handle.id().to_string();
            ours.switch.stop(DEADLINE).unwrap();
            go.wait("peer_down", json!({ "id": id, "added": true }));
        }
    }
    figure(format_args!(
        "simultaneous dials, ours and {release:?}: {} pairs, {lost} sessions lost, at most {slowest:?}",
        BATCHES * BATCH
    ));
}

fn dial_at_once(setup: &mut crate::ours::Setup) {
    setup.config.dial_spread = Duration::ZERO;
}

/// The session that there is on both sides, if they agree which: its names here and there.
fn only_session(ours: &Ours, go: &Go, status: &Value) -> Option<(ConnId, u64)> {
    let theirs = of(status, ours);
    let sessions = ours.handle.peers();
    let ([theirs], [session]) = (&theirs[..], &sessions[..]) else { return None };
    assert_eq!(session.id(), go.id);
    let is_ours = session.direction() == Direction::Outbound;
    let is_one = theirs["outbound"] != is_ours && ours.handle.num_peers().dialing == 0;
    is_one.then(|| (session.conn(), number(theirs, "session")))
}

/// Go's sessions with this node.
fn of<'a>(status: &'a Value, ours: &Ours) -> Vec<&'a Value> {
    let peers = status["peers"].as_array().unwrap();
    peers.iter().filter(|peer| peer["id"] == ours.handle.id().to_string()).collect()
}

/// Everything up to the first message; how many sessions ended before.
#[track_caller]
fn until_message(ours: &Ours) -> usize {
    let mut ended = 0;
    loop {
        match ours.event() {
            Event::Message(_) => return ended,
            Event::PeerDown(..) => ended += 1,
            _ => {}
        }
    }
}
