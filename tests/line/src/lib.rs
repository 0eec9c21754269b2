//! Lines with a rate, a delay, a queue, loss and reordering, between network namespaces of this
//! machine; they can change and be cut at any time. What the kernel's `netem` would do, which many kernels do
//! not have: a TUN device in each namespace, and between them a program that forwards packets when they are
//! due.
//!
//! [`Shape`] says how a line is, [`Lane`] decides about packets, [`Net`] does what was decided.
#![cfg(target_os = "linux")]

mod lane;
mod namespace;
mod net;
mod tun;

pub use lane::{Lane, Shape};
pub use namespace::command_in;
pub use net::{End, Net, missing};
