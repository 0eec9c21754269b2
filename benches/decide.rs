//! What decides, without a socket or a thread: whether it goes on at the pace at which peers come and
//! go, however many there are.

#![allow(clippy::unwrap_used, reason = "a bench")]

mod common;

use std::{
    hint::black_box,
    net::IpAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use common::{Args, Goal, Line, Reporter, Summary};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tmp2p::{
    Ban, BanOrigin, BookKey, Cidr, Config, ConnId, Direction, DisconnectReason, NetAddress, NodeId,
    NodeInfo,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts},
    internals::drive::Driver,
    internals::event_loop::{BanTable, Established, Report},
    internals::pex::{PeerFacts, PexCore, PexInput, PexMessage, PexOutput, PexSettings},
    internals::switch::{Input, Output, SwitchCore, SwitchSettings},
    internals::time::{Mono, Now},
};

/// Some day in 2023.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// Decisions a second of one core.
const GOAL: f64 = 20_000.0;
/// Nanoseconds of a look-up.
const LOOK_UP_GOAL: f64 = 1000.0;

fn main() -> ExitCode {
    let args = Args::parse("decide");
    let (sessions, ranges) = (args.pick(10_000, 1000), args.pick(50_000, 5000));
    let switch = format!("switch/sessions={sessions}");
    let seed = format!("seed/sessions={sessions}");
    let find_ip = format!("find_ip/ranges={ranges}");
    let names = [&*switch, &*seed, &*find_ip];
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("decide", &names);
    }
    let mut reporter = Reporter::new(&args);
    for name in wanted {
        let run = |n: usize| match name {
            name if name == switch => at_switch(sessions, n as u64),
            name if name == seed => at_seed(sessions, n as u64),
            _ => look_up(ranges, n as u64),
        };
        let value = Summary::of((0..args.runs()).map(run));
        let is_pace = name != find_ip;
        let goal = if is_pace {
            Goal::at_least("value", GOAL, value.median)
        } else {
            Goal::at_most("value", LOOK_UP_GOAL, value.median)
        };
        let unit = if is_pace { "decisions/s" } else { "ns" };
        reporter.line(&Line::new(name, value, unit).goal(goal));
    }
    reporter.finish()
}

fn now(millis: u64) -> Now {
    let time = Duration::from_millis(millis);
    Now { mono: Mono::ZERO + time, wall: start() + time }
}

fn id(number: usize) -> NodeId {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&(number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// Each in a network of its own.
fn ip(number: usize) -> IpAddr {
    let [.., a, b] = (number as u32).to_be_bytes();
    [20 + (number >> 16) as u8, a, b, 1].into()
}

fn conn(number: usize) -> ConnId {
    ConnId::new(0, number as u32, 0)
}

/// The order in which they leave.
fn shuffled(sessions: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sessions).collect();
    order.shuffle(rng);
    order
}

/// As many dial us and are admitted, then each ends.
fn at_switch(sessions: usize, run: u64) -> f64 {
    let mut rng = StdRng::seed_from_u64(run);
    let config = Config { max_num_inbound_peers: sessions, ..Config::default() };
    let settings = SwitchSettings::of(id(usize::MAX), &config, Vec::new());
    let core = SwitchCore::new(settings, Arc::default(), [1; 32]);
    let info = NodeInfo::new("bench", "bench").unwrap();
    let order = shuffled(sessions, &mut rng);
    let established: Vec<_> = (0..sessions)
        .map(|n| Established {
            conn: conn(n),
            ticket: None,
            id: id(n),
            node_info: Arc::new(info.clone().with_id(id(n))),
            direction: Direction::Inbound,
            remote: (ip(n), 26656).into(),
        })
        .collect();
    let ends = order.into_iter().map(|n| (conn(n), DisconnectReason::Eof));
    let ends = ends.map(|(conn, reason)| Report::Closed { conn, reason, has_sent: false });
    let reports = established.into_iter().map(Report::Established).chain(ends);
    let begin = Instant::now();
    let mut door = Door { core, millis: 0, up: 0, down: 0 };
    door.step(Input::Start);
    for report in reports {
        door.step(Input::Report(report));
        door.millis += 1;
    }
    assert_eq!((door.up, door.down), (sessions, sessions));
    (2 * sessions) as f64 / begin.elapsed().as_secs_f64()
}

/// A switch whose reactors welcome everybody.
struct Door {
    core: SwitchCore,
    millis: u64,
    up: usize,
    down: usize,
}

impl Driver for Door {
    type Core = SwitchCore;

    fn core(&mut self) -> &mut SwitchCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        now(self.millis)
    }

    fn next_input(&mut self) -> Input {
        Input::Timeout
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Introduce(admission) => {
                self.up += 1;
                self.feed(Input::Introduced { conn: admission.conn, result: Ok(()) });
            }
            Output::Down { .. } => self.down += 1,
            output => drop(black_box(output)),
        }
    }
}

/// As many guests come to a seed and ask for addresses, then each leaves.
fn at_seed(sessions: usize, run: u64) -> f64 {
    let mut rng = StdRng::seed_from_u64(run);
    let settings =
        BookSettings { own: id(usize::MAX), is_strict: true, limits: BookLimits::default() };
    let mut book = Book::new(settings, BookKey::random(&mut rng));
    let facts = NodeFacts::default();
    for n in 100_000..105_000 {
        let addr = NetAddress::new(id(n), ip(n), 26656);
        if book.add(addr, addr, start(), &mut rng).is_ok() {
            book.authenticated(&addr, &facts, start());
        }
    }
    let config = Config { seed_mode: true, ..Config::default() };
    let core = PexCore::new(PexSettings::of(&config), book, [1; 32], now(0));
    let mut seed = Seed { core, tenths: 0 };
    seed.step(PexInput::Start);
    let came = |n: usize| {
        let announced = NetAddress::new(id(n), ip(n), 26656);
        PexInput::PeerUp(PeerFacts {
            conn: conn(n),
            id: id(n),
            direction: Direction::Inbound,
            remote: (ip(n), 40_000).into(),
            dialed: None,
            announced: Some(announced),
            origin: None,
            speaks_pex: true,
            facts: NodeFacts::default(),
        })
    };
    let request = PexMessage::Request.encode();
    let asks = |n: usize| PexInput::Message { conn: conn(n), payload: request.clone().into() };
    let reason = Arc::new(DisconnectReason::Finished);
    let leaves = |n: usize| PexInput::PeerDown { conn: conn(n), reason: reason.clone() };
    let order = shuffled(sessions, &mut rng);
    let inputs: Vec<_> = (0..sessions)
        .map(came)
        .chain((0..sessions).map(asks))
        .chain(order.into_iter().map(leaves))
        .collect();
    let decisions = inputs.len();
    let begin = Instant::now();
    for input in inputs {
        seed.step(input);
        seed.tenths += 1;
    }
    assert_eq!(seed.core.sessions().count(), 0);
    decisions as f64 / begin.elapsed().as_secs_f64()
}

/// A seed whose peers take everything.
struct Seed {
    core: PexCore,
    /// Of a millisecond.
    tenths: u64,
}

impl Driver for Seed {
    type Core = PexCore;

    fn core(&mut self) -> &mut PexCore {
        &mut self.core
    }

    fn now(&self) -> Now {
        now(self.tenths / 10)
    }

    fn next_input(&mut self) -> PexInput {
        PexInput::Timeout
    }

    fn perform(&mut self, output: PexOutput) {
        drop(black_box(output));
    }
}

/// Nanoseconds of a look-up, half of them of banned addresses.
fn look_up(ranges: usize, run: u64) -> f64 {
    let mut rng = StdRng::seed_from_u64(run);
    let ban = |target: Cidr| Ban {
        target: target.into(),
        until: None,
        reason: "bench".to_owned(),
        origin: BanOrigin::Operator,
    };
    let bases: Vec<[u8; 4]> = (0..ranges).map(|_| rng.random()).collect();
    let prefixes = [16, 20, 22, 24, 24, 24, 24, 28];
    let cidrs = bases.iter().map(|base| {
        Cidr::new(IpAddr::from(*base), prefixes[rng.random_range(0..prefixes.len())]).unwrap()
    });
    let table: BanTable = cidrs.map(ban).collect();
    let asked: Vec<IpAddr> = (0..1_000_000)
        .map(|n| match n % 2 {
            0 => bases[rng.random_range(0..ranges)].into(),
            _ => rng.random::<[u8; 4]>().into(),
        })
        .collect();
    let begin = Instant::now();
    let found = asked.iter().filter(|ip| black_box(table.find_ip(**ip, start())).is_some()).count();
    let took = begin.elapsed();
    assert!(found >= asked.len() / 2);
    took.as_nanos() as f64 / asked.len() as f64
}
