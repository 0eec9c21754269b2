//! Reactors that do not keep up.

use std::time::Duration;

use tmp2p::internals::protocol::secret::Null;

use crate::{
    options::Options,
    raw::RawPeer,
    reactor::Mode,
    world::{World, seeds},
};

const MS: Duration = Duration::from_millis(1);
const STEP: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);

/// What an envelope counts beside its bytes.
const OVERHEAD: usize = 256;

/// The fault: one reactor that took its time kept pongs and all other channels waiting, until
/// healthy peers were dropped.
#[test]
fn a_slow_receive_blocks_pongs_and_all_channels() {
    for seed in seeds(3) {
        let mut world = World::<Null>::new(seed);
        world.net.borrow_mut().weather.recv_buffer = 64 << 10;
        world.net.borrow_mut().weather.send_buffer = 64 << 10;
        let options = Options::with(|c| {
            (c.reactor_budget, c.parking_per_peer) = (50_000, 100_000);
            // Who sends is patient with who does not read.
            c.send_timeout = 5 * MINUTE;
        });
        let (a, b, c) =
            (world.add(options.clone()), world.add(options.clone()), world.add(options));
        let (at_a, at_b) = world.connect(a, b);
        let (at_c, _) = world.connect(c, b);
        world.set_mode(b, 1, Mode::Stuck);

        // Less than budget and parking: nobody else notices.
        for _ in 0..20 {
            world.send(a, &at_a, 0x30, 5000).unwrap();
            world.run_for(20 * MS);
            assert_prompt(&mut world, a, &at_a, b);
        }
        let parked = world.nodes[b].core.parked_bytes();
        assert!(parked > 0 && world.nodes[b].budget_used(at_b.conn(), 1) >= 50_000);

        // A flood: reading stops, the connection lives.
        let mut most_parked = 0;
        let end = world.now + 10 * MINUTE;
        while world.now < end {
            while world.send(a, &at_a, 0x30, 5000).is_ok() {}
            world.run_for(STEP);
            most_parked = most_parked.max(world.nodes[b].core.parked_bytes());
            if (world.now.as_nanos() / 1_000_000_000).is_multiple_of(30) {
                assert_prompt(&mut world, c, &at_c, b);
            }
        }
        assert!(most_parked <= 100_000 + 5120 + OVERHEAD, "parked {most_parked}");
        assert!(world.nodes[b].budget_used(at_b.conn(), 1) <= 50_000 + 5120 + OVERHEAD);
        assert_eq!(world.down(a, 0, at_a.conn()), None);
        assert_eq!(world.down(b, 0, at_b.conn()), None);

        // It was only slow.
        world.set_mode(b, 1, Mode::Reads);
        world.run_for(MINUTE);
        let (accepted, delivered) = world.counts(a, at_a.conn());
        assert_eq!(accepted, delivered);
        assert_eq!(world.nodes[b].core.parked_bytes(), 0);
        assert_prompt(&mut world, a, &at_a, b);
        world.stop_all();
    }
}

/// A small message on another reactor's channel arrives within 10 ms.
fn assert_prompt(world: &mut World<Null>, from: usize, peer: &tmp2p::Peer, to: usize) {
    let before = world.nodes[to].reactors[0].num_messages();
    world.send(from, peer, 0x20, 100).unwrap();
    let has_come = |w: &World<Null>| w.nodes[to].reactors[0].num_messages() > before;
    assert!(world.run_until(10 * MS, has_come), "a message waited behind a slow reactor");
}

#[test]
fn a_peer_that_is_not_read_gets_a_pong_every_20_s() {
    let mut world = World::<Null>::new(1);
    world.net.borrow_mut().weather.recv_buffer = 20_000;
    let options = Options::with(|c| (c.reactor_budget, c.parking_per_peer) = (5000, 5000));
    let b = world.add(options);
    world.nodes[b].reactors[1].is_foreign = true;
    let mut raw = RawPeer::session(&mut world, b, 1);
    world.set_mode(b, 1, Mode::Stuck);
    // It also pings, but that is behind what nobody reads.
    raw.put_messages(0x30, 200, 1000);
    raw.put(&[2, 0x0a, 0]);
    let began = world.now;
    while world.now < began + 10 * MINUTE {
        raw.write();
        world.run_for(STEP);
        raw.count(world.now);
        assert_eq!(raw.end, None);
    }
    assert!(!raw.out.is_empty(), "reading has stopped");
    let mut last = began;
    for &pong in &raw.pongs {
        let gap = pong.since(last);
        assert!(gap <= Duration::from_secs(21), "{gap:?} without a pong");
        last = pong;
    }
    assert!((28..=31).contains(&raw.pongs.len()), "{} pongs", raw.pongs.len());
    // Its pings are answered once they are read; and all that waited arrives.
    world.set_mode(b, 1, Mode::Reads);
    raw.flush(&mut world);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.nodes[b].reactors[1].num_messages(), 200);
    let before = raw.pongs.len();
    raw.count(world.now);
    // One is the answer; one that nobody asked for may be due in these 5 s.
    let more = raw.pongs.len() - before;
    assert!((1..=2).contains(&more), "{more} pongs");
    raw.close();
    world.run_for(Duration::from_secs(1));
    world.stop_all();
}

/// The fault: two reactors were found to have room again in one look, the first peer's messages filled
/// one of them anew, and what others had for the other one waited until that was full again.
#[test]
fn a_stuck_reactor_holds_up_no_other_that_has_room_again() {
    const LEN: usize = 5000;
    for seed in seeds(8) {
        let mut world = World::<Null>::new(seed);
        let few = Options::with(|c| c.drain_timeout = 10 * MINUTE);
        let b = world.add(Options::with(|c| {
            (c.reactor_budget, c.delivered_total) = (50_000, 100_000);
            // Never full: then a peer is not read at all.
            (c.parking_per_peer, c.parking_total) = (1_000_000, 10_000_000);
        }));
        let peers: Vec<_> = (0..6).map(|_| world.add(few.clone())).collect();
        let sessions: Vec<_> = peers.iter().map(|&peer| world.connect(peer, b)).collect();
        for reactor in 0..2 {
            world.set_mode(b, reactor, Mode::Stuck);
        }
        let mut sent = 0;
        for _ in 0..60 {
            for (&from, (peer, _)) in peers.iter().zip(&sessions) {
                sent += u64::from(world.send(from, peer, 0x20, LEN).is_ok());
                let _ = world.send(from, peer, 0x30, LEN);
            }
            world.run_for(STEP / 10);
        }
        assert!(world.nodes[b].core.parked_bytes() > 0);
        // Both let go at once, and one is stuck again as soon as it has got something.
        let held = |w: &World<Null>, reactor| -> usize {
            sessions.iter().map(|(_, at_b)| w.nodes[b].budget_used(at_b.conn(), reactor)).sum()
        };
        for reactor in 0..2 {
            world.set_mode(b, reactor, Mode::Reads);
        }
        world.run_until(MINUTE, |w| held(w, 1) == 0);
        world.set_mode(b, 1, Mode::Stuck);
        let all = |w: &World<Null>| w.nodes[b].reactors[0].num_messages() >= sent;
        assert!(world.run_until(MINUTE, all), "{} held by the other", held(&world, 1));
        world.set_mode(b, 1, Mode::Reads);
        world.run_for(MINUTE);
        world.stop_all();
    }
}

/// The fault: what a peer sent and nobody took was queued without bound.
#[test]
fn unbounded_receive_queue() {
    const MOST: usize = 20_000;
    /// The memory that the largest takes.
    const ROOM: usize = 20_480;
    const BUDGET: usize = 30_000;
    const PER_PEER: usize = 60_000;
    const TOTAL: usize = 150_000;
    for seed in seeds(2) {
        let mut world = World::<Null>::new(seed);
        let mut options = Options::with(|c| {
            (c.reactor_budget, c.parking_per_peer, c.parking_total) = (BUDGET, PER_PEER, TOTAL);
            c.max_recv_packet_size = 4096;
        });
        for channel in options.reactors.iter_mut().flatten() {
            *channel = channel.recv_message_capacity(MOST);
        }
        let b = world.add(options);
        for reactor in 0..2 {
            world.nodes[b].reactors[reactor].is_foreign = true;
        }
        let mut raws: Vec<RawPeer> =
            (1..=5).map(|number| RawPeer::session(&mut world, b, number)).collect();
        for reactor in 0..2 {
            world.set_mode(b, reactor, Mode::Stuck);
        }
        for raw in &mut raws {
            for i in 0..30 {
                let len = 1 + world.dice.below(MOST);
                raw.put_messages([0x20, 0x81, 0x30][i % 3], 1, len);
            }
            // Many small ones count, too.
            raw.put_messages(0x30, 2000, 0);
        }
        let conns: Vec<_> = world.nodes[b].introduced.keys().copied().collect();
        let within = |w: &World<Null>| {
            let node = &w.nodes[b];
            for conn in &conns {
                for reactor in 0..2 {
                    assert!(node.budget_used(*conn, reactor) <= BUDGET + ROOM + OVERHEAD);
                }
            }
            assert!(node.core.parked_bytes() <= TOTAL + ROOM + OVERHEAD);
            assert!(node.core.parked_bytes() <= conns.len() * (PER_PEER + ROOM + OVERHEAD));
            // Three channels with one unfinished message each, and one that found the parking full.
            assert!(node.core.unfinished_bytes() <= conns.len() * (4 * ROOM + 4096));
            false
        };
        for _ in 0..100 {
            for raw in &mut raws {
                raw.write();
            }
            world.run_until(10 * MS, within);
        }
        assert!(world.nodes[b].core.parked_bytes() >= TOTAL, "the flood was one");
        for reactor in 0..2 {
            world.set_mode(b, reactor, Mode::Reads);
        }
        for raw in &mut raws {
            raw.flush(&mut world);
        }
        world.run_until(Duration::from_secs(5), within);
        let received: u64 = world.nodes[b].reactors.iter().map(|r| r.num_messages()).sum();
        assert_eq!(received, 5 * 2030, "nothing was dropped");
        assert_eq!(world.nodes[b].core.parked_bytes(), 0);
        world.stop_all();
    }
}

#[test]
fn envelopes_that_are_kept_hold_their_budget() {
    let mut world = World::<Null>::new(1);
    let options = Options::with(|c| c.reactor_budget = 10_000);
    let (a, b) = (world.add(options.clone()), world.add(options));
    let (at_a, at_b) = world.connect(a, b);
    world.set_mode(b, 1, Mode::Keeps(1000));
    for _ in 0..50 {
        world.send(a, &at_a, 0x30, 1000).unwrap();
        world.run_for(MS);
    }
    let kept = world.nodes[b].reactors[1].kept.len();
    assert_eq!(kept, 10_000usize.div_ceil(1024 + OVERHEAD), "then it was paused");
    assert_eq!(world.nodes[b].budget_used(at_b.conn(), 1), kept * (1024 + OVERHEAD));
    world.set_mode(b, 1, Mode::Reads);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.counts(a, at_a.conn()), (50, 50));
    assert_eq!(world.nodes[b].budget_used(at_b.conn(), 1), 0);
    world.stop_all();
}

/// The fault: what a reactor holds was bounded for each peer alone, so that with many peers it was
/// gigabytes.
#[test]
fn what_reactors_hold_of_all_peers_together_is_bounded() {
    const TOTAL: usize = 400_000;
    const LEN: usize = 5000;
    const PEERS: usize = 12;
    for seed in seeds(3) {
        let mut world = World::<Null>::new(seed);
        let few = Options::with(|c| c.drain_timeout = 10 * MINUTE);
        let options = Options::with(|c| {
            (c.reactor_budget, c.delivered_total) = (100_000, TOTAL);
            (c.parking_per_peer, c.parking_total) = (50_000, 400_000);
            c.drain_timeout = 10 * MINUTE;
        });
        let b = world.add(options);
        let peers: Vec<_> = (0..PEERS).map(|_| world.add(few.clone())).collect();
        let sessions: Vec<_> = peers.iter().map(|&peer| world.connect(peer, b)).collect();
        let calm = world.add(few);
        let (at_calm, _) = world.connect(calm, b);
        world.set_mode(b, 1, Mode::Stuck);
        let held = |world: &World<Null>, reactor| -> usize {
            sessions.iter().map(|(_, at_b)| world.nodes[b].budget_used(at_b.conn(), reactor)).sum()
        };
        // One of them goes, and what it has sent is held on.
        for _ in 0..10 {
            world.send(peers[0], &sessions[0].0, 0x30, LEN).unwrap();
        }
        world.run_for(STEP);
        sessions[0].0.flush_stop();
        let mut most = 0;
        for _ in 0..300 {
            for (&from, (peer, _)) in peers.iter().zip(&sessions).skip(1) {
                let _ = world.send(from, peer, 0x30, LEN);
            }
            world.run_for(STEP / 10);
            most = most.max(held(&world, 1));
            assert!(most <= TOTAL / 2 + 5120 + OVERHEAD, "{most} bytes held");
            assert!(world.nodes[b].core.parked_bytes() <= 400_000 + 5120 + OVERHEAD);
        }
        assert!(most >= TOTAL / 2 - LEN - OVERHEAD, "only {most} bytes, of half of {TOTAL}");
        // The other reactor has its own share.
        assert_prompt(&mut world, calm, &at_calm, b);
        // It works again, slowly: nobody is forgotten, nothing lost, all in order.
        world.set_mode(b, 1, Mode::Keeps(3));
        world.run_for(MINUTE);
        world.set_mode(b, 1, Mode::Reads);
        assert!(
            world.run_until(MINUTE, |w| held(w, 1) == 0 && w.nodes[b].core.parked_bytes() == 0)
        );
        world.run_for(STEP);
        for (&from, (peer, _)) in peers.iter().zip(&sessions) {
            let (accepted, delivered) = world.counts(from, peer.conn());
            assert_eq!(accepted, delivered);
        }
        // The loop does not look all the time at what nobody holds.
        let turns = world.nodes[b].turns;
        world.run_for(10 * MINUTE);
        assert!(world.nodes[b].turns - turns < 1000, "{} turns", world.nodes[b].turns - turns);
        world.stop_all();
    }
}
