//! Nodes that look for each other while everything that can happen to them happens.

use std::{collections::BTreeSet, time::Duration};

use tmp2p::{
    BanTarget, ChannelDescriptor, Config, Direction, Limits, MemoryStore, PeerAddress,
    internals::pex::{CHANNEL, PexMessage, PexRequest},
    internals::protocol::secret::Null,
    internals::switch::{Control, Input, Request},
};

use crate::{
    dice::Dice,
    internet::{SECOND, addr},
    invariants::BY_HAND,
    node::{id_of, key_of},
    options::Options,
    reactor::Mode,
    weather::Weather,
    world::{Actor, World, seeds, unheard},
};

/// Longest pause between two dials of a persistent peer, and with its jitter.
const PERIOD: Duration = Duration::from_secs(10);

struct Churn {
    world: World<Null>,
    dice: Dice,
    nodes: usize,
    options: Vec<Options>,
    /// Who is to be connected to whom.
    persistent: BTreeSet<(usize, usize)>,
    /// Who is down.
    down: BTreeSet<usize>,
}

fn name_of(node: usize) -> String {
    format!("n{node}.example")
}

fn by_ip(node: usize) -> PeerAddress {
    format!("{}@{}", id_of(node), addr(node as u64).socket_addr()).parse().unwrap()
}

fn by_name(node: usize) -> PeerAddress {
    format!("{}@{}:26656", id_of(node), name_of(node)).parse().unwrap()
}

impl Churn {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xd15c);
        let mut weather = Weather::random(&mut dice);
        weather.send_buffer = weather.send_buffer.max(4 << 10);
        weather.recv_buffer = weather.recv_buffer.max(4 << 10);
        let mut world = World::with(seed, weather);
        world.net.borrow_mut().is_silent = dice.one_in(2);
        world.pauses = *dice.pick(&[0, 4, 30]);
        let nodes = dice.range(3..=8);
        let (mut options, mut persistent) = (Vec::new(), BTreeSet::new());
        for node in 0..nodes {
            let right = vec![addr(node as u64).socket_addr()];
            world.names.insert(name_of(node), Some(right));
            let own = Self::options(node, nodes, &mut dice);
            let wanted = own.config.persistent_peers.iter();
            let numbers = wanted.filter_map(|peer| (0..nodes).find(|n| id_of(*n) == peer.id()));
            persistent.extend(numbers.map(|other| (node, other)));
            world.add(own.clone());
            options.push(own);
        }
        Self { world, dice, nodes, options, persistent, down: BTreeSet::new() }
    }

    fn options(node: usize, nodes: usize, dice: &mut Dice) -> Options {
        let some = |one_in: usize, dice: &mut Dice| {
            let others = (0..nodes).filter(|other| *other != node);
            others.filter(|_| dice.one_in(one_in)).collect::<Vec<_>>()
        };
        let at = |nodes: Vec<usize>, dice: &mut Dice| {
            let at = |n| if dice.one_in(2) { by_ip(n) } else { by_name(n) };
            nodes.into_iter().map(at).collect::<Vec<PeerAddress>>()
        };
        let seeds = some(2, dice);
        let persistent = some(4, dice);
        let config = Config {
            seed_mode: dice.one_in(4),
            seeds: at(seeds, dice),
            persistent_peers: at(persistent, dice),
            unconditional_peer_ids: some(5, dice).into_iter().map(id_of).collect(),
            private_peer_ids: some(5, dice).into_iter().map(id_of).collect(),
            max_num_inbound_peers: dice.range(0..=4),
            max_num_outbound_peers: dice.range(0..=4),
            addr_book_strict: dice.one_in(2),
            allow_duplicate_ip: dice.one_in(2),
            persistent_peers_max_dial_period: PERIOD,
            ensure_peers_period: dice.range(3..=30) as u32 * SECOND,
            pex_request_interval: dice.range(10..=30) as u32 * SECOND,
            good_after: dice.range(1..=60) as u32 * SECOND,
            crawl_period: dice.range(5..=60) as u32 * SECOND,
            crawl_timeout: dice.range(1..=15) as u32 * SECOND,
            crawl_concurrency: dice.range(1..=4),
            seed_disconnect_wait_period: dice.range(5..=100) as u32 * SECOND,
            ..Config::default()
        };
        Options {
            config,
            key: Some(key_of(node)),
            addr: Some(addr(node as u64).socket_addr()),
            reactors: vec![vec![ChannelDescriptor::new(0x20)]],
            ..Options::default()
        }
    }

    fn act(&mut self) {
        let node = self.dice.below(self.nodes);
        let other = (node + self.dice.range(1..=self.nodes - 1)) % self.nodes;
        match self.dice.below(33) {
            0..=2 => _ = self.world.dial(node, other),
            3 => {
                let addr = by_name(other);
                self.world.dial_for(node, addr, tmp2p::internals::switch::Origin::Operator);
            }
            4..=5 => _ = self.world.cut(node, other),
            6 => {
                if let Some(peer) = self.world.peer(node, other) {
                    if self.dice.one_in(2) { peer.stop("enough") } else { peer.flush_stop() }
                }
            }
            7..=8 => self.toggle(node),
            9 => self.restart(node),
            10..=11 => self.ban(node, other),
            12 => self.unban(node),
            13 => self.mark(node, other),
            14..=15 => self.world.request(node, PexRequest::MorePeers),
            16 => {
                self.persistent.insert((node, other));
                let addr = if self.dice.one_in(2) { by_ip(other) } else { by_name(other) };
                self.control(node, Control::AddPersistent(addr));
            }
            17 => {
                self.persistent.remove(&(node, other));
                self.control(node, Control::RemovePersistent(id_of(other)));
            }
            18 => {
                let by = *self.dice.pick(&[1, 10, 100, 3600, 100_000]) * SECOND;
                let is_forward = self.dice.one_in(2);
                self.world.jump(node, by, is_forward);
            }
            19..=21 => self.hold(node),
            22..=23 => {
                let at = addr(node as u64).socket_addr();
                let mut net = self.world.net.borrow_mut();
                if !net.black_holes.remove(&at) {
                    net.black_holes.insert(at);
                }
            }
            24 => {
                let (right, wrong) =
                    (addr(node as u64).socket_addr(), addr(other as u64).socket_addr());
                let to = [None, Some(vec![wrong]), Some(vec![wrong, right]), Some(vec![right])];
                self.world.names.insert(name_of(node), self.dice.pick(&to).clone());
            }
            25 => {
                let id = id_of(other);
                let is_new = self.dice.one_in(2);
                if is_new {
                    self.control(node, Control::AddUnconditional(id));
                } else {
                    self.control(node, Control::RemoveUnconditional(id));
                }
            }
            26 => {
                let addrs = (0..self.nodes).map(|n| if n % 2 == 0 { by_ip(n) } else { by_name(n) });
                self.control(node, Control::DialPeers(addrs.collect()));
            }
            27 => {
                let max_num_inbound_peers = self.options[node].config.max_num_inbound_peers;
                let max_num_outbound_peers = self.dice.range(0..=4);
                let limits = Limits { max_num_inbound_peers, max_num_outbound_peers };
                self.control(node, Control::SetLimits(limits));
                self.world.request(node, PexRequest::SetMaxOutbound(max_num_outbound_peers));
            }
            28 => self.misbehave(node, other),
            29..=30 => self.welcome(node, other),
            31 => {
                if let Some(peer) = self.world.peer(node, other) {
                    let is_good = self.dice.one_in(2);
                    if is_good { peer.mark_good() } else { peer.mark_bad(60 * SECOND, BY_HAND) }
                }
            }
            _ => {
                if let Some(peer) = self.world.peer(node, other) {
                    // Refused is as good as sent here.
                    let _ = self.world.send(node, &peer, 0x20, 200);
                }
            }
        }
        let pause = *self.dice.pick(&[1, 10, 100, 1000, 4000, 10_000]);
        self.world.run_for(Duration::from_millis(pause));
    }

    /// A node that is up goes down, and one that is down comes up with what its book holds.
    fn toggle(&mut self, node: usize) {
        if self.down.remove(&node) {
            self.world.revive(node);
            self.forget_changes(node);
        } else {
            self.down.insert(node);
            self.world.kill(node);
        }
    }

    fn restart(&mut self, node: usize) {
        if self.dice.one_in(2) {
            self.world.nodes[node].pex.store = MemoryStore::new();
        }
        let are_told = self.dice.one_in(2);
        self.down.remove(&node);
        self.world.restart(node, self.options[node].clone(), are_told);
        self.forget_changes(node);
    }

    /// A node that starts knows what is configured.
    fn forget_changes(&mut self, node: usize) {
        self.persistent.retain(|(of, _)| *of != node);
        let wanted = self.options[node].config.persistent_peers.iter();
        let numbers = wanted.filter_map(|peer| (0..self.nodes).find(|n| id_of(*n) == peer.id()));
        self.persistent.extend(numbers.map(|other| (node, other)));
    }

    fn control(&mut self, node: usize, control: Control) {
        let request = Input::Request(Request::Control { control, reply: unheard() });
        self.world.nodes[node].inputs.push_back(request);
    }

    fn ban(&mut self, node: usize, other: usize) {
        let ip = addr(other as u64).ip();
        let target = if self.dice.one_in(2) { id_of(other).into() } else { BanTarget::from(ip) };
        let duration = self.dice.one_in(2).then(|| self.dice.range(1..=60) as u32 * SECOND);
        let (reason, reply) = (BY_HAND.to_owned(), unheard());
        self.world.request(node, PexRequest::Ban { target, duration, reason, reply });
    }

    /// Lifts every ban of the node.
    fn unban(&mut self, node: usize) {
        let bans = self.world.nodes[node].pex.core.book().bans().clone();
        for ban in bans.iter() {
            let (target, reply) = (ban.target, unheard());
            self.world.request(node, PexRequest::Unban { target, reply });
        }
    }

    fn mark(&mut self, node: usize, other: usize) {
        let id = id_of(other);
        let request = if self.dice.one_in(2) {
            let (duration, reason) = (100 * SECOND, BY_HAND.to_owned());
            PexRequest::MarkBad { id, addr: None, duration, reason }
        } else {
            PexRequest::MarkGood { id }
        };
        self.world.request(node, request);
    }

    /// The node tells another what nobody has asked for.
    fn misbehave(&mut self, node: usize, other: usize) {
        if let Some(peer) = self.world.peer(node, other) {
            // Refused is as good as sent here.
            let _ = peer.try_send(CHANNEL, PexMessage::Addrs(Vec::new()).encode());
        }
    }

    /// A guest becomes reserved while it may be about to be sent away.
    fn welcome(&mut self, node: usize, guest: usize) {
        self.world.dial(guest, node);
        let id = id_of(guest);
        let is_there = |w: &World<Null>| w.nodes[node].sessions.values().any(|p| p.id() == id);
        if self.world.run_until(SECOND, is_there) {
            let wait = self.dice.range(0..=50) as u64;
            self.world.run_for(Duration::from_millis(wait));
            if self.dice.one_in(2) {
                self.world.hold(Actor::Switch(node), SECOND);
            }
            self.control(node, Control::AddUnconditional(id));
        }
    }

    fn hold(&mut self, node: usize) {
        let actors = [Actor::Loop, Actor::Switch, Actor::Commands, Actor::Pex, Actor::Resolver];
        let actor = self.dice.pick(&actors)(node);
        let time = self.dice.range(0..=8000) as u64;
        self.world.hold(actor, Duration::from_millis(time));
    }

    /// Once nothing is in anybody's way, everybody has whom it is to have, and knows what the
    /// others know.
    fn settle(&mut self) {
        self.world.net.borrow_mut().black_holes.clear();
        for node in 0..self.nodes {
            if self.down.contains(&node) {
                self.toggle(node);
            }
            self.world.set_mode(node, 0, Mode::Reads);
            let right = vec![addr(node as u64).socket_addr()];
            self.world.names.insert(name_of(node), Some(right));
        }
        self.world.run_for(10 * SECOND);
        // Some were asked for a moment ago.
        for _ in 0..2 {
            (0..self.nodes).for_each(|node| self.unban(node));
            self.world.run_for(10 * SECOND);
        }
        // A session with nobody is noticed within 105 seconds; then there is a full pause.
        self.world.run_for(105 * SECOND + 3 * PERIOD);
        for (a, b) in self.persistent.clone() {
            if self.is_refused(a, b) {
                continue;
            }
            let is_up = |w: &World<Null>| w.peer(a, b).is_some() && w.peer(b, a).is_some();
            // It may be on its way.
            let is_up = self.world.run_until(2 * PERIOD, is_up);
            assert!(is_up, "{a} does not find {b}: {:?}", self.world.nodes[a].events.last());
            let world = &self.world;
            let (at_a, at_b) = (world.peer(a, b).unwrap(), world.peer(b, a).unwrap());
            let at_a = &world.nodes[a].socks[&at_a.conn()];
            let at_b = &world.nodes[b].socks[&at_b.conn()];
            assert_eq!(world.net.borrow().socks[*at_a].peer, Some(*at_b), "two sessions");
        }
    }

    /// Whether `b` may send `a` away: a seed does so with every guest, a full node with most.
    fn is_refused(&self, a: usize, b: usize) -> bool {
        let (node, config) = (&self.world.nodes[b], &self.options[b].config);
        let is_full = node.switch.num_limited(Direction::Inbound) >= config.max_num_inbound_peers;
        !node.witness.is_reserved(&id_of(a)) && (config.seed_mode || is_full)
    }
}

#[test]
fn nodes_find_whom_they_are_to_have_whatever_has_happened() {
    let (mut ups, mut dials) = (0, 0);
    for seed in seeds(100) {
        let mut churn = Churn::new(seed);
        for _ in 0..60 {
            churn.act();
        }
        churn.settle();
        let nodes = &churn.world.nodes;
        ups += nodes.iter().map(|node| node.ups_and_downs().0).sum::<usize>();
        dials += nodes.iter().map(|node| node.pex.dials.len()).sum::<usize>();
        churn.world.stop_all();
    }
    let is_one = std::env::var("TMP2P_SEED").is_ok();
    assert!(is_one || (ups > 1000 && dials > 1000), "{ups} sessions, {dials} dials");
}
