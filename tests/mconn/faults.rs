//! Faults of existing implementations that must not come back.

use crate::{codec::largest_for_go, harness::*};
use std::time::Duration;
use tmp2p::{
    internals::protocol::mconn::{MConn, MConnError, MConnSettings, packet::Packet},
    internals::time::Mono,
};

#[test]
fn channel_id_truncated_to_a_byte() {
    let ids = [0, 1, 128, 255];
    for channel_id in [-1, 256, 257, 1025, -255, i32::MIN.into(), i32::MAX.into(), (1 << 32) + 1, 3]
    {
        for eof in [false, true] {
            let mut wire = Vec::new();
            Packet::Msg { channel_id, eof, data: b"x" }.encode(&mut wire);
            // The same in a form that is decoded whole.
            let unusual = prefixed(&[bodies(&wire)[0], &[0x20, 1]].concat());
            for wire in [wire, unusual] {
                let (messages, result) = receive(&settings(), &ids, &[&wire]);
                assert_eq!(messages, []);
                assert_eq!(result, Err(MConnError::UnknownChannel(channel_id)));
            }
        }
    }
    // More than 64 bits, of which Go keeps the lower ones.
    let id = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2];
    let msg = [&[8][..], &id, &[0x10, 1]].concat();
    let wire = prefixed(&[&[0x1a, msg.len() as u8], &msg[..]].concat());
    let (_, result) = receive(&settings(), &ids, &[&wire]);
    assert!(matches!(result, Err(MConnError::Malformed(_))), "{result:?}");
}

#[test]
fn ping_flood() {
    let mut conn = connection(&settings(), &[1]);
    let flood = PING.repeat(1000);
    let (mut pongs, mut last) = (0, Mono::ZERO);
    // A million pings in ten seconds.
    for turn in 0..1000 {
        let now = ms(turn * 10);
        conn.receive(&flood, now, &mut Inbox::default()).unwrap();
        assert_eq!(conn.handle_timeout(now), Ok(()));
        let (wire, filled) = fill(&mut conn, &mut Queues::new(1), now);
        assert!(!filled.more);
        assert!(wire.is_empty() || wire == PONG, "at most one at a time");
        if !wire.is_empty() {
            assert!(
                now - last <= Duration::from_millis(110),
                "the peer is not left without answer"
            );
            (pongs, last) = (pongs + 1, now);
        }
    }
    assert!((100..=8 + 100 + 1).contains(&pongs), "{pongs} pongs");
    assert_eq!(conn.reassembly_bytes(), 0);

    // The last ping is answered as well, by a deadline of its own.
    let mut now = ms(9_990);
    while let Some(deadline) = conn.next_deadline() {
        assert!(deadline > now);
        now = deadline;
        conn.handle_timeout(now).unwrap();
        assert!(conn.wants_control());
        assert_eq!(drain(&mut conn, &mut Queues::new(1), now), PONG);
    }
    assert!(now > ms(9_990) && now <= ms(10_100), "{now:?}");
}

#[test]
fn ping_flood_against_a_sender_that_cannot_write() {
    let mut conn = connection(&settings(), &[1]);
    for turn in 0..1000 {
        conn.receive(&PING.repeat(10), ms(turn * 1000), &mut Inbox::default()).unwrap();
        let filled = conn.fill(&mut Batch::of(0), &mut Queues::new(1), ms(turn * 1000));
        assert!(filled.more && conn.wants_control());
    }
    assert_eq!(drain(&mut conn, &mut Queues::new(1), ms(1_000_000)), PONG);
}

#[test]
fn other_packet_sizes_cut_off() {
    for max_data in [1400, 65_536, 1 << 20] {
        let sender = MConnSettings { max_packet_msg_payload_size: max_data, ..settings() };
        for id in [1, 255] {
            for len in [max_data - 1, max_data, 2 * max_data + 1] {
                let message = noise(len, len);
                let wire = wire_of(&sender, id, std::slice::from_ref(&message));
                let (messages, result) = receive(&settings(), &[id], &[&wire]);
                assert_eq!(result, Ok(()), "{len} bytes in packets of {max_data}");
                assert!(messages == [(0, message)], "{len} bytes in packets of {max_data}");
            }
        }
    }
    // The limit holds, from the prefix alone.
    let limit = MConnSettings { max_recv_packet_size: 1400, ..settings() };
    let largest = 1 + largest_for_go(1400);
    for (len, is_allowed) in [(largest, true), (largest + 1, false)] {
        let prefix = prefixed(&vec![0; len])[..2].to_vec();
        let (_, result) = receive(&limit, &[1], &[&prefix]);
        let too_large = MConnError::PacketTooLarge { size: len as u64, limit: largest };
        assert_eq!(result, if is_allowed { Ok(()) } else { Err(too_large) });
    }
}

#[test]
fn last_packet_of_1024_bytes_on_high_channels() {
    for max_data in [1, 2, 100, 127, 128, 1024, 1400] {
        let settings = MConnSettings { max_packet_msg_payload_size: max_data, ..settings() };
        let largest = largest_for_go(max_data);
        for id in 0..=255 {
            for edge in [max_data, 2 * max_data] {
                for len in edge - 1..=edge + 1 {
                    let message = noise(len, len);
                    let wire = wire_of(&settings, id, std::slice::from_ref(&message));
                    for body in bodies(&wire) {
                        assert!(body.len() <= largest, "channel {id}, {len} of {max_data}");
                    }
                    let (messages, result) = receive(&settings, &[id], &[&wire]);
                    assert_eq!((messages, result), (vec![(0, message)], Ok(())));
                }
            }
        }
    }
}

#[test]
fn high_priority_message_behind_bulk() {
    let channels =
        [channel(0x30).priority(1), channel(0x31).priority(5), channel(0x22).priority(10)];
    for bulk_channels in 1..=2 {
        let mut conn = MConn::new(&settings(), &channels, Mono::ZERO);
        let mut queues = Queues::new(3);
        for bulk in 0..bulk_channels {
            queues.push(bulk, vec![0; 50_000_000]);
        }
        for turn in 0..200 {
            let now = ms(turn * 10);
            let (batch, filled) = fill(&mut conn, &mut queues, now);
            assert!(filled.more);
            let frames = if bulk_channels == 1 { 64 } else { 16 };
            assert_eq!(batch.len(), frames * FRAME, "full frames while there is anything to send");

            queues.push(2, vec![1; 200]);
            let (batch, _) = fill(&mut conn, &mut queues, now);
            assert_eq!(batch.len(), 16 * FRAME);
            let vote = batch.windows(200).position(|bytes| bytes == [1; 200]);
            let ahead = vote.expect("the vote is in the next batch");
            assert!(ahead <= 1034 + 2 + 12, "{ahead} bytes go before it, more than a packet");
        }
    }
}

#[test]
fn lowest_class_is_not_starved() {
    let channels = [channel(0x30).priority(1), channel(0x22).priority(10)];
    let mut conn = MConn::new(&settings(), &channels, Mono::ZERO);
    let mut queues = Queues::new(2);
    queues.push(0, vec![0; 50_000_000]);
    queues.push(1, vec![0; 50_000_000]);
    let mut wire = Vec::new();
    for turn in 0..1000 {
        wire.extend(fill(&mut conn, &mut queues, ms(turn * 10)).0);
    }
    let (mut low, mut gap, mut longest) = (0, 0, 0);
    let bodies = bodies(&wire);
    for body in &bodies {
        let Ok(Packet::Msg { channel_id, .. }) = Packet::decode(body) else { panic!("{body:?}") };
        gap = if channel_id == 0x30 { 0 } else { gap + 1 };
        low += usize::from(channel_id == 0x30);
        longest = longest.max(gap);
    }
    let share = low as f64 / bodies.len() as f64;
    assert!((share - 1.0 / 11.0).abs() < 0.002, "{share}");
    assert!(longest <= 12, "{longest} packets in a row");
}

#[test]
fn empty_messages_are_never_lost() {
    let channels = [channel(1), channel(2), channel(0x80)];
    let mut conn = MConn::new(&settings(), &channels, Mono::ZERO);
    let mut queues = Queues::new(3);
    for round in 0..20 {
        queues.push(round % 3, vec![]);
        queues.push(0, vec![1; 2000]);
        queues.push(1, vec![]);
    }
    let wire = drain(&mut conn, &mut queues, Mono::ZERO);
    let (messages, result) = receive(&settings(), &[1, 2, 0x80], &[&wire]);
    assert_eq!((messages.len(), result), (60, Ok(())));
    assert_eq!(messages.iter().filter(|(_, message)| message.is_empty()).count(), 40);
    assert_eq!(queues.sent.len(), 60);
}

/// A program may mean "no limit" by the largest number that there is, and a peer claim as much.
#[test]
fn limits_near_the_end_of_numbers_overflowed() {
    for most in [usize::MAX, usize::MAX - 28, usize::MAX - 40] {
        let settings = MConnSettings {
            max_packet_msg_payload_size: most,
            max_recv_packet_size: most,
            send_rate: u64::MAX,
            recv_rate: u64::MAX,
            ..settings()
        };
        let messages = [noise(1, 5000), Vec::new(), noise(2, 1)];
        let wire = wire_of(&settings, 0x80, &messages);
        let (received, result) = receive(&settings, &[0x80], &[&wire]);
        assert_eq!((received, result), (messages.map(|message| (0, message)).into(), Ok(())));
        for len in [usize::MAX, usize::MAX - 5, usize::MAX - 14] {
            let mut wire = Vec::new();
            prost::encoding::encode_varint(len as u64, &mut wire);
            wire.extend_from_slice(&[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
            let mut conn = connection(&settings, &[1]);
            match conn.receive(&wire, Mono::ZERO, &mut Inbox::default()) {
                Ok(consumed) => assert_eq!(consumed, wire.len()),
                Err(error) => assert!(matches!(error, MConnError::PacketTooLarge { .. })),
            }
            assert!(conn.reassembly_bytes() < 100);
        }
    }
}

/// What was sent lately decays in steps, of which the last ends where the clock does.
#[test]
fn the_end_of_the_clock_was_never_reached() {
    let end = Mono::from_nanos(u64::MAX);
    let mut conn = connection(&settings(), &[1]);
    let mut queues = Queues::new(1);
    for now in [Mono::ZERO, Mono::from_nanos(u64::MAX - 1), end, end] {
        queues.push(0, noise(1, 100));
        let (wire, filled) = fill(&mut conn, &mut queues, now);
        assert!(wire.len() > 100 && !filled.more);
    }
}
