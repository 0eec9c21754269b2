//! A swarm, and what its streams carry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{AsyncReadExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream as stream;
use measure::{Bytes, Node, Outcome, Peer, Setup, Sink, Then};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::wire::{self, Queue, Reader, writer};

const PROTOCOLS: [StreamProtocol; 2] =
    [StreamProtocol::new("/compare/bulk"), StreamProtocol::new("/compare/important")];

/// Longer than any measurement: a connection without streams is not closed.
const IDLE: Duration = Duration::from_secs(3600);

/// The first message of whoever accepts a stream.
const HELLO: Bytes = Bytes::from_static(b"hello");

/// A running swarm.
pub(crate) struct Libp2pNode {
    address: String,
    control: stream::Control,
    dials: tokio::sync::mpsc::Sender<(Multiaddr, PeerId, oneshot::Sender<Result<(), String>>)>,
    peers: Arc<AtomicUsize>,
    added: Arc<AtomicU64>,
    is_buffered: bool,
    setup: Setup,
    sink: Sink,
    swarm: JoinHandle<()>,
}

impl Libp2pNode {
    pub(crate) async fn start(is_buffered: bool, setup: Setup, sink: Sink) -> Outcome<Self> {
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|_| stream::Behaviour::new())?
            .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
            .build();
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address.with(Protocol::P2p(*swarm.local_peer_id()));
            }
        };
        let mut control = swarm.behaviour().new_control();
        for (channel, protocol) in PROTOCOLS.into_iter().enumerate().take(setup.channels) {
            let mut incoming = control.accept(protocol)?;
            let sink = sink.clone();
            tokio::spawn(async move {
                while let Some((_, stream)) = incoming.next().await {
                    let queue = receive(stream, is_buffered, channel, setup, sink.clone());
                    // Whoever opened the stream waits for this.
                    let _ = queue.send(HELLO).await;
                }
            });
        }
        let (peers, added) = (Arc::default(), Arc::default());
        let (dials, requests) = tokio::sync::mpsc::channel(16);
        let swarm = tokio::spawn(run(swarm, requests, Arc::clone(&peers), Arc::clone(&added)));
        let address = address.to_string();
        Ok(Self { address, control, dials, peers, added, is_buffered, setup, sink, swarm })
    }
}

/// Reads a stream, and returns the queue before its other direction.
fn receive(
    stream: libp2p::Stream,
    is_buffered: bool,
    channel: usize,
    setup: Setup,
    sink: Sink,
) -> Queue {
    let (input, output) = stream.split();
    let queue = writer(output, is_buffered);
    let answers = queue.clone();
    tokio::spawn(async move {
        let mut reader = Reader::new(input, setup.max_message);
        // Until the connection ends.
        while let Ok(message) = reader.next().await {
            match sink(channel, &message) {
                Then::Next => {}
                Then::Wait(delay) => tokio::time::sleep(delay).await,
                Then::Echo => {
                    if answers.send(message.into()).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    queue
}

type Dial = (Multiaddr, PeerId, oneshot::Sender<Result<(), String>>);

async fn run(
    mut swarm: Swarm<stream::Behaviour>,
    mut requests: tokio::sync::mpsc::Receiver<Dial>,
    peers: Arc<AtomicUsize>,
    added: Arc<AtomicU64>,
) {
    let mut waiting: Vec<(PeerId, oneshot::Sender<Result<(), String>>)> = Vec::new();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    peers.fetch_add(1, SeqCst);
                    added.fetch_add(1, SeqCst);
                    if let Some(at) = waiting.iter().position(|(id, _)| *id == peer_id) {
                        let _ = waiting.swap_remove(at).1.send(Ok(()));
                    }
                }
                SwarmEvent::ConnectionClosed { .. } => {
                    peers.fetch_sub(1, SeqCst);
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    for (_, waiting) in waiting.drain(..) {
                        let _ = waiting.send(Err(error.to_string()));
                    }
                }
                _ => {}
            },
            request = requests.recv() => {
                let Some((address, id, answer)) = request else { return };
                // From the port that it listens on by default, which another connection may have had.
                let dial = DialOpts::peer_id(id).addresses(vec![address]).allocate_new_port();
                match swarm.dial(dial.build()) {
                    Ok(()) => waiting.push((id, answer)),
                    Err(error) => {
                        let _ = answer.send(Err(error.to_string()));
                    }
                }
            }
        }
    }
}

impl Node for Libp2pNode {
    type Peer = Libp2pPeer;

    fn address(&self) -> String {
        self.address.clone()
    }

    fn peers(&self) -> usize {
        self.peers.load(SeqCst)
    }

    fn added(&self) -> u64 {
        self.added.load(SeqCst)
    }

    async fn dial(&mut self, address: &str) -> Outcome<Libp2pPeer> {
        let address: Multiaddr = address.parse()?;
        let Some(Protocol::P2p(id)) = address.iter().last() else {
            return Err("the address names nobody".into());
        };
        let (answer, answered) = oneshot::channel();
        self.dials.send((address, id, answer)).await.map_err(|_| "the swarm has ended")?;
        answered.await??;
        let mut queues = Vec::new();
        for (channel, protocol) in PROTOCOLS.into_iter().enumerate().take(self.setup.channels) {
            // Streams that come at one moment may be dropped on the other side.
            let stream = loop {
                let mut stream = self.control.open_stream(id, protocol.clone()).await?;
                if wire::hello(&mut stream, &HELLO).await.is_ok() {
                    break stream;
                }
            };
            queues.push(receive(stream, self.is_buffered, channel, self.setup, self.sink.clone()));
        }
        Ok(Libp2pPeer { queues: queues.into() })
    }
}

impl Drop for Libp2pNode {
    fn drop(&mut self) {
        self.swarm.abort();
    }
}

/// The queues before a connection's streams.
#[derive(Clone)]
pub(crate) struct Libp2pPeer {
    queues: Arc<[Queue]>,
}

impl Peer for Libp2pPeer {
    async fn send(&self, channel: usize, payload: Bytes) -> Outcome<()> {
        self.queues[channel].send(payload).await.map_err(|_| "the connection has ended".into())
    }
}
