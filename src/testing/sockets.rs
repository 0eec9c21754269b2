//! A host's sockets on the simulated network.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use super::{net::Wire, sock::SockId};
use crate::event_loop::{Readiness, Sockets};

/// Ports from which a host dials, again and again.
const FIRST_PORT: u16 = 40_000;

/// What a node's event loop gets instead of mio's sockets.
pub struct SimSockets {
    net: Wire,
    /// The host.
    pub host: usize,
    ip: IpAddr,
    next_port: u16,
    socks: Vec<Option<SockId>>,
}

impl SimSockets {
    /// A new host with this address.
    pub fn new(net: Wire, ip: IpAddr) -> Self {
        let host = net.borrow_mut().add_host();
        Self { net, host, ip, next_port: FIRST_PORT, socks: Vec::new() }
    }

    fn insert(&mut self, slot: u32, sock: SockId) {
        let slot = slot as usize;
        if self.socks.len() <= slot {
            self.socks.resize(slot + 1, None);
        }
        assert!(self.socks[slot].is_none(), "slot {slot} was not closed");
        self.socks[slot] = Some(sock);
    }

    /// What is in the slot.
    ///
    /// # Errors
    /// Nothing.
    pub fn sock(&self, slot: u32) -> io::Result<SockId> {
        let sock = self.socks.get(slot as usize).copied().flatten();
        sock.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn rearm<T>(&self, sock: SockId, result: io::Result<T>) -> io::Result<T> {
        let is_blocked = matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock);
        let mut net = self.net.borrow_mut();
        if is_blocked && net.weather.rearms {
            net.rearm(sock);
        }
        result
    }

    /// What a poll would tell, for whoever drives them by hand.
    pub fn take_ready(&mut self) -> Vec<(u32, Readiness)> {
        self.net.borrow_mut().take_edges(self.host)
    }

    /// Sockets that were not closed.
    pub fn num_open(&self) -> usize {
        self.socks.iter().flatten().count()
    }
}

impl Sockets for SimSockets {
    fn short_is_blocked(&self) -> bool {
        !self.net.borrow().weather.rearms
    }

    fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr> {
        let mut net = self.net.borrow_mut();
        if net.is_taken(addr) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        net.listen(self.host, addr);
        Ok(addr)
    }

    fn stop_listening(&mut self) {
        self.net.borrow_mut().stop_listening(self.host);
    }

    fn connect(&mut self, slot: u32, addr: SocketAddr) -> io::Result<()> {
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        let from = SocketAddr::new(self.ip, self.next_port);
        let sock = self.net.borrow_mut().connect(self.host, slot, from, addr)?;
        self.insert(slot, sock);
        Ok(())
    }

    fn connect_result(&mut self, slot: u32) -> io::Result<bool> {
        self.net.borrow().connect_result(self.sock(slot)?)
    }

    fn accept(&mut self, slot: u32) -> io::Result<SocketAddr> {
        let (sock, remote) = self.net.borrow_mut().accept(self.host, slot)?;
        self.insert(slot, sock);
        Ok(remote)
    }

    fn let_in(&mut self, slot: u32, _: SocketAddr) -> io::Result<()> {
        self.sock(slot).map(drop)
    }

    fn shed_one(&mut self) -> bool {
        self.net.borrow_mut().shed_one(self.host)
    }

    fn read(&mut self, slot: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let sock = self.sock(slot)?;
        let read = self.net.borrow_mut().read(sock, buffer);
        self.rearm(sock, read)
    }

    fn write(&mut self, slot: u32, bytes: &[u8]) -> io::Result<usize> {
        let sock = self.sock(slot)?;
        let written = self.net.borrow_mut().write(sock, bytes);
        self.rearm(sock, written)
    }

    fn shutdown_write(&mut self, slot: u32) {
        if let Ok(sock) = self.sock(slot) {
            self.net.borrow_mut().shutdown_write(sock);
        }
    }

    fn close(&mut self, slot: u32) {
        if let Some(sock) = self.socks.get_mut(slot as usize).and_then(Option::take) {
            self.net.borrow_mut().close(sock);
        }
    }
}
