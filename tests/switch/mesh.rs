//! A full mesh of nodes that all dial each other at once. Shared with the interop tests, which run
//! it with more nodes.

use std::{
    collections::BTreeSet,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, DialError, Direction, DisconnectReason, Event, NodeId, NodeInfo,
    NodeKey, Reactor, ReactorSpec, Switch,
};

const CHANNEL: u8 = 0x70;

/// For everything together: no attempt is repeated, so this is as long as some handshakes take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What became of all dials.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) pairs: usize,
    /// Inbound connections that were a second one of their pair.
    pub(crate) refused: u64,
    /// Sessions that gave way to the other one of their pair, counted on each side.
    pub(crate) replaced: usize,
    pub(crate) took: Duration,
}

/// Every two of so many nodes dial each other at the same moment, once. Then each pair has exactly
/// one session, the same one on both sides, and messages go over it.
pub(crate) fn all_dial_each_other(nodes: usize) -> Seen {
    let all: Vec<(Switch, Reactor)> = (0..nodes).map(|_| node()).collect();
    let addrs: Vec<_> =
        all.iter().map(|(switch, _)| switch.handle().peer_address().unwrap()).collect();
    let mut seen = Seen { pairs: nodes * (nodes - 1) / 2, ..Seen::default() };
    let (started, barrier) = (Instant::now(), Barrier::new(nodes));
    // In round r, i and r - i dial each other.
    let dial_all = &|i: usize| {
        let mut tickets = Vec::new();
        for round in 0..nodes {
            let j = (round + nodes - i) % nodes;
            barrier.wait();
            if i != j {
                tickets.push(all[i].0.handle().dial(addrs[j].clone()));
            }
        }
        let outcome = |ticket: tmp2p::DialTicket| {
            ticket.wait_timeout(DEADLINE).expect("an answer to the dial in time")
        };
        tickets.into_iter().map(outcome).collect::<Vec<_>>()
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let dialers: Vec<_> = (0..nodes).map(|i| scope.spawn(move || dial_all(i))).collect();
        dialers.into_iter().flat_map(|dialer| dialer.join().unwrap()).collect()
    });
    while let Some(why) = disagreement(&all) {
        assert!(started.elapsed() < DEADLINE, "{why}");
        thread::park_timeout(Duration::from_millis(5));
    }
    seen.took = started.elapsed();

    for outcome in outcomes {
        match outcome {
            Ok(_) | Err(DialError::Failed(DisconnectReason::DuplicateId(_))) => {}
            Err(error) => panic!("a dial failed: {error}"),
        }
    }
    for (switch, _) in &all {
        let rejected = switch.handle().metrics().rejected;
        assert!(rejected.keys().all(|kind| *kind == "duplicate_id"), "{rejected:?}");
        seen.refused += rejected.values().sum::<u64>();
        for peer in switch.handle().peers() {
            peer.send(CHANNEL, b"hello").unwrap();
        }
    }
    for (switch, reactor) in &all {
        seen.replaced += hear_all(switch.handle().id(), reactor, nodes - 1);
    }
    seen
}

fn node() -> (Switch, Reactor) {
    let config = Config {
        allow_duplicate_ip: true,
        max_num_inbound_peers: 1000,
        exempt_cidrs: vec!["127.0.0.0/8".parse().unwrap()],
        dial_timeout: DEADLINE,
        handshake_timeout: DEADLINE,
        ..Config::default()
    };
    let info = NodeInfo::new("test-chain", "test").unwrap();
    let mut builder = Switch::builder(config, NodeKey::generate(), info);
    let reactor =
        builder.reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL))).unwrap();
    (builder.start().unwrap(), reactor)
}

/// Two nodes that do not have one session, the same one.
fn disagreement(all: &[(Switch, Reactor)]) -> Option<String> {
    for (at, (a, _)) in all.iter().enumerate() {
        if a.handle().num_peers().dialing > 0 {
            return Some(format!("{:?} is dialing", a.handle()));
        }
        for (b, _) in &all[at + 1..] {
            let (ids, sessions) = ((a.handle().id(), b.handle().id()), (a.handle(), b.handle()));
            let (to_b, to_a) = (sessions.0.peer(ids.1), sessions.1.peer(ids.0));
            let directions = (to_b.map(|p| p.direction()), to_a.map(|p| p.direction()));
            let is_one = matches!(
                directions,
                (Some(Direction::Outbound), Some(Direction::Inbound))
                    | (Some(Direction::Inbound), Some(Direction::Outbound))
            );
            if !is_one {
                return Some(format!("{} and {}: {directions:?}", ids.0, ids.1));
            }
        }
    }
    None
}

/// One message of each other node, on its last session; how many sessions ended before.
#[track_caller]
fn hear_all(id: NodeId, reactor: &Reactor, others: usize) -> usize {
    let (mut heard, mut up, mut ended) = (BTreeSet::new(), BTreeSet::new(), 0);
    while heard.len() < others {
        match reactor.events().recv_timeout(DEADLINE).expect("a message of everybody in time") {
            Event::PeerUp(peer) => assert!(up.insert(peer.id()), "{id}: two sessions with {peer}"),
            Event::PeerDown(peer, reason) => {
                assert!(up.remove(&peer.id()), "{id}: {peer}");
                assert!(!heard.contains(&peer.id()), "{id}: lost {peer}: {reason}");
                // It gave way to the other connection, and did not have to be found silent.
                assert_ne!(*reason, DisconnectReason::Superseded, "{id}: {peer}");
                ended += 1;
            }
            Event::Message(envelope) => assert!(heard.insert(envelope.peer().id())),
            event => panic!("{id}: {event:?}"),
        }
    }
    assert_eq!(up, heard, "{id}");
    assert!(reactor.events().try_recv().is_err());
    ended
}
