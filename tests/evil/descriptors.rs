//! Descriptors that run out, and come back.

use std::net::TcpStream;

use serde_json::json;

use crate::{
    alone, figure,
    honest::Pair,
    peer::{Evil, Misdeed, Stage},
    support::{is_let_in, plain_from, until},
    victim::{Settings, Victim},
};

/// Descriptors that are left when the attack begins.
const LEFT: usize = 40;

/// Who comes for them.
const STRANGERS: usize = 200;

/// Who says nothing gets the first word of a node that has time to spare, or is closed.
fn come(victim: &Victim, number: usize) -> Vec<TcpStream> {
    (0..number).map(|_| plain_from(alone(), victim.addr)).collect()
}

/// A stranger becomes a peer, and goes.
fn is_let_in_again(victim: &Victim) {
    let evil = Evil::at(Stage::Open, Misdeed::Silence, victim, 0);
    let addr = evil.addr;
    drop(evil);
    assert!(["eof", "reset"].contains(&&*victim.end(addr).kind));
}

#[test]
fn without_descriptors_strangers_are_closed_and_afterwards_let_in_again() {
    let (victim, pair) = Pair::at(Settings::new(json!({})));
    // It has planned with more than it gets.
    let limit = victim.limit_descriptors(LEFT as u64);
    for round in 0..2 {
        let failed = victim.report().accept_failures;
        let strangers = come(&victim, STRANGERS);
        let inside = strangers.iter().filter(|stream| is_let_in(stream)).count();
        // The limit is one on numbers, of which a lower one may have been free.
        assert!((LEFT - 1..=LEFT + 2).contains(&inside), "{inside} of {LEFT}");
        until("it is told", || victim.report().accept_failures > failed);
        pair.goes_on(20);
        drop(strangers);
        victim.recovers();
        is_let_in_again(&victim);
        figure(format_args!(
            "{STRANGERS} strangers for {LEFT} descriptors, round {round}: {inside} inside; {}",
            pair.lap()
        ));
    }
    // The application takes all of them.
    assert!(victim.hoard() >= LEFT as u64 / 2);
    let strangers = come(&victim, STRANGERS);
    assert_eq!(strangers.iter().filter(|stream| is_let_in(stream)).count(), 0);
    pair.goes_on(20);
    victim.release();
    drop(strangers);
    is_let_in_again(&victim);
    victim.set_limit(limit);
    victim.recovers();
    figure(format_args!("no descriptor for {STRANGERS} strangers: {}", pair.lap()));
    pair.end();
    victim.stop();
}
