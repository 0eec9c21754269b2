//! TCP as far as a node can tell: bounded kernel buffers, latency, ends and resets, and readiness
//! that is told once.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use tmp2p::{
    internals::event_loop::{LISTENER, Readiness},
    internals::time::Mono,
};

use crate::{dice::Dice, faults::Faults, mangle::Mangler, weather::Weather};

/// The network, shared by everybody's sockets.
pub(crate) type Wire = Rc<RefCell<Net>>;

/// Index of a socket; never used again.
pub(crate) type SockId = usize;

#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: Mono,
    pub(crate) weather: Weather,
    dice: Dice,
    pub(crate) socks: Vec<Sock>,
    listeners: BTreeMap<SocketAddr, Listener>,
    happenings: BTreeMap<(Mono, u64), Happening>,
    next: u64,
    hosts: Vec<Host>,
    /// Hosts that have got readiness since the last [`take_stirred`](Self::take_stirred).
    stirred: Vec<usize>,
    /// Nothing answers there.
    pub(crate) black_holes: BTreeSet<SocketAddr>,
    /// Nothing answers where nobody listens; else whoever connects there is refused.
    pub(crate) is_silent: bool,
    pub(crate) faults: Faults,
    /// What the next accepts of a host fail with, although somebody waits.
    pub(crate) failing_accepts: VecDeque<(usize, io::ErrorKind)>,
}

#[derive(Debug, Default)]
struct Host {
    /// Readiness that was not told yet; no socket stands for the listener.
    edges: VecDeque<(Option<SockId>, Readiness)>,
    listens: Option<SocketAddr>,
    /// Sockets that are not closed.
    open: BTreeSet<SockId>,
}

#[derive(Debug)]
struct Listener {
    host: usize,
    backlog: VecDeque<SockId>,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Sock {
    pub(crate) host: usize,
    pub(crate) slot: Option<u32>,
    remote: SocketAddr,
    pub(crate) peer: Option<SockId>,
    stage: Stage,
    /// The send buffer.
    out: VecDeque<u8>,
    wants_fin: bool,
    is_fin_sent: bool,
    wants_room: bool,
    is_pump_due: bool,
    /// On the way here, each with its time of arrival.
    flight: VecDeque<(Mono, Segment)>,
    flight_bytes: usize,
    last_arrival: Mono,
    /// The receive buffer.
    arrived: VecDeque<u8>,
    has_eof: bool,
    /// A reset has arrived, and whether nobody was told of it.
    is_reset: bool,
    error: bool,
    is_closed: bool,
    /// Where [`Weather::rearms`]: reading and writing of which nothing was told since the last
    /// `WouldBlock`.
    armed: (bool, bool),
    /// What happens to the bytes written here.
    pub(crate) mangler: Option<Mangler>,
    /// Bytes that the owner has written and read.
    pub(crate) written: u64,
    pub(crate) read: u64,
}

impl Sock {
    /// Bytes that have arrived and were not read.
    pub(crate) fn num_arrived(&self) -> usize {
        self.arrived.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Connected,
    Refused,
}

#[derive(Debug)]
enum Segment {
    Data(Vec<u8>),
    Fin,
    Rst,
}

#[derive(Debug)]
enum Happening {
    Syn(SockId, SocketAddr),
    Connected(SockId),
    Refused(SockId),
    Arrive(SockId),
    Pump(SockId),
    Edge(SockId, Readiness),
}

const READABLE: Readiness = Readiness { readable: true, writable: false, hung_up: false };
const WRITABLE: Readiness = Readiness { readable: false, writable: true, hung_up: false };
const ENDED: Readiness = Readiness { readable: true, writable: false, hung_up: true };
const BROKEN: Readiness = Readiness { readable: true, writable: true, hung_up: true };

impl Net {
    pub(crate) fn new(weather: Weather, dice: Dice) -> Self {
        Self {
            now: Mono::ZERO,
            weather,
            dice,
            socks: Vec::new(),
            listeners: BTreeMap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            hosts: Vec::new(),
            stirred: Vec::new(),
            black_holes: BTreeSet::new(),
            is_silent: false,
            faults: Faults::default(),
            failing_accepts: VecDeque::new(),
        }
    }

    pub(crate) fn add_host(&mut self) -> usize {
        self.hosts.push(Host::default());
        self.hosts.len() - 1
    }

    /// When something happens by itself.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.happenings.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets the next thing happen that is due.
    pub(crate) fn happen(&mut self) {
        let Some(entry) = self.happenings.first_entry().filter(|e| e.key().0 <= self.now) else {
            return;
        };
        match entry.remove() {
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
            Happening::Edge(sock, readiness) => self.edge(sock, readiness),
        }
    }

    pub(crate) fn has_edges(&self, host: usize) -> bool {
        !self.hosts[host].edges.is_empty()
    }

    /// Whose loops may have become ready.
    pub(crate) fn take_stirred(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.stirred)
    }

    /// What a poll of this host tells.
    pub(crate) fn take_edges(&mut self, host: usize) -> Vec<(u32, Readiness)> {
        let edges = std::mem::take(&mut self.hosts[host].edges);
        let edges: Vec<_> = edges.into_iter().filter_map(|(s, r)| self.disarm(s, r)).collect();
        let slot = |sock: Option<SockId>| sock.map_or(Some(LISTENER), |s| self.socks[s].slot);
        edges.into_iter().filter_map(|(sock, r)| Some((slot(sock)?, r))).collect()
    }

    /// What of it is told, see [`Weather::rearms`].
    fn disarm(
        &mut self,
        sock: Option<SockId>,
        told: Readiness,
    ) -> Option<(Option<SockId>, Readiness)> {
        let Some(entry) = sock.filter(|_| self.weather.rearms).map(|s| &mut self.socks[s]) else {
            return Some((sock, told));
        };
        let (reading, writing) = entry.armed;
        let Readiness { readable, writable, hung_up } = told;
        let told = Readiness {
            readable: readable && reading,
            writable: writable && writing,
            hung_up: hung_up && reading,
        };
        entry.armed = (reading && !told.readable && !told.hung_up, writing && !told.writable);
        (told != Readiness::default()).then_some((sock, told))
    }

    /// A call on the socket has said `WouldBlock`.
    pub(crate) fn rearm(&mut self, sock: SockId) {
        let room = self.weather.send_buffer;
        let entry = &mut self.socks[sock];
        entry.armed = (true, true);
        let hung_up = entry.has_eof || entry.is_reset;
        let readable = hung_up || !entry.arrived.is_empty();
        let writable = entry.stage == Stage::Connected && entry.out.len() < room;
        self.edge(sock, Readiness { readable, writable, hung_up });
    }

    /// The newest open socket between two hosts, at the first one.
    pub(crate) fn sock_between(&self, host: usize, other: usize) -> Option<SockId> {
        let is_it = |sock: &&SockId| {
            self.socks[**sock].peer.is_some_and(|peer| self.socks[peer].host == other)
        };
        self.hosts[host].open.iter().rev().find(is_it).copied()
    }

    /// Something between the two hosts resets the connection: each side keeps what has arrived.
    pub(crate) fn cut(&mut self, sock: SockId) {
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
    pub(crate) fn cut_all(&mut self, host: usize) {
        for sock in self.hosts[host].open.clone() {
            self.cut(sock);
        }
    }

    /// The host is gone: its sockets do nothing any more.
    pub(crate) fn take_down(&mut self, host: usize) {
        self.stop_listening(host);
        self.cut_all(host);
        for sock in std::mem::take(&mut self.hosts[host].open) {
            let entry = &mut self.socks[sock];
            (entry.slot, entry.is_closed, entry.is_reset) = (None, true, true);
        }
    }

    // ---- what a host does ----

    pub(crate) fn listen(&mut self, host: usize, addr: SocketAddr) {
        self.listeners.insert(addr, Listener { host, backlog: VecDeque::new() });
        self.hosts[host].listens = Some(addr);
    }

    pub(crate) fn stop_listening(&mut self, host: usize) {
        let Some(addr) = self.hosts[host].listens.take() else { return };
        // Somebody else may listen there by now.
        if self.listeners.get(&addr).is_none_or(|listener| listener.host != host) {
            return;
        }
        let Some(listener) = self.listeners.remove(&addr) else { return };
        for sock in listener.backlog {
            self.reset(sock);
        }
    }

    pub(crate) fn connect(
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
            let at = self.now + self.latency();
            self.schedule(at, Happening::Syn(sock, to));
        }
        Ok(sock)
    }

    pub(crate) fn connect_result(&self, sock: SockId) -> io::Result<bool> {
        match self.socks[sock].stage {
            Stage::Connecting => Ok(false),
            Stage::Connected => Ok(true),
            Stage::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    pub(crate) fn accept(&mut self, host: usize, slot: u32) -> io::Result<(SockId, SocketAddr)> {
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

    pub(crate) fn shed_one(&mut self, host: usize) -> bool {
        let Some(sock) = self.listener(host).and_then(|l| l.backlog.pop_front()) else {
            return false;
        };
        self.close(sock);
        true
    }

    pub(crate) fn read(&mut self, sock: SockId, buffer: &mut [u8]) -> io::Result<usize> {
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
        entry.arrived.drain(..n);
        entry.read += n as u64;
        if let Some(peer) = entry.peer {
            self.pump_later(peer);
        }
        Ok(n)
    }

    pub(crate) fn write(&mut self, sock: SockId, bytes: &[u8]) -> io::Result<usize> {
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

    pub(crate) fn shutdown_write(&mut self, sock: SockId) {
        self.socks[sock].wants_fin = true;
        self.pump(sock);
    }

    pub(crate) fn close(&mut self, sock: SockId) {
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
    }

    // ---- what the kernels do ----

    fn syn(&mut self, sock: SockId, to: SocketAddr) {
        if self.socks[sock].is_closed {
            return;
        }
        let at = self.now + self.latency();
        let Some(host) = self.listeners.get(&to).map(|l| l.host) else {
            if !self.is_silent {
                self.schedule(at, Happening::Refused(sock));
            }
            return;
        };
        let accepted = self.add_sock(host, self.socks[sock].remote, Stage::Connected);
        self.socks[accepted].peer = Some(sock);
        self.socks[sock].peer = Some(accepted);
        self.socks[sock].last_arrival = at;
        self.schedule(at, Happening::Connected(sock));
        let listener = self.listeners.get_mut(&to).expect("found above");
        listener.backlog.push_back(accepted);
        self.tell(host, None, READABLE);
    }

    fn arrive(&mut self, sock: SockId) {
        let now = self.now;
        while let Some((at, _)) = self.socks[sock].flight.front() {
            if *at > now {
                break;
            }
            let entry = &mut self.socks[sock];
            let (_, segment) = entry.flight.pop_front().expect("looked at above");
            match segment {
                Segment::Data(data) => {
                    entry.flight_bytes -= data.len();
                    if entry.is_closed {
                        self.reset(sock);
                    } else if !entry.is_reset {
                        entry.arrived.extend(&data);
                        self.edge(sock, READABLE);
                    }
                }
                Segment::Fin => {
                    entry.has_eof = true;
                    self.edge(sock, ENDED);
                }
                Segment::Rst if !entry.is_reset => {
                    entry.is_reset = true;
                    entry.error = true;
                    entry.out = VecDeque::new();
                    self.edge(sock, BROKEN);
                }
                Segment::Rst => {}
            }
        }
    }

    /// Sends what the peer's window takes, then the end if it is wanted.
    fn pump(&mut self, sock: SockId) {
        let Some(peer) = self.socks[sock].peer else { return };
        if self.socks[sock].is_reset {
            return;
        }
        loop {
            let to = &self.socks[peer];
            let window =
                self.weather.recv_buffer.saturating_sub(to.flight_bytes + to.arrived.len());
            let left = self.socks[sock].out.len();
            let mut n = window.min(left).min(16 << 10);
            if n == 0 {
                break;
            }
            if self.weather.chops {
                n = 1 + self.dice.below(n);
            } else if window < left.min(self.weather.recv_buffer / 2).min(4 << 10) {
                // A kernel does not announce every byte of room. There will be more of it once the
                // other end has read what is there.
                break;
            }
            let data = self.socks[sock].out.drain(..n).collect();
            self.send_to(peer, Segment::Data(data));
        }
        let entry = &mut self.socks[sock];
        if entry.out.is_empty() && entry.wants_fin && !entry.is_fin_sent {
            entry.is_fin_sent = true;
            entry.out = VecDeque::new();
            self.send_to(peer, Segment::Fin);
        }
        let entry = &mut self.socks[sock];
        if entry.wants_room && entry.out.len() <= self.weather.send_buffer * 2 / 3 {
            entry.wants_room = false;
            self.edge(sock, WRITABLE);
        }
    }

    fn pump_later(&mut self, sock: SockId) {
        let entry = &mut self.socks[sock];
        let is_done = entry.out.is_empty() && !entry.wants_room && !entry.wants_fin;
        if is_done || std::mem::replace(&mut entry.is_pump_due, true) {
            return;
        }
        let at = self.now + self.latency();
        self.schedule(at, Happening::Pump(sock));
    }

    /// This end gives up: what it has not sent is lost, the other one is told.
    fn reset(&mut self, sock: SockId) {
        let entry = &mut self.socks[sock];
        entry.out = VecDeque::new();
        if std::mem::replace(&mut entry.is_reset, true) {
            return;
        }
        if let Some(peer) = entry.peer {
            self.send_reset_to(peer);
        }
    }

    fn send_reset_to(&mut self, sock: SockId) {
        self.send_to(sock, Segment::Rst);
    }

    fn send_to(&mut self, sock: SockId, segment: Segment) {
        let at = (self.now + self.latency()).max(self.socks[sock].last_arrival);
        let entry = &mut self.socks[sock];
        entry.last_arrival = at;
        if let Segment::Data(data) = &segment {
            entry.flight_bytes += data.len();
        }
        entry.flight.push_back((at, segment));
        self.schedule(at, Happening::Arrive(sock));
    }

    fn add_sock(&mut self, host: usize, remote: SocketAddr, stage: Stage) -> SockId {
        self.socks.push(Sock {
            host,
            slot: None,
            remote,
            peer: None,
            stage,
            out: VecDeque::new(),
            wants_fin: false,
            is_fin_sent: false,
            wants_room: false,
            is_pump_due: false,
            flight: VecDeque::new(),
            flight_bytes: 0,
            last_arrival: Mono::ZERO,
            arrived: VecDeque::new(),
            has_eof: false,
            is_reset: false,
            error: false,
            is_closed: false,
            armed: (true, true),
            mangler: None,
            written: 0,
            read: 0,
        });
        let sock = self.socks.len() - 1;
        self.hosts[host].open.insert(sock);
        sock
    }

    fn edge(&mut self, sock: SockId, readiness: Readiness) {
        let entry = &self.socks[sock];
        if entry.slot.is_some() {
            self.tell(entry.host, Some(sock), readiness);
        }
    }

    fn tell(&mut self, host: usize, sock: Option<SockId>, readiness: Readiness) {
        let edges = &mut self.hosts[host].edges;
        if edges.is_empty() {
            self.stirred.push(host);
        }
        edges.push_back((sock, readiness));
    }

    fn listener(&mut self, host: usize) -> Option<&mut Listener> {
        let addr = self.hosts[host].listens?;
        self.listeners.get_mut(&addr).filter(|listener| listener.host == host)
    }

    fn edge_soon(&mut self, sock: SockId, readiness: Readiness) {
        let at = self.now + Duration::from_micros(self.dice.below(300) as u64);
        self.schedule(at, Happening::Edge(sock, readiness));
    }

    fn schedule(&mut self, at: Mono, happening: Happening) {
        self.next += 1;
        self.happenings.insert((at, self.next), happening);
    }

    fn latency(&mut self) -> Duration {
        let (least, most) = self.weather.latency;
        let spread = (most - least).as_nanos() as usize;
        least + Duration::from_nanos(self.dice.range(0..=spread) as u64)
    }
}
