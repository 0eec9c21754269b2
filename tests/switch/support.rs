//! Nodes for tests, and waiting with a deadline.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tmp2p::{
    ChannelDescriptor, Config, DialError, DisconnectReason, Envelope, Event, NetAddress, NodeId,
    NodeInfo, NodeKey, Peer, PeerAddress, Reactor, ReactorSpec, Switch, SwitchBuilder, SwitchEvent,
    SwitchHandle, crossbeam_channel::Receiver,
};

/// Longest wait for anything; far more than anything takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The channel of tests that need only one.
pub(crate) const CHANNEL: u8 = 0x70;

/// All nodes have the same address and come and go as they like.
pub(crate) fn local() -> Config {
    Config {
        allow_duplicate_ip: true,
        max_num_inbound_peers: 1000,
        // A node that looks for peers by itself is another matter.
        pex: false,
        // A test that answers for a filter, or is one end of a handshake, may be held up.
        connection_filter_timeout: DEADLINE,
        peer_filter_timeout: DEADLINE,
        dial_timeout: DEADLINE,
        handshake_timeout: DEADLINE,
        exempt_cidrs: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        ..Config::default()
    }
}

/// Without rate limits, so that tests are quick.
pub(crate) fn unlimited() -> Config {
    Config { send_rate: 0, recv_rate: 0, ..local() }
}

pub(crate) fn builder(config: Config) -> SwitchBuilder {
    let info = NodeInfo::new("test-chain", "test").unwrap();
    Switch::builder(config, NodeKey::generate(), info)
}

/// A reactor that wants these channels.
pub(crate) fn spec(
    name: &str,
    channels: impl IntoIterator<Item = ChannelDescriptor>,
) -> ReactorSpec {
    channels.into_iter().fold(ReactorSpec::new(name), ReactorSpec::channel)
}

/// The switch goes on without it.
pub(crate) fn may_end(spec: &mut ReactorSpec) {
    *spec = std::mem::replace(spec, ReactorSpec::new("")).may_end();
}

/// Has it run this for each peer.
pub(crate) fn hook(
    spec: &mut ReactorSpec,
    hook: impl FnMut(&Peer, &SwitchHandle) + Send + 'static,
) {
    *spec = std::mem::replace(spec, ReactorSpec::new("")).on_init(hook);
}

/// A node with one reactor that owns this channel.
pub(crate) fn node_with(config: Config, channel: ChannelDescriptor) -> (Switch, Reactor) {
    let mut builder = builder(config);
    let reactor = builder.reactor(ReactorSpec::new("test").channel(channel)).unwrap();
    (builder.start().unwrap(), reactor)
}

pub(crate) fn node() -> (Switch, Reactor) {
    node_with(unlimited(), ChannelDescriptor::new(CHANNEL))
}

/// A node with this identity, built as the test likes.
pub(crate) fn built(
    config: Config,
    key: NodeKey,
    prepare: impl FnOnce(&mut SwitchBuilder, &mut ReactorSpec),
) -> (Switch, Reactor) {
    let info = NodeInfo::new("test-chain", "test").unwrap();
    let mut builder = Switch::builder(config, key, info);
    let mut spec = spec("test", [ChannelDescriptor::new(CHANNEL)]);
    prepare(&mut builder, &mut spec);
    let reactor = builder.reactor(spec).unwrap();
    (builder.start().unwrap(), reactor)
}

pub(crate) fn node_from(config: Config) -> (Switch, Reactor) {
    built(config, NodeKey::generate(), |_, _| {})
}

/// This configuration, listening at this address of the machine.
pub(crate) fn listening(config: Config, addr: impl Into<SocketAddr>) -> Config {
    Config { laddr: Some(addr.into().into()), ..config }
}

pub(crate) fn at(id: NodeId, addr: SocketAddr) -> PeerAddress {
    NetAddress::new(id, addr.ip(), addr.port()).into()
}

/// Somebody nobody knows, at this address.
pub(crate) fn stranger(addr: SocketAddr) -> PeerAddress {
    at(NodeKey::generate().id(), addr)
}

/// Where nobody listens, and no other test will: at an address of its own.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.31.255.1:0").unwrap().local_addr().unwrap()
}

/// A connection that comes from this address.
pub(crate) fn plain_from(source: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Whether the node at the other end begins a handshake, instead of closing at once.
#[track_caller]
pub(crate) fn is_let_in(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    match (&*stream).read(&mut [0; 1]) {
        Ok(read) => read == 1,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
        Err(error) => panic!("neither served nor closed: {error}"),
    }
}

/// A way to a node by another address: the node sees connections from there.
pub(crate) struct Way {
    pub(crate) addr: SocketAddr,
    is_shut: Arc<AtomicBool>,
}

impl Way {
    pub(crate) fn new(source: Ipv4Addr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind((source, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let is_shut = Arc::new(AtomicBool::new(false));
        let way = Self { addr, is_shut: is_shut.clone() };
        std::thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let far = plain_from(source, to);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_shut = is_shut.clone();
                    std::thread::spawn(move || carry(&from, &to, &is_shut));
                }
            }
        });
        way
    }

    /// From now on nothing passes, not even an end.
    pub(crate) fn shut(&self) {
        self.is_shut.store(true, SeqCst);
    }
}

fn carry(mut from: &TcpStream, mut to: &TcpStream, is_shut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        while is_shut.load(SeqCst) {
            std::thread::park();
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Write);
            return;
        }
    }
}

/// What became of the next connection that somebody made to this node.
#[track_caller]
pub(crate) fn verdict(events: &Receiver<SwitchEvent>) -> Result<NodeId, DisconnectReason> {
    happens(events, |event| match event {
        SwitchEvent::Connected { id, .. } => Some(Ok(id)),
        SwitchEvent::Rejected { reason, .. } => Some(Err(reason)),
        _ => None,
    })
}

/// Dials a node and tells what that node made of it. The dialer may see a session for a moment.
#[track_caller]
pub(crate) fn knock(
    from: &Switch,
    to: PeerAddress,
    events: &Receiver<SwitchEvent>,
) -> Result<NodeId, DisconnectReason> {
    let _ticket = from.handle().dial(to);
    let verdict = verdict(events);
    if let Ok(id) = verdict {
        assert_eq!(id, from.handle().id());
    }
    verdict
}

/// The next attempt that fails.
#[track_caller]
pub(crate) fn dial_failed(events: &Receiver<SwitchEvent>) -> (PeerAddress, DisconnectReason, u32) {
    happens(events, |event| match event {
        SwitchEvent::DialFailed { addr, reason, failures } => Some((addr, reason, failures)),
        _ => None,
    })
}

/// The next session that begins.
#[track_caller]
pub(crate) fn peer_up(events: &Receiver<SwitchEvent>) -> NodeId {
    happens(events, |event| match event {
        SwitchEvent::Connected { id, .. } => Some(id),
        _ => None,
    })
}

/// The next session that ends.
#[track_caller]
pub(crate) fn peer_down(events: &Receiver<SwitchEvent>) -> (NodeId, DisconnectReason) {
    happens(events, |event| match event {
        SwitchEvent::Disconnected { id, reason, .. } => Some((id, reason)),
        _ => None,
    })
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Dials and waits for the outcome.
#[track_caller]
pub(crate) fn dial(from: &Switch, to: PeerAddress) -> Result<NodeId, DisconnectReason> {
    let ticket = from.handle().dial(to);
    match ticket.wait_timeout(DEADLINE).expect("no answer to the dial in time") {
        Ok(peer) => Ok(peer.id()),
        Err(DialError::Failed(reason)) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
pub(crate) fn connect(from: &Switch, to: &Switch) {
    assert_eq!(dial(from, to.handle().peer_address().unwrap()), Ok(to.handle().id()));
}

/// The next one, of anything.
#[track_caller]
pub(crate) fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(DEADLINE).expect("nothing came in time, or the switch has stopped")
}

#[track_caller]
pub(crate) fn up(reactor: &Reactor) -> Peer {
    match next(reactor.events()) {
        Event::PeerUp(peer) => peer,
        other => panic!("expected PeerUp, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn message(reactor: &Reactor) -> Envelope {
    match next(reactor.events()) {
        Event::Message(envelope) => envelope,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// The next `PeerDown`, whatever comes before.
#[track_caller]
pub(crate) fn down(reactor: &Reactor) -> (Peer, Arc<DisconnectReason>) {
    loop {
        if let Event::PeerDown(peer, reason) = next(reactor.events()) {
            return (peer, reason);
        }
    }
}

/// The next event of the switch that this picks.
#[track_caller]
pub(crate) fn happens<T>(
    events: &Receiver<SwitchEvent>,
    pick: impl Fn(SwitchEvent) -> Option<T>,
) -> T {
    loop {
        if let Some(picked) = pick(next(events)) {
            return picked;
        }
    }
}

/// A connection between two nodes of one reactor each, and both ends of it.
#[track_caller]
pub(crate) fn pair(a: &(Switch, Reactor), b: &(Switch, Reactor)) -> (Peer, Peer) {
    connect(&a.0, &b.0);
    (up(&a.1), up(&b.1))
}

/// Looks at what has no event of its own, a counter, until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Runs this on a thread of its own and fails if it does not come back.
#[track_caller]
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tmp2p::crossbeam_channel::bounded(1);
    let thread = std::thread::spawn(move || {
        let _ = sender.send(run());
    });
    let result = next(&receiver);
    thread.join().unwrap();
    result
}
