//! Whole nodes that meet, part, are banned, disappear and come back at random.

use std::time::Duration;

use tmp2p::{Direction, internals::protocol::secret::Null};

use crate::{
    dice::Dice,
    node::{id_of, peer_addr_of},
    options::Options,
    reactor::Mode,
    weather::Weather,
    world::{Actor, World, seeds},
};

const SECOND: Duration = Duration::from_secs(1);

struct Churn {
    world: World<Null>,
    dice: Dice,
    nodes: usize,
    /// What each is.
    options: Vec<Options>,
    /// Who is to be connected to whom at all times.
    persistent: Vec<(usize, usize)>,
}

impl Churn {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xc1c1);
        let mut weather = Weather::random(&mut dice);
        weather.send_buffer = weather.send_buffer.max(4 << 10);
        weather.recv_buffer = weather.recv_buffer.max(4 << 10);
        let mut world = World::with(seed, weather);
        world.pauses = *dice.pick(&[0, 4, 30]);
        let nodes = dice.range(2..=5);
        let (mut options, mut persistent) = (Vec::new(), Vec::new());
        for node in 0..nodes {
            let own = Options::with(|c| {
                c.max_num_inbound_peers = dice.range(0..=2);
                c.max_num_outbound_peers = dice.range(0..=2);
                c.allow_duplicate_ip = dice.one_in(2);
                c.persistent_peers_max_dial_period = dice.range(2..=20) as u32 * SECOND;
                for other in 0..nodes {
                    if other != node && dice.one_in(3) {
                        persistent.push((node, other));
                        c.persistent_peers.push(peer_addr_of(other));
                    }
                }
                if dice.one_in(3) {
                    c.unconditional_peer_ids.push(id_of(dice.below(nodes)));
                }
            });
            world.add(own.clone());
            options.push(own);
        }
        Self { world, dice, nodes, options, persistent }
    }

    fn act(&mut self) {
        let world = &mut self.world;
        let node = self.dice.below(self.nodes);
        let other = (node + self.dice.range(1..=self.nodes - 1)) % self.nodes;
        match self.dice.below(21) {
            0..=7 => _ = world.dial(node, other),
            8 => {
                world.dial(node, other);
                world.dial(other, node);
            }
            9..=10 => _ = world.cut(node, other),
            11 => {
                if let Some(peer) = world.peer(node, other) {
                    peer.stop("enough");
                }
            }
            12 => {
                if let Some(peer) = world.peer(node, other) {
                    peer.flush_stop();
                }
            }
            13 => {
                let id = world.nodes[other].id.to_string();
                let ip = world.nodes[other].addr.ip().to_string();
                let targets = [vec![], vec![], vec![id.as_str()], vec![ip.as_str()]];
                let targets = self.dice.pick(&targets);
                world.ban(node, targets);
            }
            14 => world.take_away(node),
            15 => world.bring_back(node),
            16 => {
                let mode = *self.dice.pick(&[Mode::Reads, Mode::Reads, Mode::Stuck]);
                let reactor = self.dice.below(2);
                world.set_mode(node, reactor, mode);
            }
            17 => {
                let actors = [Actor::Loop(node), Actor::Switch(node), Actor::Commands(node)];
                let actor = *self.dice.pick(&actors);
                let time = self.dice.range(0..=8000) as u64;
                world.hold(actor, Duration::from_millis(time));
            }
            18 => {
                let are_told = self.dice.one_in(2);
                world.restart(node, self.options[node].clone(), are_told);
            }
            _ => {
                if let Some(peer) = world.peer(node, other) {
                    // Refused is as good as sent here.
                    let _ = world.send(node, &peer, 0x20, 200);
                }
            }
        }
        let pause = *self.dice.pick(&[1, 10, 100, 1000, 4000]);
        world.run_for(Duration::from_millis(pause));
    }

    /// Once nothing is in anybody's way, everybody has whom it is to have, and knows what the
    /// others know.
    fn settle(&mut self) {
        let world = &mut self.world;
        for node in 0..self.nodes {
            (0..2).for_each(|reactor| world.set_mode(node, reactor, Mode::Reads));
            world.ban(node, &[]);
            world.bring_back(node);
        }
        // A session with nobody is noticed within 105 seconds; then there is a full pause.
        world.run_for(160 * SECOND);
        let is_full = |of: usize, for_whom: usize| {
            let config = &self.options[of].config;
            let is_reserved = self.persistent.contains(&(of, for_whom))
                || config.unconditional_peer_ids.contains(&id_of(for_whom));
            let taken = world.nodes[of].switch.num_limited(Direction::Inbound);
            !is_reserved && taken >= config.max_num_inbound_peers
        };
        for a in 0..self.nodes {
            for b in 0..self.nodes {
                let (at_a, at_b) = (world.peer(a, b), world.peer(b, a));
                if self.persistent.contains(&(a, b)) && is_full(b, a) && at_b.is_none() {
                    // It comes again and again, and may just be about to be refused.
                    continue;
                }
                let is_wanted = self.persistent.contains(&(a, b));
                assert!(!is_wanted || at_a.is_some(), "{a} does not find {b} again");
                let Some(at_a) = at_a else { continue };
                let at_b = at_b.expect("a session that only one end has");
                let (at_a, at_b) = (at_a.conn(), at_b.conn());
                let (a, b) = (&world.nodes[a].socks[&at_a], &world.nodes[b].socks[&at_b]);
                assert_eq!(world.net.borrow().socks[*a].peer, Some(*b), "two sessions");
            }
        }
    }
}

#[test]
fn nodes_find_each_other_again_whatever_has_happened() {
    let mut ups = 0;
    for seed in seeds(150) {
        let mut churn = Churn::new(seed);
        for _ in 0..100 {
            churn.act();
        }
        churn.settle();
        churn.world.stop_all();
        ups += churn.world.nodes.iter().map(|node| node.ups_and_downs().0).sum::<usize>();
    }
    assert!(ups > 1500 || std::env::var("TMP2P_SEED").is_ok(), "{ups} sessions: nothing happens");
}
