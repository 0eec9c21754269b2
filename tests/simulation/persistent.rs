//! Persistent peers: dialed until they are connected, and again whenever they are lost.

use std::time::Duration;

use tmp2p::{
    Config, ConnectionState, DisconnectReason, NodeKey, SwitchEvent,
    internals::protocol::secret::Null, internals::switch::Control, internals::time::Mono,
};

use crate::{
    node::{addr_of, id_of, peer_addr_of},
    options::Options,
    raw::RawPeer,
    world::{Actor, World, seeds},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// The longest pause, with its jitter, and time for the dial itself.
const BACK: Duration = Duration::from_secs(76);

/// A node whose persistent peer is the node with this number.
fn keeps(number: usize, change: impl FnOnce(&mut Config)) -> Options {
    Options::with(|config| {
        config.persistent_peers = vec![peer_addr_of(number)];
        change(config);
    })
}

fn is_up(world: &World<Null>, at: usize, with: usize) -> bool {
    world.nodes[at].peer(0, id_of(with)).is_some()
}

/// The pauses between the dials of a node.
fn pauses(world: &World<Null>, at: usize) -> Vec<f64> {
    let dials = &world.nodes[at].dials;
    dials.windows(2).map(|pair| pair[1].0.since(pair[0].0).as_secs_f64()).collect()
}

fn dials_since(world: &World<Null>, at: usize, since: Mono) -> usize {
    world.nodes[at].dials.iter().filter(|(when, _)| *when > since).count()
}

/// The fault: a persistent peer that was away for 8 hours was dialed no more, nor one whose address
/// was that of another peer.
#[test]
fn persistent_peers_given_up() {
    for (seed, shares_ip) in [(1, false), (2, true)] {
        let mut world = World::<Null>::new(seed);
        let a = world.add(keeps(1, |c| c.allow_duplicate_ip = false));
        let b = world.add(Options::default());
        assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b)), "at the start");
        world.run_for(HOUR);
        let lost = world.now;
        world.take_away(b);
        world.run_for(7 * 24 * HOUR);
        let dials = dials_since(&world, a, lost);
        let (least, most) = (7 * 24 * 3600 / 75, 7 * 24 * 3600 / 60 + 10);
        assert!((least..most).contains(&dials), "{dials} dials in 7 days");
        if shares_ip {
            let mut raw = RawPeer::connect_from(&mut world, a, 1, addr_of(b).ip());
            raw.establish(&mut world, a);
        }
        world.bring_back(b);
        assert!(world.run_until(BACK, |w| is_up(w, a, b)), "{:?}", world.nodes[a].events.last());
        let again = world.nodes[a].dials.len();
        world.run_for(HOUR);
        assert_eq!(world.nodes[a].dials.len(), again, "it is connected");
        world.stop_all();
    }
}

/// The fault: the name was resolved once, at the start, and a failure then was final.
#[test]
fn dns_resolved_once() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let at_name = format!("{}@peer.test:26656", id_of(1));
        world.names.insert("peer.test".into(), None);
        let a = world.add(Options::with(|c| c.persistent_peers = vec![at_name.parse().unwrap()]));
        let b = world.add(Options::default());
        world.run_for(300 * SECOND);
        assert_eq!(world.nodes[a].dials, []);
        let is_lookup = |event: &SwitchEvent| {
            matches!(event, SwitchEvent::DialFailed { reason: DisconnectReason::Lookup { .. }, .. })
        };
        assert!(world.nodes[a].events.iter().filter(|e| is_lookup(e)).count() > 5);
        world.names.insert("peer.test".into(), Some(vec![addr_of(b)]));
        assert!(world.run_until(BACK, |w| is_up(w, a, b)));
        // The node moves.
        world.take_away(b);
        let key = Some(NodeKey::from_seed([b as u8 + 1; 32]));
        let moved = world.add(Options { key, ..Options::default() });
        world.run_for(300 * SECOND);
        assert!(!is_up(&world, a, b));
        let addrs = vec![addr_of(b), addr_of(moved)];
        world.names.insert("peer.test".into(), Some(addrs));
        assert!(world.run_until(BACK, |w| is_up(w, a, b)));
        world.run_for(SECOND);
        assert!(world.peer(moved, a).is_some());
    }
}

/// The fault: an answer that took longer than a dial may was thrown away each time, and the name asked
/// for anew, behind all the requests that nobody waited for any more.
#[test]
fn a_name_server_that_answers_late_is_used_all_the_same() {
    for delay in [4, 20, 40] {
        let mut world = World::<Null>::new(delay);
        world.names.insert("peer.test".into(), Some(vec![addr_of(1)]));
        let at_name = format!("{}@peer.test:26656", id_of(1));
        let a = world.add(Options::with(|c| c.persistent_peers = vec![at_name.parse().unwrap()]));
        let b = world.add(Options::default());
        let (until, mut is_asking) = (world.now + 120 * SECOND, false);
        while world.now < until && !is_up(&world, a, b) {
            let waiting = world.nodes[a].lookups.len();
            assert!(waiting <= 1, "{waiting} requests for one name");
            if waiting == 1 && !is_asking {
                world.hold(Actor::Resolver(a), delay as u32 * SECOND);
            }
            is_asking = waiting == 1;
            world.run_for(SECOND / 10);
        }
        assert!(is_up(&world, a, b), "an answer after {delay} s is never used");
        world.stop_all();
    }
}

/// The fault: without a link every look-up fails, and nine minutes of that gave up all persistent peers
/// that have a name, for good.
#[test]
fn failed_look_ups_give_nobody_up() {
    let mut world = World::<Null>::new(1);
    world.names.insert("peer.test".into(), None);
    let at_name = format!("{}@peer.test:26656", id_of(1));
    let a = world.add(Options::with(|c| {
        c.persistent_peers = vec![at_name.parse().unwrap()];
        c.reconnect_give_up = 5;
    }));
    let b = world.add(Options::default());
    world.run_for(HOUR);
    let gave_up = |event: &SwitchEvent| matches!(event, SwitchEvent::GaveUp { .. });
    assert!(!world.nodes[a].events.iter().any(gave_up));
    world.names.insert("peer.test".into(), Some(vec![addr_of(b)]));
    assert!(world.run_until(60 * SECOND, |w| is_up(w, a, b)));
    world.stop_all();
}

/// The fault: dead persistent peers were dialed over and over, and the node had no time for others.
#[test]
fn redialing_dead_persistent_peers() {
    let mut world = World::<Null>::new(1);
    let dead: Vec<_> = (100..150).map(peer_addr_of).collect();
    for number in 100..125 {
        world.net.borrow_mut().black_holes.insert(addr_of(number));
    }
    let a = world.add(Options::with(|c| c.persistent_peers = dead));
    let b = world.add(Options::default());
    let (at_a, _) = world.connect(a, b);
    world.run_for(HOUR);
    let (since, turns) = (world.now, world.nodes[a].turns);
    world.run_for(HOUR);
    let dials = dials_since(&world, a, since);
    // One in 60 to 75 seconds, and the 3 seconds of a dial into nothing.
    assert!((50 * 3600 / 78..=50 * 61).contains(&dials), "{dials} dials an hour");
    let turns = world.nodes[a].turns - turns;
    assert!(turns < 10 * dials as u64, "{turns} turns for {dials} dials");
    assert_eq!(world.down(a, 0, at_a.conn()), None);
    world.stop_all();
}

#[test]
fn the_longest_pause_and_giving_up_are_settings() {
    let run = |change: fn(&mut Config)| {
        let mut world = World::<Null>::new(1);
        let a = world.add(keeps(7, change));
        world.run_for(HOUR);
        let gave_up = |event: &SwitchEvent| matches!(event, SwitchEvent::GaveUp { .. });
        let gave_up = world.nodes[a].events.iter().filter(|e| gave_up(e)).count();
        let states = world.states(a);
        assert_eq!(states.len(), 1 - gave_up);
        if let Some(state) = states.first() {
            assert_eq!(state.state, ConnectionState::Reconnecting);
            assert_eq!(state.failures as usize, world.nodes[a].dials.len());
        }
        (pauses(&world, a), gave_up)
    };
    let (default, gave_up) = run(|_| {});
    assert_eq!(gave_up, 0);
    for (i, pause) in default.iter().enumerate() {
        let least = f64::from(1 << i.min(6)).min(60.0);
        assert!((least..least * 1.25 + 0.1).contains(pause), "{default:?}");
    }
    let (short, _) = run(|c| c.persistent_peers_max_dial_period = 5 * SECOND);
    assert!(short.iter().skip(4).all(|p| (5.0..6.35).contains(p)), "{short:?}");
    assert!((3600 / 7..3600 / 5).contains(&short.len()));
    let (few, gave_up) = run(|c| c.reconnect_give_up = 4);
    assert_eq!((few.len(), gave_up), (3, 1));
}

/// The fault: a node without room authenticates first and then closes; that was a success, and it
/// was dialed again at once, with an `up` and a `down` for every reactor each time.
#[test]
fn a_full_peers_refusal_counts_as_success() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let a = world.add(keeps(1, |_| {}));
        let b = world.add(Options::with(|c| c.max_num_inbound_peers = 0));
        world.run_for(600 * SECOND);
        let pauses = pauses(&world, a);
        for (i, pause) in pauses.iter().enumerate() {
            let least = f64::from(1 << i.min(6)).min(60.0);
            assert!((least..least * 1.25 + 1.0).contains(pause), "{pauses:?}");
        }
        assert!(pauses.len() > 10);
        let (ups, downs) = world.nodes[a].ups_and_downs();
        assert!(ups == downs && ups <= pauses.len() + 1, "{ups} up, {downs} down");
        let is_refusal = |event: &SwitchEvent| match event {
            SwitchEvent::Disconnected { reason, .. } => {
                *reason == DisconnectReason::RefusedAfterHandshake
            }
            _ => true,
        };
        assert!(world.nodes[a].events.iter().all(is_refusal), "{:?}", world.nodes[a].events);
        // There is room again.
        let limits = tmp2p::Limits { max_num_inbound_peers: 1, max_num_outbound_peers: 1 };
        world.control(b, Control::SetLimits(limits));
        assert!(world.run_until(BACK, |w| is_up(w, a, b)));
        world.stop_all();
    }
}

/// A session is a success after 10 seconds or one message, and not before.
#[test]
fn what_counts_as_a_success() {
    // How long each session lasts, whether it delivers something, and whether pauses grow.
    let cases = [(9, false, true), (11, false, false), (1, true, false)];
    for (lasts, speaks, grow) in cases {
        let mut world = World::<Null>::new(1);
        let a = world.add(keeps(1, |_| {}));
        let b = world.add(Options::default());
        for _ in 0..6 {
            assert!(world.run_until(BACK, |w| is_up(w, a, b) && w.peer(b, a).is_some()));
            let at_b = world.peer(b, a).unwrap();
            if speaks {
                world.send(b, &at_b, 0x20, 100).unwrap();
            }
            world.run_for(lasts * SECOND);
            at_b.stop("enough");
            world.run_for(SECOND / 10);
        }
        let last = *pauses(&world, a).last().unwrap() - f64::from(lasts);
        assert_eq!(last > 8.0, grow, "{last} s after the fifth of {lasts} s");
        assert!(grow || last < 1.5, "{last} s after the fifth of {lasts} s");
        world.stop_all();
    }
}

#[test]
fn persistent_peers_come_and_go_at_run_time() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (world.add(Options::default()), world.add(Options::default()));
    world.control(a, Control::AddPersistent(peer_addr_of(b)));
    assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b)));
    assert!(world.peer(a, b).unwrap().is_persistent());
    world.cut(a, b);
    world.run_for(SECOND / 10);
    assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b)), "lost and back");
    world.control(a, Control::RemovePersistent(id_of(b)));
    assert!(is_up(&world, a, b), "its session stays");
    assert!(!world.peer(a, b).unwrap().is_persistent());
    world.cut(a, b);
    world.run_for(HOUR);
    assert!(!is_up(&world, a, b));
    // Whom the operator has connected by hand is kept, too.
    world.connect(b, a);
    world.control(a, Control::AddPersistent(peer_addr_of(b)));
    world.cut(a, b);
    world.run_for(SECOND / 10);
    assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b)));
    assert_eq!(world.peer(a, b).unwrap().direction(), tmp2p::Direction::Outbound);
    // Added and removed at once, nobody is dialed.
    let dials = world.nodes[a].dials.len();
    world.control(a, Control::AddPersistent(peer_addr_of(7)));
    world.control(a, Control::RemovePersistent(id_of(7)));
    world.run_for(HOUR);
    assert_eq!(world.nodes[a].dials.len(), dials);
    world.stop_all();
}

/// An attempt that is taken back while the loop has it would bring a connection of which the switch
/// knows nothing.
#[test]
fn an_attempt_that_is_under_way_goes_on_when_nobody_keeps_the_peer_any_more() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (
        world.add(Options::with(|c| c.persistent_peers = vec![peer_addr_of(1)])),
        world.add(Options::default()),
    );
    let state = world.states(a).remove(0);
    assert_eq!(state.state, ConnectionState::Reconnecting, "it begins some time later");
    assert!(state.remaining.is_some_and(|left| left > Duration::ZERO), "{state:?}");
    assert!(world.run_until(5 * SECOND, |w| !w.nodes[a].dials.is_empty()));
    assert!(!is_up(&world, a, b));
    let state = world.states(a).remove(0);
    assert_eq!((state.state, state.remaining), (ConnectionState::Dialing, None));
    world.control(a, Control::RemovePersistent(id_of(b)));
    assert_eq!(world.states(a).remove(0).state, ConnectionState::Dialing);
    assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b)));
    world.stop_all();
}

/// The fault: of a node that is listed with two addresses only the last one was ever dialed again.
#[test]
fn a_node_with_two_addresses_is_dialed_at_one_after_the_other() {
    // The dead address takes its time.
    let back = BACK + 9 * SECOND;
    for live_first in [true, false] {
        for seed in seeds(3) {
            let mut world = World::<Null>::new(seed);
            let dead: tmp2p::PeerAddress = format!("{}@10.9.9.9:1", id_of(1)).parse().unwrap();
            let mut list = vec![dead, peer_addr_of(1)];
            if live_first {
                list.reverse();
            }
            let a = world.add(Options::with(|c| c.persistent_peers = list.clone()));
            let b = world.add(Options::default());
            for _ in 0..3 {
                assert!(world.run_until(back, |w| is_up(w, a, b)), "{list:?}");
                world.run_for(HOUR);
                world.take_away(b);
                world.run_for(HOUR);
                assert!(!is_up(&world, a, b));
                let at = |ip: &str| {
                    let is_it =
                        |dial: &&(Mono, std::net::SocketAddr)| dial.1.ip().to_string() == ip;
                    world.nodes[a].dials.iter().filter(is_it).count()
                };
                let (dead, live) = (at("10.9.9.9"), at(&addr_of(b).ip().to_string()));
                assert!(dead.min(live) > 10, "{dead} and {live} dials");
                world.bring_back(b);
            }
            // What the operator says at run time is the address from then on.
            world.control(a, Control::AddPersistent(peer_addr_of(1)));
            assert!(world.run_until(back, |w| is_up(w, a, b)));
            let told = world.nodes[a].dials.len();
            world.take_away(b);
            world.run_for(HOUR);
            let dials = world.nodes[a].dials[told..].iter();
            assert!(dials.into_iter().all(|(_, to)| to.ip() == addr_of(b).ip()));
            world.stop_all();
        }
    }
}

/// A machine without IPv6, and a node that is listed at addresses of both kinds. What keeps the machine
/// from dialing anybody says nothing of an address.
#[test]
fn a_node_where_no_route_leads_is_dialed_at_its_next_address() {
    let far: std::net::SocketAddr = "[fd00::9]:1".parse().unwrap();
    let list = || vec![format!("{}@{far}", id_of(1)).parse().unwrap(), peer_addr_of(1)];
    for has_route in [false, true] {
        let mut world = World::<Null>::new(1);
        match has_route {
            false => _ = world.net.borrow_mut().faults.no_route.insert(far),
            true => _ = world.net.borrow_mut().faults.no_address.insert(far),
        }
        let a = world.add(Options::with(|c| c.persistent_peers = list()));
        let b = world.add(Options::default());
        assert!(world.run_until(10 * SECOND, |w| is_up(w, a, b)), "route {has_route}");
        world.stop_all();
    }
    let mut world = World::<Null>::new(1);
    let a = world.add(Options::with(|c| {
        c.persistent_peers = list();
        c.dial_spread = Duration::ZERO;
    }));
    let b = world.add(Options::default());
    world.net.borrow_mut().faults.out_of_files.insert(world.nodes[a].host);
    for _ in 0..20 {
        world.run_for(3 * SECOND);
        let states = world.states(a);
        let at = states[0].dial_addr.clone();
        assert_eq!(at, Some(list()[0].clone()), "the turn is still the first one's");
    }
    world.net.borrow_mut().faults.out_of_files.clear();
    world.net.borrow_mut().faults.no_route.insert(far);
    assert!(world.run_until(20 * SECOND, |w| is_up(w, a, b)));
    world.stop_all();
}

/// As Go does, and without peer exchange. The fault: after a second and more.
#[test]
fn a_persistent_peer_that_is_lost_after_long_is_dialed_at_once() {
    // How long the session has lasted, and whether the peer has said something.
    for (lasts, speaks, is_at_once) in
        [(11, false, true), (HOUR.as_secs(), true, true), (1, true, false)]
    {
        for seed in seeds(5) {
            let mut world = World::<Null>::new(seed);
            let a = world.add(keeps(1, |_| {}));
            let b = world.add(Options::default());
            assert!(world.run_until(5 * SECOND, |w| is_up(w, a, b) && w.peer(b, a).is_some()));
            if speaks {
                let at_b = world.peer(b, a).unwrap();
                world.send(b, &at_b, 0x20, 100).unwrap();
            }
            world.run_for(lasts as u32 * SECOND);
            let (lost, dials) = (world.now, world.nodes[a].dials.len());
            world.take_away(b);
            world.run_for(30 * SECOND);
            let after: Vec<_> = world.nodes[a].dials[dials..]
                .iter()
                .map(|(at, _)| at.since(lost).as_secs_f64())
                .collect();
            assert_eq!(after[0] < 0.5, is_at_once, "{after:?}");
            // And then with the pauses that there always are.
            let pauses: Vec<_> = after.windows(2).map(|two| two[1] - two[0]).collect();
            for (i, pause) in pauses.iter().enumerate() {
                let least = f64::from(1 << i);
                assert!((least..least * 1.25 + 1.0).contains(pause), "{after:?}");
            }
            world.bring_back(b);
            assert!(world.run_until(BACK, |w| is_up(w, a, b)));
            world.stop_all();
        }
    }
}

/// Whoever has the peer's key and comes in vain does not keep us from dialing it.
#[test]
fn inbound_failures_do_not_postpone_the_next_dial() {
    let mut world = World::<Null>::new(1);
    let id = NodeKey::from_seed([101; 32]).id();
    let nowhere = format!("{id}@10.9.9.9:1");
    let a = world.add(Options::with(|c| c.persistent_peers = vec![nowhere.parse().unwrap()]));
    world.nodes[a].init_log.lock().unwrap().unwelcome.insert((1, id));
    world.run_for(300 * SECOND);
    let since = world.now;
    while world.now.since(since) < 300 * SECOND {
        let mut raw = RawPeer::connect(&mut world, a, 1);
        raw.authenticate(&mut world);
        let info = raw.node_info(&Options::default());
        raw.put(&info);
        raw.flush(&mut world);
        world.run_for(SECOND);
        raw.close();
        world.run_for(SECOND);
    }
    assert!(world.nodes[a].rejections().len() > 100);
    let dials = dials_since(&world, a, since);
    assert!((3..=6).contains(&dials), "{dials} dials in 300 s");
}
