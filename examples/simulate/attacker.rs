//! Nodes of somebody who owns many addresses: they take everybody in, tell only of each other, and dial whom
//! they can.

use std::{cell::RefCell, rc::Rc};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IteratorRandom};
use tmp2p::{
    Config, Event, NetAddress, NodeKey, PeerAddress, ReactorSpec, Switch,
    internals::pex::{self, CHANNEL, PexMessage},
    testing::NodeIndex,
};

use crate::world::{World, everybody, node_info};

/// Sessions that each of them dials.
const MOST_DIALED: usize = 20;

/// All nodes of one attacker.
pub(crate) struct Attacker {
    pub(crate) nodes: Vec<(NodeIndex, NetAddress)>,
}

impl Attacker {
    /// So many nodes, all in one /16 or wherever others are.
    pub(crate) fn new(world: &mut World, nodes: usize, is_in_one_network: bool) -> Self {
        // What each of them tells of.
        let told = Rc::new(RefCell::new(Vec::new()));
        let nodes = (0..nodes).map(|_| {
            let at = match is_in_one_network {
                true => world.internet.within([66, 6], &mut world.rng),
                false => world.internet.anywhere(&mut world.rng),
            };
            let key = NodeKey::from_seed(world.rng.random());
            let addr = NetAddress::new(key.id(), at.ip(), at.port());
            let config = Config {
                laddr: Some(at.into()),
                pex: false,
                max_num_inbound_peers: 100_000,
                exempt_cidrs: everybody(),
                ..Config::default()
            };
            let mut builder = Switch::builder(config, key, node_info());
            let spec = ReactorSpec::new("attacker").channel(pex::channel());
            let reactor = builder.reactor(spec).expect("the only reactor");
            let node = world.network.add(builder).expect("a start");
            let mut rng = StdRng::from_rng(&mut world.rng);
            let lies: Rc<RefCell<Vec<NetAddress>>> = told.clone();
            world.network.drive(node, reactor, move |event| {
                let Event::Message(message) = event else { return };
                if let Ok(PexMessage::Request) = PexMessage::decode(message.payload()) {
                    let some = lies.borrow().iter().copied().sample(&mut rng, pex::MAX_ADDRS);
                    let answer = PexMessage::Addrs(some).encode();
                    let _ = message.peer().try_send(CHANNEL, answer);
                }
            });
            (node, addr)
        });
        let nodes: Vec<_> = nodes.collect();
        told.borrow_mut().extend(nodes.iter().map(|(_, addr)| *addr));
        Self { nodes }
    }

    /// Each of them dials one of these, unless it has dialed enough.
    pub(crate) fn dial(&self, world: &mut World, victims: &[NetAddress]) {
        for (node, _) in &self.nodes {
            let switch = world.network.switch(*node);
            if switch.num_peers().outbound < MOST_DIALED {
                let victim = victims[world.rng.random_range(0..victims.len())];
                let _ticket = switch.dial(PeerAddress::from(victim));
            }
        }
    }

    /// How many of these are its nodes.
    pub(crate) fn count(&self, ids: &[tmp2p::NodeId]) -> usize {
        ids.iter().filter(|id| self.nodes.iter().any(|(_, addr)| addr.id() == **id)).count()
    }
}
