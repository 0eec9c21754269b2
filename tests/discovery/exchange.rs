//! Who is asked, who is answered, and what is punished.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use proptest::prelude::*;
use tmp2p::{
    BanTarget, Config, ConnId, Direction, DisconnectReason, NetAddress, NodeId, PeerAddress,
    addrbook::NodeFacts,
    pex::{
        MAX_ADDRS, MAX_MESSAGE_SIZE, PeerFacts, PexInput, PexMessage, PexMessageError, PexRequest,
    },
};

use crate::world::{Number, SECOND, World, addr, id, quiet};

/// A node that is connected to another, which dialed it, and to a third, which it dialed.
fn three(config: Config) -> (World, Number, Number, Number) {
    let mut world = World::new(1);
    let node = world.add(config);
    let (inbound, outbound) = (world.add(quiet()), world.add(quiet()));
    let (to, from) = (world.nodes[node].addr, world.nodes[outbound].addr);
    world.dial(inbound, to);
    world.dial(node, from);
    world.run(SECOND);
    assert_eq!(world.num_peers(node), 2);
    (world, node, inbound, outbound)
}

fn requests_to(world: &World, node: Number, to: NodeId) -> Vec<Duration> {
    let sent = world.nodes[node].sent.iter();
    let requests = sent.filter(|(_, id, message)| *id == to && *message == PexMessage::Request);
    requests.map(|(at, ..)| *at).collect()
}

fn answers_to(world: &World, node: Number, to: NodeId) -> Vec<usize> {
    let sent = world.nodes[node].sent.iter();
    let answers = sent.filter_map(|(_, id, message)| match message {
        PexMessage::Addrs(addrs) if *id == to => Some(addrs.len()),
        _ => None,
    });
    answers.collect()
}

#[test]
fn pex_request_too_soon_24_h_ban() {
    let (mut world, node, _, outbound) = three(Config::default());
    for _ in 0..10_000 {
        world.request(node, PexRequest::MorePeers);
        world.run(SECOND / 10);
    }
    for other in [outbound, 1] {
        let requests = requests_to(&world, node, world.nodes[other].addr.id());
        assert!(requests.len() > 5, "{requests:?}");
        for pair in requests.windows(2) {
            assert!(pair[1] - pair[0] >= 30 * SECOND, "{requests:?}");
        }
    }
    assert!(world.nodes.iter().all(|node| node.stopped.is_empty()));
}

#[test]
fn the_pace_is_kept_over_reconnections() {
    let (mut world, node, _, outbound) = three(Config::default());
    let to = world.nodes[outbound].addr;
    for _ in 0..20 {
        let conn = world.session(outbound, world.nodes[node].addr.id());
        if conn.is_some() {
            world.kill(outbound);
        }
        world.run(SECOND);
        world.revive(outbound);
        world.dial(node, to);
        world.run(SECOND);
    }
    let requests = requests_to(&world, node, to.id());
    assert!((2..=3).contains(&requests.len()), "{requests:?}");
}

#[test]
fn no_second_request_before_the_answer() {
    let mut world = World::new(2);
    let node = world.add(Config::default());
    let mute = world.add(quiet());
    world.nodes[mute].is_mute = true;
    world.dial(node, world.nodes[mute].addr);
    world.run(600 * SECOND);
    assert_eq!(requests_to(&world, node, world.nodes[mute].addr.id()).len(), 1);
    // A slow answer is not an unsolicited one.
    let answer = PexMessage::Addrs(vec![addr(900)]).encode();
    world.receive(node, world.nodes[mute].addr.id(), answer);
    assert!(world.nodes[node].stopped.is_empty());
    assert_eq!(world.nodes[node].core.book().get(&id(900)).unwrap().src.id(), id(1));
    world.run(60 * SECOND);
    assert_eq!(requests_to(&world, node, world.nodes[mute].addr.id()).len(), 2);
}

#[test]
fn early_requests_get_empty_answers_and_only_constant_ones_a_ban() {
    let (mut world, node, inbound, _) = three(Config::default());
    let peer = world.nodes[inbound].addr.id();
    // It has not asked, so it would take the answers for abuse.
    world.nodes[inbound].is_mute = true;
    let ask = |world: &mut World| world.receive(node, peer, PexMessage::Request.encode());
    // The book has both peers by now.
    let already = answers_to(&world, node, peer).len();
    for _ in 0..3 {
        ask(&mut world);
    }
    assert_eq!(answers_to(&world, node, peer)[already..].len(), 3);
    assert_eq!(answers_to(&world, node, peer).last(), Some(&0));
    world.run(11 * SECOND);
    ask(&mut world);
    assert!(*answers_to(&world, node, peer).last().unwrap() > 0);
    // Ten early ones a minute, for long.
    for _ in 0..100 {
        world.run(6 * SECOND);
        ask(&mut world);
    }
    assert!(world.nodes[node].stopped.is_empty());
    for _ in 0..12 {
        ask(&mut world);
        if world.session(node, peer).is_none() {
            break;
        }
    }
    assert_eq!(world.nodes[node].stopped.len(), 1, "{:?}", world.nodes[node].stopped);
    let wall = world.at().wall;
    let ban = world.nodes[node].core.book().bans().find_id(&peer, wall).unwrap();
    assert_eq!(ban.until, Some(wall + 600 * SECOND));
}

/// Who connects from one network and says each time that it is in another one.
#[test]
fn book_poisoning_by_one_subnet() {
    let mut world = World::new(3);
    let node = world.add(quiet());
    let facts = NodeFacts::default();
    for n in 0..20_000 {
        let (conn, announced) = (ConnId::new(0, n + 1, 1), addr(10 * u64::from(n) + 7));
        let remote = format!("6.6.1.{}:{}", n % 250 + 1, 1000 + n).parse().unwrap();
        let up = PeerFacts {
            conn,
            id: announced.id(),
            direction: Direction::Inbound,
            remote,
            dialed: None,
            announced: Some(announced),
            origin: None,
            speaks_pex: false,
            facts: facts.clone(),
        };
        world.input(node, PexInput::PeerUp(up));
        let reason = Arc::new(DisconnectReason::Eof);
        world.input(node, PexInput::PeerDown { conn, reason });
    }
    // 32 of 256 buckets of 64.
    let held = world.nodes[node].core.book().len();
    assert!((1000..=32 * 64).contains(&held), "{held}");
}

/// Book poisoning: what nobody asked for.
#[test]
fn unsolicited_pex() {
    for addrs in [vec![addr(900)], Vec::new()] {
        let (mut world, node, inbound, _) = three(Config::default());
        let peer = world.nodes[inbound].addr.id();
        // Whatever it owed is answered.
        world.run(SECOND);
        world.receive(node, peer, PexMessage::Addrs(addrs).encode());
        let wall = world.at().wall;
        assert_eq!(world.nodes[node].stopped[0].0, peer);
        let book = world.nodes[node].core.book();
        let ban = book.bans().find_id(&peer, wall).unwrap();
        assert_eq!(ban.until, Some(wall + 24 * 3600 * SECOND));
        assert!(book.get(&id(900)).is_none());
        // It does not come back.
        world.dial(inbound, world.nodes[node].addr);
        world.run(SECOND);
        assert_eq!(world.session(node, peer), None);
    }
}

#[test]
fn what_no_node_makes_is_punished_and_what_may_be_an_accident_is_not() {
    let entry = |ip: &str, port: u64| {
        let (mut entry, mut list, mut message) = (Vec::new(), Vec::new(), Vec::new());
        use tmp2p::protocol::wire::{put_bytes_field, put_varint_field};
        put_bytes_field(1, id(7).to_string().as_bytes(), &mut entry);
        put_bytes_field(2, ip.as_bytes(), &mut entry);
        put_varint_field(3, port, &mut entry);
        put_bytes_field(1, &entry, &mut list);
        put_bytes_field(2, &list, &mut message);
        message
    };
    for (message, is_ban) in [
        (entry("example.com", 1), true),
        (entry("", 1), true),
        (entry("1.2.3.4", 65_536), true),
        (vec![0xff, 0xff], false),
        (Vec::new(), false),
    ] {
        let (mut world, node, _, outbound) = three(Config::default());
        let peer = world.nodes[outbound].addr.id();
        world.receive(node, peer, message.clone());
        assert_eq!(world.session(node, peer), None, "{message:?}");
        let wall = world.at().wall;
        let ban = world.nodes[node].core.book().bans().find_id(&peer, wall);
        assert_eq!(ban.is_some(), is_ban, "{message:?}");
    }
}

/// The importer of names is nobody: text that is no IP address never reaches a resolver.
#[test]
fn peer_supplied_host_names_resolved_by_blocking_dns() {
    let (mut world, node, _, outbound) = three(Config::default());
    let peer = world.nodes[outbound].addr.id();
    let mut list = PexMessage::Addrs(vec![addr(900)]).encode();
    let at = list.windows(2).position(|two| two == b"20").unwrap();
    list[at..at + 2].copy_from_slice(b"go");
    assert!(matches!(PexMessage::decode(&list), Err(PexMessageError::Ip(_))));
    world.receive(node, peer, list);
    world.run(600 * SECOND);
    let is_name = |addr: &PeerAddress| addr.net_address().is_none();
    assert!(!world.nodes[node].dials.iter().any(|(_, addr)| is_name(addr)));
}

#[test]
fn heap_amplification_by_many_tiny_entries() {
    use tmp2p::protocol::wire::put_bytes_field;
    for (count, is_refused) in [(250, false), (251, true), (31_000, true)] {
        let (mut list, mut message) = (Vec::new(), Vec::new());
        for n in 0..count {
            let one = PexMessage::Addrs(vec![addr(n)]).encode();
            // Two bytes each where there are many.
            let entry = if count > 1000 { &[][..] } else { &one[4..] };
            put_bytes_field(1, entry, &mut list);
        }
        put_bytes_field(2, &list, &mut message);
        let decoded = PexMessage::decode(&message);
        assert_eq!(decoded == Err(PexMessageError::TooMany), is_refused, "{count}");
    }
}

#[test]
fn oversized_pex_addrs() {
    let longest = |n: u64| {
        let ip = std::net::Ipv6Addr::from(u128::MAX - u128::from(n));
        NetAddress::new(id(n), ip.into(), u16::MAX)
    };
    let addrs: Vec<_> = (0..1000).map(longest).collect();
    let message = PexMessage::Addrs(addrs.clone()).encode();
    assert!(message.len() <= MAX_MESSAGE_SIZE, "{}", message.len());
    let decoded = PexMessage::decode(&message);
    assert_eq!(decoded, Ok(PexMessage::Addrs(addrs[..MAX_ADDRS].to_vec())));
}

#[test]
fn private_ids_already_in_the_book_are_gossiped() {
    let mut world = World::new(3);
    let node = world.add(quiet());
    let asks = world.add(quiet());
    world.nodes[asks].is_mute = true;
    world.dial(asks, world.nodes[node].addr);
    world.run(SECOND);
    world.tell(node, (100..140).map(|n| (addr(n), addr(200))));
    let private: Vec<_> = (100..120).map(id).collect();
    world.request(node, PexRequest::AddPrivate { ids: private.clone() });
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        world.run(11 * SECOND);
        world.receive(node, world.nodes[asks].addr.id(), PexMessage::Request.encode());
    }
    for (_, _, message) in &world.nodes[node].sent {
        if let PexMessage::Addrs(addrs) = message {
            for addr in addrs {
                *seen.entry(addr.id()).or_insert(0) += 1;
            }
        }
    }
    assert!((120..140).all(|n| seen.contains_key(&id(n))));
    assert!(private.iter().all(|id| !seen.contains_key(id)));
}

#[test]
fn a_banned_node_is_neither_dialed_nor_passed_on_and_dialed_once_the_ban_ends() {
    let mut world = World::new(4);
    let node = world.add(Config::default());
    let other = world.add(quiet());
    world.dial(node, world.nodes[other].addr);
    world.run(SECOND);
    let target = BanTarget::from(world.nodes[other].addr.id());
    let duration = Some(3600 * SECOND);
    let reason = String::new();
    world.request(node, PexRequest::Ban { ticket: 1, target, duration, reason });
    world.run(1800 * SECOND);
    assert_eq!((world.num_peers(node), world.nodes[node].dials.len()), (0, 0));
    world.run(1900 * SECOND);
    assert_eq!(world.num_peers(node), 1);
    assert_eq!(world.nodes[node].dials.len(), 1, "re-banned without a dial after a ban");
}

proptest! {
    #[test]
    fn whatever_comes_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = PexMessage::decode(&bytes) {
            prop_assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn messages_come_back(numbers in proptest::collection::vec(0..60_000_u64, 0..250)) {
        let message = PexMessage::Addrs(numbers.into_iter().map(addr).collect());
        let encoded = message.encode();
        prop_assert_eq!(PexMessage::decode(&encoded), Ok(message));
        for end in 1..encoded.len() {
            prop_assert!(PexMessage::decode(&encoded[..end]).is_err());
        }
    }
}

#[test]
fn nothing_is_done_for_a_session_that_is_over() {
    let (mut world, node, inbound, _) = three(Config::default());
    let peer = world.nodes[inbound].addr.id();
    let conn = world.session(node, peer).unwrap();
    world.run(SECOND);
    world.receive(node, peer, PexMessage::Addrs(Vec::new()).encode());
    let before = world.nodes[node].sent.len();
    let payload = PexMessage::Request.encode().into();
    world.input(node, PexInput::Message { conn, payload });
    assert_eq!(world.nodes[node].sent.len(), before);
}
