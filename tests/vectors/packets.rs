//! packets.json: the wire form of packets, cutting, choice, receiving and keep-alive of a real
//! MConnection.

use super::{bytes, cases, deviations, load, text};
use serde_json::Value;
use std::{collections::VecDeque, time::Duration};
use tmp2p::{
    ChannelDescriptor, Payload,
    internals::protocol::mconn::{
        Flow, Incoming, MConn, MConnError, MConnSettings, Outgoing, Sink, packet::Packet,
    },
    internals::time::Mono,
};

const PONG: [u8; 3] = [2, 0x12, 0];

#[test]
fn vectors_packets_encode() {
    let file = load("packets.json");
    for case in cases(&file, "encode") {
        let (wire, name) = (bytes(case, "wire"), text(case, "name"));
        let data = case["data"].as_str().map(|_| bytes(case, "data")).unwrap_or_default();
        let packet = match text(case, "kind") {
            "ping" => Packet::Ping,
            "pong" => Packet::Pong,
            "msg" => Packet::Msg {
                channel_id: case["channel_id"].as_i64().unwrap(),
                eof: case["eof"].as_bool().unwrap(),
                data: &data,
            },
            kind => panic!("{name}: {kind}"),
        };
        let mut ours = Vec::new();
        packet.encode(&mut ours);
        assert_eq!(ours, wire, "{name}");
        assert_eq!(packets(&wire), [wire.as_slice()], "{name}");
        assert_eq!(Packet::decode(body(&wire)), Ok(packet), "{name}");
    }
}

#[test]
fn vectors_packets_segments() {
    let file = load("packets.json");
    let mut deviating = 0;
    for case in cases(&file, "segments") {
        let (name, message) = (text(case, "name"), bytes(case, "message"));
        let channel = number(case, "channel") as u8;
        let max_data = number(case, "max_packet_msg_payload_size") as usize;
        let settings = MConnSettings { max_packet_msg_payload_size: max_data, ..settings() };
        let wire = send(&settings, &[ChannelDescriptor::new(channel)], vec![vec![message.clone()]]);

        let largest = number(case, "max_packet_size_accepted") as usize;
        for packet in packets(&wire) {
            assert!(body(packet).len() <= largest, "{name}: {} bytes", body(packet).len());
        }
        if deviations::full_last_packet_on_a_high_channel(channel, max_data, message.len()) {
            deviating += 1;
            let mut sizes: Vec<_> = go_packets(case);
            let (_, _, full) = sizes.pop().unwrap();
            sizes.push((channel.into(), false, full - 1));
            sizes.push((channel.into(), true, 1));
            assert_eq!(shape(&wire), sizes, "{name}");
        } else {
            assert_eq!(wire, bytes(case, "wire"), "{name}");
            assert_eq!(shape(&wire), go_packets(case), "{name}");
        }
    }
    assert_ne!(deviating, 0);
}

#[test]
fn vectors_packets_schedule() {
    let file = load("packets.json");
    let mut deviating = 0;
    for case in cases(&file, "schedule") {
        let name = text(case, "name");
        let (mut descriptors, mut messages, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for channel in cases(case, "channels") {
            let id = number(channel, "id") as u8;
            let priority = number(channel, "priority") as u32;
            descriptors.push(ChannelDescriptor::new(id).priority(priority));
            let lens: Vec<_> = cases(channel, "message_sizes")
                .iter()
                .map(|size| size.as_u64().unwrap() as usize)
                .collect();
            messages.push(lens.iter().map(|&len| vec![id; len]).collect::<Vec<_>>());
            sizes.push((i64::from(id), lens));
        }
        let ours = shape(&send(&settings(), &descriptors, messages));
        let lens: Vec<_> = sizes.iter().map(|(_, lens)| lens.as_slice()).collect();
        if !deviations::empty_message_among_channels(&lens) {
            assert_eq!(ours, go_packets(case), "{name}");
            continue;
        }
        // Whatever the order, each message arrives.
        deviating += 1;
        for (id, lens) in sizes {
            let mut arrived = vec![0];
            for &(_, eof, len) in ours.iter().filter(|(channel, ..)| *channel == id) {
                *arrived.last_mut().unwrap() += len;
                if eof {
                    arrived.push(0);
                }
            }
            assert_eq!(arrived.pop(), Some(0), "{name}");
            assert_eq!(arrived, lens, "{name}: channel {id}");
        }
    }
    assert_ne!(deviating, 0);
}

#[test]
fn vectors_packets_receive() {
    let file = load("packets.json");
    let descriptors: Vec<_> = cases(&file, "receive_channels")
        .iter()
        .map(|c| {
            ChannelDescriptor::new(number(c, "id") as u8).recv_message_capacity(number(
                c,
                "recv_message_capacity",
            )
                as usize)
        })
        .collect();
    let (mut larger, mut truncated, mut coalesced) = (0, 0, 0);
    for case in cases(&file, "receive") {
        let (name, wire) = (text(case, "name"), bytes(case, "wire"));
        let mut expected = Verdict {
            delivered: case["delivered"]
                .as_array()
                .unwrap()
                .iter()
                .map(|m| (number(m, "channel") as u8, bytes(m, "data")))
                .collect(),
            is_open: case["still_open"].as_bool().unwrap(),
            pongs: bytes(case, "sent").len() / PONG.len(),
        };
        assert_eq!(bytes(case, "sent"), PONG.repeat(expected.pongs), "{name}");
        if deviations::packet_larger_than_go_accepts(&wire) {
            larger += 1;
            expected = oracle::verdict(&descriptors, &wire);
        }
        if deviations::channel_of_more_than_32_bits(&wire) {
            truncated += 1;
            expected = Verdict { delivered: Vec::new(), is_open: false, pongs: 0 };
        }
        for split in 0..=wire.len() {
            let mut ours = receive(&descriptors, &[&wire[..split], &wire[split..]]);
            if deviations::several_pings(&wire) {
                coalesced += 1;
                assert!((1..=expected.pongs).contains(&ours.pongs), "{name}: {}", ours.pongs);
                ours.pongs = expected.pongs;
            }
            assert_eq!(ours, expected, "{name}, split at {split}");
        }
        let single: Vec<_> = wire.chunks(1).collect();
        let ours = receive(&descriptors, &single);
        assert_eq!(ours, expected, "{name}, byte by byte");
    }
    assert!(larger > 0 && truncated > 0 && coalesced > 0, "{larger} {truncated} {coalesced}");
}

#[test]
fn vectors_packets_timers() {
    let file = load("packets.json");
    let (mut replayed, mut throttled, mut data_for_pong, mut coalesced) = (0, 0, 0, 0);
    for case in cases(&file, "timers") {
        let name = text(case, "name");
        let written = cases(case, "packets");
        if deviations::flush_throttle(written) {
            throttled += 1;
            continue;
        }
        // What the peer did is told by the name only.
        let Some(script) = script(name) else { continue };
        replayed += 1;
        let closed = case["closed_at_ms"].as_u64();
        let (events, closed_at) = replay(&script, number(case, "observed_for_ms") as u64);
        let times: Vec<_> =
            cases(case, "written_at_ms").iter().map(|ms| ms.as_u64().unwrap()).collect();
        let go: Vec<_> =
            times.iter().copied().zip(written.iter().map(|p| text(p, "kind"))).collect();
        if script.pings_at_once > 1 {
            coalesced += 1;
            assert!(!events.is_empty() && events.len() <= go.len(), "{name}: {events:?}");
            assert_eq!(events, go[..events.len()], "{name}");
        } else {
            // A connection that lives on where Go's ends goes on pinging.
            let common = events.len().min(go.len());
            assert_eq!(events[..common], go, "{name}");
        }
        if deviations::data_instead_of_a_pong(script.answer) {
            data_for_pong += 1;
            assert_eq!((closed_at, closed.is_some()), (None, true), "{name}");
        } else {
            assert_eq!(events.len().max(go.len()), go.len(), "{name}");
            assert_eq!(closed_at, closed, "{name}");
        }
    }
    assert!(replayed > 0 && throttled > 0 && data_for_pong > 0 && coalesced > 0);
}

/// What a recorded peer did.
#[derive(Default)]
struct Script {
    pings_at_once: usize,
    pong_at: Option<u64>,
    answer: Option<Answer>,
}

/// Bytes that come so many milliseconds after each ping, and whether they are a pong.
pub(crate) type Answer = (u64, bool);

fn script(name: &str) -> Option<Script> {
    let seconds = |text: &str| -> Option<u64> {
        let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok().map(|s| s * 1000)
    };
    let none = Script::default();
    Some(if name.contains("never answers") {
        none
    } else if let Some((_, rest)) = name.split_once("answers each ping after") {
        Script { answer: Some((seconds(rest)?, true)), ..none }
    } else if let Some(rest) = name.strip_prefix("pong after") {
        Script { answer: Some((seconds(rest)?, true)), ..none }
    } else if name.contains("data instead of a pong") {
        Script { answer: Some((1000, false)), ..none }
    } else if name.contains("pong before the ping") {
        Script { pong_at: Some(30_000), ..none }
    } else if name.contains("pings three times at once") {
        Script { pings_at_once: 3, ..none }
    } else {
        return None;
    })
}

/// What we write and when we close, in milliseconds.
fn replay(script: &Script, until_ms: u64) -> (Vec<(u64, &'static str)>, Option<u64>) {
    let settings = MConnSettings {
        ping_interval: Duration::from_secs(60),
        pong_timeout: Duration::from_secs(45),
        ..settings()
    };
    let channels = [ChannelDescriptor::new(1)];
    let mut conn = MConn::new(&settings, &channels, Mono::ZERO);
    let mut inbox = Inbox::default();
    let mut arrivals: Vec<(u64, Vec<u8>)> = Vec::new();
    arrivals.push((0, [2, 0x0a, 0].repeat(script.pings_at_once)));
    if let Some(at) = script.pong_at {
        arrivals.push((at, PONG.to_vec()));
    }
    let mut written = Vec::new();
    for ms in 0..=until_ms {
        let now = Mono::from_nanos(ms * 1_000_000);
        for (_, wire) in arrivals.iter().filter(|(at, _)| *at == ms) {
            assert_eq!(conn.receive(wire, now, &mut inbox), Ok(wire.len()));
        }
        if conn.next_deadline().is_some_and(|deadline| deadline <= now) {
            match conn.handle_timeout(now) {
                Ok(()) => {}
                Err(MConnError::PongTimeout) => return (written, Some(ms)),
                Err(error) => panic!("{error}"),
            }
        }
        if conn.wants_control() {
            let mut wire = Wire::default();
            _ = conn.fill(&mut wire, &mut Queues::default(), now);
            for packet in packets(&wire.0) {
                match Packet::decode(body(packet)) {
                    Ok(Packet::Ping) => {
                        written.push((ms, "ping"));
                        if let Some((delay, is_pong)) = script.answer {
                            let data: &[u8] = &[6, 0x1a, 4, 8, 1, 0x10, 1];
                            let bytes = if is_pong { &PONG } else { data };
                            arrivals.push((ms + delay, bytes.to_vec()));
                        }
                    }
                    Ok(Packet::Pong) => written.push((ms, "pong")),
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    (written, None)
}

/// What comes of bytes from a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    delivered: Vec<(u8, Vec<u8>)>,
    is_open: bool,
    pongs: usize,
}

fn receive(descriptors: &[ChannelDescriptor], pieces: &[&[u8]]) -> Verdict {
    let mut conn = MConn::new(&settings(), descriptors, Mono::ZERO);
    let (mut inbox, mut sent) = (Inbox::default(), Wire::default());
    let mut is_open = true;
    for piece in pieces {
        match conn.receive(piece, Mono::ZERO, &mut inbox) {
            Ok(consumed) => assert_eq!(consumed, piece.len()),
            Err(_) => {
                is_open = false;
                break;
            }
        }
        _ = conn.fill(&mut sent, &mut Queues::default(), Mono::ZERO);
    }
    let pongs = sent.0.len() / PONG.len();
    assert_eq!(sent.0, PONG.repeat(pongs));
    let delivered = inbox
        .0
        .into_iter()
        .map(|(channel, payload)| (descriptors[channel].id().as_u8(), payload.into_vec()))
        .collect();
    Verdict { delivered, is_open, pongs }
}

/// The complete wire for messages that are all queued before the first packet is cut.
fn send(
    settings: &MConnSettings,
    descriptors: &[ChannelDescriptor],
    messages: Vec<Vec<Vec<u8>>>,
) -> Vec<u8> {
    let mut conn = MConn::new(settings, descriptors, Mono::ZERO);
    let queue = |messages: Vec<Vec<u8>>| messages.into_iter().map(Payload::from).collect();
    let mut queues = Queues(messages.into_iter().map(queue).collect());
    let mut wire = Wire::default();
    let filled = conn.fill(&mut wire, &mut queues, Mono::ZERO);
    assert!(!filled.more);
    wire.0
}

fn settings() -> MConnSettings {
    MConnSettings {
        max_packet_msg_payload_size: 1024,
        max_recv_packet_size: deviations::MAX_RECV_PACKET_SIZE,
        send_rate: 0,
        recv_rate: 0,
        ping_interval: Duration::ZERO,
        pong_timeout: Duration::from_secs(45),
        unsolicited_pong_interval: Duration::from_secs(20),
    }
}

/// Channel, eof and size of data of each packet.
type Shape = Vec<(i64, bool, usize)>;

fn shape(wire: &[u8]) -> Shape {
    packets(wire)
        .into_iter()
        .map(|packet| match Packet::decode(body(packet)) {
            Ok(Packet::Msg { channel_id, eof, data }) => (channel_id, eof, data.len()),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn go_packets(case: &Value) -> Shape {
    cases(case, "packets")
        .iter()
        .map(|p| (number(p, "channel"), p["eof"] == true, number(p, "data_len") as usize))
        .collect()
}

/// The packets of a wire, each with its prefix; what is cut off is left out.
pub(crate) fn packets(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let Some((prefix, len)) = prefix(wire) {
        let Some((packet, rest)) = wire.split_at_checked(prefix.saturating_add(len)) else { break };
        packets.push(packet);
        wire = rest;
    }
    packets
}

/// A packet without its prefix.
pub(crate) fn body(packet: &[u8]) -> &[u8] {
    &packet[prefix(packet).expect("a whole packet").0..]
}

/// Size and value of a length prefix.
pub(crate) fn prefix(wire: &[u8]) -> Option<(usize, usize)> {
    let mut rest = wire;
    let len = prost::encoding::decode_varint(&mut rest).ok()?;
    Some((wire.len() - rest.len(), len as usize))
}

fn number(case: &Value, key: &str) -> i64 {
    case[key].as_i64().unwrap_or_else(|| panic!("no number {key:?} in {case}"))
}

#[derive(Default)]
struct Inbox(Vec<(usize, Payload)>);

impl Incoming for Inbox {
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        self.0.push((channel, message.into()));
        Flow::Continue
    }
}

#[derive(Default)]
struct Queues(Vec<VecDeque<Payload>>);

impl Outgoing for Queues {
    fn take(&mut self, channel: usize) -> Option<Payload> {
        self.0.get_mut(channel)?.pop_front()
    }
}

#[derive(Default)]
struct Wire(Vec<u8>);

impl Sink for Wire {
    fn room(&self) -> usize {
        1024
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn limit_frames(&mut self, _: usize) {}
}

/// The packets as another protobuf implementation sees them.
pub(crate) mod oracle {
    use super::{Verdict, body, packets};
    use prost::Message;
    use tmp2p::ChannelDescriptor;

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Packet {
        #[prost(oneof = "Sum", tags = "1, 2, 3")]
        pub(crate) sum: Option<Sum>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Sum {
        #[prost(message, tag = "1")]
        Ping(Empty),
        #[prost(message, tag = "2")]
        Pong(Empty),
        #[prost(message, tag = "3")]
        Msg(Msg),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Empty {}

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Msg {
        #[prost(int64, tag = "1")]
        pub(crate) channel_id: i64,
        #[prost(bool, tag = "2")]
        pub(crate) eof: bool,
        #[prost(bytes, tag = "3")]
        pub(crate) data: Vec<u8>,
    }

    /// What must come of whole packets, without limits.
    pub(crate) fn verdict(channels: &[ChannelDescriptor], wire: &[u8]) -> Verdict {
        let mut verdict = Verdict { delivered: Vec::new(), is_open: true, pongs: 0 };
        let mut partial = vec![Vec::new(); 256];
        for packet in packets(wire) {
            match Packet::decode(body(packet)).ok().and_then(|packet| packet.sum) {
                Some(Sum::Ping(_)) => verdict.pongs += 1,
                Some(Sum::Pong(_)) => {}
                Some(Sum::Msg(Msg { channel_id, eof, data }))
                    if channels.iter().any(|c| i64::from(c.id().as_u8()) == channel_id) =>
                {
                    let message: &mut Vec<u8> = &mut partial[channel_id as usize];
                    message.extend(data);
                    if eof {
                        verdict.delivered.push((channel_id as u8, std::mem::take(message)));
                    }
                }
                _ => {
                    verdict.is_open = false;
                    break;
                }
            }
        }
        verdict
    }
}
