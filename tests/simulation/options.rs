//! What a node is to be.

use std::net::SocketAddr;

use tmp2p::{
    ChannelDescriptor, Config, ListenAddress, NodeInfo, NodeKey,
    internals::pex,
    internals::protocol::{LinkSettings, mconn::MConnSettings},
};

/// What a node is to be.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) config: Config,
    pub(crate) network: &'static str,
    /// The channels of each reactor.
    pub(crate) reactors: Vec<Vec<ChannelDescriptor>>,
    /// The key of this node, if not the one of its number.
    pub(crate) key: Option<NodeKey>,
    /// Where it listens, if not at the address of its number.
    pub(crate) addr: Option<SocketAddr>,
    /// Accepted connections wait for a verdict, which the test gives.
    pub(crate) filter_connections: bool,
    /// The switch goes on without reactors that are gone.
    pub(crate) may_end: bool,
    /// Authenticated nodes wait for one, too.
    pub(crate) filter_peers: bool,
    /// How many descriptors its process may have.
    pub(crate) descriptors: usize,
}

impl Default for Options {
    /// Two reactors; the first has two channels of different priority.
    fn default() -> Self {
        let channel = |id: u8, priority| {
            ChannelDescriptor::new(id).priority(priority).recv_message_capacity(1 << 20)
        };
        Self {
            config: Config {
                send_rate: 0,
                recv_rate: 0,
                // All nodes live in a few networks.
                allow_duplicate_ip: true,
                max_num_inbound_peers: 1000,
                exempt_cidrs: vec!["0.0.0.0/0".parse().unwrap()],
                pex: false,
                ..Config::default()
            },
            network: "simulation",
            reactors: vec![vec![channel(0x20, 5), channel(0x81, 1)], vec![channel(0x30, 2)]],
            key: None,
            addr: None,
            filter_connections: false,
            filter_peers: false,
            descriptors: usize::MAX,
            may_end: false,
        }
    }
}

impl Options {
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut options = Self::default();
        change(&mut options.config);
        options
    }

    /// Every channel with the number of its reactor; peer exchange is the last one.
    pub(crate) fn channels(&self) -> Vec<(ChannelDescriptor, usize)> {
        let of = |(number, channels): (usize, &Vec<ChannelDescriptor>)| {
            channels.iter().map(move |c| (*c, number)).collect::<Vec<_>>()
        };
        let own = self.config.pex.then(|| (pex::channel(), self.reactors.len()));
        self.reactors.iter().enumerate().flat_map(of).chain(own).collect()
    }

    pub(crate) fn link(&self, key: &NodeKey, addr: SocketAddr) -> LinkSettings {
        let channels = self.channels();
        let node_info = NodeInfo::new(self.network, "simulated").unwrap();
        LinkSettings {
            key: key.clone(),
            node_info: node_info
                .with_id(key.id())
                .with_listen_addr(&ListenAddress::from(addr))
                .with_channels(channels.iter().map(|(c, _)| c.id())),
            channels: channels.iter().map(|(c, _)| *c).collect(),
            mconn: MConnSettings::of(&self.config),
        }
    }
}
