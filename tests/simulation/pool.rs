//! The pool of unfinished messages.

use std::time::Duration;

use tmp2p::protocol::{mconn::packet::Packet, secret::Null};

use crate::{
    node::Options,
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
            assert_eq!(kind, (number == 0).then_some("evicted"), "peer {number}");
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
