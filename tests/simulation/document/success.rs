//! What counts as a success, and what does not.

use std::time::Duration;

use tmp2p::{
    Config, History, KnownAddress, NewBuckets, Placement, StoreBatch,
    internals::addrbook::BookStore,
    internals::pex::{PexMessage, PexRequest},
    internals::protocol::secret::Null,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet, seed},
    world::World,
};

fn failures(world: &World<Null>, node: usize, of: usize) -> u32 {
    let known = world.nodes[node].pex.core.book().get(&world.nodes[of].id);
    known.expect("it is booked").history().dial_failures
}

/// A node without room authenticates itself, too, and then hangs up.
#[test]
fn ten_seconds_or_one_message_are_a_success() {
    for (speaks, after, is_failure) in [
        (false, Duration::from_millis(9000), true),
        (false, Duration::from_millis(11_000), false),
        (true, Duration::from_millis(1000), false),
    ] {
        let mut world = internet(1000);
        let peer = world.join(Config { pex: speaks, ..quiet() });
        let at = world.net_addr(peer);
        let node = world.join(Config::default());
        world.tell(node, [at]);
        world.request(node, PexRequest::MorePeers);
        assert!(world.run_until(SECOND, |w| w.session(node, peer).is_some()));
        world.run_for(after);
        assert!(world.cut(node, peer));
        assert!(world.run_until(SECOND / 2, |w| w.session(node, peer).is_none()));
        // Before it is dialed again.
        world.run_for(SECOND / 1000);
        assert_eq!(failures(&world, node, peer), u32::from(is_failure), "{speaks} {after:?}");
    }
}

#[test]
fn a_seed_that_answers_and_closes_has_done_what_was_wanted() {
    let mut world = internet(1001);
    let seed = world.join(seed());
    let at = world.net_addr(seed);
    let node = world.join(Config { seeds: vec![at.into()], ..Config::default() });
    world.run_for(2 * HOUR);
    // It knows nobody, so it is asked again and again.
    assert!(world.requests_to(node, at.id()).len() > 100);
    assert_eq!(failures(&world, node, seed), 0);
    assert!(!world.was_ever_bad(node, at.id()));
}

#[test]
fn an_address_that_refuses_after_the_handshake_is_alive_and_handed_out() {
    let mut world = internet(1002);
    let full = world.join(Config { max_num_inbound_peers: 0, ..quiet() });
    let at = world.net_addr(full);
    let seed = world.join(seed());
    world.tell(seed, [at]);
    world.run_for(10 * SECOND);
    assert!(world.nodes[seed].pex.core.book().get(&at.id()).unwrap().history().verified.is_some());
    let guest = world.join(quiet());
    world.dial(guest, seed);
    world.run_for(SECOND);
    let id = world.nodes[guest].id;
    let is_told = |(_, to, message): &(_, _, PexMessage)| {
        *to == id && *message == PexMessage::Addrs(vec![at])
    };
    assert!(world.nodes[seed].pex.sent.iter().any(is_told));
}

/// `biasToSelectNewPeers`.
#[test]
fn a_seeds_answer_has_thirty_of_a_hundred_new_ones() {
    let mut world = internet(1003);
    let seed = world.join(seed());
    let now = world.at(seed).wall;
    let mut batch = StoreBatch::default();
    for number in 2000..3000 {
        let addr = addr(number);
        let is_new = number < 2500;
        // The book says itself in which bucket.
        let placement =
            if is_new { Placement::New(NewBuckets::default()) } else { Placement::Old(0) };
        let at = Some(now);
        let history = History {
            last_attempt: at,
            last_success: at,
            verified: at,
            last_seen: at,
            ..History::default()
        };
        let known = KnownAddress::new(addr, addr, placement, history);
        batch.addresses.insert(addr.id(), Some(known));
    }
    world.nodes[seed].pex.store.write(&batch).unwrap();
    world.kill(seed);
    world.revive(seed);
    let guest = world.join(quiet());
    world.dial(guest, seed);
    world.run_for(SECOND / 2);
    let id = world.nodes[guest].id;
    let mut answers = world.nodes[seed].pex.sent.iter().filter_map(|(_, to, message)| {
        if let PexMessage::Addrs(addrs) = message { (*to == id).then_some(addrs) } else { None }
    });
    let answer = answers.next().expect("an answer");
    let book = world.nodes[seed].pex.core.book();
    let is_new = |id| matches!(book.get(&id).unwrap().placement, Placement::New(_));
    let new = answer.iter().filter(|addr| is_new(addr.id())).count();
    assert!(answer.len() > 200, "{}", answer.len());
    assert!((new * 100).abs_diff(answer.len() * 30) <= 100, "{new} of {}", answer.len());
}
