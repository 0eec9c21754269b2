//! Sender to receiver, our packets against another protobuf implementation, and damaged bytes.

use crate::harness::*;
use proptest::prelude::*;
use prost::Message as _;
use tmp2p::{
    internals::protocol::mconn::{MConn, MConnError, packet::Packet},
    internals::time::Mono,
};

#[derive(Clone, PartialEq, prost::Message)]
struct ProstPacket {
    #[prost(oneof = "Sum", tags = "1, 2, 3")]
    sum: Option<Sum>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Sum {
    #[prost(message, tag = "1")]
    Ping(ProstEmpty),
    #[prost(message, tag = "2")]
    Pong(ProstEmpty),
    #[prost(message, tag = "3")]
    Msg(ProstMsg),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProstEmpty {}

#[derive(Clone, PartialEq, prost::Message)]
struct ProstMsg {
    #[prost(int64, tag = "1")]
    channel_id: i64,
    #[prost(bool, tag = "2")]
    eof: bool,
    #[prost(bytes, tag = "3")]
    data: Vec<u8>,
}

fn of_prost(packet: &ProstPacket) -> Option<Packet<'_>> {
    Some(match packet.sum.as_ref()? {
        Sum::Ping(_) => Packet::Ping,
        Sum::Pong(_) => Packet::Pong,
        Sum::Msg(msg) => Packet::Msg { channel_id: msg.channel_id, eof: msg.eof, data: &msg.data },
    })
}

/// The longest packet that a Go peer accepts if its payload size is `max_data`.
pub(crate) fn largest_for_go(max_data: usize) -> usize {
    let msg = ProstMsg { channel_id: 1, eof: true, data: vec![0; max_data] };
    ProstPacket { sum: Some(Sum::Msg(msg)) }.encoded_len()
}

/// What should come of bytes on channel 1, by the decoder for whole packets.
fn reference(wire: &[u8], limit: usize) -> (Messages, bool) {
    let (mut rest, mut messages, mut partial) = (wire, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let start = rest;
        let Ok(len) = prost::encoding::decode_varint(&mut rest) else {
            // Cut off, unless it could not become a length any more.
            let is_cut_off = start.len() < 10 && start.iter().all(|byte| *byte >= 0x80);
            return (messages, is_cut_off);
        };
        if len > limit as u64 {
            return (messages, false);
        }
        let Some((body, left)) = rest.split_at_checked(len as usize) else { break };
        rest = left;
        match Packet::decode(body) {
            Ok(Packet::Msg { channel_id: 1, eof, data }) => {
                partial.extend_from_slice(data);
                if eof {
                    messages.push((0, std::mem::take(&mut partial)));
                }
            }
            Ok(Packet::Ping | Packet::Pong) => {}
            Ok(Packet::Msg { .. }) | Err(_) => return (messages, false),
        }
    }
    (messages, true)
}

#[test]
fn damaged_bytes_are_judged_alike_in_whole_and_in_pieces() {
    // Far more than these packets, so that no damaged length is refused before its packet ends.
    let limit = largest_for_go(1024) + 1;
    let settings = tmp2p::internals::protocol::mconn::MConnSettings {
        max_recv_packet_size: 1024,
        ..settings()
    };
    let packets: [&[u8]; 9] = [
        &[0x0a, 0],
        &[0x12, 0],
        &[0x1a, 4, 8, 1, 0x10, 1],
        &[0x1a, 9, 8, 1, 0x10, 1, 0x1a, 3, 7, 8, 9],
        &[0x1a, 7, 8, 1, 0x1a, 3, 7, 8, 9],
        &[0x1a, 9, 0x1a, 3, 7, 8, 9, 0x10, 1, 8, 1],
        &[0x2a, 2, 5, 5, 0x1a, 7, 8, 0x81, 0, 0x10, 2, 0x1a, 0],
        &[0x3b, 0x43, 8, 1, 0x44, 0x3c, 0x0a, 3, 0x3b, 0x3c, 0x3c],
        &[0x1a, 2, 8, 1, 0x35, 1, 2, 3, 4, 0x39, 1, 2, 3, 4, 5, 6, 7, 8, 0x0a, 0],
    ];
    let tail = prefixed(packets[3]);
    for packet in packets {
        let whole = [prefixed(packet), tail.clone()].concat();
        for bit in 0..=whole.len() * 8 {
            let mut wire = whole.clone();
            if let Some(byte) = wire.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            let expected = reference(&wire, limit);
            let (messages, result) = receive(&settings, &[1], &[&wire]);
            // Both stop at the first fault; only a message that is too early to judge may differ.
            let is_open = result.is_ok();
            if is_open == expected.1 {
                assert_eq!(messages, expected.0, "{packet:x?}, bit {bit}");
            } else {
                assert!(!is_open && judged_by_its_header(&wire, &result), "{packet:x?}, bit {bit}");
            }
            let single: Vec<_> = wire.chunks(1).collect();
            assert_eq!(receive(&settings, &[1], &single), (messages, result), "bit {bit}");
        }
        for cut in 0..whole.len() {
            let (messages, result) = receive(&settings, &[1], &[&whole[..cut]]);
            assert_eq!((messages, result.is_ok()), reference(&whole[..cut], limit), "cut at {cut}");
        }
    }
}

/// A header can condemn a packet whose end never comes.
fn judged_by_its_header(wire: &[u8], result: &Result<(), MConnError>) -> bool {
    let whole: usize = bodies(wire).iter().map(|body| prefixed(body).len()).sum();
    whole < wire.len() && matches!(result, Err(MConnError::UnknownChannel(_)))
}

#[test]
fn one_packet_in_every_form_of_damage_agrees_with_prost() {
    let msg = ProstMsg { channel_id: 1, eof: true, data: vec![3; 5] };
    let body = ProstPacket { sum: Some(Sum::Msg(msg)) }.encode_to_vec();
    let mut both = 0;
    for bit in 0..body.len() * 8 {
        let mut body = body.clone();
        body[bit / 8] ^= 1 << (bit % 8);
        if let (Ok(ours), Ok(theirs)) = (Packet::decode(&body), ProstPacket::decode(&*body)) {
            assert_eq!(Some(ours), of_prost(&theirs), "bit {bit}");
            both += 1;
        }
    }
    assert!(both > body.len(), "{both}");
}

#[test]
fn deep_groups_cost_nothing() {
    let mut body = vec![0x3b; 500_000];
    body.extend(vec![0x3c; 500_000]);
    body.extend([0x1a, 4, 8, 1, 0x10, 1]);
    let (messages, result) = receive(&settings(), &[1], &[&prefixed(&body)]);
    assert_eq!((messages, result), (vec![(0, Vec::new())], Ok(())));
}

fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![]),
        Just(vec![0x20, 0x85, 0x01]),
        Just(vec![0x2a, 3, 1, 2, 3]),
        Just(vec![0x31, 1, 2, 3, 4, 5, 6, 7, 8]),
        Just(vec![0x35, 1, 2, 3, 4]),
        Just(vec![0x3b, 0x08, 1, 0x43, 0x44, 0x3c]),
    ]
}

fn message_size(max_data: usize) -> impl Strategy<Value = usize> {
    let edges = [0, 1, max_data - 1, max_data, max_data + 1, 2 * max_data, 3 * max_data - 1];
    prop_oneof![prop::sample::select(edges.to_vec()), 0..5000usize]
        // Tiny packets of huge messages only take time.
        .prop_map(move |size| size.min(max_data * 40))
}

prop_compose! {
    fn traffic()(
        max_data in prop_oneof![Just(1024usize), Just(1), Just(2), Just(127), Just(65536), 1..65536usize],
        ids in prop::sample::subsequence((0u8..=255).collect::<Vec<_>>(), 1..6),
    )(
        priorities in prop::collection::vec(1u32..20, ids.len()),
        messages in prop::collection::vec((0..ids.len(), message_size(max_data)), 0..30),
        rooms in prop::collection::vec(1..3000usize, 1..20),
        splits in prop::collection::vec(1..3000usize, 1..20),
        max_data in Just(max_data),
        ids in Just(ids),
    ) -> Traffic {
        Traffic { max_data, ids, priorities, messages, rooms, splits }
    }
}

#[derive(Debug)]
struct Traffic {
    max_data: usize,
    ids: Vec<u8>,
    priorities: Vec<u32>,
    messages: Vec<(usize, usize)>,
    rooms: Vec<usize>,
    splits: Vec<usize>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn messages_arrive_whole_and_in_order(traffic in traffic()) {
        let Traffic { max_data, ids, priorities, messages, rooms, splits } = traffic;
        let mut settings = settings();
        settings.max_packet_msg_payload_size = max_data;
        let channels: Vec<_> =
            ids.iter().zip(priorities).map(|(&id, p)| channel(id).priority(p)).collect();
        let mut sender = MConn::new(&settings, &channels, Mono::ZERO);
        let mut receiver = MConn::new(&settings, &channels, Mono::ZERO);

        let mut queues = Queues::new(ids.len());
        let mut expected = vec![Vec::new(); ids.len()];
        for (i, &(channel, len)) in messages.iter().enumerate() {
            queues.push(channel, noise(i, len));
            expected[channel].push(noise(i, len));
        }
        let mut wire = Vec::new();
        for &room in rooms.iter().cycle() {
            let mut batch = Batch::of(room);
            let filled = sender.fill(&mut batch, &mut queues, Mono::ZERO);
            prop_assert!(!filled.more || batch.bytes.len() == room, "full while there is more");
            wire.extend(batch.bytes);
            if !filled.more {
                break;
            }
        }
        prop_assert_eq!(queues.sent.len(), messages.len());
        for body in bodies(&wire) {
            prop_assert!(body.len() <= largest_for_go(max_data));
        }

        let mut inbox = Inbox::default();
        let mut rest = &wire[..];
        for &split in splits.iter().cycle() {
            let (piece, left) = rest.split_at(split.min(rest.len()));
            prop_assert_eq!(receiver.receive(piece, Mono::ZERO, &mut inbox), Ok(piece.len()));
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(receiver.reassembly_bytes(), 0);
        let mut arrived = vec![Vec::new(); ids.len()];
        for (channel, message) in inbox.messages {
            // Allocators give memory in steps of 16 bytes.
            prop_assert!(message.capacity() <= message.len() + (message.len() / 8).max(15));
            arrived[channel].push(message);
        }
        prop_assert_eq!(arrived, expected);
    }

    #[test]
    fn packets_are_those_of_prost(
        channel_id in prop_oneof![0..=255i64, i64::from(i32::MIN)..=i64::from(i32::MAX)],
        eof: bool,
        data in prop::collection::vec(any::<u8>(), 0..300),
        inner in unknown_field(),
        before in unknown_field(),
        after in unknown_field(),
    ) {
        let packet = Packet::Msg { channel_id, eof, data: &data };
        let mut wire = Vec::new();
        packet.encode(&mut wire);
        let msg = ProstMsg { channel_id, eof, data: data.clone() };
        let theirs = ProstPacket { sum: Some(Sum::Msg(msg.clone())) };
        prop_assert_eq!(&wire, &theirs.encode_length_delimited_to_vec());

        let msg = [msg.encode_to_vec(), inner].concat();
        let mut body = [before, vec![0x1a]].concat();
        body.extend(prefixed(&msg));
        body.extend(after);
        prop_assert_eq!(Packet::decode(&body), Ok(packet));
        let theirs = ProstPacket::decode(&*body).unwrap();
        prop_assert_eq!(of_prost(&theirs), Some(packet));
    }

    #[test]
    fn any_bytes_are_judged_alike_in_whole_and_in_pieces(
        bytes in prop::collection::vec(prop_oneof![
            3 => prop::sample::select(vec![0u8, 1, 2, 3, 4, 6, 8, 9, 0x0a, 0x10, 0x12, 0x1a, 0x80]),
            1 => any::<u8>(),
        ], 0..60),
        split in 0..60usize,
    ) {
        let whole = receive(&settings(), &[0, 1], &[&bytes]);
        let split = split.min(bytes.len());
        prop_assert_eq!(&receive(&settings(), &[0, 1], &[&bytes[..split], &bytes[split..]]), &whole);
        let single: Vec<_> = bytes.chunks(1).collect();
        prop_assert_eq!(&receive(&settings(), &[0, 1], &single), &whole);
    }
}
