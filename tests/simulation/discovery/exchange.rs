//! Who is asked, who is answered, and what is punished.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use proptest::prelude::*;
use tmp2p::{
    BanTarget, Config, ConnId, Direction, DisconnectReason, NetAddress, NodeId, PeerAddress,
    internals::addrbook::NodeFacts,
    internals::drive::Core,
    internals::pex::{
        MAX_ADDRS, MAX_MESSAGE_SIZE, PeerFacts, PexInput, PexMessage, PexMessageError, PexRequest,
    },
    internals::protocol::secret::Null,
    internals::time::Wall,
};

use crate::{
    internet::{SECOND, addr, id, internet, quiet},
    world::{World, unheard},
};

/// A node that is connected to another, which dialed it, and to a third, which it dialed.
fn three(config: Config) -> (World<Null>, usize, usize, usize) {
    let mut world = internet(1);
    let node = world.join(config);
    let (inbound, outbound) = (world.join(quiet()), world.join(quiet()));
    world.dial(inbound, node);
    world.dial(node, outbound);
    world.run_for(SECOND);
    assert_eq!(world.num_peers(node), 2);
    (world, node, inbound, outbound)
}

fn requests_to(world: &World<Null>, node: usize, to: NodeId) -> Vec<SystemTime> {
    let sent = world.nodes[node].pex.sent.iter();
    let requests = sent.filter(|(_, id, message)| *id == to && *message == PexMessage::Request);
    requests.map(|(at, ..)| *at).collect()
}

fn answers_to(world: &World<Null>, node: usize, to: NodeId) -> Vec<usize> {
    let sent = world.nodes[node].pex.sent.iter();
    let answers = sent.filter_map(|(_, id, message)| match message {
        PexMessage::Addrs(addrs) if *id == to => Some(addrs.len()),
        _ => None,
    });
    answers.collect()
}

#[test]
fn pex_request_too_soon_24_h_ban() {
    let (mut world, node, inbound, outbound) = three(Config::default());
    for _ in 0..10_000 {
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND / 10);
    }
    for other in [outbound, inbound] {
        let requests = requests_to(&world, node, world.nodes[other].id);
        assert!(requests.len() > 5, "{requests:?}");
        for pair in requests.windows(2) {
            assert!(pair[1].since(pair[0]) >= 30 * SECOND, "{requests:?}");
        }
    }
    assert!(world.nodes.iter().all(|node| node.pex.stopped.is_empty()));
}

/// As the reference's `ensurePeers`, which returns before it asks. Few ever meet the thousand nodes with which
/// a book needs no more: each node asked somebody in every round for ever.
#[test]
fn who_has_all_the_peers_it_wants_asks_nobody_for_more() {
    let config = Config { max_num_outbound_peers: 1, ..Config::default() };
    let (mut world, node, inbound, outbound) = three(config);
    let ids = [inbound, outbound].map(|other| world.nodes[other].id);
    let asked = |world: &World<Null>| ids.map(|id| requests_to(world, node, id).len());
    world.run_for(3600 * SECOND);
    assert_eq!(asked(&world), [0, 1], "the one that it dialed, as it came up");
    // Unless they get a reactor nowhere.
    world.request(node, PexRequest::MorePeers);
    world.run_for(SECOND);
    let before = asked(&world);
    assert_eq!(before.iter().sum::<usize>(), 2);
    world.kill(outbound);
    world.run_for(300 * SECOND);
    assert!(asked(&world)[0] >= before[0] + 5, "{:?} since one is missing", asked(&world));
}

#[test]
fn the_pace_is_kept_over_reconnections() {
    let (mut world, node, _, outbound) = three(Config::default());
    let to = world.net_addr(outbound);
    for _ in 0..20 {
        world.kill(outbound);
        world.run_for(SECOND);
        world.revive(outbound);
        world.dial(node, outbound);
        world.run_for(SECOND);
    }
    let requests = requests_to(&world, node, to.id());
    assert!((2..=3).contains(&requests.len()), "{requests:?}");
}

#[test]
fn no_second_request_before_the_answer() {
    let mut world = internet(2);
    let node = world.join(Config::default());
    let mute = world.join(quiet());
    world.mute(mute);
    world.dial(node, mute);
    world.run_for(600 * SECOND);
    assert_eq!(requests_to(&world, node, world.nodes[mute].id).len(), 1);
    // A slow answer is not an unsolicited one.
    let answer = PexMessage::Addrs(vec![addr(900)]).encode();
    world.receive(node, mute, answer);
    assert!(world.nodes[node].pex.stopped.is_empty());
    assert_eq!(
        world.nodes[node].pex.core.book().get(&id(900)).unwrap().src.id(),
        world.nodes[mute].id
    );
    world.run_for(60 * SECOND);
    assert_eq!(requests_to(&world, node, world.nodes[mute].id).len(), 2);
}

#[test]
fn early_requests_get_empty_answers_and_only_constant_ones_a_ban() {
    let (mut world, node, inbound, _) = three(Config::default());
    let peer = world.nodes[inbound].id;
    // It has not asked, so it would take the answers for abuse.
    world.mute(inbound);
    let ask = |world: &mut World<Null>| world.receive(node, inbound, PexMessage::Request.encode());
    // The book has both peers by now.
    let already = answers_to(&world, node, peer).len();
    for _ in 0..3 {
        ask(&mut world);
    }
    assert_eq!(answers_to(&world, node, peer)[already..].len(), 3);
    assert_eq!(answers_to(&world, node, peer).last(), Some(&0));
    world.run_for(11 * SECOND);
    ask(&mut world);
    assert!(*answers_to(&world, node, peer).last().unwrap() > 0);
    // Ten early ones a minute, for long.
    for _ in 0..100 {
        world.run_for(6 * SECOND);
        ask(&mut world);
    }
    assert!(world.nodes[node].pex.stopped.is_empty());
    for _ in 0..12 {
        ask(&mut world);
        if world.session(node, inbound).is_none() {
            break;
        }
    }
    assert_eq!(world.nodes[node].pex.stopped.len(), 1, "{:?}", world.nodes[node].pex.stopped);
    let wall = world.at(node).wall;
    let ban = world.nodes[node].pex.core.book().bans().find_id(&peer, wall).unwrap();
    assert!(ban.until.unwrap().since(wall).abs_diff(600 * SECOND) < SECOND);
}

/// Who connects from one network and says each time that it is in another one.
#[test]
fn book_poisoning_by_one_subnet() {
    let mut world = internet(3);
    let node = world.join(quiet());
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
        let reason = Arc::new(DisconnectReason::Eof);
        let now = world.at(node);
        // Its core alone: as many handshakes would take their time.
        let core = &mut world.nodes[node].pex.core;
        core.handle_input(PexInput::PeerUp(up), now);
        core.handle_input(PexInput::PeerDown { conn, reason }, now);
    }
    // As many as one answer holds, for nobody was ever reached at what they have said.
    let held = world.nodes[node].pex.core.book().len();
    assert_eq!(held, 250);
}

/// Book poisoning: what nobody asked for.
#[test]
fn unsolicited_pex() {
    for addrs in [vec![addr(900)], Vec::new()] {
        let (mut world, node, inbound, _) = three(Config::default());
        let peer = world.nodes[inbound].id;
        // Whatever it owed is answered.
        world.run_for(SECOND);
        world.receive(node, inbound, PexMessage::Addrs(addrs).encode());
        let wall = world.at(node).wall;
        assert_eq!(world.nodes[node].pex.stopped[0].0, peer);
        let book = world.nodes[node].pex.core.book();
        let ban = book.bans().find_id(&peer, wall).unwrap();
        assert!(ban.until.unwrap().since(wall).abs_diff(24 * 3600 * SECOND) < SECOND);
        assert!(book.get(&id(900)).is_none());
        // It does not come back.
        world.dial(inbound, node);
        world.run_for(SECOND);
        assert_eq!(world.session(node, inbound), None);
    }
}

#[test]
fn what_no_node_makes_is_punished_and_what_may_be_an_accident_is_not() {
    let entry = |ip: &str, port: u64| {
        let (mut entry, mut list, mut message) = (Vec::new(), Vec::new(), Vec::new());
        use tmp2p::internals::protocol::wire::{put_message_field, put_varint_field};
        put_message_field(1, id(7).to_string().as_bytes(), &mut entry);
        put_message_field(2, ip.as_bytes(), &mut entry);
        put_varint_field(3, port, &mut entry);
        put_message_field(1, &entry, &mut list);
        put_message_field(2, &list, &mut message);
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
        let peer = world.nodes[outbound].id;
        world.receive(node, outbound, message.clone());
        assert_eq!(world.session(node, outbound), None, "{message:?}");
        let wall = world.at(node).wall;
        let ban = world.nodes[node].pex.core.book().bans().find_id(&peer, wall);
        assert_eq!(ban.is_some(), is_ban, "{message:?}");
    }
}

/// The importer of names is nobody: text that is no IP address never reaches a resolver.
#[test]
fn peer_supplied_host_names_resolved_by_blocking_dns() {
    let (mut world, node, _, outbound) = three(Config::default());
    let mut list = PexMessage::Addrs(vec![addr(900)]).encode();
    let at = list.windows(2).position(|two| two == b"20").unwrap();
    list[at..at + 2].copy_from_slice(b"go");
    assert!(matches!(PexMessage::decode(&list), Err(PexMessageError::Ip(_))));
    world.receive(node, outbound, list);
    world.run_for(600 * SECOND);
    let is_name = |addr: &PeerAddress| addr.net_address().is_none();
    assert!(!world.nodes[node].pex.dials.iter().any(|(_, addr)| is_name(addr)));
}

#[test]
fn heap_amplification_by_many_tiny_entries() {
    use tmp2p::internals::protocol::wire::put_message_field;
    for (count, is_refused) in [(250, false), (251, true), (31_000, true)] {
        let (mut list, mut message) = (Vec::new(), Vec::new());
        for n in 0..count {
            let one = PexMessage::Addrs(vec![addr(n)]).encode();
            // Two bytes each where there are many.
            let entry = if count > 1000 { &[][..] } else { &one[4..] };
            put_message_field(1, entry, &mut list);
        }
        put_message_field(2, &list, &mut message);
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
    let mut world = internet(3);
    let node = world.join(quiet());
    let asks = world.join(quiet());
    world.mute(asks);
    world.dial(asks, node);
    world.run_for(SECOND);
    world.tell_of(node, (100..140).map(|n| (addr(n), addr(200))));
    let private: Vec<_> = (100..120).map(id).collect();
    world.request(node, PexRequest::AddPrivate { ids: private.clone() });
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        world.run_for(11 * SECOND);
        world.receive(node, asks, PexMessage::Request.encode());
    }
    for (_, _, message) in &world.nodes[node].pex.sent {
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
    let mut world = internet(4);
    let node = world.join(Config::default());
    let other = world.join(quiet());
    world.dial(node, other);
    world.run_for(SECOND);
    let target = BanTarget::from(world.nodes[other].id);
    let duration = Some(3600 * SECOND);
    let reason = String::new();
    world.request(node, PexRequest::Ban { target, duration, reason, reply: unheard() });
    world.run_for(1800 * SECOND);
    assert_eq!((world.num_peers(node), world.nodes[node].pex.dials.len()), (0, 0));
    world.run_for(1900 * SECOND);
    assert_eq!(world.num_peers(node), 1);
    assert_eq!(world.nodes[node].pex.dials.len(), 1, "re-banned without a dial after a ban");
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
    let conn = world.session(node, inbound).unwrap();
    world.run_for(SECOND);
    world.receive(node, inbound, PexMessage::Addrs(Vec::new()).encode());
    let before = world.nodes[node].pex.sent.len();
    let payload = PexMessage::Request.encode().into();
    world.nodes[node].pex.inputs.push_back(PexInput::Message { conn, payload });
    world.run_for(SECOND / 10);
    assert_eq!(world.nodes[node].pex.sent.len(), before);
}
