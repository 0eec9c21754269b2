//! Every misdeed at every stage of a handshake, and in a session.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    dice, figure, give_way,
    honest::Pair,
    peer::{Evil, MISDEEDS, Misdeed, STAGES, Stage},
    victim::{Settings, Victim},
};

/// What an end that is due may be late on a busy machine, or what has to end at once.
const LATE: Duration = Duration::from_secs(5);

/// Between two bytes of who drips.
const PACE: Duration = Duration::from_millis(300);

/// When the end is promised.
#[derive(Clone, Copy, PartialEq)]
enum When {
    /// As soon as it is seen.
    Now,
    /// `handshake_timeout` after the connection.
    Handshake,
    /// 3 s after the authentication, or with the handshake.
    NodeInfo,
    /// `pong_timeout` after the next ping.
    Pong,
}

/// How it is to end: the kind of the reason, words of it, and when. `None`: it cannot be done there.
fn promise(stage: Stage, misdeed: Misdeed) -> Option<(&'static str, &'static str, When)> {
    use Misdeed::*;
    let auth = |words| Some(("auth_failure", words, When::Now));
    let broken = |words| Some(("protocol", words, When::Now));
    match (misdeed, stage) {
        (Silence | Drip, Stage::Open) => Some(("pong_timeout", "did not answer", When::Pong)),
        (Silence | Drip, _) => {
            let when = if stage < Stage::Known { When::Handshake } else { When::NodeInfo };
            Some(("handshake_timeout", "handshake not finished", when))
        }
        (HalfClose, _) => Some(("eof", "closed by the peer", When::Now)),
        (Reset, _) => Some(("reset", "reset by the peer", When::Now)),
        (Garbage, Stage::Connected) => auth("instead of an ephemeral key"),
        (Garbage | Replay, _) => auth("fails authentication"),
        (Impostor, Stage::Connected | Stage::InKey) => auth("low order"),
        (Impostor, Stage::Keyed | Stage::InAuth) => auth("signature does not verify"),
        (Impostor, Stage::Known | Stage::InNodeInfo) => broken("who has authenticated as"),
        (Impostor, Stage::Open) => auth("fails authentication"),
        (Oversized, Stage::Connected) => auth("starts with 0x23"),
        (Oversized, Stage::InKey) => auth("malformed ephemeral key"),
        (Oversized, Stage::Keyed) => auth("authentication message: "),
        (Oversized, Stage::InAuth) => auth("frame claims 1025 bytes"),
        (Oversized, Stage::Known) => broken("node info of 10241 bytes"),
        (Oversized, Stage::InNodeInfo) => auth("frame claims 4294967295 bytes"),
        (Oversized, Stage::Open) => broken("packet of 2147483648 bytes"),
        (Empty, Stage::Connected | Stage::InKey) => None,
        (Empty, _) => auth("empty frames in a row"),
    }
}

/// Everything that can be done.
fn cells() -> impl Iterator<Item = (Stage, Misdeed)> {
    let all = MISDEEDS.into_iter().flat_map(|misdeed| STAGES.map(|stage| (stage, misdeed)));
    all.filter(|(stage, misdeed)| promise(*stage, *misdeed).is_some())
}

/// Somebody does this there, and it ends as is promised.
#[track_caller]
fn ends_as_promised(victim: &Victim, stage: Stage, misdeed: Misdeed, dice: u64) {
    let (kind, words, when) = promise(stage, misdeed).unwrap();
    let begun = Instant::now();
    let mut evil = Evil::at(stage, misdeed, victim, dice);
    let there = Instant::now();
    evil.does(stage, misdeed, victim);
    evil.is_closed(misdeed, PACE);
    let end = victim.end(evil.addr);
    let who = format!("{misdeed:?} at {stage:?}");
    assert!(end.kind == kind && end.reason.contains(words), "{who}: {end:?}");
    let config = &victim.config;
    let (since, due) = match when {
        When::Now => (there, Duration::ZERO),
        When::Handshake => (begun, config.handshake_timeout),
        When::NodeInfo => (begun, config.handshake_timeout.min(Duration::from_secs(3))),
        When::Pong => (there, config.pong_timeout),
    };
    // A ping is under way when it pleases the victim.
    let slack = if when == When::Pong { config.ping_interval } else { Duration::ZERO };
    let took = end.at.duration_since(since);
    assert!(took <= due + slack + LATE, "{who}: after {took:?}, {due:?} are promised");
    // Not before it is due, but for what lies between two looks at a clock.
    let early = due.saturating_sub(Duration::from_millis(20));
    assert!(took >= early, "{who}: after {took:?}, not before {due:?}");
}

/// All of them at once, each from an address of its own.
fn all_at_once(victim: &Victim, dice: u64) {
    thread::scope(|scope| {
        for (number, (stage, misdeed)) in cells().enumerate() {
            scope.spawn(move || ends_as_promised(victim, stage, misdeed, dice + number as u64));
        }
    });
}

#[test]
fn every_misdeed_at_every_stage_ends_as_promised() {
    let dice = dice();
    let (victim, pair) = Pair::at(Settings::frugal(json!({
        "handshake_timeout": "1200ms",
        "ping_interval": "1s",
        "pong_timeout": "900ms",
        "max_num_inbound_peers": 100,
    })));
    all_at_once(&victim, dice);
    let report = victim.recovers();
    let expected: u64 = cells().filter(|(stage, _)| *stage < Stage::Open).count() as u64;
    assert_eq!(report.rejected.values().sum::<u64>(), expected, "{:?}", report.rejected);
    figure(format_args!("{} ways to misbehave, all at once: {}", cells().count(), pair.lap()));
    assert!(victim.grown() <= victim.most_memory());
    pair.end();
    victim.stop();
}

/// With the defaults, where a handshake may take 20 s. Those who wait for that do it beside all others,
/// who come as fast as they can.
#[test]
#[ignore = "takes 20 s, and the time of the machine: run by .ci/run"]
fn misdeeds_with_the_defaults_and_what_honest_peers_notice() {
    let dice = dice();
    let (victim, pair) = Pair::at(Settings::frugal(json!({
        "max_num_inbound_peers": 1000,
        "ping_interval": "8s",
        "pong_timeout": "7s",
    })));
    give_way();
    let victim_ref = &victim;
    thread::scope(|scope| {
        for (number, (stage, misdeed)) in
            cells().filter(|(_, misdeed)| *misdeed <= Misdeed::Drip).enumerate()
        {
            scope.spawn(move || ends_as_promised(victim_ref, stage, misdeed, dice + number as u64));
        }
        pair.lap();
        for misdeed in MISDEEDS.into_iter().filter(|misdeed| *misdeed > Misdeed::Drip) {
            let ends = Instant::now() + Duration::from_millis(1200);
            let mut times = 0;
            while Instant::now() < ends {
                for stage in STAGES {
                    if promise(stage, misdeed).is_some() {
                        times += 1;
                        ends_as_promised(victim_ref, stage, misdeed, dice + times);
                    }
                }
            }
            figure(format_args!("{misdeed:?} at every stage, {times} times: {}", pair.lap()));
        }
    });
    figure(format_args!("Silence and Drip at every stage: {}", pair.lap()));
    let report = victim.recovers();
    let (grown, most) = (victim.grown() >> 10, victim.most_memory() >> 10);
    figure(format_args!("{grown} KiB more than before, {most} KiB by the formula"));
    assert!(grown <= most);
    figure(format_args!("longest turn of the loop {:?}", report.longest_turn));
    pair.end();
    victim.stop();
}
