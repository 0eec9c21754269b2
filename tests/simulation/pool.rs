//! The pool of unfinished messages.

use std::time::Duration;

use tmp2p::internals::protocol::{mconn::packet::Packet, secret::Null};

use crate::{
    options::Options,
    raw::RawPeer,
    world::{World, seeds},
};

#[test]
fn the_largest_holder_of_unfinished_messages_goes() {
    const POOL: usize = 300_000;
    for seed in seeds(5) {
        let mut world = World::<Null>::new(seed);
        let b = world.add(Options::with(|c| {
            c.reassembly_pool = POOL;
            c.max_recv_packet_size = 10_000;
        }));
        world.nodes[b].reactors[0].is_foreign = true;
        let mut raws: Vec<RawPeer> =
            (1..=4).map(|number| RawPeer::session(&mut world, b, number)).collect();
        let piece = |raw: &mut RawPeer, channel, len, eof| {
            let mut packet = Vec::new();
            Packet::Msg { channel_id: channel, eof, data: &vec![0; len] }.encode(&mut packet);
            raw.put(&packet);
        };
        // Modest ones, then one that takes all that is left and more.
        for raw in &mut raws[1..] {
            piece(raw, 0x81, 10_000, false);
            raw.flush(&mut world);
        }
        for _ in 0..60 {
            piece(&mut raws[0], 0x20, 9000, false);
            raws[0].flush(&mut world);
            world.run_until(Duration::from_millis(2), |w| {
                // Buffers grow by doubling, and the check comes after a read.
                assert!(w.nodes[b].core.unfinished_bytes() <= 2 * POOL);
                false
            });
        }
        world.run_for(Duration::from_secs(1));
        let node = &world.nodes[b];
        for (number, raw) in raws.iter().enumerate() {
            let sessions = &node.reactors[0].sessions;
            let seen = sessions.values().find(|seen| seen.peer.id() == raw.id()).unwrap();
            let kind = seen.down.as_ref().map(|reason| reason.kind());
            assert_eq!(kind, (number == 0).then_some("reassembly_pool"), "peer {number}");
        }
        assert!(node.core.unfinished_bytes() >= 30_000);
        // The others finish theirs.
        for raw in &mut raws[1..] {
            piece(raw, 0x81, 10_000, true);
            raw.flush(&mut world);
        }
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.nodes[b].core.unfinished_bytes(), 0);
        assert_eq!(world.nodes[b].reactors[0].messages.len(), 3);
        world.stop_all();
    }
}

/// Whoever has a reserved place goes only if nobody else holds anything.
#[test]
fn reserved_peers_go_last() {
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| {
        c.reassembly_pool = 100_000;
        c.max_recv_packet_size = 10_000;
    }));
    let mut raws = Vec::new();
    for number in 1..=3 {
        let mut raw = RawPeer::connect(&mut world, b, number);
        if number == 1 {
            world.nodes[b].reserved.insert(raw.id());
        }
        raw.establish(&mut world, b);
        raws.push(raw);
    }
    // The third one holds nothing; the second little, and the reserved one too much.
    for (number, pieces) in [(1, 1), (0, 20)] {
        for _ in 0..pieces {
            let mut packet = Vec::new();
            let data = &[0; 9000];
            Packet::Msg { channel_id: 0x20, eof: false, data }.encode(&mut packet);
            raws[number].put(&packet);
            raws[number].flush(&mut world);
            world.run_for(Duration::from_millis(2));
        }
        let up = |raw: &RawPeer| world.nodes[b].peer(0, raw.id()).is_some();
        let ups: Vec<bool> = raws.iter().map(up).collect();
        // First the other one went, and then, as that was not enough, the reserved one.
        let is_over = number == 0;
        assert_eq!(ups, [!is_over, !is_over, true]);
    }
    let sessions = world.nodes[b].reactors[0].sessions.values();
    let order: Vec<_> = world.nodes[b].downs();
    assert_eq!(sessions.count(), 3);
    assert_eq!(order, [raws[1].id(), raws[0].id()]);
    world.stop_all();
}
