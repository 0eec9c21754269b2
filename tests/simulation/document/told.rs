//! What peers tell and ask, and what becomes of it.

use tmp2p::{
    Config, NetAddress,
    internals::pex::{PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::time::Wall,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::World,
};

/// How many addresses were in each answer to this node.
fn answers(world: &World<Null>, node: usize, to: usize) -> Vec<usize> {
    let to = world.nodes[to].id;
    let of = |(_, id, message): &(_, _, PexMessage)| match message {
        PexMessage::Addrs(addrs) if *id == to => Some(addrs.len()),
        _ => None,
    };
    world.nodes[node].pex.sent.iter().filter_map(of).collect()
}

/// Anybody can tell a wrong address of a node: that is no reason to ban it.
#[test]
fn a_failed_authentication_drops_the_address_and_bans_nobody() {
    let mut world = internet(1100);
    let [x, y] = [(); 2].map(|()| world.join(quiet()));
    let (right, at_y) = (world.net_addr(x), world.net_addr(y));
    let wrong = NetAddress::new(right.id(), at_y.ip(), at_y.port());
    let node = world.join(Config::default());
    world.tell(node, [wrong]);
    world.request(node, PexRequest::MorePeers);
    world.run_for(SECOND);
    assert_eq!(world.failures(node, right.id()), ["wrong_id"]);
    let book = world.nodes[node].pex.core.book();
    assert!(book.bans().is_empty() && book.bad_addresses().count() == 0);
    assert!(book.get(&right.id()).is_none(), "the address is gone");
    world.tell(node, [right]);
    world.request(node, PexRequest::MorePeers);
    assert!(world.run_until(SECOND, |w| w.session(node, x).is_some()));
}

#[test]
fn an_answer_owed_by_an_earlier_session_is_unsolicited_in_the_next() {
    let mut world = internet(1101);
    let node = world.join(quiet());
    let mute = world.join(quiet());
    world.mute(mute);
    world.dial(node, mute);
    world.run_for(SECOND);
    let id = world.nodes[mute].id;
    assert_eq!(world.requests_to(node, id).len(), 1);
    world.cut(node, mute);
    world.run_for(SECOND);
    world.dial(node, mute);
    world.run_for(SECOND);
    assert_eq!(world.requests_to(node, id).len(), 1, "the pace allows no other one");
    world.receive(node, mute, PexMessage::Addrs(vec![addr(900)]).encode());
    let wall = world.at(node).wall;
    assert!(world.nodes[node].pex.core.book().bans().find_id(&id, wall).is_some());
}

#[test]
fn a_request_marks_nobody_good() {
    let mut world = internet(1102);
    let node = world.join(Config { good_after: 24 * HOUR, ..quiet() });
    let (outbound, inbound) = (world.join(quiet()), world.join(quiet()));
    world.dial(node, outbound);
    world.dial(inbound, node);
    world.run_for(SECOND);
    for peer in [outbound, inbound] {
        world.mute(peer);
    }
    for _ in 0..300 {
        world.run_for(12 * SECOND);
        for peer in [outbound, inbound] {
            world.receive(node, peer, PexMessage::Request.encode());
        }
    }
    assert!(answers(&world, node, inbound).len() > 250);
    for peer in [outbound, inbound] {
        assert!(!world.nodes[node].pex.core.book().is_good(&world.nodes[peer].id));
    }
}

/// `needAddressThreshold`. The reference counts what anybody has told.
#[test]
fn who_has_met_a_thousand_asks_nobody_and_who_was_told_of_thousands_asks() {
    for (met, told, is_asked) in [(998, 0, true), (998, 4000, true), (999, 0, false)] {
        let mut world = internet(1103);
        let node = world.join(quiet());
        let mut next = 2000;
        while world.nodes[node].pex.core.book().len() < met {
            let missing = (met - world.nodes[node].pex.core.book().len()) as u64;
            world.tell_good(node, (next..next + missing).map(addr));
            next += missing;
        }
        world.tell(node, (20_000..20_000 + told).map(addr));
        // The peer itself is one more.
        let peer = world.join(quiet());
        world.dial(node, peer);
        world.run_for(120 * SECOND);
        let requests = world.requests_to(node, world.nodes[peer].id);
        assert_eq!(!requests.is_empty(), is_asked, "{met} met, {told} told");
    }
}

/// Two are free, then a third of the period lies between two that are answered in full.
#[test]
fn requests_are_answered_at_a_third_of_the_period() {
    for period in [30, 90] {
        let mut world = internet(1104);
        let config = Config { ensure_peers_period: period * SECOND, ..quiet() };
        let node = world.join(config);
        world.tell(node, (2000..2050).map(addr));
        let asks = world.join(quiet());
        world.mute(asks);
        world.dial(asks, node);
        world.run_for(SECOND);
        // The message takes some milliseconds each.
        for pause in [0, 0, period / 3 - 1, 2] {
            world.run_for(pause * SECOND);
            world.receive(node, asks, PexMessage::Request.encode());
        }
        let answers = answers(&world, node, asks);
        let is_full: Vec<_> = answers.iter().map(|len| *len > 0).collect();
        assert_eq!(is_full, [true, true, false, true], "every {period} s: {answers:?}");
    }
}

#[test]
fn a_rounds_dials_begin_together_as_many_as_are_wanted() {
    let mut world = internet(1105);
    let node = world.join(Config::default());
    world.tell(node, (2000..2030).map(addr));
    world.request(node, PexRequest::MorePeers);
    world.run_for(SECOND);
    let dials: Vec<_> = world.nodes[node].pex.dials.iter().map(|(at, _)| *at).collect();
    assert_eq!(dials.len(), 10);
    assert!(dials.iter().all(|at| *at == dials[0]), "{dials:?}");
}

/// Two seconds after the first failure and up to one more, by chance.
#[test]
fn the_pause_after_a_failure_has_a_jitter() {
    let pauses: Vec<_> = (0..10)
        .map(|number| {
            let mut world = internet(1110 + number);
            world.net.borrow_mut().is_silent = false;
            let node = world.join(Config::default());
            world.tell(node, [addr(2000)]);
            for _ in 0..80 {
                world.request(node, PexRequest::MorePeers);
                world.run_for(SECOND / 20);
            }
            let dials = world.asked_to_dial(node, addr(2000).id());
            assert_eq!(dials.len(), 2, "{dials:?}");
            dials[1].since(dials[0])
        })
        .collect();
    let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
    assert!(*least >= 2 * SECOND && *most <= 3 * SECOND + SECOND / 10, "{pauses:?}");
    assert!(*most - *least > SECOND / 10, "{pauses:?}");
}
