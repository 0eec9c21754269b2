//! What an operator is told: in the log, by errors, by signals, and by looking at the process.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use log::LevelFilter;
use serde_json::Value;
use tmp2p::PeerAddress;

use crate::{
    cli::levels,
    guest::Guest,
    program::{Program, assert_prints, assert_refused, bare, command, run},
    signals::{Answer, Asked},
    stderr::{Log, in_shell},
};

fn full_node(home: &tempfile::TempDir) -> Command {
    bare("full_node", home.path())
}

/// Somebody connects and leaves, and the node has seen both.
fn visit(node: &Program) {
    let visitor = Guest::of(node.addr());
    let id = visitor.id();
    node.event("peer_up", |event| event["id"] == id);
    visitor.leave();
    node.event("peer_down", |event| event["id"] == id);
}

#[test]
fn levels_are_those_of_tendermint_and_of_zerolog() {
    use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
    let of_all = |list| levels("log_level", list).ok().map(|levels| levels[0].1);
    for (name, level) in [
        ("trace", Trace),
        ("debug", Debug),
        ("info", Info),
        ("INFO", Info),
        ("warn", Warn),
        ("warning", Warn),
        ("error", Error),
        ("none", Off),
        ("off", Off),
        ("disabled", Off),
        ("fatal", Off),
        ("panic", Off),
        ("*:error", Error),
        ("", Info),
    ] {
        assert_eq!(of_all(name), Some(level), "{name}");
    }
    for name in ["loud", "p2p:loud", "p2p:", ":", "p2p:debug,loud"] {
        assert!(of_all(name).is_none(), "{name}");
    }
    // The default of old files, and its own modules.
    let list =
        levels("log_level", "main:info,state:info,p2p:debug,pex:trace,*:error").ok().unwrap();
    let named: Vec<_> =
        list[1..].iter().map(|(name, level)| (name.clone().unwrap(), *level)).collect();
    let program = module_path!().split("::").next().unwrap();
    let expected = [(program, Info), ("state", Info), ("p2p", Debug), ("pex", Trace)];
    assert_eq!(named, expected.map(|(name, level)| (name.to_owned(), level)));
    assert_eq!(list[0], (None, Error));
    // Whom a list does not name.
    assert_eq!(levels("log_level", "p2p:error").ok().unwrap()[0], (None, Info));
    assert_eq!(
        levels("log_level", "tmp2p::internals::switch:debug").ok().unwrap()[1].0.as_deref(),
        Some("tmp2p::internals::switch")
    );
}

/// The fault: two lines for each peer that came and went, and a table of all peers every 30 s.
#[test]
fn at_info_there_is_a_start_a_first_peer_and_a_stop() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let mut command = bare(program, home.path());
        let service = if program == "seed" { "http" } else { "rpc" };
        let server = if program == "seed" { "--http" } else { "--rpc.laddr" };
        command.args([server, "tcp://127.0.0.1:0"]);
        let log = Log::of_command(&mut command);
        let node = Program::start_at("info", command);
        let addr = node.addr().to_string();
        let served = format!(", {service} at {};", node.service(service));
        for _ in 0..10 {
            visit(&node);
        }
        node.stop();
        let lines = log.all();
        let start = lines.iter().find(|line| line.contains("version")).unwrap();
        let home = home.path().to_str().unwrap();
        for part in [env!("CARGO_PKG_VERSION"), "\"c\"", home, &addr, &served] {
            assert!(start.contains(part), "no {part} in {start}");
        }
        for part in ["first peer: ", "stops on SIGTERM; it ran for ", "stopped; 0 sessions"] {
            assert_eq!(lines.iter().filter(|l| l.contains(part)).count(), 1, "{part}: {lines:#?}");
        }
        assert!(lines.len() <= 8, "{lines:#?}");
    }
}

#[test]
fn a_persistent_peer_that_is_somebody_else_is_one_warning_with_the_remedy() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let other = Program::start(full_node(&homes[0]));
    let addr = other.addr().to_string();
    let wrong = format!("{}@{}", "1".repeat(40), addr.split_once('@').unwrap().1);
    let mut command = full_node(&homes[1]);
    command.args(["--p2p.persistent_peers", &wrong]);
    let log = Log::of_command(&mut command);
    let node = Program::start(command);
    // It is tried again and again.
    let mut last = 0;
    for _ in 0..3 {
        let failed = node.event("dial_failed", |event| event["at_ms"].as_u64() > Some(last));
        last = failed["at_ms"].as_u64().unwrap();
    }
    node.stop();
    let lines = log.all();
    let about: Vec<_> = lines.iter().filter(|line| line.contains(&wrong)).collect();
    assert_eq!(about.len(), 1, "{lines:#?}");
    for part in ["WARN", "persistent peer", "wrong node", &addr[..40], "correct the ID"] {
        assert!(about[0].contains(part), "no {part} in {}", about[0]);
    }
    other.stop();
}

#[test]
fn a_node_that_knows_nobody_and_announces_no_address_is_two_warnings() {
    let home = tempfile::tempdir().unwrap();
    let mut command = full_node(&home);
    command.args(["--p2p.laddr", "tcp://0.0.0.0:0", "--log_level", "warn"]);
    let mut log = Log::of_command(&mut command);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    drop(command);
    let line = log.line("external_address");
    assert!(line.contains("0.0.0.0:"), "{line}");
    log.line("neither seeds nor persistent_peers");
    let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success() && child.wait().unwrap().success());
    assert_eq!(log.all().len(), 2);
}

/// The faults: modules had the names of source files where people read, and a record had as many lines as
/// its text. Here the home's name has two.
#[cfg(unix)]
#[test]
fn a_record_is_a_line_with_the_name_of_its_module_in_either_format() {
    for format in ["plain", "json"] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("two\nlines");
        let mut command = bare("full_node", &folder);
        command.args(["--log_format", format]);
        let log = Log::of_command(&mut command);
        let node = Program::start_at("debug", command);
        visit(&node);
        node.stop();
        let lines = log.all();
        let module = |line: &String| match format {
            "json" => {
                serde_json::from_str::<Value>(line).unwrap()["module"].as_str().unwrap().into()
            }
            _ => {
                assert!(line.starts_with("[20"), "{line}");
                line.split([' ', ']']).filter(|word| !word.is_empty()).nth(2).unwrap().to_owned()
            }
        };
        let modules: BTreeSet<String> = lines.iter().map(module).collect();
        assert!(modules.contains("main") && modules.contains("p2p"), "{modules:?}");
        let known = ["main", "p2p", "pex"];
        assert!(modules.iter().all(|name| known.contains(&&**name)), "{modules:?}");
        assert!(
            lines.iter().any(|line| line.contains("two") && line.contains("lines")),
            "{lines:?}"
        );
    }
}

#[test]
fn a_module_of_which_there_are_no_lines_is_a_warning_with_those_that_there_are() {
    let home = tempfile::tempdir().unwrap();
    let lines_with = |level: &str| {
        let mut command = command("full_node", home.path());
        let output = run(command.args(["show-node-id", "--log_level", level]));
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let text = lines_with("p2p:debug,stat:info,consensus:debug,*:warn");
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["WARN", "--log_level", "pex, p2p, main", "stat, consensus"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(lines_with("p2p:debug,pex:info,main:warn,*:warn"), "");
}

/// The key of Tendermint's files, at their top.
#[test]
fn log_format_json_is_one_object_a_line() {
    for (program, is_in_file) in [("full_node", true), ("seed", true), ("seed", false)] {
        let home = tempfile::tempdir().unwrap();
        let mut command = bare(program, home.path());
        if is_in_file {
            fs::create_dir(home.path().join("config")).unwrap();
            fs::write(home.path().join("config/config.toml"), "log_format = \"json\"\n").unwrap();
        } else {
            command.env("TM_LOG_FORMAT", "json");
        }
        let log = Log::of_command(&mut command);
        let node = Program::start_at("debug", command);
        visit(&node);
        node.stop();
        let lines: Vec<Value> =
            log.all().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
        let of = |part: &str| {
            let line = lines.iter().find(|line| text(line, "message").contains(part));
            let line = line.unwrap_or_else(|| panic!("no {part:?} in {lines:#?}"));
            (text(line, "level"), text(line, "module"))
        };
        assert_eq!(of("version"), ("info".to_owned(), "main".to_owned()));
        assert_eq!(of("down: "), ("debug".to_owned(), "p2p".to_owned()));
        for line in &lines {
            // Like 2026-11-27T23:38:03.123Z.
            let time = text(line, "time");
            assert!(time.len() == 24 && time.ends_with('Z') && time.contains('T'), "{time}");
        }
    }
    let home = tempfile::tempdir().unwrap();
    let output = run(command("seed", home.path()).env("TM_LOG_FORMAT", "json"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line: Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!((output.status.code(), &line["level"]), (Some(2), &"fatal".into()), "{line}");
    assert!(line["message"].as_str().unwrap().contains("chain_id"), "{line}");
    let mut wrong = command("seed", home.path());
    assert_refused(wrong.env("TM_LOG_FORMAT", "xml"), &["TM_LOG_FORMAT", "xml", "plain or json"]);
}

/// The fault: "cannot lock the address book", and not why.
#[cfg(unix)]
#[test]
fn errors_tell_the_whole_chain_of_their_causes_once() {
    let home = tempfile::tempdir().unwrap();
    assert_prints(full_node(&home).arg("init"));
    let lock = home.path().join("config/addrbook.sqlite.lock");
    fs::create_dir(&lock).unwrap();
    let output = run(&mut full_node(&home));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    let error = stderr.lines().last().unwrap();
    for part in ["the address book", "cannot lock", "Is a directory (os error 21)"] {
        assert_eq!(error.matches(part).count(), 1, "{part}: {error}");
    }
    fs::remove_dir(&lock).unwrap();
    // Somebody has it.
    let running = Program::start(full_node(&home));
    running.addr();
    let mut second = full_node(&home);
    second.args(["--p2p.laddr", "tcp://127.0.0.1:0", "--log_level", "none"]);
    assert_refused(&mut second, &["address book", "in use by another node", "stop that"]);
    running.stop();
}

#[test]
fn signals_within_a_second_are_one_and_later_ones_hasten() {
    let mut asked = Asked::default();
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    assert_eq!(asked.again(at(0)), Answer::Stop);
    assert_eq!(asked.again(at(0)), Answer::IsStopping);
    assert_eq!(asked.again(at(999)), Answer::IsStopping);
    assert_eq!(asked.again(at(1000)), Answer::Exit);
}

/// The fault: GNU `timeout` sends SIGTERM to the program and to its group, and the second one ended it
/// with code 143.
#[cfg(unix)]
#[test]
fn a_second_sigterm_at_once_changes_nothing_and_a_later_one_ends_it() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let peer = Program::start(full_node(&homes[0]));
    let node = || {
        let mut command = full_node(&homes[1]);
        command.args(["--p2p.persistent_peers", &peer.addr().to_string()]);
        let node = Program::start(command);
        node.event("peer_up", |_| true);
        // Its end is waited for, up to five seconds.
        peer.signal("STOP");
        node.signal("TERM");
        node.signal("TERM");
        node
    };
    let patient = node();
    peer.signal("CONT");
    let events = patient.ended();
    assert_eq!(events.last().unwrap()["reason"], "SIGTERM");

    let mut hasty = node();
    std::thread::sleep(Duration::from_millis(1100));
    assert!(hasty.is_running());
    hasty.signal("TERM");
    assert_eq!(hasty.wait().code(), Some(128 + 15));
    peer.signal("CONT");
    peer.stop();
}

/// Whether this process ignores SIGHUP, as one does that was started with `nohup`.
pub(crate) fn ignores_sighup() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 1 == 1
}

#[cfg(target_os = "linux")]
#[test]
fn sighup_stops_in_order_unless_it_was_ignored() {
    let home = tempfile::tempdir().unwrap();
    if !ignores_sighup() {
        let node = Program::start(full_node(&home));
        node.addr();
        node.signal("HUP");
        let events = node.ended();
        assert_eq!(events.last().unwrap()["reason"], "SIGHUP");
    }
    // As nohup does it: it is to outlive the terminal.
    let node = Program::start(in_shell("trap '' HUP", &full_node(&home)));
    node.addr();
    node.signal("HUP");
    visit(&node);
    assert_eq!(node.stop().last().unwrap()["reason"], "SIGTERM");
}

#[cfg(target_os = "linux")]
#[test]
fn every_thread_has_a_name() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let mut command = bare(program, home.path());
        if program == "full_node" {
            command.arg("--tx-stdin");
        }
        let node = Program::start(command);
        visit(&node);
        let tasks = fs::read_dir(format!("/proc/{}/task", node.pid())).unwrap();
        let threads = tasks.map(|task| task.unwrap().path());
        // The first thread has the name of the program.
        let others = threads.filter(|task| !task.ends_with(node.pid().to_string()));
        let names: Vec<_> = others
            .map(|task| fs::read_to_string(task.join("comm")).unwrap().trim().to_owned())
            .collect();
        assert!(!names.iter().any(|name| name == program), "{names:?}");
        let names: BTreeSet<_> = names.iter().map(String::as_str).collect();
        let mut expected =
            vec!["lines", "p2p-loop", "p2p-pex", "p2p-store", "p2p-switch", "signals"];
        if program == "full_node" {
            expected.extend(["consensus", "mempool", "stdin"]);
        }
        for name in expected {
            assert!(names.contains(name), "no {name} in {names:?}");
        }
        node.stop();
    }
}

/// As Go does it.
#[cfg(target_os = "linux")]
#[test]
fn the_soft_limit_of_descriptors_is_raised() {
    let home = tempfile::tempdir().unwrap();
    let seed = Program::start(in_shell("ulimit -Sn 200", &bare("seed", home.path())));
    let _: PeerAddress = seed.addr();
    let limits = fs::read_to_string(format!("/proc/{}/limits", seed.pid())).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let limits: Vec<_> = line.split_whitespace().collect();
    assert_eq!(limits[0], limits[1], "{line}");
    assert_ne!(limits[0], "200");
    seed.stop();
}
