//! Nodes that are to be connected at all times, ours of Go and Go's of ours.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{
    ConnectionState, Direction, DisconnectReason, NodeKey, PeerAddress, Resolver, SwitchEvent,
};

use crate::{
    DEADLINE,
    exchange::exchange,
    figure,
    go::{Go, Release, check},
    ours::{CHANNEL, Ours, Setup},
};

for_each_release! {
    a_full_go_node,
    a_full_go_node_that_does_not_accept,
    go_restarts_elsewhere_under_the_same_name,
    ours_restarts_and_go_comes_back,
}

/// The first pauses of a back-off at their shortest.
const PAUSES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Go authenticates first and then closes: each attempt is a short session.
fn a_full_go_node(release: Release) {
    let stranger = NodeKey::from_seed([9; 32]).id().to_string();
    let args = ["-allow-duplicate-ip", "-max-inbound", "1", "-unconditional", &stranger];
    let mut go = Go::start(release, &args);
    let first = Ours::start(|_| {});
    first.connect(&mut go, Direction::Outbound);

    let ours = Ours::start(|setup| persist(setup, go.address()));
    let mut ended: Option<Instant> = None;
    for failures in 1..=3 {
        let peer = ours.up();
        assert!(peer.is_persistent());
        if let Some(ended) = ended {
            let pause = ended.elapsed();
            assert!(pause >= PAUSES[failures - 2], "attempt {failures} after {pause:?}");
        }
        assert_eq!(*ours.down(), DisconnectReason::RefusedAfterHandshake);
        let said = go.wait("rejected", json!({}));
        go.quote(&format!("full, our attempt {failures}"), &said);
        check(&said, json!({ "kind": "too_many_inbound" }));
        ended = Some(Instant::now());

        let state = ours.state(&go);
        assert_eq!(state.state, ConnectionState::Reconnecting);
        assert_eq!(state.failures as usize, failures);
        let why = DisconnectReason::RefusedAfterHandshake.to_string();
        assert_eq!(state.reason, Some(why));
    }
    // Nothing in between: one session for each step of the back-off.
    ours.assert_quiet();
    go.assert_none("rejected");
    go.assert_none("peer_down");

    drop(first);
    go.wait("peer_down", json!({}));
    let peer = ours.up();
    go.wait("peer_up", json!({ "id": ours.handle.id().to_string() }));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
    // The switch hears of the first message after the reactor has it.
    let deadline = Instant::now() + DEADLINE;
    while ours.state(&go).failures != 0 {
        assert!(Instant::now() < deadline, "{:?}", ours.state(&go));
    }
}

/// Without unconditional peers a full Go node leaves connections in its kernel's queue.
fn a_full_go_node_that_does_not_accept(release: Release) {
    let timeout = Duration::from_millis(300);
    let mut go = Go::start(release, &["-allow-duplicate-ip", "-max-inbound", "1"]);
    let first = Ours::start(|_| {});
    first.connect(&mut go, Direction::Outbound);

    let ours = Ours::start(|setup| {
        setup.config.handshake_timeout = timeout;
        persist(setup, go.address());
    });
    let mut failed: Option<Instant> = None;
    for expected in 1..=3 {
        let (reason, failures) = ours.news(|event| match event {
            SwitchEvent::DialFailed { reason, failures, .. } => Some((reason, failures)),
            _ => None,
        });
        assert_eq!(reason, DisconnectReason::HandshakeTimeout(timeout));
        assert_eq!(failures, expected);
        if let Some(failed) = failed {
            let pause = failed.elapsed();
            assert!(pause >= PAUSES[expected as usize - 2], "attempt {expected} after {pause:?}");
        }
        failed = Some(Instant::now());
    }
    go.assert_none("rejected");
    ours.assert_quiet();

    // Go now accepts what waits, which is three dead connections.
    drop(first);
    go.wait("peer_down", json!({}));
    let said = go.wait("rejected", json!({}));
    go.quote("full without accepting, once there is room", &said);
    let peer = ours.up();
    go.wait("peer_up", json!({ "id": ours.handle.id().to_string() }));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

fn go_restarts_elsewhere_under_the_same_name(release: Release) {
    let seed = "19".repeat(32);
    let mut go = Go::start(release, &["-laddr", "127.0.0.2:0", "-seed", &seed]);
    let before: SocketAddr = go.listen.parse().unwrap();
    let after = SocketAddr::from(([127, 0, 0, 3], before.port()));
    let names = Arc::new(Names(Mutex::new((vec![before], 0))));
    let resolver = names.clone();
    let addr: PeerAddress = format!("{}@gopher.example:{}", go.id, before.port()).parse().unwrap();
    let ours = Ours::start(|setup| {
        persist(setup, addr.clone());
        setup.prepare = Box::new(|builder| builder.resolver(resolver));
    });
    let peer = ours.up();
    assert_eq!((peer.remote_addr(), peer.dialed_addr()), (before, Some(&addr)));
    go.wait("peer_up", json!({}));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);

    go.kill();
    let reason = ours.down();
    assert!(["eof", "reset"].contains(&reason.kind()), "{reason}");
    // Nobody is there for a while.
    let refused = ours.news(|event| match event {
        SwitchEvent::DialFailed { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(refused, DisconnectReason::Refused);

    let mut go = Go::start(release, &["-laddr", &after.to_string(), "-seed", &seed]);
    names.0.lock().unwrap().0 = vec![after];
    let peer = ours.up();
    assert_eq!((peer.remote_addr(), peer.dialed_addr()), (after, Some(&addr)));
    go.wait("peer_up", json!({}));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
    let lookups = names.0.lock().unwrap().1;
    assert!(lookups >= 3, "{lookups} lookups for three attempts or more");
}

/// Go dials once at once, then every 5 to 8 s.
fn ours_restarts_and_go_comes_back(release: Release) {
    let mut go = Go::start(release, &[]);
    let key = NodeKey::generate();
    let ours = Ours::start(|setup| setup.key = key.clone());
    let addr = ours.handle.peer_address().unwrap().to_string();
    go.ask("persist", json!({ "addrs": [addr] }), "done");
    let peer = ours.connect(&mut go, Direction::Inbound);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);

    let listen = ours.handle.local_addr().unwrap();
    ours.switch.stop(DEADLINE).unwrap();
    let stopped = Instant::now();
    let said = go.wait("peer_down", json!({}));
    go.quote("our node stops", &said);

    // A port that was in use a moment ago.
    let ours = Ours::start(|setup| {
        setup.key = key;
        setup.config.laddr = Some(listen.into());
    });
    let peer = ours.up();
    assert_eq!((peer.id(), peer.direction()), (go.id, Direction::Inbound));
    figure(format_args!("go {release:?}: back {:?} after our stop", stopped.elapsed()));
    go.wait("peer_up", json!({ "outbound": true }));
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

/// From the start, without delay.
fn persist(setup: &mut Setup, addr: PeerAddress) {
    setup.config.persistent_peers = vec![addr];
    setup.config.dial_spread = Duration::ZERO;
}

/// A name server whose only name moves, and how often it was asked.
struct Names(Mutex<(Vec<SocketAddr>, u32)>);

impl Resolver for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut names = self.0.lock().unwrap();
        assert_eq!((host, port), ("gopher.example", names.0[0].port()));
        names.1 += 1;
        Ok(names.0.clone())
    }
}
