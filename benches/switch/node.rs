//! Switches to measure.

use std::time::{Duration, Instant};

use tmp2p::{
    ChannelDescriptor, Cidr, Config, Envelope, Event, NodeInfo, NodeKey, Peer, Reactor,
    ReactorSpec, Switch,
};

use crate::common::Outcome;

/// The channel that carries what is measured.
pub(crate) const CHANNEL: u8 = 0x30;

/// The network of every node, which is also that of the Go programs.
pub(crate) const NETWORK: &str = "compare";

/// How long nothing may happen before a run has failed.
const STALLED: Duration = Duration::from_secs(60);

/// Most payload of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// 1024 bytes, as everybody has it.
    Default,
    /// 4 MiB, more than any message here.
    Max,
}

impl Packet {
    const MAX_BYTES: usize = 4 << 20;

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Default => "1024",
            Self::Max => "max",
        }
    }

    /// A configuration with this packet size and without limits on rates and peers.
    pub(crate) fn config(self) -> Config {
        let mut config = Config {
            send_rate: 0,
            recv_rate: 0,
            max_num_inbound_peers: 100_000,
            allow_duplicate_ip: true,
            pex: false,
            // All nodes share an address, or the few of this machine.
            exempt_cidrs: Cidr::new([127, 0, 0, 0].into(), 8).into_iter().collect(),
            ..Config::default()
        };
        if self == Self::Max {
            config.max_packet_msg_payload_size = Self::MAX_BYTES;
            config.max_recv_packet_size = Self::MAX_BYTES;
        }
        config
    }
}

/// A switch with one reactor.
pub(crate) struct Node {
    pub(crate) switch: Switch,
    pub(crate) reactor: Reactor,
}

impl Node {
    pub(crate) fn start(config: Config, channel: ChannelDescriptor) -> Outcome<Self> {
        let mut builder = Switch::builder(config, NodeKey::generate(), node_info()?);
        let reactor = builder.reactor(ReactorSpec::new("bench").channel(channel))?;
        Ok(Self { switch: builder.start()?, reactor })
    }

    /// The message that comes next.
    pub(crate) fn next_message(&self) -> Outcome<Envelope> {
        next_message(&self.reactor)
    }
}

/// Two nodes in one process and the session between them, as the dialing one sees it.
pub(crate) struct Pair {
    pub(crate) near: Node,
    pub(crate) far: Node,
    pub(crate) peer: Peer,
}

impl Pair {
    pub(crate) fn start(config: &Config, channel: ChannelDescriptor) -> Outcome<Self> {
        let near = Node::start(config.clone(), channel)?;
        let far = Node::start(config.clone(), channel)?;
        let peer = connect(&near.switch, &near.reactor, &far.switch)?;
        wait_for_peer(&far.reactor)?;
        Ok(Self { near, far, peer })
    }
}

/// What a node of a bench says of itself.
pub(crate) fn node_info() -> Outcome<NodeInfo> {
    Ok(NodeInfo::new(NETWORK, "bench")?)
}

/// Dials, and waits until the dialing node's reactor was told.
pub(crate) fn connect(from: &Switch, reactor: &Reactor, to: &Switch) -> Outcome<Peer> {
    from.handle().dial(to.handle().peer_address().ok_or("it does not listen")?).wait()?;
    wait_for_peer(reactor)
}

/// The next session that the reactor is told of.
pub(crate) fn wait_for_peer(reactor: &Reactor) -> Outcome<Peer> {
    loop {
        if let Event::PeerUp(peer) = next_event(reactor)? {
            return Ok(peer);
        }
    }
}

/// The reactor's next message. The end of a session is an error: nothing here ends one.
pub(crate) fn next_message(reactor: &Reactor) -> Outcome<Envelope> {
    loop {
        match next_event(reactor)? {
            Event::Message(envelope) => return Ok(envelope),
            Event::PeerDown(peer, reason) => return Err(format!("{peer} is down: {reason}").into()),
            _ => {}
        }
    }
}

fn next_event(reactor: &Reactor) -> Outcome<Event> {
    // As a reactor's thread would; the clock is only looked at if there is nothing.
    if let Ok(event) = reactor.events().try_recv() {
        return Ok(event);
    }
    Ok(reactor.events().recv_deadline(Instant::now() + STALLED)?)
}
