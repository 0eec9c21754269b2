#![no_main]
//! An opened stream of packets, whole and in pieces, against a second, plain reader.

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    ChannelDescriptor,
    internals::protocol::{
        mconn::{Flow, Incoming, MConn, packet::Packet},
        wire::{decode_varint, put_varint},
    },
    internals::time::Mono,
};
use tmp2p_fuzz::{Script, link_settings};

const CHANNELS: [(u8, usize); 3] = [(0x00, 100), (0x20, 3000), (0xff, 100_000)];
/// What may be held ahead of the data, per channel.
const RESERVED: usize = 72 << 10;

type Messages = Vec<(usize, Vec<u8>)>;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let max_data = [1, 100, 1024, 1 << 20][script.below(4)];
    let cuts = script.piece();
    let stops = script.piece();
    let stream = stream(&mut script);

    let whole = read(&[&stream], max_data, &[]);
    let cut = read(&Script::new(cuts).cut(&stream), max_data, &[]);
    assert_eq!(whole, cut, "cut");
    let stopped = read(&Script::new(cuts).cut(&stream), max_data, stops);
    assert_eq!(whole, stopped, "stopped");

    let (messages, verdict) = read_plainly(&stream, max_data);
    assert_eq!(whole.0, messages);
    match verdict {
        Plain::Ok => assert_eq!(whole.1, None),
        Plain::Fault => assert!(whole.1.is_some()),
        // A fault may show before the packet is complete.
        Plain::Incomplete => {}
    }
});

/// Raw bytes, or packets in the usual form and others.
fn stream(script: &mut Script) -> Vec<u8> {
    let mut stream = Vec::new();
    while !script.is_empty() && stream.len() < 1 << 20 {
        match script.below(6) {
            0 => stream.extend_from_slice(script.piece()),
            1 => Packet::Ping.encode(&mut stream),
            2 => Packet::Pong.encode(&mut stream),
            3 => {
                let body = script.piece();
                put_varint(body.len() as u64, &mut stream);
                stream.extend_from_slice(body);
            }
            kind => {
                let channel_id = match script.below(5) {
                    4 => i64::from(script.byte()) - 3,
                    known => i64::from(CHANNELS[known % 3].0),
                };
                let data = vec![script.byte(); script.word() % 5000];
                Packet::Msg { channel_id, eof: kind == 4, data: &data }.encode(&mut stream);
            }
        }
    }
    stream
}

struct Collected<'a> {
    messages: Messages,
    stops: Script<'a>,
}

impl Incoming for Collected<'_> {
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        assert!(message.len() <= CHANNELS[channel].1);
        self.messages.push((channel, message));
        if self.stops.flag() { Flow::Stop } else { Flow::Continue }
    }
}

fn read(pieces: &[&[u8]], max_data: usize, stops: &[u8]) -> (Messages, Option<String>) {
    let channels =
        CHANNELS.map(|(id, capacity)| ChannelDescriptor::new(id).recv_message_capacity(capacity));
    let mut settings = link_settings(1, &channels).mconn;
    settings.max_recv_packet_size = max_data;
    let mut mconn = MConn::new(&settings, &channels, Mono::ZERO);
    let mut collected = Collected { messages: Vec::new(), stops: Script::new(stops) };
    let mut received = 0;
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let consumed = match mconn.receive(rest, Mono::ZERO, &mut collected) {
                Ok(consumed) => consumed,
                Err(error) => return (collected.messages, Some(format!("{error:?}"))),
            };
            assert!(0 < consumed && consumed <= rest.len());
            rest = &rest[consumed..];
            received += consumed;
            // Twice what was received, and what is reserved ahead; and never more than allowed.
            let held = mconn.reassembly_bytes();
            assert!(held <= 2 * received + CHANNELS.len() * RESERVED, "{held} of {received}");
            let allowed = CHANNELS.iter().map(|(_, capacity)| capacity).sum::<usize>();
            assert!(held <= allowed + max_data + 64, "{held}");
        }
    }
    (collected.messages, None)
}

enum Plain {
    Ok,
    Incomplete,
    Fault,
}

/// Whole packets, decoded one by one.
fn read_plainly(mut stream: &[u8], max_data: usize) -> (Messages, Plain) {
    let mut messages = Vec::new();
    let mut partial: [Vec<u8>; 3] = Default::default();
    let limit = {
        let mut largest = Vec::new();
        let data = vec![0; max_data];
        Packet::Msg { channel_id: 255, eof: true, data: &data }.encode(&mut largest);
        let (len, _) = decode_varint(&largest).expect("ours").expect("complete");
        len
    };
    while !stream.is_empty() {
        let (len, prefix) = match decode_varint(stream) {
            Err(_) => return (messages, Plain::Fault),
            Ok(None) => return (messages, Plain::Incomplete),
            Ok(Some(prefix)) => prefix,
        };
        if len > limit {
            return (messages, Plain::Fault);
        }
        let Some(body) = stream[prefix..].get(..len as usize) else {
            return (messages, Plain::Incomplete);
        };
        stream = &stream[prefix + len as usize..];
        let (channel_id, eof, data) = match Packet::decode(body) {
            Err(_) => return (messages, Plain::Fault),
            Ok(Packet::Ping | Packet::Pong) => continue,
            Ok(Packet::Msg { channel_id, eof, data }) => (channel_id, eof, data),
        };
        let Some(channel) = CHANNELS.iter().position(|(id, _)| i64::from(*id) == channel_id) else {
            return (messages, Plain::Fault);
        };
        partial[channel].extend_from_slice(data);
        if partial[channel].len() > CHANNELS[channel].1 {
            return (messages, Plain::Fault);
        }
        if eof {
            messages.push((channel, std::mem::take(&mut partial[channel])));
        }
    }
    (messages, Plain::Ok)
}
