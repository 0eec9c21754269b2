//! Many nodes at addresses that a strict book takes, where nobody answers if nobody is there.

use std::{net::IpAddr, time::Duration};

use serde_json::json;
use tmp2p::{
    ChannelDescriptor, Config, ConnId, ImportReport, NetAddress, NodeId, Peer,
    internals::pex::{CHANNEL, PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::switch::{Kept, Reply},
};

use crate::{
    node::key_of,
    options::Options,
    weather::Weather,
    world::{Actor, World},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Longer than any test.
const FOREVER: Duration = Duration::from_secs(1 << 32);

/// An ID that is nobody's.
pub(crate) fn id(number: u64) -> NodeId {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&(number + 1).to_be_bytes());
    bytes[8..16].copy_from_slice(&(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// A routable address per number, few of them in one /16: each has its places in a book. The node
/// with this number is there, if there is one, under its own ID.
pub(crate) fn addr(number: u64) -> NetAddress {
    let [.., a, b] = (number / 5).to_be_bytes();
    let ip = IpAddr::from([20 + a, b, 1, (number % 5) as u8 + 1]);
    NetAddress::new(id(number), ip, 26656)
}

/// A node that looks for nobody.
pub(crate) fn quiet() -> Config {
    Config { max_num_outbound_peers: 0, ..Config::default() }
}

/// A seed.
pub(crate) fn seed() -> Config {
    Config { seed_mode: true, ..Config::default() }
}

/// Nobody is there yet.
pub(crate) fn internet(seed: u64) -> World<Null> {
    let latency = (Duration::from_millis(10), Duration::from_millis(30));
    let world = World::with(seed, Weather { latency, ..Weather::fair() });
    world.net.borrow_mut().is_silent = true;
    world
}

impl World<Null> {
    /// A node at its own address that starts now.
    pub(crate) fn join(&mut self, config: Config) -> usize {
        let number = self.nodes.len();
        self.join_as(number, addr(number as u64), config)
    }

    /// A node with the key of this number that listens at this address.
    pub(crate) fn join_as(&mut self, key: usize, at: NetAddress, config: Config) -> usize {
        self.add(Options {
            config,
            key: Some(key_of(key)),
            addr: Some(at.socket_addr()),
            reactors: vec![vec![ChannelDescriptor::new(0x20)]],
            ..Options::default()
        })
    }

    pub(crate) fn net_addr(&self, node: usize) -> NetAddress {
        let (id, addr) = (self.nodes[node].id, self.nodes[node].addr);
        NetAddress::new(id, addr.ip(), addr.port())
    }

    /// The node's peer exchange does nothing any more, as if its thread hung: it has channel 0x00
    /// and never looks at a message.
    pub(crate) fn mute(&mut self, node: usize) {
        self.hold(Actor::Pex(node), FOREVER);
    }

    /// Adds addresses to the node's book; if that is empty, as if one of their own had told of each.
    pub(crate) fn tell(&mut self, node: usize, addrs: impl IntoIterator<Item = NetAddress>) {
        self.tell_of(node, addrs.into_iter().map(|addr| (addr, addr)));
    }

    /// The same, each told by somebody.
    pub(crate) fn tell_of(
        &mut self,
        node: usize,
        addrs: impl IntoIterator<Item = (NetAddress, NetAddress)>,
    ) {
        let imported = self.import(node, addrs);
        let is_done = |_: &Self| imported.get().is_some();
        assert!(self.run_until(SECOND, is_done), "nothing was imported");
    }

    /// Adds addresses to the node's book that are good.
    pub(crate) fn tell_good(&mut self, node: usize, addrs: impl IntoIterator<Item = NetAddress>) {
        let addrs: Vec<_> = addrs.into_iter().collect();
        self.tell(node, addrs.iter().copied());
        addrs.iter().for_each(|addr| self.request(node, PexRequest::MarkGood { id: addr.id() }));
    }

    /// Adds addresses that were never tried, when its time comes: as this source tells them if the book
    /// is empty, else as one source.
    pub(crate) fn import(
        &mut self,
        node: usize,
        addrs: impl IntoIterator<Item = (NetAddress, NetAddress)>,
    ) -> Kept<ImportReport> {
        let entry = |addr: NetAddress| {
            let (id, ip) = (addr.id().to_string(), addr.ip().to_string());
            json!({ "id": id, "ip": ip, "port": addr.port() })
        };
        let never = "0001-01-01T00:00:00Z";
        let entry = |(addr, src): (NetAddress, NetAddress)| {
            json!({
                "addr": entry(addr), "src": entry(src),
                "buckets": [0], "attempts": 0, "bucket_type": 1,
                "last_attempt": never, "last_success": never, "last_ban_time": never,
            })
        };
        let entries: Vec<_> = addrs.into_iter().map(entry).collect();
        let file = json!({ "key": "0123456789abcdef01234567", "addrs": entries }).to_string();
        let imported = tmp2p::internals::addrbook::json::parse(file.as_bytes()).unwrap();
        let (reply, report) = Reply::kept();
        self.request(node, PexRequest::Import { imported, reply });
        report
    }

    /// A peer that the node has asked tells it of an address.
    pub(crate) fn gossip(&mut self, node: usize, addr: NetAddress) {
        let teller = self.join(quiet());
        self.mute(teller);
        self.dial(node, teller);
        self.run_for(SECOND);
        self.receive(node, teller, PexMessage::Addrs(vec![addr]).encode());
        self.kill(teller);
        self.run_for(SECOND);
    }

    /// The other end of the node's session with a peer sends this on channel 0x00.
    pub(crate) fn receive(&mut self, node: usize, from: usize, bytes: Vec<u8>) {
        let id = self.nodes[node].id;
        let peer = self.session_with(from, id).expect("a session with that peer");
        peer.try_send(CHANNEL, bytes).unwrap();
        // On its way, and what the node does about it.
        self.run_for(SECOND / 5);
    }

    /// The session of a node with another.
    pub(crate) fn session(&self, node: usize, with: usize) -> Option<ConnId> {
        self.session_with(node, self.nodes[with].id).map(|peer| peer.conn())
    }

    fn session_with(&self, node: usize, id: NodeId) -> Option<&Peer> {
        self.nodes[node].sessions.values().find(|peer| peer.id() == id)
    }

    pub(crate) fn num_peers(&self, node: usize) -> usize {
        self.nodes[node].sessions.len()
    }

    /// Who is connected to the node.
    pub(crate) fn peers(&self, node: usize) -> impl Iterator<Item = usize> {
        let number = |peer: &Peer| self.nodes.iter().rposition(|other| other.id == peer.id());
        self.nodes[node].sessions.values().filter_map(number)
    }

    /// Lets time pass until it is so, looking now and then. Whether it is.
    pub(crate) fn wait(&mut self, limit: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while self.now < end {
            if is_so(self) {
                return true;
            }
            self.run_for(SECOND / 4);
        }
        is_so(self)
    }
}
