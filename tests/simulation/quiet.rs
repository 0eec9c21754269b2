//! How much is said of what goes on.

#[path = "../../examples/common/news.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod news;

use std::{cell::Cell, net::IpAddr, sync::Once};

use log::{Level, LevelFilter, Metadata, Record};
use news::{Facts, News};
use tmp2p::{
    Config, Direction, NodeId, PeerAddress, SwitchEvent, internals::event_loop::Sockets,
    internals::protocol::secret::Null, internals::switch::Log, internals::time::Mono,
};

use crate::{
    dice::Dice,
    internet::{SECOND, internet, seed},
    sockets::SimSockets,
    world::World,
};

const MINUTES: usize = 120;

/// Minutes in which strangers knock all the time.
const ATTACKED: std::ops::Range<usize> = 60..90;

/// Whatever a thread says at `info` and above, by whichever line of the library or of a program.
struct Told;

thread_local! {
    /// Lines of a simulation, which is one thread.
    static TOLD: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Told {
    /// Begins to count what this thread says.
    fn count() {
        static STARTED: Once = Once::new();
        STARTED.call_once(|| {
            log::set_logger(&Told).unwrap();
            log::set_max_level(LevelFilter::Info);
        });
        TOLD.set(Some(0));
    }

    /// How many lines there were since the last look.
    fn take() -> usize {
        TOLD.replace(Some(0)).unwrap()
    }
}

impl log::Log for Told {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && TOLD.get().is_some()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            TOLD.set(TOLD.get().map(|lines| lines + 1));
        }
    }

    fn flush(&self) {}
}

/// Says it, as the switch's thread and the programs do.
fn tell(level: Level, line: &str) {
    log::log!(level, "{line}");
}

/// What `seed` finds of the node in this world.
fn facts(world: &World<Null>, seed: usize) -> Facts {
    let node = &world.nodes[seed];
    let of = |direction| node.sessions.values().filter(|p| p.direction() == direction).count();
    let book = node.pex.core.book();
    Facts {
        outbound: of(Direction::Outbound),
        inbound: of(Direction::Inbound),
        seeds: 0,
        dialing: node.switch.num_dialing(),
        addresses: book.len(),
        bad: book.num_bad(),
        height: None,
    }
}

/// The fault: a line for each peer that came and each that went, and one each second in which the book
/// had changed. For half an hour of the two there are strangers as well, hundreds a minute.
#[test]
fn two_hours_of_a_seed_with_fifty_nodes_that_come_and_go_are_ten_lines_a_minute_at_most() {
    let mut world = internet(1701);
    let mut dice = Dice::new(1701);
    let seed = world.join(seed());
    let seeds: Vec<PeerAddress> = vec![world.net_addr(seed).into()];
    let config = || Config { seeds: seeds.clone(), max_num_outbound_peers: 3, ..Config::default() };
    let mut nodes: Vec<(usize, bool)> = (0..50).map(|_| (world.join(config()), true)).collect();
    let mut log = Log::new([], Some(1024));
    let mut news = News::new(false, [], 3600 * SECOND, std::time::Duration::ZERO);
    let (mut told, mut closely, mut sessions, mut refused) = ([0; MINUTES], 0, 0, 0);
    let strangers = (0..100).map(|n| IpAddr::from([11, 0, n, 1]));
    let mut strangers: Vec<_> =
        strangers.map(|ip| (SimSockets::new(world.net.clone(), ip), 0)).collect();
    Told::count();
    for second in 0..60 * MINUTES {
        if second % 5 == 0 {
            let number = dice.below(nodes.len());
            let (node, is_up) = &mut nodes[number];
            if *is_up {
                world.kill(*node);
            } else {
                world.revive(*node);
            }
            *is_up = !*is_up;
        }
        if ATTACKED.contains(&(second / 60)) {
            // Ten a second, who connect and leave.
            for number in 0..10 {
                let (sockets, slot) = &mut strangers[(second * 10 + number) % 100];
                if *slot > 0 {
                    sockets.close(*slot - 1);
                }
                sockets.connect(*slot, world.nodes[seed].addr).unwrap();
                *slot += 1;
            }
        }
        world.run_for(SECOND);
        let now = world.now.since(Mono::ZERO);
        let events = std::mem::take(&mut world.nodes[seed].events);
        let is_persistent = |id: &NodeId| world.nodes[seed].switch.is_persistent(id);
        for event in &events {
            sessions += usize::from(matches!(event, SwitchEvent::Connected { .. }));
            if let SwitchEvent::Rejected { others, .. } = event {
                refused += 1 + others;
            }
            if let Some(line) = log.line(event, is_persistent, world.now) {
                closely += usize::from(line.level > Level::Info);
                tell(line.level, &line.text);
            }
            if let Some((level, line)) = news.hear(event, now) {
                tell(level, &line);
            }
        }
        for (level, line) in news.look(&facts(&world, seed), now) {
            tell(level, &line);
        }
        // Each of them is a line.
        for notice in std::mem::take(&mut world.nodes[seed].pex.notices) {
            tell(Level::Warn, &format!("{notice:?}"));
        }
        told[second / 60] += Told::take();
    }
    let (most, all) = (told.iter().max().unwrap(), told.iter().sum::<usize>());
    assert!(*most <= 10, "{told:?}");
    // A summary every five minutes, and the first peer.
    assert!((MINUTES / 5..MINUTES / 5 + 10).contains(&all), "{told:?}");
    assert!(refused > 300 * ATTACKED.len() as u64, "{refused} connections were refused");
    assert!(sessions > 1000 && closely > 2000, "{sessions} sessions, {closely} lines at debug");
}
