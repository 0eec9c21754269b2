//! Nodes that must not be peers of each other: each side finds the right reason, whoever dials.

use serde_json::{Value, json};
use tmp2p::{ChannelDescriptor, Direction, DisconnectReason, NodeInfo, NodeKey, PeerAddress};

use crate::{
    DEADLINE,
    exchange::exchange,
    go::{Go, Release, check, text},
    ours::{CHANNEL, Ours, Setup},
};

for_each_release! {
    another_network,
    no_common_channel,
    another_block_protocol,
    go_is_not_who_we_dialed,
    we_are_not_whom_go_dialed,
    go_twice_with_the_same_id,
    we_twice_with_the_same_id,
    go_has_our_key,
}

fn another_network(release: Release) {
    let why = incompatible(release, &[], |setup| {
        setup.node_info = NodeInfo::new("another", "ours").unwrap();
    });
    assert_eq!(why, r#"incompatible: the peer is on network "interop", we are on "another""#);
}

fn no_common_channel(release: Release) {
    let why = incompatible(release, &["-channels", "0x20:1:1,0x21:1:1"], |setup| {
        setup.channels = vec![ChannelDescriptor::new(0x22), ChannelDescriptor::new(0x23)];
    });
    assert!(why.starts_with("incompatible: the peer has channels"), "{why}");
}

fn another_block_protocol(release: Release) {
    let why = incompatible(release, &[], |setup| {
        setup.node_info = setup.node_info.clone().with_block_protocol(12);
    });
    assert_eq!(why, "incompatible: the peer has block protocol 11, we have 12");
}

/// Both directions; what we say of it.
fn incompatible(release: Release, args: &[&str], change: impl FnOnce(&mut Setup)) -> String {
    let mut go = Go::start(release, args);
    let ours = Ours::start(change);

    let outbound = ours.dial_fails(go.address());
    assert_eq!(outbound.kind(), "incompatible", "{outbound}");
    let said = go.wait("rejected", json!({}));
    go.quote("incompatible, ours dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["incompatible"] }));

    let failed = go_dials(&mut go, ours.handle.peer_address().unwrap());
    go.quote("incompatible, Go dials", &failed);
    check(&failed, json!({ "kind": "rejected", "flags": ["incompatible"] }));
    let inbound = ours.rejected();
    assert_eq!(inbound, outbound);

    ours.assert_quiet();
    go.assert_none("peer_up");
    outbound.to_string()
}

fn go_is_not_who_we_dialed(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let other = NodeKey::from_seed([9; 32]).id();
    let wrong: PeerAddress = format!("{other}@{}", go.listen).parse().unwrap();

    let reason = ours.dial_fails(wrong);
    assert_eq!(reason, DisconnectReason::WrongId { expected: other, actual: go.id });
    assert_eq!(reason.kind(), "wrong_id");
    // We hang up before our NodeInfo, and Go calls that a failed authentication.
    check(
        &go.wait("rejected", json!({})),
        json!({ "kind": "rejected", "flags": ["auth_failure"] }),
    );
    go.assert_none("peer_up");

    let peer = ours.connect(&mut go, Direction::Outbound);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

fn we_are_not_whom_go_dialed(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    let other = NodeKey::from_seed([9; 32]).id();
    let wrong = format!("{other}@{}", ours.handle.local_addr().unwrap()).parse().unwrap();

    let failed = go_dials(&mut go, wrong);
    check(&failed, json!({ "kind": "rejected", "flags": ["auth_failure"] }));
    assert!(text(&failed, "error").contains(&ours.handle.id().to_string()), "{failed}");
    // Go hangs up without a word. A reset if our NodeInfo had reached it by then.
    let reason = ours.rejected();
    assert!(["eof", "reset"].contains(&reason.kind()), "{reason}");
    ours.assert_quiet();

    let peer = ours.connect(&mut go, Direction::Inbound);
    exchange(&ours, &mut go, &peer, &[CHANNEL], &[100]);
}

fn go_twice_with_the_same_id(release: Release) {
    let seed = "17".repeat(32);
    let mut first = Go::start(release, &["-seed", &seed]);
    let mut second = Go::start(release, &["-seed", &seed]);
    assert_eq!(first.id, second.id);
    let ours = Ours::start(|_| {});
    let peer = ours.connect(&mut first, Direction::Inbound);

    let addr = ours.handle.peer_address().unwrap().to_string();
    second.ask("dial", json!({ "addr": addr }), "dialed");
    assert_eq!(ours.rejected(), DisconnectReason::DuplicateId(first.id));
    // Go keeps a peer as soon as it was authenticated, and then finds the connection closed.
    let said = second.wait("peer_down", json!({ "outbound": true }));
    second.quote("duplicate ID, Go dials", &said);

    exchange(&ours, &mut first, &peer, &[CHANNEL], &[0, 3000]);
    first.assert_none("peer_down");
}

fn we_twice_with_the_same_id(release: Release) {
    let mut go = Go::start(release, &["-allow-duplicate-ip"]);
    let key = NodeKey::generate();
    let first = Ours::start(|setup| setup.key = key.clone());
    let second = Ours::start(|setup| setup.key = key);
    let peer = first.connect(&mut go, Direction::Outbound);

    // Go authenticates first and looks for duplicates then, so this is a short session.
    let dialed = second.handle.dial(go.address()).wait_timeout(DEADLINE).unwrap();
    assert_eq!(dialed.map(|peer| peer.id()), Ok(go.id));
    let said = go.wait("rejected", json!({}));
    go.quote("duplicate ID, ours dials", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["duplicate"] }));
    assert_eq!(second.up().id(), go.id);
    assert_eq!(*second.down(), DisconnectReason::RefusedAfterHandshake);

    exchange(&first, &mut go, &peer, &[CHANNEL], &[0, 3000]);
    go.assert_none("peer_down");
}

fn go_has_our_key(release: Release) {
    let mut go = Go::start(release, &["-seed", &"18".repeat(32)]);
    let ours = Ours::start(|setup| setup.key = NodeKey::from_seed([0x18; 32]));
    assert_eq!(ours.handle.id(), go.id);

    let failed = go_dials(&mut go, ours.handle.peer_address().unwrap());
    go.quote("self, Go dials", &failed);
    check(&failed, json!({ "kind": "rejected", "flags": ["self"] }));
    assert_eq!(ours.rejected(), DisconnectReason::SelfConnection);
    // Not even tried.
    assert_eq!(ours.dial_fails(go.address()), DisconnectReason::SelfConnection);
    go.assert_none("rejected");
    // Under another ID it shows once Go has authenticated itself. Like Go, we look at the ID that was
    // dialed first.
    let other = NodeKey::from_seed([9; 32]).id();
    let reason = ours.dial_fails(format!("{other}@{}", go.listen).parse().unwrap());
    assert_eq!(reason, DisconnectReason::WrongId { expected: other, actual: go.id });
    let said = go.wait("rejected", json!({}));
    go.quote("self, ours dials by another ID", &said);
    check(&said, json!({ "kind": "rejected", "flags": ["auth_failure"] }));
    ours.assert_quiet();
    go.assert_none("peer_up");
}

/// Go's dial, which must fail.
#[track_caller]
fn go_dials(go: &mut Go, addr: PeerAddress) -> Value {
    go.ask("dial", json!({ "addr": addr.to_string() }), "dial_failed")
}
