//! Thousands of connections that say nothing, and an honest node among them.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use tmp2p::Config;

use crate::{process::*, support::*};

/// Descriptors beside those of the silent connections: the pool of pending handshakes, what is
/// about to be closed, and the tests' own.
const OTHERS: usize = 3000;

/// What the process may have in use beside what `Config` says of connections: the silent side is
/// in the same process, and allocators keep some.
const SLACK: usize = 8 << 20;

/// Each from an address of its own, 32 to a network, so that no rule about addresses stops them.
fn source(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 60 + (n / 32 / 250) as u8, (n / 32 % 250) as u8, (n % 32) as u8 + 1)
}

fn limit_of_descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

fn serial_handshakes_one_telnet_blocks_all(wanted: usize) -> Duration {
    let allowed = limit_of_descriptors().saturating_sub(OTHERS);
    let number = wanted.min(allowed);
    if number < wanted {
        println!("only {number} of {wanted}: the limit of open files allows no more");
    }
    // As configured by default but for the peers' own limits: nobody is exempt.
    let config = Config { exempt_cidrs: Vec::new(), ..local() };
    let pool = config.max_pending_handshakes;
    let alice = node_from(config);
    let addr = alice.0.handle().local_addr().unwrap();
    let bob = node();
    until("every thread has its name", || resources().0.values().sum::<usize>() == 6);
    let (memory_before, (_, descriptors)) = (memory(), resources());

    let mut silent: Vec<TcpStream> = Vec::with_capacity(number);
    let mut slowest = Duration::ZERO;
    let mut most = 0;
    for n in 0..number {
        silent.push(plain_from(source(n), addr));
        // While they come, and when they are all there.
        if n % (number / 4) == number / 4 - 1 {
            let started = Instant::now();
            connect(&bob.0, &alice.0);
            slowest = slowest.max(started.elapsed());
            assert_eq!(up(&alice.1).id(), bob.0.handle().id());
            up(&bob.1).stop("again");
            down(&alice.1);
            down(&bob.1);
            most = most.max(memory());
        }
    }
    // A KiB for each that is silent, and the accept rates' tables: see `Config`.
    let grown = most.saturating_sub(memory_before);
    let formula = pool.min(number) * 1024 + (6 << 20);
    println!(
        "{number} silent connections: the honest one needed {slowest:?}, {} KiB more memory, \
         {} KiB by the formula",
        grown >> 10,
        formula >> 10,
    );
    assert!(grown <= formula + SLACK, "{grown} bytes, {formula} by the formula");
    drop(silent);
    until("every socket is closed", || resources().1 == descriptors);
    slowest
}

#[test]
fn serial_handshakes_one_telnet_blocks_all_1200() {
    if is_alone("slow_loris::serial_handshakes_one_telnet_blocks_all_1200") {
        // More than the pool holds. A busy machine may take its time; it is not kept out.
        serial_handshakes_one_telnet_blocks_all(1200);
    }
}

#[test]
#[ignore = "takes 10,000 sockets, and the time of the machine"]
fn serial_handshakes_one_telnet_blocks_all_10000() {
    if is_alone("slow_loris::serial_handshakes_one_telnet_blocks_all_10000") {
        let slowest = serial_handshakes_one_telnet_blocks_all(10_000);
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    }
}
