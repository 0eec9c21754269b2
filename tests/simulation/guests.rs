//! Places for peers that dial us: so many per network, and who leaves when there are no more.

use std::{net::IpAddr, time::Duration};

use tmp2p::{
    Config, Direction, DisconnectReason, Limits, NodeId, NodeKey, Room, SwitchEvent,
    internals::protocol::secret::Null, internals::switch::Control,
};

use crate::{
    internet::{SECOND, internet, quiet, seed},
    options::Options,
    raw::RawPeer,
    world::{World, seeds},
};

const NO_ROOM: DisconnectReason = DisconnectReason::Full(Room::Inbound);
const NETWORK_FULL: DisconnectReason = DisconnectReason::Full(Room::Subnet);

/// A node as it is by default.
fn node(change: impl FnOnce(&mut Config)) -> Options {
    Options::with(|config| {
        config.allow_duplicate_ip = false;
        config.exempt_cidrs.clear();
        // Somebody is to come after another at once.
        (config.accept_rate_per_ip, config.accept_rate_per_subnet) = (0, 0);
        config.max_num_inbound_peers = 40;
        change(config);
    })
}

fn raw_id(number: u8) -> NodeId {
    NodeKey::from_seed([100 + number; 32]).id()
}

/// A stranger authenticates from this address and stays, without a message. Why it was not let in.
fn come(
    world: &mut World<Null>,
    to: usize,
    number: u8,
    ip: &str,
) -> Result<RawPeer, DisconnectReason> {
    let before = world.nodes[to].events.len();
    let ip: IpAddr = ip.parse().unwrap();
    let mut raw = RawPeer::connect_from(world, to, number, ip);
    raw.authenticate(world);
    let info = raw.node_info(&Options::default());
    raw.put(&info);
    raw.flush(world);
    world.run_for(SECOND / 4);
    let id = raw.id();
    let why = world.nodes[to].events[before..].iter().find_map(|event| match event {
        SwitchEvent::Rejected { id: Some(who), reason, .. } if *who == id => Some(reason.clone()),
        _ => None,
    });
    why.map_or(Ok(raw), Err)
}

/// Who has left, and why.
fn left(world: &World<Null>, at: usize) -> Vec<(NodeId, DisconnectReason)> {
    let down = |event: &SwitchEvent| match event {
        SwitchEvent::Disconnected { id, reason, .. } => Some((*id, reason.clone())),
        _ => None,
    };
    world.nodes[at].events.iter().filter_map(down).collect()
}

/// The fault: 40 sessions from one /64 were all that a node had.
#[test]
fn one_network_cannot_fill_a_node() {
    let mut world = World::<Null>::new(1);
    let b = world.add(node(|_| {}));
    let mut held = Vec::new();
    for number in 0..40 {
        held.extend(come(&mut world, b, number, &format!("2001:470:1:1::{number:x}")));
    }
    assert_eq!(held.len(), 4);
    assert!(come(&mut world, b, 50, "2001:470:1:2::1").is_ok(), "another /64 of the /48");
    for number in 51..60 {
        held.extend(come(&mut world, b, number, &format!("2001:470:1:{number}::1")));
    }
    assert_eq!(held.len(), 4 + 3, "eight of a /48");
    for number in 61..70 {
        held.extend(come(&mut world, b, number, &format!("11.0.1.{number}")));
    }
    assert_eq!(held.len(), 4 + 3 + 4, "four of a /24");
    assert_eq!(come(&mut world, b, 70, "::ffff:11.0.1.99").err(), Some(NETWORK_FULL));
    assert!(come(&mut world, b, 71, "11.0.2.1").is_ok());
    // Who has gone leaves its place.
    let mut gone = held.pop().unwrap();
    gone.close();
    world.run_for(SECOND);
    assert!(come(&mut world, b, 72, "11.0.1.72").is_ok());
    assert_eq!(come(&mut world, b, 73, "11.0.1.73").err(), Some(NETWORK_FULL));
}

#[test]
fn private_exempt_and_reserved_addresses_and_shared_ones_are_not_counted_by_network() {
    let mut world = World::<Null>::new(1);
    let b = world.add(node(|c| {
        c.exempt_cidrs = vec!["12.0.0.0/8".parse().unwrap()];
        c.unconditional_peer_ids = (20..25).map(raw_id).collect();
    }));
    for number in 0..10 {
        for (from, ip) in [(0, "10.7.7."), (10, "12.0.0."), (40, "100.64.7.")] {
            let ip = format!("{ip}{}", number + 1);
            assert!(come(&mut world, b, from + number, &ip).is_ok(), "{ip}");
        }
    }
    for number in 20..29 {
        let ip = format!("11.0.0.{number}");
        assert!(come(&mut world, b, number, &ip).is_ok(), "five reserved ones and four others");
    }
    assert_eq!(come(&mut world, b, 29, "11.0.0.29").err(), Some(NETWORK_FULL));
    // Who becomes reserved is counted no more.
    world.control(b, Control::AddUnconditional(raw_id(28)));
    assert!(come(&mut world, b, 29, "11.0.0.29").is_ok());
    for change in [(|c: &mut Config| c.allow_duplicate_ip = true) as fn(&mut Config), |c| {
        c.max_inbound_per_subnet = 0
    }] {
        let b = world.add(node(change));
        for number in 0..20 {
            let last =
                if world.nodes[b].options.config.allow_duplicate_ip { 1 } else { number + 1 };
            assert!(come(&mut world, b, number, &format!("11.0.0.{last}")).is_ok());
        }
    }
}

/// The fault: who had the places kept them, whoever it was and whatever it did.
#[test]
fn a_full_node_gives_a_silent_guests_place_to_another_network() {
    for seed in seeds(3) {
        let mut world = World::<Null>::new(seed);
        let b = world.add(node(|c| {
            c.max_num_inbound_peers = 4;
            c.unconditional_peer_ids = vec![raw_id(9)];
        }));
        world.nodes[b].reactors[0].is_foreign = true;
        let mut guests: Vec<RawPeer> = (0..4)
            .map(|n| come(&mut world, b, n, &format!("11.0.{n}.1")).expect("there is room"))
            .collect();
        assert!(come(&mut world, b, 9, "11.0.9.1").is_ok(), "it has a place of its own");
        // Everybody has a minute.
        world.run_for(50 * SECOND);
        assert_eq!(come(&mut world, b, 10, "12.0.0.1").err(), Some(NO_ROOM));
        guests[3].put_messages(0x20, 1, 100);
        guests[3].flush(&mut world);
        world.run_for(15 * SECOND);
        assert_eq!(come(&mut world, b, 11, "11.0.11.1").err(), Some(NO_ROOM), "of that network");
        world.run_for(SECOND);
        assert_eq!(come(&mut world, b, 11, "10.0.11.1").err(), Some(NO_ROOM), "of no network");
        world.run_for(SECOND);
        let newcomer = come(&mut world, b, 10, "12.0.0.1");
        assert!(newcomer.is_ok(), "{:?}", newcomer.err());
        assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 4);
        // It does not close its side.
        world.run_for(6 * SECOND);
        // Of those three that have said nothing the first one stays, as the oldest.
        assert_eq!(left(&world, b), [(raw_id(2), DisconnectReason::Replaced)]);
        assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 4);
        assert_eq!(world.nodes[b].sessions.len(), 5);
        let id = raw_id(1);
        assert!(come(&mut world, b, 12, "13.0.0.1").is_ok());
        assert_eq!(come(&mut world, b, 13, "14.0.0.1").err(), Some(NO_ROOM), "the last ones stay");
        world.run_for(6 * SECOND);
        assert_eq!(left(&world, b).last(), Some(&(id, DisconnectReason::Replaced)));
    }
}

/// The fault: where there were more guests than there may be any more, each that was replaced was one
/// more for good, and the limit was never reached.
#[test]
fn nobody_replaces_a_guest_of_whom_there_are_too_many() {
    for is_lowered in [true, false] {
        let mut world = World::<Null>::new(1);
        let b = world.add(node(|c| {
            c.max_num_inbound_peers = if is_lowered { 4 } else { 3 };
            c.unconditional_peer_ids = if is_lowered { Vec::new() } else { vec![raw_id(0)] };
        }));
        let mut guests: Vec<RawPeer> = (0..4)
            .map(|n| come(&mut world, b, n, &format!("11.0.{n}.1")).expect("there is room"))
            .collect();
        world.run_for(62 * SECOND);
        world.control(
            b,
            match is_lowered {
                true => Control::SetLimits(Limits {
                    max_num_inbound_peers: 3,
                    max_num_outbound_peers: 0,
                }),
                false => Control::RemoveUnconditional(raw_id(0)),
            },
        );
        assert_eq!(come(&mut world, b, 10, "12.0.0.1").err(), Some(NO_ROOM));
        assert_eq!(left(&world, b), [], "nobody goes for it");
        guests[0].close();
        world.run_for(SECOND);
        assert!(come(&mut world, b, 10, "12.0.0.1").is_ok(), "three are as many as there may be");
        world.run_for(6 * SECOND);
        assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 3);
    }
}

/// How fast an attacker can exchange guests is bounded, and what it takes to weigh them.
#[test]
fn of_those_who_come_at_once_one_replaces_a_guest() {
    let mut world = World::<Null>::new(1);
    let b = world.add(node(|c| c.max_num_inbound_peers = 30));
    let _guests: Vec<RawPeer> = (0..30)
        .map(|n| come(&mut world, b, n, &format!("11.{n}.0.1")).expect("there is room"))
        .collect();
    world.run_for(62 * SECOND);
    let newcomers: Vec<RawPeer> = (40..46)
        .map(|n| {
            let ip = format!("12.{n}.0.1").parse().unwrap();
            let mut raw = RawPeer::connect_from(&mut world, b, n, ip);
            raw.authenticate(&mut world);
            raw
        })
        .collect();
    let ups = |world: &World<Null>| world.nodes[b].ups_and_downs().0;
    let before = ups(&world);
    for mut raw in newcomers {
        let info = raw.node_info(&Options::default());
        raw.put(&info);
        raw.flush(&mut world);
    }
    world.run_for(SECOND / 4);
    assert_eq!(ups(&world), before + 1);
    assert!(come(&mut world, b, 50, "12.50.0.1").is_ok(), "a quarter of a second later");
}

/// A filter that does not want the newcomer costs nobody its place.
#[test]
fn nobody_leaves_for_somebody_whom_a_filter_refuses() {
    for is_wanted in [false, true] {
        let mut world = World::<Null>::new(1);
        let mut options = node(|c| c.max_num_inbound_peers = 2);
        options.filter_peers = true;
        let b = world.add(options);
        let decide = |world: &mut World<Null>, result: Result<(), String>| {
            let (ticket, _) = world.nodes[b].asked.pop().expect("the filter is asked");
            let input = tmp2p::internals::switch::Input::Decided { ticket, result };
            world.nodes[b].inputs.push_back(input);
            world.run_for(6 * SECOND);
        };
        let mut guests = Vec::new();
        for number in 0..2 {
            guests.extend(come(&mut world, b, number, &format!("11.0.{number}.1")));
            decide(&mut world, Ok(()));
        }
        world.run_for(62 * SECOND);
        let _newcomer = come(&mut world, b, 3, "12.0.0.1").expect("undecided");
        assert_eq!(left(&world, b), []);
        let no = || Err("no".to_owned());
        decide(&mut world, if is_wanted { Ok(()) } else { no() });
        let expected =
            if is_wanted { vec![(raw_id(1), DisconnectReason::Replaced)] } else { vec![] };
        assert_eq!(left(&world, b), expected);
        let ups = world.nodes[b].ups_and_downs().0;
        assert_eq!(ups, 2 + usize::from(is_wanted));
    }
}

/// The fault: two guests that speak PEX and never ask held a seed of two places for 28 h.
#[test]
fn a_full_seed_ends_the_guest_that_was_silent_longest() {
    for of_world in seeds(5) {
        let mut world = internet(of_world);
        let seed = world.join(Config { max_num_inbound_peers: 2, ..seed() });
        let at = world.net_addr(seed);
        let mut guests = Vec::new();
        for _ in 0..2 {
            let guest = world.join(quiet());
            world.mute(guest);
            world.dial(guest, seed);
            world.run_for(10 * SECOND);
            guests.push(world.nodes[guest].id);
        }
        assert_eq!(world.num_peers(seed), 2);
        let honest = world.join(Config { seeds: vec![at.into()], ..Config::default() });
        let id = world.nodes[honest].id;
        world.run_for(20 * SECOND);
        let is_served =
            |world: &World<Null>| world.nodes[seed].pex.sent.iter().any(|(_, to, _)| *to == id);
        assert!(!is_served(&world), "nobody is ended before a minute");
        let limit = Duration::from_secs(120);
        assert!(world.wait(limit, is_served), "a seed is held by who does not ask");
        // Who left for it may not have hung up yet.
        world.run_for(SECOND);
        let replaced =
            left(&world, seed).into_iter().filter(|(_, why)| *why == DisconnectReason::Replaced);
        assert_eq!(replaced.map(|(id, _)| id).collect::<Vec<_>>(), guests[..1], "the first one");
    }
}
