//! What is promised of sessions, under random schedules of everything that can happen.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tmp2p::{
    DisconnectReason, Peer,
    internals::protocol::secret::{ChaCha, Cipher, Null},
};

use crate::{
    dice::Dice,
    options::Options,
    reactor::{Mode, SessionKey},
    weather::Weather,
    world::{Actor, World, seeds},
};

const NODES: usize = 4;

/// A schedule, and what it knows of losses.
struct Schedule<C: Cipher> {
    world: World<C>,
    dice: Dice,
    /// Sessions that somebody ended at once or without flushing.
    hard_ends: BTreeSet<SessionKey>,
    /// Sockets that were reset on the way.
    cuts: BTreeSet<usize>,
    /// Handles of sessions, also long after their end.
    old: Vec<Peer>,
}

impl<C: Cipher> Schedule<C> {
    fn new(seed: u64, rearms: bool) -> Self {
        let mut dice = Dice::new(seed ^ 0xabcd);
        let mut world = World::with(seed, Weather { rearms, ..Weather::random(&mut dice) });
        world.pauses = *dice.pick(&[0, 3, 30]);
        for _ in 0..NODES {
            let options = random_options(&mut dice);
            world.add(options);
        }
        let (hard_ends, cuts) = (BTreeSet::new(), BTreeSet::new());
        Self { world, dice, hard_ends, cuts, old: Vec::new() }
    }

    fn run(&mut self, actions: usize) {
        for _ in 0..actions {
            self.act();
            let pause = self.dice.range(0..=10_000) as u64;
            self.world.run_for(Duration::from_micros(pause));
        }
    }

    fn act(&mut self) {
        let (node, reactor) = (self.dice.below(NODES), self.dice.below(2));
        let other = if self.dice.one_in(40) {
            node
        } else {
            (node + self.dice.range(1..=NODES - 1)) % NODES
        };
        match self.dice.below(200) {
            0..=49 => self.dial(node, other),
            50..=124 => self.send(node),
            125..=139 => self.end(node, reactor),
            140..=144 => self.cut(node, other),
            145..=174 => {
                let modes =
                    [Mode::Reads, Mode::Reads, Mode::Keeps(3), Mode::Keeps(40), Mode::Stuck];
                let mode = *self.dice.pick(&modes);
                self.world.set_mode(node, reactor, mode);
            }
            175..=189 => {
                let actors = [
                    Actor::Loop(node),
                    Actor::Switch(node),
                    Actor::Commands(node),
                    Actor::Reactor(node, reactor),
                ];
                let actor = *self.dice.pick(&actors);
                let time = self.dice.range(0..=200) as u64;
                self.world.hold(actor, Duration::from_millis(time));
            }
            190..=195 => {
                let is_short = self.dice.one_in(3);
                let mut net = self.world.net.borrow_mut();
                net.faults.out_of_files.clear();
                if is_short {
                    net.faults.out_of_files.insert(node);
                }
            }
            _ => {
                let id = self.world.nodes[other].id;
                let is_unwelcome = self.dice.one_in(3);
                let mut inits = self.world.nodes[node].init_log.lock().unwrap();
                inits.unwelcome.clear();
                if is_unwelcome {
                    inits.unwelcome.insert((reactor, id));
                }
            }
        }
    }

    fn cut(&mut self, node: usize, other: usize) {
        let (a, b) = (self.world.nodes[node].host, self.world.nodes[other].host);
        let mut net = self.world.net.borrow_mut();
        let Some(sock) = net.sock_between(a, b) else { return };
        self.cuts.extend([Some(sock), net.socks[sock].peer].into_iter().flatten());
        net.cut(sock);
    }

    fn dial(&mut self, node: usize, other: usize) {
        let id = self.world.nodes[other].id;
        let at = match self.dice.below(20) {
            0 => format!("node{other}.example:26656"),
            1 => "nowhere.example:26656".to_owned(),
            2 => "10.0.77.7:26656".to_owned(),
            // Somebody else may be there.
            3 => format!("10.0.0.{}:26656", 1 + self.dice.below(NODES)),
            _ => self.world.nodes[other].addr.to_string(),
        };
        self.world.dial_at(node, id, &at);
    }

    fn send(&mut self, node: usize) {
        let peers = self.world.nodes[node].reactors[0].peers();
        if peers.is_empty() {
            return;
        }
        let peer = self.dice.pick(&peers).clone();
        for _ in 0..self.dice.range(1..=20) {
            let channel = *self.dice.pick(&[0x20, 0x81, 0x30]);
            let len = match self.dice.below(20) {
                0 => self.dice.range(0..=40_000),
                1 => self.dice.range(1000..=1100),
                _ => self.dice.range(0..=200),
            };
            // Refused is as good as sent here: both are counted.
            let _ = self.world.send(node, &peer, channel, len);
        }
        self.old.push(peer);
    }

    fn end(&mut self, node: usize, reactor: usize) {
        let peers = self.world.nodes[node].reactors[reactor].peers();
        if peers.is_empty() {
            return;
        }
        let peer = self.dice.pick(&peers).clone();
        let key = (self.world.nodes[node].host, peer.conn());
        match self.dice.below(4) {
            0 => {
                peer.stop("enough");
                self.hard_ends.insert(key);
            }
            1 => {
                peer.stop_gracefully();
                self.hard_ends.insert(key);
            }
            _ => peer.flush_stop(),
        }
        // What ended long ago is not ended again, and neither is its successor.
        for old in &self.old {
            if old.is_closed() {
                old.stop("late");
            }
        }
        self.old.push(peer);
    }

    /// Nothing was lost but what may be.
    fn check_losses(&self) {
        let nodes = &self.world.nodes;
        let mut sessions = BTreeMap::new();
        for node in nodes {
            for (conn, sock) in &node.socks {
                if node.introduced.contains_key(conn) {
                    sessions.insert(*sock, (node.host, *conn));
                }
            }
        }
        let net = self.world.net.borrow();
        for (key, sent) in self.world.ledger.borrow().iter() {
            let Some(sock) = nodes[key.0].socks.get(&key.1) else { continue };
            let other = net.socks[*sock].peer.and_then(|peer| sessions.get(&peer));
            let (accepted, delivered) =
                (sent.accepted.values().sum::<u64>(), sent.delivered.values().sum::<u64>());
            let Some(other) = other else {
                // The other side refused the connection that we took for a session.
                assert_eq!(delivered, 0);
                continue;
            };
            if let Some(told) = sent.other {
                assert_eq!(told, *other);
            }
            let reason = self.world.down(other.0, 0, other.1).unwrap();
            let is_local = matches!(reason.kind(), "reactor" | "finished" | "stopped" | "operator");
            let may_lose = self.cuts.contains(sock) || self.hard_ends.contains(key) || is_local;
            let ours = self.world.down(key.0, 0, key.1).unwrap();
            assert!(
                may_lose || delivered == accepted,
                "{delivered} of {accepted} from {key:?} ({ours}) to {other:?} ({reason})"
            );
            assert!(
                !matches!(reason, DisconnectReason::Protocol(_)),
                "an honest peer was blamed: {reason}"
            );
        }
    }
}

fn random_options(dice: &mut Dice) -> Options {
    let mut options = Options::default();
    let config = &mut options.config;
    config.reactor_budget = *dice.pick(&[1, 2000, 1 << 20]);
    config.parking_per_peer = *dice.pick(&[1, 3000, 4 << 20]);
    config.parking_total = config.parking_per_peer.max(*dice.pick(&[1, 10_000, 256 << 20]));
    config.send_queue_bytes = *dice.pick(&[0, 1000, 256 << 10]);
    config.max_packet_msg_payload_size = *dice.pick(&[2, 100, 1024]);
    (config.send_rate, config.recv_rate) =
        *dice.pick(&[(0, 0), (64_000, 64_000), (5_120_000, 5_120_000)]);
    // No deadline is to cost messages here.
    config.close_timeout = Duration::from_secs(600);
    config.drain_timeout = Duration::from_secs(600);
    options
}

fn run_schedule<C: Cipher>(seed: u64) -> u64 {
    run_schedule_on::<C>(seed, false)
}

fn run_schedule_on<C: Cipher>(seed: u64, rearms: bool) -> u64 {
    let mut schedule = Schedule::<C>::new(seed, rearms);
    schedule.run(400);
    let world = &mut schedule.world;
    for node in 0..NODES {
        for reactor in 0..2 {
            world.set_mode(node, reactor, Mode::Reads);
        }
    }
    world.net.borrow_mut().faults.out_of_files.clear();
    // One of them stops in the middle of everything.
    world.stop(0, Duration::from_secs(600));
    world.run_for(Duration::from_secs(100));
    world.stop_all();
    schedule.check_losses();
    schedule.world.trace()
}

#[test]
fn sessions_keep_every_promise_under_random_schedules() {
    for seed in seeds(40) {
        run_schedule::<Null>(seed);
    }
}

/// mio on Windows tells of a socket again only after a call on it has said `WouldBlock`: who takes a
/// short read or write for the end of what there is waits for ever.
#[test]
fn everything_arrives_where_a_short_read_or_write_does_not_mean_that_nothing_is_left() {
    for seed in seeds(20) {
        let mut dice = Dice::new(seed);
        let sizes = [700, 3000, 64 << 10];
        let (send_buffer, recv_buffer) = (*dice.pick(&sizes), *dice.pick(&sizes));
        let chops = dice.one_in(2);
        let weather = Weather { send_buffer, recv_buffer, chops, rearms: true, ..Weather::fair() };
        let mut world = World::<Null>::with(seed, weather);
        let (a, b) = (world.add(Options::default()), world.add(Options::default()));
        let (at_a, at_b) = world.connect(a, b);
        for _ in 0..50 {
            let len = dice.range(0..=20_000);
            let _ = world.send(a, &at_a, 0x20, len);
            let _ = world.send(b, &at_b, 0x30, len);
            world.run_for(Duration::from_millis(dice.range(0..=20) as u64));
        }
        let is_done = |w: &World<Null>| {
            [(a, at_a.conn()), (b, at_b.conn())].into_iter().all(|(node, conn)| {
                let (accepted, delivered) = w.counts(node, conn);
                accepted == delivered
            })
        };
        assert!(world.run_until(Duration::from_secs(10), is_done), "something waits for ever");
        at_a.flush_stop();
        let is_down = |w: &World<Null>| w.down(b, 0, at_b.conn()).is_some();
        assert!(world.run_until(Duration::from_secs(1), is_down), "nobody reads the end");
        world.stop_all();
    }
}

/// The same under everything that can happen.
#[test]
fn sessions_keep_every_promise_where_a_short_read_does_not_mean_that_nothing_is_left() {
    for seed in seeds(20) {
        run_schedule_on::<Null>(seed, true);
    }
}

#[test]
fn the_real_cipher_makes_no_difference() {
    for seed in seeds(3) {
        run_schedule::<ChaCha>(seed);
    }
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in seeds(3) {
        assert_eq!(run_schedule::<Null>(seed), run_schedule::<Null>(seed));
    }
    assert_ne!(run_schedule::<Null>(1), run_schedule::<Null>(2));
}
