//! Nodes that could be peers but are not wanted: each refuses the other, and both say why.
//!
//! A node that refuses after the handshake is, for whoever dialed it, a session that ends at once;
//! one that refuses before is a handshake that fails.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use tmp2p::{Candidate, Direction, DisconnectReason, Limits, NodeKey, Room, Verdict};

use crate::{
    DEADLINE,
    exchange::exchange,
    go::{Go, Release, check},
    ours::{CHANNEL, Ours},
};

for_each_release! {
    an_address_twice_with_us,
    an_address_twice_with_go,
    no_room_with_us,
    no_room_with_go,
    our_connection_filter,
    our_peer_filter,
    connection_filter_of_go,
    peer_filter_of_go,
    banned_node,
    banned_address,
}

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn an_address_twice_with_us(release: Release) {
    let mut first = Go::start(release, &[]);
    let mut second = Go::start(release, &[]);
    let ours = Ours::start(|setup| setup.config.allow_duplicate_ip = false);
    let peer = ours.connect(&mut first, Direction::Inbound);

    let said = second.dial_fails(&ours.handle.peer_address().unwrap());
    second.quote("duplicate IP, Go dials", &said);
    check(&said, json!({ "event": "peer_down" }));
    assert_eq!(ours.rejected(), DisconnectReason::DuplicateIp(LOCALHOST));
    // Not even tried.
    assert_eq!(ours.dial_fails(second.address()), DisconnectReason::DuplicateIp(LOCALHOST));
    second.assert_none("rejected");

    // Another address is none of this one's business.
    let mut third = Go::start(release, &["-laddr", "127.0.0.2:0"]);
    let other = ours.connect(&mut third, Direction::Outbound);
    exchange(&ours, &mut third, &other, &[CHANNEL], &[100]);
    // And who is reserved may share one.
    ours.handle.add_unconditional(second.id).unwrap();
    let reserved = ours.connect(&mut second, Direction::Inbound);
    exchange(&ours, &mut second, &reserved, &[CHANNEL], &[100]);
    exchange(&ours, &mut first, &peer, &[CHANNEL], &[100]);
}

/// Go refuses before the handshake.
fn an_address_twice_with_go(release: Release) {
    let mut go = Go::start(release, &[]);
    let first = Ours::start(|_| {});
    let second = Ours::start(|_| {});
    let peer = first.connect(&mut go, Direction::Outbound);

    let reason = second.dial_fails(go.address());
    assert_hung_up(&reason);
    let said = go.wait("rejected", json!({}));
    go.quote("duplicate IP, ours dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["filtered"] }));

    let said = go.dial_fails(&second.handle.peer_address().unwrap());
    go.quote("duplicate IP, Go would dial", &said);
    check(&said, json!({ "kind": "already" }));
    second.assert_quiet();
    exchange(&first, &mut go, &peer, &[CHANNEL], &[100]);
}

fn no_room_with_us(release: Release) {
    let mut first = Go::start(release, &[]);
    let mut second = Go::start(release, &[]);
    let ours = Ours::start(|setup| {
        setup.config.max_num_inbound_peers = 1;
        // Exempt addresses come through the door of a full node, too.
        setup.config.exempt_cidrs = Vec::new();
    });
    let addr = ours.handle.peer_address().unwrap();
    let peer = ours.connect(&mut first, Direction::Inbound);

    let said = second.dial_fails(&addr);
    second.quote("full, Go dials", &said);
    check(&said, json!({ "event": "peer_down" }));
    assert_eq!(ours.rejected(), DisconnectReason::Full(Room::Inbound));
    // Only a few a second come so far; the others are closed as soon as they are accepted.
    let mut tries = 0;
    let said = loop {
        let said = second.dial_fails(&addr);
        if said["event"] == "dial_failed" {
            break said;
        }
        tries += 1;
        assert!(tries < 1000, "all of them got through the handshake");
    };
    second.quote("full, Go dials again and again", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["auth_failure"] }));
    assert_eq!(ours.rejected(), DisconnectReason::Full(Room::Inbound));

    // Whom we dial has a place, and so has everybody when there are more.
    let mut third = Go::start(release, &[]);
    let dialed = ours.connect(&mut third, Direction::Outbound);
    exchange(&ours, &mut third, &dialed, &[CHANNEL], &[100]);
    let limits = Limits { max_num_inbound_peers: 2, max_num_outbound_peers: 10 };
    ours.handle.set_limits(limits).unwrap();
    let admitted = ours.connect(&mut second, Direction::Inbound);
    exchange(&ours, &mut second, &admitted, &[CHANNEL], &[100]);
    exchange(&ours, &mut first, &peer, &[CHANNEL], &[100]);
}

/// A node with unconditional peers: its transport has places to spare, so that the switch refuses.
/// `persistent` has the other one, which does not accept at all.
fn no_room_with_go(release: Release) {
    let stranger = NodeKey::from_seed([9; 32]).id().to_string();
    let args = ["-allow-duplicate-ip", "-max-inbound", "1", "-unconditional", &stranger];
    let mut go = Go::start(release, &args);
    let first = Ours::start(|_| {});
    let second = Ours::start(|_| {});
    let peer = first.connect(&mut go, Direction::Outbound);

    let dialed = second.handle.dial(go.address()).wait_timeout(DEADLINE).unwrap();
    assert_eq!(dialed.map(|peer| peer.id()), Ok(go.id));
    let said = go.wait("rejected", json!({}));
    go.quote("full, ours dials", &said);
    check(&said, json!({ "kind": "too_many_inbound" }));
    assert_eq!(second.up().id(), go.id);
    assert_eq!(*second.down(), DisconnectReason::RefusedAfterHandshake);

    // Whom Go dials has a place.
    let other = second.connect(&mut go, Direction::Inbound);
    let payload = vec![1; 100];
    other.send(CHANNEL, payload).unwrap();
    go.wait("message", json!({ "id": second.handle.id().to_string() }));
    peer.send(CHANNEL, vec![2; 100]).unwrap();
    go.wait("message", json!({ "id": first.handle.id().to_string() }));
    go.assert_none("peer_down");
}

fn our_connection_filter(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|setup| {
        setup.prepare = Box::new(|builder| {
            builder.connection_filter(|candidate: &Candidate| {
                Verdict::reject(format!("{:?} of {:?}", candidate.direction, candidate.addr.ip()))
            });
        });
    });
    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("connection filter, Go dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["auth_failure"] }));
    let why = DisconnectReason::Filtered("Inbound of 127.0.0.1".to_owned());
    assert_eq!(ours.rejected(), why);
    // Not even tried.
    let why = DisconnectReason::Filtered("Outbound of 127.0.0.1".to_owned());
    assert_eq!(ours.dial_fails(go.address()), why);
    go.assert_none("rejected");
    go.assert_none("peer_up");
    ours.assert_quiet();
}

fn our_peer_filter(release: Release) {
    let mut go = Go::start(release, &["-moniker", "the gopher"]);
    let ours = Ours::start(|setup| {
        setup.prepare = Box::new(|builder| {
            builder.peer_filter(|candidate: &Candidate| {
                let info = candidate.node_info.as_ref().unwrap();
                Verdict::reject(format!("{:?} of {}", candidate.direction, info.moniker()))
            });
        });
    });
    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("peer filter, Go dials", &said);
    check(&said, json!({ "event": "peer_down" }));
    let why = DisconnectReason::Filtered("Inbound of the gopher".to_owned());
    assert_eq!(ours.rejected(), why);

    let why = DisconnectReason::Filtered("Outbound of the gopher".to_owned());
    assert_eq!(ours.dial_fails(go.address()), why);
    let said = go.wait("peer_down", json!({ "outbound": false }));
    go.quote("peer filter, ours dials", &said);
    ours.assert_quiet();
}

fn connection_filter_of_go(release: Release) {
    let mut go = Go::start(release, &["-refuse-ip", "127.0.0.1"]);
    let ours = Ours::start(|_| {});

    let reason = ours.dial_fails(go.address());
    assert_hung_up(&reason);
    let said = go.wait("rejected", json!({}));
    go.quote("connection filter of Go, ours dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["filtered"] }));

    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("connection filter of Go, Go dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["filtered"] }));
    assert_hung_up(&ours.rejected());
    ours.assert_quiet();
}

fn peer_filter_of_go(release: Release) {
    let key = NodeKey::generate();
    let mut go = Go::start(release, &["-refuse-id", &key.id().to_string()]);
    let ours = Ours::start(|setup| setup.key = key);

    let dialed = ours.handle.dial(go.address()).wait_timeout(DEADLINE).unwrap();
    assert_eq!(dialed.map(|peer| peer.id()), Ok(go.id));
    let said = go.wait("rejected", json!({}));
    go.quote("peer filter of Go, ours dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["filtered"] }));
    ours.up();
    assert_eq!(*ours.down(), DisconnectReason::RefusedAfterHandshake);

    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("peer filter of Go, Go dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["filtered"] }));
    // Go authenticated itself, so this is a session, and a node that dialed and left.
    ours.up();
    assert_hung_up(&ours.down());
    go.assert_none("peer_up");
}

fn banned_node(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    ours.connect(&mut go, Direction::Inbound);
    ours.handle.ban(go.id, None, "a test").unwrap();
    assert_eq!(*ours.down(), DisconnectReason::Banned(go.id.into()));
    let said = go.wait("peer_down", json!({}));
    go.quote("banned while connected", &said);

    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("banned node, Go dials", &said);
    check(&said, json!({ "event": "peer_down" }));
    assert_eq!(ours.rejected(), DisconnectReason::Banned(go.id.into()));
    assert_eq!(ours.dial_fails(go.address()), DisconnectReason::Banned(go.id.into()));
    go.assert_none("rejected");
    ours.assert_quiet();

    ours.handle.unban(go.id).unwrap();
    let peer = ours.connect(&mut go, Direction::Outbound);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

fn banned_address(release: Release) {
    let mut go = Go::start(release, &[]);
    let mut elsewhere = Go::start(release, &["-laddr", "127.0.0.2:0"]);
    let ours = Ours::start(|_| {});
    ours.handle.ban(LOCALHOST, None, "a test").unwrap();

    let said = go.dial_fails(&ours.handle.peer_address().unwrap());
    go.quote("banned address, Go dials", &said);
    assert_eq!(ours.rejected(), DisconnectReason::Banned(LOCALHOST.into()));
    assert_eq!(ours.dial_fails(go.address()), DisconnectReason::Banned(LOCALHOST.into()));
    go.assert_none("rejected");

    let peer = ours.connect(&mut elsewhere, Direction::Outbound);
    exchange(&ours, &mut elsewhere, &peer, &[CHANNEL], &[100]);
    ours.handle.unban(LOCALHOST).unwrap();
    let peer = ours.connect(&mut go, Direction::Inbound);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

/// The other side closed the connection without a word. A reset if something of ours was unread.
#[track_caller]
fn assert_hung_up(reason: &DisconnectReason) {
    assert!(["eof", "reset"].contains(&reason.kind()), "{reason}");
}
