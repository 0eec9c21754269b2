//! The reference's transport (`p2p/transport.go` of Tendermint v0.34), as far as it decides who is let in: no
//! more connections at once than there may be inbound peers, those in handshake among them. Whoever else comes
//! waits in the kernel's queue until one of them ends, in the order in which they came.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{
    Config, ListenAddress, NetAddress, NodeKey,
    internals::{
        event_loop::{LISTENER, Sockets},
        protocol::{
            LinkSettings,
            link::{Handshaking, Step},
            mconn::MConnSettings,
            secret::Null,
        },
        testing::{agreement, by_hand, sockets::SimSockets},
    },
};

use crate::{
    line::Line,
    world::{World, node_info},
};

/// `defaultHandshakeTimeout`, of each phase; what the configuration says counts for nothing.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A node that is nothing else.
pub(crate) struct Transport {
    sockets: SimSockets,
    settings: LinkSettings,
    rng: StdRng,
    /// `max_num_inbound_peers`.
    most: usize,
    guests: BTreeMap<u32, Guest>,
}

/// Somebody who was accepted.
struct Guest {
    ip: IpAddr,
    line: Line,
    /// `None`: it is a peer.
    handshake: Option<Handshaking<Null>>,
    /// When the phase of the handshake is over.
    deadline: Duration,
    is_authenticated: bool,
}

impl Transport {
    /// It listens there.
    pub(crate) fn new(world: &mut World, key: NodeKey, at: NetAddress) -> Self {
        let mut sockets = by_hand(&mut world.network, at.ip());
        sockets.listen(at.socket_addr()).expect("an address of nobody's");
        let config = Config::default();
        let node_info = node_info().with_id(key.id());
        let node_info = node_info.with_listen_addr(&ListenAddress::from(at.socket_addr()));
        let mconn = MConnSettings::of(&config);
        Self {
            sockets,
            settings: LinkSettings { key, node_info, channels: [].into(), mconn },
            rng: StdRng::from_rng(&mut world.rng),
            most: config.max_num_inbound_peers,
            guests: BTreeMap::new(),
        }
    }

    /// Every so often.
    pub(crate) fn tick(&mut self, now: Duration) {
        for (slot, _) in self.sockets.take_ready() {
            if slot != LISTENER && !self.go_on(slot, now) {
                self.end(slot);
            }
        }
        let is_over = |guest: &Guest| guest.handshake.is_some() && guest.deadline <= now;
        let over = self.guests.iter().filter(|(_, guest)| is_over(guest));
        for slot in over.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            self.end(slot);
        }
        while self.guests.len() < self.most && self.accept(now) {}
    }

    /// Whether somebody was there.
    fn accept(&mut self, now: Duration) -> bool {
        let slot = (0..).find(|slot| !self.guests.contains_key(slot)).expect("a free one");
        let Ok(from) = self.sockets.accept(slot) else { return false };
        // `ConnDuplicateIPFilter`.
        if self.guests.values().any(|guest| guest.ip == from.ip()) {
            self.sockets.close(slot);
            return true;
        }
        let (mut line, agreement) = (Line::default(), agreement(self.rng.random()));
        let handshake = Handshaking::start(&self.settings, agreement, None, &mut line.out);
        let guest = Guest {
            ip: from.ip(),
            line,
            handshake: Some(handshake),
            deadline: now + TIMEOUT,
            is_authenticated: false,
        };
        self.guests.insert(slot, guest);
        if !self.go_on(slot, now) {
            self.end(slot);
        }
        true
    }

    /// Goes on with the handshake; whether there is something to go on with.
    fn go_on(&mut self, slot: u32, now: Duration) -> bool {
        let Some(guest) = self.guests.get_mut(&slot) else { return true };
        let line = &mut guest.line;
        let is_there = line.read(&mut self.sockets, slot);
        while let Some(handshake) = guest.handshake.take() {
            let mut input = line.input.as_slice();
            let step = handshake.advance(&self.settings, &mut input, &mut line.out);
            line.input = input.to_vec();
            match step {
                Ok(Step::Stepped(next)) => guest.handshake = Some(next),
                Ok(Step::NeedMore(next)) => {
                    if next.peer_id().is_some() && !guest.is_authenticated {
                        (guest.is_authenticated, guest.deadline) = (true, now + TIMEOUT);
                    }
                    guest.handshake = Some(next);
                    break;
                }
                Ok(Step::Established(..)) => {}
                Err(_) => return false,
            }
        }
        line.write(&mut self.sockets, slot) && is_there
    }

    fn end(&mut self, slot: u32) {
        if self.guests.remove(&slot).is_some() {
            self.sockets.close(slot);
        }
    }
}
