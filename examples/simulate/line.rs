//! One end of a connection that no switch looks after.

use std::io::ErrorKind;

use tmp2p::internals::{event_loop::Sockets, testing::sockets::SimSockets};

/// Bytes that have come and were not used, and those that are to be sent.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) input: Vec<u8>,
    pub(crate) out: Vec<u8>,
}

impl Line {
    /// Takes what has come; whether the other end is still there.
    pub(crate) fn read(&mut self, sockets: &mut SimSockets, slot: u32) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match sockets.read(slot, &mut buffer) {
                Ok(0) => return false,
                Ok(len) => self.input.extend(&buffer[..len]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Sends all, which is never more than there is room for; whether the other end is still there.
    pub(crate) fn write(&mut self, sockets: &mut SimSockets, slot: u32) -> bool {
        let out = std::mem::take(&mut self.out);
        out.is_empty() || sockets.write(slot, &out).is_ok()
    }
}
