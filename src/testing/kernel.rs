//! What the kernels of the hosts do by themselves: connections, windows, ends.

use std::{cmp::Reverse, collections::VecDeque, mem, net::SocketAddr, time::Duration};

use super::{
    net::{BROKEN, Due, ENDED, Happening, Listener, Net, READABLE, WRITABLE},
    sock::{Segment, Sock, SockId, Stage},
};
use crate::{event_loop::Readiness, time::Mono};

impl Net {
    pub(super) fn syn(&mut self, sock: SockId, to: SocketAddr) {
        if self.socks[sock].is_closed {
            return;
        }
        let host = self.listeners.get(&to).map(|l| l.host);
        if host.is_some_and(|host| self.are_apart(host, self.socks[sock].host)) {
            return;
        }
        let at = self.now + self.latency(sock) + self.delay_at(to);
        let Some(host) = host else {
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

    pub(super) fn arrive(&mut self, sock: SockId) {
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
                        self.answer_with_reset(sock);
                    } else if !entry.is_reset {
                        if entry.arrived.is_empty() {
                            entry.arrived = data.into();
                        } else {
                            entry.arrived.extend(&data);
                        }
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
    pub(super) fn pump(&mut self, sock: SockId) {
        let Some(peer) = self.reached(sock).filter(|_| !self.socks[sock].is_reset) else { return };
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
            let out = &mut self.socks[sock].out;
            let data = if n == left { mem::take(out).into() } else { out.drain(..n).collect() };
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

    pub(super) fn pump_later(&mut self, sock: SockId) {
        let entry = &mut self.socks[sock];
        let is_done = entry.out.is_empty() && !entry.wants_room && !entry.wants_fin;
        if is_done || std::mem::replace(&mut entry.is_pump_due, true) {
            return;
        }
        let at = self.now + self.latency(sock);
        self.schedule(at, Happening::Pump(sock));
    }

    /// This end gives up: what it has not sent is lost, the other one is told.
    pub(super) fn reset(&mut self, sock: SockId) {
        let entry = &mut self.socks[sock];
        entry.out = VecDeque::new();
        if std::mem::replace(&mut entry.is_reset, true) {
            return;
        }
        if let Some(peer) = self.reached(sock) {
            self.send_reset_to(peer);
        }
    }

    pub(super) fn send_reset_to(&mut self, sock: SockId) {
        self.send_to(sock, Segment::Rst);
    }

    pub(super) fn send_to(&mut self, sock: SockId, segment: Segment) {
        let at = (self.now + self.latency(sock)).max(self.socks[sock].last_arrival);
        let entry = &mut self.socks[sock];
        entry.last_arrival = at;
        if let Segment::Data(data) = &segment {
            entry.flight_bytes += data.len();
        }
        entry.flight.push_back((at, segment));
        self.schedule(at, Happening::Arrive(sock));
    }

    pub(super) fn add_sock(&mut self, host: usize, remote: SocketAddr, stage: Stage) -> SockId {
        let new = Sock::new(host, remote, stage);
        let sock = match self.free.pop() {
            Some(sock) => {
                self.socks[sock] = new;
                sock
            }
            None => {
                self.socks.push(new);
                self.socks.len() - 1
            }
        };
        self.hosts[host].open.insert(sock);
        sock
    }

    pub(super) fn edge(&mut self, sock: SockId, readiness: Readiness) {
        let entry = &self.socks[sock];
        if entry.slot.is_some() {
            self.tell(entry.host, Some(sock), readiness);
        }
    }

    pub(super) fn tell(&mut self, host: usize, sock: Option<SockId>, readiness: Readiness) {
        let edges = &mut self.hosts[host].edges;
        if edges.is_empty() {
            self.stirred.push_back(host);
        }
        edges.push_back((sock, readiness));
    }

    pub(super) fn listener(&mut self, host: usize) -> Option<&mut Listener> {
        let addr = self.hosts[host].listens?;
        self.listeners.get_mut(&addr).filter(|listener| listener.host == host)
    }

    pub(super) fn edge_soon(&mut self, sock: SockId, readiness: Readiness) {
        let at = self.now + Duration::from_micros(self.dice.below(300) as u64);
        self.schedule(at, Happening::Edge(sock, readiness == READABLE));
    }

    pub(super) fn schedule(&mut self, at: Mono, what: Happening) {
        self.next += 1;
        self.socks[what.sock()].happenings += 1;
        self.happenings.push(Reverse(Due { at, number: self.next, what }));
    }

    /// Somebody sends to an end that is closed, and may not have heard of that.
    fn answer_with_reset(&mut self, sock: SockId) {
        if let Some(peer) = self.reached(sock).filter(|peer| !self.socks[*peer].is_reset) {
            self.send_reset_to(peer);
        }
    }

    /// How far out whoever listens there is.
    pub(super) fn delay_at(&self, to: SocketAddr) -> Duration {
        let host = self.listeners.get(&to).map(|listener| listener.host);
        host.map(|host| self.hosts[host].delay).unwrap_or_default()
    }

    /// How long something takes between this end and the other one.
    pub(super) fn latency(&mut self, sock: SockId) -> Duration {
        let (least, most) = self.weather.latency;
        let spread = (most - least).as_nanos() as usize;
        let way = least + Duration::from_nanos(self.dice.range(0..=spread) as u64);
        let delay = |sock: SockId| self.hosts[self.socks[sock].host].delay;
        way + delay(sock) + self.socks[sock].peer.map(delay).unwrap_or_default()
    }
}
