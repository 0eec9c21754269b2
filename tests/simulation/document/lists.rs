//! What the operator lists goes into the book.

use std::time::Duration;

use tmp2p::{Config, PeerAddress, SwitchEvent, internals::switch::Control};

use crate::internet::{SECOND, addr, internet, quiet};

#[test]
fn what_is_dialed_by_list_is_booked_with_ourselves_as_the_source() {
    let mut world = internet(500);
    let node = world.join(quiet());
    let own = world.nodes[node].id;
    let [dead, named, connected] = [addr(700), addr(701), addr(702)];
    let peer = world.join(quiet());
    world.dial(node, peer);
    world.names.insert("peer.example.com".into(), Some(vec![named.socket_addr()]));
    world.run_for(SECOND);
    let by_name: PeerAddress = format!("{}@peer.example.com:26656", named.id()).parse().unwrap();
    let myself: PeerAddress = world.net_addr(node).into();
    let list = vec![dead.into(), by_name, world.net_addr(peer).into(), myself];
    world.control(node, Control::DialPeers(list));
    world.run_for(5 * SECOND);
    let book = world.nodes[node].pex.core.book();
    for listed in [dead, named] {
        let known = book.get(&listed.id()).expect("it is booked");
        assert_eq!((known.addr, known.src.id()), (listed, own));
    }
    assert!(book.get(&own).is_none() && book.get(&connected.id()).is_none());
    // Counted once.
    let known = book.get(&dead.id()).unwrap();
    assert_eq!((known.history().attempts, known.history().dial_failures), (1, 1));
}

#[test]
fn persistent_peers_are_booked_with_ourselves_as_the_source() {
    let mut world = internet(501);
    let [dead, named, later] = [addr(700), addr(701), addr(702)];
    world.names.insert("peer.example.com".into(), Some(vec![named.socket_addr()]));
    let by_name: PeerAddress = format!("{}@peer.example.com:26656", named.id()).parse().unwrap();
    let node = world.join(Config { persistent_peers: vec![dead.into(), by_name], ..quiet() });
    world.run_for(5 * SECOND);
    world.control(node, Control::AddPersistent(later.into()));
    world.run_for(SECOND);
    let (own, book) = (world.nodes[node].id, world.nodes[node].pex.core.book());
    for listed in [dead, named, later] {
        let known = book.get(&listed.id()).expect("it is booked");
        assert_eq!((known.addr, known.src.id()), (listed, own));
    }
}

/// The document says of reconnecting: what is given up is found again by peer exchange.
#[test]
fn a_persistent_peer_that_is_given_up_is_found_again_by_peer_exchange() {
    let mut world = internet(502);
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    world.take_away(peer);
    let config =
        Config { persistent_peers: vec![at.into()], reconnect_give_up: 20, ..Config::default() };
    let node = world.join(config);
    let is_given_up = |event: &SwitchEvent| matches!(event, SwitchEvent::GaveUp { .. });
    let limit = Duration::from_secs(3 * 3600);
    assert!(world.run_until(limit, |w| w.nodes[node].events.iter().any(is_given_up)));
    assert!(world.asked_to_dial(node, at.id()).is_empty(), "until then it is the switch's");
    assert!(!world.was_ever_bad(node, at.id()));
    world.bring_back(peer);
    assert!(world.run_until(120 * SECOND, |w| w.session(node, peer).is_some()));
    assert!(!world.asked_to_dial(node, at.id()).is_empty());
    // It is a peer like others now.
    world.run_for(SECOND);
    assert!(!world.peer(node, peer).unwrap().is_persistent());
}
