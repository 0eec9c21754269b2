//! Several channels at once: each in order, and shared by priority.

use std::thread;

use serde_json::json;
use tmp2p::{ChannelDescriptor, Direction};

use crate::{
    exchange::exchange,
    figure,
    go::{Go, Release, check, number},
    ours::Ours,
    payload::message,
};

for_each_release! {
    many_channels_both_ways,
    empty_messages_on_many_channels,
    the_share_follows_the_priority,
}

/// As a real node has them.
const CHANNELS: [(u8, u32); 6] =
    [(0x20, 6), (0x21, 10), (0x22, 7), (0x30, 5), (0x60, 5), (0xf0, 1)];

fn many_channels_both_ways(release: Release) {
    let _alone = crate::alone();
    let descriptors: Vec<String> = CHANNELS.map(|(c, p)| format!("{c}:{p}:10")).into();
    let mut go = Go::start(release, &["-channels", &descriptors.join(",")]);
    let ours = Ours::start(|setup| setup.channels = descriptors_of(&CHANNELS));
    let peer = ours.connect(&mut go, Direction::Outbound);
    let sizes: Vec<usize> = (0..200).map(|i| [1, 100, 1024, 5000, 70_000][i % 5]).collect();
    exchange(&ours, &mut go, &peer, &CHANNELS.map(|(c, _)| c), &sizes);
}

/// From us alone: a Go node loses an empty message if another channel is chosen first
/// (`p2p/conn/connection.go`, `isSendPending`, takes the next one for lack of bytes to send).
fn empty_messages_on_many_channels(release: Release) {
    const SIZES: [usize; 3] = [0, 3000, 0];
    const COUNT: usize = 100;
    let descriptors: Vec<String> = CHANNELS.map(|(c, p)| format!("{c}:{p}:10")).into();
    let mut go = Go::start(release, &["-channels", &descriptors.join(",")]);
    let ours = Ours::start(|setup| setup.channels = descriptors_of(&CHANNELS));
    let peer = ours.connect(&mut go, Direction::Inbound);
    for index in 0..COUNT {
        for (channel, _) in CHANNELS {
            peer.send(channel, vec![channel; SIZES[index % SIZES.len()]]).unwrap();
        }
    }
    for (channel, _) in CHANNELS {
        for index in 0..COUNT {
            let got = go.wait("message", json!({ "channel": channel }));
            check(&got, json!({ "seq": index, "bytes": SIZES[index % SIZES.len()] }));
        }
    }
    go.assert_none("peer_down");
}

/// Two channels with always something to send, at a rate that makes the queues wait: when the
/// important one is through, the other one has got its share of the bytes and not more.
fn the_share_follows_the_priority(release: Release) {
    const LOW: u8 = 0x70;
    const HIGH: u8 = 0x71;
    const COUNT: u64 = 200;
    const SIZE: usize = 20_000;
    let mut go = Go::start(release, &["-channels", "0x70:1:1,0x71:4:1"]);
    let ours = Ours::start(|setup| {
        setup.channels = descriptors_of(&[(LOW, 1), (HIGH, 4)]);
        setup.config.send_rate = 5_120_000;
    });
    let peer = ours.connect(&mut go, Direction::Inbound);
    thread::scope(|scope| {
        for channel in [LOW, HIGH] {
            let peer = &peer;
            scope.spawn(move || {
                for index in 0..COUNT {
                    let payload = message(u64::from(channel), index, SIZE);
                    peer.send(channel, payload).unwrap();
                }
            });
        }
    });
    let total = go.received(LOW, COUNT, crate::DEADLINE);
    check(&total, json!({ "count": COUNT, "bytes": COUNT * SIZE as u64 }));
    let mut low = 0;
    loop {
        let message = go.wait("message", json!({}));
        match number(&message, "channel") == u64::from(HIGH) {
            true if number(&message, "seq") == COUNT - 1 => break,
            true => {}
            false => low += 1,
        }
    }
    figure(format_args!(
        "{release:?}: {low} messages of priority 1 while {COUNT} of priority 4 passed"
    ));
    // A quarter, and what the start and whole messages add.
    assert!((COUNT / 8..=COUNT / 2).contains(&low), "{low} of {COUNT}");
}

fn descriptors_of(channels: &[(u8, u32)]) -> Vec<ChannelDescriptor> {
    let descriptors = channels.iter();
    descriptors.map(|&(c, priority)| ChannelDescriptor::new(c).priority(priority)).collect()
}
