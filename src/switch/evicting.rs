//! Evicting: which peers have to go although nothing is wrong with their connection. Whoever has a
//! reason asks the switch, which knows who may be asked to go; nobody ends such a session beside it.
//! This page lists all of it. Each eviction is an event with its reason:
//! [`Disconnected`](super::SwitchEvent::Disconnected) for a session, [`Rejected`](super::SwitchEvent::Rejected)
//! before.
//!
//! | who goes | when | why | reason |
//! | --- | --- | --- | --- |
//! | the oldest of the pending connections that have come least far; strangers before those for whom room is kept | the pool of pending connections is full and another one comes, or there are too many connections for the descriptors | many silent connections must keep nobody out | [`Evicted`](DisconnectReason::Evicted) |
//! | the oldest of those that authenticated themselves and sent no NodeInfo | the same, and they have more than a quarter of the pool | the same, of those that prove an identity and stay silent | [`Evicted`](DisconnectReason::Evicted) |
//! | a connection that waits for the switch's verdict | a hook, filter or logger holds the switch up for longer than any verdict takes | nothing waits for ever | [`SwitchBusy`](DisconnectReason::SwitchBusy) |
//! | the holder of most unfinished messages, a reserved one if there is no other | the pool for them is full | memory is bounded | [`ReassemblyPool`](DisconnectReason::ReassemblyPool) |
//! | a peer that reads nothing | it took less than a frame of what is queued for it in three times `send_timeout` | its queues must not be held for nothing | [`NotReading`](DisconnectReason::NotReading) |
//! | a session that gives no sign of life | its node connects anew, and 5 s have passed | a rebooted node is not locked out by its own past | [`Superseded`](DisconnectReason::Superseded) |
//! | sessions with a node or an address | it is banned | a ban holds at once | [`Banned`](DisconnectReason::Banned) |
//! | of the guests (who dialed us), the one that protects us least | there is no room for guests, and another one comes from a network that has fewer of them | who came first, or from many addresses, must keep nobody out | [`Replaced`](DisconnectReason::Replaced) |
//! | of a seed's guests, the one that was silent longest | the seed has no room, and another one comes | the same | [`Replaced`](DisconnectReason::Replaced) |
//! | the outbound peer that is needed least | a reactor asked for other peers while there were enough, and another one has proved itself | an application that gets nowhere with the peers it has must get others | [`Replaced`](DisconnectReason::Replaced) |
//! | a guest of a seed | it was answered, or has stayed for `seed_disconnect_wait_period` | the next one wants the place | [`Finished`](DisconnectReason::Finished) |
//! | a node that a seed has dialed | it has answered, or had `crawl_timeout` to | it was dialed for its answer | [`Finished`](DisconnectReason::Finished) |
//! | a seed that we have dialed | it has not answered for a third of `ensure_peers_period` | another one may | [`Finished`](DisconnectReason::Finished) |
//! | a node that was dialed to see whether it is there | it is there | it was dialed for nothing else | [`Finished`](DisconnectReason::Finished) |
//!
//! The last five are asked for by peer exchange; what was accepted for the peer is written first. A reserved peer (persistent or unconditional) is
//! never evicted but by a ban of the operator's, in favour of a new connection of its own, where nothing is read or
//! decided any more, or as the only holder of unfinished messages when there is no memory left for them. No
//! limit that is lowered evicts anybody: it holds for those who come.
//!
//! # Guests
//! No guest leaves for another within a minute after it came or has sent a message: who has
//! something to say, and so every node with consensus, stays. Of the others those stay that an
//! attacker cannot have all of, as in Bitcoin Core: a tenth of them by their networks, which a secret
//! of the node chooses, the fifth with the shortest round trips, the tenth that spoke last, and
//! half of the rest, who have been there longest. Of what is left the newest of the largest network
//! leaves, if the newcomer's network has fewer guests. A network is here what the address book
//! takes for one, an IPv4 /16 or an IPv6 /32. Guests with private
//! or exempt addresses neither leave nor replace others, and nobody does where
//! [`Config::allow_duplicate_ip`](crate::Config::allow_duplicate_ip) is set. There are at most four a second.

use std::time::Duration;

use super::{
    Output, SwitchCore,
    inbound_eviction::{self, Guest},
    peer_set::{Conn, Stage},
};
use crate::{
    event_loop::Command,
    ids::{ConnId, Direction},
    reactor::{CloseMode, DisconnectReason, Room, Vitals},
    time::Now,
};

/// Time between two newcomers that may take somebody's place while there is no room. All guests
/// are looked at for one, and nobody is to be able to make us do that all the time, nor to turn
/// over all guests in a moment. As many as there are handshakes while there is no room.
const WEIGH_PAUSE: Duration = Duration::from_millis(250);

impl SwitchCore {
    /// Somebody does not need this session any more. Nothing happens to one that is over, or whose
    /// node has become reserved meanwhile.
    pub(super) fn evict(&mut self, conn: ConnId, reason: DisconnectReason) {
        let Some(peer) = self.peers.get(conn) else { return };
        if matches!(peer.stage, Stage::Introducing | Stage::Up) && !peer.is_reserved {
            self.flush(conn, reason);
        }
    }

    /// There is no room for somebody who has dialed us, unless a guest leaves.
    pub(super) fn weigh(&mut self, newcomer: ConnId, now: Now) {
        let is_new = self.peers.get(newcomer).is_some_and(|conn| conn.stage == Stage::New);
        if is_new {
            if now.mono < self.weigh_at {
                return self.refuse(newcomer, DisconnectReason::Full(Room::Inbound), now);
            }
            self.weigh_at = now.mono + WEIGH_PAUSE;
        }
        let is_inbound = |conn: &Conn| conn.direction == Direction::Inbound && conn.is_limited();
        let has_come = |(_, conn): &(_, &Conn)| is_inbound(conn) && conn.stage != Stage::Filtering;
        // Nobody goes for a limit that was lowered, and nobody comes for who goes by himself.
        if self.peers.iter().filter(has_come).count() > self.most_inbound() {
            return self.refuse(newcomer, DisconnectReason::Full(Room::Inbound), now);
        }
        let is_guest =
            |conn: &Conn| is_inbound(conn) && conn.stage == Stage::Up && conn.ending.is_none();
        let guests = self.peers.iter().filter(|(_, conn)| is_guest(conn));
        let sessions = guests.map(|(id, _)| id).collect();
        self.outputs.push_back(Output::Weigh { newcomer, sessions });
    }

    /// Which of the guests leaves for the newcomer.
    pub(super) fn choose(
        &self,
        newcomer: &Conn,
        sessions: &[(ConnId, Vitals)],
        now: Now,
    ) -> Option<ConnId> {
        let guest = |(id, vitals): &(ConnId, Vitals)| {
            let conn = self.peers.get(*id)?;
            let heard = vitals.last_message.map_or(conn.since, |at| at.max(conn.since));
            Some(Guest {
                conn: *id,
                is_reserved: conn.is_reserved,
                group: conn.group,
                age: now.mono.since(conn.since),
                silent: now.mono.since(heard),
                rtt: vitals.rtt,
            })
        };
        let guests: Vec<Guest> = sessions.iter().filter_map(guest).collect();
        if self.settings.is_seed {
            return inbound_eviction::of_seed(&guests);
        }
        inbound_eviction::of_node(&guests, newcomer.group?, self.salt)
    }

    /// The guest leaves for somebody else, who has its place from now on: for as long as it takes to
    /// close it there is one session more than there may be.
    pub(super) fn replace(&mut self, session: ConnId) {
        self.peers.replace(session);
        self.flush(session, DisconnectReason::Replaced);
    }

    fn flush(&mut self, conn: ConnId, reason: DisconnectReason) {
        let mode = CloseMode::Flush(reason);
        self.outputs.push_back(Output::Command(Command::Close { conn, mode }));
    }
}
