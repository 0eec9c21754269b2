//! Pings and pongs over shortened intervals, on connections that carry nothing else: Go counts
//! pongs alone.

use std::time::Duration;

use serde_json::json;
use tmp2p::Direction;

use crate::{
    exchange::exchange,
    go::{Go, Release},
    ours::{CHANNEL, Ours},
};

for_each_release! { go_pings, we_ping, both_ping, a_go_node_that_hangs_is_given_up }

/// Five pings, and time for the last one's pong to be missed.
const QUIET: Duration = Duration::from_secs(6);
const INTERVAL: &str = "1s";
const TIMEOUT: &str = "800ms";
const OUR_INTERVAL: Duration = Duration::from_secs(1);
const OUR_TIMEOUT: Duration = Duration::from_millis(800);

fn go_pings(release: Release) {
    live(release, true, false);
}

fn we_ping(release: Release) {
    live(release, false, true);
}

fn both_ping(release: Release) {
    live(release, true, true);
}

fn live(release: Release, go_pings: bool, we_ping: bool) {
    let args: &[&str] =
        if go_pings { &["-ping-interval", INTERVAL, "-pong-timeout", TIMEOUT] } else { &[] };
    let mut go = Go::start(release, args);
    let ours = Ours::start(|setup| {
        if we_ping {
            setup.config.ping_interval = OUR_INTERVAL;
            setup.config.pong_timeout = OUR_TIMEOUT;
        }
    });
    let peer = ours.connect(&mut go, Direction::Outbound);
    go.assert_none_for("peer_down", QUIET);
    ours.assert_quiet();
    assert_eq!(peer.status().rtt.is_some(), we_ping);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

/// Go reads a connection on one goroutine: a reactor that does not return stops its pongs.
fn a_go_node_that_hangs_is_given_up(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|setup| {
        setup.config.ping_interval = OUR_INTERVAL;
        setup.config.pong_timeout = OUR_TIMEOUT;
    });
    let peer = ours.connect(&mut go, Direction::Inbound);
    go.ask("hold", json!({ "channel": CHANNEL }), "done");
    peer.send(CHANNEL, b"hello").unwrap();
    go.wait("held", json!({}));
    assert_eq!(ours.down().kind(), "pong_timeout");
    go.ask("release", json!({ "channel": CHANNEL }), "done");
    go.wait("peer_down", json!({}));
}
