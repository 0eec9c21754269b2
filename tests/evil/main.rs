//! Peers that mean harm, over real sockets against a whole node in a process of its own. Each goes as far as a
//! [`Stage`](peer::Stage), honestly, and then does its [`Misdeed`](peer::Misdeed). Meanwhile two honest nodes talk
//! through the victim, and afterwards it has what it had: no session, thread or descriptor more, as much memory
//! as is documented at most.
//!
//! What takes seconds is part of `cargo test`. The rest, with what honest peers notice of each attack:
//! `cargo test --release --test evil -- --ignored --nocapture --test-threads=1`, with the dice of `TMP2P_EVIL_SEED`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod descriptors;
mod flood;
#[path = "../interop/go.rs"]
#[allow(dead_code, reason = "the tests with a Go node use the rest")]
mod go;
mod handshake;
mod honest;
mod memory;
#[path = "../switch/process.rs"]
#[allow(dead_code, reason = "tests that run alone use the rest")]
mod own;
mod peer;
mod session;
#[path = "../switch/support.rs"]
#[allow(dead_code, reason = "tests of the switch use the rest")]
mod support;
mod victim;
mod wave;

use std::{
    fmt,
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::SystemTime,
};

use support::DEADLINE;

/// An address of this machine that nobody else has, in a network that nobody else is in: no rule about
/// addresses is met by chance. There are 57,344 networks before the first comes again.
fn alone() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    Ipv4Addr::from(0x7f10_0001 + ((number % 0xe000) << 8) + number / 0xe000)
}

/// Who attacks has a machine of his own. Here this thread gives way to all others.
fn give_way() {
    // Where it may not, honest peers share the processor with it.
    let _ = rustix::process::nice(19);
}

/// What chance is made of: printed, so that it can be had again.
fn dice() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let given = std::env::var("TMP2P_EVIL_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or(since.as_millis() as u64 % 1_000_000);
    figure(format_args!("TMP2P_EVIL_SEED={seed}"));
    seed
}

/// A line for whoever runs this.
fn figure(text: fmt::Arguments) {
    println!("evil: {text}");
}
