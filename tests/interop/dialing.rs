//! Both directions of dialing, and what each side learns of the other.

use serde_json::json;
use tmp2p::{ChannelDescriptor, Direction};

use crate::{
    exchange::exchange,
    go::{Go, Release, check},
    ours::{CHANNEL, Ours},
};

for_each_release! { we_dial, go_dials, again_and_again }

fn we_dial(release: Release) {
    meet(release, Direction::Outbound);
}

fn go_dials(release: Release) {
    meet(release, Direction::Inbound);
}

fn meet(release: Release, direction: Direction) {
    let mut go = Go::start(release, &["-moniker", "the gopher", "-channels", "0x70:1:1,0x71:5:10"]);
    let ours = Ours::start(|setup| {
        setup.channels = vec![ChannelDescriptor::new(CHANNEL), ChannelDescriptor::new(0x99)];
        setup.node_info = setup.node_info.clone().with_version("1.2.3").with_app_protocol(7);
    });
    let id = ours.handle.id().to_string();
    match direction {
        Direction::Outbound => {
            ours.handle.dial(go.address()).wait().unwrap();
        }
        Direction::Inbound => {
            let addr = ours.handle.peer_address().unwrap().to_string();
            go.ask("dial", json!({ "addr": addr }), "dialed");
        }
    }

    let up = go.wait("peer_up", json!({ "id": id }));
    check(&up, json!({ "session": 0, "outbound": direction == Direction::Inbound }));
    let listen = format!("tcp://{}", ours.handle.local_addr().unwrap());
    check(
        &up["node_info"],
        json!({
            "moniker": "ours", "network": "interop", "version": "1.2.3", "channels": "7099",
            "listen_addr": listen, "p2p": 8, "block": 11, "app": 7,
        }),
    );

    let peer = ours.up();
    let info = peer.node_info();
    assert_eq!((peer.id(), peer.direction()), (go.id, direction));
    assert_eq!((info.moniker(), info.network()), ("the gopher", "interop"));
    assert_eq!((info.p2p_protocol(), info.block_protocol()), (8, 11));
    assert_eq!(info.channels(), [0x70, 0x71]);
    assert_eq!(info.listen_net_address().unwrap().socket_addr().to_string(), go.listen);
    assert_eq!(peer.dialed_addr().is_some(), direction == Direction::Outbound);

    exchange(&ours, &mut go, &peer, &[CHANNEL], &[0, 1, 5000]);
    // Channels of one side only carry nothing.
    for channel in [0x71, 0x99] {
        let error = peer.send(channel, b"hello").unwrap_err();
        assert_eq!(error.kind, tmp2p::SendErrorKind::NoSuchChannel);
    }
    go.assert_none("peer_down");
}

/// The same two nodes, with each session ended by the other side.
fn again_and_again(release: Release) {
    let mut go = Go::start(release, &[]);
    let ours = Ours::start(|_| {});
    for round in 0..10 {
        let direction = if round % 4 < 2 { Direction::Outbound } else { Direction::Inbound };
        let peer = ours.connect(&mut go, direction);
        exchange(&ours, &mut go, &peer, &[CHANNEL], &[10, 2000]);
        if round % 2 == 0 {
            peer.stop_gracefully();
        } else {
            go.ask("stop_peer", json!({}), "done");
        }
        let kind = ours.down().kind();
        assert_eq!(kind, if round % 2 == 0 { "finished" } else { "eof" });
        go.wait("peer_down", json!({ "session": round }));
    }
}
