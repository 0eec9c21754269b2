//! The child processes that dial: the protocol on a blocking socket, without a switch, which is
//! also what the Go programs' dialers do. Each connection has a key of its own.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use socket2::{Domain, Socket, Type};
use tmp2p::{
    ChannelDescriptor, ChannelId, NetAddress, NodeKey, Payload, PeerAddress,
    internals::protocol::{
        LinkSettings,
        link::{Handshaking, MAX_BATCH_FRAMES, Open, Step},
        mconn::{Flow, Incoming, MConnSettings, Outgoing},
        secret::{ChaCha, KeyAgreement},
    },
    internals::time::Mono,
};

use crate::{
    common::{Outcome, SEALED, percentile},
    node::{CHANNEL, node_info},
};

/// Connections that are made at a time where nobody says how many.
pub(crate) const CONCURRENT: usize = 16;

/// For each step of a connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is exchanged before a connection idles.
const MESSAGE: usize = 64 * 1024;

/// Connections that share a source address: far fewer than it has ports, some of which are still
/// those of runs before.
const PER_SOURCE: usize = 1000;

/// After so long a ping is due, on a clock that only this program moves.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Dials `n` times, waits each time until the peer runs, and closes.
pub(crate) fn run(addr: &str, n: &str, concurrent: &str) -> Outcome<()> {
    let (addr, n): (PeerAddress, usize) = (addr.parse()?, n.parse()?);
    let dialed = dial_all(&addr, n, concurrent.parse()?, |connection| connection.ping());
    let mut times: Vec<f64> =
        dialed.made.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect();
    if times.is_empty() {
        return Err(dialed.first_error.unwrap_or("nothing to dial".into()));
    }
    let answer = json!({
        "ok": times.len(),
        "failed": n - times.len(),
        "first_error": dialed.first_error.map(|error| error.to_string()),
        "per_second": times.len() as f64 / dialed.elapsed.as_secs_f64(),
        "p50_ms": percentile(&mut times, 50),
        "p99_ms": percentile(&mut times, 99),
    });
    println!("{answer}");
    Ok(())
}

/// Dials `n` times; all connections, each after `then`.
pub(crate) fn dial_crowd(
    addr: &PeerAddress,
    n: usize,
    then: impl Fn(&mut Connection) -> Outcome<()> + Sync,
) -> Outcome<Vec<Connection>> {
    let dialed = dial_all(addr, n, CONCURRENT, |mut connection| {
        then(&mut connection)?;
        Ok(connection)
    });
    match dialed.first_error {
        None => Ok(dialed.made.into_iter().map(|(connection, _)| connection).collect()),
        Some(error) => Err(error),
    }
}

struct Dialed<T> {
    made: Vec<(T, Duration)>,
    first_error: Option<Box<dyn std::error::Error + Send + Sync>>,
    elapsed: Duration,
}

fn dial_all<T: Send>(
    addr: &PeerAddress,
    n: usize,
    concurrent: usize,
    then: impl Fn(Connection) -> Outcome<T> + Sync,
) -> Dialed<T> {
    // Not part of what is measured.
    let keys: Vec<NodeKey> = (0..n).map(|_| NodeKey::generate()).collect();
    let next = AtomicUsize::new(0);
    let results = Mutex::new((Vec::with_capacity(n), None));
    let work = || {
        loop {
            let number = next.fetch_add(1, Relaxed);
            let Some(key) = keys.get(number) else { return };
            let start = Instant::now();
            let result = Connection::dial_from(source(number), addr, key.clone()).and_then(&then);
            let took = start.elapsed();
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(made) => results.0.push((made, took)),
                Err(error) => {
                    results.1.get_or_insert(error);
                }
            }
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..concurrent {
            scope.spawn(work);
        }
    });
    let elapsed = start.elapsed();
    let (made, first_error) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    Dialed { made, first_error, elapsed }
}

/// Where connection `number` of many comes from.
fn source(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + (number / PER_SOURCE) as u32)
}

/// A connection from this address of the loopback network.
pub(crate) fn connect_from(source: Ipv4Addr, to: SocketAddr) -> Outcome<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&to.into(), TIMEOUT)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// One authenticated connection.
pub(crate) struct Connection {
    stream: TcpStream,
    link: Open<ChaCha>,
    /// Received and not used.
    input: Vec<u8>,
    out: Vec<u8>,
}

impl Connection {
    /// Connects from an address of this machine, authenticates, exchanges NodeInfos.
    pub(crate) fn dial_from(source: Ipv4Addr, addr: &PeerAddress, key: NodeKey) -> Outcome<Self> {
        Self::dial_on(CHANNEL, source, addr, key)
    }

    /// The same with another channel, its only one.
    pub(crate) fn dial_on(
        channel: u8,
        source: Ipv4Addr,
        addr: &PeerAddress,
        key: NodeKey,
    ) -> Outcome<Self> {
        let target = addr.net_address().ok_or("a name instead of an address")?;
        let mut stream = connect_from(source, target.socket_addr())?;
        let settings = settings(key, channel, &target)?;
        let agreement = KeyAgreement::generate().ok_or("no random numbers")?;
        let (mut input, mut out) = (Vec::new(), Vec::new());
        let mut link = Handshaking::start(&settings, agreement, Some(addr.id()), &mut out);
        loop {
            let mut rest = input.as_slice();
            let step = link.advance(&settings, &mut rest, &mut out);
            let used = input.len() - rest.len();
            input.drain(..used);
            stream.write_all(&out)?;
            out.clear();
            link = match step.map_err(|failed| failed.error)? {
                Step::NeedMore(link) => {
                    read(&mut stream, &mut input)?;
                    link
                }
                Step::Stepped(link) => link,
                Step::Established(link, _) => {
                    let link = link.admit(&settings, Mono::ZERO);
                    return Ok(Self { stream, link, input, out });
                }
            };
        }
    }

    /// Sends a ping and waits for its pong: then the other side's connection runs.
    fn ping(mut self) -> Outcome<()> {
        self.link.handle_timeout(now())?;
        self.send(None)?;
        while self.link.rtt().is_none() {
            self.receive()?;
        }
        Ok(())
    }

    /// Sends a message of this size and waits for as many bytes.
    pub(crate) fn echo(&mut self, size: usize) -> Outcome<()> {
        self.send(Some(vec![0x5a; size].into()))?;
        let mut received = 0;
        while received < size {
            received += self.receive()?;
        }
        Ok(())
    }

    /// The socket, the link, and what was received and not used.
    pub(crate) fn into_parts(self) -> (TcpStream, Open<ChaCha>, Vec<u8>) {
        (self.stream, self.link, self.input)
    }

    /// One large message each way; then nothing is kept for the next.
    pub(crate) fn exchange(&mut self) -> Outcome<()> {
        self.echo(MESSAGE)?;
        self.input.shrink_to_fit();
        self.out = Vec::new();
        Ok(())
    }

    /// Everything that is to be sent.
    fn send(&mut self, message: Option<Payload>) -> Outcome<()> {
        let mut source = Source(message);
        while self.link.fill(&mut self.out, MAX_BATCH_FRAMES, &mut source, now())?.more {
            self.write()?;
        }
        self.write()
    }

    /// Reads something; bytes of the messages that it completed.
    fn receive(&mut self) -> Outcome<usize> {
        let mut counting = Counting::default();
        read(&mut self.stream, &mut self.input)?;
        let whole = self.input.len() / SEALED * SEALED;
        let received = self.link.receive(&mut self.input[..whole], now(), &mut counting)?;
        self.input.drain(..received.consumed);
        Ok(counting.bytes)
    }

    fn write(&mut self) -> Outcome<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> Outcome<()> {
    let mut buffer = [0; 16 * 1024];
    match stream.read(&mut buffer)? {
        0 => Err("the listener closed the connection".into()),
        read => {
            input.extend_from_slice(&buffer[..read]);
            Ok(())
        }
    }
}

fn settings(key: NodeKey, channel: u8, listener: &NetAddress) -> Outcome<LinkSettings> {
    // Nobody dials it; it only has to be one.
    let announced = listener.socket_addr().into();
    let node_info = node_info()?
        .with_id(key.id())
        .with_channels([ChannelId::new(channel)])
        .with_listen_addr(&announced);
    let mconn = MConnSettings {
        max_packet_msg_payload_size: 1024,
        max_recv_packet_size: 1 << 20,
        send_rate: 0,
        recv_rate: 0,
        ping_interval: PING_INTERVAL,
        pong_timeout: TIMEOUT,
        unsolicited_pong_interval: TIMEOUT,
    };
    Ok(LinkSettings { key, node_info, channels: [ChannelDescriptor::new(channel)].into(), mconn })
}

/// The time of a running connection, which stands still.
pub(crate) fn now() -> Mono {
    Mono::ZERO + PING_INTERVAL
}

/// One message to send, or none.
pub(crate) struct Source(pub(crate) Option<Payload>);

impl Outgoing for Source {
    fn take(&mut self, _: usize) -> Option<Payload> {
        self.0.take()
    }
}

/// What came.
#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Incoming for Counting {
    fn message(&mut self, _: usize, message: Vec<u8>) -> Flow {
        self.messages += 1;
        self.bytes += message.len();
        Flow::Continue
    }
}
