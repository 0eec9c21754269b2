//! Nodes for tests, and waiting with a deadline.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tmp2p::{
    ChannelDescriptor, Config, DialError, DisconnectReason, Envelope, Event, NodeId, NodeInfo,
    NodeKey, Peer, PeerAddress, Reactor, Switch, SwitchBuilder, SwitchEvent,
    crossbeam_channel::Receiver,
};

/// Longest wait for anything; far more than anything takes, even on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The channel of tests that need only one.
pub(crate) const CHANNEL: u8 = 0x70;

/// Without rate limits, so that tests are quick.
pub(crate) fn unlimited() -> Config {
    Config { send_rate: 0, recv_rate: 0, ..Config::default() }
}

pub(crate) fn builder(config: Config) -> SwitchBuilder {
    let info = NodeInfo::new("test-chain", "test").unwrap();
    Switch::builder(config, NodeKey::generate(), info)
}

/// A node with one reactor that owns this channel.
pub(crate) fn node_with(config: Config, channel: ChannelDescriptor) -> (Switch, Reactor) {
    let mut builder = builder(config);
    let reactor = builder.reactor("test", [channel]).unwrap();
    (builder.start().unwrap(), reactor)
}

pub(crate) fn node() -> (Switch, Reactor) {
    node_with(unlimited(), ChannelDescriptor::new(CHANNEL))
}

/// Dials and waits for the outcome.
#[track_caller]
pub(crate) fn dial(from: &Switch, to: PeerAddress) -> Result<NodeId, DisconnectReason> {
    let ticket = from.handle().dial(to).unwrap();
    match ticket.wait_timeout(DEADLINE).expect("no answer to the dial in time") {
        Ok(id) => Ok(id),
        Err(DialError::Failed(reason)) => Err(reason),
        Err(other) => panic!("{other}"),
    }
}

#[track_caller]
pub(crate) fn connect(from: &Switch, to: &Switch) {
    assert_eq!(dial(from, to.handle().peer_address()), Ok(to.handle().id()));
}

/// The next one, of anything.
#[track_caller]
pub(crate) fn next<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(DEADLINE).expect("nothing came in time, or the switch has stopped")
}

#[track_caller]
pub(crate) fn up(reactor: &Reactor) -> Peer {
    match next(&reactor.events) {
        Event::PeerUp(peer) => peer,
        other => panic!("expected PeerUp, got {other:?}"),
    }
}

#[track_caller]
pub(crate) fn message(reactor: &Reactor) -> Envelope {
    match next(&reactor.events) {
        Event::Message(envelope) => envelope,
        other => panic!("expected a message, got {other:?}"),
    }
}

/// The next `PeerDown`, whatever comes before.
#[track_caller]
pub(crate) fn down(reactor: &Reactor) -> (Peer, Arc<DisconnectReason>) {
    loop {
        if let Event::PeerDown(peer, reason) = next(&reactor.events) {
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
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
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
