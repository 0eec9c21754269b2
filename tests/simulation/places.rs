//! Who gets one of the limited places, and who has a place of their own.

use std::{net::IpAddr, time::Duration};

use tmp2p::{
    Direction, DisconnectReason, Limits, PeerAddress, Purpose, Room, SwitchEvent,
    internals::drive::Core,
    internals::protocol::secret::Null,
    internals::switch::{Control, ControlError, Origin},
};

use crate::{
    node::{addr_of, id_of, peer_addr_of},
    options::Options,
    raw::RawPeer,
    world::{World, seeds},
};

const DISCOVERY: Origin =
    Origin::Discovery { purpose: Purpose::Peers, failures: 0, is_limited: true };

const SECOND: Duration = Duration::from_secs(1);

fn ip(last: u8) -> IpAddr {
    [11, 0, last, 1].into()
}

/// Comes from this address with a whole handshake; `None` if it was let in, or else why not.
fn come(world: &mut World<Null>, to: usize, number: u8, ip: IpAddr) -> Option<DisconnectReason> {
    let before = world.nodes[to].events.len();
    let mut raw = RawPeer::connect_from(world, to, number, ip);
    raw.authenticate(world);
    let info = raw.node_info(&Options::default());
    raw.put(&info);
    raw.flush(world);
    world.run_for(SECOND);
    let id = raw.id();
    world.nodes[to].events[before..].iter().find_map(|event| match event {
        SwitchEvent::Rejected { id: Some(who), reason, .. } if *who == id => Some(reason.clone()),
        _ => None,
    })
}

fn raw_id(number: u8) -> tmp2p::NodeId {
    tmp2p::NodeKey::from_seed([100 + number; 32]).id()
}

const FULL: Option<DisconnectReason> = Some(DisconnectReason::Full(Room::Inbound));

/// The fault: a validator was locked out by its own sentry, whose places strangers had taken.
#[test]
fn inbound_slots_taken_by_anyone() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let b = world.add(Options::with(|c| {
            c.max_num_inbound_peers = 2;
            c.allow_duplicate_ip = false;
            c.unconditional_peer_ids = vec![raw_id(3)];
            let nowhere = format!("{}@10.9.9.9:1", raw_id(4));
            c.persistent_peers = vec![nowhere.parse().unwrap()];
        }));
        assert_eq!(come(&mut world, b, 1, ip(1)), None);
        assert_eq!(come(&mut world, b, 2, ip(2)), None);
        assert_eq!(come(&mut world, b, 5, ip(5)), FULL);
        // They have places of their own, and the address of somebody else is no matter.
        assert_eq!(come(&mut world, b, 3, ip(1)), None);
        assert_eq!(come(&mut world, b, 4, ip(2)), None);
        assert_eq!(come(&mut world, b, 6, ip(6)), FULL);
        assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 2);
        assert_eq!(world.nodes[b].ups_and_downs(), (4, 0));
    }
}

#[test]
fn several_peers_with_one_address() {
    let mut world = World::<Null>::new(1);
    let none = world.add(Options::with(|c| c.allow_duplicate_ip = false));
    let some = world.add(Options::with(|c| {
        (c.max_peers_per_ip, c.exempt_cidrs) = (2, vec!["11.0.9.0/24".parse().unwrap()]);
    }));
    let all = world.add(Options::default());
    let taken = Some(DisconnectReason::DuplicateIp(ip(1)));
    assert_eq!(come(&mut world, none, 1, ip(1)), None);
    assert_eq!(come(&mut world, none, 2, ip(1)), taken);
    assert_eq!(come(&mut world, none, 3, "::ffff:11.0.1.1".parse().unwrap()), taken);
    assert_eq!(come(&mut world, none, 4, ip(2)), None);
    let full = Some(DisconnectReason::Full(Room::Ip));
    for (number, expected) in [(1, None), (2, None), (3, full.clone()), (4, full)] {
        assert_eq!(come(&mut world, some, number, ip(1)), expected);
    }
    for number in 5..10 {
        assert_eq!(come(&mut world, some, number, ip(9)), None, "an exempt address");
        assert_eq!(come(&mut world, all, number, ip(1)), None, "no limit");
    }
    // It is not dialed either while somebody with its address is connected.
    let dialer = world.add(Options::with(|c| c.allow_duplicate_ip = false));
    let near = addr_of(all).ip();
    assert_eq!(come(&mut world, dialer, 1, near), None);
    let ticket = world.dial(dialer, all);
    world.run_for(SECOND);
    assert_eq!(world.answer(dialer, ticket), "duplicate_ip");
    assert_eq!(world.nodes[dialer].dials, []);
    world.control(dialer, Control::AddUnconditional(world.nodes[all].id));
    let ticket = world.dial(dialer, all);
    world.run_for(SECOND);
    assert_eq!(world.answer(dialer, ticket), "up");
}

#[test]
fn limits_and_reserved_places_change_at_run_time() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| c.max_num_inbound_peers = 1));
    let limits = |inbound| Limits { max_num_inbound_peers: inbound, max_num_outbound_peers: 10 };
    assert_eq!(come(&mut world, b, 1, ip(1)), None);
    assert_eq!(come(&mut world, b, 2, ip(2)), FULL);
    world.control(b, Control::SetLimits(limits(2)));
    assert_eq!(come(&mut world, b, 2, ip(2)), None);
    world.control(b, Control::SetLimits(limits(0)));
    assert_eq!(world.nodes[b].ups_and_downs(), (2, 0), "nobody is disconnected for a limit");
    assert_eq!(come(&mut world, b, 3, ip(3)), FULL);
    // Who becomes reserved leaves its place to another.
    world.control(b, Control::SetLimits(limits(2)));
    assert_eq!(come(&mut world, b, 3, ip(3)), FULL);
    world.control(b, Control::AddUnconditional(raw_id(1)));
    assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 1);
    assert_eq!(come(&mut world, b, 3, ip(3)), None);
    let nowhere = format!("{}@10.9.9.9:1", raw_id(2)).parse().unwrap();
    world.control(b, Control::AddPersistent(nowhere));
    assert_eq!(come(&mut world, b, 4, ip(4)), None);
    // And who is not any more takes one.
    world.control(b, Control::RemovePersistent(raw_id(2)));
    assert_eq!(world.nodes[b].switch.num_limited(Direction::Inbound), 3);
    assert_eq!(come(&mut world, b, 5, ip(5)), FULL);
    let unknown = world.try_control(b, Control::RemovePersistent(raw_id(2)));
    assert!(matches!(unknown, Err(ControlError::UnknownPeer(_))));
    let own = world.try_control(b, Control::AddPersistent(peer_addr_of(b)));
    assert!(matches!(own, Err(ControlError::OwnId(_))));
}

#[test]
fn discovery_dials_up_to_the_outbound_limit_and_operators_beyond() {
    let mut world = World::<Null>::new(1);
    let a = world.add(Options::with(|c| {
        c.max_num_outbound_peers = 2;
        c.unconditional_peer_ids = vec![id_of(4)];
    }));
    let others: Vec<usize> = (1..=6).map(|_| world.add(Options::default())).collect();
    let dial = |world: &mut World<Null>, to: usize, origin| {
        let ticket = world.dial_for(a, peer_addr_of(to), origin);
        world.run_for(SECOND);
        world.answer(a, ticket)
    };
    assert_eq!(dial(&mut world, others[0], DISCOVERY), "up");
    assert_eq!(dial(&mut world, others[1], Origin::Operator), "up");
    assert_eq!(dial(&mut world, others[2], DISCOVERY), "full");
    assert_eq!(dial(&mut world, 4, DISCOVERY), "up", "it is reserved");
    assert_eq!(dial(&mut world, others[4], Origin::Operator), "up");
    assert_eq!(world.nodes[a].switch.num_limited(Direction::Outbound), 3);
    // Attempts count as soon as they begin.
    world.control(
        a,
        Control::SetLimits(Limits { max_num_inbound_peers: 1, max_num_outbound_peers: 4 }),
    );
    let first = world.dial_for(a, peer_addr_of(others[2]), DISCOVERY);
    let second = world.dial_for(a, peer_addr_of(others[5]), DISCOVERY);
    world.run_for(SECOND);
    assert_eq!((world.answer(a, first), world.answer(a, second)), ("up", "full"));
    world.stop_all();
}

#[test]
fn a_list_of_peers_is_dialed_over_the_spread() {
    for spread in [0, 3, 30] {
        let mut world = World::<Null>::new(1);
        let a = world.add(Options::with(|c| c.dial_spread = spread * SECOND));
        let nodes: Vec<usize> = (1..=40).map(|_| world.add(Options::default())).collect();
        let mut addrs: Vec<_> = nodes.iter().map(|n| peer_addr_of(*n)).collect();
        addrs.push(peer_addr_of(a));
        addrs.push(peer_addr_of(nodes[0]));
        let began = world.now;
        world.control(a, Control::DialPeers(addrs));
        assert_eq!(world.nodes[a].switch.num_dialing(), 40, "each once, and not itself");
        world.run_for(spread * SECOND + SECOND);
        assert_eq!(world.nodes[a].ups_and_downs(), (40, 0));
        let dials = &world.nodes[a].dials;
        let (first, last) = (dials[0].0.since(began), dials[39].0.since(began));
        assert!(first <= spread * SECOND / 4 && last <= spread * SECOND, "{first:?} {last:?}");
        assert!(last >= spread * SECOND * 3 / 4, "all at once: {last:?}");
    }
}

/// A network that starts at once would else begin with all its nodes at the first of the list.
#[test]
fn a_list_of_peers_is_dialed_in_random_order() {
    let listed: Vec<_> = (1..=20).map(addr_of).collect();
    let orders = [1, 2].map(|seed| {
        let mut world = World::<Null>::new(seed);
        let a = world.add(Options::default());
        listed.iter().for_each(|_| _ = world.add(Options::default()));
        world.control(a, Control::DialPeers((1..=20).map(peer_addr_of).collect()));
        world.run_for(4 * SECOND);
        let order: Vec<_> = world.nodes[a].dials.iter().map(|(_, addr)| *addr).collect();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(sorted, listed, "each once");
        order
    });
    for order in &orders {
        assert_ne!(*order, listed);
        assert!(!order.iter().eq(listed.iter().rev()), "the list from behind");
    }
    assert_ne!(orders[0], orders[1], "the same order every time");
}

#[test]
fn a_list_with_a_name_that_nobody_knows_dials_the_others() {
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let a = world.add(Options::default());
        let (b, c) = (world.add(Options::default()), world.add(Options::default()));
        let named = |number: usize, name: &str| -> PeerAddress {
            format!("{}@{name}:26656", id_of(number)).parse().unwrap()
        };
        world.names.insert("no.example".into(), None);
        let unknown = named(7, "no.example");
        let list = vec![unknown.clone(), peer_addr_of(b), named(c, &format!("node{c}.example"))];
        world.control(a, Control::DialPeers(list));
        world.run_for(5 * SECOND);
        assert!(world.peer(a, b).is_some() && world.peer(a, c).is_some());
        let failed = world.nodes[a].events.iter().filter_map(|event| match event {
            SwitchEvent::DialFailed { addr, reason, .. } => Some((addr.clone(), reason.kind())),
            _ => None,
        });
        assert_eq!(failed.collect::<Vec<_>>(), [(unknown, "lookup")]);
        assert_eq!(world.nodes[a].switch.num_dialing(), 0, "and it is not tried again");
        world.stop_all();
    }
}

/// The faults: bans were looked at in one place only, and `::ffff:1.2.3.4` was another address.
#[test]
fn ipv4_mapped_ipv6_bypasses_bans() {
    type Case = (fn(&str, &str) -> String, bool);
    let cases: [Case; 4] = [
        (|id, _| id.to_owned(), true),
        (|_, ip| ip.to_owned(), false),
        (|_, ip| format!("::ffff:{ip}"), false),
        (|_, ip| format!("{}.0.0.0/8", ip.split('.').next().unwrap()), false),
    ];
    for (target, is_by_id) in cases {
        let mut world = World::<Null>::new(1);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let target = target(&world.nodes[a].id.to_string(), &addr_of(a).ip().to_string());
        let (_, at_b) = world.connect(a, b);
        world.ban(b, &[&target]);
        world.run_for(SECOND);
        let reason = world.down(b, 0, at_b.conn()).expect("it ends");
        assert_eq!(reason.kind(), "banned", "{target}");
        // Before dialing.
        let ticket = world.dial(b, a);
        world.run_for(SECOND);
        assert_eq!((world.answer(b, ticket), world.nodes[b].dials.len()), ("banned", 0));
        // On accept, or once it is known who it is.
        let established = world.nodes[b].established;
        world.dial(a, b);
        world.run_for(5 * SECOND);
        assert_eq!(world.nodes[b].rejections(), ["banned"]);
        assert_eq!(world.nodes[b].established - established, usize::from(is_by_id));
        // A name is judged by what it resolves to.
        world.names.insert("alias".into(), Some(vec![addr_of(a)]));
        let id = world.nodes[a].id;
        let ticket = world.dial_at(b, id, "alias:26656");
        world.run_for(SECOND);
        assert_eq!((world.answer(b, ticket), world.nodes[b].dials.len()), ("banned", 0));
        world.ban(b, &[]);
        world.run_for(SECOND);
        world.connect(b, a);
        world.stop_all();
    }
}

/// The fault: the peer set kept what every failed step had put into it, until a node panicked.
#[test]
fn remove_before_add() {
    let mut world = World::<Null>::new(1);
    let options = Options::with(|c| c.max_num_inbound_peers = 1);
    let b = world.add(Options { filter_peers: true, ..options });
    for round in 0..2000_usize {
        let kind = round % 6;
        let number = 1 + (round / 6 % 5) as u8;
        let mut raw = RawPeer::connect(&mut world, b, number);
        if kind > 0 {
            raw.authenticate(&mut world);
        }
        if kind > 1 {
            let network = if kind == 2 { "another" } else { "simulation" };
            let info = raw.node_info(&Options { network, ..Options::default() });
            raw.put(&info[..if kind == 3 { info.len() / 2 } else { info.len() }]);
            raw.flush(&mut world);
            world.run_for(Duration::from_millis(5));
        }
        // Some are gone before the filter has decided, some are refused, some are sessions.
        if kind == 4 {
            raw.close();
            world.run_for(Duration::from_millis(5));
        }
        for (ticket, _) in std::mem::take(&mut world.nodes[b].asked) {
            let result = if round % 5 == 0 { Err("no".to_owned()) } else { Ok(()) };
            let decided = tmp2p::internals::switch::Input::Decided { ticket, result };
            world.nodes[b].inputs.push_back(decided);
        }
        world.run_for(Duration::from_millis(5));
        if kind != 4 {
            raw.close();
        }
        world.run_for(Duration::from_millis(5));
    }
    world.run_for(30 * SECOND);
    let node = &world.nodes[b];
    let (ups, downs) = node.ups_and_downs();
    assert!(ups == downs && ups > 200, "{ups} up, {downs} down");
    assert_eq!((node.core.num_connections(), node.switch.num_limited(Direction::Inbound)), (0, 0));
    assert_eq!(node.switch.next_deadline(), None, "it remembers somebody");
    assert_eq!(come_filtered(&mut world, b), 1);
    world.stop_all();
}

/// One more, let in: how many there are then.
fn come_filtered(world: &mut World<Null>, to: usize) -> usize {
    let a = world.add(Options::default());
    world.dial(a, to);
    world.run_for(SECOND);
    let (ticket, _) = world.nodes[to].asked.pop().expect("the filter is asked");
    let decided = tmp2p::internals::switch::Input::Decided { ticket, result: Ok(()) };
    world.nodes[to].inputs.push_back(decided);
    world.run_for(SECOND);
    world.nodes[to].switch.num_limited(Direction::Inbound)
}
