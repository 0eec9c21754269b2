//! Whole nodes of ours and Go nodes, each in a network namespace of its own, while everything goes wrong:
//! lines that lose, delay and reorder packets, partitions, `kill -9`, processes that stand still, a full disk, a wall clock that is set.
//! Afterwards everybody is connected again, the books are whole, no thread or descriptor is left, and on each
//! channel of each session everything has come that was accepted, once, in its order.
//!
//! Needs root, `/dev/net/tun`, `ip` (iproute2), and Go 1.24 or newer: `cargo test --test chaos -- --ignored`, for
//! `TMP2P_CHAOS_SECONDS` seconds (30), with the dice of `TMP2P_CHAOS_SEED`.
#![cfg(all(target_os = "linux", feature = "sqlite"))]
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod child;
mod clock;
#[path = "../interop/go.rs"]
#[allow(dead_code, reason = "the tests with one Go node use the rest")]
mod go;
mod ledger;
#[path = "../switch/process.rs"]
#[allow(dead_code, reason = "tests that run alone use the rest")]
mod own;
mod process;
mod trouble;

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::Write,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tmp2p::{BookStore, SqliteStore};
use tmp2p_line::{Net, missing};

use self::{
    child::{CHANNELS, Settings},
    clock::Clock,
    go::{Go, Release, number},
    process::{Disk, Ours},
    trouble::{Sky, Trouble},
};

/// For one event of a node that is well.
const DEADLINE: Duration = Duration::from_secs(30);

/// For all to be connected again once everything is well: Go tries again every five seconds or so.
const RECOVERY: Duration = Duration::from_secs(90);

/// Between two looks at what can only be asked for.
const POLL: Duration = Duration::from_millis(200);

/// Nodes of ours; behind them is one of each Go release.
const OURS: usize = 3;

/// Where all nodes listen.
const PORT: u16 = 26656;

/// A disk that has room for a book and its log.
const DISK: u64 = 16 << 20;

struct World {
    ours: Vec<Ours>,
    theirs: Vec<Theirs>,
    disk: Disk,
    net: Net,
    homes: TempDir,
}

/// A Go node.
struct Theirs {
    go: Option<Go>,
    release: Release,
    namespace: String,
    addr: String,
    seed: String,
    id: String,
    /// Sessions and channels that it floods, or did.
    floods: BTreeSet<(u64, u8)>,
}

#[test]
#[ignore = "needs root and Go: run by .ci/run, or `cargo test --test chaos -- --ignored`"]
fn chaos() {
    if let Some(why) = missing() {
        return figure(format_args!("SKIPPED: {why}"));
    }
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seconds = given("TMP2P_CHAOS_SECONDS").unwrap_or(30);
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = given("TMP2P_CHAOS_SEED").unwrap_or(since.as_millis() as u64 % 1_000_000);
    figure(format_args!("TMP2P_CHAOS_SEED={seed} TMP2P_CHAOS_SECONDS={seconds}"));

    let mut world = World::start(seed);
    world.connected();
    let mut sky = Sky::new(seed);
    let (started, lasts) = (Instant::now(), Duration::from_secs(seconds));
    while started.elapsed() < lasts {
        let trouble = sky.next(OURS, world.theirs.len());
        figure(format_args!("{:5.1} s: {trouble:?}", started.elapsed().as_secs_f32()));
        world.suffer(&trouble);
        let ends = Instant::now() + sky.pause(&trouble);
        while Instant::now() < ends {
            world.look();
            thread::sleep(POLL);
        }
        world.get_over(&trouble);
    }
    world.net.set_lines(|_, _| Some(trouble::CALM));
    let took = world.connected();
    let (ups, messages) = world.settled();
    assert!(ups >= 12 && messages > 1000, "{ups} sessions, {messages} messages");
    figure(format_args!(
        "connected again after {took:?}; in all {ups} sessions and {messages} messages at the last processes of ours"
    ));
    world.gives_back();
    world.stop();
}

impl World {
    fn start(seed: u64) -> Self {
        let homes = tempfile::tempdir().unwrap();
        let releases = [Release::V034, Release::V038];
        let net = Net::open(OURS + releases.len(), trouble::CALM, seed).unwrap();
        let homes_of = |number: usize| homes.path().join(number.to_string());
        let disk = Disk::mount(homes_of(0), DISK);
        let mut settings: Vec<Settings> = (0..OURS)
            .map(|number| {
                let home = homes_of(number);
                fs::create_dir_all(&home).unwrap();
                let laddr = (net.ends()[number].addr(), PORT).into();
                let dice = seed.wrapping_add(100 * number as u64);
                Settings { home, laddr, key: number as u8 + 1, dice, persistent: Vec::new() }
            })
            .collect();
        let theirs: Vec<Theirs> = releases
            .into_iter()
            .zip(&net.ends()[OURS..])
            .enumerate()
            .map(|(number, (release, end))| {
                let seed = [0xa0 + number as u8; 32];
                Theirs {
                    go: None,
                    release,
                    namespace: end.namespace().to_owned(),
                    addr: format!("{}:{PORT}", end.addr()),
                    seed: hex::encode(seed),
                    id: tmp2p::NodeKey::from_seed(seed).id().to_string(),
                    floods: BTreeSet::new(),
                }
            })
            .collect();
        let mut all: Vec<String> = settings.iter().map(|node| node.addr().to_string()).collect();
        all.extend(theirs.iter().map(|node| format!("{}@{}", node.id, node.addr)));
        for (number, node) in settings.iter_mut().enumerate() {
            let others = all.iter().enumerate().filter(|(other, _)| *other != number);
            node.persistent = others.map(|(_, addr)| addr.clone()).collect();
        }
        let ours = settings.into_iter().zip(net.ends());
        let ours = ours.map(|(settings, end)| Ours::new(end.namespace(), settings)).collect();
        let mut world = Self { ours, theirs, disk, net, homes };
        let clock = Clock::new(world.homes.path().join("clock"));
        if clock.is_none() {
            figure(format_args!(
                "SKIPPED: no clock is set, libfaketime is missing (apt install faketime)"
            ));
        }
        world.ours[OURS - 1].clock = clock;
        world.ours.iter_mut().for_each(Ours::start);
        (0..world.theirs.len()).for_each(|number| world.start_theirs(number));
        world
    }

    fn start_theirs(&mut self, number: usize) {
        let addrs: Vec<String> =
            self.ours.iter().map(|node| node.settings.addr().to_string()).collect();
        let node = &mut self.theirs[number];
        node.floods.clear();
        let channels = "0x70:1:10,0x71:5:10";
        let args =
            ["-laddr", &node.addr, "-seed", &node.seed, "-channels", channels, "-messages=false"];
        // Slow enough that two processors are enough for everybody.
        let rates = ["-send-rate", "200000", "-ping-interval", "4s", "-pong-timeout", "3s"];
        let mut go = Go::start_in(&node.namespace, node.release, &[&args[..], &rates[..]].concat());
        assert_eq!(go.id.to_string(), node.id);
        go.tolerate();
        go.tell("persist", json!({ "addrs": addrs }));
        for addr in addrs {
            go.tell("dial", json!({ "addr": addr }));
        }
        node.go = Some(go);
    }

    /// Lets Go nodes flood whoever has come.
    fn look(&mut self) {
        for node in &mut self.theirs {
            let Some(go) = &mut node.go else { continue };
            // What was told of sessions that are over.
            for event in ["dialed", "dial_failed", "rejected", "peer_down", "flooded", "error"] {
                while go.came(event).is_some() {}
            }
            while let Some(up) = go.came("peer_up") {
                for channel in CHANNELS {
                    let (id, session) = (&up["id"], number(&up, "session"));
                    let flood =
                        json!({ "id": id, "session": session, "channel": channel, "size": 400 });
                    go.tell("flood", flood);
                    node.floods.insert((session, channel));
                }
            }
        }
    }

    fn suffer(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Lines(shape) => self.net.set_lines(|_, _| Some(*shape)),
            Trouble::Cut(sides) => {
                let is_cut = |from: usize, to: usize| sides[from] != sides[to];
                self.net.set_lines(|from, to| (!is_cut(from, to)).then_some(trouble::CALM));
            }
            Trouble::OneWay(to) => {
                self.net.set_lines(|_, end| (end != *to).then_some(trouble::CALM));
            }
            Trouble::Kill(node) => self.ours[*node].kill(),
            Trouble::Restart(node) => self.ours[*node].stop(),
            Trouble::Freeze(node) => self.ours[*node].freeze(true),
            Trouble::KillTheirs(node) => self.theirs[*node].go.take().unwrap().kill(),
            Trouble::FullDisk => self.disk.fill(),
            Trouble::KillOnFullDisk => {
                self.disk.fill();
                self.ours[0].kill();
            }
            Trouble::Clock(by) => self.set_clock(*by),
            Trouble::KillOnWrongClock(by) => {
                self.set_clock(*by);
                self.ours[OURS - 1].kill();
                self.ours[OURS - 1].start();
            }
        }
    }

    fn get_over(&mut self, trouble: &Trouble) {
        match trouble {
            Trouble::Lines(_) => {}
            Trouble::Cut(_) | Trouble::OneWay(_) => self.net.set_lines(|_, _| Some(trouble::CALM)),
            Trouble::Kill(node) | Trouble::Restart(node) => self.ours[*node].start(),
            Trouble::Freeze(node) => self.ours[*node].freeze(false),
            Trouble::KillTheirs(node) => self.start_theirs(*node),
            Trouble::FullDisk => self.disk.free(),
            Trouble::KillOnFullDisk => {
                self.disk.free();
                self.ours[0].start();
            }
            Trouble::Clock(_) | Trouble::KillOnWrongClock(_) => self.set_clock(0),
        }
        self.assert_sound();
    }

    /// The last node's wall clock is off by so much, and its process sees it.
    fn set_clock(&mut self, by: i64) {
        let node = &mut self.ours[OURS - 1];
        let Some(clock) = &node.clock else { return };
        clock.set(by);
        until(DEADLINE, || {
            let ours = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
            let off = node.report()["clock"].as_i64().unwrap() - ours;
            if (off - by).abs() <= 2 { Ok(()) } else { Err(format!("{off} s off instead of {by}")) }
        });
    }

    /// Waits until everybody is connected with each of ours.
    #[track_caller]
    fn connected(&mut self) -> Duration {
        let started = Instant::now();
        until(RECOVERY, || {
            self.look();
            let ids: Vec<String> = self.ours.iter().map(Ours::id).collect();
            let all = ids.iter().cloned().chain(self.theirs.iter().map(|node| node.id.clone()));
            let all: Vec<String> = all.collect();
            let mut lacking = Vec::new();
            for node in &mut self.ours {
                let report = node.report();
                let has = |id: &String| sessions(&report).any(|session| session["id"] == **id);
                let id = node.id();
                lacking.extend(
                    all.iter()
                        .filter(|other| **other != id && !has(other))
                        .map(|other| format!("{id} lacks {other}")),
                );
            }
            for node in &mut self.theirs {
                let status = node.go.as_mut().unwrap().ask("status", json!({}), "status");
                let peers = status["peers"].as_array().unwrap();
                let has = |id: &&String| peers.iter().any(|peer| peer["id"] == **id);
                lacking.extend(ids.iter().filter(|id| !has(id)).map(|id| format!("Go lacks {id}")));
            }
            if lacking.is_empty() { Ok(()) } else { Err(lacking.join(", ")) }
        });
        self.assert_sound();
        started.elapsed()
    }

    /// Nobody sends any more, and everything that was accepted has come. How many sessions and messages
    /// there were.
    #[track_caller]
    fn settled(&mut self) -> (u64, u64) {
        self.look();
        self.ours.iter_mut().for_each(|node| node.tell("calm"));
        for go in self.theirs.iter_mut().filter_map(|node| node.go.as_mut()) {
            go.ask("stop_flood", json!({}), "done");
        }
        let mut figures = (0, 0);
        until(DEADLINE, || {
            let reports: Vec<Value> = self.ours.iter_mut().map(Ours::report).collect();
            let total =
                |field: &str| reports.iter().map(|report| number(report, field)).sum::<u64>();
            figures = (total("ups"), total("messages"));
            for (node, report) in self.ours.iter().zip(&reports) {
                for session in sessions(report) {
                    if session["is_go"] == true {
                        continue;
                    }
                    // The other end of it.
                    let other =
                        self.ours.iter().position(|node| session["id"] == *node.id()).unwrap();
                    let mut there = sessions(&reports[other]);
                    let there = there.find(|session| session["id"] == *node.id());
                    let there = there.ok_or_else(|| format!("{session} has no other end"))?;
                    same(session, there)?;
                }
            }
            for theirs in &mut self.theirs {
                let go = theirs.go.as_mut().unwrap();
                let status = go.ask("status", json!({}), "status");
                let totals = go.ask("totals", json!({}), "sunk");
                for (node, report) in self.ours.iter().zip(&reports) {
                    let session = sessions(report).find(|session| session["id"] == *theirs.id);
                    let session = session.ok_or_else(|| format!("{} is gone", theirs.id))?;
                    let mut peers = status["peers"].as_array().unwrap().iter();
                    let there = peers.find(|peer| peer["id"] == *node.id());
                    let there = there.ok_or_else(|| format!("Go lacks {}", node.id()))?;
                    same_as_go(session, &there["session"], &totals)?;
                }
            }
            Ok(())
        });
        // Of what Go sent in sessions that go on everything has come.
        for theirs in &mut self.theirs {
            let go = theirs.go.as_mut().unwrap();
            let status = go.ask("status", json!({}), "status");
            for peer in status["peers"].as_array().unwrap() {
                let session = number(peer, "session");
                let node = self.ours.iter_mut().find(|node| peer["id"] == *node.id()).unwrap();
                for channel in CHANNELS {
                    if !theirs.floods.contains(&(session, channel)) {
                        // It came when nobody sent any more.
                        continue;
                    }
                    let want = json!({ "session": session, "channel": channel });
                    let flooded = go.wait("flooded", want);
                    until(DEADLINE, || {
                        let report = node.report();
                        let session = sessions(&report).find(|session| session["id"] == *theirs.id);
                        let came =
                            session.map(|session| session["came"][channel.to_string()].clone());
                        // Go may have found only now that this one is over: ours had ended it while nothing reached
                        // Go, and the session that ours has is the next one.
                        let status = go.ask("status", json!({}), "status");
                        let mut peers = status["peers"].as_array().unwrap().iter();
                        let goes_on = peers.any(|there| there["session"] == peer["session"]);
                        if came.as_ref() == Some(&flooded["count"]) || !goes_on {
                            Ok(())
                        } else {
                            Err(format!("of {flooded} came {came:?}: {report}"))
                        }
                    });
                }
            }
        }
        self.assert_sound();
        (figures.0, figures.1)
    }

    /// There is a socket for each session beside those of the start, a thread of each kind, and no more files than
    /// there were.
    #[track_caller]
    fn gives_back(&mut self) {
        let threads = json!({ "p2p-loop": 1, "p2p-pex": 1, "p2p-store": 1, "p2p-switch": 1 });
        until(DEADLINE, || {
            for node in &mut self.ours {
                let report = node.report();
                let (now, before) = (&report["resources"], node.before());
                // Its listener and its spare one, and those of sessions.
                let sockets = sessions(&report).count() as u64 + 2;
                // The database may have opened its log since.
                let is_more = number(now, "others") > number(before, "others") + 2;
                if now["threads"] != threads || number(now, "sockets") != sockets || is_more {
                    return Err(format!("{now} after {before}, {sockets} sockets expected"));
                }
            }
            Ok(())
        });
    }

    /// Everybody stops, and the books are whole.
    #[track_caller]
    fn stop(mut self) {
        self.ours.iter_mut().for_each(Ours::stop);
        self.assert_sound();
        for node in &self.ours {
            let home = &node.settings.home;
            let mut store = SqliteStore::open(home.join("addrbook.sqlite")).unwrap();
            let book = store.load().unwrap();
            // What it has found out itself, not what it was told: it has had sessions with all.
            let met =
                book.addresses.iter().filter(|known| known.history().last_seen.is_some()).count();
            assert_eq!(met, node.settings.persistent.len(), "the book of {}", node.settings.laddr);
            for file in fs::read_dir(home).unwrap() {
                let name = file.unwrap().file_name().into_string().unwrap();
                assert!(!name.contains("corrupt"), "{name} of {}", node.settings.laddr);
            }
        }
        self.theirs.clear();
        drop((self.ours, self.disk));
        self.net.close();
        self.homes.close().unwrap();
    }

    #[track_caller]
    fn assert_sound(&mut self) {
        for node in &mut self.ours {
            assert!(!node.has_panicked(), "{} has panicked", node.settings.laddr);
            if node.is_running() && !node.is_frozen() {
                assert_eq!(node.report()["faults"], json!([]), "{}", node.settings.laddr);
            }
        }
    }
}

/// Whether what each end has sent has come at the other one.
fn same(here: &Value, there: &Value) -> Result<(), String> {
    for (from, to) in [(here, there), (there, here)] {
        if !to["theirs"].is_null() && to["theirs"] != from["number"] {
            return Err(format!("{from} and {to} are of two sessions"));
        }
        for channel in CHANNELS.map(|channel| channel.to_string()) {
            let sent = from["sent"][&channel]["count"].as_u64().unwrap_or(0);
            if to["came"][&channel] != sent {
                return Err(format!("{} of {sent} on {channel}", to["came"][&channel]));
            }
        }
    }
    Ok(())
}

/// Whether a Go node has what we sent in this session, which it calls so, to the byte.
fn same_as_go(session: &Value, there: &Value, totals: &Value) -> Result<(), String> {
    let totals = totals["totals"].as_array().unwrap();
    for channel in CHANNELS {
        let sent = &session["sent"][channel.to_string()];
        let mut totals = totals.iter();
        let came = totals.find(|total| total["session"] == *there && total["channel"] == channel);
        let count = |value: &Value| value["count"].as_u64().unwrap_or(0);
        let is_same = came.map_or(0, count) == count(sent);
        if !is_same || count(sent) > 0 && came.is_some_and(|came| came["sha256"] != sent["sha256"])
        {
            return Err(format!("Go has {came:?} of {sent}"));
        }
    }
    Ok(())
}

fn sessions(report: &Value) -> impl Iterator<Item = &Value> {
    report["sessions"].as_array().unwrap().iter()
}

/// Asks until it is so.
#[track_caller]
fn until(within: Duration, mut is_so: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + within;
    loop {
        let Err(why) = is_so() else { return };
        assert!(Instant::now() < deadline, "{why}");
        thread::sleep(POLL);
    }
}

/// Prints something, also when the test passes: the test harness captures only the macros.
fn figure(text: fmt::Arguments<'_>) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "chaos: {text}").unwrap();
}
