//! Each part of a connection's life, without a loop: the connection, what it may touch, and the node at
//! the other end of a wire.

mod beginning;
mod rates;
mod strangers;
mod waking;

use std::{cell::Cell, collections::VecDeque, io, time::Duration};

use super::*;
use crate::{
    config::Config,
    event_loop::LoopSettings,
    identity::NodeKey,
    payload::Payload,
    protocol::{
        LinkSettings,
        link::{self, MAX_BATCH_FRAMES, Step},
        mconn::{Flow, Incoming, Outgoing},
        secret::{ChaCha, Handshake, KeyAgreement, Null},
    },
    reactor::{Admission, Event, Notify, Peer, Progress, SessionSettings},
    time::Now,
};

const SECOND: Duration = Duration::from_secs(1);
const SLOT: u32 = 7;

/// A socket on which the test writes and reads.
#[derive(Default)]
struct Wire {
    to_us: VecDeque<u8>,
    is_ended: bool,
    from_us: Vec<u8>,
    connects: Option<io::Result<bool>>,
    is_full: bool,
    is_shut: bool,
    /// The peer has reset the connection, and who writes next is told.
    is_reset: bool,
}

impl Sockets for Wire {
    fn short_is_blocked(&self) -> bool {
        true
    }
    fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        Ok(addr)
    }
    fn stop_listening(&mut self) {}
    fn connect(&mut self, _: u32, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    fn connect_result(&mut self, slot: u32) -> io::Result<bool> {
        assert_eq!(slot, SLOT);
        self.connects.take().unwrap_or(Ok(true))
    }
    fn accept(&mut self, _: u32) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    fn let_in(&mut self, _: u32, _: SocketAddr) -> io::Result<()> {
        Ok(())
    }
    fn shed_one(&mut self) -> bool {
        false
    }
    fn read(&mut self, slot: u32, buffer: &mut [u8]) -> io::Result<usize> {
        assert_eq!(slot, SLOT);
        let read = buffer.len().min(self.to_us.len());
        for (byte, came) in buffer.iter_mut().zip(self.to_us.drain(..read)) {
            *byte = came;
        }
        if read == 0 && !self.is_ended { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(read) }
    }
    fn write(&mut self, slot: u32, bytes: &[u8]) -> io::Result<usize> {
        assert!(slot == SLOT && !self.is_shut);
        if std::mem::take(&mut self.is_reset) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if self.is_full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.from_us.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn shutdown_write(&mut self, _: u32) {
        assert!(!std::mem::replace(&mut self.is_shut, true), "once");
    }
    fn close(&mut self, _: u32) {}
}

#[derive(Default)]
struct Events(Vec<Event>);

impl Inbox for Events {
    fn deliver(&mut self, _: usize, event: Event) -> bool {
        self.0.push(event);
        true
    }
    fn progress(&self, _: usize) -> Progress {
        Progress::default()
    }
}

thread_local! {
    /// When the last turn was.
    static TURN: Cell<Mono> = const { Cell::new(Mono::ZERO) };
    /// How often the loop was woken for a connection.
    static WOKEN: Cell<usize> = const { Cell::new(0) };
}

struct Nobody;

impl Notify for Nobody {
    fn dirty(&self, _: ConnId) {
        WOKEN.set(WOKEN.get() + 1);
    }
    fn resume(&self, _: ConnId) {}
    fn close(&self, _: ConnId, _: CloseMode) {}
    fn now(&self) -> Mono {
        TURN.get()
    }
}

fn agreement(seed: u8) -> KeyAgreement {
    let agree = move |peer: [u8; 32]| Some(std::array::from_fn(|i| peer[i] ^ seed));
    KeyAgreement { public: [seed; 32], agree: Box::new(agree) }
}

/// What a connection may touch, at the beginning of a turn.
fn context(change: impl FnOnce(&mut LoopSettings)) -> Context<Wire, Events> {
    let link = LinkSettings::for_test(1, "chain");
    let mut settings = LoopSettings::of(&Config::default(), link, 1, 10 * SECOND);
    change(&mut settings);
    let agreement = Box::new(|| Some(agreement(1)));
    let mut cx = Context::new(settings, Wire::default(), Events::default(), agreement);
    turn(&mut cx, Duration::ZERO);
    cx
}

fn turn(cx: &mut Context<Wire, Events>, at: Duration) {
    TURN.set(Mono::ZERO + at);
    let wall = std::time::SystemTime::UNIX_EPOCH + at;
    cx.begin_turn(Now { mono: Mono::ZERO + at, wall });
}

fn id() -> ConnId {
    ConnId::new(0, SLOT, 1)
}

fn remote() -> SocketAddr {
    ([127, 0, 0, 1], 4711).into()
}

fn their_id() -> NodeId {
    NodeKey::from_seed([2; 32]).id()
}

fn accepted(cx: &mut Context<Wire, Events>) -> Conn<Null> {
    let place = cx.door.enter(remote().ip(), SLOT, cx.now).unwrap();
    Conn::accepted(id(), remote(), place, cx)
}

fn dialed(cx: &Context<Wire, Events>, within: Option<Duration>) -> Conn<Null> {
    Conn::dialed(id(), remote(), 5, their_id(), within, cx)
}

fn reports(cx: &mut Context<Wire, Events>) -> Vec<Report> {
    cx.reports.drain(..).collect()
}

/// The connection is over: the one thing that is said then, and nothing is left of it.
#[track_caller]
fn over(conn: Conn<Null>, next: Next, cx: &mut Context<Wire, Events>) -> Report {
    let Next::Over(reason) = next else { panic!("{next:?}") };
    conn.over(reason, cx);
    let [report] = <[Report; 1]>::try_from(reports(cx)).unwrap();
    assert_eq!((cx.door.pool.len(), cx.pooled, cx.parking.parked), (0, 0, 0));
    assert!(!cx.door.pool.has_unasked() && !cx.door.pool.has_silent());
    report
}

/// The node at the other end.
enum Far {
    Handshaking(link::Handshaking<Null>),
    Open(Box<link::Open<Null>>),
    Gone,
}

#[derive(Default)]
struct Got(Vec<Payload>);

impl Incoming for Got {
    fn message(&mut self, _: usize, message: Vec<u8>) -> Flow {
        self.0.push(message.into());
        Flow::Continue
    }
}

struct Give(Option<Payload>);

impl Outgoing for Give {
    fn take(&mut self, _: usize) -> Option<Payload> {
        self.0.take()
    }
}

impl Far {
    /// Begins, of this network.
    fn start(network: &str, cx: &mut Context<Wire, Events>) -> (Self, LinkSettings) {
        let (settings, mut out) = (LinkSettings::for_test(2, network), Vec::new());
        let far =
            Self::Handshaking(link::Handshaking::start(&settings, agreement(2), None, &mut out));
        cx.sockets.to_us.extend(out);
        (far, settings)
    }

    /// Reads what we have written, and says what it has to say of it.
    fn answer(self, settings: &LinkSettings, cx: &mut Context<Wire, Events>) -> Self {
        let Self::Handshaking(mut link) = self else { return self };
        let mut out = Vec::new();
        let came = std::mem::take(&mut cx.sockets.from_us);
        let mut input = came.as_slice();
        let far = loop {
            link = match link.advance(settings, &mut input, &mut out) {
                Ok(Step::NeedMore(link)) => break Self::Handshaking(link),
                Ok(Step::Stepped(link)) => link,
                Ok(Step::Established(link, _)) => {
                    break Self::Open(Box::new(link.admit(settings, Mono::ZERO)));
                }
                Err(_) => break Self::Gone,
            };
        };
        cx.sockets.from_us = input.to_vec();
        cx.sockets.to_us.extend(out);
        far
    }

    /// Sends a message.
    fn send(&mut self, message: &[u8], cx: &mut Context<Wire, Events>) {
        let Self::Open(link) = self else { panic!("it is not open") };
        let mut out = Vec::new();
        _ = link
            .fill(&mut out, MAX_BATCH_FRAMES, &mut Give(Some(message.to_vec().into())), Mono::ZERO)
            .unwrap();
        cx.sockets.to_us.extend(out);
    }

    /// The messages that we have sent.
    fn receive(&mut self, cx: &mut Context<Wire, Events>) -> Vec<Payload> {
        let Self::Open(link) = self else { panic!("it is not open") };
        let mut got = Got::default();
        let mut came = std::mem::take(&mut cx.sockets.from_us);
        link.receive(&mut came, Mono::ZERO, &mut got).unwrap();
        got.0
    }
}

/// Runs it with all that has come, as often as it wants to.
fn run(conn: &mut Conn<Null>, cx: &mut Context<Wire, Events>) -> Next {
    conn.note(Readiness { readable: true, writable: true, hung_up: false });
    for _ in 0..20 {
        match conn.run(cx) {
            Next::Again => turn(cx, cx.now.mono - Mono::ZERO),
            next => return next,
        }
    }
    panic!("it never ends")
}

/// Both sides until we know who is there.
fn established(conn: &mut Conn<Null>, cx: &mut Context<Wire, Events>) -> Far {
    let (mut far, settings) = Far::start("chain", cx);
    for _ in 0..4 {
        assert!(matches!(run(conn, cx), Next::Wait));
        far = far.answer(&settings, cx);
    }
    assert!(matches!(conn.stage, Stage::AwaitingAdmission(_)));
    far
}

fn session(cx: &Context<Wire, Events>) -> Arc<Session> {
    let settings = SessionSettings {
        reactor_budget: 1000,
        send_queue_bytes: 1000,
        send_timeout: SECOND,
        ..SessionSettings::for_test(&cx.settings.link.channels)
    };
    let admission = Admission {
        conn: id(),
        id: their_id(),
        node_info: Arc::new(LinkSettings::for_test(2, "chain").node_info),
        direction: Direction::Inbound,
        remote_addr: remote(),
        dialed_addr: None,
        origin: None,
        is_persistent: false,
        is_reserved: false,
    };
    Arc::new(Session::new(admission, &settings, Arc::new(Nobody)))
}

/// An accepted one on which messages flow.
fn open(cx: &mut Context<Wire, Events>) -> (Conn<Null>, Far, Peer) {
    let mut conn = accepted(cx);
    let far = established(&mut conn, cx);
    conn.ask(cx);
    let [Report::Established(established)] = &reports(cx)[..] else { panic!("nobody was asked") };
    assert_eq!((established.id, established.ticket), (their_id(), None));
    let session = session(cx);
    assert!(matches!(conn.admit(session.clone(), cx), Next::Again));
    assert_eq!(cx.door.pool.len(), 0);
    (conn, far, Peer::new(session))
}

/// What `Config` says of the memory that a silent stranger takes rests on these.
#[test]
fn a_silent_connection_is_small() {
    let stranger = size_of::<Conn<ChaCha>>() + size_of::<Handshaking<ChaCha>>();
    assert!(stranger <= 512, "{stranger}");
    assert!(size_of::<Handshake<ChaCha>>() <= 128, "{}", size_of::<Handshake<ChaCha>>());
    let socket = Socket::new(0, true);
    assert_eq!((socket.inbuf.capacity(), socket.out.capacity()), (0, 0));
}

#[test]
fn a_dial_waits_for_its_connection_and_fails_once() {
    let mut cx = context(|settings| settings.dial_timeout = 3 * SECOND);
    let mut conn = dialed(&cx, None);
    assert!(matches!(conn.run(&mut cx), Next::Wait), "nothing is writable yet");
    cx.sockets.connects = Some(Ok(false));
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!(conn.next_deadline(), Some(Mono::ZERO + 3 * SECOND));
    cx.sockets.connects = Some(Err(io::ErrorKind::ConnectionRefused.into()));
    let next = run(&mut conn, &mut cx);
    let report = over(conn, next, &mut cx);
    assert!(matches!(report, Report::DialFailed { ticket: 5, .. }), "{report:?}");
}

#[test]
fn a_dial_is_over_in_its_own_time_or_in_that_of_all_of_it() {
    for (within, told) in
        [(None, 3 * SECOND), (Some(9 * SECOND), 3 * SECOND), (Some(SECOND), SECOND)]
    {
        let mut cx = context(|settings| settings.dial_timeout = 3 * SECOND);
        let conn = dialed(&cx, within);
        turn(&mut cx, told - Duration::from_millis(1));
        assert!(matches!(conn.handle_deadline(&cx), Next::Again));
        turn(&mut cx, told);
        let next = conn.handle_deadline(&cx);
        let Report::DialFailed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
        assert_eq!(reason, DisconnectReason::DialTimeout(told));
    }
}

#[test]
fn nothing_is_read_before_the_filters_have_spoken() {
    let mut cx = context(|settings| settings.filter_connections = true);
    let mut conn = accepted(&mut cx);
    cx.sockets.to_us.extend([1, 2, 3]);
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!((cx.sockets.to_us.len(), cx.sockets.from_us.len()), (3, 0));
    assert_eq!(cx.door.pool.pop_unasked(), Some(SLOT));
    conn.ask(&mut cx);
    assert!(matches!(&reports(&mut cx)[..], [Report::Accepted { .. }]));
    assert!(matches!(conn.filtered(Ok(()), &mut cx), Next::Again));
    assert!(cx.door.pool.has_silent());
    // Another verdict is nobody's.
    assert!(matches!(conn.filtered(Err(DisconnectReason::Stopped), &mut cx), Next::Wait));

    let mut cx = context(|settings| settings.filter_connections = true);
    let mut conn = accepted(&mut cx);
    let next = conn.filtered(Err(DisconnectReason::Filtered("no".into())), &mut cx);
    let report = over(conn, next, &mut cx);
    assert!(matches!(report, Report::HandshakeFailed { id: None, others: 0, .. }), "{report:?}");
}

#[test]
fn a_node_of_another_network_gets_our_node_info_before_it_is_let_go() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    let (mut far, settings) = Far::start("other", &mut cx);
    for _ in 0..4 {
        run(&mut conn, &mut cx);
        far = far.answer(&settings, &mut cx);
    }
    assert!(matches!(far, Far::Gone), "it has found the same reason");
    assert!(matches!(conn.stage, Stage::Closing(_)) && cx.sockets.is_shut);
    assert_eq!(cx.door.pool.first_to_go(1000), Some(SLOT), "and is the first to go");
    cx.sockets.is_ended = true;
    let next = run(&mut conn, &mut cx);
    let report = over(conn, next, &mut cx);
    assert!(
        matches!(&report, Report::HandshakeFailed { id: Some(id), reason: DisconnectReason::Incompatible(_), .. }
            if *id == their_id()),
        "{report:?}"
    );
}

#[test]
fn what_is_said_at_the_end_is_what_the_switch_was_told_before() {
    // It was not asked: somebody has come and is gone.
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    established(&mut conn, &mut cx);
    turn(&mut cx, 10 * SECOND);
    let next = conn.handle_deadline(&cx);
    let report = over(conn, next, &mut cx);
    assert!(
        matches!(report, Report::HandshakeFailed { id: Some(id), reason: DisconnectReason::SwitchBusy(_), .. }
            if id == their_id())
    );
    // It was asked: what is established is closed.
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    established(&mut conn, &mut cx);
    conn.ask(&mut cx);
    conn.ask(&mut cx);
    assert_eq!(reports(&mut cx).len(), 1, "once");
    let next = conn.end(CloseMode::Now(DisconnectReason::Stopped), &mut cx);
    let report = over(conn, next, &mut cx);
    assert!(matches!(report, Report::Closed { .. }), "{report:?}");
    // A dial is told with its ticket, at once.
    let mut cx = context(|_| ());
    let mut conn = dialed(&cx, None);
    established(&mut conn, &mut cx);
    let told = reports(&mut cx);
    assert!(matches!(&told[..], [Report::Established(told)] if told.ticket == Some(5)), "{told:?}");
    let report = over(conn, Next::Over(DisconnectReason::Reset), &mut cx);
    assert!(matches!(report, Report::Closed { .. }), "{report:?}");
}

#[test]
fn a_refused_one_is_told_to_be_ending_and_goes_when_it_has_read() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    established(&mut conn, &mut cx);
    conn.ask(&mut cx);
    reports(&mut cx);
    assert!(matches!(
        conn.end(CloseMode::Graceful(DisconnectReason::Evicted), &mut cx),
        Next::Again
    ));
    assert!(matches!(&reports(&mut cx)[..], [Report::Ending(_)]));
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert!(cx.sockets.is_shut);
    cx.sockets.to_us.extend([0; 5000]);
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait), "what still comes is for nobody");
    assert!(cx.sockets.to_us.is_empty());
    let timeout = cx.settings.close_timeout;
    turn(&mut cx, timeout);
    let next = conn.handle_deadline(&cx);
    let Report::Closed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Evicted);
}

#[test]
fn messages_flow_both_ways_and_the_first_is_told() {
    let mut cx = context(|_| ());
    let (mut conn, mut far, peer) = open(&mut cx);
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    far.send(b"hello", &mut cx);
    far.send(b"again", &mut cx);
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    let texts = cx.inbox.inner.0.iter().map(|event| match event {
        Event::Message(envelope) => envelope.payload().to_vec(),
        event => panic!("{event:?}"),
    });
    assert_eq!(texts.collect::<Vec<_>>(), [b"hello", b"again"]);
    assert!(matches!(&reports(&mut cx)[..], [Report::FirstMessage(_)]));
    peer.try_send(0x20, b"hi".to_vec()).unwrap();
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!(far.receive(&mut cx), [] as [Payload; 0], "nobody has said that there is something");
    conn.set_dirty();
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!(far.receive(&mut cx), [Payload::from(b"hi".to_vec())]);
}

#[test]
fn what_has_come_before_the_end_is_delivered_and_then_it_is_over() {
    let mut cx = context(|_| ());
    let (mut conn, mut far, _) = open(&mut cx);
    // More than the reactor's budget, which is not given back.
    for _ in 0..5 {
        far.send(&[1; 300], &mut cx);
    }
    cx.sockets.is_ended = true;
    conn.note(Readiness { readable: true, writable: true, hung_up: true });
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait), "the rest waits");
    let told = reports(&mut cx);
    assert!(matches!(&told[..], [Report::FirstMessage(_), Report::Ending(_)]), "{told:?}");
    assert!(conn.has_undelivered() && cx.parking.parked > 0);
    // The reactor lets go, and the loop is told.
    cx.inbox.inner.0.clear();
    while conn.has_undelivered() {
        assert!(matches!(conn.resume(&mut cx), Next::Again));
        cx.inbox.inner.0.clear();
    }
    let next = run(&mut conn, &mut cx);
    let Report::Closed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Eof);
}

/// The kernel tells of a reset once, who reads or who writes: after a write there is only the end.
#[test]
fn a_reset_that_a_write_was_told_of_is_no_orderly_end() {
    let mut cx = context(|_| ());
    let (mut conn, _far, peer) = open(&mut cx);
    run(&mut conn, &mut cx);
    cx.sockets.is_reset = true;
    peer.try_send(0x20, b"hi".to_vec()).unwrap();
    conn.set_dirty();
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait), "what has come is read to its end");
    cx.sockets.is_ended = true;
    conn.note(Readiness { readable: true, writable: true, hung_up: true });
    let next = run(&mut conn, &mut cx);
    reports(&mut cx);
    let Report::Closed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Reset);
}

#[test]
fn what_nobody_takes_after_the_end_is_dropped_in_time() {
    let mut cx = context(|settings| settings.drain_timeout = 2 * SECOND);
    let (mut conn, mut far, _) = open(&mut cx);
    for _ in 0..5 {
        far.send(&[1; 300], &mut cx);
    }
    cx.sockets.is_ended = true;
    conn.note(Readiness { readable: true, writable: true, hung_up: true });
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!(
        conn.next_deadline(),
        Some(Mono::ZERO + 2 * SECOND),
        "keep-alive is nobody's any more"
    );
    turn(&mut cx, 2 * SECOND);
    let next = conn.handle_deadline(&cx);
    reports(&mut cx);
    let Report::Closed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Eof);
}

#[test]
fn a_flush_writes_what_was_accepted_and_a_graceful_end_does_not() {
    for (flush, expected) in [(true, 1), (false, 0)] {
        let mut cx = context(|_| ());
        let (mut conn, mut far, peer) = open(&mut cx);
        run(&mut conn, &mut cx);
        far.receive(&mut cx);
        peer.try_send(0x20, b"last words".to_vec()).unwrap();
        let reason = DisconnectReason::Stopped;
        let mode = if flush { CloseMode::Flush(reason) } else { CloseMode::Graceful(reason) };
        assert!(matches!(conn.end(mode, &mut cx), Next::Again));
        assert!(peer.try_send(0x20, b"too late".to_vec()).is_err());
        assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
        assert!(cx.sockets.is_shut);
        assert_eq!(far.receive(&mut cx).len(), expected);
        cx.sockets.is_ended = true;
        let next = run(&mut conn, &mut cx);
        assert!(matches!(&reports(&mut cx)[..], [Report::Ending(_)]));
        assert!(matches!(over(conn, next, &mut cx), Report::Closed { .. }));
    }
}

#[test]
fn a_flush_before_the_admission_is_done_after_it() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    let mut far = established(&mut conn, &mut cx);
    conn.ask(&mut cx);
    let session = session(&cx);
    let peer = Peer::new(session.clone());
    peer.try_send(0x20, b"all there is".to_vec()).unwrap();
    assert!(matches!(conn.end(CloseMode::Flush(DisconnectReason::Stopped), &mut cx), Next::Wait));
    assert!(matches!(conn.admit(session, &mut cx), Next::Again));
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert_eq!(far.receive(&mut cx), [Payload::from(b"all there is".to_vec())]);
    cx.sockets.is_ended = true;
    let next = run(&mut conn, &mut cx);
    reports(&mut cx);
    let Report::Closed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Stopped);
}
