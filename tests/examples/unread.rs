//! Nobody reads what a program says, or there is no room for it.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use clap::CommandFactory;
use serde_json::json;
use tmp2p::{
    PeerAddress,
    crossbeam_channel::{Receiver, Sender, unbounded},
};

use crate::{
    cli::{self, Lines},
    console::Console,
    guest::Guest,
    program::{DEADLINE, Program, bare, command, run},
    stderr::{Log, in_shell, nobody_reads},
};

/// A stream that takes nothing until it may, or fails.
struct Stream {
    /// Is told of each write.
    tried: Sender<()>,
    /// What becomes of it; when nobody says so any more, it succeeds.
    gate: Receiver<io::Result<()>>,
    taken: Arc<Mutex<String>>,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tried.send(()).unwrap();
        self.gate.recv().unwrap_or(Ok(()))?;
        self.taken.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines to such a stream, which is told of, let go on, and looked into.
#[allow(clippy::type_complexity, reason = "it is taken apart at once")]
fn lines(most: usize) -> (Lines, Receiver<()>, Sender<io::Result<()>>, Arc<Mutex<String>>) {
    let ((tried, tries), (opens, gate)) = (unbounded(), unbounded());
    let taken = Arc::default();
    let stream = Stream { tried, gate, taken: Arc::clone(&taken) };
    (Lines::new(stream, most), tries, opens, taken)
}

#[test]
fn lines_that_nobody_reads_are_lost_and_counted_in_their_place() {
    let (lines, tries, opens, taken) = lines(100);
    lines.set_notice(|lost| format!("{lost} lost"));
    lines.push("taken");
    tries.recv_timeout(DEADLINE).unwrap();
    // The stream sits there now.
    for number in 0..50 {
        lines.push(&format!("line {number:04}"));
    }
    opens.send(Ok(())).unwrap();
    tries.recv_timeout(DEADLINE).unwrap();
    lines.push("after the gap");
    drop(opens);
    assert!(lines.finish(DEADLINE));
    let mut expected = "taken\n".to_owned();
    expected.extend((0..10).map(|number| format!("line {number:04}\n")));
    expected += "40 lost\nafter the gap\n";
    assert_eq!(*taken.lock().unwrap(), expected);
}

#[test]
fn the_end_of_a_program_does_not_wait_for_ever_for_who_reads() {
    let (lines, tries, opens, taken) = lines(100);
    lines.push("taken");
    tries.recv_timeout(DEADLINE).unwrap();
    lines.push("waits");
    assert!(!lines.finish(Duration::from_millis(50)));
    drop(opens);
    assert!(lines.finish(DEADLINE));
    assert_eq!(*taken.lock().unwrap(), "taken\nwaits\n");
}

/// A disk that is full for a while.
#[test]
fn lines_that_could_not_be_written_are_counted_and_later_ones_are() {
    let (lines, tries, opens, taken) = lines(1000);
    lines.set_notice(|lost| format!("{lost} lost"));
    for line in ["a", "b"] {
        opens.send(Err(ErrorKind::StorageFull.into())).unwrap();
        lines.push(line);
        tries.recv_timeout(DEADLINE).unwrap();
    }
    drop(opens);
    lines.push("c");
    tries.recv_timeout(DEADLINE).unwrap();
    assert!(lines.finish(DEADLINE));
    let taken = taken.lock().unwrap();
    assert!(*taken == "2 lost\nc\n" || *taken == "c\n2 lost\n", "{taken:?}");
}

/// Somebody who shares a terminal with us has made it non-blocking.
#[test]
fn a_stream_that_is_not_ready_is_tried_again() {
    let (lines, _tries, opens, taken) = lines(1000);
    for error in [ErrorKind::WouldBlock, ErrorKind::Interrupted] {
        opens.send(Err(error.into())).unwrap();
    }
    drop(opens);
    lines.push("a");
    assert!(lines.finish(DEADLINE));
    assert_eq!(*taken.lock().unwrap(), "a\n");
}

/// Somebody connects and leaves; its ID.
fn visit(addr: PeerAddress) -> String {
    let visitor = Guest::of(addr);
    let id = visitor.id();
    visitor.leave();
    id
}

/// The fault: the first line of the log that found the pipe full held up the switch for ever, and nobody
/// was admitted and SIGTERM did nothing.
#[cfg(unix)]
#[test]
fn a_log_that_nobody_reads_holds_up_neither_newcomers_nor_the_stop() {
    for program in ["seed", "full_node"] {
        let home = tempfile::tempdir().unwrap();
        let (reader, full) = nobody_reads();
        let mut command = bare(program, home.path());
        command.stderr(full);
        let node = Program::start_at("trace", command);
        for _ in 0..5 {
            let id = visit(node.addr());
            node.event("peer_up", |event| event["id"] == id);
            node.event("peer_down", |event| event["id"] == id);
        }
        node.stop();
        drop(reader);
    }
}

/// The same for events: reactors waited for whoever reads them.
#[cfg(unix)]
#[test]
fn events_that_nobody_reads_hold_up_neither_newcomers_nor_the_stop() {
    for program in ["seed", "full_node"] {
        let home = tempfile::tempdir().unwrap();
        let (reader, full) = nobody_reads();
        let mut command = bare(program, home.path());
        command.args(["--events", "--p2p.laddr", "tcp://127.0.0.1:0"]);
        command.args(["--p2p.addr_book_strict=false", "--p2p.exempt_cidrs", "127.0.0.0/8"]);
        command.arg("--p2p.allow_duplicate_ip");
        let mut log = Log::of_command(&mut command);
        let mut child = command.stdout(full).spawn().unwrap();
        drop(command);
        let start = log.line("version");
        let addr = start.split_once("node ").unwrap().1.split(',').next().unwrap();
        for _ in 0..5 {
            visit(addr.parse().unwrap());
        }
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{:#?}", log.all());
        drop(reader);
    }
}

/// The fault: a panic, and half of the files of `init`.
#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_is_full_is_one_line_and_code_1() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let full = || OpenOptions::new().write(true).open("/dev/full").unwrap();
        for args in [&["init", "--chain-id", "c"][..], &["show-node-id"], &["--help"]] {
            let output = run(command(program, home.path()).args(args).stdout(full()));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
            for part in ["standard output", "No space left"] {
                assert!(stderr.contains(part), "{args:?}: {stderr}");
            }
        }
        let files = fs::read_dir(home.path().join("config")).unwrap().count();
        assert_eq!(files, if program == "seed" { 2 } else { 3 }, "all of them");
        // Somebody who has seen enough, as `head` has.
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = run(command(program, home.path()).arg("show-node-id").stdout(writer));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains("standard output") && stderr.contains("Broken pipe"), "{stderr}");
    }
}

/// A running node whose events go to this; its exit code and the last line of its log, which has no
/// other line of that kind.
#[cfg(unix)]
fn end_of(program: &str, stdout: Stdio, between: impl FnOnce(&mut Log)) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = bare(program, home.path());
    command.args(["--events", "--p2p.laddr", "tcp://127.0.0.1:0", "--p2p.allow_duplicate_ip"]);
    command.args(["--p2p.addr_book_strict=false", "--p2p.exempt_cidrs", "127.0.0.0/8"]);
    let mut log = Log::of_command(&mut command);
    let mut child = command.stdout(stdout).spawn().unwrap();
    drop(command);
    between(&mut log);
    let deadline = std::time::Instant::now() + DEADLINE;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code();
        }
        if std::time::Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let lines = log.all();
    let told = lines.iter().filter(|line| line.contains("standard output")).count();
    assert_eq!(told, 1, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("panic")), "{lines:#?}");
    (code, lines.last().unwrap().clone())
}

/// The fault: a node whose events nobody could read any more went on, or ended with code 0.
#[cfg(unix)]
#[test]
fn a_running_program_whose_standard_output_is_gone_stops_with_one_line_and_code_1() {
    for program in ["seed", "full_node"] {
        let (reader, writer) = io::pipe().unwrap();
        let (code, last) = end_of(program, writer.into(), |log| {
            let start = log.line("version");
            // `head` has seen enough, and then there is something to say.
            drop(reader);
            let addr = start.split_once("node ").unwrap().1.split(',').next().unwrap();
            visit(addr.parse().unwrap());
        });
        let told = "error: cannot write to standard output: Broken pipe (os error 32)";
        assert_eq!((code, &*last), (Some(1), told), "{program}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_running_program_whose_standard_output_is_full_stops_with_one_line_and_code_1() {
    for program in ["seed", "full_node"] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, last) = end_of(program, full.into(), |_| ());
        assert_eq!(code, Some(1), "{program}");
        assert!(
            last.starts_with("error: cannot write") && last.contains("No space left"),
            "{last}"
        );
    }
}

/// Who has closed it from the start wants none: the system's, as for any program in Rust, is then
/// `/dev/null`. And a log that is gone or full never stops a node.
#[cfg(target_os = "linux")]
#[test]
fn neither_a_closed_standard_output_nor_a_lost_log_stops_a_node() {
    for program in ["seed", "full_node"] {
        for before in ["exec >&-", "exec 2>&-", "exec 2>/dev/full"] {
            let home = tempfile::tempdir().unwrap();
            let mut command = bare(program, home.path());
            command.args(["--p2p.laddr", "tcp://127.0.0.1:0", "--log_level", "trace"]);
            let mut shell = in_shell(before, &command);
            let log = Log::of_command(&mut shell);
            let mut child = shell.stdout(Stdio::null()).spawn().unwrap();
            drop(shell);
            // Its key is there before it runs, and its book when it does.
            let book = home.path().join(if program == "seed" { "data" } else { "config" });
            let deadline = std::time::Instant::now() + DEADLINE;
            while !book.join("addrbook.sqlite").exists() {
                assert!(std::time::Instant::now() < deadline, "{program}, {before}");
                std::thread::sleep(Duration::from_millis(10));
            }
            let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
            assert!(killed.success());
            assert_eq!(child.wait().unwrap().code(), Some(0), "{program}, {before}");
            assert!(!log.all().iter().any(|line| line.contains("panic")));
        }
    }
}

/// In a process of its own what is said and what is done when a thread panics is that of a program. The
/// name of the test that is run there, and what it does.
const CHILD: (&str, &str) = ("unread::a_process_of_its_own", "TMP2P_TESTS_CHILD");

/// More lines than wait to be read.
const MANY: usize = 30_000;

#[derive(clap::Parser)]
struct Nothing {}

/// Does nothing unless it is run by one of the tests below.
#[test]
fn a_process_of_its_own() {
    let Ok(role) = std::env::var(CHILD.1) else { return };
    let _code = cli::run(
        Nothing::command(),
        ["child".into()],
        |_| None,
        |_: Nothing| {
            cli::init_log(("", "info"), ("", "plain"))?;
            match &*role {
                "panics" => {
                    let thread = cli::spawn("worker", || panic!("on purpose"))?;
                    assert!(thread.join().is_err());
                }
                "logs" => {
                    (0..MANY).for_each(|number| log::info!("{number:0100}"));
                    println!("all is said");
                }
                _ => {
                    // The test's name is in this line.
                    println!();
                    let console = Console::new(true, 1);
                    let text = "x".repeat(3000);
                    (0..MANY).for_each(|_| console.event("text", json!({ "text": text })));
                    log::info!("all is said");
                }
            }
            Ok(())
        },
    );
}

fn child(role: &str) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", CHILD.0, "--nocapture", "--test-threads=1"]).env(CHILD.1, role);
    child.stdin(Stdio::null());
    child
}

/// Which thread it was is the first thing to know of one that has none but its name.
#[test]
fn a_panic_is_a_line_of_the_log_with_the_name_of_the_thread() {
    let stderr = String::from_utf8(run(&mut child("panics")).stderr).unwrap();
    let line =
        stderr.lines().find(|line| line.contains("PANIC")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.starts_with('[') && line.contains("thread \"worker\""), "{stderr}");
    assert!(stderr.contains("on purpose"), "{stderr}");
}

/// Who begins to read late finds in the log how much of it there is not.
#[test]
fn lines_of_the_log_that_were_lost_are_a_warning_with_their_number() {
    let mut log = child("logs");
    let (reader, writer) = io::pipe().unwrap();
    log.stderr(writer);
    let mut said = Log::of({
        let (reader, writer) = io::pipe().unwrap();
        log.stdout(writer);
        reader
    });
    let mut running = log.spawn().unwrap();
    drop(log);
    said.line("all is said");
    let lines = Log::of(reader).all();
    assert!(running.wait().unwrap().success());
    let lost = lines.iter().find(|line| line.contains("lines of the log lost")).unwrap();
    assert!(lost.contains("WARN"), "{lost}");
    let lost: usize = lost.split_once("] ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    let told = lines.iter().filter(|line| line.contains("INFO")).count();
    assert_eq!((lost + told, lost > 0), (MANY, true));
}

/// And among the events.
#[test]
fn events_that_were_lost_are_an_event_with_their_number() {
    let mut events = child("events");
    let (reader, writer) = io::pipe().unwrap();
    events.stdout(writer);
    let mut log = Log::of_command(&mut events);
    let mut running = events.spawn().unwrap();
    drop(events);
    log.line("all is said");
    let lines = Log::of(reader).all();
    assert!(running.wait().unwrap().success());
    let events: Vec<serde_json::Value> =
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lost = events.iter().find(|event| event["event"] == "lost").unwrap();
    let told = events.iter().filter(|event| event["event"] == "text").count();
    let lost = lost["lines"].as_u64().unwrap() as usize;
    assert_eq!((lost + told, lost > 0), (MANY, true));
}
