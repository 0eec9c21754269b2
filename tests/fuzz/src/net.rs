//! Sockets that a script plays, and the honest nodes at their other ends.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tmp2p::{
    ChannelDescriptor, Payload,
    internals::event_loop::Sockets,
    internals::protocol::{
        LinkSettings,
        link::{Handshaking, MAX_BATCH_FRAMES, Open, Step},
        mconn::{Flow, Incoming, Outgoing},
        secret::Null,
    },
    internals::time::Mono,
};

use crate::{cheap_agreement, link_settings};

/// Everything that the loop believes to be the network.
#[derive(Default)]
pub struct Net {
    pub sockets: BTreeMap<u32, Socket>,
    /// Nodes that wait to be accepted, by their key's seed.
    pub backlog: VecDeque<u8>,
    pub is_listening: bool,
    /// What the next accepts say.
    pub accept_errors: Vec<io::ErrorKind>,
    pub channels: Vec<ChannelDescriptor>,
    /// The next connect fails at once.
    pub refuses: bool,
}

/// One connection.
pub struct Socket {
    pub far: Far,
    /// From the far side, not read yet.
    pub input: VecDeque<u8>,
    pub is_ended: bool,
    pub is_reset: bool,
    /// From us, not looked at by the far side.
    pub output: Vec<u8>,
    /// What the kernel still takes.
    pub room: usize,
    pub write_fails: bool,
    /// Nothing is written after we closed our half.
    pub is_shut: bool,
    /// `None` while it connects.
    pub connected: Option<Result<(), io::ErrorKind>>,
    pub interrupts: usize,
}

impl Net {
    fn open(&mut self, slot: u32, seed: u8, connected: Option<Result<(), io::ErrorKind>>) {
        let (far, first) = Far::new(seed, &self.channels);
        let socket = Socket {
            far,
            input: first.into(),
            is_ended: false,
            is_reset: false,
            output: Vec::new(),
            room: 1 << 14,
            write_fails: false,
            is_shut: false,
            connected,
            interrupts: 0,
        };
        assert!(self.sockets.insert(slot, socket).is_none(), "slot {slot} is taken");
    }

    /// Slots with a socket.
    pub fn open_slots(&self) -> BTreeSet<u32> {
        self.sockets.keys().copied().collect()
    }

    fn socket(&mut self, slot: u32) -> &mut Socket {
        self.sockets.get_mut(&slot).expect("only open sockets are used")
    }
}

/// The address of the node with this seed.
pub fn address(seed: u8) -> SocketAddr {
    (Ipv4Addr::new(10, 0, 0, seed), 26656).into()
}

impl Sockets for Net {
    fn short_is_blocked(&self) -> bool {
        true
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        self.is_listening = true;
        Ok(addr)
    }

    fn stop_listening(&mut self) {
        self.is_listening = false;
        self.backlog.clear();
    }

    fn connect(&mut self, slot: u32, addr: SocketAddr) -> io::Result<()> {
        if std::mem::take(&mut self.refuses) {
            return Err(io::ErrorKind::NetworkUnreachable.into());
        }
        let SocketAddr::V4(addr) = addr else { unreachable!("only such are dialed") };
        self.open(slot, addr.ip().octets()[3], None);
        Ok(())
    }

    fn connect_result(&mut self, slot: u32) -> io::Result<bool> {
        match self.socket(slot).connected {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(kind)) => Err(kind.into()),
        }
    }

    fn accept(&mut self, slot: u32) -> io::Result<SocketAddr> {
        assert!(self.is_listening, "accepts without a listener");
        if let Some(kind) = self.accept_errors.pop() {
            return Err(kind.into());
        }
        let seed = self.backlog.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        self.open(slot, seed, Some(Ok(())));
        Ok(address(seed))
    }

    fn let_in(&mut self, slot: u32, remote: SocketAddr) -> io::Result<()> {
        assert!(self.sockets.contains_key(&slot), "{remote} was not accepted");
        Ok(())
    }

    fn shed_one(&mut self) -> bool {
        self.backlog.pop_front().is_some()
    }

    fn read(&mut self, slot: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket(slot);
        assert!(!buffer.is_empty(), "a read of nothing looks like the end");
        if socket.interrupts > 0 {
            socket.interrupts -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        match socket.input.len().min(buffer.len()) {
            0 if socket.is_reset => Err(io::ErrorKind::ConnectionReset.into()),
            0 if socket.is_ended => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => {
                socket.input.drain(..read).zip(buffer).for_each(|(from, to)| *to = from);
                Ok(read)
            }
        }
    }

    fn write(&mut self, slot: u32, bytes: &[u8]) -> io::Result<usize> {
        let socket = self.socket(slot);
        assert!(!bytes.is_empty() && !socket.is_shut, "writes nothing, or after the end");
        if socket.write_fails {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match socket.room.min(bytes.len()) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            written => {
                socket.room -= written;
                socket.output.extend_from_slice(&bytes[..written]);
                Ok(written)
            }
        }
    }

    fn shutdown_write(&mut self, slot: u32) {
        self.socket(slot).is_shut = true;
    }

    fn close(&mut self, slot: u32) {
        // One whose connect failed was never there.
        self.sockets.remove(&slot);
    }
}

/// The node at the other end: keeps to the protocol unless the script puts bytes into its stream.
pub struct Far {
    settings: LinkSettings,
    link: FarLink,
    input: Vec<u8>,
    pub is_dead: bool,
    pub queues: Vec<VecDeque<Payload>>,
    /// Messages ever queued, per channel.
    pub sent: Vec<u32>,
    pub got: Vec<(usize, Payload)>,
}

enum FarLink {
    Handshaking(Handshaking<Null>),
    Open(Box<Open<Null>>),
    Dead,
}

struct Taker<'a>(&'a mut Vec<(usize, Payload)>);

impl Incoming for Taker<'_> {
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        self.0.push((channel, message.into()));
        Flow::Continue
    }
}

struct Giver<'a>(&'a mut [VecDeque<Payload>]);

impl Outgoing for Giver<'_> {
    fn take(&mut self, channel: usize) -> Option<Payload> {
        self.0[channel].pop_front()
    }
}

impl Far {
    fn new(seed: u8, channels: &[ChannelDescriptor]) -> (Self, Vec<u8>) {
        let settings = link_settings(seed, channels);
        let mut first = Vec::new();
        let link = Handshaking::start(&settings, cheap_agreement([seed; 32]), None, &mut first);
        let far = Self {
            settings,
            link: FarLink::Handshaking(link),
            input: Vec::new(),
            is_dead: false,
            queues: channels.iter().map(|_| VecDeque::new()).collect(),
            sent: vec![0; channels.len()],
            got: Vec::new(),
        };
        (far, first)
    }

    /// Reads what came and says what it has to say.
    pub fn run(&mut self, came: &[u8], now: Mono) -> Vec<u8> {
        let mut out = Vec::new();
        self.input.extend_from_slice(came);
        while matches!(self.link, FarLink::Handshaking(_)) {
            let FarLink::Handshaking(link) = std::mem::replace(&mut self.link, FarLink::Dead)
            else {
                unreachable!("seen above")
            };
            let mut input = self.input.as_slice();
            let step = link.advance(&self.settings, &mut input, &mut out);
            let used = self.input.len() - input.len();
            self.input.drain(..used);
            match step {
                Ok(Step::NeedMore(link)) => {
                    self.link = FarLink::Handshaking(link);
                    return out;
                }
                Ok(Step::Stepped(link)) => self.link = FarLink::Handshaking(link),
                Ok(Step::Established(link, _)) => {
                    self.link = FarLink::Open(Box::new(link.admit(&self.settings, now)));
                }
                Err(_) => self.is_dead = true,
            }
        }
        let FarLink::Open(link) = &mut self.link else { return out };
        match link.receive(&mut self.input, now, &mut Taker(&mut self.got)) {
            Ok(received) => drop(self.input.drain(..received.consumed)),
            Err(_) => self.is_dead = true,
        }
        while !self.is_dead {
            match link.fill(&mut out, MAX_BATCH_FRAMES, &mut Giver(&mut self.queues), now) {
                Ok(filled) if filled.more => {}
                Ok(_) => break,
                Err(_) => self.is_dead = true,
            }
        }
        out
    }
}
