//! 65,536 connections, in waves.

use std::{
    io::Write,
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::json;
use socket2::SockRef;

use crate::{
    figure, give_way,
    honest::Pair,
    peer::{Evil, Misdeed, Stage},
    support::{plain_from, until},
    victim::{Report, Settings, own_limit},
};

/// All of them.
const CONNECTIONS: usize = 65_536;

/// At once, where the limit on descriptors allows it.
const WAVE: usize = 4096;

/// Descriptors of this process that are for others.
const OTHERS: usize = 500;

/// Where the connection with this number comes from. The first half meets no rule about addresses: eight of an
/// address, 32 of a /24, each network in one wave. The others are all of one /24.
fn source(number: usize) -> Ipv4Addr {
    let (network, host) = match number {
        _ if number < CONNECTIONS / 2 => (number / 32, number % 32 / 8),
        _ => (CONNECTIONS / 4, number % 200),
    };
    Ipv4Addr::from(0x7f02_0001 + (network as u32 * 256) + host as u32)
}

/// What the one with this number does with it.
fn misbehave(stream: TcpStream, number: usize) -> Option<TcpStream> {
    // Who is refused may have been closed already.
    let say = |bytes: &[u8]| drop((&stream).write_all(bytes));
    match number % 5 {
        // Nothing.
        0 => {}
        1 => say(b"GET / HTTP/1.1\r\n\r\n"),
        // An ephemeral key: the victim computes.
        2 => say(&[&[34, 0x0a, 32], &[9; 32][..]].concat()),
        3 => say(&[34]),
        _ => {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return None;
        }
    }
    Some(stream)
}

#[test]
#[ignore = "65,536 connections: run by .ci/run"]
fn waves_of_connections_come_and_go() {
    let limit = own_limit().current.map_or(usize::MAX, |limit| limit as usize);
    let wave = WAVE.min(limit.saturating_sub(OTHERS));
    if wave < WAVE {
        figure(format_args!("waves of {wave} and not {WAVE}: ulimit -n is {limit}"));
    }
    assert!(wave >= 256, "ulimit -n is {limit}: it has to be {} at least", OTHERS + 256);
    let mut settings = Settings::new(json!({}));
    settings.tells = false;
    let (victim, pair) = Pair::at(settings);
    give_way();
    let before = victim.report();
    let all = |report: &Report| report.accepted - before.accepted;
    let (mut most_memory, mut held) = (0, Vec::with_capacity(wave));
    let halves = [("of many networks", 0), ("of one network", CONNECTIONS / 2)];
    for (name, first) in halves {
        let begun = Instant::now();
        pair.lap();
        for number in first..first + CONNECTIONS / 2 {
            held.extend(misbehave(plain_from(source(number), victim.addr), number));
            if (number + 1).is_multiple_of(wave) || number + 1 == first + CONNECTIONS / 2 {
                pair.goes_on(20);
                most_memory = most_memory.max(victim.grown());
                held.clear();
            }
        }
        figure(format_args!(
            "{} connections {name}, {wave} at once, in {:.1} s: {}",
            CONNECTIONS / 2,
            begun.elapsed().as_secs_f32(),
            pair.lap()
        ));
    }
    // Who is closed at the door, and not told of, is counted with the next one that fails.
    let last = Evil::at(Stage::Connected, Misdeed::Silence, &victim, 0);
    drop(last);
    victim.recovers();
    let is_counted = |report: &Report| report.rejected.values().sum::<u64>() == all(report);
    until("nobody is forgotten", || is_counted(&victim.report()));
    let report = victim.report();
    let (accepted, rejected) = (all(&report), &report.rejected);
    figure(format_args!("accepted {accepted}, rejected {rejected:?}"));
    assert_eq!(accepted, CONNECTIONS as u64 + 1);
    // Whose network comes too often, and who made room for others. Of those who are closed at the door most are
    // counted with the next one that is told.
    assert!(rejected["full"] > 1000 && rejected["evicted"] > 1000, "{rejected:?}");
    let most = victim.most_memory();
    figure(format_args!(
        "{} KiB more memory, {} KiB by the formula; longest turn of the loop {:?}",
        most_memory >> 10,
        most >> 10,
        report.longest_turn
    ));
    // Of strangers alone: nobody has become a peer.
    let config = &victim.config;
    let strangers = (config.max_pending_handshakes * 20 + (10 << 10)) << 10;
    assert!(most_memory <= strangers, "{most_memory} bytes, {strangers} by the formula");
    drop(Evil::session(&victim));
    victim.recovers();
    pair.end();
    victim.stop();
}
