//! Which transaction goes to which peer, as `full_node` decides it.

#[path = "../../examples/full_node/mempool.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
mod mempool;

use std::time::Duration;

use mempool::Relay;
use tmp2p::{ConnId, NodeId};

const NOW: Duration = Duration::from_secs(1000);

fn peer(number: u8) -> (ConnId, NodeId) {
    (ConnId::new(0, number.into(), 0), NodeId::from_bytes([number; 20]))
}

fn relay(peers: &[u8]) -> Relay {
    let mut relay = Relay::default();
    for number in peers {
        let (conn, id) = peer(*number);
        relay.peer_up(conn, id, NOW);
    }
    relay
}

/// Everything that waits for this peer, taken.
fn drain(relay: &mut Relay, number: u8) -> Vec<Vec<u8>> {
    let conn = peer(number).0;
    let mut txs = Vec::new();
    while let Some(tx) = relay.next(conn) {
        txs.extend(mempool::decode(&tx.message).unwrap());
        relay.sent(conn);
    }
    txs
}

#[test]
fn everybody_but_the_sender_gets_a_transaction_once() {
    let mut relay = relay(&[1, 2, 3]);
    let hash = relay.take(b"tx".to_vec(), Some(peer(1)), NOW).unwrap();
    assert_eq!(hash, mempool::hash(b"tx"));
    assert!(relay.next(peer(1).0).is_none());
    assert_eq!(relay.take(b"tx".to_vec(), Some(peer(1)), NOW), None);
    assert_eq!(relay.take(b"tx".to_vec(), None, NOW), None);
    assert_eq!(drain(&mut relay, 1), Vec::<Vec<u8>>::new());
    assert_eq!(drain(&mut relay, 2), [b"tx"]);
    assert_eq!(drain(&mut relay, 3), [b"tx"]);
    // It comes back from somebody who got it.
    assert_eq!(relay.take(b"tx".to_vec(), Some(peer(2)), NOW), None);
    assert!([1, 2, 3].iter().all(|number| drain(&mut relay, *number).is_empty()));
}

#[test]
fn what_a_peer_sends_in_the_meantime_does_not_go_to_it() {
    let mut relay = relay(&[1, 2]);
    for tx in [b"a", b"b", b"c"] {
        relay.take(tx.to_vec(), Some(peer(1)), NOW);
    }
    relay.take(b"b".to_vec(), Some(peer(2)), NOW);
    assert_eq!(drain(&mut relay, 2), [b"a", b"c"]);
}

#[test]
fn a_peer_that_comes_later_gets_what_is_recent() {
    let mut relay = relay(&[1]);
    let later = |seconds| NOW + Duration::from_secs(seconds);
    relay.take(b"old".to_vec(), None, NOW);
    relay.take(b"new".to_vec(), None, later(50));
    relay.take(b"from 2".to_vec(), Some(peer(2)), later(50));
    relay.peer_up(peer(2).0, peer(2).1, later(70));
    assert_eq!(drain(&mut relay, 2), [b"new"]);
    assert_eq!(drain(&mut relay, 1), [b"old".to_vec(), b"new".to_vec(), b"from 2".to_vec()]);
}

/// It may have been started anew, or have lost what was on its way.
#[test]
fn a_peer_that_comes_back_gets_everything_recent_again() {
    let mut relay = relay(&[1, 2]);
    relay.take(b"a".to_vec(), Some(peer(1)), NOW);
    assert_eq!(drain(&mut relay, 2), [b"a"]);
    relay.take(b"b".to_vec(), Some(peer(2)), NOW);
    relay.take(b"c".to_vec(), None, NOW);
    // While one session of the node replaces another, nothing is doubled.
    let again = ConnId::new(0, 2, 1);
    relay.peer_up(again, peer(2).1, NOW);
    relay.peer_down(peer(2).0);
    assert!(relay.next(again).is_none());
    relay.peer_down(again);
    relay.peer_up(peer(2).0, peer(2).1, NOW);
    assert_eq!(drain(&mut relay, 2), [b"a", b"b", b"c"]);
}

/// A peer that does not read, and one that sends without end, cost a bounded amount.
#[test]
fn what_waits_is_bounded() {
    let mut relay = relay(&[1, 2]);
    for number in 0..20_000_u32 {
        relay.take(number.to_be_bytes().to_vec(), Some(peer(1)), NOW);
    }
    let waiting = drain(&mut relay, 2);
    assert_eq!(waiting.len(), 5000);
    // The newest are kept.
    assert_eq!(waiting.last().unwrap(), &19_999_u32.to_be_bytes());

    for number in 0..100_u32 {
        let mut tx = vec![0; 1 << 20];
        tx[..4].copy_from_slice(&number.to_be_bytes());
        relay.take(tx, Some(peer(1)), NOW);
    }
    let bytes: usize = drain(&mut relay, 2).iter().map(Vec::len).sum();
    assert!((14 << 20..=16 << 20).contains(&bytes), "{bytes}");
    relay.peer_up(peer(3).0, peer(3).1, NOW);
    let bytes: usize = drain(&mut relay, 3).iter().map(Vec::len).sum();
    assert!((14 << 20..=16 << 20).contains(&bytes), "{bytes}");
}
