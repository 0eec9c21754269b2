//! A line with a rate, a delay, a queue, loss and reordering, between two network namespaces of this
//! machine. What the kernel's `netem` would do, which many kernels do not have: a TUN device in each
//! namespace, and between them a program that forwards packets when they are due.
//!
//! [`Shape`] says how the line is, [`Lane`] decides about packets, [`Line`] does what was decided.
#![cfg(target_os = "linux")]

mod lane;
mod line;
mod namespace;
mod tun;

pub use lane::{Lane, Shape};
pub use line::{End, Line, missing};
pub use namespace::command_in;
