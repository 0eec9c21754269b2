//! Dials that fail, each with its reason.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tmp2p::{
    ChannelDescriptor, Config, DisconnectReason, NodeInfo, NodeKey, PeerAddress, ReactorSpec,
    Resolver, Switch, SwitchEvent, crossbeam_channel,
};

use crate::support::*;

/// Time limit of dials that are meant to run into it.
const SHORT: Duration = Duration::from_millis(300);

/// Fails, with this kind, in the ticket and in the event alike.
#[track_caller]
fn assert_fails(switch: &Switch, addr: PeerAddress, kind: &str) -> DisconnectReason {
    let happenings = switch.handle().subscribe();
    let reason = dial(switch, addr.clone()).unwrap_err();
    assert_eq!(reason.kind(), kind, "{reason}");
    let told = happens(&happenings, |event| match event {
        SwitchEvent::DialFailed { addr, reason, .. } => Some((addr, reason)),
        _ => None,
    });
    assert_eq!(told, (addr, reason.clone()));
    assert_eq!(switch.handle().num_peers().dialing, 0);
    reason
}

#[test]
fn nobody_listens() {
    assert_fails(&node().0, stranger(closed_port()), "refused");
}

#[test]
fn nobody_accepts() {
    // A queue for one connection, and it is taken: the kernel answers nothing to the next.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let addr = socket.local_addr().unwrap();
    let waiting: Vec<Socket> = (0..8)
        .map(|_| {
            let waiting = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            waiting.set_nonblocking(true).unwrap();
            let _ = waiting.connect(&addr);
            waiting
        })
        .collect();
    let config = Config { dial_timeout: SHORT, ..unlimited() };
    let node = node_with(config, ChannelDescriptor::new(CHANNEL));
    let reason = assert_fails(&node.0, stranger(addr.as_socket().unwrap()), "dial_timeout");
    assert_eq!(reason, DisconnectReason::DialTimeout(SHORT));
    drop(waiting);
}

#[test]
fn somebody_accepts_and_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { handshake_timeout: SHORT, ..unlimited() };
    let node = node_with(config, ChannelDescriptor::new(CHANNEL));
    let addr = stranger(listener.local_addr().unwrap());
    let reason = assert_fails(&node.0, addr, "handshake_timeout");
    assert_eq!(reason, DisconnectReason::HandshakeTimeout(SHORT));
}

#[test]
fn somebody_accepts_and_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let closer = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        // Read, so that the close is an end and not a reset.
        let mut greeting = [0; 35];
        io::Read::read_exact(&mut &stream, &mut greeting).unwrap();
    });
    assert_fails(&node().0, stranger(addr), "eof");
    closer.join().unwrap();
}

#[test]
fn somebody_speaks_another_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        io::Write::write_all(&mut &stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the other side closes.
        let _ = io::copy(&mut &stream, &mut io::sink());
    });
    assert_fails(&node().0, stranger(addr), "auth_failure");
    server.join().unwrap();
}

#[test]
fn somebody_else_is_there() {
    let (alice, bob) = (node(), node());
    let wrong = NodeKey::generate().id();
    let addr = at(wrong, bob.0.handle().local_addr().unwrap());
    let reason = assert_fails(&alice.0, addr, "wrong_id");
    let actual = bob.0.handle().id();
    assert_eq!(reason, DisconnectReason::WrongId { expected: wrong, actual });
    connect(&alice.0, &bob.0);
    assert_eq!(up(&bob.1).id(), alice.0.handle().id(), "the first that bob's reactor hears of");
}

#[test]
fn we_are_there_ourselves() {
    let key = NodeKey::generate();
    let start = || {
        let info = NodeInfo::new("test-chain", "twin").unwrap();
        let mut builder = Switch::builder(unlimited(), key.clone(), info);
        let reactor = builder
            .reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL)))
            .unwrap();
        (builder.start().unwrap(), reactor)
    };
    let (one, twin) = (start(), start());
    assert_fails(&one.0, one.0.handle().peer_address().unwrap(), "self");
    // By another way: the address has another ID, and it is our own key that answers.
    let addr = stranger(twin.0.handle().local_addr().unwrap());
    let reason = dial(&one.0, addr).unwrap_err();
    assert!(["self", "wrong_id"].contains(&reason.kind()), "{reason}");
}

#[test]
fn incompatible_nodes_both_learn_why() {
    let start = |chain: &str, channel: u8, block: u64| {
        let info = NodeInfo::new(chain, "test").unwrap().with_block_protocol(block);
        let mut builder = Switch::builder(unlimited(), NodeKey::generate(), info);
        let reactor = builder
            .reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(channel)))
            .unwrap();
        (builder.start().unwrap(), reactor)
    };
    let alice = start("chain-a", CHANNEL, 11);
    let heard = alice.0.handle().subscribe();
    for bob in [
        start("chain-b", CHANNEL, 11),
        start("chain-a", CHANNEL + 1, 11),
        start("chain-a", CHANNEL, 12),
    ] {
        let reason = assert_fails(&bob.0, alice.0.handle().peer_address().unwrap(), "incompatible");
        let other = happens(&heard, |event| match event {
            SwitchEvent::Rejected { reason, .. } => Some(reason),
            _ => None,
        });
        assert_eq!(other.kind(), "incompatible", "{reason} / {other}");
    }
    assert!(alice.1.events().is_empty());
}

#[test]
fn the_same_node_twice() {
    let (alice, bob) = (node(), node());
    connect(&alice.0, &bob.0);
    let id = bob.0.handle().id();
    let reason = assert_fails(&alice.0, bob.0.handle().peer_address().unwrap(), "duplicate_id");
    assert_eq!(reason, DisconnectReason::DuplicateId(id));
    // And two attempts at the same time.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = stranger(silent.local_addr().unwrap());
    let first = alice.0.handle().dial(addr.clone());
    let reason = dial(&alice.0, addr.clone()).unwrap_err();
    assert_eq!(reason, DisconnectReason::AlreadyDialing(addr.id()));
    assert_eq!(reason.kind(), "already_dialing");
    assert_eq!(first.wait_timeout(Duration::ZERO), None, "the first one goes on");
    assert_eq!(up(&alice.1).id(), id);
    assert!(alice.1.events().is_empty(), "the session was not touched");
}

/// Answers from a table, and remembers what was asked.
struct Table {
    answers: Vec<(&'static str, Vec<SocketAddr>)>,
    asked: Mutex<Vec<(String, u16)>>,
}

impl Resolver for Table {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.lock().unwrap().push((host.to_owned(), port));
        let found = self.answers.iter().find(|(name, _)| *name == host);
        found.map(|(_, addrs)| addrs.clone()).ok_or_else(|| io::Error::other("no such name"))
    }
}

#[test]
fn names_are_resolved_by_the_given_resolver() {
    let bob = node();
    let there = bob.0.handle().local_addr().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let table = Arc::new(Table {
        answers: vec![
            ("bob.example", vec![nobody, there]),
            ("nobody.example", vec![nobody]),
            ("empty.example", Vec::new()),
        ],
        asked: Mutex::default(),
    });
    let mut builder = builder(unlimited());
    builder.resolver(table.clone());
    let _reactor =
        builder.reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL))).unwrap();
    let alice = builder.start().unwrap();
    let id = bob.0.handle().id();
    let name = |host: &str| format!("{id}@{host}:26656").parse::<PeerAddress>().unwrap();

    for (host, error) in
        [("unknown.example", "no such name"), ("empty.example", "the name has no address")]
    {
        let reason = assert_fails(&alice, name(host), "lookup");
        let (host, error) = (host.to_owned(), error.to_owned());
        assert_eq!(reason, DisconnectReason::Lookup { host, error });
    }
    assert_fails(&alice, name("nobody.example"), "refused");
    // The first address of the name is dead, the second one is right.
    assert_eq!(dial(&alice, name("bob.example")), Ok(id));
    let peer = alice.handle().peer(id).unwrap();
    assert_eq!((peer.remote_addr(), peer.dialed_addr()), (there, Some(&name("bob.example"))));
    let asked = table.asked.lock().unwrap();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.iter().all(|(_, port)| *port == 26656));
}

/// Tells that it was asked, and does not answer before it is let go.
struct Stuck(crossbeam_channel::Sender<()>, crossbeam_channel::Receiver<()>);

impl Resolver for Stuck {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        let _ = self.0.send(());
        let _ = self.1.recv();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 1))])
    }
}

#[test]
fn a_resolver_that_does_not_answer_holds_up_nobody() {
    let (release, stuck) = crossbeam_channel::bounded(0);
    let (entered, enters) = crossbeam_channel::unbounded();
    let mut builder = builder(unlimited());
    builder.resolver(Stuck(entered, stuck));
    let _reactor =
        builder.reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL))).unwrap();
    let alice = builder.start().unwrap();
    let id = NodeKey::generate().id();
    let ticket = alice.handle().dial(format!("{id}@slow.example:1").parse().unwrap());
    next(&enters);
    let bob = node();
    connect(&alice, &bob.0);
    // The thread that hangs in the resolver is not waited for.
    let report = in_time(move || alice.stop(DEADLINE)).unwrap();
    assert_eq!(report.left_behind, ["p2p-resolver"]);
    let failed = ticket.wait_timeout(DEADLINE).unwrap().unwrap_err();
    assert_eq!(failed, tmp2p::DialError::Stopped(tmp2p::Stopped));
    drop(release);
}

/// Panics unless it is asked for bob.
struct Panics(SocketAddr);

impl Resolver for Panics {
    fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!(host, "bob.example", "a panic on purpose");
        Ok(vec![self.0])
    }
}

/// The fault: each panic ended one of four threads, and after four of them no name was resolved.
#[test]
fn a_resolver_that_panics_resolves_the_next_name() {
    let bob = node();
    let mut builder = builder(unlimited());
    builder.resolver(Panics(bob.0.handle().local_addr().unwrap()));
    let _reactor =
        builder.reactor(ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL))).unwrap();
    let alice = builder.start().unwrap();
    let id = bob.0.handle().id();
    let name = |host: String| format!("{id}@{host}:1").parse::<PeerAddress>().unwrap();
    for number in 0..10 {
        let host = format!("host{number}.example");
        let reason = assert_fails(&alice, name(host.clone()), "lookup");
        let error = "the resolver panicked".to_owned();
        assert_eq!(reason, DisconnectReason::Lookup { host, error });
    }
    assert_eq!(dial(&alice, name("bob.example".to_owned())), Ok(id));
}
