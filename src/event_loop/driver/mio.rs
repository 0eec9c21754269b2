//! The event loop's driver: the only place that knows mio, and the only thread that touches a
//! socket.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    sync::Arc,
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Registry, Token, Waker,
    net::{TcpListener, TcpStream},
};
use socket2::{Domain, SockRef, Socket, Type};

use super::Mailbox;
use crate::{
    ban::BanTable,
    clock::Clock,
    event_loop::{
        BusyPoll, Command, Counters, LISTENER, LoopCore, LoopSettings, Readiness, Report, Reports,
        Sockets,
    },
    guard::guarded,
    protocol::secret::{ChaCha, KeyAgreement},
    reactor::Inbox,
    thread::{self, Thread},
    time::Mono,
};

const LISTENER_TOKEN: Token = Token(LISTENER as usize);
const WAKER_TOKEN: Token = Token(LISTENER as usize - 1);

/// Events of one poll. More stay for the next one.
const EVENTS_PER_POLL: usize = 1024;

/// Upper and lower bound of `TCP_NOTSENT_LOWAT`: how much unsent data the kernel takes. What is in
/// the kernel can no longer be overtaken. Measured on a line of 100 Mbit/s and 50 ms that bulk saturates:
/// half of the small messages beside it take 35 ms with 32 KiB, 41 ms with 64 KiB, 45 ms with 128 KiB, 265 ms
/// without it. But with 32 KiB the socket of a busy machine runs dry before the loop is back, and BBR then
/// never finds out what the line carries: a fifth of all bytes is sent twice.
const NOTSENT_LOWAT: (u64, u64) = (8 << 10, 64 << 10);

/// The same within this machine, where there is nothing to find out.
const LOCAL_NOTSENT_LOWAT: u32 = 32 << 10;

/// `SO_RCVBUF` of connections within this machine (the kernel doubles it for its own records). Such a
/// line has no rate of its own: whatever the sender is ahead of us waits here, megabytes of it, in front
/// of everything urgent; and its round trips are so short that no rate needs more. Measured, small
/// messages beside bulk: half within 0.2 ms and 99 % within 2 ms; with 256 KiB 0.4 and 3 ms for 2 % more
/// throughput, without it 0.6 and 4 ms. Lines between machines are left to the kernel, which knows their
/// round trips.
const LOCAL_RECV_BUFFER: usize = 160 << 10;

/// What the driver sets on every socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// Bytes that the kernel takes and has not sent.
    notsent_lowat: u32,
}

impl SocketOptions {
    /// For this send rate in bytes per second, 0 = unlimited: 10 ms of it, within the bounds.
    pub fn for_send_rate(send_rate: u64) -> Self {
        let (least, most) = NOTSENT_LOWAT;
        let lowat = if send_rate == 0 { most } else { (send_rate / 100).clamp(least, most) };
        Self { notsent_lowat: lowat as u32 }
    }

    fn apply(&self, stream: &TcpStream, remote: SocketAddr) {
        // A socket that the peer has reset already refuses options; reading tells of it.
        let socket = SockRef::from(stream);
        let _ = socket.set_tcp_nodelay(true);
        let is_local = is_local(stream, remote);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_notsent_lowat(if is_local {
            self.notsent_lowat.min(LOCAL_NOTSENT_LOWAT)
        } else {
            self.notsent_lowat
        });
        if is_local {
            let _ = socket.set_recv_buffer_size(LOCAL_RECV_BUFFER);
        }
    }
}

/// Whether both ends are on this machine.
fn is_local(stream: &TcpStream, remote: SocketAddr) -> bool {
    let ip = remote.ip().to_canonical();
    ip.is_loopback() || stream.local_addr().is_ok_and(|own| own.ip().to_canonical() == ip)
}

/// Connections that the kernel keeps until they are accepted; it takes `somaxconn` if that is less.
/// Of the 128 that mio asks for a flood leaves none within 3 ms, and then an honest node's packet
/// is dropped with the others: it comes again a second later, of the three that a dial has.
const BACKLOG: i32 = 4096;

/// Real sockets, registered with the loop's poll from `connect` or `accept` to close.
pub struct MioSockets {
    registry: Registry,
    listener: Option<TcpListener>,
    streams: Vec<Option<TcpStream>>,
    /// Given up for a moment to accept and close when the process is out of descriptors.
    spare: Option<Socket>,
    options: SocketOptions,
}

impl MioSockets {
    fn new(registry: Registry, options: SocketOptions) -> Self {
        Self { registry, listener: None, streams: Vec::new(), spare: spare(), options }
    }

    fn insert(&mut self, slot: u32, stream: TcpStream) {
        let slot = slot as usize;
        if self.streams.len() <= slot {
            self.streams.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.streams.get_mut(slot) {
            *place = Some(stream);
        }
    }

    fn stream(&mut self, slot: u32) -> io::Result<&mut TcpStream> {
        stream_at(&mut self.streams, slot)
    }
}

fn stream_at(streams: &mut [Option<TcpStream>], slot: u32) -> io::Result<&mut TcpStream> {
    let stream = streams.get_mut(slot as usize).and_then(Option::as_mut);
    stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
}

fn spare() -> Option<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, None).ok()
}

impl Sockets for MioSockets {
    fn short_is_blocked(&self) -> bool {
        !cfg!(windows)
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let mut listener = TcpListener::bind(addr)?;
        SockRef::from(&listener).listen(BACKLOG)?;
        self.registry.register(&mut listener, LISTENER_TOKEN, Interest::READABLE)?;
        let addr = listener.local_addr()?;
        self.listener = Some(listener);
        Ok(addr)
    }

    fn stop_listening(&mut self) {
        self.listener = None;
    }

    fn connect(&mut self, slot: u32, addr: SocketAddr) -> io::Result<()> {
        let stream = TcpStream::connect(addr)?;
        self.insert(slot, stream);
        self.let_in(slot, addr)
    }

    fn connect_result(&mut self, slot: u32) -> io::Result<bool> {
        let stream = self.stream(slot)?;
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn accept(&mut self, slot: u32) -> io::Result<SocketAddr> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        let (stream, addr) = listener.accept()?;
        self.insert(slot, stream);
        Ok(addr)
    }

    fn let_in(&mut self, slot: u32, remote: SocketAddr) -> io::Result<()> {
        let stream = stream_at(&mut self.streams, slot)?;
        self.options.apply(stream, remote);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(stream, Token(slot as usize), interest)
    }

    fn shed_one(&mut self) -> bool {
        self.spare = None;
        let shed = self.listener.as_ref().is_some_and(|listener| listener.accept().is_ok());
        self.spare = spare();
        shed
    }

    fn read(&mut self, slot: u32, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream(slot)?.read(buffer)
    }

    fn write(&mut self, slot: u32, bytes: &[u8]) -> io::Result<usize> {
        self.stream(slot)?.write(bytes)
    }

    fn shutdown_write(&mut self, slot: u32) {
        if let Ok(stream) = self.stream(slot) {
            // Fails only if the peer has reset the connection, which the next read tells.
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn close(&mut self, slot: u32) {
        // Closing the descriptor also takes it out of the poll.
        if let Some(stream) = self.streams.get_mut(slot as usize) {
            *stream = None;
        }
    }
}

/// Why the event loop did not start.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {error}{}", advice(.error))]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The system gave no poll or no thread.
    #[error("cannot start the event loop: {0}")]
    System(#[from] io::Error),
}

crate::text::readable_debug!(ListenError);

/// What to do about it, where it is the address that is wrong.
fn advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    match error.kind() {
        AddrInUse | AddrNotAvailable | PermissionDenied => "; choose another laddr",
        _ => "",
    }
}

/// What an event loop begins with.
pub(crate) struct LoopStart<'a, I, R> {
    pub(crate) listen: Option<SocketAddr>,
    /// What it is told once it is known where it listens.
    pub(crate) prepare: Box<dyn FnOnce(Option<SocketAddr>) -> LoopSettings + 'a>,
    pub(crate) options: SocketOptions,
    pub(crate) inbox: I,
    pub(crate) bans: Arc<BanTable>,
    pub(crate) clock: Clock,
    pub(crate) reports: R,
}

/// An event loop that was started, and what runs it.
pub(crate) struct StartedLoop<T> {
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) local_addr: Option<SocketAddr>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) runs: T,
}

/// Opens the listener and starts the loop's thread, which tells whether it ended as it should; else it had
/// panicked.
pub(crate) fn start<I: Inbox + Send + 'static, R: Reports + Send + 'static>(
    start: LoopStart<'_, I, R>,
) -> Result<StartedLoop<Thread<bool>>, ListenError> {
    let LoopStart { listen, prepare, options, inbox, bans, clock, mut reports } = start;
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKER_TOKEN)?;
    // A failed wake-up would lose work, and only a closed poll can fail it: then nobody sleeps.
    let wake = move || _ = waker.wake();
    let mailboxes = clock.clone();
    let mailbox = Arc::new(Mailbox::new(wake, move || mailboxes.mono()));
    let mut sockets = MioSockets::new(poll.registry().try_clone()?, options);
    let local_addr = match listen {
        Some(addr) => {
            let bound = sockets.listen(addr);
            Some(bound.map_err(|error| ListenError::Listen { addr, error })?)
        }
        None => None,
    };
    let key_agreement = Box::new(KeyAgreement::generate);
    let core = LoopCore::<_, _, ChaCha>::new(prepare(local_addr), sockets, inbox, key_agreement);
    let counters = core.counters();
    // Before the loop accepts anybody.
    mailbox.command(Command::Bans(bans));
    let posts = mailbox.clone();
    let runs = thread::spawn("p2p-loop", move || {
        let is_sound = guarded(|| run(core, poll, &posts, &clock, &mut reports)).is_some();
        // Whoever still holds a peer or a handle holds no descriptor by it.
        posts.shut();
        if !is_sound {
            // The switch must not wait for a loop that is gone.
            reports.report(Report::Stopped);
        }
        is_sound
    })?;
    Ok(StartedLoop { mailbox, local_addr, counters, runs })
}

fn run<I: Inbox>(
    mut core: LoopCore<MioSockets, I, ChaCha>,
    mut poll: Poll,
    mailbox: &Mailbox,
    clock: &Clock,
    reports: &mut impl Reports,
) {
    let mut events = Events::with_capacity(EVENTS_PER_POLL);
    let mut busy_poll = BusyPoll::new();
    loop {
        let now = clock.now();
        core.take_posts(mailbox, now);
        core.run_turn(now);
        while let Some(told) = core.poll_report() {
            reports.report(told);
        }
        core.end_turn(clock.mono());
        if core.is_stopped() {
            return;
        }
        let polled = if core.has_work() {
            poll.poll(&mut events, Some(Duration::ZERO))
        } else {
            wait(&mut poll, &mut events, mailbox, core.next_deadline(), &mut busy_poll, clock)
        };
        match polled {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Without a poll there is no event loop.
            Err(_) => {
                let now = clock.now();
                core.handle_command(Command::Shutdown { deadline: now.mono }, now);
            }
        }
        for event in &events {
            if event.token() == WAKER_TOKEN {
                continue;
            }
            let readiness = Readiness {
                readable: event.is_readable(),
                writable: event.is_writable(),
                hung_up: event.is_read_closed() || event.is_error(),
            };
            core.handle_readiness(event.token().0 as u32, readiness);
        }
    }
}

/// Waits until a socket is ready, something is posted or the deadline is there: looks if that pays, then
/// blocks.
fn wait(
    poll: &mut Poll,
    events: &mut Events,
    mailbox: &Mailbox,
    deadline: Option<Mono>,
    busy_poll: &mut BusyPoll,
    clock: &Clock,
) -> io::Result<()> {
    let begun = clock.mono();
    let until = begun + busy_poll.window(begun);
    let until = deadline.map_or(until, |deadline| deadline.min(until));
    let mut now = begun;
    while now < until {
        poll.poll(events, Some(Duration::ZERO))?;
        let has_found = !events.is_empty() || mailbox.has_posts();
        if !has_found {
            // To whoever is to answer, if this is the only processor.
            std::thread::yield_now();
        }
        now = clock.mono();
        if has_found || until <= now {
            busy_poll.looked(begun, now, has_found);
        }
        if has_found {
            return Ok(());
        }
    }
    let timeout = if mailbox.may_sleep() {
        deadline.map(|deadline| clock.until(deadline))
    } else {
        Some(Duration::ZERO)
    };
    let polled = poll.poll(events, timeout);
    mailbox.awake();
    busy_poll.blocked(clock.mono() - now);
    polled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::Notify;

    #[test]
    fn what_is_received_within_the_machine_waits_in_a_small_buffer() {
        let mut poll = Poll::new().unwrap();
        let options = SocketOptions::for_send_rate(0);
        let mut sockets = MioSockets::new(poll.registry().try_clone().unwrap(), options);
        let addr = sockets.listen(([127, 0, 0, 1], 0).into()).unwrap();
        sockets.connect(0, addr).unwrap();
        let mut events = Events::with_capacity(8);
        let accepted = loop {
            match sockets.accept(1) {
                Ok(remote) => break remote,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            poll.poll(&mut events, None).unwrap();
        };
        sockets.let_in(1, accepted).unwrap();
        for slot in [0, 1] {
            let stream = sockets.stream(slot).unwrap();
            let buffer = SockRef::from(&*stream).recv_buffer_size().unwrap();
            // Linux doubles what it is asked for, and has a limit of its own; it begins with 128 KiB.
            assert!((LOCAL_RECV_BUFFER..=2 * LOCAL_RECV_BUFFER).contains(&buffer), "{buffer}");
            #[cfg(target_os = "linux")]
            {
                let lowat = SockRef::from(&*stream).tcp_notsent_lowat().unwrap();
                assert_eq!(lowat, LOCAL_NOTSENT_LOWAT);
            }
        }
        let stream = sockets.stream(1).unwrap();
        assert!(is_local(stream, accepted));
        assert!(is_local(stream, "[::ffff:127.0.0.1]:9".parse().unwrap()));
        assert!(!is_local(stream, "192.0.2.1:9".parse().unwrap()), "the kernel knows that line");
    }
    /// A poll with a mailbox, and a loop that looks for as long as somebody pays for it.
    struct Waiter {
        poll: Poll,
        events: Events,
        mailbox: Mailbox,
        busy_poll: BusyPoll,
        clock: Clock,
    }

    impl Waiter {
        fn new() -> Self {
            let poll = Poll::new().unwrap();
            let waker = Waker::new(poll.registry(), WAKER_TOKEN).unwrap();
            let clock = Clock::start();
            let mailboxes = clock.clone();
            let mailbox = Mailbox::new(move || waker.wake().unwrap(), move || mailboxes.mono());
            let events = Events::with_capacity(8);
            Self { poll, events, mailbox, busy_poll: BusyPoll::new(), clock }
        }

        fn wait(&mut self, deadline: Option<Mono>) {
            let Self { poll, events, mailbox, busy_poll, clock } = self;
            wait(poll, events, mailbox, deadline, busy_poll, clock).unwrap();
        }

        /// The next wait looks first.
        fn looks(&mut self) -> &mut Self {
            self.busy_poll = BusyPoll::new();
            self.busy_poll.blocked(Duration::ZERO);
            assert!(self.busy_poll.window(self.clock.mono()) > Duration::ZERO);
            self
        }
    }

    #[test]
    fn what_is_posted_before_or_while_the_loop_waits_ends_the_wait() {
        let conn = crate::ids::ConnId::new(0, 1, 1);
        let mut waiter = Waiter::new();
        let mut posts = crate::event_loop::Posts::default();
        for looks in [false, true] {
            if looks {
                waiter.looks();
            }
            waiter.mailbox.dirty(conn);
            // Without a deadline: it would wait for ever.
            waiter.wait(None);
            // What it finds by looking needs no waker.
            assert!(waiter.events.is_empty());
            waiter.mailbox.take(&mut posts);
            assert_eq!(std::mem::take(&mut posts.dirty), [conn]);
        }
        for _ in 0..100 {
            std::thread::scope(|scope| {
                let Waiter { poll, events, mailbox, busy_poll, clock } = waiter.looks();
                let mailbox = &*mailbox;
                scope.spawn(move || mailbox.dirty(conn));
                while !mailbox.has_posts() {
                    wait(poll, events, mailbox, None, busy_poll, clock).unwrap();
                }
            });
            waiter.mailbox.take(&mut posts);
            assert_eq!(std::mem::take(&mut posts.dirty), [conn]);
        }
    }

    #[test]
    fn a_wait_ends_with_its_deadline_and_never_before_it() {
        let mut waiter = Waiter::new();
        for micros in [0, 5, 500, 5000] {
            for looks in [false, true] {
                if looks {
                    waiter.looks();
                }
                let deadline = waiter.clock.mono() + Duration::from_micros(micros);
                waiter.wait(Some(deadline));
                assert!(waiter.events.is_empty());
                assert!(waiter.clock.mono() >= deadline, "{micros} {looks}");
            }
        }
    }

    #[test]
    fn a_socket_that_is_ready_ends_a_wait_and_its_event_is_kept() {
        let mut waiter = Waiter::new();
        let registry = waiter.poll.registry().try_clone().unwrap();
        let mut sockets = MioSockets::new(registry, SocketOptions::for_send_rate(0));
        let addr = sockets.listen(([127, 0, 0, 1], 0).into()).unwrap();
        let _dialed = std::net::TcpStream::connect(addr).unwrap();
        waiter.looks().wait(None);
        let tokens: Vec<Token> = waiter.events.iter().map(|event| event.token()).collect();
        assert_eq!(tokens, [LISTENER_TOKEN]);
    }
}
