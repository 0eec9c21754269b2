//! Every message size around the edges of packets and frames, on low and high channels, with peers
//! of other packet sizes.

use tmp2p::{ChannelDescriptor, Direction};

use crate::{
    exchange::exchange,
    go::{Go, Release},
    ours::{CHANNEL, Ours},
};

for_each_release! {
    every_size_up_to_four_packets,
    sizes_up_to_3_mib,
    full_last_packets_on_a_high_channel,
    every_channel,
    go_with_packets_of_1400,
    go_with_packets_of_65536,
    both_with_packets_of_65536,
}

/// The largest message that a test sends.
const MAX: usize = 3 << 20;

/// A channel whose number takes two bytes. A last packet of 1024 bytes on it is one byte larger than
/// what a Go node takes, and Go nodes send such packets.
const HIGH_CHANNEL: u8 = 0x99;

/// 4,200 sizes also move the beginning of a message over every place of a frame.
fn every_size_up_to_four_packets(release: Release) {
    let _alone = crate::alone();
    let sizes: Vec<usize> = (0..=4200).collect();
    pair(release, &[], &[CHANNEL], 1024, Direction::Outbound, &sizes);
}

fn sizes_up_to_3_mib(release: Release) {
    let _alone = crate::alone();
    let kib = [5, 8, 16, 63, 64, 65, 127, 128, 129, 255, 256, 1000, 1024, 2048, 3072];
    pair(release, &[], &[CHANNEL], 1024, Direction::Inbound, &around(kib.map(|n| n << 10)));
}

fn full_last_packets_on_a_high_channel(release: Release) {
    let _alone = crate::alone();
    let mut sizes: Vec<usize> = (1000..=1050).chain(2040..=2060).collect();
    sizes.extend(around([3, 4, 5, 64, 65, 100, 1024, 3072].map(|n| n << 10)));
    // A packet with a full load less one byte, then one of a single byte: so we cut.
    sizes.extend(around([1, 2, 3, 64].map(|n| n * 1024 - 1)));
    pair(release, &[], &[HIGH_CHANNEL, CHANNEL], 1024, Direction::Inbound, &sizes);
}

/// A node may have 16 channels, so this takes 16 pairs.
fn every_channel(release: Release) {
    let _alone = crate::alone();
    let all: Vec<u8> = (0..=255).collect();
    let sizes = around([1024, 2048, 3072]);
    for channels in all.chunks(16) {
        pair(release, &[], channels, 1024, Direction::Outbound, &sizes);
    }
}

fn go_with_packets_of_1400(release: Release) {
    let args = ["-max-packet", "1400"];
    let mut sizes = around([1024, 1400, 2800, 64 * 1400, 1 << 20]);
    sizes.extend(1380..1430);
    pair(release, &args, &[CHANNEL, HIGH_CHANNEL], 1024, Direction::Inbound, &sizes);
}

fn go_with_packets_of_65536(release: Release) {
    let args = ["-max-packet", "65536"];
    let sizes = around([1024, 65_536, 2 * 65_536, 1 << 20]);
    pair(release, &args, &[CHANNEL, HIGH_CHANNEL], 1024, Direction::Outbound, &sizes);
}

fn both_with_packets_of_65536(release: Release) {
    let args = ["-max-packet", "65536"];
    let sizes = around([1024, 65_536, 2 * 65_536, 1 << 20]);
    pair(release, &args, &[CHANNEL, HIGH_CHANNEL], 65_536, Direction::Outbound, &sizes);
}

/// Connects a new pair and exchanges messages of these sizes on these channels.
fn pair(
    release: Release,
    args: &[&str],
    channels: &[u8],
    max_packet: usize,
    direction: Direction,
    sizes: &[usize],
) {
    let descriptors: Vec<String> = channels.iter().map(|c| format!("{c}:1:1")).collect();
    let descriptors = descriptors.join(",");
    let mut go = Go::start(release, &[&["-channels", &descriptors], args].concat());
    let ours = Ours::start(|setup| {
        setup.channels = channels.iter().map(|&c| ChannelDescriptor::new(c)).collect();
        setup.config.max_packet_msg_payload_size = max_packet;
    });
    let peer = ours.connect(&mut go, direction);
    exchange(&ours, &mut go, &peer, channels, sizes);
}

/// Each size, one and two less, and one and two more.
fn around<const N: usize>(sizes: [usize; N]) -> Vec<usize> {
    let around = sizes.into_iter().flat_map(|size| size - 2..=size + 2);
    around.filter(|&size| size <= MAX).collect()
}
