//! Evicting is the switch's, and each eviction is an event with its reason.

use tmp2p::{
    Config, DisconnectReason,
    internals::pex::PexMessage,
    internals::switch::{Control, Input, Request},
};

use crate::{
    internet::{SECOND, internet, quiet, seed},
    world::{Actor, unheard},
};

#[test]
fn a_seeds_guests_and_those_it_has_crawled_leave_with_a_reason() {
    let mut world = internet(950);
    let seed = world.join(seed());
    let crawled = world.join(quiet());
    let at = world.net_addr(crawled);
    world.tell(seed, [at]);
    world.run_for(5 * SECOND);
    assert_eq!(world.endings(seed, at.id()), [DisconnectReason::Finished]);
    let guest = world.join(quiet());
    world.dial(guest, seed);
    world.run_for(SECOND);
    let id = world.nodes[guest].id;
    // It asks as it comes up, is answered and sent away; later it is crawled as well.
    assert_eq!(world.endings(seed, id)[0], DisconnectReason::Finished);
    let answers = world.nodes[seed].pex.sent.iter();
    let to_guest = answers.filter(|(_, to, m)| *to == id && matches!(m, PexMessage::Addrs(_)));
    assert_eq!(to_guest.count(), 1);
}

#[test]
fn a_seeds_guest_that_overstays_leaves_with_a_reason() {
    let mut world = internet(951);
    let config = Config { seed_disconnect_wait_period: 60 * SECOND, ..seed() };
    let seed = world.join(config);
    let guest = world.join(Config { pex: false, ..quiet() });
    world.dial(guest, seed);
    world.run_for(59 * SECOND);
    assert_eq!(world.endings(seed, world.nodes[guest].id), []);
    world.run_for(2 * SECOND);
    // Later it is crawled as well.
    assert_eq!(world.endings(seed, world.nodes[guest].id)[0], DisconnectReason::Finished);
}

/// Peer exchange asks, and the switch knows better: the node has become reserved meanwhile.
#[test]
fn who_has_become_reserved_meanwhile_is_not_evicted() {
    for seed_of_world in 0..10 {
        let mut world = internet(960 + seed_of_world);
        let config = Config { seed_disconnect_wait_period: 60 * SECOND, ..seed() };
        let seed = world.join(config);
        let guest = world.join(Config { pex: false, ..quiet() });
        world.dial(guest, seed);
        world.run_for(59 * SECOND);
        // The operator is first in the queue, and the switch slow.
        world.hold(Actor::Switch(seed), 3 * SECOND);
        let id = world.nodes[guest].id;
        let (reply, control) = (unheard(), Control::AddUnconditional(id));
        world.nodes[seed].inputs.push_back(Input::Request(Request::Control { control, reply }));
        world.run_for(600 * SECOND);
        assert!(world.session(seed, guest).is_some());
        assert_eq!(world.endings(seed, id), []);
    }
}
