//! What is told of a running node, as both programs decide it.

#[path = "../../examples/common/news.rs"]
mod program;

use std::time::Duration;

use log::Level;
use program::{Facts, Line, News, undialable};
use tmp2p::{Direction, DisconnectReason, NodeId, NodeInfo, SwitchEvent};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn up() -> SwitchEvent {
    up_as("m")
}

fn up_as(moniker: &str) -> SwitchEvent {
    let (id, addr) = (NodeId::from_bytes([1; 20]), "1.2.3.4:5".parse().unwrap());
    SwitchEvent::Connected { id, addr, direction: Direction::Outbound, moniker: moniker.to_owned() }
}

/// What a day of looks each second says, with its time in seconds.
fn day(mut news: News, facts: &Facts) -> Vec<(u64, Line)> {
    let look = |second| {
        let lines = news.look(facts, Duration::from_secs(second));
        lines.into_iter().map(move |line| (second, line)).collect::<Vec<_>>()
    };
    (1..=24 * 3600).flat_map(look).collect()
}

fn news(has_names: bool) -> News {
    News::new(has_names, [], MINUTE, Duration::ZERO)
}

#[test]
fn nobody_to_connect_to_is_a_warning_at_once_and_then_once_an_hour() {
    let warnings = |lines: Vec<(u64, Line)>| -> Vec<_> {
        let is_it = |(_, (level, line)): &&(u64, Line)| {
            *level == Level::Warn && line.contains("seeds") && line.contains("persistent_peers")
        };
        lines.iter().filter(is_it).map(|(second, _)| *second).collect()
    };
    let nobody = Facts::default();
    let expected: Vec<u64> = (0..24).map(|hour| 1 + hour * 3600).collect();
    assert_eq!(warnings(day(news(false), &nobody)), expected);
    for (has_names, facts) in [
        (true, nobody),
        (false, Facts { addresses: 1, ..nobody }),
        (false, Facts { inbound: 1, ..nobody }),
    ] {
        assert!(warnings(day(news(has_names), &facts)).is_empty(), "{facts:?}");
    }
}

#[test]
fn peers_that_are_found_and_lost_are_told_once() {
    let mut news = news(true);
    let alone = Facts { addresses: 7, ..Facts::default() };
    let told = |lines: Vec<Line>| lines.into_iter().map(|(_, line)| line).collect::<Vec<_>>();
    assert!(news.look(&alone, MINUTE - Duration::from_secs(1)).is_empty());
    let failed = SwitchEvent::DialFailed {
        addr: format!("{}@1.2.3.4:5", NodeId::from_bytes([1; 20])).parse().unwrap(),
        reason: DisconnectReason::Refused,
        failures: 1,
    };
    assert!((0..3).all(|_| news.hear(&failed, MINUTE).is_none()));
    let lines = news.look(&alone, MINUTE);
    assert_eq!(lines[0].0, Level::Warn);
    let what = "no peers yet, for 60 s; 7 addresses known, 3 failed dials meanwhile";
    assert_eq!(told(lines), [what]);
    assert!(news.look(&alone, 2 * MINUTE).is_empty());

    let (level, line) = news.hear(&up(), 3 * MINUTE).unwrap();
    assert_eq!(level, Level::Info);
    assert!(line.starts_with("first peer: 0101") && line.ends_with("outbound, \"m\""), "{line}");
    assert!(news.hear(&up(), 3 * MINUTE).is_none());
    let long = "x\u{1b}[2J".repeat(10_000);
    let (_, line) = self::news(true).hear(&up_as(&long), MINUTE).unwrap();
    assert!(line.len() < 300 && !line.contains('\u{1b}') && line.ends_with("\"..."), "{line}");
    let one = Facts { outbound: 1, ..alone };
    assert!(news.look(&one, 4 * MINUTE).is_empty());
    // One that is lost for a moment is no news.
    assert!(news.look(&alone, 4 * MINUTE + MINUTE / 2).is_empty());
    assert!(news.hear(&up(), 5 * MINUTE).is_none());
    let lines = told(news.look(&alone, 6 * MINUTE));
    assert!(lines[0].starts_with("no peers any more, for 60 s"), "{lines:?}");
    assert!(news.hear(&up(), 7 * MINUTE).is_some(), "found again");
}

/// The fault: it was told as the first peer, and each meeting began the time without peers anew.
#[test]
fn a_seed_that_answers_and_hangs_up_is_no_peer_and_one_that_stays_is() {
    let seed = NodeId::from_bytes([1; 20]);
    let alone = Facts { addresses: 1, ..Facts::default() };
    let with_seed = Facts { outbound: 1, seeds: 1, ..alone };
    let second = Duration::from_secs(1);
    let at = |seconds: u64| Duration::from_secs(seconds);
    let mut news = News::new(true, [seed], MINUTE, Duration::ZERO);
    // It is met every twenty seconds, for two, and then again and again: at no look it is away.
    let mut told = Vec::new();
    for now in 1..=600 {
        if now % 20 == 1 {
            told.extend(news.hear(&up(), at(now)).map(|line| (now, line)));
        }
        let facts = if now % 20 < 3 || now > 300 { &with_seed } else { &alone };
        let lines = news.look(facts, at(now)).into_iter();
        told.extend(lines.filter(|line| !line.1.starts_with("peers: ")).map(|line| (now, line)));
    }
    let [(60, (Level::Warn, line))] = &told[..] else { panic!("{told:?}") };
    for part in
        ["no peers yet, for 60 s", "its seed answers (0101", "nobody else", "1 address known"]
    {
        assert!(line.contains(part), "no {part:?} in {line}");
    }

    // One that stays is a peer like others; what it was called is told.
    let mut news = News::new(true, [seed], MINUTE, Duration::ZERO);
    assert!(news.hear(&up(), second).is_none());
    let told: Vec<_> = (1..=200)
        .flat_map(|now| news.look(&with_seed, at(now)).into_iter().map(move |line| (now, line)))
        .collect();
    let [(60, (Level::Warn, _)), (121, (Level::Info, line))] = &told[..] else {
        panic!("{told:?}")
    };
    assert!(line.starts_with("first peer: 0101") && line.ends_with("\"m\""), "{line}");
    // And so is anybody else beside it.
    let mut news = News::new(true, [seed], MINUTE, Duration::ZERO);
    let two = Facts { inbound: 1, ..with_seed };
    assert!((1..=200).all(|now| news.look(&two, at(now)).is_empty()));
    let another = SwitchEvent::Connected {
        id: NodeId::from_bytes([2; 20]),
        addr: "1.2.3.4:5".parse().unwrap(),
        direction: Direction::Inbound,
        moniker: "m".to_owned(),
    };
    assert!(news.hear(&another, at(201)).is_some());
}

#[test]
fn a_summary_comes_every_five_minutes() {
    let facts = Facts {
        outbound: 3,
        inbound: 2,
        seeds: 0,
        dialing: 1,
        addresses: 40,
        bad: 4,
        height: Some(77),
    };
    let mut news = news(true);
    let addr = "1.2.3.4:5".parse().unwrap();
    let reason = DisconnectReason::Evicted;
    news.hear(&SwitchEvent::Rejected { addr, id: None, reason, others: 9 }, MINUTE);
    news.hear(&up(), MINUTE);
    let lines = news.look(&facts, 5 * MINUTE);
    let text = "height 77, peers: 3 outbound, 2 inbound, 1 being dialed; 40 addresses (4 bad); in 5 min: \
                1 session, 0 failed dials, 10 refused connections";
    assert_eq!(lines, [(Level::Info, text.to_owned())]);
    let day = day(news, &Facts { height: None, ..facts });
    assert_eq!(day.len(), 24 * 12 - 1, "and nothing else, all day");
    assert!(day.iter().all(|(_, (_, line))| line.starts_with("peers: 3 outbound")));
    assert!(day[0].1.1.ends_with("0 refused connections"), "since the last one");
    assert!(day.windows(2).all(|two| two[1].0 - two[0].0 == 300));
    assert!(HOUR > 5 * MINUTE);
}

#[test]
fn an_address_that_nobody_can_dial_is_a_warning() {
    for (announced, expected) in [
        ("tcp://0.0.0.0:26656", true),
        ("tcp://[::]:26656", true),
        ("tcp://127.0.0.1:26656", false),
        ("tcp://1.2.3.4:26656", false),
        // It only dials.
        ("tcp://0.0.0.0:0", false),
        ("tcp://node.example:26656", false),
    ] {
        let why = undialable(announced);
        assert_eq!(why.is_some(), expected, "{announced}");
        assert!(why.is_none_or(|why| why.contains("external_address")));
    }
}

/// A seed hears of nobody who stays; that each node it knows is of another network is told all the same.
#[test]
fn a_wrong_chain_and_a_book_of_bad_addresses_are_told() {
    let warnings = |news: &mut News, facts: &Facts| {
        let lines = news.look(facts, Duration::from_secs(1)).into_iter();
        lines.filter(|(level, _)| *level == Level::Warn).map(|(_, line)| line).collect::<Vec<_>>()
    };
    let failed = |reason: DisconnectReason| SwitchEvent::DialFailed {
        addr: format!("{}@1.2.3.4:5", NodeId::from_bytes([1; 20])).parse().unwrap(),
        reason,
        failures: 1,
    };
    let other = || {
        let ours = NodeInfo::new("ours", "m").unwrap();
        let theirs = NodeInfo::new("theirs", "m").unwrap();
        DisconnectReason::Incompatible(ours.compatible_with(&theirs).unwrap_err())
    };
    let facts = Facts { addresses: 9, ..Facts::default() };
    let (mut news, now) = (News::new(false, [], HOUR, Duration::ZERO), Duration::ZERO);
    news.hear(&failed(DisconnectReason::Refused), now);
    news.hear(&failed(other()), now);
    news.hear(&failed(other()), now);
    assert!(warnings(&mut news, &facts).is_empty());
    news.hear(&failed(other()), now);
    let told = warnings(&mut news, &facts);
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["3 of 4 dials", "theirs", "ours", "chain id"] {
        assert!(told[0].contains(part), "{part}: {told:?}");
    }
    // Somebody of ours is there after all.
    let mut news = News::new(false, [], HOUR, now);
    (0..3).for_each(|_| drop(news.hear(&failed(other()), now)));
    news.hear(&up(), now);
    assert!(warnings(&mut news, &facts).is_empty());

    let mut news = News::new(false, [], HOUR, now);
    let told = warnings(&mut news, &Facts { addresses: 4, bad: 4, ..facts });
    assert!(
        told[0].contains("nothing but bad addresses is in the address book, 4 of them"),
        "{told:?}"
    );
}
