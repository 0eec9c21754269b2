//! What a peer may do, as often as it can.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::internals::protocol::{mconn::packet::Packet, secret::MAX_EMPTY_FRAMES};

use crate::{
    figure, give_way,
    honest::Pair,
    peer::{Evil, message, packet, part},
    support::{DEADLINE, until},
    victim::{Report, SINK, SINK_CAPACITY, Settings, Victim},
};

/// Bytes a second that a peer may send, and what a frame with hardly anything in it counts.
const RATE: u64 = 5_120_000;
const FRAME_COUNTS: u64 = 256;

/// A sealed frame on the wire.
const FRAME: u64 = 1044;

/// Frames that are sealed before they are written.
const BATCH: usize = 32;

/// What comes in floods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    /// Of which nobody reads the answers.
    Pings,
    /// As long as messages are.
    Messages,
    /// With nothing in them.
    EmptyMessages,
    /// Of a byte each: parts of a message.
    TinyPackets,
    /// With a byte in each.
    TinyFrames,
    /// As many as may be, and a byte.
    EmptyFrames,
}

use Flood::*;

const FLOODS: [Flood; 6] = [Pings, Messages, EmptyMessages, TinyPackets, TinyFrames, EmptyFrames];

impl Flood {
    /// Some frames of it.
    fn frames(self, evil: &mut Evil, sent: &mut usize) -> Vec<u8> {
        let full = |evil: &mut Evil, packets: Vec<u8>| {
            let times = BATCH * 1024 / packets.len();
            evil.sealed(&packets.repeat(times.max(1)))
        };
        match self {
            Pings => full(evil, packet(Packet::Ping)),
            Messages => full(evil, message(SINK, &[1; 1000])),
            EmptyMessages => full(evil, message(SINK, &[])),
            TinyPackets => {
                // As long as its message may be, then another.
                *sent += 1;
                let is_last = sent.is_multiple_of(SINK_CAPACITY / BATCH / 1024);
                let more = if is_last { message(SINK, &[1]) } else { part(SINK, &[1]) };
                full(evil, more)
            }
            TinyFrames | EmptyFrames => {
                let ping = packet(Packet::Ping);
                let mut frames = Vec::new();
                for _ in 0..BATCH {
                    let byte = ping[*sent % ping.len()];
                    *sent += 1;
                    if self == EmptyFrames {
                        (0..MAX_EMPTY_FRAMES).for_each(|_| frames.extend(evil.sealed_raw(0)));
                    }
                    frames.extend(evil.sealed(&[byte]));
                }
                frames
            }
        }
    }

    /// Sends it for so long, and reads nothing; how many pongs had come.
    fn pours(self, evil: &mut Evil, lasts: Duration) -> usize {
        give_way();
        let ends = Instant::now() + lasts;
        evil.stream().set_write_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mut out, mut sent) = (Vec::new(), 0);
        while Instant::now() < ends {
            if out.is_empty() {
                out = self.frames(evil, &mut sent);
            }
            // A time-out: the victim does not read, and need not.
            let written = evil.stream().write(&out).unwrap_or(0);
            out.drain(..written);
        }
        evil.pongs_to_the_end()
    }

    /// So many peers pour at once.
    fn run(self, victim: &Victim, pair: &Pair, peers: usize, lasts: Duration) {
        let mut evils: Vec<Evil> = (0..peers).map(|_| Evil::session(victim)).collect();
        let before = victim.report();
        pair.lap();
        let begun = Instant::now();
        let mut most_memory = 0;
        let pongs: Vec<usize> = thread::scope(|scope| {
            let pour = |evil| scope.spawn(move || self.pours(evil, lasts));
            let threads: Vec<_> = evils.iter_mut().map(pour).collect();
            while begun.elapsed() < lasts {
                thread::park_timeout(lasts / 8);
                most_memory = most_memory.max(victim.grown());
            }
            figure(format_args!("{self:?} of {peers} peers: {}", pair.lap()));
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for evil in &evils {
            // It had done nothing that ends a session.
            let end = victim.end(evil.addr);
            assert_eq!(end.kind, "eof", "{self:?}: {}", end.reason);
        }
        let (now, took) = (victim.recovers(), begun.elapsed());
        self.assert_bounded(&before, &now, &pongs, took);
        let most = victim.most_memory();
        assert!(most_memory <= most, "{self:?}: {most_memory} bytes, {most} by the formula");
        let read = (now.read_bytes - before.read_bytes) / peers as u64;
        figure(format_args!(
            "{self:?}: {} KiB/s read of each, {} KiB more memory ({} by the formula)",
            (read as f64 / took.as_secs_f64()) as u64 >> 10,
            most_memory >> 10,
            most >> 10,
        ));
    }

    /// The victim has done no more for it than it has promised.
    #[track_caller]
    fn assert_bounded(self, before: &Report, now: &Report, pongs: &[usize], took: Duration) {
        let (seconds, peers) = (took.as_secs_f64(), pongs.len() as u64);
        for pongs in pongs {
            let most = 8.0 + 10.0 * seconds + 1.0;
            assert!((*pongs as f64) <= most, "{self:?}: {pongs} pongs in {took:?}");
        }
        if matches!(self, Pings | TinyFrames | EmptyFrames) {
            assert!(pongs.iter().all(|pongs| *pongs > 0), "{self:?}: nobody was answered");
        }
        // What a peer may send at once before the rate counts, on top of it.
        let rate = (RATE as f64 * (seconds + 1.0)) as u64 * peers;
        let read = now.read_bytes - before.read_bytes;
        let most = rate * FRAME / FRAME_COUNTS;
        assert!(read <= most, "{self:?}: {read} bytes read in {took:?}");
        let sunk = now.sunk - before.sunk;
        assert!(sunk <= rate, "{self:?}: {sunk} bytes of messages in {took:?}");
        assert!(self != Messages || sunk > rate / 20, "nothing was measured: {sunk} bytes");
    }
}

fn floods(peers: usize, lasts: Duration) {
    let (victim, pair) = Pair::at(Settings::frugal(json!({ "max_num_inbound_peers": 20 })));
    for flood in FLOODS {
        flood.run(&victim, &pair, peers, lasts);
    }
    pair.end();
    victim.stop();
}

#[test]
fn floods_of_what_is_allowed_are_held_to_the_rate() {
    floods(2, Duration::from_millis(250));
}

#[test]
#[ignore = "takes the time of the machine: run by .ci/run"]
fn floods_and_what_honest_peers_notice() {
    floods(4, Duration::from_millis(1300));
}

/// Sends it as far as it goes; whether it goes on.
fn pour(evil: &Evil, out: &mut Vec<u8>) -> bool {
    let written = evil.stream().write(out).unwrap_or(0);
    out.drain(..written);
    written > 0
}

/// Messages of which only the end is missing, as many as there are peers.
#[test]
fn messages_that_never_end_share_a_pool() {
    const PEERS: usize = 16;
    const POOL: usize = 6 << 20;
    let (victim, pair) = Pair::at(Settings::frugal(json!({
        "max_num_inbound_peers": PEERS + 2,
        "reassembly_pool": POOL,
        "recv_rate": 0,
        "pex": false,
    })));
    let mut evils: Vec<Evil> = (0..PEERS).map(|_| Evil::session(&victim)).collect();
    let more = part(SINK, &[1; 1000]).repeat(1000);
    for evil in &mut evils {
        let frames = evil.sealed(&more);
        // It may be gone before all is written.
        let _ = evil.stream().write_all(&frames);
    }
    // Those who are left hold as much as may be, and one message beyond.
    let left = (POOL + SINK_CAPACITY) / 1_000_000;
    until("the largest holders have gone", || victim.report().peers <= 2 + left);
    let most = victim.most_memory();
    let grown = victim.grown();
    figure(format_args!(
        "{PEERS} messages that never end: {} KiB more memory, pool {} KiB; {}",
        grown >> 10,
        POOL >> 10,
        pair.lap()
    ));
    assert!(grown <= most && grown >= POOL / 2, "{grown} bytes, {most} by the formula");
    let ended = victim.report().disconnects;
    let (gone, least) = (ended["reassembly_pool"] as usize, PEERS - left);
    assert!((least..PEERS).contains(&gone), "{ended:?}");
    drop(evils);
    victim.recovers();
    pair.end();
    victim.stop();
}

/// A reactor of the victim's reads nothing: whoever floods it is not read, and nobody else notices.
#[test]
fn what_no_reactor_reads_is_bounded_and_stops_nobody_else() {
    const PEERS: usize = 8;
    let mut settings =
        Settings::frugal(json!({ "max_num_inbound_peers": PEERS + 2, "recv_rate": 0 }));
    settings.reads = false;
    let (victim, pair) = Pair::at(settings);
    let mut evils: Vec<Evil> = (0..PEERS).map(|_| Evil::session(&victim)).collect();
    let whole = message(SINK, &[1; 1000]).repeat(64);
    let mut outs = vec![Vec::new(); PEERS];
    for evil in &evils {
        evil.stream().set_nonblocking(true).unwrap();
    }
    // Until it takes nothing more of anybody.
    let (begun, mut still) = (Instant::now(), Instant::now());
    while still.elapsed() < Duration::from_millis(300) {
        assert!(begun.elapsed() < DEADLINE, "it takes more and more");
        for (evil, out) in evils.iter_mut().zip(&mut outs) {
            if out.is_empty() {
                *out = evil.sealed(&whole);
            }
            if pour(evil, out) {
                still = Instant::now();
            }
        }
        pair.goes_on(1);
    }
    let (grown, most) = (victim.grown(), victim.most_memory());
    figure(format_args!(
        "{PEERS} peers, nobody reads: {} KiB more memory, {} by the formula; {}",
        grown >> 10,
        most >> 10,
        pair.lap()
    ));
    assert!(grown <= most && grown >= 4 << 20, "{grown} bytes, {most} by the formula");
    drop(evils);
    pair.end();
    victim.stop();
}
