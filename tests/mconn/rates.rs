//! Rates in virtual time.

use crate::harness::*;
use std::time::Duration;
use tmp2p::{
    Payload,
    internals::protocol::mconn::{MConn, MConnSettings, Outgoing, Sink},
    internals::time::Mono,
};

/// Bytes per second: 64 KB/s, the default, 100 Mb/s … 10 Gb/s.
const RATES: [u64; 8] =
    [64_000, 65_536, 100_000, 500_000, 5_120_000, 12_500_000, 125_000_000, 1_250_000_000];

#[test]
fn rate_limiter_asymmetric_and_inaccurate() {
    for rate in RATES {
        // Enough to see beyond the first burst, without moving gigabytes.
        let seconds = if rate > 100_000_000 { 1 } else { 3 };
        let span = Duration::from_secs(seconds) + Duration::from_millis(30);

        let settings = MConnSettings { send_rate: rate, ..settings() };
        let mut conn = connection(&settings, &[1]);
        let first = sending(&mut conn, rate, Mono::ZERO, span);
        if rate < 100_000_000 {
            // Time without anything to send earns no more than a moment's worth.
            sending(&mut conn, rate, first + Duration::from_secs(3600), span);
        }

        let settings = MConnSettings { recv_rate: rate, ..settings };
        for by_frame in [false, true] {
            let mut peer = Peer::new(&settings, by_frame);
            let last = peer.receiving(rate, Mono::ZERO, span);
            if rate < 100_000_000 {
                peer.receiving(rate, last + Duration::from_secs(3600), span);
            }
        }
    }
}

#[test]
fn no_limit_is_no_limit() {
    let mut conn = connection(&settings(), &[1]);
    for _ in 0..100 {
        let filled = conn.fill(&mut Counter::default(), &mut Endless::new(), Mono::ZERO);
        assert_eq!((filled.more, filled.throttled_until), (true, None));
    }
    assert_eq!(conn.recv_allowance(Mono::ZERO), usize::MAX);
    assert_eq!(conn.recv_deadline(), None);
}

#[test]
fn late_timers_cost_little() {
    // Each timer two milliseconds late.
    for rate in [64_000, 5_120_000, 125_000_000] {
        let settings = MConnSettings { send_rate: rate, recv_rate: rate, ..settings() };
        let mut conn = connection(&settings, &[1]);
        let (mut now, mut sent, mut endless) = (Mono::ZERO, 0, Endless::new());
        while now < ms(3000) {
            let mut counter = Counter::default();
            let filled = conn.fill(&mut counter, &mut endless, now);
            sent += counter.bytes;
            if let Some(until) = filled.throttled_until {
                assert!(until > now);
                now = until + Duration::from_millis(2);
            }
        }
        let share = sent as f64 / (rate as f64 * now.since(Mono::ZERO).as_secs_f64());
        assert!((0.98..=1.0).contains(&share), "{rate}: {share}");
    }
}

#[test]
fn pongs_stuck_behind_the_rate_limiter() {
    let settings = MConnSettings {
        send_rate: 1000,
        recv_rate: 1000,
        ping_interval: Duration::from_secs(60),
        ..settings()
    };
    let mut conn = connection(&settings, &[1]);
    let mut queues = Queues::new(1);
    queues.push(0, vec![0; 1_000_000]);
    let (_, filled) = fill(&mut conn, &mut queues, Mono::ZERO);
    let until = filled.throttled_until.expect("throttled after a packet");
    assert!(until > ms(900));

    // The peer's ping costs nothing, and is answered although nothing else may be sent.
    let allowance = conn.recv_allowance(Mono::ZERO);
    conn.receive(&PING, Mono::ZERO, &mut Inbox::default()).unwrap();
    assert_eq!(conn.recv_allowance(Mono::ZERO), allowance);
    let (wire, filled) = fill(&mut conn, &mut queues, Mono::ZERO);
    assert_eq!((wire, filled.throttled_until), (PONG.to_vec(), Some(until)));

    // Our own ping likewise.
    let (now, mut wire) = (ms(60_000), Vec::new());
    conn.handle_timeout(now).unwrap();
    while wire.is_empty() || conn.wants_control() {
        wire = fill(&mut conn, &mut queues, now).0;
    }
    assert_eq!(wire[..3], PING);
}

#[test]
fn a_packet_that_was_begun_is_finished_before_a_pong() {
    let settings = MConnSettings { send_rate: 1000, ..settings() };
    let mut conn = connection(&settings, &[1]);
    let mut queues = Queues::new(1);
    queues.push(0, noise(1, 3000));
    let mut first = Batch::of(100);
    assert!(conn.fill(&mut first, &mut queues, Mono::ZERO).more);
    assert!(!conn.wants_control());
    conn.receive(&PING, Mono::ZERO, &mut Inbox::default()).unwrap();
    assert!(conn.wants_control());
    let mut second = Batch::of(100);
    _ = conn.fill(&mut second, &mut queues, Mono::ZERO);
    assert!(conn.wants_control(), "the pong waits for the rest of the packet");
    let (third, filled) = fill(&mut conn, &mut queues, Mono::ZERO);
    assert!(filled.throttled_until.is_some() && !conn.wants_control());
    assert_eq!(third[third.len() - 3..], PONG);
    let wire = [first.bytes, second.bytes, third].concat();
    assert_eq!(bodies(&wire).iter().map(|body| body.len()).collect::<Vec<_>>(), [1032, 2]);
}

/// Sends as much as is allowed for `span`, and judges each moment from a second on.
fn sending(conn: &mut MConn, rate: u64, start: Mono, span: Duration) -> Mono {
    let (mut now, mut sent, mut endless) = (start, 0, Endless::new());
    while now - start < span {
        let check = |sent: u64, when: &str| {
            let share = sent as f64 / (rate as f64 * (now - start).as_secs_f64());
            let is_judged = now - start >= Duration::from_secs(1);
            assert!(!is_judged || (0.98..=1.0).contains(&share), "{rate} {when} {now:?}: {share}");
        };
        check(sent, "before");
        loop {
            let mut counter = Counter::default();
            let filled = conn.fill(&mut counter, &mut endless, now);
            sent += counter.bytes;
            assert!(filled.more);
            if let Some(until) = filled.throttled_until {
                check(sent, "after");
                assert!(until > now);
                now = until;
                break;
            }
        }
    }
    now
}

/// A connection whose peer always has something.
struct Peer {
    conn: MConn,
    /// Sent again and again, and how far that is.
    wire: Vec<u8>,
    at: usize,
    /// Whether a whole frame is received for the last byte that is allowed.
    by_frame: bool,
}

impl Peer {
    fn new(settings: &MConnSettings, by_frame: bool) -> Self {
        let unlimited = MConnSettings { send_rate: 0, ..settings.clone() };
        let wire = wire_of(&unlimited, 1, &[noise(1, 100_000)]);
        Self { conn: connection(settings, &[1]), wire, at: 0, by_frame }
    }

    /// Receives as much as is allowed for `span`, and judges each moment from a second on.
    fn receiving(&mut self, rate: u64, start: Mono, span: Duration) -> Mono {
        let (mut now, mut received, mut inbox) = (start, 0, Inbox::default());
        while now - start < span {
            let check = |received: usize, when: &str| {
                let share = received as f64 / (rate as f64 * (now - start).as_secs_f64());
                let is_judged = now - start >= Duration::from_secs(1);
                assert!(!is_judged || (1.0..=1.02).contains(&share), "{rate} {when}: {share}");
            };
            check(received, "before");
            loop {
                let allowed = self.conn.recv_allowance(now);
                if allowed == 0 {
                    break;
                }
                let len = match (self.by_frame, allowed) {
                    (true, 1) => FRAME,
                    (true, _) => allowed - 1,
                    (false, _) => allowed,
                };
                let piece = &self.wire[self.at..self.wire.len().min(self.at + len)];
                assert_eq!(self.conn.receive(piece, now, &mut inbox), Ok(piece.len()));
                inbox.messages.clear();
                received += piece.len();
                self.at = (self.at + piece.len()) % self.wire.len();
            }
            check(received, "after");
            let deadline = self.conn.recv_deadline().expect("nothing is allowed");
            assert!(deadline > now);
            now = deadline;
        }
        now
    }
}

/// A channel that always has something.
struct Endless(Payload);

impl Endless {
    fn new() -> Self {
        Self(vec![0; 10_000_000].into())
    }
}

impl Outgoing for Endless {
    fn take(&mut self, _: usize) -> Option<Payload> {
        Some(self.0.clone())
    }
}

/// Counts a batch.
#[derive(Default)]
struct Counter {
    bytes: u64,
}

impl Sink for Counter {
    fn room(&self) -> usize {
        64 * FRAME - self.bytes as usize
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
    }

    fn limit_frames(&mut self, _: usize) {}
}

/// A peer that pings at its pace, and whose rate is all in use, is not slowed down by that.
#[test]
fn a_ping_alone_in_its_frame_costs_the_rate_nothing_and_an_empty_frame_does() {
    let settings = MConnSettings { recv_rate: 64_000, ..settings() };
    let mut conn = connection(&settings, &[1]);
    let all = conn.recv_allowance(Mono::ZERO);
    assert_eq!(conn.receive(&PING, Mono::ZERO, &mut Inbox::default()), Ok(PING.len()));
    conn.end_frame(PING.len());
    assert_eq!(conn.recv_allowance(Mono::ZERO), all);
    conn.end_frame(0);
    assert!(conn.recv_allowance(Mono::ZERO) < all);
}
