//! Crowds at the door: whatever strangers do before they are peers, others get in, and what it
//! costs us is bounded.

use std::{net::IpAddr, time::Duration};

use tmp2p::{
    Config, NodeKey, SwitchEvent, internals::event_loop::Sockets, internals::protocol::secret::Null,
};

use crate::{
    options::Options,
    pending::{is_up_within, lone, rejected, silent, strict},
    raw::RawPeer,
    reactor::Mode,
    sockets::SimSockets,
    world::{Actor, World},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// Somebody who authenticates, from a network of its own.
fn authenticated(world: &mut World<Null>, to: usize, number: u8) -> RawPeer {
    let mut raw = RawPeer::connect_from(world, to, number, lone(number.into()));
    raw.authenticate(world);
    raw
}

/// The same, and the node hears all that it wants to hear.
fn established(world: &mut World<Null>, to: usize, number: u8) -> RawPeer {
    let mut raw = authenticated(world, to, number);
    say_who(world, &mut raw);
    raw
}

fn say_who(world: &mut World<Null>, raw: &mut RawPeer) {
    let info = raw.node_info(&Options::default());
    raw.put(&info);
    raw.flush(world);
}

/// Who hears that a place is taken from it, and who was rejected without being named.
fn all_rejected(world: &World<Null>, node: usize) -> u64 {
    let others = |event: &SwitchEvent| match event {
        SwitchEvent::Rejected { others, .. } => 1 + others,
        _ => 0,
    };
    world.nodes[node].events.iter().map(others).sum()
}

/// The fault: who had authenticated itself held its place for 20 s, and everybody else went first.
#[test]
fn strangers_who_authenticate_and_stay_silent_keep_nobody_out() {
    for places in [3, 8] {
        let mut world = World::<Null>::new(1);
        let b = world.add(strict(|c| {
            (c.max_pending_per_ip, c.max_pending_per_subnet) = (1, 1);
            c.max_pending_handshakes = places;
        }));
        let honest = world.add(Options::default());
        let crowd: Vec<_> = (0..12).map(|n| authenticated(&mut world, b, n)).collect();
        world.run_for(SECOND / 10);
        assert_eq!(world.nodes[b].core.num_pending(), places);
        assert_eq!(rejected(&world, b), vec!["evicted"; 12 - places]);
        assert!(is_up_within(&mut world, SECOND, honest, b), "{:?}", world.nodes[b].events.last());
        // Three seconds are enough to say who one is.
        world.run_for(3 * SECOND);
        assert_eq!(world.nodes[b].core.num_pending(), 0);
        let last = authenticated(&mut world, b, 50);
        world.run_for(SECOND * 29 / 10);
        assert_eq!(world.nodes[b].core.num_pending(), 1);
        world.run_for(SECOND / 5);
        assert_eq!(world.nodes[b].core.num_pending(), 0);
        assert_eq!(rejected(&world, b).last(), Some(&"handshake_timeout"));
        drop((crowd, last));
        world.stop_all();
    }
}

/// The fault: strangers took all places.
#[test]
fn room_is_kept_for_configured_addresses_of_persistent_peers_and_exempt_ones() {
    for is_exempt in [false, true] {
        let mut world = World::<Null>::new(1);
        // The next node is a friend; its name resolves to an address that is dead and to its own.
        let friend: tmp2p::PeerAddress = if is_exempt {
            crate::node::peer_addr_of(7)
        } else {
            format!("{}@node1.example:26656", crate::node::id_of(1)).parse().unwrap()
        };
        let b = world.add(strict(|c| {
            c.max_pending_handshakes = 4;
            (c.max_pending_per_ip, c.max_pending_per_subnet) = (1, 1);
            c.persistent_peers = vec![friend];
            c.dial_spread = Duration::ZERO;
            if is_exempt {
                c.exempt_cidrs = vec!["10.0.0.2/32".parse().unwrap()];
            }
        }));
        // Its name is resolved, and nobody is there yet. From now on it has to come to us.
        world.run_for(SECOND);
        world.hold(Actor::Resolver(b), 1000 * SECOND);
        let guest = world.add(Options::default());
        world.hold(Actor::Switch(b), SECOND);
        // Four that wait for the switch: nobody goes after these, but for whom room is kept.
        let crowd: Vec<_> = (0..4).map(|n| established(&mut world, b, n)).collect();
        world.run_for(MILLI);
        assert_eq!(world.nodes[b].core.num_pending(), 4);
        let late = silent(&mut world, b, lone(77));
        world.run_for(MILLI * 10);
        world.dial(guest, b);
        world.run_for(MILLI * 10);
        assert!(world.nodes[b].core.num_pending() <= 4);
        world.release(Actor::Switch(b));
        let id = world.nodes[guest].id;
        assert!(world.run_until(SECOND, |w| w.nodes[b].peer(0, id).is_some()), "{is_exempt}");
        world.release(Actor::Resolver(b));
        drop((crowd, late));
        world.stop_all();
    }
}

/// A thousand addresses of a hundred networks, each connecting ten times a second.
struct Crowd(Vec<(SimSockets, u32)>);

impl Crowd {
    fn new(world: &World<Null>) -> Self {
        let ip = |n: usize| IpAddr::from([11, 0, (n % 100) as u8, (n / 100) as u8]);
        Self((0..1000).map(|n| (SimSockets::new(world.net.clone(), ip(n)), 0)).collect())
    }

    /// For so many milliseconds.
    fn knock(&mut self, world: &mut World<Null>, at: usize, millis: usize) {
        let addr = world.nodes[at].addr;
        for ms in 0..millis {
            for n in 0..10 {
                let (sockets, slot) = &mut self.0[(ms * 10 + n) * 7 % 1000];
                if *slot >= 5 {
                    sockets.close(*slot - 5);
                }
                sockets.connect(*slot, addr).unwrap();
                *slot += 1;
            }
            world.run_for(MILLI);
        }
    }
}

/// The fault: one bucket of four handshakes a second decided who might still prove to be reserved.
#[test]
fn a_full_node_under_attack_lets_reserved_nodes_in() {
    let mut world = World::<Null>::new(1);
    let known = crate::node::peer_addr_of(1);
    let b = world.add(strict(|c| {
        c.max_num_inbound_peers = 1;
        c.persistent_peers = vec![known];
        // We do not dial it: it is to come to us.
        c.dial_spread = Duration::from_secs(3000);
        c.unconditional_peer_ids = vec![crate::node::id_of(2)];
    }));
    let persistent = world.add(Options::default());
    // Nothing is known of where this one is: it keeps trying.
    let ours = crate::node::peer_addr_of(b);
    let unconditional = world.add(Options::with(|c| {
        c.persistent_peers = vec![ours];
        c.dial_spread = Duration::ZERO;
    }));
    world.hold(Actor::Switch(unconditional), 100 * SECOND);
    let guest = world.add(Options::default());
    world.connect(guest, b);
    let mut crowd = Crowd::new(&world);
    crowd.knock(&mut world, b, 500);
    world.dial(persistent, b);
    crowd.knock(&mut world, b, 100);
    let id = world.nodes[persistent].id;
    assert!(world.nodes[b].peer(0, id).is_some(), "the first try of a known address");
    world.release(Actor::Switch(unconditional));
    let id = world.nodes[unconditional].id;
    for second in 0.. {
        assert!(second < 60, "a minute is over");
        if world.nodes[b].peer(0, id).is_some() {
            break;
        }
        crowd.knock(&mut world, b, 1000);
    }
    assert!(world.nodes[b].core.num_pending() <= 1024);
}

/// The fault: all that a stranger had sent was read and opened in one turn of the loop.
#[test]
fn a_handshake_is_read_in_small_bites_and_a_node_info_in_crumbs_is_refused() {
    // One byte in a frame, and as many empty ones between as may be.
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|_| {}));
    let mut raw = authenticated(&mut world, b, 1);
    // The largest there may be, and that is all that can be known before it is complete.
    let info = [&[0x80, 0x50][..], &[0; 10_240]].concat();
    world.hold(Actor::Loop(b), SECOND);
    for byte in &info {
        raw.put(&[*byte]);
    }
    let sock = {
        let (host, net) = (world.nodes[b].host, world.net.borrow());
        (0..net.socks.len()).rev().find(|s| net.socks[*s].host == host).expect("its connection")
    };
    for _ in 0..50 {
        raw.write();
        world.run_for(MILLI);
    }
    assert!(world.net.borrow().socks[sock].num_arrived() > 20_000, "enough for several turns");
    let read = |w: &World<Null>| w.net.borrow().socks[sock].read;
    let (mut before, mut turns) = (read(&world), world.nodes[b].turns);
    let began = before;
    world.release(Actor::Loop(b));
    loop {
        let so_far = turns;
        if !world.run_until(SECOND, |w| w.nodes[b].turns > so_far) {
            break;
        }
        let (now, taken) = (read(&world), world.nodes[b].turns - turns);
        assert!(now - before <= taken * 4096, "{} bytes in {taken} turns", now - before);
        (before, turns) = (now, world.nodes[b].turns);
        raw.write();
    }
    assert_eq!(rejected(&world, b), ["protocol"]);
    assert!(read(&world) - began <= 257 * 1044 + 4096, "{} bytes", read(&world) - began);
    let seen = format!("{:?}", world.nodes[b].events);
    assert!(seen.contains("NodeInfoFrames"), "{seen}");
    world.stop_all();
}

#[test]
fn a_large_node_info_in_small_frames_is_taken() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|_| {}));
    let mut raw = authenticated(&mut world, b, 1);
    let info = raw.node_info(&Options::default());
    // As many frames as may be, for a NodeInfo that is not the largest.
    for piece in info.chunks(info.len().div_ceil(250)) {
        raw.put(piece);
    }
    raw.flush(&mut world);
    world.run_for(SECOND);
    assert!(world.nodes[b].peer(0, raw.id()).is_some(), "{:?}", world.nodes[b].events);
    world.stop_all();
}

/// The fault: who waited for the switch counted nowhere and waited for ever.
#[test]
fn connections_that_wait_for_the_switch_keep_their_places_and_have_a_deadline() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|c| {
        c.max_pending_handshakes = 10;
        (c.max_pending_per_ip, c.max_pending_per_subnet) = (2, 2);
    }));
    let honest = world.add(Options::default());
    world.hold(Actor::Switch(b), 1000 * SECOND);
    let mut crowd: Vec<_> = (0..10).map(|n| established(&mut world, b, n)).collect();
    world.run_for(SECOND);
    assert_eq!((world.nodes[b].core.num_pending(), world.nodes[b].established), (10, 10));
    // Nobody pushes out who has come furthest.
    let late: Vec<_> = (20..40).map(|n| silent(&mut world, b, lone(n))).collect();
    world.run_for(SECOND);
    assert_eq!(world.nodes[b].core.num_connections(), 10);
    // Nor do they wait for ever: 20 s + 10 s + 5 s + 5 s.
    world.run_for(36 * SECOND);
    assert_eq!(world.nodes[b].core.num_connections(), 10);
    world.run_for(3 * SECOND);
    assert_eq!(world.nodes[b].core.num_connections(), 0);
    crowd[0].pull();
    assert!(crowd[0].end.is_some());
    world.release(Actor::Switch(b));
    assert!(is_up_within(&mut world, SECOND, honest, b));
    drop(late);
    world.stop_all();
}

/// The fault: a switch that was held up found a verdict to give for each that had come meanwhile.
#[test]
fn no_handshake_begins_while_the_switch_is_behind_and_who_has_gone_is_not_asked_about() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|c| c.max_pending_handshakes = 1000));
    world.hold(Actor::Switch(b), 1000 * SECOND);
    let mut crowd: Vec<_> = (0..80).map(|n| authenticated(&mut world, b, n)).collect();
    for raw in &mut crowd {
        say_who(&mut world, raw);
        world.run_for(MILLI);
    }
    world.run_for(SECOND / 10);
    assert_eq!(world.nodes[b].core.num_pending(), 80);
    assert_eq!(world.nodes[b].established, 64, "the others wait until it has looked at these");
    let mut late = RawPeer::connect_from(&mut world, b, 99, lone(99));
    late.out = vec![34, 10, 32];
    late.flush(&mut world);
    world.run_for(SECOND / 10);
    let (mut quiet, turns) = (silent(&mut world, b, lone(98)), world.nodes[b].turns);
    world.run_for(SECOND);
    assert!(world.nodes[b].turns - turns < 20, "nothing to do, and turns were taken");
    assert!(quiet.read(0, &mut [0; 100]).is_err(), "no key for this one");
    let mut rest = crowd.split_off(64);
    rest.iter_mut().for_each(RawPeer::close);
    world.run_for(SECOND / 10);
    assert_eq!(world.nodes[b].core.num_pending(), 66);
    world.release(Actor::Switch(b));
    world.run_for(SECOND);
    assert_eq!((world.nodes[b].established, world.nodes[b].ups_and_downs().0), (64, 64));
    assert_eq!(quiet.read(0, &mut [0; 100]).unwrap(), 35);
    world.stop_all();
}

/// The fault: a report for each connection that came and went, however long the switch was away.
#[test]
fn reports_are_bounded_while_the_switch_takes_none() {
    for filter_connections in [false, true] {
        let mut world = World::<Null>::new(1);
        let options = strict(|c| c.max_pending_handshakes = 100);
        let b = world.add(Options { filter_connections, ..options });
        let honest = world.add(Options::default());
        world.run_for(SECOND);
        world.hold(Actor::Switch(b), 1000 * SECOND);
        let crowd: Vec<_> = (0..3000)
            .map(|n| {
                if n % 20 == 0 {
                    world.run_for(MILLI);
                }
                silent(&mut world, b, lone(n))
            })
            .collect();
        world.run_for(SECOND);
        let waiting = world.nodes[b].inputs.len();
        assert!((1000..1100).contains(&waiting), "{waiting} reports");
        world.release(Actor::Switch(b));
        world.run_for(SECOND);
        drop(crowd);
        let late: Vec<_> = (5000..5200).map(|n| silent(&mut world, b, lone(n))).collect();
        world.run_for(30 * SECOND);
        let pending = world.nodes[b].core.num_pending() as u64;
        assert_eq!(all_rejected(&world, b) + pending, 3200, "each is counted");
        if !filter_connections {
            assert!(is_up_within(&mut world, SECOND, honest, b));
        }
        drop(late);
        world.stop_all();
    }
}

/// The fault: each further connection of a node about which a filter had not decided took a place.
#[test]
fn a_node_has_one_place_while_the_filters_decide() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options { filter_peers: true, ..strict(|c| c.max_num_inbound_peers = 3) });
    let mut first = RawPeer::connect_from(&mut world, b, 1, lone(1));
    first.authenticate(&mut world);
    say_who(&mut world, &mut first);
    world.run_for(SECOND / 10);
    for place in 2..5 {
        let mut again = RawPeer::connect_from(&mut world, b, 1, lone(place));
        again.authenticate(&mut world);
        say_who(&mut world, &mut again);
        world.run_for(SECOND / 10);
    }
    assert_eq!(world.nodes[b].asked.len(), 1, "asked once");
    assert_eq!(rejected(&world, b), ["duplicate_id"; 3]);
    let seen = format!("{:?}", world.nodes[b].events);
    assert!(seen.contains("Undecided"), "{seen}");
    let (ticket, _) = world.nodes[b].asked.pop().unwrap();
    let decided = tmp2p::internals::switch::Input::Decided { ticket, result: Ok(()) };
    world.nodes[b].inputs.push_back(decided);
    world.run_for(SECOND);
    assert!(world.nodes[b].peer(0, first.id()).is_some());
    world.stop_all();
}

/// Two nodes that dial each other at once and let filters decide end with one connection.
#[test]
fn crossed_dials_end_in_one_session_whatever_the_filters_take() {
    for seed in crate::world::seeds(40) {
        let mut world = World::<Null>::new(seed);
        let options = Options { filter_peers: true, ..Options::default() };
        let (a, b) = (world.add(options.clone()), world.add(options));
        world.dial(a, b);
        world.dial(b, a);
        for _ in 0..60 {
            world.run_for(SECOND / 20);
            for node in [a, b] {
                if world.dice.one_in(3) {
                    for (ticket, _) in std::mem::take(&mut world.nodes[node].asked) {
                        let result = Ok(());
                        let decided = tmp2p::internals::switch::Input::Decided { ticket, result };
                        world.nodes[node].inputs.push_back(decided);
                    }
                }
            }
        }
        world.run_for(10 * SECOND);
        let both = (world.peer(a, b).is_some(), world.peer(b, a).is_some());
        assert_eq!(both, (true, true), "seed {seed}: {:?}", world.nodes[a].events);
        world.stop_all();
    }
}

/// The fault: strangers who came and went while a reactor did not read kept reserved nodes out.
#[test]
fn reserved_nodes_pass_while_a_reactor_is_behind_up_to_twice_the_mark() {
    let mut world = World::<Null>::new(1);
    let key = |number: u8| NodeKey::from_seed([100 + number; 32]).id();
    let b = world.add(Options::with(|c| {
        (c.max_num_inbound_peers, c.max_num_outbound_peers) = (2, 0);
        c.unconditional_peer_ids = vec![key(50)];
    }));
    world.set_mode(b, 1, Mode::Stuck);
    let visit = |world: &mut World<Null>, number: u8| {
        let mut raw = RawPeer::connect(world, b, number);
        raw.authenticate(world);
        say_who(world, &mut raw);
        world.run_for(SECOND / 2);
        let is_up = world.nodes[b].peer(0, key(number)).is_some();
        raw.close();
        world.run_for(SECOND / 2);
        is_up
    };
    let most = world.nodes[b].switch.max_unread_sessions();
    assert_eq!(most, 8);
    assert_eq!((0..20).filter(|n| visit(&mut world, *n)).count(), most + 1);
    assert_eq!((0..20).filter(|_| visit(&mut world, 50)).count(), most, "up to twice the mark");
    assert!(!visit(&mut world, 1));
    world.set_mode(b, 1, Mode::Reads);
    world.run_for(SECOND);
    assert!(visit(&mut world, 1) && visit(&mut world, 50));
    world.stop_all();
}

/// The fault: one address that came and went filled the inbox of a slow reactor in ten seconds.
#[test]
fn sessions_of_an_address_come_at_a_pace() {
    let mut world = World::<Null>::new(1);
    let few = |c: &mut Config| {
        c.allow_duplicate_ip = false;
        c.accept_rate_per_ip = 0;
        c.unconditional_peer_ids = vec![NodeKey::from_seed([150; 32]).id()];
    };
    let b = world.add(strict(few));
    let visit = |world: &mut World<Null>, number: u8, ip: IpAddr| {
        let ups = world.nodes[b].ups_and_downs().0;
        let mut raw = RawPeer::connect_from(world, b, number, ip);
        raw.authenticate(world);
        say_who(world, &mut raw);
        world.run_for(SECOND / 20);
        raw.close();
        world.run_for(SECOND / 20);
        world.nodes[b].ups_and_downs().0 - ups
    };
    let ups: usize = (0..50).map(|n| visit(&mut world, n, lone(1))).sum();
    assert!((10..=12).contains(&ups), "{ups} in five seconds");
    assert_eq!(rejected(&world, b), vec!["full"; 50 - ups]);
    assert_eq!(visit(&mut world, 1, lone(2)), 1, "another address has its own");
    assert_eq!(visit(&mut world, 50, lone(1)), 1, "reserved nodes have none");
    world.run_for(6 * SECOND);
    assert_eq!(visit(&mut world, 1, lone(1)), 1, "a node that dials every few seconds gets in");
    world.stop_all();
}

/// Where descriptors are short, pending connections give way to sessions and dials.
#[test]
fn pending_connections_leave_descriptors_to_sessions_and_dials() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options { descriptors: 40, ..strict(|_| {}) });
    let mut crowd = Vec::new();
    for n in 0..200 {
        crowd.push(silent(&mut world, b, lone(n)));
        world.run_for(MILLI);
        assert!(world.nodes[b].num_sockets() <= 30);
    }
    assert_eq!(world.nodes[b].core.num_pending(), 20, "half of them");
    let others: Vec<_> = (0..15).map(|_| world.add(Options::default())).collect();
    for other in &others {
        world.connect(b, *other);
        assert!(world.nodes[b].num_sockets() <= 30);
    }
    assert_eq!(world.nodes[b].core.num_pending(), 15, "three quarters are for all together");
    world.stop_all();
}
