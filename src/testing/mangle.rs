//! Somebody between two nodes who changes what passes.

use std::collections::VecDeque;

use crate::protocol::secret::{EPHEMERAL, FRAME_SEALED};

/// What is done to one direction of a connection, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mischief {
    /// This bit of the stream is flipped.
    Flip {
        /// Its place.
        bit: u64,
    },
    /// Bytes are taken out of the stream.
    Drop {
        /// Where they begin.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// Foreign bytes are put into the stream.
    Insert {
        /// Where they begin.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// A frame comes twice.
    Replay {
        /// Its number.
        frame: u64,
    },
    /// A frame comes after its successor.
    Swap {
        /// Its number.
        frame: u64,
    },
}

/// The state of a [`Mischief`].
#[derive(Debug)]
pub struct Mangler {
    mischief: Mischief,
    /// A frame that is kept to be sent later or again.
    kept: Vec<u8>,
    /// It is done.
    pub is_done: bool,
}

impl Mangler {
    /// Nothing has passed yet.
    pub fn new(mischief: Mischief) -> Self {
        Self { mischief, kept: Vec::new(), is_done: false }
    }

    /// Passes on `bytes`, which stand at `at` in the stream.
    pub fn pass(&mut self, at: u64, bytes: &[u8], out: &mut VecDeque<u8>) {
        for (here, &byte) in (at..).zip(bytes) {
            self.pass_byte(here, byte, out);
        }
    }

    fn pass_byte(&mut self, here: u64, byte: u8, out: &mut VecDeque<u8>) {
        match self.mischief {
            Mischief::Flip { bit } if here == bit / 8 => {
                self.is_done = true;
                out.push_back(byte ^ (1 << (bit % 8)));
            }
            Mischief::Drop { at, bytes } if (at..at + bytes).contains(&here) => self.is_done = true,
            Mischief::Insert { at, bytes } if here == at => {
                self.is_done = true;
                out.extend((0..bytes).map(|i| (i * 37) as u8));
                out.push_back(byte);
            }
            Mischief::Replay { frame } if is_in(frame, here) => {
                self.kept.push(byte);
                out.push_back(byte);
                if self.kept.len() == FRAME_SEALED {
                    self.is_done = true;
                    out.extend(self.kept.drain(..));
                }
            }
            Mischief::Swap { frame } if is_in(frame, here) => self.kept.push(byte),
            Mischief::Swap { frame } if is_in(frame + 1, here) => {
                out.push_back(byte);
                if !is_in(frame + 1, here + 1) {
                    self.is_done = true;
                    out.extend(self.kept.drain(..));
                }
            }
            _ => out.push_back(byte),
        }
    }
}

fn is_in(frame: u64, at: u64) -> bool {
    at.checked_sub(EPHEMERAL as u64).is_some_and(|at| at / FRAME_SEALED as u64 == frame)
}
