//! The child process that is many peers: like the dialers without a switch, and with few threads, so
//! that it costs little beside what it measures.

use std::{
    io::{self, ErrorKind, Read, Write, stdin},
    process::exit,
    sync::atomic::{
        AtomicBool, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde_json::{Value, json};
use tmp2p::{
    Payload,
    internals::protocol::{
        link::{MAX_BATCH_FRAMES, Open},
        secret::ChaCha,
    },
};

use crate::{
    child::{self, Child},
    common::{Outcome, SEALED, descriptor_limit},
    dialer::{self, Connection, Counting, Source},
};

/// Each with its part of the peers.
const THREADS: usize = 2;

/// Bytes of a message that a member sends: those of a vote.
const MESSAGE: usize = 250;

/// Descriptors that a process needs for other things.
const SPARE: u64 = 128;

/// Frames of one read.
const FRAMES: usize = 128;

/// The finest that messages are spread over time.
const TICK: Duration = Duration::from_millis(1);

/// What a thread that came late makes up for at most.
const MOST_LATE: Duration = Duration::from_millis(100);

/// So often a thread without anything to do looks whether it is over.
const IDLE_TICK: Duration = Duration::from_millis(20);

/// A crowd as the process sees it that started it.
pub(crate) struct Crowd(Child);

/// What has come to a crowd since its start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    /// Messages.
    pub(crate) received: f64,
    /// Payload.
    pub(crate) received_bytes: f64,
}

impl Crowd {
    /// So many peers of this address. All together send so many messages a second once they are told to
    /// [`begin`](Self::begin).
    pub(crate) fn start(addr: &str, peers: usize, per_second: usize) -> Outcome<Self> {
        let args = [child::CROWD, addr, &peers.to_string(), &per_second.to_string()];
        let mut crowd = Self(Child::start_apart(1, &args)?);
        crowd.0.read_json()?;
        Ok(crowd)
    }

    /// So many peers that are connected, have exchanged a message each way, and answer pings.
    pub(crate) fn hold(addr: &str, peers: usize) -> Outcome<Self> {
        let mut crowd = Self(Child::start(&[child::HOLD, addr, &peers.to_string()])?);
        crowd.0.read_json()?;
        Ok(crowd)
    }

    /// From now on they send.
    pub(crate) fn begin(&mut self) -> Outcome<()> {
        self.0.ask(BEGIN).map(|_| ())
    }

    /// What has come to them.
    pub(crate) fn figures(&mut self) -> Outcome<Figures> {
        let answer = self.0.ask("")?;
        Ok(Figures {
            received: child::number(&answer, "received")?,
            received_bytes: child::number(&answer, "received_bytes")?,
        })
    }

    /// They close.
    pub(crate) fn finish(self) -> Outcome<()> {
        self.0.finish()
    }
}

/// Why a listening switch of a child process cannot have so many inbound peers.
pub(crate) fn why_not(peers: usize) -> Option<String> {
    // The switch keeps a quarter for the application and an eighth for those who come.
    let needed = peers as u64 * 3 / 2 + SPARE;
    match descriptor_limit() {
        None => Some("needs /proc".to_owned()),
        Some(limit) if limit < needed => Some(format!(
            "needs {needed} descriptors a process, the limit is {limit}: ulimit -n {needed}"
        )),
        Some(_) => None,
    }
}

/// The question after which they send.
const BEGIN: &str = "begin";

#[derive(Default)]
struct Tally {
    is_sending: AtomicBool,
    is_over: AtomicBool,
    received: AtomicU64,
    received_bytes: AtomicU64,
}

impl Tally {
    fn to_json(&self) -> Value {
        let [received, received_bytes] =
            [&self.received, &self.received_bytes].map(|count| count.load(SeqCst));
        json!({ "received": received, "received_bytes": received_bytes })
    }
}

/// Dials `n` times, says so, reads whatever comes, and answers each line with its figures until its
/// input ends.
pub(crate) fn run(addr: &str, n: &str, per_second: &str) -> Outcome<()> {
    keep(dialer::dial_crowd(&addr.parse()?, n.parse()?, |_| Ok(()))?, per_second.parse()?)
}

/// The same, but each has exchanged a large message first, and none sends.
pub(crate) fn hold(addr: &str, n: &str) -> Outcome<()> {
    keep(dialer::dial_crowd(&addr.parse()?, n.parse()?, Connection::exchange)?, 0.0)
}

fn keep(connections: Vec<Connection>, per_second: f64) -> Outcome<()> {
    let mut parts = (0..THREADS)
        .map(|_| Part::new(per_second / THREADS as f64))
        .collect::<Outcome<Vec<_>>>()?;
    for (number, connection) in connections.into_iter().enumerate() {
        parts[number % THREADS].add(connection)?;
    }
    let tally = Tally::default();
    thread::scope(|scope| {
        for part in parts {
            let tally = &tally;
            scope.spawn(move || {
                if let Err(error) = part.run(tally) {
                    // Whoever waits for an answer learns of it by the end of this process.
                    eprintln!("child: {error}");
                    exit(1);
                }
            });
        }
        println!("{}", tally.to_json());
        for line in stdin().lines() {
            if line? == BEGIN {
                tally.is_sending.store(true, SeqCst);
            }
            println!("{}", tally.to_json());
        }
        tally.is_over.store(true, SeqCst);
        Ok(())
    })
}

/// One thread's peers.
struct Part {
    poll: Poll,
    members: Vec<Member>,
    per_second: f64,
    /// Where all of them read into.
    buffer: Vec<u8>,
}

impl Part {
    fn new(per_second: f64) -> Outcome<Self> {
        let buffer = vec![0; FRAMES * SEALED];
        Ok(Self { poll: Poll::new()?, members: Vec::new(), per_second, buffer })
    }

    fn add(&mut self, connection: Connection) -> Outcome<()> {
        let mut member = Member::new(connection)?;
        let token = Token(self.members.len());
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut member.stream, token, interests)?;
        self.members.push(member);
        Ok(())
    }

    fn run(mut self, tally: &Tally) -> Outcome<()> {
        let mut events = Events::with_capacity(1024);
        let mut pace = Pace::new(self.per_second);
        let payload = Payload::from(vec![0x5a; MESSAGE]);
        let mut turn = 0;
        while !tally.is_over.load(Relaxed) {
            let is_sending = self.per_second > 0.0 && tally.is_sending.load(Relaxed);
            let timeout = if is_sending { TICK } else { IDLE_TICK };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let member = &mut self.members[event.token().0];
                if event.is_writable() {
                    member.write()?;
                }
                if event.is_readable() {
                    let came = member.read(&mut self.buffer)?;
                    tally.received.fetch_add(came.messages as u64, Relaxed);
                    tally.received_bytes.fetch_add(came.bytes as u64, Relaxed);
                }
            }
            if !is_sending {
                continue;
            }
            for _ in 0..pace.due(Instant::now()) {
                let member = turn % self.members.len();
                self.members[member].send(Some(payload.clone()))?;
                turn += 1;
            }
        }
        Ok(())
    }
}

/// How many messages are due.
struct Pace {
    between: Duration,
    /// Of the next message; not known before the first look.
    due: Option<Instant>,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        let between = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX);
        Self { between, due: None }
    }

    /// Messages that have become due since the last look.
    fn due(&mut self, now: Instant) -> usize {
        let earliest = now.checked_sub(MOST_LATE).unwrap_or(now);
        let mut due = self.due.unwrap_or(now).max(earliest);
        let mut messages = 0;
        while due <= now {
            due += self.between;
            messages += 1;
        }
        self.due = Some(due);
        messages
    }
}

/// One peer.
struct Member {
    stream: TcpStream,
    link: Open<ChaCha>,
    /// Received and not used: less than a frame, once it was read.
    input: Vec<u8>,
    /// Sealed and not written.
    out: Vec<u8>,
}

impl Member {
    fn new(connection: Connection) -> Outcome<Self> {
        let (stream, link, input) = connection.into_parts();
        stream.set_nonblocking(true)?;
        Ok(Self { stream: TcpStream::from_std(stream), link, input, out: Vec::new() })
    }

    /// Reads all that there is, and answers pings.
    fn read(&mut self, buffer: &mut [u8]) -> Outcome<Counting> {
        let mut came = Counting::default();
        loop {
            let kept = self.input.len();
            buffer[..kept].copy_from_slice(&self.input);
            let read = match self.stream.read(&mut buffer[kept..]) {
                Ok(0) => return Err("the switch closed the connection".into()),
                Ok(read) => read,
                Err(error) if is_not_ready(&error) => break,
                Err(error) => return Err(error.into()),
            };
            let end = kept + read;
            let whole = end / SEALED * SEALED;
            self.link.receive(&mut buffer[..whole], dialer::now(), &mut came)?;
            self.input.clear();
            self.input.extend_from_slice(&buffer[whole..end]);
            if end < buffer.len() {
                break;
            }
        }
        if self.link.wants_control() {
            self.send(None)?;
        }
        Ok(came)
    }

    fn send(&mut self, message: Option<Payload>) -> Outcome<()> {
        let mut source = Source(message);
        while self.link.fill(&mut self.out, MAX_BATCH_FRAMES, &mut source, dialer::now())?.more {}
        self.write()
    }

    fn write(&mut self) -> Outcome<()> {
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if is_not_ready(&error) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Nothing to read, or no room: the poll will say when there is.
fn is_not_ready(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}
