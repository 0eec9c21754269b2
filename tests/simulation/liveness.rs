//! Who is still there, and what silence, slowness and floods cost.

use std::time::Duration;

use tmp2p::{
    DisconnectReason, SwitchEvent,
    internals::protocol::{
        LinkError,
        mconn::{MConnError, packet::Packet},
        secret::{FRAME_SEALED, Null},
    },
};

use crate::{options::Options, raw::RawPeer, world::World};

const SECOND: Duration = Duration::from_secs(1);

/// How far a peer goes before it begins to trickle.
#[derive(Clone, Copy, Debug)]
enum Until {
    Connected,
    HalfEphemeral,
    Authenticated,
    HalfNodeInfo,
}

/// The fault: a peer that sends a byte now and then kept a connection without ever being known.
#[test]
fn node_info_not_bounded_by_the_deadline() {
    let stages =
        [Until::Connected, Until::HalfEphemeral, Until::Authenticated, Until::HalfNodeInfo];
    for until in stages {
        for trickles in [false, true] {
            let mut world = World::<Null>::new(1);
            let b = world.add(Options::default());
            let began = world.now;
            let mut raw = RawPeer::connect(&mut world, b, 1);
            let mut trickle: Vec<u8> = Vec::new();
            let is_sealed = matches!(until, Until::Authenticated | Until::HalfNodeInfo);
            if is_sealed {
                raw.authenticate(&mut world);
                trickle = raw.node_info(&Options::default());
                if matches!(until, Until::HalfNodeInfo) {
                    let rest = trickle.split_off(trickle.len() / 2);
                    raw.put(&trickle);
                    raw.flush(&mut world);
                    trickle = rest;
                }
            } else {
                trickle.extend([34, 10, 32]);
                trickle.extend([9; 32]);
                if matches!(until, Until::HalfEphemeral) {
                    raw.out.extend(trickle.drain(..20));
                    raw.flush(&mut world);
                }
            }
            let mut bytes = trickle.into_iter();
            while world.nodes[b].core.num_connections() > 0 {
                assert!(world.now.since(began) < 30 * SECOND, "{until:?}: no deadline");
                world.run_for(SECOND / 2);
                // So slowly that it does not come to an end.
                if trickles && let Some(byte) = bytes.next() {
                    match is_sealed {
                        true => raw.put(&[byte]),
                        false => raw.out.push(byte),
                    }
                    raw.write();
                }
            }
            let took = world.now.since(began);
            // Who is authenticated has 3 s left.
            let limit = if is_sealed { 3 } else { 20 } * SECOND;
            assert!((limit..limit + SECOND).contains(&took), "{until:?}: {took:?}");
            let timeout = DisconnectReason::HandshakeTimeout(limit);
            let is_told = world.nodes[b]
                .events
                .iter()
                .any(|e| matches!(e, SwitchEvent::Rejected { reason, .. } if *reason == timeout));
            assert!(is_told, "{:?}", world.nodes[b].events);
            world.stop_all();
        }
    }
}

#[test]
fn a_peer_that_says_nothing_is_given_up_after_ping_and_time_out() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::default());
    let mut raw = RawPeer::session(&mut world, b, 1);
    let began = world.now;
    world.run_for(104 * SECOND);
    assert_eq!(world.nodes[b].core.num_connections(), 1);
    raw.count(world.now);
    assert_eq!(raw.pings, 1, "it was asked");
    let is_over = |w: &World<Null>| w.nodes[b].core.num_connections() == 0;
    assert!(world.run_until(2 * SECOND, is_over));
    assert!(world.now.since(began) >= 104 * SECOND);
    world.run_for(SECOND);
    let reactor = &world.nodes[b].reactors[0];
    let down = reactor.sessions.values().next().unwrap().down.clone().unwrap();
    let reason = DisconnectReason::Protocol(LinkError::MConn(MConnError::PongTimeout));
    assert_eq!((&*down, down.kind()), (&reason, "pong_timeout"));
    world.stop_all();
}

#[test]
fn idle_nodes_keep_each_other_alive_and_measure_the_round_trip() {
    let mut world = World::<Null>::new(1);
    let (a, b) = (world.add(Options::default()), world.add(Options::default()));
    let (at_a, at_b) = world.connect(a, b);
    let turns = world.nodes[a].turns;
    world.run_for(3600 * SECOND);
    assert_eq!((world.down(a, 0, at_a.conn()), world.down(b, 0, at_b.conn())), (None, None));
    // Sixty pings a side, each with a pong: a few turns each.
    let turns = world.nodes[a].turns - turns;
    assert!(turns < 60 * 8, "{turns} turns in an idle hour");
    let rtt = at_a.status().rtt.expect("measured");
    assert!((Duration::from_micros(100)..Duration::from_millis(1)).contains(&rtt), "{rtt:?}");
    world.stop_all();
}

/// The fault: every ping of a flood was answered.
#[test]
fn ping_flood() {
    const PINGS: usize = 1_000_000;
    let mut world = World::<Null>::new(1);
    let options = Options::with(|c| c.recv_rate = 5_120_000);
    let (a, b) = (world.add(Options::default()), world.add(options));
    let (at_a, _) = world.connect(a, b);
    let mut raw = RawPeer::session(&mut world, b, 1);
    let began = world.now;
    raw.put(&[2, 0x0a, 0].repeat(PINGS));
    let (turns, sent) = (world.nodes[b].turns, raw.out.len());
    while !raw.write() {
        world.run_for(SECOND / 100);
        raw.count(world.now);
        world.send(a, &at_a, 0x20, 100).unwrap();
    }
    world.run_for(5 * SECOND);
    raw.count(world.now);
    let seconds = world.now.since(began).as_secs_f64();
    // A burst of 8, then one each 100 ms.
    let most = 8 + (seconds * 10.0) as usize + 1;
    assert!((1..=most).contains(&raw.pongs.len()), "{} in {seconds} s", raw.pongs.len());
    assert!(raw.pings + raw.data == 0 && raw.end.is_none());
    // A read takes several frames at a time.
    let turns = (world.nodes[b].turns - turns) as usize;
    assert!(turns < sent / FRAME_SEALED / 2, "{turns} turns for {sent} bytes");
    let (accepted, delivered) = world.counts(a, at_a.conn());
    assert_eq!(accepted, delivered, "the other peer is undisturbed");
    raw.close();
    world.stop_all();
}

/// The fault: a peer that took a byte a minute of what was queued for it, and sent something now and
/// then, was kept for ever.
#[test]
fn a_peer_that_reads_nothing_is_ended_after_three_send_time_outs() {
    for (bytes, every, is_ended) in
        [(0, 1, true), (1, 10, true), (100, 10, true), (8 << 10, 1, false)]
    {
        let mut world = World::<Null>::new(1);
        let b = world.add(Options::default());
        let mut raw = RawPeer::session(&mut world, b, 1);
        let peer = world.nodes[b].peer(0, raw.id()).unwrap();
        let mut ping = Vec::new();
        Packet::Ping.encode(&mut ping);
        // Nothing is queued: it need not read.
        for _ in 0..20 {
            raw.put(&ping);
            raw.flush(&mut world);
            world.run_for(5 * SECOND);
        }
        assert_eq!(world.down(b, 0, peer.conn()), None);
        let began = world.now;
        for second in 0..300 {
            while world.send(b, &peer, 0x20, 10_000).is_ok() {}
            raw.put(&ping);
            raw.write();
            if second % every == 0 && bytes > 0 {
                raw.read_some(bytes);
            }
            world.run_for(SECOND);
            if let Some(reason) = world.down(b, 0, peer.conn()) {
                assert_eq!(reason, DisconnectReason::NotReading(30 * SECOND));
                assert_eq!(reason.kind(), "pong_timeout");
                break;
            }
        }
        let took = world.now.since(began);
        assert_eq!(world.down(b, 0, peer.conn()).is_some(), is_ended, "{bytes} every {every} s");
        assert!(!is_ended || (30 * SECOND..60 * SECOND).contains(&took), "{bytes}: {took:?}");
    }
}
