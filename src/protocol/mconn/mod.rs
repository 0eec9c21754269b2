//! The multiplexed connection: cuts messages into packets and puts them together again, shares the
//! connection between channels, keeps to rates, asks whether the peer is alive.
//!
//! Owns what is between a connection's queues and its frames; runs on the event loop's thread. It
//! must never touch a socket or a clock, allocate per packet, or trust a length before it is
//! checked. Errors are always the peer's fault and end the connection.

mod error;
mod keepalive;
pub mod packet;
mod ports;
mod rate;
mod reassembly;
mod receive;
mod schedule;
mod send;

pub use error::MConnError;
pub use ports::{Flow, Incoming, Outgoing, Sink};

use crate::{channel::ChannelDescriptor, config::Config, time::Mono};
use keepalive::KeepAlive;
use packet::Header;
pub(crate) use rate::Meter;
use rate::{Bucket, Frames};
pub(crate) use reassembly::MAX_RESERVED;
use receive::{Received, Receiver};
use send::{Sender, Stopped};
use std::time::Duration;

/// How a connection behaves.
#[derive(Clone, Debug)]
#[doc(alias = "MConnConfig")]
pub struct MConnSettings {
    /// Most bytes of a message in a packet that we send. A Go peer refuses packets above its own
    /// setting of this name (1024).
    pub max_packet_msg_payload_size: usize,
    /// Most bytes of a message in a packet that we accept. Bounds what a peer makes us hold of one
    /// packet; larger than what anybody sends by default, so that peers with other settings are
    /// not cut off.
    pub max_recv_packet_size: usize,
    /// Bytes per second that we send, in encoded packets; 0 = unlimited.
    pub send_rate: u64,
    /// Bytes per second that we receive, in encoded packets; 0 = unlimited.
    pub recv_rate: u64,
    /// Time between two pings; 0 = none.
    pub ping_interval: Duration,
    /// A peer that sends nothing at all for this long after a ping is gone.
    pub pong_timeout: Duration,
    /// Time between two unsolicited pongs while we do not read what the peer sends, or have not
    /// lately. Must be below the peer's pong time-out (45 s).
    pub unsolicited_pong_interval: Duration,
}

impl MConnSettings {
    /// What of the configuration concerns it.
    pub fn of(config: &Config) -> Self {
        Self {
            max_packet_msg_payload_size: config.max_packet_msg_payload_size,
            max_recv_packet_size: config.max_recv_packet_size,
            send_rate: config.send_rate,
            recv_rate: config.recv_rate,
            ping_interval: config.ping_interval,
            pong_timeout: config.pong_timeout,
            unsolicited_pong_interval: config.unsolicited_pong_interval,
        }
    }
}

/// What [`MConn::fill`] left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether there is more, and when"]
#[non_exhaustive]
pub struct Filled {
    /// Something is still to be sent.
    pub more: bool,
    /// When the rate allows more, if it is the rate that ended the batch.
    pub throttled_until: Option<Mono>,
}

/// One multiplexed connection. See the [module](self).
#[derive(Debug)]
#[doc(alias = "MConnection")]
pub struct MConn {
    receiver: Receiver,
    recv_bucket: Option<Bucket>,
    recv_frames: Frames,
    /// What was charged since the last frame ended.
    recv_charged: usize,
    sender: Sender,
    send_bucket: Option<Bucket>,
    send_frames: Frames,
    /// What is sent and what is received, in encoded packets.
    meters: (Meter, Meter),
    keep_alive: KeepAlive,
}

impl MConn {
    /// A fresh connection with these channels, in descriptor order. Everywhere else a channel is
    /// named by its position in this list.
    pub fn new(settings: &MConnSettings, channels: &[ChannelDescriptor], now: Mono) -> Self {
        let max_data = settings.max_packet_msg_payload_size;
        Self {
            receiver: Receiver::new(channels, settings.max_recv_packet_size),
            recv_bucket: Bucket::receiving(settings.recv_rate, now),
            recv_frames: Frames::default(),
            recv_charged: 0,
            send_frames: Frames::default(),
            sender: Sender::new(channels, max_data, now),
            meters: Default::default(),
            send_bucket: Bucket::sending(settings.send_rate, send::largest_on_wire(max_data), now),
            keep_alive: KeepAlive::new(
                settings.ping_interval,
                settings.pong_timeout,
                settings.unsolicited_pong_interval,
                now,
            ),
        }
    }

    /// Consumes opened bytes, all of them or up to the end of a message after which `incoming`
    /// said [`Flow::Stop`]; returns how many.
    ///
    /// # Errors
    /// The peer broke the protocol. The connection is of no use afterwards.
    pub fn receive(
        &mut self,
        plain: &[u8],
        now: Mono,
        incoming: &mut impl Incoming,
    ) -> Result<usize, MConnError> {
        if plain.is_empty() {
            return Ok(0);
        }
        self.keep_alive.on_bytes();
        let mut rest = plain;
        let mut exempt = 0;
        while let Some(received) = self.receiver.next(&mut rest, incoming)? {
            // What a flood of pings or pongs adds is not exempt from the rate.
            let is_exempt = match received {
                Received::Ping { is_usual } => self.keep_alive.on_ping(now) && is_usual,
                Received::Pong { is_usual } => self.keep_alive.on_pong(now) && is_usual,
                Received::Message(channel, message) => {
                    if incoming.message(channel, message) == Flow::Stop {
                        break;
                    }
                    false
                }
            };
            exempt = if is_exempt { Received::CONTROL_LEN.saturating_add(exempt) } else { exempt };
        }
        let consumed = plain.len().saturating_sub(rest.len());
        self.meters.1.add(consumed, now);
        if let Some(bucket) = &mut self.recv_bucket {
            bucket.take((consumed as isize).saturating_sub(exempt as isize));
            let charged = consumed.saturating_sub(exempt);
            self.recv_charged = self.recv_charged.saturating_add(charged);
        }
        Ok(consumed)
    }

    /// A frame with so many bytes was opened, and given to [`MConn::receive`]: however little was in
    /// it, it costs the receive rate something. A ping or a pong in time, alone in its frame, does not.
    pub fn end_frame(&mut self, opened: usize) {
        let charged = std::mem::take(&mut self.recv_charged);
        if let Some(bucket) = &mut self.recv_bucket
            && (charged > 0 || opened == 0)
        {
            bucket.take(self.recv_frames.surcharge(charged) as isize);
        }
    }

    /// Bytes that the receive rate allows now: `usize::MAX` without a limit, 0 = wait until
    /// [`MConn::recv_deadline`]. Consuming up to a frame more does no harm, it is owed.
    pub fn recv_allowance(&mut self, now: Mono) -> usize {
        self.recv_bucket.as_mut().map_or(usize::MAX, |bucket| {
            bucket.refill(now);
            bucket.bytes()
        })
    }

    /// When the receive rate allows more, if it allowed nothing when last asked.
    pub fn recv_deadline(&self) -> Option<Mono> {
        let bucket = self.recv_bucket.as_ref()?;
        (bucket.bytes() == 0).then(|| bucket.ready_at(1))
    }

    /// Memory held by unfinished messages, in bytes.
    pub fn reassembly_bytes(&self) -> usize {
        self.receiver.held()
    }

    /// Cuts packets into `sink` until nothing is pending, the sink is full or the rate is reached.
    /// Pongs and pings go first and are exempt from the rate. A packet that the sink has no room
    /// for is cut off and goes on in the next call, whatever the rate says.
    pub fn fill(
        &mut self,
        sink: &mut impl Sink,
        outgoing: &mut impl Outgoing,
        now: Mono,
    ) -> Filled {
        self.keep_alive.release_pong(now);
        self.sender.discover(outgoing, now);
        self.sender.limit_batch(sink);
        let mut sink = Counted { sink, bytes: 0 };
        let (mut stopped, mut controls) = (Stopped::NoRoom, 0);
        if self.put_controls(&mut sink, outgoing, now) {
            controls = sink.bytes;
            if let Some(bucket) = &mut self.send_bucket {
                bucket.refill(now);
            }
            stopped = self.sender.cut_packets(&mut sink, outgoing, &mut self.send_bucket);
        }
        if let Some(bucket) = &mut self.send_bucket
            && sink.bytes > controls
        {
            bucket.take(self.send_frames.surcharge_batch(sink.bytes) as isize);
        }
        self.meters.0.add(sink.bytes, now);
        Filled {
            more: stopped != Stopped::Idle,
            throttled_until: match stopped {
                Stopped::Throttled(until) => Some(until),
                _ => None,
            },
        }
    }

    /// Does what is due.
    ///
    /// # Errors
    /// [`MConnError::PongTimeout`]: the peer is gone.
    pub fn handle_timeout(&mut self, now: Mono) -> Result<(), MConnError> {
        self.keep_alive.handle_timeout(now).map_err(|_| MConnError::PongTimeout)
    }

    /// Sends a ping now, unless one is unanswered.
    pub fn probe(&mut self, now: Mono) {
        self.keep_alive.probe(now);
    }

    /// When [`MConn::handle_timeout`] has something to do. Only keep-alive; what the rates wait
    /// for is told by [`MConn::recv_deadline`] and [`Filled::throttled_until`].
    pub fn next_deadline(&self) -> Option<Mono> {
        self.keep_alive.next_deadline()
    }

    /// There may be bytes of the peer that we do not read, its pongs among them: its silence means
    /// nothing until [`MConn::resume_reading`], and it gets unsolicited pongs, because its pings
    /// are not read either, until some time after that. May be repeated.
    pub fn suspend_reading(&mut self, now: Mono) {
        self.keep_alive.suspend_reading(now);
    }

    /// We read again all that comes. May be repeated.
    pub fn resume_reading(&mut self, now: Mono) {
        self.keep_alive.resume_reading(now);
    }

    /// Whether a ping or pong is to be written, be it behind the rest of a cut packet.
    pub fn wants_control(&self) -> bool {
        self.keep_alive.wants_control() || self.sender.is_cutting_control()
    }

    /// Time between the last answered ping and its pong.
    pub fn rtt(&self) -> Option<Duration> {
        self.keep_alive.rtt()
    }

    /// Of what is sent and what is received, in encoded packets.
    pub(crate) fn meters(&self) -> (Meter, Meter) {
        self.meters
    }

    /// Writes the rest of a cut packet, then what controls there are; whether all of it went in.
    fn put_controls(
        &mut self,
        sink: &mut impl Sink,
        outgoing: &mut impl Outgoing,
        now: Mono,
    ) -> bool {
        if !self.sender.finish_cut(sink, outgoing) {
            return false;
        }
        while self.keep_alive.wants_control() {
            if sink.room() == 0 {
                return false;
            }
            let header = if self.keep_alive.take_pong() {
                Header::pong()
            } else {
                self.keep_alive.take_ping(now);
                Header::ping()
            };
            if !self.sender.put_control(header, sink, outgoing) {
                return false;
            }
        }
        true
    }
}

/// Counts what is put.
struct Counted<'a, S> {
    sink: &'a mut S,
    bytes: usize,
}

impl<S: Sink> Sink for Counted<'_, S> {
    fn room(&self) -> usize {
        self.sink.room()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.sink.put(bytes);
    }

    fn limit_frames(&mut self, frames: usize) {
        self.sink.limit_frames(frames);
    }
}
