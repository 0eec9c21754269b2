//! When seeds are dialed, and who is looked for.

use std::net::Ipv4Addr;

use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::{
    addrbook::NodeFacts,
    config::Config,
    drive::Core,
    pex::{
        PeerFacts, PexInput, PexMessage,
        core::tests::{at, outputs, started},
    },
    switch::Notice,
    time::Mono,
};

const SECOND: Duration = Duration::from_secs(1);

fn node(n: u8) -> NetAddress {
    NetAddress::new(NodeId::from_bytes([n; 20]), [50, n, 1, 1].into(), 26656)
}

/// With these seeds.
fn config(seeds: &[u8]) -> Config {
    Config { seeds: seeds.iter().map(|n| node(*n).into()).collect(), ..Config::default() }
}

/// Peer exchange has dialed it for this, and it is there.
fn up(core: &mut PexCore, n: u8, purpose: Purpose, now: Now) -> ConnId {
    let facts = PeerFacts::for_test(node(n), Some(purpose));
    let conn = facts.conn;
    core.handle_input(PexInput::PeerUp(facts), now);
    conn
}

fn fail(core: &mut PexCore, n: u8, purpose: Purpose, now: Now) {
    let (addr, reason) = (node(n).into(), DisconnectReason::Reset);
    let origin = Origin::Discovery { purpose, failures: 0, is_limited: true };
    let notice = Notice::DialFailed { addr, origin, reason };
    core.handle_input(PexInput::Notice(notice), now);
}

/// Whom it dials for this.
fn dialed(core: &mut PexCore, purpose: Purpose) -> Vec<NodeId> {
    dialed_by(&outputs(core), purpose)
}

/// Lets time go by until then; when it dials somebody for this, and whom.
fn run_until(
    core: &mut PexCore,
    mut now: Now,
    end: Duration,
    purpose: Purpose,
) -> Vec<(Duration, NodeId)> {
    let mut all = Vec::new();
    while let Some(next) = core.next_deadline()
        && next < Mono::ZERO + end
    {
        let step = next.since(now.mono).max(Duration::from_millis(1));
        now = Now { mono: now.mono + step, wall: now.wall + step };
        core.handle_input(PexInput::Timeout, now);
        let after = now.mono.since(Mono::ZERO);
        all.extend(dialed(core, purpose).into_iter().map(|id| (after, id)));
    }
    all
}

#[test]
fn a_seed_that_is_a_peer_is_not_dialed_again() {
    let mut core = started(&config(&[1]));
    assert_eq!(dialed(&mut core, Purpose::Seed), [node(1).id()]);
    up(&mut core, 1, Purpose::Seed, at(0));
    assert_eq!(run_until(&mut core, at(0), 300 * SECOND, Purpose::Seed), []);
}

#[test]
fn while_a_seed_is_dialed_the_answer_of_another_has_no_third_one_dialed() {
    let mut core = started(&config(&[1, 2, 3]));
    let first = dialed(&mut core, Purpose::Seed);
    assert_eq!(first.len(), 1, "one after the other");
    let second = (1..=3).find(|n| node(*n).id() != first[0]).unwrap();
    let conn = up(&mut core, second, Purpose::Seed, at(0));
    let payload = PexMessage::Addrs(Vec::new()).encode().into();
    core.handle_input(PexInput::Message { conn, payload }, at(0));
    assert_eq!(dialed(&mut core, Purpose::Seed), []);
}

#[test]
fn seeds_are_dialed_when_there_is_nobody_else_to_dial() {
    let mut core = started(&config(&[1]));
    dialed(&mut core, Purpose::Seed);
    fail(&mut core, 1, Purpose::Seed, at(0));
    // The next round, in which seeds may be dialed again.
    let now = at(60_000);
    core.add_to_book(node(2), node(2), now).unwrap();
    core.look(false, true, now);
    assert_eq!(dialed(&mut core, Purpose::Seed), [], "there was somebody");
    core.look(false, true, now);
    assert_eq!(dialed(&mut core, Purpose::Seed), [node(1).id()]);
}

/// Whose crawl goes nowhere begins anew; who has just reached somebody asks nobody.
#[test]
fn a_seed_dials_seeds_only_when_its_crawl_has_reached_nobody_for_two_rounds() {
    let mut core = started(&Config { seed_mode: true, ..config(&[1]) });
    let (crawl, round) = (core.settings.crawl_period, core.settings.ensure_peers_period);
    assert_eq!(dialed(&mut core, Purpose::Seed), [node(1).id()]);
    fail(&mut core, 1, Purpose::Seed, at(0));
    core.add_to_book(node(2), node(2), at(0)).unwrap();
    up(&mut core, 2, Purpose::Crawl, at(0));
    let long = 2 * crawl.max(round);
    let all = run_until(&mut core, at(0), long + 2 * round, Purpose::Seed);
    assert!(!all.is_empty(), "it is lost");
    assert!((long..=long + round).contains(&all[0].0), "{all:?}");
}

fn dialed_by(outputs: &[PexOutput], purpose: Purpose) -> Vec<NodeId> {
    let dials = outputs.iter().filter_map(|output| match output {
        PexOutput::Dial { addr, origin: Origin::Discovery { purpose: of, .. } } => {
            (*of == purpose).then_some(addr.id())
        }
        _ => None,
    });
    dials.collect()
}

/// A place among the good ones that another good one wants is its holder's until it was looked
/// for, also by who wants no peers.
#[test]
fn whose_place_is_wanted_is_dialed_once_though_nobody_is_needed() {
    let mut core = started(&Config { max_num_outbound_peers: 0, ..Config::default() });
    outputs(&mut core);
    let (wall, mut rng) = (at(0).wall, StdRng::seed_from_u64(1));
    // More good ones of one network than it has places for.
    for n in 0..300_u16 {
        let [high, low] = n.to_be_bytes();
        let id = NodeId::from_bytes(std::array::from_fn(|i| [high, low][i % 2]));
        let addr = NetAddress::new(id, Ipv4Addr::new(50, 1, high, low).into(), 26656);
        if core.book.add(addr, addr, wall, &mut rng).is_ok() {
            core.book.authenticated(&addr, &NodeFacts::default(), wall);
            core.book.mark_good(&id, wall, &mut rng);
        }
    }
    let period = core.settings.ensure_peers_period.as_millis() as u64;
    let mut tested = Vec::new();
    for round in 1..=3 {
        core.handle_input(PexInput::Timeout, at(2 * round * period));
        let told = outputs(&mut core);
        assert_eq!(dialed_by(&told, Purpose::Peers), []);
        tested.extend(dialed_by(&told, Purpose::Test));
    }
    assert!(!tested.is_empty());
    let good = |id: &NodeId| core.book.is_good(id);
    assert!(tested.iter().all(good), "they keep their places");
    let distinct: BTreeSet<_> = tested.iter().collect();
    assert_eq!(distinct.len(), tested.len(), "each once: {tested:?}");
}
