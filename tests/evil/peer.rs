//! A peer that keeps to the protocol as far as a test wants it to, and not a byte further.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use socket2::SockRef;
use tmp2p::{
    ChannelId, ListenAddress, NodeId, NodeInfo, NodeKey,
    internals::protocol::{
        mconn::packet::Packet,
        secret::{
            ChaCha, Cipher, EPHEMERAL, FRAME_DATA, FRAME_SEALED, FrameKeys, KeyAgreement, MAX_AUTH,
            MAX_EMPTY_FRAMES, Opener, Sealer, Side, TAG, challenge,
        },
        wire::{decode_varint, put_delimited, put_message_field, put_varint},
    },
};

use crate::{
    alone,
    support::{DEADLINE, plain_from},
    victim::{CHAIN, FOUNTAIN, SINK, TALK, Victim},
};

/// How far somebody goes before he does what he is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Has connected.
    Connected,
    /// Has sent a part of his ephemeral key.
    InKey,
    /// Both have sent theirs.
    Keyed,
    /// Has sent a part of his authentication message.
    InAuth,
    /// Is authenticated.
    Known,
    /// Has sent a part of his NodeInfo.
    InNodeInfo,
    /// Is a peer.
    Open,
}

pub(crate) const STAGES: [Stage; 7] = [
    Stage::Connected,
    Stage::InKey,
    Stage::Keyed,
    Stage::InAuth,
    Stage::Known,
    Stage::InNodeInfo,
    Stage::Open,
];

/// What somebody does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Misdeed {
    /// Says no more.
    Silence,
    /// Says what he has to say a byte at a time, and never the last one.
    Drip,
    /// Ends his half.
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Sends bytes that mean nothing.
    Garbage,
    /// Sends what was sent before: in an earlier connection, or his last frame.
    Replay,
    /// Has not the keys that he should have.
    Impostor,
    /// Announces more than there may be.
    Oversized,
    /// Sends frames with nothing in them.
    Empty,
}

pub(crate) const MISDEEDS: [Misdeed; 9] = [
    Misdeed::Silence,
    Misdeed::Drip,
    Misdeed::HalfClose,
    Misdeed::Reset,
    Misdeed::Garbage,
    Misdeed::Replay,
    Misdeed::Impostor,
    Misdeed::Oversized,
    Misdeed::Empty,
];

/// The connection of one who means harm.
pub(crate) struct Evil {
    /// `None` once it is reset.
    stream: Option<TcpStream>,
    /// Where the victim sees him.
    pub(crate) addr: SocketAddr,
    pub(crate) key: NodeKey,
    dice: StdRng,
    keys: Option<Keys>,
    /// What he would have to send next.
    rest: Vec<u8>,
    /// The last frame that was sent.
    last: Vec<u8>,
    /// Opened, and not looked at.
    plain: Vec<u8>,
    /// Everything that was sent, in order.
    pub(crate) sent: Vec<u8>,
}

struct Keys {
    send: [u8; 32],
    /// Of the next frame.
    counter: u64,
    opener: Opener<ChaCha>,
    challenge: [u8; 32],
}

impl Evil {
    /// Somebody whom no rule about addresses knows has gone this far, for this.
    pub(crate) fn at(stage: Stage, misdeed: Misdeed, victim: &Victim, dice: u64) -> Self {
        Self::from(alone(), stage, misdeed, victim, dice)
    }

    pub(crate) fn from(
        source: Ipv4Addr,
        stage: Stage,
        misdeed: Misdeed,
        victim: &Victim,
        dice: u64,
    ) -> Self {
        let stream = plain_from(source, victim.addr);
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut evil = Self {
            addr: stream.local_addr().unwrap(),
            stream: Some(stream),
            key: NodeKey::generate(),
            dice: StdRng::seed_from_u64(dice),
            keys: None,
            rest: Vec::new(),
            last: Vec::new(),
            plain: Vec::new(),
            sent: Vec::new(),
        };
        evil.go(stage, misdeed, victim);
        evil
    }

    /// A session that means no harm yet.
    pub(crate) fn session(victim: &Victim) -> Self {
        Self::at(Stage::Open, Misdeed::Silence, victim, 0)
    }

    fn go(&mut self, stage: Stage, misdeed: Misdeed, victim: &Victim) {
        let is_liar = misdeed == Misdeed::Impostor;
        // Who only stops, stops in the middle of a frame as well.
        let is_cut = misdeed <= Misdeed::Reset;
        let agreement = KeyAgreement::generate().unwrap();
        let mut ephemeral = [&[34, 0x0a, 32], &agreement.public[..]].concat();
        if stage <= Stage::InKey && is_liar {
            // A point of low order: everybody knows the secret.
            ephemeral[3..].fill(0);
        } else if stage <= Stage::InKey && misdeed == Misdeed::Replay {
            ephemeral = recording(victim)[..EPHEMERAL].to_vec();
        }
        if stage == Stage::Connected {
            self.rest = ephemeral;
            return;
        }
        if stage == Stage::InKey {
            let cut = if misdeed == Misdeed::Oversized { 2 } else { 10 };
            self.write(&ephemeral[..cut]);
            self.rest = ephemeral[cut..].to_vec();
            return;
        }
        self.write(&ephemeral);
        self.agree(agreement);
        let auth = self.auth(is_liar && stage <= Stage::InAuth);
        let (first, second) = auth.split_at(50);
        match stage {
            Stage::Keyed => return self.keep(&auth, false),
            Stage::InAuth => {
                self.put(first);
                return self.keep(second, is_cut);
            }
            _ => self.put(&auth),
        }
        let info = self.node_info(is_liar && stage <= Stage::InNodeInfo);
        // It comes once we are known.
        self.read_delimited();
        let (first, second) = info.split_at(info.len() / 2);
        match stage {
            Stage::Known => self.keep(&info, false),
            Stage::InNodeInfo => {
                self.put(first);
                self.keep(second, is_cut);
            }
            _ => {
                self.put(&info);
                // The answer comes once we are a peer.
                self.put(&packet(Packet::Ping));
                self.await_pong();
                self.keep(&packet(Packet::Ping), false);
            }
        }
    }

    /// Does what he is here for.
    pub(crate) fn does(&mut self, stage: Stage, misdeed: Misdeed, victim: &Victim) {
        match misdeed {
            Misdeed::Silence | Misdeed::Drip => {}
            Misdeed::HalfClose => self.stream().shutdown(Shutdown::Write).unwrap(),
            Misdeed::Reset => self.reset(),
            Misdeed::Garbage => {
                let mut bytes = vec![0; 3000];
                self.dice.fill_bytes(&mut bytes);
                if bytes[0] == 34 {
                    // The length of an ephemeral key.
                    bytes[0] = 35;
                }
                self.write(&bytes);
            }
            Misdeed::Replay => {
                let bytes = match stage {
                    Stage::Connected => recording(victim).clone(),
                    Stage::InKey => recording(victim)[10..].to_vec(),
                    Stage::Keyed => recording(victim)[EPHEMERAL..][..FRAME_SEALED].to_vec(),
                    _ => self.last.clone(),
                };
                self.write(&bytes);
            }
            Misdeed::Impostor if stage == Stage::Open => {
                let mut out = Vec::new();
                let counter = self.keys.as_ref().unwrap().counter;
                let mut sealer = Sealer::<ChaCha>::with_counter(&[9; 32], counter);
                let mut writer = sealer.writer(&mut out, 1);
                writer.put(&packet(Packet::Ping));
                writer.finish().unwrap();
                self.write(&out);
            }
            Misdeed::Impostor => self.write(&self.rest.clone()),
            Misdeed::Oversized => match stage {
                Stage::Connected => self.write(&[35, 0x0a, 33]),
                Stage::InKey => self.write(&[33]),
                Stage::Keyed => self.put(&varint(MAX_AUTH as u64 + 1)),
                Stage::InAuth => self.put_raw(FRAME_DATA as u32 + 1),
                Stage::Known => self.put(&varint(tmp2p::MAX_NODE_INFO_SIZE as u64 + 1)),
                Stage::InNodeInfo => self.put_raw(u32::MAX),
                Stage::Open => self.put(&varint(1 << 31)),
            },
            Misdeed::Empty => (0..=MAX_EMPTY_FRAMES).for_each(|_| self.put_raw(0)),
        }
    }

    /// Reads, and drips if that is what he does, until the victim has closed; how long that took.
    #[track_caller]
    pub(crate) fn is_closed(&mut self, misdeed: Misdeed, pace: Duration) -> Duration {
        let begun = Instant::now();
        let Some(stream) = &self.stream else { return Duration::ZERO };
        let mut stream = stream;
        let wait = if misdeed == Misdeed::Drip { pace } else { DEADLINE };
        stream.set_read_timeout(Some(wait)).unwrap();
        let mut drops = self.rest.split_last().map_or(&[][..], |(_, drops)| drops).iter();
        loop {
            match stream.read(&mut [0; 4096]) {
                Ok(0) => return begun.elapsed(),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return begun.elapsed(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    assert!(begun.elapsed() < DEADLINE, "it is not closed");
                    if let Some(drop) = drops.next() {
                        // Gone already, maybe: the next look tells.
                        let _ = stream.write_all(&[*drop]);
                    }
                }
            }
        }
    }

    /// Reads to the end, which may be a reset.
    #[track_caller]
    pub(crate) fn is_over(&mut self) {
        self.is_closed(Misdeed::Silence, DEADLINE);
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.as_ref().unwrap()
    }

    pub(crate) fn reset(&mut self) {
        let stream = self.stream.take().unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Who has gone meanwhile is none of the sender's business: he sees it when he reads.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream().write_all(bytes);
        self.sent.extend_from_slice(bytes);
    }

    /// Seals it in as few frames as can be; they are to be sent now or never.
    pub(crate) fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let keys = self.keys.as_mut().unwrap();
        let mut sealer = Sealer::<ChaCha>::with_counter(&keys.send, keys.counter);
        let mut writer = sealer.writer(&mut out, usize::MAX);
        writer.put(plain);
        writer.finish().unwrap();
        keys.counter += (out.len() / FRAME_SEALED) as u64;
        out
    }

    /// A frame that says that it has so many bytes.
    pub(crate) fn sealed_raw(&mut self, length: u32) -> Vec<u8> {
        let keys = self.keys.as_mut().unwrap();
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend([0x55; FRAME_DATA]);
        let tag: [u8; TAG] = ChaCha::new(&keys.send).seal(keys.counter, &mut frame);
        keys.counter += 1;
        frame.extend(tag);
        frame
    }

    /// Sends this.
    pub(crate) fn put(&mut self, plain: &[u8]) {
        self.last = self.sealed(plain);
        self.write(&self.last.clone());
    }

    fn put_raw(&mut self, length: u32) {
        let frame = self.sealed_raw(length);
        self.write(&frame);
    }

    /// This is left to be sent, of which a part goes out if he is one who stops in the middle.
    fn keep(&mut self, plain: &[u8], is_cut: bool) {
        let counter = self.keys.as_ref().unwrap().counter;
        self.rest = self.sealed(plain);
        self.keys.as_mut().unwrap().counter = counter;
        if is_cut {
            let part: Vec<u8> = self.rest.drain(..500).collect();
            self.write(&part);
        }
    }

    /// Reads the victim's ephemeral key and authentication.
    fn agree(&mut self, agreement: KeyAgreement) {
        let mut message = [0; EPHEMERAL];
        self.stream().read_exact(&mut message).unwrap();
        let ours = agreement.public;
        let theirs: [u8; 32] = *message.last_chunk().unwrap();
        let secret = (agreement.agree)(theirs).unwrap();
        let (side, low, high) =
            if ours < theirs { (Side::Low, ours, theirs) } else { (Side::High, theirs, ours) };
        let keys = FrameKeys::derive(&secret, side);
        let challenge = challenge(&low, &high, &secret);
        let opener = Opener::new(&keys.recv);
        self.keys = Some(Keys { send: *keys.send, counter: 0, opener, challenge });
        self.read_delimited();
    }

    /// The authentication message; a liar's is signed with another key.
    fn auth(&self, is_liar: bool) -> Vec<u8> {
        let challenge = &self.keys.as_ref().unwrap().challenge;
        let signer = if is_liar { NodeKey::generate() } else { self.key.clone() };
        let (mut key, mut body, mut message) = (Vec::new(), Vec::new(), Vec::new());
        put_message_field(1, self.key.public_key().as_bytes(), &mut key);
        put_message_field(1, &key, &mut body);
        put_message_field(2, &signer.sign(challenge), &mut body);
        put_delimited(&body, &mut message);
        message
    }

    /// The NodeInfo; a liar's is somebody else's.
    fn node_info(&self, is_liar: bool) -> Vec<u8> {
        node_info(if is_liar { NodeKey::generate().id() } else { self.key.id() }, "evil")
            .encode_delimited()
    }

    /// Opens one more frame.
    fn read_frame(&mut self) {
        let mut frame = [0; FRAME_SEALED];
        let read = self.stream().read_exact(&mut frame);
        read.unwrap_or_else(|error| panic!("{}: {error}", self.addr));
        self.plain.extend(self.keys.as_mut().unwrap().opener.open(&mut frame).unwrap());
    }

    /// The next message with its length in front, without it.
    fn read_delimited(&mut self) -> Vec<u8> {
        loop {
            if let Some((len, prefix)) = decode_varint(&self.plain).unwrap()
                && self.plain.len() >= prefix + len as usize
            {
                let message: Vec<u8> = self.plain.drain(..prefix + len as usize).collect();
                return message[prefix..].to_vec();
            }
            self.read_frame();
        }
    }

    /// Reads up to the next pong; whatever comes before is forgotten.
    pub(crate) fn await_pong(&mut self) {
        while !matches!(Packet::decode(&self.read_delimited()), Ok(Packet::Pong)) {}
    }

    /// Ends his half, and reads to the end; how many pongs there are.
    pub(crate) fn pongs_to_the_end(&mut self) -> usize {
        let _ = self.stream().shutdown(Shutdown::Write);
        let mut sealed = Vec::new();
        // A reset is an end, too.
        let _ = self.stream().read_to_end(&mut sealed);
        for frame in sealed.chunks_exact_mut(FRAME_SEALED) {
            self.plain.extend(self.keys.as_mut().unwrap().opener.open(frame).unwrap());
        }
        let (mut plain, mut pongs) = (&self.plain[..], 0);
        while let Ok(Some((len, prefix))) = decode_varint(plain)
            && let Some((body, rest)) = plain[prefix..].split_at_checked(len as usize)
        {
            pongs += usize::from(matches!(Packet::decode(body), Ok(Packet::Pong)));
            plain = rest;
        }
        pongs
    }
}

/// Who somebody says he is: with the victim's channels, and compatible.
pub(crate) fn node_info(id: NodeId, moniker: &str) -> NodeInfo {
    let channels = [0, TALK, SINK, FOUNTAIN].map(ChannelId::from);
    let addr: ListenAddress = "tcp://127.0.0.1:1".parse().unwrap();
    let info = NodeInfo::new(CHAIN, moniker).unwrap().with_id(id);
    info.with_listen_addr(&addr).with_channels(channels)
}

/// What an honest peer sent the victim in an earlier connection.
fn recording(victim: &Victim) -> &'static Vec<u8> {
    static RECORDING: OnceLock<Vec<u8>> = OnceLock::new();
    RECORDING.get_or_init(|| {
        let mut honest = Evil::session(victim);
        honest.put(&message(SINK, b"of an earlier time"));
        std::mem::take(&mut honest.sent)
    })
}

pub(crate) fn packet(packet: Packet) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out);
    out
}

/// A small message.
pub(crate) fn message(channel: u8, data: &[u8]) -> Vec<u8> {
    packet(Packet::Msg { channel_id: channel.into(), eof: true, data })
}

/// A part of a message, and not the last.
pub(crate) fn part(channel: u8, data: &[u8]) -> Vec<u8> {
    packet(Packet::Msg { channel_id: channel.into(), eof: false, data })
}

pub(crate) fn varint(number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(number, &mut out);
    out
}
