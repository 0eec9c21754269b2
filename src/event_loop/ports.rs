//! What the event loop needs of the world: sockets, and somebody to report to.

use std::{io, net::SocketAddr};

use super::Report;

/// The slot that stands for the listener where readiness is told.
pub const LISTENER: u32 = u32::MAX;

/// What the poll told of a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There may be something to read.
    pub readable: bool,
    /// There may be room to write.
    pub writable: bool,
    /// The peer has closed its half or everything.
    pub hung_up: bool,
}

/// Where the loop's reports go. Never blocks.
pub trait Reports {
    /// Tells of something that has happened.
    fn report(&mut self, report: Report);
}

/// Non-blocking stream sockets, each named by the slot that the loop gave it. Readiness is
/// edge-triggered: it is told once, and the loop remembers it until a call says `WouldBlock`, or
/// gives less than was asked for where that [means the same](Self::short_is_blocked).
pub trait Sockets {
    /// Whether a read or write of fewer bytes than were asked for says what `WouldBlock` does: that
    /// there is no more, and that readiness will be told when there is. So it is with epoll and
    /// kqueue, and it saves a system call each time. On Windows readiness is told again only after
    /// a `WouldBlock`: who takes a short read for the end waits for ever.
    fn short_is_blocked(&self) -> bool;
    /// Opens the listener; at most one.
    fn listen(&mut self, addr: SocketAddr) -> io::Result<SocketAddr>;
    /// Closes the listener.
    fn stop_listening(&mut self);
    /// Begins to connect. Writability then means: ask [`connect_result`](Self::connect_result).
    fn connect(&mut self, slot: u32, addr: SocketAddr) -> io::Result<()>;
    /// Whether the connection stands; an error if it never will.
    fn connect_result(&mut self, slot: u32) -> io::Result<bool>;
    /// Accepts one connection into the slot, and tells nothing of it before it is [let in](Self::let_in): whom
    /// the door refuses is closed at once, and costs no more system calls than that.
    fn accept(&mut self, slot: u32) -> io::Result<SocketAddr>;
    /// The connection that was accepted from there stays: its readiness is told from now on, as that of one
    /// that was begun here is at once.
    fn let_in(&mut self, slot: u32, remote: SocketAddr) -> io::Result<()>;
    /// Out of descriptors: accepts one connection with the spare one and closes it, so that the
    /// queue of the kernel does not stay full of connections that nobody will serve. False if
    /// there was none.
    fn shed_one(&mut self) -> bool;
    /// Reads; 0 is the end of the stream.
    fn read(&mut self, slot: u32, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes a part or all of the bytes.
    fn write(&mut self, slot: u32, bytes: &[u8]) -> io::Result<usize>;
    /// No more bytes from us; the peer sees the end of the stream.
    fn shutdown_write(&mut self, slot: u32);
    /// Closes the socket; the slot is free.
    fn close(&mut self, slot: u32);
}
