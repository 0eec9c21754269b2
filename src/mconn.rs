//! The multiplexed connection by itself: what Go has in `p2p/conn/connection.go`, for programs that
//! speak it over a transport of their own or only listen, such as monitors.
//!
//! A machine without sockets and threads. [`MConn::fill`] cuts messages into packets and gives them to
//! a [`Sink`], the channel whose turn it is first; [`MConn::receive`] takes bytes and gives complete
//! messages. It keeps to the rates, answers pings and says when a peer is gone. Times are a
//! [`Mono`]: since whatever moment the caller likes, as long as it never goes back. In a node of
//! Tendermint's the bytes travel in the frames of a [secret connection](crate::secret).
//!
//! # Two ends in memory
//! ```
//! use std::collections::VecDeque;
//! use tmp2p::{
//!     ChannelDescriptor, Config, Payload,
//!     mconn::{Flow, Incoming, MConn, MConnSettings, Mono, Outgoing, Sink},
//! };
//!
//! /// What is under way. A real one is a frame or a few.
//! struct Wire(Vec<u8>);
//!
//! impl Sink for Wire {
//!     fn room(&self) -> usize {
//!         1024 - self.0.len()
//!     }
//!     fn put(&mut self, bytes: &[u8]) {
//!         self.0.extend_from_slice(bytes);
//!     }
//!     fn limit_frames(&mut self, _: usize) {}
//! }
//!
//! /// Messages to send on the only channel.
//! struct Queue(VecDeque<Payload>);
//!
//! impl Outgoing for Queue {
//!     fn take(&mut self, _channel: usize) -> Option<Payload> {
//!         self.0.pop_front()
//!     }
//! }
//!
//! /// Messages that have come.
//! struct Inbox(Vec<Payload>);
//!
//! impl Incoming for Inbox {
//!     fn message(&mut self, _channel: usize, message: Vec<u8>) -> Flow {
//!         self.0.push(message.into());
//!         Flow::Continue
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = MConnSettings::of(&Config::default());
//! let channels = [ChannelDescriptor::new(0x20).priority(5)];
//! let now = Mono::ZERO;
//! let mut alice = MConn::new(&settings, &channels, now);
//! let mut bob = MConn::new(&settings, &channels, now);
//!
//! let mut queue = Queue(["hello".into(), vec![7; 3000].into()].into());
//! let mut inbox = Inbox(Vec::new());
//! loop {
//!     let mut wire = Wire(Vec::new());
//!     let filled = alice.fill(&mut wire, &mut queue, now);
//!     bob.receive(&wire.0, now, &mut inbox)?;
//!     if !filled.more {
//!         break;
//!     }
//! }
//! assert_eq!(inbox.0, [Payload::from("hello"), vec![7; 3000].into()]);
//! # Ok(())
//! # }
//! ```

pub use crate::{
    protocol::{
        mconn::{
            Filled, Flow, Incoming, MConn, MConnError, MConnSettings, Outgoing, Sink,
            packet::{Packet, PacketError},
        },
        wire::DecodeError,
    },
    time::Mono,
};
