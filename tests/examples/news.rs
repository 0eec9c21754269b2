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
    SwitchEvent::PeerUp { id, addr, direction: Direction::Outbound, moniker: moniker.to_owned() }
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
    News::new(has_names, MINUTE, Duration::ZERO)
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
    let what = "no peers yet, for 60 s; 7 addresses are known, 3 dials have failed meanwhile";
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

#[test]
fn a_summary_comes_every_five_minutes() {
    let facts =
        Facts { outbound: 3, inbound: 2, dialing: 1, addresses: 40, bad: 4, height: Some(77) };
    let mut news = news(true);
    let addr = "1.2.3.4:5".parse().unwrap();
    let reason = DisconnectReason::Evicted;
    news.hear(&SwitchEvent::Rejected { addr, id: None, reason, others: 9 }, MINUTE);
    news.hear(&up(), MINUTE);
    let lines = news.look(&facts, 5 * MINUTE);
    let text = "height 77, 3 outbound and 2 inbound peers, 1 being dialed, 40 addresses (4 bad); in 5 \
                min: 1 sessions began, 0 dials failed, 10 connections were refused";
    assert_eq!(lines, [(Level::Info, text.to_owned())]);
    let day = day(news, &Facts { height: None, ..facts });
    assert_eq!(day.len(), 24 * 12 - 1, "and nothing else, all day");
    assert!(day.iter().all(|(_, (_, line))| line.starts_with("3 outbound")));
    assert!(day[0].1.1.ends_with("0 connections were refused"), "since the last one");
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
    let (mut news, now) = (News::new(false, HOUR, Duration::ZERO), Duration::ZERO);
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
    let mut news = News::new(false, HOUR, now);
    (0..3).for_each(|_| drop(news.hear(&failed(other()), now)));
    news.hear(&up(), now);
    assert!(warnings(&mut news, &facts).is_empty());

    let mut news = News::new(false, HOUR, now);
    let told = warnings(&mut news, &Facts { addresses: 4, bad: 4, ..facts });
    assert!(told[0].contains("all 4 addresses of the address book are bad"), "{told:?}");
}
