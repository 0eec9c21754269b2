//! What an operator reads.

use super::*;

const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";

fn id() -> NodeId {
    ID.parse().unwrap()
}

fn failed_often(reason: DisconnectReason, failures: u32) -> SwitchEvent {
    SwitchEvent::DialFailed { addr: format!("{ID}@1.2.3.4:5").parse().unwrap(), reason, failures }
}

fn failed(reason: DisconnectReason) -> SwitchEvent {
    failed_often(reason, 1)
}

fn refused() -> SwitchEvent {
    failed(DisconnectReason::Refused)
}

fn up() -> SwitchEvent {
    let (addr, moniker) = ("1.2.3.4:5".parse().unwrap(), "m".to_owned());
    SwitchEvent::Connected { id: id(), addr, direction: Direction::Outbound, moniker }
}

fn down(direction: Direction, reason: DisconnectReason) -> SwitchEvent {
    SwitchEvent::Disconnected { id: id(), addr: "1.2.3.4:5".parse().unwrap(), direction, reason }
}

fn at(seconds: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(seconds)
}

fn stranger(_: &NodeId) -> bool {
    false
}

fn persistent(_: &NodeId) -> bool {
    true
}

fn level(event: &SwitchEvent, is_persistent: fn(&NodeId) -> bool) -> Level {
    Log::default().line(event, is_persistent, Mono::ZERO).unwrap().level
}

/// tm#9977, fx-core#40: an end of file as an error, peers nobody can read.
#[test]
fn eof_logged_as_an_error_and_unreadable_peers() {
    let event = down(Direction::Inbound, DisconnectReason::Eof);
    let line = Log::default().line(&event, stranger, Mono::ZERO).unwrap();
    let text = format!("peer {ID}@1.2.3.4:5 down: closed by the peer");
    assert_eq!(line, Line { level: Level::Debug, text });
}

/// The fault: two lines for each peer that came and went.
#[test]
fn only_who_is_configured_is_news() {
    let reactor = || DisconnectReason::Reactor("bad block".into());
    for (event, of_stranger, of_persistent) in [
        (up(), Level::Debug, Level::Info),
        (down(Direction::Inbound, DisconnectReason::Eof), Level::Debug, Level::Info),
        (down(Direction::Inbound, reactor()), Level::Debug, Level::Warn),
        (down(Direction::Inbound, DisconnectReason::Stopped), Level::Debug, Level::Debug),
        (refused(), Level::Debug, Level::Warn),
        (failed(DisconnectReason::DuplicateId(id())), Level::Debug, Level::Debug),
    ] {
        assert_eq!(level(&event, stranger), of_stranger, "{event:?}");
        assert_eq!(level(&event, persistent), of_persistent, "{event:?}");
    }
    let ban = |origin| {
        let reason = "spam".to_owned();
        SwitchEvent::Banned(Ban { target: id().into(), until: None, reason, origin })
    };
    assert_eq!(level(&ban(BanOrigin::Automatic), stranger), Level::Debug);
    assert_eq!(level(&ban(BanOrigin::Operator), stranger), Level::Info);
}

#[test]
fn a_configured_node_that_cannot_be_reached_is_a_warning_an_hour() {
    for (mut log, is_persistent, what) in [
        (Log::default(), persistent as fn(&NodeId) -> bool, "persistent peer"),
        (Log::new([id()], None), stranger, "seed"),
    ] {
        let mut told = Vec::new();
        for second in (0..3 * 3600 + 10).step_by(10) {
            let line = log.line(&refused(), is_persistent, at(second));
            told.extend(line.filter(|line| line.level == Level::Warn).map(|_| second));
        }
        assert_eq!(told, [0, 3600, 7200, 10_800]);
        let line = log.line(&up(), is_persistent, at(10_900)).unwrap();
        assert_eq!(line.level, Level::Info, "it is back");
        assert!(line.text.starts_with(&format!("{what} {ID}@1.2.3.4:5 up")), "{}", line.text);
        // Whoever comes and goes does not cause more of them.
        let line = log.line(&refused(), is_persistent, at(10_910)).unwrap();
        assert_eq!(line.level, Level::Debug);
        let wrong =
            DisconnectReason::WrongId { expected: id(), actual: NodeId::from_bytes([7; 20]) };
        let line = log.line(&failed(wrong), is_persistent, at(20_000)).unwrap();
        let text = format!("cannot reach the {what} {ID}@1.2.3.4:5: wrong node: dialed {ID}");
        assert!(line.text.starts_with(&text), "{}", line.text);
        assert!(line.text.ends_with("correct the ID that is configured for it"));
    }
}

/// One refusal is an accident, and a hundred in a row are a node that is gone.
#[test]
fn attempts_that_failed_are_counted_from_the_second_on() {
    let text = |times, is_persistent: fn(&NodeId) -> bool| {
        let event = failed_often(DisconnectReason::Refused, times);
        Log::default().line(&event, is_persistent, at(0)).unwrap().text
    };
    let why = DisconnectReason::Refused.to_string();
    let at = format!("{ID}@1.2.3.4:5");
    for (times, attempts, in_a_row) in
        [(0, "", ""), (1, "", ""), (2, " (2 attempts)", ", 2 times in a row")]
    {
        let missed = format!("cannot reach the persistent peer {at}{attempts}: {why}");
        assert_eq!(text(times, persistent), missed);
        assert_eq!(text(times, stranger), format!("dialing {at} failed{in_a_row}: {why}"));
    }
}

/// Each is named in time, and not one of them ten times.
#[test]
fn many_configured_nodes_that_cannot_be_reached_are_told_one_after_the_other() {
    let mut log = Log::default();
    let mut named = BTreeMap::new();
    for second in 0..3000 {
        for number in 0..60 {
            let id = NodeId::from_bytes([number; 20]);
            let addr = format!("{id}@1.2.3.4:5").parse().unwrap();
            let reason = DisconnectReason::Refused;
            let event = SwitchEvent::DialFailed { addr, reason, failures: 2 };
            let Some(line) = log.line(&event, persistent, at(second)) else { continue };
            if line.level == Level::Warn {
                *named.entry(id).or_insert(0) += 1;
            }
        }
    }
    assert_eq!(named.len(), 60);
    assert!(named.values().all(|times| *times == 1), "{named:?}");
}

/// The fault: "uncategorized error", ten times a second.
#[test]
fn too_many_open_files_are_one_line_with_the_number_and_the_remedy() {
    let descriptors = || DisconnectReason::Local(LocalFault::Descriptors);
    let events = [SwitchEvent::AcceptFailed(descriptors()), failed(descriptors())];
    let mut log = Log::new([], Some(64));
    let mut lines = Vec::new();
    for tenth in 0..3000 {
        let now = Mono::ZERO + Duration::from_millis(tenth * 100);
        lines.extend(events.iter().filter_map(|event| log.line(event, stranger, now)));
    }
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].level, Level::Warn);
    for part in ["cannot accept", "too many open files", " 64;", "ulimit -n", "LimitNOFILE"] {
        assert!(lines[0].text.contains(part), "{}", lines[0].text);
    }
    let line = log.line(&events[0], stranger, at(300)).unwrap();
    assert!(line.text.ends_with("(5999 more like it were not logged)"), "{}", line.text);
    let other = SwitchEvent::AcceptFailed(DisconnectReason::Unreachable(
        std::io::ErrorKind::PermissionDenied,
    ));
    let line = log.line(&other, stranger, at(300)).unwrap();
    assert!(line.text.ends_with("permission denied"), "{}", line.text);
    // That IPv6 leads nowhere is nobody's fault.
    let route = failed(DisconnectReason::Local(LocalFault::NoRoute));
    assert_eq!(level(&route, stranger), Level::Debug);
}

#[test]
fn a_flood_of_events_is_ten_lines_and_a_count() {
    let mut log = Log::default();
    let mut line = |event: &SwitchEvent, now| log.line(event, persistent, now);
    let eof = |direction| down(direction, DisconnectReason::Eof);
    let lines = (0..1000).filter_map(|_| line(&eof(Direction::Inbound), Mono::ZERO)).count();
    assert_eq!(lines, 10);
    // Another kind is not held up by it, nor is whom we dialed by who dials us.
    assert!(line(&SwitchEvent::Stopped(StopReason::Requested), Mono::ZERO).is_some());
    assert!(line(&eof(Direction::Outbound), Mono::ZERO).is_some());
    let next = line(&eof(Direction::Inbound), Mono::ZERO + PAUSE).unwrap();
    assert!(next.text.ends_with("(990 more like it were not logged)"), "{}", next.text);
    assert_eq!(line(&eof(Direction::Inbound), Mono::ZERO + PAUSE), None);
    let next = line(&eof(Direction::Inbound), Mono::ZERO + 10 * PAUSE).unwrap();
    assert!(next.text.ends_with("(1 more like it were not logged)"), "{}", next.text);
    let next = line(&eof(Direction::Inbound), Mono::ZERO + 10 * PAUSE).unwrap();
    assert!(next.text.ends_with("closed by the peer"), "{}", next.text);
    // What is not shown takes nobody's room.
    let stopped = down(Direction::Inbound, DisconnectReason::Stopped);
    (0..1000).for_each(|_| _ = line(&stopped, Mono::ZERO + 100 * PAUSE));
    assert!(line(&eof(Direction::Inbound), Mono::ZERO + 100 * PAUSE).is_some());
}

/// The fault: monikers of 10 KB in 10 lines a second of each kind, 9 to 17 GB a day; then 20 lines a
/// minute of who came and went.
#[test]
fn whatever_strangers_do_the_log_has_no_line_and_who_looks_closely_some_short_ones() {
    let addr = "[2001:470:1111:2222:3333:4444:5555:6666]:65535".parse().unwrap();
    let (direction, long) = (Direction::Inbound, "x".repeat(10_000));
    let rejected = |reason| SwitchEvent::Rejected { addr, id: Some(id()), reason, others: 0 };
    let events = [
        SwitchEvent::Connected { id: id(), addr, direction, moniker: long.clone() },
        down(direction, DisconnectReason::Eof),
        down(direction, DisconnectReason::Reactor(long.clone())),
        rejected(DisconnectReason::Filtered(long.clone() + "\n")),
        rejected(DisconnectReason::DuplicateId(id())),
        refused(),
    ];
    let mut log = Log::default();
    let (mut lines, mut told) = (0, 0);
    for millis in (0..600_000).step_by(10) {
        for event in &events {
            let now = Mono::ZERO + Duration::from_millis(millis);
            let Some(line) = log.line(event, stranger, now) else { continue };
            lines += 1;
            assert_eq!(line.level, Level::Debug, "{}", line.text);
            assert!(line.text.len() < 500 && !line.text.contains('\n'), "{}", line.text);
            let more = line.text.rsplit_once('(').and_then(|(_, more)| more.split_once(" more "));
            told += 1 + more.map_or(0, |(more, _)| more.parse::<u64>().unwrap());
        }
    }
    assert!(lines <= 4 * (6000 + 10), "{lines} in ten minutes, of four kinds");
    let all = 60_000 * events.len() as u64;
    assert!(told > all - all / 100, "{told} of {all} are told or counted");
}

#[test]
fn times_are_dates() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(moment(at(1_700_000_000)), "2023-11-14T22:13:20Z");
    assert_eq!(moment(at(300_000_000_000)), "300000000000 s after 1970");
}

/// Nobody reads them among the failures that others cause.
#[test]
fn each_fault_of_this_machine_is_a_warning_and_no_failure_of_the_node() {
    for fault in
        [LocalFault::Descriptors, LocalFault::NoAddress, LocalFault::Memory, LocalFault::Randomness]
    {
        let event = failed(DisconnectReason::Local(fault));
        let line = Log::default().line(&event, stranger, Mono::ZERO).unwrap();
        assert_eq!(line.level, Level::Warn, "{}", line.text);
    }
}

#[test]
fn who_finds_us_too_busy_is_a_warning_and_what_there_is_no_more_of_names_it() {
    let busy = || DisconnectReason::SwitchBusy(PAUSE);
    let addr = "1.2.3.4:5".parse().unwrap();
    let refused = SwitchEvent::Rejected { addr, id: None, reason: busy(), others: 7 };
    let line = Log::default().line(&refused, stranger, Mono::ZERO).unwrap();
    assert_eq!(line.level, Level::Warn);
    assert!(line.text.ends_with("; 7 others since the last such line"), "{}", line.text);
    assert_eq!(level(&down(Direction::Inbound, busy()), stranger), Level::Warn);
    let faults = [LocalFault::NoAddress, LocalFault::Memory, LocalFault::Randomness];
    for fault in faults {
        let line = Log::default().line(&failed(DisconnectReason::Local(fault)), stranger, at(0));
        let line = line.unwrap();
        assert_eq!(line.level, Level::Warn);
        assert!(line.text.starts_with("cannot dial: "), "{}", line.text);
    }
}
