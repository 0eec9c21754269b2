//! From messages to packets: chooses a channel, cuts its message, writes into the sink.

use super::{
    Outgoing, Sink,
    packet::{Header, delimited_len, packet_len},
    rate::Bucket,
    schedule::Schedule,
};
use crate::{channel::ChannelDescriptor, payload::Payload, time::Mono};

/// Frames of a batch while several channels have something to send: sealed bytes cannot be
/// overtaken, so an important message waits for up to this much. Below 16 frames throughput falls.
const FRAMES_SHARED: usize = 16;

/// The sending side of a connection.
#[derive(Debug)]
pub(super) struct Sender {
    channels: Vec<Current>,
    schedule: Schedule,
    /// Most data in a packet.
    max_data: usize,
    /// Go refuses packets that are longer than this, without the prefix.
    max_packet: usize,
    cut: Option<Cut>,
}

/// The message of a channel that is being cut.
#[derive(Debug)]
struct Current {
    id: u8,
    message: Option<Payload>,
    /// Bytes of it that are in packets and in the sink.
    done: usize,
}

/// A packet that is not all in the sink.
#[derive(Debug)]
struct Cut {
    header: Header,
    header_done: usize,
    /// The channel, where its data ends and whether the message does; nothing for ping and pong.
    data: Option<CutData>,
}

#[derive(Debug, Clone, Copy)]
struct CutData {
    channel: usize,
    end: usize,
    eof: bool,
}

/// Why no further packet was cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Idle,
    NoRoom,
    Throttled(Mono),
}

impl Sender {
    pub(super) fn new(channels: &[ChannelDescriptor], max_data: usize, now: Mono) -> Self {
        let max_data = max_data.max(1);
        let current = |c: &ChannelDescriptor| Current { id: c.id.as_u8(), message: None, done: 0 };
        Self {
            channels: channels.iter().map(current).collect(),
            schedule: Schedule::new(channels, now),
            max_data,
            max_packet: largest_packet(max_data),
            cut: None,
        }
    }

    /// Whether a ping or pong is partly in the sink.
    pub(super) fn is_cutting_control(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.data.is_none())
    }

    /// Looks for messages on all channels that have none. To be called first in each batch.
    pub(super) fn discover(&mut self, outgoing: &mut impl Outgoing, now: Mono) {
        self.schedule.decay(now);
        for (channel, current) in self.channels.iter_mut().enumerate() {
            if current.message.is_none() {
                current.take(channel, outgoing, &mut self.schedule);
            }
        }
    }

    /// Keeps the batch short if several channels share it.
    pub(super) fn limit_batch(&self, sink: &mut impl Sink) {
        if self.schedule.pending() > 1 {
            sink.limit_frames(FRAMES_SHARED);
        }
    }

    /// Writes the rest of the packet that is cut, if there is one; whether all of it is written.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        clippy::arithmetic_side_effects,
        reason = "a cut is of one of the channels, within its message, which stays until the last \
                  byte is put; `put` puts no more than it is given"
    )]
    pub(super) fn finish_cut(
        &mut self,
        sink: &mut impl Sink,
        outgoing: &mut impl Outgoing,
    ) -> bool {
        let Some(cut) = &mut self.cut else { return true };
        let header = cut.header.as_bytes();
        cut.header_done += put(sink, &header[cut.header_done..]);
        if cut.header_done < header.len() {
            return false;
        }
        let Some(CutData { channel, end, eof }) = cut.data else {
            self.cut = None;
            return true;
        };
        let current = &mut self.channels[channel];
        let message = current.message.as_ref().expect("a message stays until its last byte is put");
        current.done += put(sink, &message[current.done..end]);
        if current.done < end {
            return false;
        }
        self.cut = None;
        if eof {
            current.message = None;
            outgoing.sent(channel, end);
            current.take(channel, outgoing, &mut self.schedule);
        }
        true
    }

    /// Writes a ping or pong. Only after [`Sender::finish_cut`] said yes.
    pub(super) fn put_control(
        &mut self,
        header: Header,
        sink: &mut impl Sink,
        outgoing: &mut impl Outgoing,
    ) -> bool {
        self.cut = Some(Cut { header, header_done: 0, data: None });
        self.finish_cut(sink, outgoing)
    }

    /// Cuts and writes packets. Only after [`Sender::finish_cut`] said yes.
    pub(super) fn cut_packets(
        &mut self,
        sink: &mut impl Sink,
        outgoing: &mut impl Outgoing,
        bucket: &mut Option<Bucket>,
    ) -> Stopped {
        while let Some(channel) = self.schedule.next() {
            // Nothing is chosen before there is room for it: until then something more important
            // may come.
            if sink.room() == 0 {
                return Stopped::NoRoom;
            }
            let (header, data, len) = self.next_packet(channel);
            let size = header.as_bytes().len().saturating_add(len);
            if let Some(bucket) = bucket {
                if !bucket.has(size) {
                    return Stopped::Throttled(bucket.ready_at(size));
                }
                bucket.take(size as isize);
            }
            self.schedule.on_sent(channel, size);
            self.cut = Some(Cut { header, header_done: 0, data: Some(data) });
            if !self.finish_cut(sink, outgoing) {
                return Stopped::NoRoom;
            }
        }
        Stopped::Idle
    }

    /// The next packet of the channel's message, and how much of the message is in it: as much as allowed,
    /// the last with eof.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the schedule has the same channels; a packet ends within its message"
    )]
    fn next_packet(&self, channel: usize) -> (Header, CutData, usize) {
        let Current { id, message, done } = &self.channels[channel];
        let id = i64::from(*id);
        let rest = message.as_ref().map_or(0, |message| message.len()).saturating_sub(*done);
        let mut len = rest.min(self.max_data);
        let mut eof = len == rest;
        // The last packet of a channel from 0x80 on would be one byte longer than Go accepts: a
        // byte is left for another one. With one byte per packet only the eof is left.
        if eof && packet_len(id, eof, len) > self.max_packet {
            len = len.saturating_sub(1).max(1);
            eof = false;
        }
        (Header::msg(id, eof, len), CutData { channel, end: done + len, eof }, len)
    }
}

impl Current {
    /// Begins with the next message of the channel, which is at this position.
    fn take(&mut self, channel: usize, outgoing: &mut impl Outgoing, schedule: &mut Schedule) {
        self.message = outgoing.take(channel);
        self.done = 0;
        schedule.set_pending(channel, self.message.is_some());
    }
}

/// Longest packet, without its prefix, that Go accepts with this much data per packet: it computes
/// it for channel 1 (`maxPacketMsgSize`).
pub(super) fn largest_packet(max_data: usize) -> usize {
    packet_len(1, true, max_data)
}

/// The same with its prefix.
pub(super) fn largest_on_wire(max_data: usize) -> usize {
    delimited_len(largest_packet(max_data.max(1)))
}

/// Puts as much as there is room for; how much that was.
fn put(sink: &mut impl Sink, bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while !rest.is_empty() {
        let room = sink.room();
        if room == 0 {
            break;
        }
        let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        sink.put(now);
        rest = later;
    }
    bytes.len().saturating_sub(rest.len())
}
