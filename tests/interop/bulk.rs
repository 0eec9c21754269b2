//! Much data each way, with checksums and a figure.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{Direction, Peer};

use crate::{
    figure,
    go::{Go, Release, check, text},
    ours::{CHANNEL, Ours},
    payload::{Tally, message},
};

for_each_release! { bulk_each_way }

const SIZE: usize = 64 << 10;

/// For one direction: more than ten times what a slow machine needs.
const LONG: Duration = Duration::from_secs(300);

fn bulk_each_way(release: Release) {
    let _alone = crate::alone();
    let is_full = std::env::var_os("TMP2P_INTEROP_FULL").is_some_and(|v| v == "1");
    let count = if is_full { 1 << 30 } else { 256 << 20 } / SIZE as u64;
    // Go's own setting: flushing every message makes it write a third as fast.
    let mut go = Go::start(release, &["-messages=false", "-flush-throttle", "100ms"]);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut go, Direction::Outbound);

    let start = Instant::now();
    let sent = send(&peer, 1, count);
    let total = go.received(CHANNEL, count, LONG);
    report(release, "to Go", count, start);
    check(&total, json!({ "count": count, "bytes": sent.bytes, "sha256": sent.sha256() }));

    let start = Instant::now();
    let request =
        go.tell("send", json!({ "channel": CHANNEL, "size": SIZE, "count": count, "seed": 2 }));
    let got = receive(&ours, count);
    report(release, "from Go", count, start);
    let theirs = go.answer(request, "sent");
    check(&theirs, json!({ "ok": true, "count": count }));
    assert_eq!(got.sha256(), text(&theirs, "sha256"));

    // Both at once, a quarter of it.
    let part = count / 4;
    let start = Instant::now();
    let request =
        go.tell("send", json!({ "channel": CHANNEL, "size": SIZE, "count": part, "seed": 3 }));
    let mut sent = sent;
    let got = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for index in 0..part {
                let payload = message(4, index, SIZE);
                sent.add(&payload);
                peer.send(CHANNEL, payload).unwrap();
            }
        });
        let got = receive(&ours, part);
        sender.join().unwrap();
        got
    });
    let total = go.received(CHANNEL, count + part, LONG);
    report(release, "both ways at once, each", part, start);
    check(&total, json!({ "bytes": sent.bytes, "sha256": sent.sha256() }));
    assert_eq!(got.sha256(), text(&go.answer(request, "sent"), "sha256"));

    go.assert_none("peer_down");
    ours.assert_quiet();
}

fn send(peer: &Peer, seed: u64, count: u64) -> Tally {
    let mut tally = Tally::default();
    for index in 0..count {
        let payload = message(seed, index, SIZE);
        tally.add(&payload);
        peer.send(CHANNEL, payload).unwrap();
    }
    tally
}

fn receive(ours: &Ours, count: u64) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..count {
        tally.add(&ours.message().into_payload());
    }
    tally
}

fn report(release: Release, what: &str, count: u64, start: Instant) {
    let (bytes, elapsed) = (count * SIZE as u64, start.elapsed().as_secs_f64());
    let rate = bytes as f64 / 1e6 / elapsed;
    figure(format_args!(
        "{release:?}: {} MiB {what}, checksums included: {rate:.0} MB/s ({elapsed:.2} s)",
        bytes >> 20
    ));
}
