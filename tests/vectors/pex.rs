//! `pex.json`: messages of channel 0x00, and what a real reactor did with them.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tmp2p::{
    BookKey, ChannelDescriptor, Config, ConnId, Direction, NetAddress, NodeId, StoredBook,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts},
    internals::drive::Core,
    internals::pex::{
        PeerFacts, PexCore, PexInput, PexMessage, PexOutput, PexRequest, PexSettings, channel,
    },
    internals::time::{Mono, Now},
};

use super::{bytes, cases, deviations, load, text};

fn address(value: &Value) -> NetAddress {
    let id = text(value, "id").parse().unwrap();
    NetAddress::new(id, text(value, "ip").parse().unwrap(), value["port"].as_u64().unwrap() as u16)
}

/// What the reactors of both releases say of the channel.
#[test]
fn vectors_pex_channel() {
    for name in ["channels.json", "channels.v0.38.json"] {
        let file = load(name);
        let is_it = |descriptor: &&Value| descriptor["id"] == 0;
        let theirs = cases(&file, "descriptors").iter().find(is_it).expect("it has a descriptor");
        let number = |key: &str| theirs[key].as_u64().unwrap();
        let theirs = ChannelDescriptor::new(0)
            .priority(number("priority") as u32)
            .send_queue_capacity(number("send_queue_capacity") as usize)
            .recv_message_capacity(number("recv_message_capacity") as usize);
        assert_eq!(format!("{:?}", channel()), format!("{theirs:?}"), "{name}");
    }
}

#[test]
fn vectors_pex_encode() {
    let file = load("pex.json");
    for case in cases(&file, "encode") {
        let name = text(case, "name");
        let addrs: Vec<_> = case["addrs"].as_array().unwrap().iter().map(address).collect();
        let message = PexMessage::decode(&bytes(case, "message")).unwrap();
        match &message {
            PexMessage::Request => assert!(addrs.is_empty(), "{name}"),
            PexMessage::Addrs(found) => assert_eq!(*found, addrs, "{name}"),
        }
        assert_eq!(message.encode(), bytes(case, "message"), "{name}");
    }
}

#[test]
fn vectors_pex_receive() {
    let file = load("pex.json");
    let (early, no_port) = (deviations::EARLY_REQUEST, deviations::NO_PORT);
    for case in cases(&file, "receive") {
        let name = text(case, "name");
        let outcome = receive(case);
        if early.decides(case) {
            let messages = case["messages"].as_array().unwrap().len();
            assert_eq!((outcome.answers, outcome.is_disconnected), (messages, false), "{name}");
            continue;
        }
        assert_eq!(outcome.answers as u64, case["answers"], "{name}");
        assert_eq!(outcome.is_disconnected, case["disconnected"], "{name}: {:?}", outcome.reason);
        assert_eq!(outcome.is_banned, case["banned"], "{name}: {:?}", outcome.reason);
        let added = case["added_to_book"].as_array().unwrap().iter();
        let mut added: BTreeSet<String> =
            added.map(|entry| text(entry, "addr").to_ascii_lowercase()).collect();
        if no_port.decides(case) {
            added.retain(|addr| !addr.ends_with(":0"));
        }
        assert_eq!(outcome.added, added, "{name}");
    }
    early.must_decide_one_of(cases(&file, "receive"));
    no_port.must_decide_one_of(cases(&file, "receive"));
}

#[derive(Default)]
struct Outcome {
    answers: usize,
    is_disconnected: bool,
    reason: Option<String>,
    is_banned: bool,
    added: BTreeSet<String>,
}

/// An inbound peer sends the messages.
fn receive(case: &Value) -> Outcome {
    let peer: NetAddress = text(case, "peer_address").parse().unwrap();
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = Now { mono: Mono::ZERO, wall };
    let mut rng = StdRng::seed_from_u64(7);
    let own = NodeId::from_bytes([1; 20]);
    let settings = BookSettings { own, is_strict: false, limits: BookLimits::default() };
    let key = BookKey::random(&mut rng);
    let mut book = Book::load(settings, key, StoredBook::default(), now.wall, &mut rng);
    book.add(peer, peer, now.wall, &mut rng).unwrap();
    let config = Config { max_num_outbound_peers: 0, addr_book_strict: false, ..Config::default() };
    let mut core = PexCore::new(PexSettings::of(&config), book, [7; 32], now);
    core.handle_input(PexInput::Start, now);
    let conn = ConnId::new(0, 1, 1);
    core.handle_input(
        PexInput::PeerUp(PeerFacts {
            conn,
            id: peer.id(),
            direction: Direction::Inbound,
            remote: SocketAddr::from(([55, 55, 55, 55], 1)),
            dialed: None,
            announced: Some(peer),
            origin: None,
            speaks_pex: true,
            facts: NodeFacts::default(),
        }),
        now,
    );
    if case["asked_before"] == true {
        core.handle_input(PexInput::Request(PexRequest::MorePeers), now);
    }
    for message in case["messages"].as_array().unwrap() {
        let payload = hex::decode(message.as_str().unwrap()).unwrap().into();
        core.handle_input(PexInput::Message { conn, payload }, now);
    }
    let mut outcome = Outcome::default();
    let mut has_asked = false;
    while let Some(output) = core.poll_output() {
        match output {
            PexOutput::Send { message, .. } => match PexMessage::decode(&message).unwrap() {
                PexMessage::Request => has_asked = true,
                PexMessage::Addrs(_) => outcome.answers += 1,
            },
            PexOutput::Stop { reason, .. } => {
                outcome.is_disconnected = true;
                outcome.reason = Some(reason);
            }
            _ => {}
        }
    }
    assert_eq!(has_asked, case["asked_before"] == true);
    outcome.is_banned = core.book().bans().find_id(&peer.id(), now.wall).is_some();
    let others = core.book().iter().filter(|known| known.addr != peer);
    outcome.added = others.map(|known| known.addr.to_string()).collect();
    outcome
}
