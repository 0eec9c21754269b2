//! The sockets of the server, and the thread that serves them in turn.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use http_net::{HttpError, Method, blocking::now_date};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use tmp2p::ListenAddress;

use super::{
    laddr,
    message::{Reply, Request},
    session::{Session, Step},
};
use crate::{cli::Failure, console::Console};

/// Most connections at once, as in Tendermint (`max_open_connections`): against those that connect
/// and say nothing. Whoever comes then takes the place of who was longest without an answer.
const MAX_CONNECTIONS: usize = 900;

/// One in so many of the descriptors that the process may have is for HTTP: the others are for peers.
const DESCRIPTOR_SHARE: usize = 4;

/// Most memory of all connections together, bytes: against many that begin large bodies or do not
/// read their answers. Beyond it who was longest without an answer goes.
const MAX_HELD: usize = 32 << 20;

/// What holds less than this is not let go for its memory.
const SMALL: usize = 4 << 10;

/// How often deadlines are looked at, and accept is tried again after an error.
const TICK: Duration = Duration::from_millis(250);

/// Connections accepted at a stretch, by each listener: against a flood of them that leaves no time for the others.
const ACCEPTED_AT_ONCE: usize = 64;

/// Bytes read at once.
const READ: usize = 16 << 10;

/// How often it is said that connections cannot be accepted.
const WARN_PERIOD: Duration = Duration::from_secs(60);

/// Who answers requests.
pub(crate) trait Answer: Send + 'static {
    /// Largest body of a request that comes here, bytes.
    const MAX_BODY: usize;

    /// The answer to a request, of whatever method.
    fn answer(&mut self, request: &Request<'_>) -> Reply;

    /// The answer to one with a larger body.
    fn too_large(&mut self) -> Reply {
        Reply::text(413, format_args!("a body has at most {} bytes here", Self::MAX_BODY))
    }
}

/// Sockets that clients can connect to; nobody answers yet.
pub(crate) struct Listening {
    service: &'static str,
    listeners: Vec<TcpListener>,
}

impl Listening {
    /// Takes the addresses, of which this flag tells, so that one that is in use is known before anything else starts.
    pub(crate) fn bind(
        service: &'static str,
        flag: &str,
        addrs: &[ListenAddress],
    ) -> Result<Self, Failure> {
        let bind = |addr: &ListenAddress| {
            laddr::bind(addr).map_err(|why| {
                Failure::Usage(format!(
                    "{service} address {addr}: {why}; give a free address of this machine with {flag}"
                ))
            })
        };
        let listeners = addrs.iter().map(bind).collect::<Result<_, _>>()?;
        Ok(Self { service, listeners })
    }

    /// Where, for people: `, SERVICE at ADDR`; nothing if nowhere.
    pub(crate) fn shown(&self) -> String {
        let addrs = self.listeners.iter().filter_map(|listener| listener.local_addr().ok());
        let addrs: Vec<_> = addrs.map(|addr| addr.to_string()).collect();
        if addrs.is_empty() {
            return String::new();
        }
        format!(", {} at {}", self.service, addrs.join(" and "))
    }

    /// Answers requests until the process ends. Nothing happens if there is no address.
    pub(crate) fn serve(self, console: &Console, answer: impl Answer) -> Result<(), Failure> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let service = self.service;
        let failed = |why: io::Error| Failure::Failed(format!("{service}: {why}"));
        let poll = Poll::new().map_err(failed)?;
        let mut server = Server {
            service,
            poll,
            listeners: self.listeners,
            places: places(),
            clients: BTreeMap::new(),
            next: 0,
            ready: VecDeque::new(),
            held: 0,
            accepts: true,
            is_short: false,
            warned: None,
            started: Instant::now(),
            answer,
        };
        let bound = server.register().map_err(failed)?;
        bound.iter().for_each(|addr| console.listening(service, addr));
        let run = thread::Builder::new().name(service.to_owned()).spawn(move || server.run());
        run.map(drop).map_err(failed)
    }
}

struct Server<A> {
    service: &'static str,
    poll: Poll,
    listeners: Vec<TcpListener>,
    /// Most connections.
    places: usize,
    /// By token; listeners have the first ones.
    clients: BTreeMap<usize, Client>,
    next: usize,
    /// Whose turn it is, in this order: each gets to do one thing at a time.
    ready: VecDeque<usize>,
    /// Memory of all, bytes.
    held: usize,
    /// Connections may be waiting.
    accepts: bool,
    /// They may, and there is nothing to accept them with; no event will tell of them.
    is_short: bool,
    warned: Option<Duration>,
    started: Instant,
    answer: A,
}

struct Client {
    stream: TcpStream,
    session: Session,
    /// Its part of what all hold.
    held: usize,
    is_ready: bool,
    is_shut: bool,
}

/// What a client can do after its turn.
#[derive(PartialEq)]
enum Turn {
    Again,
    Wait,
    Gone,
}

impl<A: Answer> Server<A> {
    fn register(&mut self) -> io::Result<Vec<std::net::SocketAddr>> {
        for (token, listener) in self.listeners.iter_mut().enumerate() {
            self.poll.registry().register(listener, Token(token), Interest::READABLE)?;
        }
        self.next = self.listeners.len();
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ];
        let mut looked = Duration::ZERO;
        loop {
            let is_busy = self.accepts || !self.ready.is_empty();
            let has_deadlines = self.is_short || !self.clients.is_empty();
            let timeout = match is_busy {
                true => Some(Duration::ZERO),
                false => has_deadlines.then_some(TICK),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    log::error!("{}: {error}", self.service);
                    thread::sleep(TICK);
                }
                _ => {}
            }
            for event in &events {
                let Token(token) = event.token();
                match token < self.listeners.len() {
                    true => self.accepts = true,
                    false => self.is_ready(token),
                }
            }
            let now = self.started.elapsed();
            if self.accepts {
                self.accept(now);
            }
            for _ in 0..self.ready.len() {
                let Some(token) = self.ready.pop_front() else { break };
                self.turn(token, &mut buffer);
            }
            if now.saturating_sub(looked) >= TICK {
                looked = now;
                self.end_late(now);
                self.accepts |= std::mem::take(&mut self.is_short);
            }
        }
    }

    fn is_ready(&mut self, token: usize) {
        if let Some(client) = self.clients.get_mut(&token)
            && !std::mem::replace(&mut client.is_ready, true)
        {
            self.ready.push_back(token);
        }
    }

    fn accept(&mut self, now: Duration) {
        self.accepts = false;
        for at in 0..self.listeners.len() {
            // More may be waiting unless it says that there are none.
            self.accepts |= (0..ACCEPTED_AT_ONCE).all(|_| self.accept_of(at, now));
        }
    }

    /// Accepts a connection; false if this listener has to wait.
    fn accept_of(&mut self, at: usize, now: Duration) -> bool {
        let error = match self.listeners[at].accept() {
            Ok((stream, _)) => {
                self.admit(stream, now);
                return true;
            }
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::WouldBlock => false,
            // That client has gone already.
            ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => true,
            ErrorKind::Interrupted => true,
            _ if is_shortage(&error) && !is_waited_at(&self.listeners[at]) => false,
            _ => {
                self.is_short = true;
                self.warn(&error, now);
                is_shortage(&error) && self.end_longest(0)
            }
        }
    }

    fn warn(&mut self, error: &io::Error, now: Duration) {
        if self.warned.is_none_or(|warned| now.saturating_sub(warned) >= WARN_PERIOD) {
            self.warned = Some(now);
            log::warn!(
                "{} cannot accept connections for now: {error}; if it is the descriptors, allow the \
                 process more (ulimit -n)",
                self.service
            );
        }
    }

    fn admit(&mut self, mut stream: TcpStream, now: Duration) {
        while self.clients.len() >= self.places && self.end_longest(0) {}
        let token = self.next;
        self.next += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let is_set = stream
            .set_nodelay(true)
            .and_then(|()| self.poll.registry().register(&mut stream, Token(token), interest));
        if is_set.is_err() {
            return;
        }
        let session = Session::new(A::MAX_BODY, now);
        let client = Client { stream, session, held: 0, is_ready: false, is_shut: false };
        self.clients.insert(token, client);
        self.is_ready(token);
    }

    /// Lets go who was longest without an answer, of those that hold so many bytes; false if there
    /// is none.
    fn end_longest(&mut self, held: usize) -> bool {
        let clients = self.clients.iter().filter(|(_, client)| client.held >= held);
        let longest = clients.min_by_key(|(_, client)| client.session.since());
        let longest = longest.map(|(token, _)| *token);
        longest.is_some_and(|token| self.end(token))
    }

    fn end(&mut self, token: usize) -> bool {
        let Some(client) = self.clients.remove(&token) else { return false };
        self.held -= client.held;
        true
    }

    /// Ends who is late, and counts anew what the others hold: a page that somebody reads slowly
    /// is his alone as soon as there is a newer one.
    fn end_late(&mut self, now: Duration) {
        let late = |client: &Client| client.session.deadline() <= now;
        let late = self.clients.iter().filter(|(_, client)| late(client));
        let late: Vec<usize> = late.map(|(token, _)| *token).collect();
        for token in late {
            self.end(token);
        }
        self.held = self.clients.values_mut().map(Client::count).sum();
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.held > MAX_HELD && self.end_longest(SMALL) {}
    }

    fn turn(&mut self, token: usize, buffer: &mut [u8]) {
        let Some(client) = self.clients.get_mut(&token) else { return };
        client.is_ready = false;
        let turn = client.turn(buffer, &mut self.answer, self.started);
        self.held -= client.held;
        self.held += client.count();
        match turn {
            Turn::Again => self.is_ready(token),
            Turn::Wait => {}
            Turn::Gone => {
                self.end(token);
            }
        }
        self.make_room();
    }
}

impl Client {
    /// Looks anew how much memory it has.
    fn count(&mut self) -> usize {
        self.held = self.session.held();
        self.held
    }

    /// Does what is next, once.
    fn turn(&mut self, buffer: &mut [u8], answer: &mut impl Answer, started: Instant) -> Turn {
        let done = match self.session.step() {
            Step::Answer => {
                let reply = reply(answer, &self.session);
                self.session.answer(reply, &now_date(), started.elapsed());
                Ok(())
            }
            Step::Write => match self.stream.write_vectored(&self.session.output()) {
                Ok(0) => return Turn::Gone,
                Ok(bytes) => {
                    self.session.written(bytes, started.elapsed());
                    Ok(())
                }
                Err(error) => Err(error),
            },
            step @ (Step::Read | Step::Drain) => {
                if step == Step::Drain && !std::mem::replace(&mut self.is_shut, true) {
                    // Gone already: reading tells.
                    let _ = self.stream.shutdown(Shutdown::Write);
                }
                self.stream.read(buffer).map(|bytes| match bytes {
                    0 => self.session.end(),
                    bytes => self.session.feed(&buffer[..bytes], started.elapsed()),
                })
            }
            Step::Close => return Turn::Gone,
        };
        match done {
            Ok(()) => Turn::Again,
            Err(error) if error.kind() == ErrorKind::Interrupted => Turn::Again,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Turn::Wait,
            Err(_) => Turn::Gone,
        }
    }
}

/// What is asked for gets an answer, also if making it panics.
fn reply(answer: &mut impl Answer, session: &Session) -> Reply {
    let request = match session.asked() {
        Ok(request) => request,
        Err(HttpError::BodyTooLarge) => return answer.too_large(),
        Err(error) => return Reply::text(error.status().unwrap_or(400), error),
    };
    if !matches!(request.method, Method::Get | Method::Head | Method::Post) {
        return Reply::not_allowed("GET, HEAD, POST");
    }
    let made = catch_unwind(AssertUnwindSafe(|| answer.answer(&request)));
    made.unwrap_or_else(|_| {
        log::error!("{} could not be answered", request.path);
        Reply::text(500, "this could not be answered")
    })
}

/// Whether somebody who goes gives back what is missing.
fn is_shortage(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno))
    }
    #[cfg(not(unix))]
    {
        // WSAEMFILE and WSAENOBUFS.
        matches!(error.raw_os_error(), Some(10024 | 10055))
    }
}

/// Whether somebody waits to be accepted: without a descriptor Linux says so whether or not.
fn is_waited_at(listener: &TcpListener) -> bool {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut listeners = [PollFd::new(listener, PollFlags::IN)];
        poll(&mut listeners, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
    #[cfg(not(unix))]
    {
        let _ = listener;
        true
    }
}

/// How many connections there may be beside peers.
fn places() -> usize {
    #[cfg(unix)]
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(unix))]
    let limit: Option<u64> = None;
    let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (limit / DESCRIPTOR_SHARE).clamp(1, MAX_CONNECTIONS)
}
