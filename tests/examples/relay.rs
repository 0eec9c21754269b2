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
    let mut relay = Relay::new(1 << 20);
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

/// The fault: a message of a megabyte with 350,000 transactions of a byte was 350,000 hashes, as many
/// places in every peer's queue and as many messages to each.
#[test]
fn a_message_of_very_many_transactions_is_refused_before_anything_is_made_of_it() {
    let message = |count: usize| {
        let txs = [0x0a, 1, b'x'].repeat(count);
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(txs.len() as u64, &mut message);
        [message, txs].concat()
    };
    assert_eq!(mempool::decode(&message(1000)).unwrap().len(), 1000);
    let error = mempool::decode(&message(350_000)).unwrap_err();
    assert_eq!(error, "a mempool message of more than 1000 transactions");
    // A field that is repeated replaces nothing: all of it counts.
    let many = message(10).repeat(101);
    assert_eq!(mempool::decode(&many).unwrap_err(), error);
    // Other fields are none.
    assert_eq!(mempool::decode(&[0x12, 1, 0, 0x18, 7]).unwrap(), Vec::<Vec<u8>>::new());
    for cut in [&[0x0a_u8][..], &[0x0a, 0xff, 1], &[0x0a, 2, 0x0a, 7], &[0x18], &[0x0a, 1, 0xff]] {
        let error = mempool::decode(cut).unwrap_err();
        assert!(error.starts_with("no mempool message: "), "{error}");
    }
}

/// Files with `max_tx_bytes` of 8 MiB exist.
#[test]
fn the_largest_transaction_that_is_allowed_waits_for_everybody() {
    let largest = 40 << 20;
    let mut relay = Relay::new(largest);
    relay.peer_up(peer(1).0, peer(1).1, NOW);
    relay.take(vec![7; largest], None, NOW).unwrap();
    relay.take(vec![8; largest / 2], None, NOW).unwrap();
    relay.peer_up(peer(2).0, peer(2).1, NOW);
    for number in [1, 2] {
        let sizes: Vec<usize> = drain(&mut relay, number).iter().map(Vec::len).collect();
        assert_eq!(sizes, [largest, largest / 2], "{number}");
    }
}
