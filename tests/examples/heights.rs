//! The height of the chain, as `full_node` takes it from what peers say.

#[path = "../../examples/full_node/heights.rs"]
#[allow(dead_code, reason = "the program uses the rest")]
pub(crate) mod program;

use program::{Heights, NewRoundStep};
use tmp2p::ConnId;

const LIE: i64 = 4_000_000_000_000_000_000;

fn conn(number: u32) -> ConnId {
    ConnId::new(0, number, 0)
}

fn step(height: i64) -> NewRoundStep {
    NewRoundStep { height, step: 1, ..NewRoundStep::default() }
}

/// Who says what, in this order; the height then.
fn after(said: &[(u32, i64)]) -> i64 {
    let mut heights = Heights::default();
    for (number, height) in said {
        heights.heard(conn(*number), &step(*height)).unwrap();
    }
    heights.height()
}

/// The fault: one message of one liar was the chain's height, for ever.
#[test]
fn one_liar_changes_nothing_whoever_comes_first() {
    for order in [[1, 2, 3], [2, 3, 1], [2, 1, 3], [3, 2, 1]] {
        let said = order.map(|number| (number, if number == 1 { LIE } else { 100 }));
        assert_eq!(after(&said), 100, "{order:?}");
    }
    let mut heights = Heights::default();
    for number in 2..5 {
        heights.heard(conn(number), &step(100)).unwrap();
    }
    assert_eq!(heights.heard(conn(1), &step(LIE)), Ok(false), "no merit either");
    for height in 101..200 {
        for number in 2..5 {
            heights.heard(conn(number), &step(height)).unwrap();
        }
        assert_eq!(heights.height(), height, "who lies holds nobody up");
    }
    // Alone he is believed, as long as he is there.
    for number in 2..5 {
        heights.forget(conn(number));
    }
    heights.heard(conn(1), &step(LIE)).unwrap();
    assert_eq!(heights.height(), LIE);
    heights.forget(conn(1));
    assert_eq!(heights.height(), 0);
    heights.heard(conn(2), &step(200)).unwrap();
    assert_eq!(heights.height(), 200);
}

#[test]
fn it_does_not_fall_while_one_peer_confirms_it() {
    let mut heights = Heights::default();
    for number in 0..3 {
        heights.heard(conn(number), &step(100)).unwrap();
    }
    for number in 3..9 {
        heights.heard(conn(number), &step(5)).unwrap();
        assert_eq!(heights.height(), 100);
    }
    heights.forget(conn(0));
    heights.forget(conn(1));
    assert_eq!(heights.height(), 100);
    heights.forget(conn(2));
    assert_eq!(heights.height(), 5);
    // One who is behind beside one who is not.
    assert_eq!(after(&[(1, 50), (2, 30)]), 50);
    assert_eq!(after(&[(1, 30), (2, 50)]), 30, "a jump that only one peer confirms");
}

/// Nodes that wait for blocks nobody sends them say their old heights for as long as they wait.
#[test]
fn half_of_the_peers_stuck_hold_nobody_up() {
    assert_eq!(after(&[(1, 2), (2, 2), (3, 2), (4, 2), (1, 60), (2, 60)]), 60);
    assert_eq!(after(&[(1, 2), (2, 2), (3, 2), (4, 2), (1, LIE)]), 2, "one is no half");
    assert_eq!(after(&[(1, 2), (2, 2), (3, 2), (1, 60)]), 2);
    assert_eq!(after(&[(1, 2), (2, 2), (1, LIE)]), 2);
    assert_eq!(after(&[(1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (1, 60), (2, 60)]), 2);
}

#[test]
fn it_follows_the_chain_block_by_block() {
    let mut heights = Heights::default();
    for height in 1..100 {
        for number in 0..4 {
            let is_useful = heights.heard(conn(number), &step(height)).unwrap();
            assert!(is_useful || heights.height() < height, "{height} of {number}");
        }
        assert_eq!(heights.height(), height);
    }
    assert_eq!(heights.heard(conn(9), &step(3)), Ok(false), "left behind by all others");
}

/// Each is told the height after its own, in a round of its own: a node of Tendermint sends
/// transactions to who is not behind, votes and block parts to who is in the same round, and parts of
/// old blocks, without a pause, to who is behind.
#[test]
fn everybody_is_told_a_height_of_his_own_and_nobody_what_another_one_made_up() {
    let mut heights = Heights::default();
    assert_eq!(heights.news_for(conn(1)), None, "he has said nothing");
    heights.heard(conn(1), &step(LIE)).unwrap();
    let said = NewRoundStep { last_commit_round: -1, ..step(1) };
    heights.heard(conn(2), &said).unwrap();
    let news = heights.news_for(conn(2)).unwrap();
    assert_eq!((news.height, news.last_commit_round), (2, 0));
    assert!(news.round > 100_000 && (1..=8).contains(&news.step));
    heights.was_told(conn(2), 2);
    heights.heard(conn(2), &NewRoundStep { step: 3, ..said }).unwrap();
    assert_eq!(heights.news_for(conn(2)), None, "nothing new");
    heights.heard(conn(2), &step(2)).unwrap();
    assert_eq!(heights.news_for(conn(2)).unwrap().height, 3);
}

/// The fault: two of ours told each other a liar's height long after he had gone.
#[test]
fn what_another_one_of_ours_repeats_does_not_count() {
    let (mut one, mut other) = (Heights::default(), Heights::default());
    one.heard(conn(1), &step(LIE)).unwrap();
    let told = one.news_for(conn(1)).unwrap();
    assert_eq!(other.heard(conn(1), &told), Ok(false));
    assert_eq!((other.height(), other.news_for(conn(1))), (0, None));
}

#[test]
fn what_no_honest_node_says_is_an_error() {
    let mut heights = Heights::default();
    for said in [
        step(0),
        step(-1),
        NewRoundStep { round: -1, ..step(5) },
        NewRoundStep { step: 0, ..step(5) },
        NewRoundStep { step: 9, ..step(5) },
        NewRoundStep { last_commit_round: -2, ..step(5) },
    ] {
        assert!(heights.heard(conn(1), &said).is_err(), "{said:?}");
    }
    assert_eq!(heights.height(), 0);
}
