//! Pings, pongs, silence, and pauses of our own making.

use crate::harness::*;
use std::time::Duration;
use tmp2p::internals::protocol::mconn::{MConn, MConnError, MConnSettings};

fn with_pings() -> MConnSettings {
    MConnSettings { ping_interval: Duration::from_secs(60), ..settings() }
}

/// Milliseconds and bytes.
type Written = Vec<(u64, Vec<u8>)>;

/// What is written from one moment to another while nothing comes.
fn run(conn: &mut MConn, from: u64, to: u64) -> (Written, Result<(), (u64, MConnError)>) {
    let mut written = Vec::new();
    let mut now = ms(from);
    while let Some(deadline) = conn.next_deadline().filter(|deadline| *deadline <= ms(to)) {
        assert!(deadline >= now);
        now = deadline;
        let at = now.as_nanos() / 1_000_000;
        if let Err(error) = conn.handle_timeout(now) {
            return (written, Err((at, error)));
        }
        if conn.wants_control() {
            written.push((at, drain(conn, &mut Queues::new(1), now)));
        }
        assert!(conn.next_deadline().is_none_or(|deadline| deadline > now), "no busy loop");
    }
    (written, Ok(()))
}

#[test]
fn a_silent_peer_is_gone() {
    let mut conn = connection(&with_pings(), &[1]);
    let timeout = Err((105_000, MConnError::PongTimeout));
    assert_eq!(run(&mut conn, 0, 500_000), (vec![(60_000, PING.to_vec())], timeout));
}

#[test]
fn any_byte_proves_that_the_peer_is_there() {
    // The first byte of a packet that never ends.
    let mut conn = connection(&with_pings(), &[1]);
    run(&mut conn, 0, 60_000).1.unwrap();
    conn.receive(&[0x0d], ms(104_999), &mut Inbox::default()).unwrap();
    let (written, result) = run(&mut conn, 105_000, 500_000);
    assert_eq!(written, [(120_000, PING.to_vec())]);
    assert_eq!(result, Err((165_000, MConnError::PongTimeout)));
}

#[test]
fn a_ping_that_cannot_be_written_does_not_keep_a_dead_peer_alive() {
    let mut conn = connection(&with_pings(), &[1]);
    conn.handle_timeout(ms(60_000)).unwrap();
    assert!(conn.fill(&mut Batch::of(0), &mut Queues::new(1), ms(60_000)).more);
    assert_eq!(conn.handle_timeout(ms(105_000)), Err(MConnError::PongTimeout));
}

/// The peer waits for the whole of it, and nothing else may ask for another batch for minutes.
#[test]
fn a_ping_that_is_half_written_still_wants_to_be_written() {
    let mut conn = connection(&with_pings(), &[1]);
    conn.handle_timeout(ms(60_000)).unwrap();
    let mut batch = Batch::of(1);
    assert!(conn.fill(&mut batch, &mut Queues::new(1), ms(60_000)).more);
    assert_eq!(batch.bytes, PING[..1]);
    assert!(conn.wants_control());
    assert_eq!(drain(&mut conn, &mut Queues::new(1), ms(60_000)), PING[1..]);
    assert!(!conn.wants_control());
    // What is cut of a message is no control.
    let mut queues = Queues::new(1);
    queues.push(0, noise(1, 100));
    assert!(conn.fill(&mut Batch::of(1), &mut queues, ms(60_001)).more);
    assert!(!conn.wants_control());
}

#[test]
fn a_peer_that_we_do_not_read_is_kept_alive_and_not_blamed() {
    let mut conn = connection(&with_pings(), &[1]);
    run(&mut conn, 0, 60_000).1.unwrap();
    // A ping is outstanding.
    conn.suspend_reading(ms(70_000));
    conn.suspend_reading(ms(80_000));
    let (written, result) = run(&mut conn, 70_000, 3_700_000);
    assert_eq!(result, Ok(()));
    let pongs: Vec<_> =
        written.iter().filter(|(_, wire)| *wire != PING).map(|(at, _)| *at).collect();
    let every_20_s: Vec<_> = (90_000..=3_700_000).step_by(20_000).collect();
    assert_eq!(pongs, every_20_s);

    // From now on silence counts again.
    conn.resume_reading(ms(3_700_001));
    conn.resume_reading(ms(3_700_002));
    let (_, result) = run(&mut conn, 3_700_001, 4_000_000);
    assert_eq!(result, Err((3_745_001, MConnError::PongTimeout)));
}

/// A reader that takes a little now and then: the pings are behind what it has not taken, and each
/// short pause must not put the pong off. (Seen with a real Go node on a busy machine.)
#[test]
fn pauses_shorter_than_the_interval_keep_the_peer_too() {
    let mut conn = connection(&with_pings(), &[1]);
    let mut pongs = Vec::new();
    for second in 0..200 {
        conn.suspend_reading(ms(second * 1000));
        let (written, result) = run(&mut conn, second * 1000, second * 1000 + 998);
        result.unwrap();
        pongs.extend(written.into_iter().filter(|(_, wire)| *wire != PING).map(|(at, _)| at));
        conn.resume_reading(ms(second * 1000 + 999));
        conn.receive(&PONG, ms(second * 1000 + 999), &mut Inbox::default()).unwrap();
    }
    let every_20_s: Vec<_> = (20_000..200_000).step_by(20_000).collect();
    assert_eq!(pongs, every_20_s);
}

/// What was written while we did not read comes late: a lost window update costs the peer's kernel
/// up to two minutes.
#[test]
fn pongs_go_on_for_two_minutes_after_reading_has_begun_again() {
    let mut conn = connection(&with_pings(), &[1]);
    conn.suspend_reading(ms(1000));
    conn.resume_reading(ms(1001));
    let (written, _) = run(&mut conn, 1001, 59_999);
    let times: Vec<_> = written.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [21_000, 41_000]);
    conn.receive(&PONG, ms(60_000), &mut Inbox::default()).unwrap();
    let mut pongs = Vec::new();
    for start in (60_000..400_000).step_by(20_000) {
        let (written, result) = run(&mut conn, start, start + 19_999);
        result.unwrap();
        pongs.extend(written.into_iter().filter(|(_, wire)| *wire != PING).map(|(at, _)| at));
        conn.receive(&PONG, ms(start + 19_999), &mut Inbox::default()).unwrap();
    }
    assert_eq!(pongs, [61_000, 81_000, 101_000, 121_000]);
}

#[test]
fn round_trip_time() {
    let mut conn = connection(&with_pings(), &[1]);
    let mut inbox = Inbox::default();
    conn.receive(&PONG, ms(10), &mut inbox).unwrap();
    assert_eq!(conn.rtt(), None, "nobody asked");
    conn.handle_timeout(ms(60_000)).unwrap();
    // Counts from the writing.
    assert_eq!(drain(&mut conn, &mut Queues::new(1), ms(60_500)), PING);
    conn.receive(&PONG, ms(60_530), &mut inbox).unwrap();
    assert_eq!(conn.rtt(), Some(Duration::from_millis(30)));
    // Our own pause is not the peer's time.
    conn.handle_timeout(ms(120_000)).unwrap();
    drain(&mut conn, &mut Queues::new(1), ms(120_000));
    conn.suspend_reading(ms(120_010));
    conn.resume_reading(ms(150_000));
    conn.receive(&PONG, ms(150_000), &mut inbox).unwrap();
    assert_eq!(conn.rtt(), Some(Duration::from_millis(30)));
}

#[test]
fn a_clock_that_jumps_gives_one_ping() {
    let mut conn = connection(&with_pings(), &[1]);
    let day = ms(86_400_000);
    conn.handle_timeout(day).unwrap();
    assert_eq!(drain(&mut conn, &mut Queues::new(1), day), PING);
    assert_eq!(conn.next_deadline(), Some(day + Duration::from_secs(45)));
    conn.receive(&PONG, day, &mut Inbox::default()).unwrap();
    assert_eq!(conn.next_deadline(), Some(day + Duration::from_secs(60)));
}
