//! A connection's socket as the loop holds it: what is known of its readiness, what was read and not
//! used, what is sealed and not written.

use std::io;

use super::Context;
use crate::{
    event_loop::{Counters, Readiness, Sockets},
    protocol::secret::FRAME_SEALED,
    reactor::{DisconnectReason, Inbox},
};

/// Readiness is edge-triggered, so it is remembered here.
#[derive(Debug)]
pub(in crate::event_loop) struct Socket {
    slot: u32,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The kernel said that the peer has closed; a short read no longer means "nothing more".
    pub(super) hung_up: bool,
    /// The end of the input was read. What arrived before it is still to be delivered.
    pub(super) end: Option<DisconnectReason>,
    /// A write failed: nothing more is written, but what has arrived is read to its end.
    pub(super) write_failed: bool,
    /// It failed because the connection was reset. The kernel tells that once: to who reads afterwards it
    /// looks as if the peer had ended in order.
    was_reset: bool,
    /// Sealed bytes received and not opened: less than a frame, unless reading is suspended.
    pub(super) inbuf: Vec<u8>,
    /// Sealed bytes to write, and how many of them are written.
    pub(super) out: Vec<u8>,
    out_at: usize,
}

impl Socket {
    /// An accepted one takes bytes at once; one that connects tells when it stands.
    pub(super) fn new(slot: u32, writable: bool) -> Self {
        Self {
            slot,
            readable: false,
            writable,
            hung_up: false,
            end: None,
            write_failed: false,
            was_reset: false,
            inbuf: Vec::new(),
            out: Vec::new(),
            out_at: 0,
        }
    }

    /// The poll told of it.
    pub(super) fn note(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable || readiness.hung_up;
        self.writable |= readiness.writable;
        self.hung_up |= readiness.hung_up;
    }

    /// Whether there may be more to read.
    pub(super) fn may_read(&self) -> bool {
        self.readable && self.end.is_none()
    }

    /// Whether sealed bytes wait to be written.
    pub(super) fn has_output(&self) -> bool {
        self.out_at < self.out.len()
    }

    /// Whether bytes that are sealed now could be written now.
    pub(super) fn has_room(&self) -> bool {
        self.writable && !self.write_failed && !self.has_output()
    }

    /// Reads once into the buffer; the bytes read. See [`Sockets::short_is_blocked`].
    pub(super) fn read(
        &mut self,
        sockets: &mut impl Sockets,
        counters: &Counters,
        buffer: &mut [u8],
    ) -> usize {
        match sockets.read(self.slot, buffer) {
            Ok(0) => {
                self.readable = false;
                self.end = Some(match self.was_reset {
                    true => DisconnectReason::Reset,
                    false => DisconnectReason::Eof,
                });
                0
            }
            Ok(read) => {
                counters.on_read(read);
                // A short read has emptied the socket, and new bytes make a new edge; but the
                // edge of a hang-up was told already.
                let is_full = read == buffer.len();
                self.readable = is_full || self.hung_up || !sockets.short_is_blocked();
                read
            }
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::WouldBlock => self.readable = false,
                    io::ErrorKind::Interrupted => {}
                    _ => {
                        self.readable = false;
                        self.end = Some(DisconnectReason::Reset);
                    }
                }
                0
            }
        }
    }

    /// Sealed bytes, in the buffer that is shared: what is left from before, and unless that is a frame or
    /// more what one read of so many bytes gives.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the buffer is made as long as it has to be, and no more is read than was wanted"
    )]
    pub(super) fn gather<'a>(
        &mut self,
        sockets: &mut impl Sockets,
        counters: &Counters,
        buffer: &'a mut Vec<u8>,
        wanted: usize,
    ) -> &'a mut [u8] {
        let have = self.inbuf.len();
        let may_read = have < FRAME_SEALED && self.may_read();
        let longest = if may_read { have + wanted } else { have };
        if buffer.len() < longest {
            buffer.resize(longest, 0);
        }
        buffer[..have].copy_from_slice(&self.inbuf);
        let mut filled = have;
        if may_read {
            filled += self.read(sockets, counters, &mut buffer[have..longest]);
        }
        &mut buffer[..filled]
    }

    /// So much of what was received is opened. What is left takes little more memory than it needs.
    pub(super) fn use_up(&mut self, used: usize) {
        self.inbuf.drain(..used);
        if self.inbuf.is_empty() || self.inbuf.capacity() > 2 * FRAME_SEALED {
            self.inbuf.shrink_to_fit();
        }
    }

    /// Writes what is sealed; how many bytes the socket took. An error ends writing, not reading.
    pub(super) fn write<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) -> usize {
        let mut taken = 0;
        while self.has_output() && self.writable && !self.write_failed {
            let bytes = self.out.get(self.out_at..).unwrap_or_default();
            match cx.sockets.write(self.slot, bytes) {
                Ok(written) => {
                    // A short write means that the kernel's buffer is full: an edge will come.
                    self.writable = written == bytes.len() || !cx.sockets.short_is_blocked();
                    self.out_at = self.out_at.saturating_add(written);
                    taken = written.saturating_add(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.write_failed = true;
                    self.was_reset = error.kind() == io::ErrorKind::ConnectionReset;
                }
            }
        }
        cx.counters.on_written(taken);
        if !self.has_output() || self.write_failed {
            self.drop_output(cx);
        }
        taken
    }

    /// Nothing of what is sealed is written any more.
    pub(super) fn drop_output<S: Sockets, I: Inbox>(&mut self, cx: &mut Context<S, I>) {
        self.out_at = 0;
        cx.recycle(std::mem::take(&mut self.out));
    }
}
