//! The multiplexed connection in virtual time: no socket, no clock, no thread.

mod codec;
mod faults;
mod harness;
mod keep_alive;
mod rates;
mod receiving;
