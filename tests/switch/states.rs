//! What a switch says of its peers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    time::Duration,
};

use tmp2p::{
    ChannelDescriptor, Config, ConnectionState, DialPeersError, Direction, DisconnectReason,
    NodeId, NodeKey, NumPeers, PeerState, Switch, SwitchEvent,
};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

fn states(switch: &Switch) -> BTreeMap<NodeId, PeerState> {
    let states = switch.handle().peer_states().unwrap();
    let ids: Vec<_> = states.iter().map(|state| (state.id.is_none(), state.id)).collect();
    assert!(ids.is_sorted(), "by ID, what has none at the end: {ids:?}");
    states.into_iter().filter_map(|state| Some((state.id?, state))).collect()
}

#[test]
fn each_node_is_in_one_state_with_what_is_known_of_it() {
    let (bob, carol) = (node(), node());
    let lost = stranger(closed_port());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = stranger(listener.local_addr().unwrap());
    let [bad, banned] = [(); 2].map(|()| NodeKey::generate().id());
    let alice = node_from(Config {
        persistent_peers: vec![lost.clone()],
        unconditional_peer_ids: vec![carol.0.handle().id()],
        dial_spread: Duration::ZERO,
        handshake_timeout: HOUR,
        ..unlimited()
    });
    let (handle, told) = (alice.0.handle(), alice.0.handle().subscribe());
    connect(&alice.0, &bob.0);
    knock(&carol.0, handle.peer_address().unwrap(), &handle.subscribe()).unwrap();
    let _ticket = handle.dial(slow.clone());
    handle.mark_bad(bad, HOUR, "lies").unwrap();
    handle.ban(banned, Some(HOUR), "spam").unwrap();
    handle.ban(ip("1.2.3.4"), None, "for good").unwrap();
    // A ban is what counts of a node that is bad, too.
    handle.mark_bad(banned, HOUR, "lies").unwrap();
    let mut states = BTreeMap::new();
    until("it has failed and pauses", || {
        states = self::states(&alice.0);
        let lost = &states[&lost.id()];
        lost.failures > 0 && lost.state == ConnectionState::Reconnecting
    });
    drop(told);
    assert_eq!(states.len(), 6, "{states:#?}");

    let state = &states[&lost.id()];
    assert_eq!((state.state, state.is_persistent), (ConnectionState::Reconnecting, true));
    assert_eq!(state.dial_addr, Some(lost));
    assert_eq!(state.reason.as_deref(), Some("connection refused"));
    assert!(state.remaining.is_some() && state.status.is_none(), "{state:?}");

    let state = &states[&bob.0.handle().id()];
    assert_eq!(
        (state.state, state.direction),
        (ConnectionState::Connected, Some(Direction::Outbound))
    );
    assert_eq!(state.remote_addr, bob.0.handle().local_addr());
    assert_eq!(state.dial_addr, Some(bob.0.handle().peer_address().unwrap()));
    assert_eq!((state.is_persistent, state.is_unconditional), (false, false));
    assert!(state.age.is_some() && state.remaining.is_none());
    assert_eq!(state.status.as_ref().unwrap().channels.len(), 1);

    let state = &states[&carol.0.handle().id()];
    assert_eq!(
        (state.state, state.direction),
        (ConnectionState::Connected, Some(Direction::Inbound))
    );
    assert!(state.is_unconditional && state.status.is_some());
    assert_eq!(
        (&state.dial_addr, state.remote_addr.map(|a| a.ip())),
        (&None, Some(ip("127.0.0.1")))
    );

    let state = &states[&slow.id()];
    assert_eq!(
        (state.state, state.direction),
        (ConnectionState::Dialing, Some(Direction::Outbound))
    );
    assert_eq!((&state.dial_addr, state.remaining), (&Some(slow), None));
    assert!(state.age.is_some());

    let state = &states[&bad];
    assert_eq!((state.state, state.reason.as_deref()), (ConnectionState::Bad, Some("lies")));
    assert!(state.remaining.unwrap() <= HOUR);

    let state = &states[&banned];
    let reason = format!("{banned}: spam");
    assert_eq!((state.state, &state.reason), (ConnectionState::Banned, &Some(reason)));
    assert!(state.remaining.unwrap() <= HOUR);
    let last = handle.peer_states().unwrap().pop().unwrap();
    assert_eq!((last.id, last.state, last.remaining), (None, ConnectionState::Banned, None));
    assert_eq!(last.reason.as_deref(), Some("1.2.3.4: for good"));

    let numbers = handle.num_peers();
    // The persistent one may be between two attempts, or in one.
    assert!((1..=2).contains(&numbers.dialing), "{numbers:?}");
    assert_eq!((numbers.outbound, numbers.inbound), (1, 1));
    handle.mark_good(bad).unwrap();
    until("it is bad no more", || !self::states(&alice.0).contains_key(&bad));
}

#[test]
fn a_list_of_nodes_is_dialed_spread_over_time() {
    let spread = Config { dial_spread: HOUR, addr_book_strict: false, ..unlimited() };
    let (alice, bob) = (node_from(spread), node());
    connect(&alice.0, &bob.0);
    let handle = alice.0.handle();
    let nobody: Vec<_> = (0..20).map(|_| stranger(closed_port())).collect();
    let mut list = nobody.clone();

    // Nobody can be at one entry, and none is dialed.
    for (position, bad) in [
        (3, format!("{}@0.0.0.0:26656", nobody[0].id())),
        (9, format!("{}@1.2.3.4:0", nobody[0].id())),
    ] {
        let mut list = list.clone();
        list[position - 1] = bad.parse().unwrap();
        let error = handle.dial_peers(list).unwrap_err();
        assert!(matches!(error, DialPeersError::Undialable { position: p, .. } if p == position));
        let text = error.to_string();
        assert!(text.starts_with(&format!("entry {position} of the list: {bad} cannot")), "{text}");
    }
    assert_eq!((handle.num_peers().dialing, states(&alice.0).len()), (0, 1));
    assert!(handle.book().unwrap().addresses.is_empty(), "nor is one booked");

    // This node, one that is connected, and one twice are left out.
    list.extend([&alice.0, &bob.0].map(|node| node.handle().peer_address().unwrap()));
    list.push(list[0].clone());
    handle.dial_peers(list).unwrap();
    assert_eq!(handle.num_peers(), NumPeers { outbound: 1, inbound: 0, dialing: 20 });
    until("all are booked, but ourselves", || handle.book().unwrap().addresses.len() == 21);
    let states = states(&alice.0);
    let waits: BTreeSet<Duration> = nobody
        .iter()
        .map(|addr| {
            let state = &states[&addr.id()];
            assert_eq!(
                (state.state, &state.dial_addr),
                (ConnectionState::Dialing, &Some(addr.clone()))
            );
            let remaining = state.remaining.unwrap();
            assert!(remaining <= HOUR);
            remaining
        })
        .collect();
    assert_eq!(waits.len(), 20, "each has a time of its own");
    let (first, last) = (waits.first().unwrap(), waits.last().unwrap());
    // Less than once in ten million runs: all 20 within a third of the time.
    assert!(*last - *first > HOUR / 3, "{waits:?}");

    // Without a spread at once.
    let alice = node_from(Config { dial_spread: Duration::ZERO, ..unlimited() });
    alice.0.handle().dial_peers([bob.0.handle().peer_address().unwrap()]).unwrap();
    assert_eq!(up(&alice.1).id(), bob.0.handle().id());
    alice.0.handle().dial_peers([]).unwrap();
}

/// An `addrbook.json` with so many addresses that are nobody's.
fn book_of(count: usize) -> String {
    let never = "0001-01-01T00:00:00Z";
    let entry = |n: usize| {
        let (id, ip) = (NodeKey::generate().id(), format!("{}.{}.1.1", 20 + n / 200, n % 200));
        let addr = format!(r#"{{"id":"{id}","ip":"{ip}","port":26656}}"#);
        format!(
            r#"{{"addr":{addr},"src":{addr},"buckets":[0],"attempts":0,"bucket_type":1,
                 "last_attempt":"{never}","last_success":"{never}","last_ban_time":"{never}"}}"#
        )
    };
    let entries: Vec<_> = (0..count).map(entry).collect();
    format!(r#"{{"key":"0123456789abcdef01234567","addrs":[{}]}}"#, entries.join(","))
}

#[test]
fn candidates_of_the_book_are_states_too_and_all_are_counted() {
    let alice = node_from(Config { max_num_outbound_peers: 0, ..unlimited() });
    let (handle, bob) = (alice.0.handle(), node());
    connect(&alice.0, &bob.0);
    _ = handle.import_addrbook(book_of(1500).as_bytes()).unwrap();
    let all = handle.book().unwrap().addresses;
    let ids: Vec<_> = all.iter().map(|entry| entry.known.addr.id()).collect();
    let ids: Vec<_> = ids.into_iter().filter(|id| *id != bob.0.handle().id()).collect();
    assert!(ids.len() > 1400, "{}", ids.len());
    handle.mark_bad(ids[0], HOUR, "no answer").unwrap();
    handle.ban(ids[1], None, "spam").unwrap();
    let counts = handle.state_counts().unwrap();
    assert_eq!((counts.connected, counts.bad, counts.banned, counts.dialing), (1, 1, 1, 0));
    assert_eq!((counts.candidate, counts.reconnecting), (ids.len() - 2, 0));
    // All of the others, and as many candidates as one reads.
    let listed = states(&alice.0);
    let of = |kind| listed.values().filter(|state| state.state == kind).count();
    assert_eq!((of(ConnectionState::Candidate), listed.len()), (1000, 1003));
    let first = handle.candidates(None).unwrap();
    assert_eq!((first.page.len(), first.total), (1000, ids.len() - 2));
    let second = handle.candidates(first.next).unwrap();
    assert_eq!((second.page.len(), second.next), (ids.len() - 1002, None));
    let known = first.page.iter().chain(&second.page).map(|known| known.addr.id());
    assert_eq!(known.collect::<Vec<_>>(), ids[2..]);
}

/// Without peer exchange nobody tells the book of sessions.
#[test]
fn a_connected_node_is_no_candidate_without_peer_exchange_either() {
    let (alice, bob) = (node_from(Config { addr_book_strict: false, ..unlimited() }), node());
    let handle = alice.0.handle();
    handle.dial_peers([bob.0.handle().peer_address().unwrap()]).unwrap();
    up(&alice.1);
    until("it is booked", || handle.book().unwrap().addresses.len() == 1);
    let counts = handle.state_counts().unwrap();
    assert_eq!((counts.connected, counts.candidate), (1, 0));
    assert_eq!(handle.candidates(None).unwrap().total, 0);
    assert_eq!(states(&alice.0).len(), 1);
}

#[test]
fn limits_that_cannot_be_are_refused() {
    let alice = node_from(Config { pex: true, ..unlimited() });
    let handle = alice.0.handle();
    for (inbound, outbound, key) in
        [(usize::MAX, 1, "max_num_inbound_peers"), (1, usize::MAX, "max_num_outbound_peers")]
    {
        let limits =
            tmp2p::Limits { max_num_inbound_peers: inbound, max_num_outbound_peers: outbound };
        let error = handle.set_limits(limits).unwrap_err().to_string();
        assert!(error.starts_with(key) && error.contains("at most"), "{error}");
    }
    _ = handle.import_addrbook(book_of(1).as_bytes()).unwrap();
    let most = (1 << 23) - 1;
    let limits = tmp2p::Limits { max_num_inbound_peers: most, max_num_outbound_peers: most };
    handle.set_limits(limits).unwrap();
    handle.request_more_peers();
    assert_eq!(handle.state_counts().unwrap().banned, 0, "it has not hung");
}

#[test]
fn what_a_reactor_says_of_a_peer_is_told_to_everybody() {
    let exchanges =
        || Config { pex: true, addr_book_strict: false, max_num_outbound_peers: 0, ..unlimited() };
    let (alice, bob) = (node_from(exchanges()), node_from(exchanges()));
    let (handle, events) = (alice.0.handle().clone(), alice.0.handle().subscribe());
    connect(&alice.0, &bob.0);
    let (peer, id) = (up(&alice.1), bob.0.handle().id());
    peer.mark_bad(HOUR, "a wrong block");
    let told = happens(&events, |event| match event {
        SwitchEvent::Bad { id, addr, reason, .. } => Some((id, addr, reason)),
        _ => None,
    });
    let addr = bob.0.handle().peer_address().unwrap().net_address();
    assert_eq!(told, (id, addr, "a wrong block".to_owned()));
    let state = &states(&alice.0)[&id];
    assert_eq!((state.state, state.is_bad), (ConnectionState::Connected, true));
    assert_eq!(handle.state_counts().unwrap().connected, 1, "a verdict ends no session");
    peer.mark_good();
    let reinstated = happens(&events, |event| match event {
        SwitchEvent::Reinstated { id } => Some(id),
        _ => None,
    });
    assert_eq!(reinstated, id);
    until("its address is a good one", || {
        let entries = handle.book().unwrap().addresses;
        entries.iter().any(|e| e.known.addr.id() == id && e.state == tmp2p::BookState::Old)
    });
    // A ban that is lifted is told as well.
    handle.ban(id, None, "spam").unwrap();
    handle.unban(id).unwrap();
    let lifted = happens(&events, |event| match event {
        SwitchEvent::Unbanned(ban) => Some(ban.target),
        _ => None,
    });
    assert_eq!(lifted, id.into());
    // Who is banned is still who he is otherwise.
    handle.add_persistent(bob.0.handle().peer_address().unwrap()).unwrap();
    handle.ban(id, None, "spam").unwrap();
    let state = &states(&alice.0)[&id];
    assert_eq!((state.state, state.is_persistent), (ConnectionState::Banned, true));
    assert_eq!(state.dial_addr, Some(bob.0.handle().peer_address().unwrap()));
    // Nothing happens after the end, on any thread.
    alice.0.stop(DEADLINE).unwrap();
    peer.mark_good();
    peer.mark_bad(HOUR, "late");
}

/// Its first byte names a message; one without a byte has none, and panics.
fn named(message: &[u8]) -> &'static str {
    assert_ne!(std::thread::current().name(), Some("p2p-loop"));
    match message[0] {
        0 => "vote",
        _ => "block",
    }
}

#[test]
fn messages_are_counted_by_type_where_somebody_names_them() {
    const UNNAMED: u8 = 0x71;
    let start = || {
        built(unlimited(), NodeKey::generate(), |_, wanted| {
            let votes = ChannelDescriptor::new(CHANNEL).message_type(named);
            *wanted = spec("test", [votes, ChannelDescriptor::new(UNNAMED)]).may_end();
        })
    };
    let (alice, bob) = (start(), start());
    let of = |node: &Switch| {
        let counted = node.handle().metrics().message_types;
        assert_eq!(counted.keys().copied().collect::<Vec<_>>(), [CHANNEL], "and no other");
        counted[&CHANNEL.into()]
            .iter()
            .map(|(name, c)| {
                (*name, c.sent_messages, c.sent_bytes, c.received_messages, c.received_bytes)
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&alice.0), [], "before there is anybody");
    alice.0.handle().dial(bob.0.handle().peer_address().unwrap()).wait().unwrap();
    let to_bob = up(&alice.1);
    up(&bob.1);
    to_bob.send(CHANNEL, vec![0; 10]).unwrap();
    to_bob.try_send(CHANNEL, vec![1; 1000]).unwrap();
    alice.0.handle().broadcast(CHANNEL, vec![1; 500]).unwrap().wait_timeout(DEADLINE);
    to_bob.send(CHANNEL, vec![]).unwrap();
    to_bob.send(CHANNEL, vec![0; 22_020_097]).unwrap_err();
    let sent = [("block", 2, 1500, 0, 0), ("other", 1, 0, 0, 0), ("vote", 1, 10, 0, 0)];
    assert_eq!(of(&alice.0), sent);
    // Received is what the reactor has let go of, in whatever way.
    let held = message(&bob.1);
    assert_eq!(of(&bob.0), []);
    drop(held);
    assert_eq!(of(&bob.0), [("vote", 0, 0, 1, 10)]);
    let payload = message(&bob.1).into_payload();
    let at = payload.as_ptr();
    let vec = payload.into_vec();
    assert_eq!(vec.as_ptr(), at, "it is its only owner");
    message(&bob.1).into_parts();
    drop(message(&bob.1));
    to_bob.send(UNNAMED, vec![0; 10]).unwrap();
    assert_eq!(message(&bob.1).channel(), UNNAMED);
    let received = [("block", 0, 0, 2, 1500), ("other", 0, 0, 1, 0), ("vote", 0, 0, 1, 10)];
    assert_eq!(of(&bob.0), received);
    // Nobody gets it, and it is dropped on the loop's thread, where no code of the application runs.
    drop(bob.1);
    to_bob.send(CHANNEL, vec![0; 10]).unwrap();
    let came = || bob.0.handle().metrics().channels[&CHANNEL.into()].received_messages;
    until("it has come", || came() == 5);
    // It stays when the session is over, and after the stop.
    let handle = alice.0.handle().clone();
    alice.0.stop(DEADLINE).unwrap();
    assert_eq!(handle.metrics().message_types[&CHANNEL.into()]["block"].sent_bytes, 1500);
    assert_eq!(of(&bob.0), received);
}

#[test]
fn what_happened_is_counted() {
    let (alice, bob) = (node_from(Config { max_num_inbound_peers: 1, ..unlimited() }), node());
    let (handle, events) = (alice.0.handle().clone(), alice.0.handle().subscribe());
    assert_eq!(handle.metrics().sessions, 0);
    let counted = handle.metrics().channels;
    assert_eq!(counted.keys().copied().collect::<Vec<_>>(), [CHANNEL], "before there is anybody");
    assert_eq!((counted[&CHANNEL.into()].sent_messages, counted[&CHANNEL.into()].queued), (0, 0));
    knock(&bob.0, handle.peer_address().unwrap(), &events).unwrap();
    let to_bob = up(&alice.1);
    for _ in 0..3 {
        to_bob.send(CHANNEL, vec![1; 1000]).unwrap();
    }
    up(&bob.1);
    for _ in 0..3 {
        message(&bob.1);
    }
    let guest = node();
    let refused = knock(&guest.0, handle.peer_address().unwrap(), &events).unwrap_err();
    assert_eq!(refused.kind(), "full");
    assert_eq!(dial(&alice.0, stranger(closed_port())), Err(DisconnectReason::Refused));
    let metrics = handle.metrics();
    assert_eq!((metrics.sessions, metrics.inbound_peers, metrics.outbound_peers), (1, 1, 0));
    assert_eq!(metrics.rejected, BTreeMap::from([("full", 1)]));
    assert_eq!(metrics.dials_failed, BTreeMap::from([("refused", 1)]));
    assert!(metrics.disconnects.is_empty());
    let channel = &metrics.channels[&CHANNEL.into()];
    assert_eq!((channel.sent_messages, channel.sent_bytes), (3, 3000));
    assert_eq!(bob.0.handle().metrics().channels[&CHANNEL.into()].received_messages, 3);
    // What a session has counted stays when it is over, and after the stop.
    to_bob.stop("enough");
    peer_down(&events);
    let check = || {
        let metrics = handle.metrics();
        assert_eq!((metrics.sessions, metrics.inbound_peers), (1, 0));
        assert_eq!(metrics.disconnects, BTreeMap::from([("reactor", 1)]));
        assert_eq!(metrics.channels[&CHANNEL.into()].sent_bytes, 3000);
        assert_eq!((metrics.accept_failures, metrics.dialing, metrics.bans), (0, 0, 0));
    };
    check();
    alice.0.stop(DEADLINE).unwrap();
    check();
}

#[test]
fn what_the_loop_counts_is_what_went_over_the_wire() {
    let (alice, bob) = (node(), node());
    let (to_bob, _) = pair(&alice, &bob);
    for size in [1, 1000, 100_000] {
        to_bob.send(CHANNEL, vec![1; size]).unwrap();
        message(&bob.1);
    }
    let (of_alice, of_bob) = (alice.0.handle().clone(), bob.0.handle().clone());
    alice.0.stop(DEADLINE).unwrap();
    down(&bob.1);
    let [alice, bob_now] = [&of_alice, &of_bob].map(|handle| handle.metrics().event_loop);
    assert_eq!(bob_now.read_bytes, alice.written_bytes, "Bob reads to the end");
    assert!(alice.written_bytes > 101_001, "{alice:?}");
    assert!((1000..=bob_now.written_bytes).contains(&alice.read_bytes), "{alice:?}, {bob_now:?}");
    assert_eq!(alice.accepted + bob_now.accepted, 1);
    assert!(alice.turns > 0 && alice.longest_turn > Duration::ZERO, "{alice:?}");
    // It stays after the stop.
    bob.0.stop(DEADLINE).unwrap();
    assert!(of_bob.metrics().event_loop.read_bytes == alice.written_bytes);
}

/// The fault: who added up while a session ended counted it twice, or not at all.
#[test]
fn what_was_counted_is_never_less_later_while_sessions_end() {
    let (alice, bob) = (node(), node());
    let handle = alice.0.handle().clone();
    let sent = move || handle.metrics().channels[&CHANNEL.into()].sent_bytes;
    let (over, ends) = tmp2p::crossbeam_channel::bounded::<()>(0);
    let reads = sent.clone();
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        while ends.try_recv().is_err_and(|error| error.is_empty()) {
            let now = reads();
            assert!(now >= last, "{now} bytes, and there were {last}");
            last = now;
        }
        last
    });
    for session in 1..=100 {
        let (to_bob, _) = pair(&alice, &bob);
        to_bob.send(CHANNEL, vec![1; 1000]).unwrap();
        message(&bob.1);
        to_bob.stop("next session");
        assert_eq!(down(&alice.1).0, to_bob);
        down(&bob.1);
        until("it is retired", || sent() == session * 1000);
    }
    drop(over);
    assert!(reader.join().unwrap() <= 100_000, "nothing is counted twice");
}
