//! How much is said of what goes on.

#[path = "../../examples/common/news.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod news;

use log::Level;
use news::{Facts, News};
use tmp2p::{
    Config, Direction, Mono, NodeId, PeerAddress, SwitchEvent, protocol::secret::Null, switch::Log,
};

use crate::{
    dice::Dice,
    internet::{SECOND, internet, seed},
    world::World,
};

const MINUTES: usize = 120;

/// What `seed` finds of the node in this world.
fn facts(world: &World<Null>, seed: usize) -> Facts {
    let node = &world.nodes[seed];
    let of = |direction| node.sessions.values().filter(|p| p.direction() == direction).count();
    let book = node.pex.core.book();
    Facts {
        outbound: of(Direction::Outbound),
        inbound: of(Direction::Inbound),
        dialing: node.switch.num_dialing(),
        addresses: book.len(),
        bad: book.num_bad(),
        height: None,
    }
}

/// The fault: a line for each peer that came and each that went, and one each second in which the book
/// had changed.
#[test]
fn two_hours_of_a_seed_with_fifty_nodes_that_come_and_go_are_ten_lines_a_minute_at_most() {
    let mut world = internet(1701);
    let mut dice = Dice::new(1701);
    let seed = world.join(seed());
    let seeds: Vec<PeerAddress> = vec![world.net_addr(seed).into()];
    let config = || Config { seeds: seeds.clone(), max_num_outbound_peers: 3, ..Config::default() };
    let mut nodes: Vec<(usize, bool)> = (0..50).map(|_| (world.join(config()), true)).collect();
    let mut log = Log::new([], Some(1024));
    let mut news = News::new(false, 3600 * SECOND, std::time::Duration::ZERO);
    let (mut told, mut closely, mut sessions) = ([0; MINUTES], 0, 0);
    for second in 0..60 * MINUTES {
        if second % 5 == 0 {
            let number = dice.below(nodes.len());
            let (node, is_up) = &mut nodes[number];
            if *is_up {
                world.kill(*node);
            } else {
                world.revive(*node);
            }
            *is_up = !*is_up;
        }
        world.run_for(SECOND);
        let now = world.now.since(Mono::ZERO);
        let events = std::mem::take(&mut world.nodes[seed].events);
        let is_persistent = |id: &NodeId| world.nodes[seed].switch.is_persistent(id);
        for event in &events {
            sessions += usize::from(matches!(event, SwitchEvent::PeerUp { .. }));
            match log.line(event, is_persistent, world.now) {
                Some(line) if line.level <= Level::Info => told[second / 60] += 1,
                Some(_) => closely += 1,
                None => {}
            }
            told[second / 60] += usize::from(news.hear(event, now).is_some());
        }
        told[second / 60] += news.look(&facts(&world, seed), now).len();
        told[second / 60] += std::mem::take(&mut world.nodes[seed].pex.notices).len();
    }
    let (most, all) = (told.iter().max().unwrap(), told.iter().sum::<usize>());
    assert!(*most <= 10, "{told:?}");
    // A summary every five minutes, and the first peer.
    assert!((MINUTES / 5..MINUTES / 5 + 10).contains(&all), "{told:?}");
    assert!(sessions > 1000 && closely > 2000, "{sessions} sessions, {closely} lines at debug");
}
