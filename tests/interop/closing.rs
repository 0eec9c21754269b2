//! Either side ends the session, and nothing that was accepted is lost.

use std::time::Duration;

use serde_json::{Value, json};
use tmp2p::{Direction, Peer, SendErrorKind};

use crate::{
    DEADLINE,
    exchange::exchange,
    go::{Go, Release, check, text},
    ours::{CHANNEL, Ours, Setup},
    payload::{Tally, message},
};

for_each_release! {
    we_flush_and_stop_a_peer,
    we_stop_the_switch,
    go_flushes_and_stops,
    go_flushes_and_stops_while_we_do_not_read,
    go_stops_the_peer,
    go_exits,
    go_is_killed,
    we_stop_a_peer_for_an_error,
}

const SEED: u64 = 5;

/// Every kind of edge, about 10 kB a message.
fn size(index: u64) -> usize {
    [0, 1, 1023, 1024, 1025, 20_000, 47_000][index as usize % 7]
}

fn we_flush_and_stop_a_peer(release: Release) {
    let mut go = Go::start(release, &["-messages=false"]);
    let ours = Ours::start(patient);
    let peer = ours.connect(&mut go, Direction::Outbound);
    let sent = fill(&mut go, &peer);
    peer.flush_stop();
    peer.flush_stop();
    assert_eq!(peer.send(CHANNEL, b"late").unwrap_err().kind, SendErrorKind::Closed);
    go.ask("release", json!({ "channel": CHANNEL }), "done");
    assert_eq!(ours.down().kind(), "finished");
    go.wait("peer_down", json!({}));
    assert_received(&mut go, &sent);
}

fn we_stop_the_switch(release: Release) {
    let mut go = Go::start(release, &["-messages=false"]);
    let ours = Ours::start(patient);
    let peer = ours.connect(&mut go, Direction::Inbound);
    let sent = fill(&mut go, &peer);
    ours.handle.request_stop();
    go.ask("release", json!({ "channel": CHANNEL }), "done");
    assert_eq!(ours.down().kind(), "stopped");
    go.wait("peer_down", json!({}));
    assert_received(&mut go, &sent);
    ours.switch.stop(DEADLINE).unwrap();
    // The reactor's inbox ends with the switch.
    assert!(ours.reactor.events().try_recv().is_err_and(|e| e.is_disconnected()));
}

fn patient(setup: &mut Setup) {
    setup.config.send_timeout = Duration::from_millis(500);
    setup.config.close_timeout = DEADLINE;
}

/// Sends to a Go node that does not read, until not even the kernel takes more and our queue is
/// full.
#[track_caller]
fn fill(go: &mut Go, peer: &Peer) -> Tally {
    go.ask("hold", json!({ "channel": CHANNEL }), "done");
    let mut sent = Tally::default();
    loop {
        let payload = message(SEED, sent.count, size(sent.count));
        match peer.send(CHANNEL, payload.clone()) {
            Ok(()) => sent.add(&payload),
            Err(error) => {
                assert_eq!(error.kind, SendErrorKind::TimedOut);
                break;
            }
        }
    }
    assert!(peer.status().channels[0].queued > 0);
    sent
}

#[track_caller]
fn assert_received(go: &mut Go, sent: &Tally) {
    let want = json!({ "count": sent.count, "bytes": sent.bytes, "sha256": sent.sha256() });
    check(&go.total(CHANNEL), want);
}

fn go_flushes_and_stops(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    ours.connect(&mut go, Direction::Inbound);
    let sizes: Vec<usize> = (0..500).map(size).collect();
    go.tell("send", json!({ "channel": CHANNEL, "sizes": sizes, "seed": SEED }));
    // Not before everything is queued: a stop loses what is not.
    let mut got = Tally::default();
    let sent = loop {
        assert_next(&ours, &mut got, &sizes);
        if got.count == 400 {
            let sent = go.wait("sent", json!({}));
            go.tell("stop_peer", json!({ "mode": "flush" }));
            break sent;
        }
    };
    assert_rest_and_eof(&ours, got, &sizes, &sent);
    go.wait("peer_down", json!({ "stopped": "flush" }));
}

/// Its last messages wait in the socket when Go has long closed it.
fn go_flushes_and_stops_while_we_do_not_read(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|setup| {
        setup.config.reactor_budget = 64 << 10;
        setup.config.parking_per_peer = 64 << 10;
    });
    ours.connect(&mut go, Direction::Outbound);
    // 700 kB, for which the kernel has room.
    let sizes = vec![7000; 100];
    let sent = go.ask("send", json!({ "channel": CHANNEL, "sizes": sizes, "seed": SEED }), "sent");
    go.tell("stop_peer", json!({ "mode": "flush" }));
    go.wait("peer_down", json!({ "stopped": "flush" }));
    assert_rest_and_eof(&ours, Tally::default(), &sizes, &sent);
}

#[track_caller]
fn assert_next(ours: &Ours, got: &mut Tally, sizes: &[usize]) {
    let payload = ours.message().into_payload();
    let expected = message(SEED, got.count, sizes[got.count as usize]);
    assert!(*payload == *expected, "message {} has {} bytes", got.count, payload.len());
    got.add(&payload);
}

#[track_caller]
fn assert_rest_and_eof(ours: &Ours, mut got: Tally, sizes: &[usize], sent: &Value) {
    check(sent, json!({ "ok": true, "count": sizes.len() }));
    while got.count < sizes.len() as u64 {
        assert_next(ours, &mut got, sizes);
    }
    assert_eq!(text(sent, "sha256"), got.sha256());
    assert_eq!(ours.down().kind(), "eof");
}

fn go_stops_the_peer(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut go, Direction::Outbound);
    // Before the first message it would be a refusal.
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
    go.ask("stop_peer", json!({ "mode": "error", "reason": "a bad block" }), "done");
    assert_eq!(ours.down().kind(), "eof");
    assert_over(&ours, &peer);
}

fn go_exits(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut go, Direction::Inbound);
    go.ask("stop", json!({}), "done");
    assert_eq!(ours.down().kind(), "eof");
    assert_over(&ours, &peer);
}

fn go_is_killed(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut go, Direction::Inbound);
    go.kill();
    assert_eq!(ours.down().kind(), "eof");
    assert_over(&ours, &peer);
}

fn we_stop_a_peer_for_an_error(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut go, Direction::Outbound);
    peer.stop("a bad block");
    assert_eq!(ours.down().to_string(), "stopped by a reactor: a bad block");
    go.wait("peer_down", json!({ "added": true }));
    assert_over(&ours, &peer);
}

/// The session is over for whoever still holds it.
#[track_caller]
fn assert_over(ours: &Ours, peer: &Peer) {
    assert!(peer.closed().recv_timeout(Duration::ZERO).is_err_and(|e| e.is_disconnected()));
    assert_eq!(peer.send(CHANNEL, b"late").unwrap_err().kind, SendErrorKind::Closed);
    assert_eq!(ours.handle.num_peers(), tmp2p::NumPeers::default());
}
