//! All dials under way count, whoever asked, and each has one outcome.

use std::time::Duration;

use tmp2p::{Config, Direction, internals::pex::PexRequest, internals::switch::Control};

use crate::{
    internet::{SECOND, addr, internet, quiet},
    world::World,
};

/// Attempts into nothing take so long that they count for the whole test.
const LONG: Duration = Duration::from_secs(300);

fn patient(most: usize) -> Config {
    Config { max_num_outbound_peers: most, dial_timeout: LONG, ..Config::default() }
}

#[test]
fn dials_of_the_operator_and_of_persistent_peers_leave_fewer_to_peer_exchange() {
    let mut world = internet(600);
    let persistent_peers = vec![addr(700).into(), addr(701).into()];
    let node = world.join(Config { persistent_peers, dial_spread: Duration::ZERO, ..patient(6) });
    world.run_for(SECOND);
    world.dial_at(node, addr(702).id(), &addr(702).socket_addr().to_string());
    world.control(node, Control::DialPeers(vec![addr(703).into()]));
    world.run_for(SECOND);
    world.tell(node, (1000..1100).map(addr));
    // What peer exchange asks for ends after six seconds.
    for _ in 0..100 {
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND / 20);
        assert!(world.nodes[node].switch.num_dialing() <= 6);
    }
    let asked = world.nodes[node].pex.dials.len();
    assert_eq!((asked, world.nodes[node].switch.num_dialing()), (2, 6));
}

/// Who is connected counts, and who is being dialed, until both are as many as there may be.
#[test]
fn outbound_peers_and_dials_together_are_never_more_than_the_limit() {
    let mut world = internet(601);
    let node = world.join(Config { max_num_outbound_peers: 4, ..Config::default() });
    let alive: Vec<_> = (0..10).map(|_| world.join(quiet())).collect();
    let alive: Vec<_> = alive.into_iter().map(|other| world.net_addr(other)).collect();
    world.tell(node, alive.into_iter().chain((1000..1100).map(addr)));
    let is_within = |w: &World<tmp2p::internals::protocol::secret::Null>| {
        let switch = &w.nodes[node].switch;
        switch.num_limited(Direction::Outbound) + switch.num_dialing() <= 4
    };
    for _ in 0..4800 {
        world.run_for(SECOND / 4);
        assert!(is_within(&world), "at {:?}", world.now);
    }
    assert_eq!(world.num_peers(node), 4);
}

#[test]
fn an_operators_dial_does_not_end_what_peer_exchange_knows_of_its_own() {
    let mut world = internet(602);
    let node = world.join(patient(1));
    let dead = addr(700);
    world.tell(node, [dead]);
    world.request(node, PexRequest::MorePeers);
    world.run_for(SECOND);
    assert_eq!(world.asked_to_dial(node, dead.id()).len(), 1);
    world.tell(node, (1000..1010).map(addr));
    for _ in 0..5 {
        let ticket = world.dial_at(node, dead.id(), &dead.socket_addr().to_string());
        world.run_for(SECOND / 3);
        // "Already being dialed" is for who asked last.
        assert_eq!(world.answer(node, ticket), "already_dialing");
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND / 3);
        assert!(world.nodes[node].pex.core.is_dialing(&dead.id()));
    }
    assert_eq!(world.nodes[node].pex.dials.len(), 1, "the one place is taken");
    // Its six seconds are over.
    world.run_for(3 * SECOND);
    let known = world.nodes[node].pex.core.book().get(&dead.id()).unwrap();
    assert_eq!((known.history().attempts, known.history().dial_failures), (1, 1), "counted once");
    assert!(world.nodes[node].pex.dials.len() > 1, "it goes on with others");
}

/// The operator comes first, and peer exchange second.
#[test]
fn a_dial_of_peer_exchange_for_whom_the_operator_dials_ends_at_once_and_counts_for_nobody() {
    let mut world = internet(603);
    let node = world.join(patient(2));
    let dead = addr(700);
    world.tell(node, [dead]);
    // Both at once: who asks second is told so.
    world.dial_at(node, dead.id(), &dead.socket_addr().to_string());
    world.request(node, PexRequest::MorePeers);
    world.run_for(SECOND);
    let pex = &world.nodes[node].pex.core;
    assert!(pex.is_dialing(&dead.id()) && pex.num_dialing() == 1);
    world.run_for(LONG);
    let known = world.nodes[node].pex.core.book().get(&dead.id()).unwrap();
    assert_eq!(known.history().dial_failures, 1);
}
