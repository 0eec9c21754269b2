//! From opened bytes to messages: a parser that takes the stream in whatever pieces it comes.
//!
//! A packet in the usual form is never buffered: its header is recognised, and its data goes from
//! the opened frames straight into the channel's buffer. Any other valid form is collected first.

use super::{
    Incoming, MConnError,
    packet::{LONGEST_HEADER, PING, Packet, Recognised, packet_len, recognise},
    reassembly::{Reassembly, grow},
};
use crate::{channel::ChannelDescriptor, protocol::wire::DecodeError};

/// The receiving side of a connection.
#[derive(Debug)]
pub(super) struct Receiver {
    channels: Vec<Reassembly>,
    /// Largest packet without its length prefix, in whatever form.
    limit: usize,
    state: State,
    /// First bytes of a packet whose header is not complete.
    header: [u8; LONGEST_HEADER],
    header_len: usize,
    /// A packet in an unusual form, at most `limit` bytes; without memory otherwise.
    unusual: Vec<u8>,
    held: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Header,
    Data { channel: usize, eof: bool, rest: usize },
    Unusual { rest: usize },
}

/// Something that the bytes completed.
#[derive(Debug)]
pub(super) enum Received {
    /// A ping; whether in the usual form.
    Ping { is_usual: bool },
    /// A pong; whether in the usual form.
    Pong { is_usual: bool },
    /// A message of a channel, by position.
    Message(usize, Vec<u8>),
}

impl Received {
    /// Size of a ping or pong in the usual form.
    pub(super) const CONTROL_LEN: usize = PING.len();
}

impl Receiver {
    pub(super) fn new(channels: &[ChannelDescriptor], max_data: usize) -> Self {
        Self {
            channels: channels.iter().map(Reassembly::new).collect(),
            // The longest channel number, so that the limit on data is the same for each channel.
            limit: packet_len(255, true, max_data),
            state: State::Header,
            header: [0; LONGEST_HEADER],
            header_len: 0,
            unusual: Vec::new(),
            held: 0,
        }
    }

    /// Memory held by unfinished messages and packets.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Consumes bytes from the front of `input` up to the first thing that they complete, or all
    /// of them.
    pub(super) fn next(
        &mut self,
        input: &mut &[u8],
        incoming: &mut impl Incoming,
    ) -> Result<Option<Received>, MConnError> {
        loop {
            let received = match self.state {
                State::Header if input.is_empty() => return Ok(None),
                State::Header => self.header(input, incoming)?,
                State::Data { rest, .. } | State::Unusual { rest }
                    if rest > 0 && input.is_empty() =>
                {
                    return Ok(None);
                }
                State::Data { channel, eof, rest } => self.data(channel, eof, rest, input),
                State::Unusual { rest } => self.unusual(rest, input, incoming)?,
            };
            if received.is_some() {
                return Ok(received);
            }
        }
    }

    fn header(
        &mut self,
        input: &mut &[u8],
        incoming: &mut impl Incoming,
    ) -> Result<Option<Received>, MConnError> {
        let stored = self.header_len;
        let recognised = if stored == 0 {
            recognise(input, self.limit)
        } else {
            let begun = self.store(stored, input);
            recognise(self.header.get(..begun).unwrap_or_default(), self.limit)
        }
        .map_err(|len| match len {
            Some(size) => MConnError::PacketTooLarge { size, limit: self.limit },
            None => MConnError::Malformed(DecodeError::Varint),
        })?;
        self.header_len = 0;
        // What is stored was too little, so that all of it is in front of where the header ends.
        let mut pass =
            |len: usize| *input = input.get(len.saturating_sub(stored)..).unwrap_or_default();
        match recognised {
            Recognised::NeedMore => {
                self.header_len = self.store(stored, input);
                *input = &[];
                Ok(None)
            }
            Recognised::Ping { len } => {
                pass(len);
                Ok(Some(Received::Ping { is_usual: true }))
            }
            Recognised::Pong { len } => {
                pass(len);
                Ok(Some(Received::Pong { is_usual: true }))
            }
            Recognised::Msg { header_len, channel_id, eof, data_len } => {
                pass(header_len);
                self.begin(channel_id, eof, data_len, incoming)
            }
            Recognised::Other { prefix_len, len } => {
                pass(prefix_len);
                let begun = self.header.get(prefix_len..stored).unwrap_or_default();
                self.unusual.extend_from_slice(begun);
                let rest = len.saturating_sub(begun.len());
                self.hold(0, self.unusual.capacity());
                self.state = State::Unusual { rest };
                Ok(None)
            }
        }
    }

    /// Puts the beginning of `input` behind so much of a header; how much of it there is then.
    fn store(&mut self, stored: usize, input: &[u8]) -> usize {
        for (to, from) in self.header.iter_mut().skip(stored).zip(input) {
            *to = *from;
        }
        stored.saturating_add(input.len()).min(LONGEST_HEADER)
    }

    /// A buffer that held so much memory holds so much now.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`held` is a sum, of which `before` is a part"
    )]
    fn hold(&mut self, before: usize, after: usize) {
        self.held = self.held - before + after;
    }

    /// A packet with this header and `data_len` bytes begins.
    fn begin(
        &mut self,
        channel_id: i64,
        eof: bool,
        data_len: usize,
        incoming: &mut impl Incoming,
    ) -> Result<Option<Received>, MConnError> {
        let mut channels = self.channels.iter_mut().enumerate();
        let (channel, reassembly) = channels
            .find(|(_, channel)| i64::from(channel.id().as_u8()) == channel_id)
            .ok_or(MConnError::UnknownChannel(channel_id))?;
        let before = reassembly.held();
        reassembly.begin(data_len, eof, incoming)?;
        let after = reassembly.held();
        self.hold(before, after);
        if data_len == 0 {
            return Ok(self.end(channel, eof));
        }
        self.state = State::Data { channel, eof, rest: data_len };
        Ok(None)
    }

    #[expect(clippy::indexing_slicing, reason = "`begin` has found the channel, and they stay")]
    fn data(
        &mut self,
        channel: usize,
        eof: bool,
        rest: usize,
        input: &mut &[u8],
    ) -> Option<Received> {
        let (piece, left) = input.split_at_checked(rest).unwrap_or((*input, &[]));
        *input = left;
        let reassembly = &mut self.channels[channel];
        let before = reassembly.held();
        reassembly.append(piece, rest, eof);
        let after = reassembly.held();
        self.hold(before, after);
        match rest.saturating_sub(piece.len()) {
            0 => self.end(channel, eof),
            rest => {
                self.state = State::Data { channel, eof, rest };
                None
            }
        }
    }

    /// The data of a packet is complete.
    #[expect(clippy::indexing_slicing, reason = "`begin` has found the channel, and they stay")]
    fn end(&mut self, channel: usize, eof: bool) -> Option<Received> {
        self.state = State::Header;
        eof.then(|| {
            let reassembly = &mut self.channels[channel];
            let before = reassembly.held();
            let message = reassembly.finish();
            self.hold(before, 0);
            Received::Message(channel, message)
        })
    }

    fn unusual(
        &mut self,
        rest: usize,
        input: &mut &[u8],
        incoming: &mut impl Incoming,
    ) -> Result<Option<Received>, MConnError> {
        let (piece, left) = input.split_at_checked(rest).unwrap_or((*input, &[]));
        *input = left;
        let before = self.unusual.capacity();
        let end = self.unusual.len().saturating_add(rest);
        grow(&mut self.unusual, piece.len(), end);
        self.unusual.extend_from_slice(piece);
        self.hold(before, self.unusual.capacity());
        let rest = rest.saturating_sub(piece.len());
        if rest > 0 {
            self.state = State::Unusual { rest };
            return Ok(None);
        }
        self.state = State::Header;
        let packet = std::mem::take(&mut self.unusual);
        self.hold(packet.capacity(), 0);
        Ok(match Packet::decode(&packet).map_err(MConnError::from)? {
            Packet::Ping => Some(Received::Ping { is_usual: false }),
            Packet::Pong => Some(Received::Pong { is_usual: false }),
            Packet::Msg { channel_id, eof, data } => {
                let received = self.begin(channel_id, eof, data.len(), incoming)?;
                match self.state {
                    State::Data { channel, eof, rest } => {
                        self.data(channel, eof, rest, &mut &*data)
                    }
                    _ => received,
                }
            }
        })
    }
}
