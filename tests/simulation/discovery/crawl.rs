//! What a seed does.

use tmp2p::{
    Config, NetAddress, PeerAddress, internals::pex::PexMessage, internals::protocol::secret::Null,
    internals::switch::Control, internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, internet, quiet, seed},
    world::{Actor, World, seeds},
};

/// What the seed answers a newcomer.
fn answer(world: &mut World<Null>, seed: usize) -> Vec<NetAddress> {
    let newcomer = world.join(quiet());
    world.dial(newcomer, seed);
    world.run_for(SECOND);
    assert_eq!(world.session(seed, newcomer), None, "it is sent away");
    let id = world.nodes[newcomer].id;
    let sent = world.nodes[seed].pex.sent.iter().rev();
    let mut answers = sent.filter_map(|(_, to, message)| match message {
        PexMessage::Addrs(addrs) if *to == id => Some(addrs.clone()),
        _ => None,
    });
    let answer = answers.next().expect("an answer");
    assert!(answers.next().is_none(), "one only");
    answer
}

#[test]
fn seeds_never_vet_addresses() {
    let mut world = internet(20);
    let alive: Vec<_> = (0..30).map(|_| world.join(quiet())).collect();
    let seed = world.join(seed());
    let real: Vec<_> = alive.iter().map(|node| world.net_addr(*node)).collect();
    world.tell(seed, real.iter().copied().chain((5000..5300).map(addr)));
    world.run_for(120 * SECOND);
    let served = answer(&mut world, seed);
    assert!(served.len() >= 25, "{}", served.len());
    assert!(served.iter().all(|addr| real.contains(addr)));
    let newcomer = world.net_addr(world.nodes.len() - 1);
    // The dead are not served any more.
    for node in &alive[..20] {
        world.kill(*node);
    }
    world.run_for(300 * SECOND);
    let served = answer(&mut world, seed);
    let is_alive = |addr: &NetAddress| real[20..].contains(addr) || *addr == newcomer;
    assert!(served.iter().all(is_alive), "{served:?}");
    assert!(!served.is_empty());
}

#[test]
fn serial_crawl() {
    const ADDRESSES: u64 = 2_000;
    let mut world = internet(21);
    let config = seed();
    let (concurrency, timeout) = (config.crawl_concurrency as u32, config.dial_timeout);
    let alive: Vec<_> = (0..600).map(|_| world.join(quiet())).collect();
    let seed = world.join(config);
    let begin = world.now;
    let real: Vec<_> = alive.iter().map(|node| world.net_addr(*node)).collect();
    world.tell(seed, real.into_iter().chain((9000..9000 + ADDRESSES - 600).map(addr)));
    let held = world.nodes[seed].pex.core.book().len();
    let is_done = |world: &World<Null>| {
        world.nodes[seed].pex.core.book().iter().all(|known| known.history().last_attempt.is_some())
    };
    assert!(world.wait(3600 * SECOND, is_done));
    let took = world.now.since(begin);
    let bound = (timeout + SECOND) * held as u32 / concurrency + timeout;
    assert!(took <= bound, "{held} addresses took {took:?}, more than {bound:?}");
}

#[test]
fn an_empty_seed_crawls_the_configured_ones() {
    let mut world = internet(22);
    let first = world.join(seed());
    let alive: Vec<_> = (0..10).map(|_| world.join(quiet())).collect();
    let real: Vec<_> = alive.iter().map(|node| world.net_addr(*node)).collect();
    world.tell(first, real);
    world.run_for(60 * SECOND);
    let seeds: Vec<PeerAddress> = vec![world.net_addr(first).into()];
    let second = world.join(Config { seeds, ..seed() });
    world.run_for(120 * SECOND);
    assert!(answer(&mut world, second).len() >= 8);
}

#[test]
fn a_crawled_session_closes_on_its_answer_or_in_time() {
    let mut world = internet(23);
    let (talks, mute) = (world.join(quiet()), world.join(quiet()));
    world.mute(mute);
    let seed = world.join(seed());
    let addrs = [world.net_addr(talks), world.net_addr(mute)];
    world.tell(seed, addrs);
    world.run_for(SECOND);
    assert_eq!(world.session(seed, talks), None);
    assert!(world.session(seed, mute).is_some());
    world.run_for(15 * SECOND);
    assert_eq!(world.num_peers(seed), 0);
}

/// The fault: a seed with as many unconditional peers as it may crawl at a time crawled nobody else.
#[test]
fn who_is_crawled_and_may_stay_holds_up_nobody() {
    for is_from_the_start in [true, false] {
        let mut world = internet(27);
        let [guests, others] =
            [2, 10].map(|n| (0..n).map(|_| world.join(quiet())).collect::<Vec<_>>());
        let ids: Vec<_> = guests.iter().map(|guest| world.nodes[*guest].id).collect();
        let unconditional_peer_ids = if is_from_the_start { ids } else { Vec::new() };
        let config = Config { crawl_concurrency: 2, unconditional_peer_ids, ..seed() };
        let seed = world.join(config);
        let addrs = |world: &World<Null>, of: &[usize]| -> Vec<_> {
            of.iter().map(|node| world.net_addr(*node)).collect()
        };
        // They owe an answer, for which they have 15 s.
        guests.iter().for_each(|guest| world.mute(*guest));
        let to_guests = addrs(&world, &guests);
        world.tell(seed, to_guests.iter().copied());
        assert!(world.run_until(SECOND, |world| world.num_peers(seed) == 2));
        if !is_from_the_start {
            for addr in to_guests {
                world.control(seed, Control::AddPersistent(addr.into()));
            }
        }
        let to_others = addrs(&world, &others);
        world.tell(seed, to_others.iter().copied());
        world.run_for(60 * SECOND);
        assert_eq!(world.num_peers(seed), 2, "they stay");
        let book = world.nodes[seed].pex.core.book();
        let is_verified = |addr: &&NetAddress| {
            book.get(&addr.id()).is_some_and(|known| known.history().verified.is_some())
        };
        assert!(to_others.iter().filter(is_verified).count() >= 8);
    }
}

#[test]
fn each_address_is_crawled_at_most_every_two_minutes() {
    let mut world = internet(24);
    let node = world.join(quiet());
    let seed = world.join(seed());
    let addr = world.net_addr(node);
    world.tell(seed, [addr]);
    world.run_for(3600 * SECOND);
    let dials: Vec<_> = world.nodes[seed].pex.dials.iter().map(|(at, _)| *at).collect();
    assert!((28..=31).contains(&dials.len()), "{}", dials.len());
    assert!(dials.windows(2).all(|pair| pair[1].since(pair[0]) >= 120 * SECOND));
}

#[test]
fn thousand_bootstraps_thousand_answers() {
    let mut world = internet(25);
    let alive: Vec<_> = (0..50).map(|_| world.join(quiet())).collect();
    // Five of them live in each network.
    let config = Config { max_num_inbound_peers: 2000, max_inbound_per_subnet: 5, ..seed() };
    let seed = world.join(config);
    let real: Vec<_> = alive.iter().map(|node| world.net_addr(*node)).collect();
    world.tell(seed, real);
    world.run_for(60 * SECOND);
    let newcomers: Vec<_> = (0..1000)
        .map(|_| {
            let seeds = vec![world.net_addr(seed).into()];
            world.join(Config { seeds, max_num_outbound_peers: 1, ..Config::default() })
        })
        .collect();
    world.run_for(20 * SECOND);
    for node in newcomers {
        assert!(world.nodes[node].pex.core.book().len() >= 20, "node {node}");
    }
}

#[test]
fn a_restarted_seed_serves_what_it_had_verified() {
    let mut world = internet(26);
    let alive: Vec<_> = (0..20).map(|_| world.join(quiet())).collect();
    let seed = world.join(seed());
    let real: Vec<_> = alive.iter().map(|node| world.net_addr(*node)).collect();
    world.tell(seed, real);
    world.run_for(60 * SECOND);
    world.kill(seed);
    world.run_for(SECOND);
    world.revive(seed);
    assert!(answer(&mut world, seed).len() >= 15);
}

#[test]
fn a_node_that_connects_while_it_is_to_be_crawled_is_crawled_once_it_is_gone() {
    let mut refused = 0;
    for number in seeds(20) {
        let mut world = internet(number);
        let node = world.join(quiet());
        let seed = world.join(seed());
        world.run_for(SECOND);
        // It hears of the address and of the session at once, in any order.
        world.mute(seed);
        world.dial(node, seed);
        assert!(world.run_until(SECOND, |world| world.num_peers(seed) == 1));
        let addr = world.net_addr(node);
        world.import(seed, [(addr, addr)]);
        world.release(Actor::Pex(seed));
        assert!(world.run_until(SECOND, |world| world.num_peers(seed) == 0));
        refused += world.nodes[seed].pex.dials.len();
        let is_verified = |world: &World<Null>| {
            world.nodes[seed].pex.core.book().get(&addr.id()).unwrap().history().verified.is_some()
        };
        assert!(!is_verified(&world));
        assert!(world.run_until(5 * SECOND, is_verified));
    }
    assert!(refused > 0 || std::env::var("TMP2P_SEED").is_ok(), "the attempt never came second");
}
