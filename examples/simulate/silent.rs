//! What it costs to keep one node out of another one that has free places: connections that authenticate and
//! then say nothing, so that each is a stranger in handshake until its time is over.

use std::{collections::VecDeque, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{
    NetAddress, NodeKey,
    internals::{
        event_loop::Sockets,
        protocol::secret::{Handshake, Null, Progress},
        testing::{agreement, by_hand, sockets::SimSockets},
    },
};

use crate::{
    line::Line,
    reference::Transport,
    siege,
    world::{MINUTE, Rules, SECOND, World},
};

/// How many there are at once.
const CONNECTIONS: usize = 1000;
/// How long after its end a connection is begun anew.
const PAUSE: Duration = SECOND;
/// Hosts of a network (/24).
const HOSTS: usize = 254;

/// An attacker has so many networks (/24, each in another /16), from which it makes its connections to a node that
/// nobody else is connected with. How long until somebody else is let in who dials it as a persistent peer, and
/// `None` if that has not happened within the limit.
pub(crate) fn run(rules: Rules, networks: usize, limit: Duration, seed: u64) -> Option<Duration> {
    let mut world = World::new(rules, seed);
    let victim = match rules {
        Rules::Ours => {
            let victim = world.member();
            // Without discovery: it is about who is let in.
            world.start(victim, |config| (config.pex, config.max_num_outbound_peers) = (false, 0));
            world.members[victim].addr
        }
        Rules::Reference => {
            let at = world.internet.somewhere(&mut world.rng);
            let key = NodeKey::from_seed(world.rng.random());
            let victim = NetAddress::new(key.id(), at.ip(), at.port());
            let mut transport = Transport::new(&mut world, key, victim);
            world.by_hand.push(Box::new(move |now| transport.tick(now)));
            victim
        }
    };
    // One after the other, as often as there are hosts.
    let hosts = CONNECTIONS.min(networks * HOSTS);
    for host in 0..hosts {
        let ip = siege::address(host % networks, host / networks);
        let connections = (host..CONNECTIONS).step_by(hosts).count();
        let mut host = Host::new(&mut world, ip, victim, connections);
        world.by_hand.push(Box::new(move |now| host.tick(now)));
    }
    world.run(MINUTE);
    siege::let_in_after(&mut world, victim, limit)
}

/// One of the attacker's hosts.
struct Host {
    sockets: SimSockets,
    victim: NetAddress,
    rng: StdRng,
    connections: Vec<Connection>,
    /// When which is begun; what is first first.
    begin: VecDeque<(Duration, u32)>,
}

#[derive(Default)]
struct Connection {
    line: Line,
    is_begun: bool,
    /// What is left of the handshake: nothing, once it is done.
    handshake: Option<Handshake<Null>>,
}

impl Host {
    fn new(world: &mut World, ip: [u8; 4], victim: NetAddress, connections: usize) -> Self {
        Self {
            sockets: by_hand(&mut world.network, ip.into()),
            victim,
            rng: StdRng::from_rng(&mut world.rng),
            connections: (0..connections).map(|_| Connection::default()).collect(),
            begin: (0..connections as u32).map(|slot| (Duration::ZERO, slot)).collect(),
        }
    }

    fn tick(&mut self, now: Duration) {
        for (slot, _) in self.sockets.take_ready() {
            // Several things may be told of one that is over by the first.
            if self.sockets.sock(slot).is_ok() && self.go_on(slot).is_none() {
                self.sockets.close(slot);
                self.connections[slot as usize] = Connection::default();
                self.begin.push_back((now + PAUSE, slot));
            }
        }
        while let Some((at, slot)) = self.begin.front().copied()
            && at <= now
        {
            self.begin.pop_front();
            let connects = self.sockets.connect(slot, self.victim.socket_addr());
            connects.expect("nothing is wrong with the host");
        }
    }

    /// `None`: there is nothing to go on with.
    fn go_on(&mut self, slot: u32) -> Option<()> {
        let Connection { line, is_begun, handshake } = &mut self.connections[slot as usize];
        if !*is_begun {
            if !self.sockets.connect_result(slot).ok()? {
                return Some(());
            }
            let (key, agreement) =
                (NodeKey::from_seed(self.rng.random()), agreement(self.rng.random()));
            let victim = Some(self.victim.id());
            *handshake = Some(Handshake::start(key, agreement, victim, &mut line.out));
            *is_begun = true;
        }
        let is_there = line.read(&mut self.sockets, slot);
        while let Some(machine) = handshake.take() {
            let mut input = line.input.as_slice();
            let progress = machine.advance(&mut input, &mut line.out).ok()?;
            line.input = input.to_vec();
            match progress {
                Progress::Stepped(next) => *handshake = Some(next),
                Progress::NeedMore(next) => {
                    *handshake = Some(next);
                    break;
                }
                Progress::Done(_) => {}
            }
        }
        (line.write(&mut self.sockets, slot) && is_there).then_some(())
    }
}
