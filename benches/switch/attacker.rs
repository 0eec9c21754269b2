//! The child processes of the attack cases: who attacks, and who is attacked.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write, stdin},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{
    Config, NodeId, NodeKey, PeerAddress,
    internals::protocol::secret::{ChaCha, Established, Handshake, KeyAgreement, Progress},
};

use crate::{common::Outcome, dialer::connect_from, listener};

/// Threads that attack, each with its part.
const THREADS: usize = 8;

/// An attack: its name on the command line and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// 1100 connections from 64 networks that authenticate themselves and say no more.
    Silent,
    /// 10,000 connections a second from 1000 addresses of 100 networks, while inbound is full.
    Full,
    /// 64 connections whose NodeInfo comes in frames of one byte.
    OneByteFrames,
}

impl Attack {
    pub(crate) const ALL: [Self; 3] = [Self::Silent, Self::Full, Self::OneByteFrames];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Full => "full",
            Self::OneByteFrames => "one-byte-frames",
        }
    }

    fn parse(name: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|attack| attack.name() == name);
        found.ok_or_else(|| format!("no attack is called {name}").into())
    }

    /// Connections at a time.
    fn connections(self) -> usize {
        match self {
            Self::Silent => 1100,
            Self::Full => 2000,
            Self::OneByteFrames => 64,
        }
    }

    /// Where connection `n` comes from.
    fn source(self, n: usize) -> Ipv4Addr {
        let (networks, hosts) = match self {
            Self::Silent => (64, 18),
            Self::Full => (100, 10),
            Self::OneByteFrames => (64, 1),
        };
        let (network, host) = (n % networks, n / networks % hosts);
        Ipv4Addr::new(127, 60, network as u8, host as u8 + 1)
    }
}

/// A switch as configured by default but for the rates of data, with room for `guests` inbound
/// peers. Answers each line with its figures. `unconditional` and `persistent` have places kept.
pub(crate) fn stand(guests: &str, unconditional: &str, persistent: &str) -> Outcome<()> {
    let config = Config {
        send_rate: 0,
        recv_rate: 0,
        max_num_inbound_peers: guests.parse()?,
        // The honest ones of this bench share an address.
        allow_duplicate_ip: true,
        pex: false,
        unconditional_peer_ids: vec![unconditional.parse::<NodeId>()?],
        persistent_peers: vec![persistent.parse::<PeerAddress>()?],
        ..Config::default()
    };
    listener::serve(config)
}

/// Attacks until the input ends; says when it is in full strength, and then what it has done.
pub(crate) fn attack(name: &str, addr: &str) -> Outcome<()> {
    let attack = Attack::parse(name)?;
    let addr: PeerAddress = addr.parse()?;
    let to = addr.net_address().ok_or("a name instead of an address")?.socket_addr();
    let (is_over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let threads = if attack == Attack::OneByteFrames { attack.connections() } else { THREADS };
        for part in 0..threads {
            let (is_over, done) = (&is_over, &done);
            scope.spawn(move || match attack {
                Attack::Silent => silent(attack, part, to, is_over, done),
                Attack::Full => knock(attack, part, to, is_over, done),
                Attack::OneByteFrames => one_byte_frames(attack, part, to, is_over, done),
            });
        }
        // In full strength once everybody has come for the first time.
        let started = Instant::now();
        while done.load(SeqCst) < attack.connections() as u64
            && started.elapsed() < Duration::from_secs(10)
        {
            thread::sleep(Duration::from_millis(10));
        }
        println!("{}", json!({ "done": done.load(SeqCst) }));
        let (started, before) = (Instant::now(), done.load(SeqCst));
        let mut lines = stdin().lines();
        let ended = lines.next().transpose();
        let done = done.load(SeqCst) - before;
        println!("{}", json!({ "per_second": done as f64 / started.elapsed().as_secs_f64() }));
        is_over.store(true, Relaxed);
        ended.map(|_| ()).map_err(Into::into)
    })
}

/// Holds its part of the connections, authenticated and silent; whatever is closed comes again.
fn silent(attack: Attack, part: usize, to: SocketAddr, is_over: &AtomicBool, done: &AtomicU64) {
    let all = (0..attack.connections()).filter(|n| n % THREADS == part);
    let mut held: VecDeque<(usize, Option<TcpStream>)> = all.map(|n| (n, None)).collect();
    while !is_over.load(Relaxed) {
        let Some((n, stream)) = held.pop_front() else { return };
        let stream = stream.filter(is_open).or_else(|| {
            let made = authenticate(attack.source(n), to).ok()?.0;
            done.fetch_add(1, Relaxed);
            // Looked at once in a while, never waited for.
            made.set_nonblocking(true).ok()?;
            Some(made)
        });
        if stream.is_some() {
            thread::sleep(Duration::from_micros(200));
        }
        held.push_back((n, stream));
    }
}

/// Comes again and again, with what makes a node compute, and waits for nothing.
fn knock(attack: Attack, part: usize, to: SocketAddr, is_over: &AtomicBool, done: &AtomicU64) {
    const PER_SECOND: usize = 10_000 / THREADS;
    let hello = KeyAgreement::generate().map(|agreement| {
        let mut out = Vec::new();
        let _: Handshake<ChaCha> = Handshake::start(NodeKey::generate(), agreement, None, &mut out);
        out
    });
    let Some(hello) = hello else { return };
    let mut held = VecDeque::new();
    let mut due = Instant::now();
    let mut n = part;
    while !is_over.load(Relaxed) {
        if let Ok(mut stream) = connect_from(attack.source(n), to) {
            // Closed at once, perhaps.
            let _ = stream.write_all(&hello);
            held.push_back(stream);
        }
        done.fetch_add(1, Relaxed);
        n += THREADS;
        if held.len() > attack.connections() / THREADS {
            held.pop_front();
        }
        due += Duration::from_secs(1) / PER_SECOND as u32;
        let now = Instant::now();
        due = due.max(now - Duration::from_millis(100));
        thread::sleep(due.saturating_duration_since(now));
    }
}

/// Sends a NodeInfo that never ends, a byte a frame.
fn one_byte_frames(
    attack: Attack,
    part: usize,
    to: SocketAddr,
    is_over: &AtomicBool,
    done: &AtomicU64,
) {
    // The length of what follows: as much as there may be (10,240 bytes), and a field of it.
    let start: &[u8] = &[0x80, 0x50, 0x2a, 0xf0, 0x4f];
    while !is_over.load(Relaxed) {
        done.fetch_add(1, Relaxed);
        let Ok((mut stream, mut established)) = authenticate(attack.source(part), to) else {
            // Refused: not in circles.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let mut bytes = start.iter().copied().chain(std::iter::repeat_n(b'x', 10_000));
        loop {
            let mut out = Vec::new();
            for byte in bytes.by_ref().take(64) {
                let mut writer = established.sealer.writer(&mut out, 1);
                writer.put(&[byte]);
                if writer.finish().is_err() {
                    return;
                }
            }
            if out.is_empty() || is_over.load(Relaxed) || stream.write_all(&out).is_err() {
                break;
            }
        }
    }
}

/// Connects and proves to be somebody.
fn authenticate(
    source: Ipv4Addr,
    to: SocketAddr,
) -> Outcome<(TcpStream, Box<Established<ChaCha>>)> {
    let mut stream = connect_from(source, to)?;
    let agreement = KeyAgreement::generate().ok_or("no random numbers")?;
    let (mut out, mut input) = (Vec::new(), Vec::new());
    let mut handshake = Handshake::start(NodeKey::generate(), agreement, None, &mut out);
    loop {
        stream.write_all(&out)?;
        out.clear();
        let mut rest = input.as_slice();
        let progress = handshake.advance(&mut rest, &mut out)?;
        let used = input.len() - rest.len();
        input.drain(..used);
        handshake = match progress {
            Progress::Done(established) => {
                stream.write_all(&out)?;
                return Ok((stream, Box::new(established)));
            }
            Progress::Stepped(handshake) => handshake,
            Progress::NeedMore(handshake) => {
                let mut buffer = [0; 2048];
                match stream.read(&mut buffer)? {
                    0 => return Err("closed".into()),
                    read => input.extend_from_slice(&buffer[..read]),
                }
                handshake
            }
        };
    }
}

/// Whether the other side has not closed it. What it sends is not of interest.
fn is_open(stream: &TcpStream) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match (&*stream).read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
