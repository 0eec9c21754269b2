//! TCP as far as a node can tell: bounded kernel buffers, latency, ends and resets, and readiness
//! that is told once.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use super::{
    dice::Dice,
    faults::Faults,
    sock::{Sock, SockId, Stage},
    weather::Weather,
};
use crate::{
    event_loop::{LISTENER, Readiness},
    time::Mono,
};

/// The network, shared by everybody's sockets.
pub type Wire = Rc<RefCell<Net>>;

/// The network itself.
#[derive(Debug)]
pub struct Net {
    /// What time it is.
    pub now: Mono,
    /// How it behaves.
    pub weather: Weather,
    pub(super) dice: Dice,
    /// Every end of a connection that there was.
    pub socks: Vec<Sock>,
    /// Connections of which nothing is left at either end make room for others.
    pub forgets: bool,
    /// Places of those that are forgotten.
    pub(super) free: Vec<SockId>,
    pub(super) listeners: BTreeMap<SocketAddr, Listener>,
    /// What will happen, what is first first.
    pub(super) happenings: BinaryHeap<Reverse<Due>>,
    pub(super) next: u64,
    pub(super) hosts: Vec<Host>,
    /// Hosts that have got readiness since the last [look](Self::next_stirred).
    pub(super) stirred: VecDeque<usize>,
    /// Nothing answers there.
    pub black_holes: BTreeSet<SocketAddr>,
    /// Nothing answers where nobody listens; else whoever connects there is refused.
    pub is_silent: bool,
    /// What hosts cannot do.
    pub faults: Faults,
    /// What the next accepts of a host fail with, although somebody waits.
    pub failing_accepts: VecDeque<(usize, io::ErrorKind)>,
}

#[derive(Debug, Default)]
pub(super) struct Host {
    /// Readiness that was not told yet; no socket stands for the listener.
    pub(super) edges: VecDeque<(Option<SockId>, Readiness)>,
    pub(super) listens: Option<SocketAddr>,
    /// Sockets that are not closed.
    pub(super) open: BTreeSet<SockId>,
    /// Where it is: hosts of different parts do not reach each other.
    part: usize,
    /// How far out it is: what it sends and gets takes so much longer.
    pub(super) delay: Duration,
}

#[derive(Debug)]
pub(super) struct Listener {
    pub(super) host: usize,
    pub(super) backlog: VecDeque<SockId>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Mono,
    /// No two have the same.
    pub(super) number: u64,
    pub(super) what: Happening,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Happening {
    Syn(SockId, SocketAddr),
    Connected(SockId),
    Refused(SockId),
    Arrive(SockId),
    Pump(SockId),
    Edge(SockId, bool),
}

impl Happening {
    pub(super) fn sock(self) -> SockId {
        match self {
            Self::Syn(sock, _)
            | Self::Connected(sock)
            | Self::Refused(sock)
            | Self::Arrive(sock)
            | Self::Pump(sock)
            | Self::Edge(sock, _) => sock,
        }
    }
}

pub(super) const READABLE: Readiness =
    Readiness { readable: true, writable: false, hung_up: false };
pub(super) const WRITABLE: Readiness =
    Readiness { readable: false, writable: true, hung_up: false };
pub(super) const ENDED: Readiness = Readiness { readable: true, writable: false, hung_up: true };
pub(super) const BROKEN: Readiness = Readiness { readable: true, writable: true, hung_up: true };

impl Net {
    /// Nobody is there, and it is the beginning of time.
    pub fn new(weather: Weather, dice: Dice) -> Self {
        Self {
            now: Mono::ZERO,
            weather,
            dice,
            socks: Vec::new(),
            forgets: false,
            free: Vec::new(),
            listeners: BTreeMap::new(),
            happenings: BinaryHeap::new(),
            next: 0,
            hosts: Vec::new(),
            stirred: VecDeque::new(),
            black_holes: BTreeSet::new(),
            is_silent: false,
            faults: Faults::default(),
            failing_accepts: VecDeque::new(),
        }
    }

    /// One more host.
    pub fn add_host(&mut self) -> usize {
        self.hosts.push(Host::default());
        self.hosts.len() - 1
    }

    /// When something happens by itself.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.happenings.peek().map(|Reverse(due)| due.at)
    }

    /// Lets the next thing happen that is due.
    pub fn happen(&mut self) {
        if self.next_deadline().is_none_or(|at| at > self.now) {
            return;
        }
        let Some(Reverse(Due { what, .. })) = self.happenings.pop() else { return };
        let sock = what.sock();
        self.socks[sock].happenings -= 1;
        match what {
            Happening::Syn(sock, to) => self.syn(sock, to),
            Happening::Connected(sock) => {
                self.socks[sock].stage = Stage::Connected;
                self.edge(sock, WRITABLE);
            }
            Happening::Refused(sock) => {
                self.socks[sock].stage = Stage::Refused;
                self.edge(sock, BROKEN);
            }
            Happening::Arrive(sock) => self.arrive(sock),
            Happening::Pump(sock) => {
                self.socks[sock].is_pump_due = false;
                self.pump(sock);
            }
            Happening::Edge(sock, is_readable) => {
                self.edge(sock, if is_readable { READABLE } else { WRITABLE });
            }
        }
        self.forget(sock);
    }

    /// Nobody and nothing speaks of the connection any more.
    fn forget(&mut self, sock: SockId) {
        let is_left = |sock: &SockId| {
            let end = &self.socks[*sock];
            !end.is_closed || end.happenings > 0
        };
        let ends = [Some(sock), self.socks[sock].peer];
        if !self.forgets || ends.iter().flatten().any(is_left) {
            return;
        }
        for end in ends.into_iter().flatten() {
            // Whoever asks for it again finds nothing.
            self.socks[end].peer = None;
            self.free.push(end);
        }
    }

    /// Whether what one host sends does not reach the other one.
    pub(super) fn are_apart(&self, a: usize, b: usize) -> bool {
        self.hosts[a].part != self.hosts[b].part
    }

    /// The other end of a connection, if what this one sends gets there.
    pub(super) fn reached(&self, sock: SockId) -> Option<SockId> {
        let end = &self.socks[sock];
        end.peer.filter(|peer| !self.are_apart(end.host, self.socks[*peer].host))
    }

    /// From now on each host is in this part of the network, and hosts of two parts do not reach each other:
    /// what they send waits, who connects gets no answer, and no reset comes through. Once they are in one
    /// part again, what waits is sent.
    pub fn set_parts(&mut self, parts: &[(usize, usize)]) {
        parts.iter().for_each(|(host, part)| self.hosts[*host].part = *part);
        for (host, _) in parts {
            for sock in self.hosts[*host].open.clone() {
                let peer = self.socks[sock].peer;
                [Some(sock), peer].into_iter().flatten().for_each(|end| self.pump(end));
            }
        }
    }

    /// What the host sends and gets takes so much longer than others'.
    pub fn set_delay(&mut self, host: usize, delay: Duration) {
        self.hosts[host].delay = delay;
    }

    /// Sockets that the host has not closed.
    pub fn num_open(&self, host: usize) -> usize {
        self.hosts[host].open.len()
    }

    /// Whether something waits to be told to the host.
    pub fn has_edges(&self, host: usize) -> bool {
        !self.hosts[host].edges.is_empty()
    }

    /// Whose loop may have become ready.
    pub fn next_stirred(&mut self) -> Option<usize> {
        self.stirred.pop_front()
    }

    /// What a poll of this host tells.
    pub fn take_edges(&mut self, host: usize) -> Vec<(u32, Readiness)> {
        let mut told = Vec::new();
        while let Some((sock, readiness)) = self.hosts[host].edges.pop_front() {
            let slot = sock.map_or(Some(LISTENER), |sock| self.socks[sock].slot);
            if let (Some(slot), Some(readiness)) = (slot, self.disarm(sock, readiness)) {
                told.push((slot, readiness));
            }
        }
        told
    }

    /// What of it is told, see [`Weather::rearms`].
    fn disarm(&mut self, sock: Option<SockId>, told: Readiness) -> Option<Readiness> {
        let Some(entry) = sock.filter(|_| self.weather.rearms).map(|s| &mut self.socks[s]) else {
            return Some(told);
        };
        let (reading, writing) = entry.armed;
        let Readiness { readable, writable, hung_up } = told;
        let told = Readiness {
            readable: readable && reading,
            writable: writable && writing,
            hung_up: hung_up && reading,
        };
        entry.armed = (reading && !told.readable && !told.hung_up, writing && !told.writable);
        (told != Readiness::default()).then_some(told)
    }

    /// A call on the socket has said `WouldBlock`.
    pub fn rearm(&mut self, sock: SockId) {
        let room = self.weather.send_buffer;
        let entry = &mut self.socks[sock];
        entry.armed = (true, true);
        let hung_up = entry.has_eof || entry.is_reset;
        let readable = hung_up || !entry.arrived.is_empty();
        let writable = entry.stage == Stage::Connected && entry.out.len() < room;
        self.edge(sock, Readiness { readable, writable, hung_up });
    }

    /// The newest open socket between two hosts, at the first one.
    pub fn sock_between(&self, host: usize, other: usize) -> Option<SockId> {
        let is_it = |sock: &&SockId| {
            self.socks[**sock].peer.is_some_and(|peer| self.socks[peer].host == other)
        };
        self.hosts[host].open.iter().rev().find(is_it).copied()
    }

    /// Something between the two hosts resets the connection: each side keeps what has arrived.
    pub fn cut(&mut self, sock: SockId) {
        for end in [Some(sock), self.socks[sock].peer].into_iter().flatten() {
            let end = &mut self.socks[end];
            end.flight.clear();
            end.flight_bytes = 0;
        }
        for end in [Some(sock), self.socks[sock].peer].into_iter().flatten() {
            self.send_reset_to(end);
        }
    }

    /// The same for every connection of the host.
    pub fn cut_all(&mut self, host: usize) {
        for sock in self.hosts[host].open.clone() {
            self.cut(sock);
        }
    }

    /// The host is gone: its sockets do nothing any more.
    pub fn take_down(&mut self, host: usize) {
        self.stop_listening(host);
        for sock in std::mem::take(&mut self.hosts[host].open) {
            // Who is apart hears nothing of it.
            if self.reached(sock) == self.socks[sock].peer {
                self.cut(sock);
            }
            let entry = &mut self.socks[sock];
            (entry.slot, entry.is_closed, entry.is_reset) = (None, true, true);
        }
    }

    // ---- what a host does ----

    /// Whether somebody listens there.
    pub fn is_taken(&self, addr: SocketAddr) -> bool {
        self.listeners.contains_key(&addr)
    }

    /// The host listens there.
    pub fn listen(&mut self, host: usize, addr: SocketAddr) {
        self.listeners.insert(addr, Listener { host, backlog: VecDeque::new() });
        self.hosts[host].listens = Some(addr);
    }

    /// The host's listener is closed.
    pub fn stop_listening(&mut self, host: usize) {
        let Some(addr) = self.hosts[host].listens.take() else { return };
        // Somebody else may listen there by now.
        if self.listeners.get(&addr).is_none_or(|listener| listener.host != host) {
            return;
        }
        let Some(listener) = self.listeners.remove(&addr) else { return };
        for sock in listener.backlog {
            self.reset(sock);
            self.hosts[host].open.remove(&sock);
            self.socks[sock].is_closed = true;
            self.forget(sock);
        }
    }

    /// See [`Sockets::connect`](crate::event_loop::Sockets::connect).
    pub fn connect(
        &mut self,
        host: usize,
        slot: u32,
        from: SocketAddr,
        to: SocketAddr,
    ) -> io::Result<SockId> {
        self.faults.check_connect(host, &to)?;
        let sock = self.add_sock(host, from, Stage::Connecting);
        self.socks[sock].slot = Some(slot);
        if !self.black_holes.contains(&to) {
            let at = self.now + self.latency(sock) + self.delay_at(to);
            self.schedule(at, Happening::Syn(sock, to));
        }
        Ok(sock)
    }

    /// See [`Sockets::connect_result`](crate::event_loop::Sockets::connect_result).
    pub fn connect_result(&self, sock: SockId) -> io::Result<bool> {
        match self.socks[sock].stage {
            Stage::Connecting => Ok(false),
            Stage::Connected => Ok(true),
            Stage::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// See [`Sockets::accept`](crate::event_loop::Sockets::accept).
    pub fn accept(&mut self, host: usize, slot: u32) -> io::Result<(SockId, SocketAddr)> {
        let sock = {
            let is_short = self.faults.check_files(host);
            let failing = self.failing_accepts.front().filter(|(at, _)| *at == host);
            let failing = failing.map(|(_, kind)| *kind);
            let listener = self.listener(host);
            let backlog = &mut listener.ok_or(io::ErrorKind::WouldBlock)?.backlog;
            if backlog.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            is_short?;
            if let Some(kind) = failing {
                self.failing_accepts.pop_front();
                return Err(kind.into());
            }
            backlog.pop_front().expect("checked above")
        };
        let entry = &mut self.socks[sock];
        entry.slot = Some(slot);
        let hung_up = entry.has_eof || entry.is_reset;
        let readable = hung_up || !entry.arrived.is_empty();
        let remote = entry.remote;
        self.edge(sock, Readiness { readable, writable: true, hung_up });
        Ok((sock, remote))
    }

    /// See [`Sockets::shed_one`](crate::event_loop::Sockets::shed_one).
    pub fn shed_one(&mut self, host: usize) -> bool {
        let Some(sock) = self.listener(host).and_then(|l| l.backlog.pop_front()) else {
            return false;
        };
        self.close(sock);
        true
    }

    /// The owner reads.
    pub fn read(&mut self, sock: SockId, buffer: &mut [u8]) -> io::Result<usize> {
        let chop = self.weather.chops && self.dice.one_in(4);
        let entry = &mut self.socks[sock];
        if entry.arrived.is_empty() {
            if std::mem::take(&mut entry.error) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if entry.has_eof || entry.is_reset {
                return Ok(0);
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut n = buffer.len().min(entry.arrived.len());
        if chop && n > 1 {
            n = 1 + self.dice.below(n - 1);
            // As if the rest had arrived a moment later: that is an edge of its own.
            self.edge_soon(sock, READABLE);
        }
        let entry = &mut self.socks[sock];
        let (a, b) = entry.arrived.as_slices();
        let first = n.min(a.len());
        buffer[..first].copy_from_slice(&a[..first]);
        buffer[first..n].copy_from_slice(&b[..n - first]);
        if n == entry.arrived.len() {
            entry.arrived = VecDeque::new();
        } else {
            entry.arrived.drain(..n);
        }
        entry.read += n as u64;
        if let Some(peer) = entry.peer {
            self.pump_later(peer);
        }
        Ok(n)
    }

    /// The owner writes.
    pub fn write(&mut self, sock: SockId, bytes: &[u8]) -> io::Result<usize> {
        let chop = self.weather.chops && self.dice.one_in(4);
        let room = self.weather.send_buffer;
        let entry = &mut self.socks[sock];
        if entry.stage != Stage::Connected {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if std::mem::take(&mut entry.error) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if entry.is_reset || entry.wants_fin {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut n = bytes.len().min(room.saturating_sub(entry.out.len()));
        let is_chopped = chop && n > 1;
        if is_chopped {
            n = 1 + self.dice.below(n - 1);
        }
        let entry = &mut self.socks[sock];
        entry.wants_room = n < bytes.len();
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        match &mut entry.mangler {
            None => entry.out.extend(&bytes[..n]),
            Some(mangler) => mangler.pass(entry.written, &bytes[..n], &mut entry.out),
        }
        entry.written += n as u64;
        if is_chopped {
            self.edge_soon(sock, WRITABLE);
        }
        self.pump(sock);
        Ok(n)
    }

    /// The owner sends no more.
    pub fn shutdown_write(&mut self, sock: SockId) {
        self.socks[sock].wants_fin = true;
        self.pump(sock);
    }

    /// The owner closes it.
    pub fn close(&mut self, sock: SockId) {
        let entry = &mut self.socks[sock];
        entry.slot = None;
        entry.is_closed = true;
        entry.wants_fin = true;
        let host = entry.host;
        self.hosts[host].open.remove(&sock);
        let entry = &mut self.socks[sock];
        let is_unread = !entry.arrived.is_empty();
        entry.arrived = VecDeque::new();
        if is_unread {
            self.reset(sock);
        } else {
            self.pump(sock);
        }
        self.forget(sock);
    }
}
