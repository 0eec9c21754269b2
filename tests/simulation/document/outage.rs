//! Faults of our own machine are nobody's.

use std::time::Duration;

use tmp2p::{
    Config, NetAddress, PeerAddress,
    internals::pex::{PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::switch::Origin,
    internals::time::Mono,
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    node::{id_of, peer_addr_of},
    world::World,
};

/// What is wrong with the machine.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Nobody is reached, and nobody reaches it.
    Link,
    /// Nothing can be opened any more.
    Descriptors,
}

fn begin(world: &mut World<Null>, node: usize, fault: Fault) {
    let (host, addr) = (world.nodes[node].host, world.nodes[node].addr);
    let mut net = world.net.borrow_mut();
    match fault {
        Fault::Link => _ = net.faults.without_link.insert(host),
        Fault::Descriptors => _ = net.faults.out_of_files.insert(host),
    }
    net.black_holes.insert(addr);
    net.cut_all(host);
}

fn end(world: &mut World<Null>, node: usize) {
    let (host, addr) = (world.nodes[node].host, world.nodes[node].addr);
    let mut net = world.net.borrow_mut();
    net.faults.without_link.remove(&host);
    net.faults.out_of_files.remove(&host);
    net.black_holes.remove(&addr);
}

/// Dials of the node at this address that the loop was told of since then.
fn dials(world: &World<Null>, node: usize, at: Option<NetAddress>, since: Mono) -> usize {
    let dials = world.nodes[node].dials.iter().filter(|(when, _)| *when >= since);
    dials.filter(|(_, to)| at.is_none_or(|at| at.socket_addr() == *to)).count()
}

#[test]
fn an_hour_without_a_link_costs_a_seed_nobody() {
    for fault in [Fault::Link, Fault::Descriptors] {
        let mut world = internet(1300);
        let (seed, _) = world.living_seed(30);
        // Some that it has not reached yet.
        world.tell(seed, (5000..5200).map(addr));
        world.run_for(60 * SECOND);
        let verified = |w: &World<Null>| {
            let book = w.nodes[seed].pex.core.book();
            let is_sound = |k: &&tmp2p::KnownAddress| {
                k.history().verified.is_some() && k.history().dial_failures == 0
            };
            book.iter().filter(is_sound).map(|known| known.addr.id()).collect::<Vec<_>>()
        };
        let records = |w: &World<Null>| {
            let book = w.nodes[seed].pex.core.book();
            let dead = book.iter().filter(|known| known.history().verified.is_none());
            dead.map(|known| (known.history().attempts, known.history().dial_failures)).max()
        };
        // What is under way ends; attempts that are on their way time out.
        let before = verified(&world);
        assert_eq!(before.len(), 30);
        begin(&mut world, seed, fault);
        world.run_for(5 * SECOND);
        let (at, record) = (world.now, records(&world));
        world.run_for(HOUR);
        assert_eq!((verified(&world), records(&world)), (before, record), "{fault:?}");
        let tried = dials(&world, seed, None, at);
        assert!(tried > 100, "it looks whether the link is back");
        assert!(tried < 64 * 200, "{fault:?}: {tried} dials in an hour, in bursts of 64");
        end(&mut world, seed);
        let newcomer = world.join(quiet());
        world.dial(newcomer, seed);
        let id = world.nodes[newcomer].id;
        let answered = |w: &World<Null>| {
            let answer = |(_, to, message): &(_, _, PexMessage)| match message {
                PexMessage::Addrs(addrs) if *to == id => Some(addrs.len()),
                _ => None,
            };
            w.nodes[seed].pex.sent.iter().find_map(answer).unwrap_or(0)
        };
        assert!(world.run_until(5 * SECOND, |w| answered(w) >= 30), "{}", answered(&world));
        let since = world.now;
        world.run_for(30 * SECOND);
        assert!(dials(&world, seed, None, since) >= 30, "{fault:?}: the crawl goes on");
    }
}

#[test]
fn within_a_period_of_the_links_return_everybody_is_dialed() {
    for fault in [Fault::Link, Fault::Descriptors] {
        let mut world = internet(1301);
        let others: Vec<_> = (0..14).map(|_| world.join(quiet())).collect();
        let addrs: Vec<_> = others.iter().map(|other| world.net_addr(*other)).collect();
        world.names.insert("here.example".into(), Some(vec![addrs[0].socket_addr()]));
        let named: PeerAddress = format!("{}@here.example:26656", addrs[0].id()).parse().unwrap();
        // One that was gone before, whose pause is the longest there is.
        let gone = addr(900);
        let persistent_peers = vec![named, addrs[1].into(), gone.into()];
        let config = Config { persistent_peers, reconnect_give_up: 200, ..Config::default() };
        let node = world.join(config);
        world.tell(node, addrs[2..].iter().copied());
        assert!(world.run_until(600 * SECOND, |w| w.num_peers(node) == 12));
        begin(&mut world, node, fault);
        // Without a link no name is resolved either.
        world.names.insert("here.example".into(), None);
        world.run_for(5 * SECOND);
        let failures = world.nodes[node]
            .pex
            .core
            .book()
            .iter()
            .map(|k| k.history().dial_failures)
            .sum::<u32>();
        world.run_for(HOUR);
        assert_eq!(world.num_peers(node), 0);
        let book = world.nodes[node].pex.core.book();
        let persistent = [addrs[0].id(), addrs[1].id(), gone.id()];
        let after = book.iter().filter(|k| !persistent.contains(&k.addr.id()));
        assert!(after.map(|k| k.history().dial_failures).sum::<u32>() <= failures, "{fault:?}");
        end(&mut world, node);
        world.names.insert("here.example".into(), Some(vec![addrs[0].socket_addr()]));
        let back = world.now;
        world.run_for(30 * SECOND);
        for at in [addrs[0], addrs[1], gone] {
            assert!(dials(&world, node, Some(at), back) > 0, "{fault:?}: {at}");
        }
        assert!(
            world.session(node, others[0]).is_some() && world.session(node, others[1]).is_some()
        );
        assert!(world.num_peers(node) >= 10, "{fault:?}");
        assert!(world.run_until(60 * SECOND, |w| w.num_peers(node) == 12), "{fault:?}");
        // Nobody was given up, after 900 attempts or so that our own machine could not begin.
        let gave_up =
            |event: &tmp2p::SwitchEvent| matches!(event, tmp2p::SwitchEvent::GaveUp { .. });
        assert!(!world.nodes[node].events.iter().any(gave_up));
    }
}

/// A machine without IPv6: half of what a name stands for is nowhere, and the node is gone.
#[test]
fn a_fault_of_our_own_at_one_address_of_a_name_does_not_hide_that_the_other_is_dead() {
    let mut world = World::<Null>::new(1);
    let node = world.add(crate::options::Options::default());
    let peer = id_of(7);
    let addr: PeerAddress = format!("{peer}@both.example:26656").parse().unwrap();
    let (dead, local) = (peer_addr_of(7).net_address().unwrap(), peer_addr_of(8));
    let local = local.net_address().unwrap();
    let both = vec![dead.socket_addr(), local.socket_addr()];
    world.names.insert("both.example".into(), Some(both));
    world.net.borrow_mut().faults.no_route.insert(local.socket_addr());
    let ticket = world.dial_for(node, addr, Origin::Operator);
    world.run_for(10 * SECOND);
    assert_eq!(world.answer(node, ticket), "refused");
}

/// Somebody tells addresses of a family that this machine has not got, or that its routing table
/// refuses: they hold up nobody, and are not dialed all the time.
#[test]
fn addresses_to_which_no_route_of_ours_leads_hold_up_nobody() {
    let mut world = internet(1302);
    let others: Vec<_> = (0..12).map(|_| world.join(quiet())).collect();
    let addrs: Vec<_> = others.iter().map(|other| world.net_addr(*other)).collect();
    let v6 = |n: u64| {
        let ip = std::net::Ipv6Addr::from([0x2a00, n as u16, 0, 0, 0, 0, 0, 1]);
        NetAddress::new(addr(7000 + n).id(), ip.into(), 26656)
    };
    world.net.borrow_mut().faults.no_route.extend((0..300).map(|n| v6(n).socket_addr()));
    let node = world.join(Config::default());
    world.tell(node, (0..300).map(v6).chain(addrs));
    assert!(world.run_until(120 * SECOND, |w| w.num_peers(node) == 10));
    world.request(node, PexRequest::SetMaxOutbound(20));
    world.run_for(600 * SECOND);
    let book = world.nodes[node].pex.core.book();
    let is_v6 = |known: &&tmp2p::KnownAddress| known.addr.ip().is_ipv6();
    assert!(
        book.iter()
            .filter(is_v6)
            .all(|k| (k.history().attempts, k.history().dial_failures) == (0, 0))
    );
    let since = world.now;
    world.run_for(600 * SECOND);
    let tried = dials(&world, node, None, since);
    assert!(tried < 20 * 60, "{tried} dials in ten minutes");
}

/// Somebody takes the connection and says nothing.
#[test]
fn an_attempt_of_peer_exchange_ends_within_six_seconds() {
    for is_seed in [true, false] {
        let mut world = internet(1303);
        let hole = addr(700);
        let host = world.net.borrow_mut().add_host();
        world.net.borrow_mut().listen(host, hole.socket_addr());
        let config = Config { seed_mode: is_seed, ..Config::default() };
        assert_eq!(config.dial_timeout + config.handshake_timeout, 23 * SECOND);
        let node = world.join(config);
        world.tell(node, [hole]);
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND);
        assert_eq!(world.asked_to_dial(node, hole.id()).len(), 1);
        world.run_for(Duration::from_millis(4500));
        assert!(world.failures(node, hole.id()).is_empty());
        world.run_for(Duration::from_millis(600));
        assert_eq!(world.failures(node, hole.id()), ["handshake_timeout"], "seed: {is_seed}");
        // The operator's has the time that is configured.
        let before = world.failures(node, hole.id()).len();
        let ticket = world.dial_at(node, hole.id(), &hole.socket_addr().to_string());
        world.run_for(15 * SECOND);
        assert_eq!((world.answer(node, ticket), before), ("", 1));
        world.run_for(8 * SECOND);
        assert_eq!(world.answer(node, ticket), "handshake_timeout");
    }
}
