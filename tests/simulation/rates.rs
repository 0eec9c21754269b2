//! Rates between two nodes.

use std::time::Duration;

use tmp2p::{
    internals::protocol::{mconn::packet::Packet, secret::Null},
    internals::time::Mono,
};

use crate::{
    options::Options,
    raw::{RawPeer, put_message},
    world::World,
};

const LEN: usize = 1000;

/// The fault: a sender and a receiver with the same rate slowed each other down, and neither kept
/// to it.
#[test]
fn rate_limiter_asymmetric_and_inaccurate() {
    for rate in [64_000, 500_000, 5_120_000, 20_000_000] {
        let seconds = if rate < 1_000_000 { 20 } else { 2 };
        let measured = |sends, receives| measure(sends, receives, seconds, LEN) / rate as f64;
        for (share, what) in
            [(measured(rate, 0), "sending"), (measured(rate, rate), "sending to the same")]
        {
            assert!((0.98..=1.0).contains(&share), "{what}: {share} of {rate}");
        }
        let share = measured(0, rate);
        assert!((1.0..=1.02).contains(&share), "receiving: {share} of {rate}");
    }
}

/// Encoded bytes per second that arrive.
fn measure(send_rate: u64, recv_rate: u64, seconds: u64, len: usize) -> f64 {
    let mut world = World::<Null>::new(1);
    let a = world.add(Options::with(|c| c.send_rate = send_rate));
    let b = world.add(Options::with(|c| c.recv_rate = recv_rate));
    let (at_a, _) = world.connect(a, b);
    let mut encoded = Vec::new();
    Packet::Msg { channel_id: 0x20, eof: true, data: &vec![0; len] }.encode(&mut encoded);
    let began: Mono = world.now;
    let end = began + Duration::from_secs(seconds);
    while world.now < end {
        while world.send(a, &at_a, 0x20, len).is_ok() {}
        world.run_for(Duration::from_millis(1));
    }
    let took = world.now.since(began).as_secs_f64();
    let (_, delivered) = world.counts(a, at_a.conn());
    delivered as f64 * encoded.len() as f64 / took
}

/// The fault: a frame with one byte was charged with one byte, and is 1044 on the line.
#[test]
fn frames_with_hardly_anything_in_them_are_held_to_the_rate_too() {
    const RATE: u64 = 64_000;
    let mut world = World::<Null>::new(1);
    let b = world.add(Options::with(|c| c.recv_rate = RATE));
    world.nodes[b].reactors[0].is_foreign = true;
    let mut raw = RawPeer::session(&mut world, b, 1);
    let peer = world.nodes[b].peer(0, raw.id()).unwrap();
    let mut packet = Vec::new();
    put_message(&mut packet, 0x20, &[7; 100]);
    for _ in 0..2000 {
        if raw.out.len() < 1 << 20 {
            packet.iter().for_each(|byte| raw.put(&[*byte]));
        }
        raw.write();
        world.run_for(Duration::from_millis(10));
    }
    let messages: u64 = peer.status().channels.iter().map(|c| c.received_messages).sum();
    let frames = messages * packet.len() as u64;
    // A quarter of a frame each, for 20 s.
    let most = 20 * RATE / 256;
    assert!((most * 9 / 10..most * 11 / 10).contains(&frames), "{frames} frames of {most}");
}

/// Both sides count frames alike: with equal rates nothing piles up before the receiver.
#[test]
fn small_messages_are_not_held_up_by_an_equal_receive_rate() {
    for rate in [64_000, 500_000] {
        let alone = measure(rate, 0, 10, 100);
        let both = measure(rate, rate, 10, 100);
        assert!((0.98..=1.02).contains(&(both / alone)), "{both} of {alone}");
        assert!(alone > 0.9 * rate as f64, "batches fill frames: {alone} of {rate}");
    }
}

#[test]
fn pongs_are_not_stuck_behind_the_rate() {
    let mut world = World::<Null>::new(1);
    let a = world.add(Options::with(|c| {
        (c.send_rate, c.recv_rate) = (64_000, 64_000);
        (c.ping_interval, c.pong_timeout) = (Duration::from_secs(2), Duration::from_secs(1));
    }));
    let b = world.add(Options::with(|c| (c.send_rate, c.recv_rate) = (64_000, 64_000)));
    let (at_a, at_b) = world.connect(a, b);
    for _ in 0..600 {
        while world.send(a, &at_a, 0x20, 20_000).is_ok() {}
        while world.send(b, &at_b, 0x81, 20_000).is_ok() {}
        world.run_for(Duration::from_millis(100));
    }
    assert_eq!((world.down(a, 0, at_a.conn()), world.down(b, 0, at_b.conn())), (None, None));
    world.stop_all();
}
