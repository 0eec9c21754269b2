//! What a connection is plugged into.

use std::{collections::VecDeque, time::Duration};
use tmp2p::{
    ChannelDescriptor, Payload,
    internals::protocol::mconn::{
        Filled, Flow, Incoming, MConn, MConnError, MConnSettings, Outgoing, Sink,
    },
    internals::time::Mono,
};

pub(crate) const FRAME: usize = 1024;
pub(crate) const PING: [u8; 3] = [2, 0x0a, 0];
pub(crate) const PONG: [u8; 3] = [2, 0x12, 0];

/// No limits and no pings.
pub(crate) fn settings() -> MConnSettings {
    MConnSettings {
        max_packet_msg_payload_size: 1024,
        max_recv_packet_size: 1 << 20,
        send_rate: 0,
        recv_rate: 0,
        ping_interval: Duration::ZERO,
        pong_timeout: Duration::from_secs(45),
        unsolicited_pong_interval: Duration::from_secs(20),
    }
}

pub(crate) fn channel(id: u8) -> ChannelDescriptor {
    ChannelDescriptor::new(id)
}

pub(crate) fn connection(settings: &MConnSettings, ids: &[u8]) -> MConn {
    let channels: Vec<_> = ids.iter().map(|&id| channel(id)).collect();
    MConn::new(settings, &channels, Mono::ZERO)
}

pub(crate) fn ms(ms: u64) -> Mono {
    Mono::ZERO + Duration::from_millis(ms)
}

/// Bytes that tell where they came from.
pub(crate) fn noise(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(31) ^ (i >> 8) ^ seed.wrapping_mul(97)) as u8).collect()
}

/// Messages with the position of their channel.
pub(crate) type Messages = Vec<(usize, Vec<u8>)>;

/// Keeps what arrives, and says stop after so many messages.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) messages: Messages,
    pub(crate) stop_after: Option<usize>,
}

impl Incoming for Inbox {
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        self.messages.push((channel, message));
        if self.stop_after.is_some_and(|stop| self.messages.len() >= stop) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}

/// One queue per channel, and what was cut of them.
#[derive(Default)]
pub(crate) struct Queues {
    pub(crate) waiting: Vec<VecDeque<Payload>>,
    pub(crate) sent: Vec<(usize, usize)>,
}

impl Queues {
    pub(crate) fn new(channels: usize) -> Self {
        Self { waiting: vec![VecDeque::new(); channels], sent: Vec::new() }
    }

    pub(crate) fn push(&mut self, channel: usize, message: impl Into<Payload>) {
        self.waiting[channel].push_back(message.into());
    }
}

impl Outgoing for Queues {
    fn take(&mut self, channel: usize) -> Option<Payload> {
        self.waiting.get_mut(channel)?.pop_front()
    }

    fn sent(&mut self, channel: usize, payload_bytes: usize) {
        self.sent.push((channel, payload_bytes));
    }
}

/// A batch of frames.
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) room: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::of(64 * FRAME)
    }

    pub(crate) fn of(room: usize) -> Self {
        Self { bytes: Vec::new(), room }
    }
}

impl Sink for Batch {
    fn room(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    fn put(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty() && bytes.len() <= self.room(), "{} bytes", bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    fn limit_frames(&mut self, frames: usize) {
        self.room = self.room.min(frames * FRAME);
    }
}

/// One batch.
pub(crate) fn fill(conn: &mut MConn, queues: &mut Queues, now: Mono) -> (Vec<u8>, Filled) {
    let mut batch = Batch::new();
    let filled = conn.fill(&mut batch, queues, now);
    (batch.bytes, filled)
}

/// Batches until nothing is left.
pub(crate) fn drain(conn: &mut MConn, queues: &mut Queues, now: Mono) -> Vec<u8> {
    let mut wire = Vec::new();
    loop {
        let (bytes, filled) = fill(conn, queues, now);
        wire.extend(bytes);
        if !filled.more {
            return wire;
        }
        assert_eq!(filled.throttled_until, None);
    }
}

/// The wire of these messages on the channel at a position.
pub(crate) fn wire_of(settings: &MConnSettings, id: u8, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut queues = Queues::new(1);
    for message in messages {
        queues.push(0, message.clone());
    }
    drain(&mut connection(settings, &[id]), &mut queues, Mono::ZERO)
}

/// What a fresh connection makes of bytes that come in these pieces.
pub(crate) fn receive(
    settings: &MConnSettings,
    ids: &[u8],
    pieces: &[&[u8]],
) -> (Messages, Result<(), MConnError>) {
    let mut conn = connection(settings, ids);
    let mut inbox = Inbox::default();
    for piece in pieces {
        match conn.receive(piece, Mono::ZERO, &mut inbox) {
            Ok(consumed) => assert_eq!(consumed, piece.len()),
            Err(error) => return (inbox.messages, Err(error)),
        }
    }
    (inbox.messages, Ok(()))
}

/// The packets of a wire, without their prefixes; what is cut off at the end is left out.
pub(crate) fn bodies(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut bodies = Vec::new();
    while let Ok(len) = prost::encoding::decode_varint(&mut wire) {
        let Some((body, rest)) = wire.split_at_checked(len as usize) else { break };
        bodies.push(body);
        wire = rest;
    }
    bodies
}

/// A body with its prefix.
pub(crate) fn prefixed(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    prost::encoding::encode_varint(body.len() as u64, &mut wire);
    wire.extend_from_slice(body);
    wire
}
