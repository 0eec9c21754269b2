//! What it costs to keep one node out of another one that is full.

use std::time::Duration;

use tmp2p::{Config, NetAddress, NodeKey, PeerAddress, Switch};

use crate::world::{MINUTE, Rules, SECOND, World, node_info};

/// The node with as many guests as it takes (40, by default), all of them an attacker's, from so many networks
/// (/24); twice as many as have a place dial it, each again with the pauses of a persistent peer. How long until
/// somebody else is let in who dials it as a persistent peer, and `None` if that has not happened within the
/// limit.
pub(crate) fn run(rules: Rules, networks: usize, limit: Duration, seed: u64) -> Option<Duration> {
    let mut world = World::new(rules, seed);
    let victim = world.member();
    // Without discovery: it is about who is let in.
    world.start(victim, |config| (config.pex, config.max_num_outbound_peers) = (false, 0));
    let at = world.members[victim].addr;
    let guests = 2 * Config::default().max_num_inbound_peers;
    for guest in 0..guests {
        dial_for_ever(&mut world, address(guest % networks, guest / networks), at.into());
        world.run(SECOND / 4);
    }
    world.run(10 * MINUTE);
    let_in_after(&mut world, at, limit)
}

/// Somebody from elsewhere dials it as a persistent peer: after how long it is let in, if that is within the limit.
pub(crate) fn let_in_after(world: &mut World, at: NetAddress, limit: Duration) -> Option<Duration> {
    let friend = dial_for_ever(world, [77, 7, 7, 7], at.into());
    // Who is sent away at once was not let in.
    let mut stayed = 0;
    world.time_until(limit, |world| {
        let is_up = !world.network.switch(friend).peers().is_empty();
        stayed = if is_up { stayed + 1 } else { 0 };
        stayed == 10
    })
}

/// Of an attacker: this host in this network (/24), each of which is in another /16.
pub(crate) fn address(network: usize, host: usize) -> [u8; 4] {
    let [a, b] = (network as u16).to_be_bytes();
    [66 + a, b, 1, host as u8 + 1]
}

fn dial_for_ever(world: &mut World, ip: [u8; 4], to: PeerAddress) -> tmp2p::testing::NodeIndex {
    let key = NodeKey::from_seed(rand::RngExt::random(&mut world.rng));
    let config = Config {
        laddr: Some(std::net::SocketAddr::from((ip, 26656)).into()),
        pex: false,
        persistent_peers: vec![to],
        ..Config::default()
    };
    world.network.add(Switch::builder(config, key, node_info())).expect("a start")
}
