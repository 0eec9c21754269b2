//! Many nodes behind one address, as behind a NAT or in one machine, without an exception for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{Direction, Event, NodeId, NodeKey, Peer};

use crate::{
    DEADLINE, figure,
    go::{Go, Release, number},
    ours::{CHANNEL, Ours, Setup},
};

for_each_release! {
    twenty_nodes_behind_one_address_become_and_stay_peers_and_come_back,
}

const NODES: usize = 20;

/// Longer than the pauses of Go that has not given up.
const AGAIN: Duration = Duration::from_secs(20);

/// Longer than anything that is judged after a session has begun.
const WATCHED: Duration = Duration::from_secs(15);

fn twenty_nodes_behind_one_address_become_and_stay_peers_and_come_back(release: Release) {
    let _alone = crate::alone();
    let key = NodeKey::generate();
    let ours = Ours::start(|setup| without_exception(setup, key.clone()));
    let addr = ours.handle.peer_address().unwrap().to_string();
    let mut nodes: Vec<Go> = (0..NODES).map(|_| Go::start(release, &[])).collect();
    for node in &mut nodes {
        node.ask("persist", json!({ "addrs": [addr] }), "done");
    }
    // All at the same moment. Whom the door refuses for that comes again.
    for node in &mut nodes {
        node.tell("dial", json!({ "addr": addr }));
    }
    let started = Instant::now();
    let peers = wait_for_all(&ours, &mut nodes, &addr);
    figure(format_args!("go {release:?}: {NODES} behind one address: {:?}", started.elapsed()));
    stay(&ours, &mut nodes, &peers);

    let listen = ours.handle.local_addr().unwrap();
    ours.switch.stop(DEADLINE).unwrap();
    let stopped = Instant::now();
    let ours = Ours::start(|setup| {
        without_exception(setup, key);
        setup.config.laddr = Some(listen.into());
    });
    let peers = wait_for_all(&ours, &mut nodes, &addr);
    figure(format_args!("go {release:?}: {NODES} are back: {:?}", stopped.elapsed()));
    stay(&ours, &mut nodes, &peers);
}

/// The settings of an operator who expects several nodes at an address.
fn without_exception(setup: &mut Setup, key: NodeKey) {
    setup.key = key;
    setup.config.allow_duplicate_ip = true;
    setup.config.exempt_cidrs = Vec::new();
}

/// Waits until everybody is connected at the same time. Go dials again every 5 to 8 s.
///
/// Now and then it does not: when the first dial of a persistent peer fails, whoever refuses it, Go begins to
/// reconnect before it has noted that this dial is over, takes it for one under way and gives up for good
/// (`p2p/switch.go`, `addOutboundPeerWithConfig` and `reconnectToPeer`; its log ends with "Reconnecting to
/// peer"). A node has peer exchange to dial again; here whoever is missing is told to.
fn wait_for_all(ours: &Ours, nodes: &mut [Go], addr: &str) -> BTreeMap<NodeId, Peer> {
    let deadline = Instant::now() + 2 * DEADLINE;
    let mut again = Instant::now() + AGAIN;
    let (mut peers, mut lost) = (BTreeMap::new(), Vec::new());
    while peers.len() < NODES {
        match ours.reactor.events().recv_deadline(again.min(deadline)) {
            Ok(Event::PeerUp(peer)) => {
                assert_eq!(peer.direction(), Direction::Inbound);
                peers.insert(peer.id(), peer);
            }
            Ok(Event::PeerDown(peer, reason)) => {
                peers.remove(&peer.id());
                lost.push(reason.to_string());
            }
            Ok(_) => {}
            Err(_) if again < deadline => {
                for node in nodes.iter_mut().filter(|node| !peers.contains_key(&node.id)) {
                    node.tell("dial", json!({ "addr": addr }));
                }
                again += AGAIN;
            }
            Err(_) => panic!("{} of {NODES} are there; lost: {lost:?}", peers.len()),
        }
    }
    peers
}

/// Fails unless nobody leaves, and everybody gets what is sent.
fn stay(ours: &Ours, nodes: &mut [Go], peers: &BTreeMap<NodeId, Peer>) {
    let end = Instant::now() + WATCHED;
    while let Ok(event) = ours.reactor.events().recv_deadline(end) {
        assert!(!matches!(event, Event::PeerDown(..)), "{event:?}");
    }
    for node in nodes {
        peers[&node.id].send(CHANNEL, vec![7; 1000]).unwrap();
        let got = node.received(CHANNEL, 1, DEADLINE);
        assert_eq!(number(&got, "bytes") % 1000, 0, "{got}");
    }
}
