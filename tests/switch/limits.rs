//! How many peers and connections there may be, of whom: each key of the configuration changes
//! what happens.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use tmp2p::{
    Config, ConnectionState, DisconnectReason, Limits, NodeKey, Room, Switch, SwitchEvent,
    crossbeam_channel::Receiver,
};

use crate::support::*;

/// Nothing is limited but what a test limits; nobody is exempt.
fn open() -> Config {
    Config {
        exempt_cidrs: Vec::new(),
        max_pending_per_ip: 1024,
        max_pending_per_subnet: 1024,
        accept_rate_per_ip: 0,
        accept_rate_per_subnet: 0,
        ..unlimited()
    }
}

fn full(room: Room) -> DisconnectReason {
    DisconnectReason::Full(room)
}

const HERE: Ipv4Addr = Ipv4Addr::new(127, 9, 1, 1);
const SAME_SUBNET: Ipv4Addr = Ipv4Addr::new(127, 9, 1, 2);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 9, 2, 1);

fn knock_at(node: &Switch, events: &Receiver<SwitchEvent>) -> Result<(), DisconnectReason> {
    let guest = node_from(open());
    let result = knock(&guest.0, node.handle().peer_address().unwrap(), events).map(|_| ());
    // Guests stay as long as the test.
    std::mem::forget(guest);
    result
}

#[test]
fn inbound_slots_taken_by_anyone() {
    for slots in [1, 2] {
        let key = NodeKey::generate();
        let [persistent, unconditional, later] = [(); 3].map(|()| NodeKey::generate());
        let config = Config {
            max_num_inbound_peers: slots,
            persistent_peers: vec![at(persistent.id(), closed_port())],
            unconditional_peer_ids: vec![unconditional.id()],
            dial_spread: Duration::from_secs(3600),
            ..open()
        };
        let (switch, _reactor) = built(config, key, |_, _| {});
        let (handle, events) = (switch.handle(), switch.handle().subscribe());
        for _ in 0..slots {
            assert_eq!(knock_at(&switch, &events), Ok(()));
        }
        assert_eq!(knock_at(&switch, &events), Err(full(Room::Inbound)));
        // The reserved ones come in at a full node, and take nobody's place.
        let [persistent, unconditional] =
            [persistent, unconditional].map(|key| built(open(), key, |_, _| {}));
        for guest in [&persistent, &unconditional] {
            knock(&guest.0, handle.peer_address().unwrap(), &events).unwrap();
        }
        assert!(handle.peer(persistent.0.handle().id()).unwrap().is_persistent());
        assert!(!handle.peer(unconditional.0.handle().id()).unwrap().is_persistent());
        handle.add_unconditional(later.id()).unwrap();
        let later = built(open(), later, |_, _| {});
        knock(&later.0, handle.peer_address().unwrap(), &events).unwrap();
        assert_eq!(handle.num_peers().inbound, slots + 3);
        let state = handle.peer_states().unwrap();
        let unconditional = state.iter().filter(|state| state.is_unconditional).count();
        assert_eq!((unconditional, state.len()), (2, slots + 3));
        assert!(state.iter().all(|state| state.state == ConnectionState::Connected));
    }
}

#[test]
fn a_place_that_is_left_is_free() {
    let node = node_from(Config { max_num_inbound_peers: 1, ..open() });
    let events = node.0.handle().subscribe();
    assert_eq!(knock_at(&node.0, &events), Ok(()));
    assert_eq!(knock_at(&node.0, &events), Err(full(Room::Inbound)));
    up(&node.1).stop("make room");
    peer_down(&events);
    assert_eq!(knock_at(&node.0, &events), Ok(()));
}

#[test]
fn who_finds_no_room_is_told_by_the_end() {
    let node = node_from(Config { max_num_inbound_peers: 0, ..open() });
    let guest = node_from(open());
    let told = guest.0.handle().subscribe();
    let _ticket = guest.0.handle().dial(node.0.handle().peer_address().unwrap());
    // Either it noticed before it was a session, or at once afterwards: the same word for both.
    let reason = happens(&told, |event| match event {
        SwitchEvent::Disconnected { reason, .. } | SwitchEvent::DialFailed { reason, .. } => {
            Some(reason)
        }
        _ => None,
    });
    assert_eq!(reason, DisconnectReason::RefusedAfterHandshake);
    assert!(node.1.events().is_empty(), "the full node's reactors hear nothing of it");
}

#[test]
fn limits_change_at_run_time() {
    let node = node_from(Config { max_num_inbound_peers: 1, ..open() });
    let (handle, events) = (node.0.handle(), node.0.handle().subscribe());
    let limit = |max_num_inbound_peers| {
        handle.set_limits(Limits { max_num_inbound_peers, max_num_outbound_peers: 10 }).unwrap();
    };
    assert_eq!(knock_at(&node.0, &events), Ok(()));
    assert_eq!(knock_at(&node.0, &events), Err(full(Room::Inbound)));
    assert_eq!(handle.limits().max_num_inbound_peers, 1, "as configured");
    limit(2);
    assert_eq!(handle.limits().max_num_inbound_peers, 2);
    assert_eq!(knock_at(&node.0, &events), Ok(()));
    limit(1);
    assert_eq!(knock_at(&node.0, &events), Err(full(Room::Inbound)));
    assert_eq!(handle.num_peers().inbound, 2, "nobody goes for it");
}

#[test]
fn peers_may_share_an_address_or_not() {
    for may in [false, true] {
        let unconditional = NodeKey::generate();
        let node = node_from(Config {
            allow_duplicate_ip: may,
            unconditional_peer_ids: vec![unconditional.id()],
            ..open()
        });
        let events = node.0.handle().subscribe();
        assert_eq!(knock_at(&node.0, &events), Ok(()));
        let result = knock_at(&node.0, &events);
        // And when we dial, before a connection is made.
        let (here, there) = (node_from(open()), node_from(listening(open(), (ELSEWHERE, 0))));
        let dialed = dial(&node.0, here.0.handle().peer_address().unwrap()).map(|_| ());
        let expected =
            if may { Ok(()) } else { Err(DisconnectReason::DuplicateIp(ip("127.0.0.1"))) };
        assert_eq!((result, dialed), (expected.clone(), expected));
        // Another address is another matter, and so are those who may always come.
        connect(&node.0, &there.0);
        let guest = node_from(open());
        let way = Way::new(HERE, node.0.handle().local_addr().unwrap());
        let addr = at(node.0.handle().id(), way.addr);
        let events = node.0.handle().subscribe();
        knock(&guest.0, addr, &events).unwrap();
        let guest = built(open(), unconditional, |_, _| {});
        knock(&guest.0, node.0.handle().peer_address().unwrap(), &events).unwrap();
    }
}

#[test]
fn so_many_peers_have_one_address() {
    for (most, exempt, expected) in [
        (1, false, [true, false, false]),
        (2, false, [true, true, false]),
        (0, false, [true, true, true]),
        (1, true, [true, true, true]),
    ] {
        let mut config = Config { max_peers_per_ip: most, ..open() };
        if exempt {
            config.exempt_cidrs.push("127.0.0.1".parse().unwrap());
        }
        let node = node_from(config);
        let events = node.0.handle().subscribe();
        for is_let_in in expected {
            let expected = if is_let_in { Ok(()) } else { Err(full(Room::Ip)) };
            assert_eq!(knock_at(&node.0, &events), expected, "{most} {exempt}");
        }
    }
}

/// Connects so often from each of these; how many were let in, and the reasons of the others.
fn flood(config: Config, sources: &[Ipv4Addr], each: usize) -> (usize, Vec<DisconnectReason>) {
    let node = node_from(config);
    let events = node.0.handle().subscribe();
    let addr = node.0.handle().local_addr().unwrap();
    let streams: Vec<TcpStream> =
        (0..each).flat_map(|_| sources.iter().map(|source| plain_from(*source, addr))).collect();
    let inside = streams.iter().filter(|stream| is_let_in(stream)).count();
    let refused = (0..streams.len() - inside).map(|_| verdict(&events).unwrap_err()).collect();
    (inside, refused)
}

#[test]
fn connections_of_an_address_or_network_come_at_a_rate() {
    let ip = Config { accept_rate_per_ip: 1, accept_burst_per_ip: 3, ..open() };
    let subnet = Config { accept_rate_per_subnet: 1, accept_burst_per_subnet: 3, ..open() };
    let from_subnet = [HERE, SAME_SUBNET];
    for (config, sources, each, room) in [
        (&ip, &from_subnet[..1], 20, Room::IpRate),
        (&subnet, &from_subnet[..], 10, Room::SubnetRate),
    ] {
        let started = Instant::now();
        let (inside, refused) = flood(config.clone(), sources, each);
        let passed = started.elapsed().as_secs() as usize + 1;
        assert!((3..=3 + passed).contains(&inside), "{inside} in {passed} s");
        assert!(refused.iter().all(|reason| *reason == full(room)), "{refused:?}");
    }
    // The burst, the rate, whom it counts for, and whom it does not.
    let burst = Config { accept_burst_per_ip: 20, ..ip.clone() };
    assert_eq!(flood(burst, &[HERE], 20).0, 20);
    let burst = Config { accept_burst_per_subnet: 20, ..subnet.clone() };
    assert_eq!(flood(burst, &from_subnet, 10).0, 20);
    assert_eq!(flood(ip.clone(), &[HERE, SAME_SUBNET, ELSEWHERE], 3).0, 9);
    assert_eq!(flood(subnet.clone(), &[HERE, ELSEWHERE], 3).0, 6);
    assert_eq!(flood(open(), &from_subnet, 20).0, 40);
    for config in [ip, subnet] {
        let exempt = Config { exempt_cidrs: vec!["127.9.1.0/24".parse().unwrap()], ..config };
        assert_eq!(flood(exempt, &from_subnet, 10).0, 20);
    }
}

#[test]
fn so_many_handshakes_of_an_address_or_network_are_under_way() {
    let ip = Config { max_pending_per_ip: 2, ..open() };
    let subnet = Config { max_pending_per_ip: 3, max_pending_per_subnet: 3, ..open() };
    for (config, sources, inside, room) in [
        (&ip, &[HERE; 5][..], 2, Room::IpPending),
        (&ip, &[HERE, SAME_SUBNET, ELSEWHERE, HERE, SAME_SUBNET, HERE], 5, Room::IpPending),
        (&subnet, &[HERE, SAME_SUBNET, HERE, SAME_SUBNET, ELSEWHERE], 4, Room::SubnetPending),
    ] {
        let (let_in, refused) = flood(config.clone(), sources, 1);
        assert_eq!(let_in, inside);
        assert_eq!(refused, vec![full(room); sources.len() - inside]);
    }
    let exempt = vec!["127.9.1.0/24".parse().unwrap()];
    assert_eq!(flood(Config { exempt_cidrs: exempt, ..ip }, &[HERE], 20).0, 20);
}

#[test]
fn a_place_in_the_handshake_pool_is_given_back() {
    let node = node_from(Config { max_pending_per_ip: 2, ..open() });
    let addr = node.0.handle().local_addr().unwrap();
    let one = plain_from(HERE, addr);
    let two = plain_from(HERE, addr);
    assert!(is_let_in(&one) && is_let_in(&two));
    assert!(!is_let_in(&plain_from(HERE, addr)));
    drop(one);
    until("the place is free", || is_let_in(&plain_from(HERE, addr)));
}

#[test]
fn the_oldest_silent_connection_gives_way() {
    let few = |max_pending_handshakes| Config {
        max_pending_handshakes,
        max_pending_per_ip: max_pending_handshakes,
        max_pending_per_subnet: max_pending_handshakes,
        exempt_cidrs: vec!["127.0.0.0/8".parse().unwrap()],
        ..open()
    };
    for most in [3, 5] {
        let node = node_from(few(most));
        let events = node.0.handle().subscribe();
        let addr = node.0.handle().local_addr().unwrap();
        let silent: Vec<TcpStream> = (0..most + 2)
            .map(|_| {
                let stream = plain_from(HERE, addr);
                assert!(is_let_in(&stream), "the newest one is always served");
                stream
            })
            .collect();
        for stream in &silent[..2] {
            let told = happens(&events, |event| match event {
                SwitchEvent::Rejected { addr, reason, .. } => Some((addr, reason)),
                _ => None,
            });
            let addr = stream.local_addr().unwrap();
            assert_eq!(told, (addr, DisconnectReason::Evicted), "the oldest goes first");
        }
        assert!(events.is_empty(), "the others are still there");
        // Who authenticates at once comes in all the same.
        assert_eq!(knock_at(&node.0, &events.clone()).err(), Some(DisconnectReason::Evicted));
        peer_up(&events);
    }
}

#[test]
fn ipv4_mapped_ipv6_bypasses_per_ip_rules() {
    let any = ("::".parse::<std::net::IpAddr>().unwrap(), 0);
    let dual = |config: Config| {
        let node = node_from(listening(config, any));
        let port = node.0.handle().local_addr().unwrap().port();
        (node, std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    };
    // The listener sees IPv4 connections as IPv4-mapped IPv6 addresses; the rules do not.
    let (node, addr) = dual(Config { max_peers_per_ip: 1, ..open() });
    let events = node.0.handle().subscribe();
    let guests = [node_from(open()), node_from(open())];
    let addr_of_node = at(node.0.handle().id(), addr);
    assert!(knock(&guests[0].0, addr_of_node.clone(), &events).is_ok());
    assert_eq!(up(&node.1).remote_addr().ip(), ip("127.0.0.1"));
    assert_eq!(knock(&guests[1].0, addr_of_node, &events), Err(full(Room::Ip)));

    let (node, addr) = dual(Config { allow_duplicate_ip: false, ..open() });
    let here = node_from(open());
    connect(&node.0, &here.0);
    let events = node.0.handle().subscribe();
    let refused = knock(&guests[1].0, at(node.0.handle().id(), addr), &events);
    assert_eq!(refused, Err(DisconnectReason::DuplicateIp(ip("127.0.0.1"))));

    let (_node, addr) = dual(Config { max_pending_per_ip: 1, ..open() });
    let first = plain_from(HERE, addr);
    assert!(is_let_in(&first));
    assert!(!is_let_in(&plain_from(HERE, addr)));
    // In one /24, and not, as all mapped addresses, in one /64.
    let subnet = Config { max_pending_per_ip: 1, max_pending_per_subnet: 1, ..open() };
    let (_node, addr) = dual(subnet);
    let first = plain_from(HERE, addr);
    assert!(is_let_in(&first));
    assert!(!is_let_in(&plain_from(SAME_SUBNET, addr)));
    assert!(is_let_in(&plain_from(ELSEWHERE, addr)));
    let exempt = Config {
        max_pending_per_ip: 1,
        exempt_cidrs: vec!["127.9.1.0/24".parse().unwrap()],
        ..open()
    };
    let (_node, addr) = dual(exempt);
    let both = [plain_from(HERE, addr), plain_from(HERE, addr)];
    assert!(both.iter().all(is_let_in));
}
