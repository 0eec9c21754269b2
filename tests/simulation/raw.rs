//! A peer that does what a test wants, byte by byte, instead of what a node would do.

use std::{io, net::IpAddr, time::Duration};

use tmp2p::{
    NodeId, NodeKey,
    internals::event_loop::Sockets,
    internals::protocol::{
        mconn::packet::Packet,
        secret::{Cipher, FRAME_SEALED, Handshake, Null, Opener, Progress, Sealer},
        wire::decode_varint,
    },
    internals::testing::agreement,
    internals::time::Mono,
};

use crate::{options::Options, sockets::SimSockets, world::World};

/// The one connection that such a peer has.
const SLOT: u32 = 0;

pub(crate) struct RawPeer {
    sockets: SimSockets,
    key: NodeKey,
    to: NodeId,
    /// Sealed bytes to send, and received.
    pub(crate) out: Vec<u8>,
    input: Vec<u8>,
    /// Opened bytes that are not a whole packet.
    plain: Vec<u8>,
    sealer: Option<Sealer<Null>>,
    opener: Option<Opener<Null>>,
    /// The connection is over, and how.
    pub(crate) end: Option<Result<(), io::ErrorKind>>,
    pub(crate) pings: usize,
    /// When each pong came.
    pub(crate) pongs: Vec<Mono>,
    /// Bytes of messages that came.
    pub(crate) data: usize,
}

impl RawPeer {
    /// A TCP connection and no more.
    pub(crate) fn connect<C: Cipher>(world: &mut World<C>, to: usize, number: u8) -> Self {
        Self::connect_from(world, to, number, [10, 1, 0, number].into())
    }

    /// The same from this address.
    pub(crate) fn connect_from<C: Cipher>(
        world: &mut World<C>,
        to: usize,
        number: u8,
        ip: IpAddr,
    ) -> Self {
        let (node, addr) = (world.nodes[to].id, world.nodes[to].addr);
        let mut sockets = SimSockets::new(world.net.clone(), ip);
        sockets.connect(SLOT, addr).unwrap();
        let mut raw = Self {
            sockets,
            key: NodeKey::from_seed([100 + number; 32]),
            to: node,
            out: Vec::new(),
            input: Vec::new(),
            plain: Vec::new(),
            sealer: None,
            opener: None,
            end: None,
            pings: 0,
            pongs: Vec::new(),
            data: 0,
        };
        while !raw.sockets.connect_result(SLOT).unwrap() {
            world.run_for(Duration::from_micros(100));
        }
        raw
    }

    /// A connection that the node takes for a session.
    pub(crate) fn session(world: &mut World<Null>, to: usize, number: u8) -> Self {
        let mut raw = Self::connect(world, to, number);
        raw.establish(world, to);
        raw
    }

    /// Makes a session of the connection.
    pub(crate) fn establish(&mut self, world: &mut World<Null>, to: usize) {
        self.authenticate(world);
        let node_info = self.node_info(&Options::default());
        self.put(&node_info);
        self.flush(world);
        let id = self.id();
        let is_up = |w: &World<Null>| w.nodes[to].reactors.iter().all(|r| r.peer(id).is_some());
        assert!(world.run_until(Duration::from_secs(5), is_up), "{:?}", world.nodes[to].events);
        while !self.skip_node_info() {
            world.run_for(Duration::from_micros(200));
            self.pull();
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.key.id()
    }

    /// What the peer says of itself, ready to be sealed.
    pub(crate) fn node_info(&self, options: &Options) -> Vec<u8> {
        options.link(&self.key, ([10, 1, 0, 1], 1).into()).node_info.encode_delimited()
    }

    /// The secret connection.
    pub(crate) fn authenticate<C: Cipher>(&mut self, world: &mut World<C>) {
        let agreement = agreement(world.dice.bytes());
        let to = Some(self.to);
        let mut handshake = Handshake::start(self.key.clone(), agreement, to, &mut self.out);
        loop {
            self.flush(world);
            self.read();
            let mut input = self.input.as_slice();
            let progress = handshake.advance(&mut input, &mut self.out).unwrap();
            self.input = input.to_vec();
            handshake = match progress {
                Progress::NeedMore(next) => {
                    assert_eq!(self.end, None);
                    world.run_for(Duration::from_micros(200));
                    next
                }
                Progress::Stepped(next) => next,
                Progress::Done(established) => {
                    self.sealer = Some(established.sealer);
                    self.opener = Some(established.opener);
                    self.plain = established.rest;
                    return;
                }
            };
        }
    }

    /// Seals bytes to be sent.
    pub(crate) fn put(&mut self, plain: &[u8]) {
        let sealer = self.sealer.as_mut().expect("after the handshake");
        let mut writer = sealer.writer(&mut self.out, usize::MAX);
        writer.put(plain);
        writer.finish().unwrap();
    }

    /// Seals whole messages to be sent.
    pub(crate) fn put_messages(&mut self, channel: u8, messages: usize, len: usize) {
        let mut plain = Vec::new();
        for number in 0..messages {
            put_message(&mut plain, channel, &body(number, len));
        }
        self.put(&plain);
    }

    /// Writes until nothing is left, or the connection is over.
    pub(crate) fn flush<C: Cipher>(&mut self, world: &mut World<C>) {
        while !self.write() {
            world.run_for(Duration::from_micros(200));
        }
    }

    /// Writes what the socket takes; whether nothing is left.
    pub(crate) fn write(&mut self) -> bool {
        while !self.out.is_empty() {
            match self.sockets.write(SLOT, &self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => {
                    self.end = Some(Err(error.kind()));
                    self.out.clear();
                }
            }
        }
        true
    }

    /// Takes what has come, and counts it.
    pub(crate) fn pull(&mut self) {
        self.read();
        let Some(opener) = &mut self.opener else { return };
        let whole = self.input.len() / FRAME_SEALED * FRAME_SEALED;
        for frame in self.input[..whole].chunks_exact_mut(FRAME_SEALED) {
            self.plain.extend(opener.open(frame).unwrap());
        }
        self.input.drain(..whole);
    }

    /// Counts the packets that have come, at this time.
    pub(crate) fn count(&mut self, now: Mono) {
        self.pull();
        while let Some((len, prefix)) = decode_varint(&self.plain).unwrap() {
            let end = prefix + len as usize;
            if self.plain.len() < end {
                break;
            }
            match Packet::decode(&self.plain[prefix..end]).unwrap() {
                Packet::Ping => self.pings += 1,
                Packet::Pong => self.pongs.push(now),
                Packet::Msg { data, .. } => self.data += data.len(),
            }
            self.plain.drain(..end);
        }
    }

    /// Takes at most so many bytes of what has come.
    pub(crate) fn read_some(&mut self, most: usize) {
        let mut buffer = vec![0; most];
        match self.sockets.read(SLOT, &mut buffer) {
            Ok(0) => self.end = Some(Ok(())),
            Ok(n) => self.input.extend(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.end = Some(Err(error.kind())),
        }
    }

    pub(crate) fn close(&mut self) {
        self.sockets.close(SLOT);
    }

    /// Forgets the node's NodeInfo, once it has come.
    fn skip_node_info(&mut self) -> bool {
        let Some((len, prefix)) = decode_varint(&self.plain).unwrap() else { return false };
        let end = prefix + len as usize;
        let has_come = self.plain.len() >= end;
        if has_come {
            self.plain.drain(..end);
        }
        has_come
    }

    fn read(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        while self.end.is_none() {
            match self.sockets.read(SLOT, &mut buffer) {
                Ok(0) => self.end = Some(Ok(())),
                Ok(n) => self.input.extend(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.end = Some(Err(error.kind())),
            }
        }
    }
}

/// The message with this number.
pub(crate) fn body(number: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (number * 7 + i) as u8).collect()
}

/// Appends a message cut as everybody cuts it.
pub(crate) fn put_message(out: &mut Vec<u8>, channel: u8, message: &[u8]) {
    let channel_id = i64::from(channel);
    let mut pieces = message.chunks(1000).peekable();
    if pieces.peek().is_none() {
        Packet::Msg { channel_id, eof: true, data: &[] }.encode(out);
    }
    while let Some(data) = pieces.next() {
        Packet::Msg { channel_id, eof: pieces.peek().is_none(), data }.encode(out);
    }
}
