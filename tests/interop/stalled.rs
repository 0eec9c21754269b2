//! A reactor of ours that does not read while Go floods it: the connection lives, and nothing that
//! Go counts as sent is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tmp2p::{Direction, Event};

use crate::{
    exchange::exchange,
    figure,
    go::{Go, Release, number, text},
    ours::{CHANNEL, Ours},
    payload::numbered,
};

for_each_release! {
    go_is_kept_by_unsolicited_pongs,
    go_gives_up_without_unsolicited_pongs,
    a_flood_that_blocks_go,
}

const SEED: u64 = 11;

/// Two time-outs pass in [`TRICKLE_MILLIS`], the last 11.9 s after the start. They are long, because
/// a machine that stands still for one, but for [`PONGS`], ends the session: Go's timer fires as
/// soon as it wakes, before anybody can answer.
const PINGS: [&str; 4] = ["-ping-interval", "4s", "-pong-timeout", "3900ms"];
const PONGS: Duration = Duration::from_millis(300);

/// Bytes a second, so slow that Go still writes pings, which we do not read, for the whole time: the
/// kernel takes what we do not (1.8 MB). A Go node that cannot write does not even ping.
const TRICKLE: &str = "100000";
const TRICKLE_MILLIS: u64 = 13_500;
const TRICKLE_SIZE: usize = 2000;

/// Ours, which stops reading after 128 KiB.
fn forgetful(unsolicited_pong_interval: Duration) -> Ours {
    Ours::start(|setup| {
        setup.config.reactor_budget = 64 << 10;
        setup.config.parking_per_peer = 64 << 10;
        setup.config.unsolicited_pong_interval = unsolicited_pong_interval;
    })
}

fn go_is_kept_by_unsolicited_pongs(release: Release) {
    let args = [&PINGS[..], &["-send-rate", TRICKLE]].concat();
    let mut go = Go::start(release, &args);
    let ours = forgetful(PONGS);
    let peer = ours.connect(&mut go, Direction::Inbound);
    let flood = json!({
        "channel": CHANNEL, "size": TRICKLE_SIZE, "seed": SEED, "millis": TRICKLE_MILLIS
    });
    let flooded = go.ask("flood", flood, "flooded");
    go.assert_none("peer_down");
    // The kernel had room for all of it, so that Go has been pinging.
    assert_eq!(number(&flooded, "failed"), 0, "{flooded}");
    let unread = number(&flooded, "bytes") - peer.status().channels[0].received_bytes;
    assert!(unread > 500_000, "reading was not suspended: {unread} bytes unread of {flooded}");

    let got = assert_arrived(&ours, &flooded, TRICKLE_SIZE);
    figure(format_args!(
        "{release:?}: stalled {} ms with {unread} bytes unread, then {got} messages in order",
        number(&flooded, "millis")
    ));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[0, 5000]);
}

fn go_gives_up_without_unsolicited_pongs(release: Release) {
    let args = [&PINGS[..], &["-send-rate", TRICKLE]].concat();
    let mut go = Go::start(release, &args);
    let ours = forgetful(Duration::from_secs(44));
    ours.connect(&mut go, Direction::Inbound);
    let flood = json!({
        "channel": CHANNEL, "size": TRICKLE_SIZE, "seed": SEED, "millis": TRICKLE_MILLIS
    });
    let start = Instant::now();
    go.tell("flood", flood);
    let down = go.wait("peer_down", json!({}));
    assert_eq!(text(&down, "reason"), "pong timeout", "{down}");
    // While it was still sending. When the flood ends tells nothing: a Send that is waiting when
    // Go stops the peer waits for its 10 s.
    let after = start.elapsed();
    assert!(after < Duration::from_millis(TRICKLE_MILLIS), "given up after {after:?}");

    // What had reached us is delivered all the same, in order, then the end is told.
    let mut next = 0;
    let reason = loop {
        match ours.event() {
            Event::Message(envelope) => {
                let expected = numbered(SEED, next, TRICKLE_SIZE);
                assert!(**envelope.payload() == *expected, "message {next}");
                next += 1;
            }
            Event::PeerDown(_, reason) => break reason,
            event => panic!("{event:?}"),
        }
    };
    assert!(["eof", "reset"].contains(&reason.kind()), "{reason}");
    assert!(next * TRICKLE_SIZE as u64 > 128 << 10, "only {next} messages");
}

/// As fast as Go can, until a Send has waited its 10 s in vain: two of Go's pong time-outs.
fn a_flood_that_blocks_go(release: Release) {
    const SIZE: usize = 10_000;
    let mut go = Go::start(release, &[&PINGS[..], &["-messages=false"]].concat());
    let ours = Ours::start(|setup| {
        setup.config.unsolicited_pong_interval = PONGS;
    });
    let peer = ours.connect(&mut go, Direction::Outbound);
    let flood = json!({ "channel": CHANNEL, "size": SIZE, "seed": SEED, "millis": 5000 });
    let flooded = go.ask("flood", flood, "flooded");
    go.assert_none("peer_down");
    assert_eq!(number(&flooded, "failed"), 1, "{flooded}");
    assert!(number(&flooded, "millis") >= 10_000, "{flooded}");

    let got = assert_arrived(&ours, &flooded, SIZE);
    figure(format_args!(
        "{release:?}: Go blocked {} ms by an unread flood, then {got} messages in order, 1 refused",
        number(&flooded, "millis")
    ));
    // Everything still works, both ways.
    go.tell("flood", json!({ "channel": CHANNEL, "size": SIZE, "seed": SEED, "count": 1000 }));
    let flooded = {
        for _ in 0..1000 {
            ours.message();
        }
        go.wait("flooded", json!({}))
    };
    assert_eq!(number(&flooded, "failed"), 0, "{flooded}");
    peer.send(CHANNEL, b"hello").unwrap();
    go.received(CHANNEL, 1, crate::DEADLINE);
    go.assert_none("peer_down");
    ours.assert_quiet();
}

/// Every message whose Send returned true arrives: once, in order, byte for byte. How many.
#[track_caller]
fn assert_arrived(ours: &Ours, flooded: &Value, size: usize) -> u64 {
    let missing = flooded["missing"].as_array().unwrap();
    let attempts = number(flooded, "count") + number(flooded, "failed");
    for index in (0..attempts).filter(|&i| !missing.contains(&i.into())) {
        let found = ours.message().into_payload();
        assert!(*found == *numbered(SEED, index, size), "message {index} of {flooded}");
    }
    ours.assert_quiet();
    number(flooded, "count")
}
