//! Accepted connections before they are established: who is let in, who waits, who goes; and
//! whether somebody is still there.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tmp2p::{
    Ban, BanOrigin, Config, ConnId, DisconnectReason, SwitchEvent,
    internals::event_loop::{BanTable, Command, Sockets},
    internals::protocol::secret::Null,
};

use crate::{
    dice::Dice,
    options::Options,
    raw::RawPeer,
    reactor::Mode,
    sockets::SimSockets,
    world::{Actor, World},
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A node to which the rules about addresses apply as they are by default.
pub(crate) fn strict(change: impl FnOnce(&mut Config)) -> Options {
    Options::with(|config| {
        config.exempt_cidrs = Vec::new();
        change(config);
    })
}

/// An address in a network of its own.
pub(crate) fn lone(number: usize) -> IpAddr {
    [11, (number >> 8) as u8, number as u8, 1].into()
}

/// Connects and says nothing.
pub(crate) fn silent(world: &mut World<Null>, to: usize, ip: IpAddr) -> SimSockets {
    let mut sockets = SimSockets::new(world.net.clone(), ip);
    sockets.connect(0, world.nodes[to].addr).unwrap();
    sockets
}

/// Kinds of the reasons for which connections were rejected after they were accepted.
pub(crate) fn rejected(world: &World<Null>, node: usize) -> Vec<&'static str> {
    let kind = |event: &SwitchEvent| match event {
        SwitchEvent::Rejected { reason, .. } => Some(reason.kind()),
        _ => None,
    };
    world.nodes[node].events.iter().filter_map(kind).collect()
}

/// How many reports name this.
fn told(world: &World<Null>, node: usize, what: &str) -> usize {
    world.nodes[node].told.iter().filter(|report| report.contains(what)).count()
}

fn command(world: &mut World<Null>, node: usize, command: Command) {
    world.nodes[node].commands.push_back(command);
    world.run_for(MILLI);
}

/// Somebody is up within this time.
pub(crate) fn is_up_within(
    world: &mut World<Null>,
    limit: Duration,
    from: usize,
    to: usize,
) -> bool {
    world.dial(from, to);
    let id = world.nodes[from].id;
    world.run_until(limit, |w| w.nodes[to].reactors.iter().all(|r| r.peer(id).is_some()))
}

/// The fault: each connection took half a megabyte, and there was no limit on them.
#[test]
fn unlimited_inbound_connections() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|c| c.max_pending_handshakes = 100));
    let honest = world.add(Options::default());
    let mut crowd = Vec::new();
    for number in 0..3000 {
        crowd.push(silent(&mut world, b, lone(number)));
        if number % 50 == 0 {
            world.run_for(MILLI);
        }
        assert!(world.nodes[b].core.num_pending() <= 100);
        assert!(world.nodes[b].num_sockets() <= 100);
    }
    assert!(is_up_within(&mut world, SECOND, honest, b), "{:?}", world.nodes[b].events.last());
    world.run_for(MILLI);
    assert_eq!(world.nodes[b].core.num_pending(), 99);
    let evicted = rejected(&world, b).iter().filter(|kind| **kind == "evicted").count();
    assert_eq!(evicted, 2901, "the oldest, for the newest and for the honest one");
    drop(crowd);
    world.run_for(25 * SECOND);
    assert_eq!(world.nodes[b].core.num_pending(), 0, "the handshake's deadline");
    world.stop_all();
}

/// The fault: handshakes were run one after the other, and one silent connection blocked all.
#[test]
fn serial_handshakes_one_telnet_blocks_all() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|_| {}));
    let honest = world.add(Options::default());
    // All of them, and last the honest one with its key, wait for the loop.
    world.hold(Actor::Loop(b), SECOND / 100);
    let mut crowd: Vec<_> = (0..900).map(|number| silent(&mut world, b, lone(number))).collect();
    world.run_for(MILLI);
    world.dial(honest, b);
    world.run_for(MILLI);
    let (sock, turns) = (world.sock(b, honest), world.nodes[b].turns);
    let is_answered = |w: &World<Null>| w.net.borrow().socks[sock].written > 35;
    assert!(world.run_until(SECOND / 10, is_answered));
    // 57 turns to accept them all; 225 to give each a key.
    let turns = world.nodes[b].turns - turns;
    assert!(turns <= 60, "{turns} turns for one that speaks among 900 that do not");
    let id = world.nodes[honest].id;
    assert!(world.run_until(SECOND / 10, |w| w.nodes[b].peer(0, id).is_some()));
    world.run_for(MILLI);
    assert_eq!(world.nodes[b].core.num_pending(), 900);
    let turns = world.nodes[b].turns;
    world.run_for(10 * SECOND);
    assert!(world.nodes[b].turns - turns < 1000, "nothing to do, and turns were taken");
    // Each of them was given our key when there was time.
    for sockets in &mut crowd {
        assert_eq!(sockets.read(0, &mut [0; 100]).unwrap(), 35);
    }
    world.stop_all();
}

#[test]
fn who_is_authenticated_goes_after_who_is_not() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|c| {
        (c.max_pending_per_ip, c.max_pending_per_subnet, c.max_pending_handshakes) = (1, 1, 3);
    }));
    let mut known = RawPeer::connect_from(&mut world, b, 1, lone(1));
    known.authenticate(&mut world);
    world.run_for(SECOND);
    let crowd: Vec<_> = (10..20).map(|number| silent(&mut world, b, lone(number))).collect();
    world.run_for(SECOND);
    assert_eq!(rejected(&world, b), ["evicted"; 8]);
    let info = known.node_info(&Options::default());
    known.put(&info);
    known.flush(&mut world);
    world.run_for(SECOND);
    assert!(world.nodes[b].peer(0, known.id()).is_some(), "it was not among them");
    assert_eq!(world.nodes[b].core.num_pending(), 2);
    drop(crowd);
    known.close();
    world.stop_all();
}

#[test]
fn who_comes_too_often_is_closed_at_once_and_told_why() {
    type Case = (fn(&mut Config), fn(usize) -> IpAddr, &'static str, usize);
    let same = |_| [11, 0, 0, 1].into();
    let near = |number: usize| [11, 0, 0, number as u8].into();
    let cases: [Case; 4] = [
        (|c| c.max_pending_per_ip = 32, same, "IpRate", 10),
        (|c| c.max_pending_per_subnet = 100, near, "SubnetRate", 40),
        (|_| {}, same, "IpPending", 8),
        (|_| {}, near, "SubnetPending", 32),
    ];
    for (change, ip, room, let_in) in cases {
        let mut world = World::<Null>::new(1);
        let b = world.add(strict(change));
        let crowd: Vec<_> =
            (0..let_in + 5).map(|number| silent(&mut world, b, ip(number))).collect();
        world.run_for(SECOND / 100);
        assert_eq!((told(&world, b, room), world.nodes[b].told.len()), (5, 5), "{room}");
        assert_eq!(world.nodes[b].core.num_connections(), let_in, "{room}");
        assert_eq!(world.nodes[b].num_sockets(), let_in);
        drop(crowd);
        world.stop_all();
    }
}

#[test]
fn a_full_node_runs_a_few_handshakes_a_second() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|_| {}));
    command(&mut world, b, Command::InboundFull(true));
    let crowd: Vec<_> = (0..100).map(|number| silent(&mut world, b, lone(number))).collect();
    world.run_for(SECOND);
    assert_eq!(world.nodes[b].core.num_pending(), 8);
    assert_eq!(told(&world, b, "Inbound"), 50, "the others are counted");
    let late = silent(&mut world, b, lone(200));
    world.run_for(SECOND);
    assert_eq!(world.nodes[b].core.num_pending(), 9);
    command(&mut world, b, Command::InboundFull(false));
    let more: Vec<_> = (300..350).map(|number| silent(&mut world, b, lone(number))).collect();
    world.run_for(SECOND);
    assert_eq!(world.nodes[b].core.num_pending(), 59);
    drop((crowd, late, more));
    world.stop_all();
}

/// The fault: `::ffff:1.2.3.4` was another address than `1.2.3.4`.
#[test]
fn ipv4_mapped_ipv6_bypasses_bans_and_per_ip_rules() {
    let mut world = World::<Null>::new(1);
    let b = world.add(strict(|_| {}));
    let (reason, origin) = (String::new(), BanOrigin::Operator);
    let ban = |target: &str| {
        let target = target.parse().unwrap();
        Ban { target, until: None, reason: reason.clone(), origin }
    };
    let table: BanTable = [ban("11.0.0.1"), ban("12.0.0.0/8")].into_iter().collect();
    command(&mut world, b, Command::Bans(Arc::new(table)));
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let mut crowd = Vec::new();
    for who in ["11.0.0.1", "::ffff:11.0.0.1", "12.3.4.5", "::ffff:12.3.4.5"] {
        crowd.push(silent(&mut world, b, ip(who)));
    }
    world.run_for(SECOND);
    assert_eq!((told(&world, b, "Banned"), told(&world, b, "ffff")), (4, 0));
    assert_eq!(world.nodes[b].core.num_connections(), 0);
    // Eight of one address may be pending, however it is written.
    for number in 0..10 {
        let who = if number % 2 == 0 { "11.0.0.2" } else { "::ffff:11.0.0.2" };
        crowd.push(silent(&mut world, b, ip(who)));
    }
    world.run_for(SECOND);
    assert_eq!((told(&world, b, "IpPending"), world.nodes[b].core.num_pending()), (2, 8));
    command(&mut world, b, Command::Bans(Arc::default()));
    crowd.push(silent(&mut world, b, ip("11.0.0.1")));
    world.run_for(SECOND);
    assert_eq!(world.nodes[b].core.num_pending(), 9);
    world.stop_all();
}

#[test]
fn nothing_is_sent_or_read_before_the_filters_have_decided() {
    let options = Options { filter_connections: true, ..Options::default() };
    for verdict in [Some(Ok(())), Some(Err(DisconnectReason::Filtered("no".into()))), None] {
        let mut world = World::<Null>::new(1);
        let (a, b) = (world.add(Options::default()), world.add(options.clone()));
        world.dial(a, b);
        world.run_for(SECOND);
        let conn = world.nodes[b].accepted[0];
        assert_eq!(world.nodes[b].told.len(), 1, "{:?}", world.nodes[b].told);
        assert!(world.nodes[b].told[0].starts_with("Accepted"));
        let sock = world.sock(b, a);
        {
            let net = world.net.borrow();
            assert_eq!((net.socks[sock].written, net.socks[sock].read), (0, 0));
        }
        assert_eq!(world.nodes[b].core.num_pending(), 1);
        let is_let_in = matches!(verdict, Some(Ok(())));
        if let Some(verdict) = verdict.clone() {
            command(&mut world, b, Command::Filtered { conn, verdict });
        }
        world.run_for(20 * SECOND);
        assert_eq!(world.peer(b, a).is_some(), is_let_in);
        let kinds: &[&str] = match verdict {
            Some(Ok(())) => &[],
            Some(Err(_)) => &["filtered"],
            None => &["filtered"],
        };
        assert_eq!(rejected(&world, b), kinds);
        assert_eq!(world.nodes[b].core.num_pending(), 0);
        // Said once more, it means nothing.
        let verdict = Err(DisconnectReason::Stopped);
        command(&mut world, b, Command::Filtered { conn, verdict });
        assert_eq!(world.peer(b, a).is_some(), is_let_in);
        world.stop_all();
    }
}

#[test]
fn a_probe_is_answered_by_who_is_there() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (world.add(Options::default()), world.add(Options::default()));
    let (_, at_b) = world.connect(a, b);
    let conn = at_b.conn();
    world.run_for(SECOND);
    command(&mut world, b, Command::Probe(conn));
    world.run_for(SECOND / 10);
    assert_eq!(world.nodes[b].told, [format!("Alive({conn:?})")]);
    world.run_for(100 * SECOND);
    assert_eq!(world.nodes[b].told.len(), 1, "once");
    // One of nobody is not answered.
    command(&mut world, b, Command::Probe(ConnId::new(0, conn.slot(), 77)));
    command(&mut world, b, Command::Probe(ConnId::new(0, 4711, 0)));
    assert_eq!(world.nodes[b].told.len(), 1);
    world.stop_all();
}

#[test]
fn a_probe_of_who_is_silent_is_not_answered() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::default());
    let mut raw = RawPeer::session(&mut world, b, 1);
    let conn = world.nodes[b].peer(0, raw.id()).unwrap().conn();
    for _ in 0..3 {
        command(&mut world, b, Command::Probe(conn));
    }
    world.run_for(SECOND);
    raw.count(world.now);
    assert_eq!((raw.pings, told(&world, b, "Alive")), (1, 0), "asked once, and waiting");
    raw.put(&[2, 0x12, 0]);
    raw.flush(&mut world);
    world.run_for(SECOND);
    assert_eq!(told(&world, b, "Alive"), 1);
    raw.close();
    world.stop_all();
}

#[test]
fn who_is_not_read_counts_as_alive() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| (c.reactor_budget, c.parking_per_peer) = (1000, 1000)));
    let mut raw = RawPeer::session(&mut world, b, 1);
    let conn = world.nodes[b].peer(0, raw.id()).unwrap().conn();
    for reactor in 0..2 {
        world.set_mode(b, reactor, Mode::Stuck);
        world.nodes[b].reactors[reactor].is_foreign = true;
    }
    raw.put_messages(0x20, 100, 900);
    raw.flush(&mut world);
    world.run_for(SECOND);
    assert_eq!(told(&world, b, "Alive"), 0);
    command(&mut world, b, Command::Probe(conn));
    assert_eq!(told(&world, b, "Alive"), 1);
    raw.close();
    world.stop_all();
}

#[test]
fn the_end_is_told_before_everything_is_delivered() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| (c.reactor_budget, c.parking_per_peer) = (1000, 1000)));
    let mut raw = RawPeer::session(&mut world, b, 1);
    let conn = world.nodes[b].peer(0, raw.id()).unwrap().conn();
    for reactor in 0..2 {
        world.set_mode(b, reactor, Mode::Stuck);
        world.nodes[b].reactors[reactor].is_foreign = true;
    }
    raw.put_messages(0x20, 100, 900);
    raw.flush(&mut world);
    raw.close();
    world.run_for(SECOND);
    assert!(world.nodes[b].ending.contains(&conn));
    assert_eq!(world.nodes[b].core.num_connections(), 1, "a reactor has not taken everything");
    command(&mut world, b, Command::Probe(conn));
    world.run_for(SECOND);
    assert_eq!(told(&world, b, "Alive"), 0, "it is not there any more");
    world.stop_all();
}

/// A node that connects anew and goes away again: the session is left alone.
#[test]
fn a_second_connection_that_is_closed_waits_for_nothing() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::default());
    let mut first = RawPeer::session(&mut world, b, 1);
    let mut second = RawPeer::connect(&mut world, b, 1);
    second.authenticate(&mut world);
    let node_info = second.node_info(&Options::default());
    second.put(&node_info);
    second.flush(&mut world);
    world.run_for(SECOND);
    assert_eq!(rejected(&world, b), Vec::<&str>::new(), "the session was asked, and is silent");
    second.close();
    world.run_for(SECOND);
    assert_eq!(rejected(&world, b), ["duplicate_id"]);
    world.run_for(20 * SECOND);
    assert!(world.nodes[b].peer(0, first.id()).is_some(), "{:?}", world.nodes[b].events);
    assert_eq!(world.nodes[b].core.num_connections(), 1);
    first.close();
    world.stop_all();
}

#[test]
fn a_reactor_that_is_gone_is_told_once() {
    let mut world = World::<Null>::new(1);
    let options = Options { may_end: true, ..Options::default() };
    let (a, b) = (world.add(Options::default()), world.add(options));
    let (at_a, at_b) = world.connect(a, b);
    world.nodes[b].reactors[0].leave();
    for _ in 0..5 {
        let payload = Dice::new(1).bytes().to_vec();
        at_a.try_send(0x20, payload).unwrap();
        world.run_for(SECOND);
    }
    assert_eq!(world.nodes[b].told, ["ReactorGone(0)"]);
    assert_eq!(at_b.status().channels[0].received_messages, 5, "the session goes on");
}
