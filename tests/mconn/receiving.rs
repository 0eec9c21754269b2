//! Limits, memory and the flow of received messages.

use crate::harness::*;
use tmp2p::{
    ChannelId,
    internals::protocol::mconn::{MConn, MConnError, MConnSettings, packet::Packet},
    internals::time::Mono,
};

fn msg(channel_id: i64, eof: bool, data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    Packet::Msg { channel_id, eof, data }.encode(&mut wire);
    wire
}

#[test]
fn stops_after_a_message_when_told() {
    let wire = wire_of(&settings(), 1, &[noise(1, 3000), noise(2, 10), noise(3, 0)]);
    let mut conn = connection(&settings(), &[1]);
    let mut inbox = Inbox::default();
    let mut rest = &wire[..];
    for taken in 1..=3 {
        inbox.stop_after = Some(taken);
        let consumed = conn.receive(rest, Mono::ZERO, &mut inbox).unwrap();
        rest = &rest[consumed..];
        assert_eq!(inbox.messages.len(), taken);
        assert_eq!(rest.is_empty(), taken == 3);
    }
    assert_eq!(inbox.messages, [(0, noise(1, 3000)), (0, noise(2, 10)), (0, vec![])]);
}

#[test]
fn message_over_capacity_is_refused_before_its_data() {
    let channels = [channel(7).recv_message_capacity(100)];
    for eof in [false, true] {
        for (first, second) in [(0, 101), (100, 1), (60, 41)] {
            let mut conn = MConn::new(&settings(), &channels, Mono::ZERO);
            let mut inbox = Inbox::default();
            conn.receive(&msg(7, false, &vec![0; first]), Mono::ZERO, &mut inbox).unwrap();
            let header = msg(7, eof, &vec![0; second]);
            let header = &header[..header.len() - second];
            let too_large = MConnError::MessageTooLarge {
                channel: ChannelId::new(7),
                size: 101,
                capacity: 100,
            };
            assert_eq!(conn.receive(header, Mono::ZERO, &mut inbox), Err(too_large));
            assert_eq!(inbox.messages, []);
        }
    }
}

#[test]
fn announced_bytes_are_not_held() {
    // A header says a megabyte; only a little of it comes.
    for unusual in [false, true] {
        let mut conn = connection(&settings(), &[1]);
        let mut wire = msg(1, true, &vec![1; 1 << 20]);
        if unusual {
            wire = msg(1, true, &vec![1; 1_000_000]);
            wire = prefixed(&[&[0x20, 1], bodies(&wire)[0]].concat());
        }
        let mut inbox = Inbox::default();
        let mut sent = 0;
        for piece in wire.chunks(1000).take(500) {
            conn.receive(piece, Mono::ZERO, &mut inbox).unwrap();
            sent += piece.len();
            let held = conn.reassembly_bytes();
            assert!(held <= (2 * sent).max(72 << 10), "{held} bytes held for {sent}");
        }
    }
}

#[test]
fn memory_is_counted_and_given_back() {
    let ids: Vec<u8> = (0..16).collect();
    let mut conn = connection(&settings(), &ids);
    let mut inbox = Inbox::default();
    // Large messages, so that the next ones are reserved for.
    for &id in &ids {
        let wire = wire_of(&settings(), id, &[vec![0; 1_000_000]]);
        conn.receive(&wire, Mono::ZERO, &mut inbox).unwrap();
        let (_, message) = inbox.messages.pop().unwrap();
        assert!(message.capacity() <= message.len() * 9 / 8, "{}", message.capacity());
        assert_eq!(conn.reassembly_bytes(), 0);
    }
    // A byte on each.
    for (i, &id) in ids.iter().enumerate() {
        conn.receive(&msg(id.into(), false, &[1]), Mono::ZERO, &mut inbox).unwrap();
        assert_eq!(conn.reassembly_bytes(), (i + 1) * (64 << 10));
    }
    // Packets without data hold nothing and end nothing.
    let before = conn.reassembly_bytes();
    conn.receive(&msg(3, false, &[]).repeat(10_000), Mono::ZERO, &mut inbox).unwrap();
    assert_eq!((conn.reassembly_bytes(), inbox.messages.len()), (before, 0));
    for &id in &ids {
        conn.receive(&msg(id.into(), true, &[2]), Mono::ZERO, &mut inbox).unwrap();
    }
    assert_eq!(conn.reassembly_bytes(), 0);
    for (_, message) in &inbox.messages {
        assert_eq!((message.as_slice(), message.capacity()), (&[1, 2][..], 16));
    }
}

#[test]
fn a_message_of_one_packet_has_an_exact_buffer() {
    let large = MConnSettings { max_packet_msg_payload_size: 1 << 20, ..settings() };
    for len in [1, 1000, 1024, 65_536, 65_537, 300_001, 1 << 20] {
        let wire = wire_of(&large, 1, &[noise(1, len)]);
        let pieces: Vec<_> = wire.chunks(FRAME).collect();
        let (messages, result) = receive(&settings(), &[1], &pieces);
        assert_eq!(result, Ok(()));
        assert_eq!((messages[0].1.len(), messages[0].1.capacity()), (len, len));
    }
}

#[test]
fn an_unusual_packet_is_bounded_and_freed() {
    let mut conn = connection(&settings(), &[1]);
    let body = [&[0x2a][..], &prefixed(&vec![9; 500_000]), &msg(1, true, b"hi")[1..]].concat();
    let wire = prefixed(&body);
    let mut inbox = Inbox::default();
    let mut most = 0;
    for piece in wire.chunks(FRAME) {
        conn.receive(piece, Mono::ZERO, &mut inbox).unwrap();
        most = most.max(conn.reassembly_bytes());
    }
    assert!((250_000..=body.len()).contains(&most), "{most}");
    assert_eq!((conn.reassembly_bytes(), inbox.messages), (0, vec![(0, b"hi".to_vec())]));
}

#[test]
fn each_fault_has_its_error() {
    let unusual_too_large = {
        let msg = msg(1, true, &vec![0; 3000]);
        prefixed(&[bodies(&msg)[0], &[0x20, 1]].concat())
    };
    let channels = [channel(1).recv_message_capacity(2000)];
    let fault = |wire: &[u8]| {
        let mut conn = MConn::new(&settings(), &channels, Mono::ZERO);
        conn.receive(wire, Mono::ZERO, &mut Inbox::default()).unwrap_err()
    };
    assert!(matches!(fault(&[0]), MConnError::UnknownPacket));
    assert!(matches!(fault(&[2, 0x22, 0]), MConnError::UnknownPacket));
    assert!(matches!(fault(&[1, 0x1a]), MConnError::Malformed(_)));
    assert!(matches!(fault(&[0xff; 10]), MConnError::Malformed(_)));
    assert!(matches!(
        fault(&[0xff, 0xff, 0xff, 0xff, 0x7f]),
        MConnError::PacketTooLarge { size: 0x7_ffff_ffff, .. }
    ));
    assert!(matches!(
        fault(&unusual_too_large),
        MConnError::MessageTooLarge { size: 3000, capacity: 2000, .. }
    ));
    assert!(matches!(fault(&msg(-1, false, b"")), MConnError::UnknownChannel(-1)));
}
