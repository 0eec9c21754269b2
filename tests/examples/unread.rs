//! Nobody reads what a program says, or there is no room for it.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use tmp2p::{
    PeerAddress,
    crossbeam_channel::{Receiver, Sender, unbounded},
};

use crate::{
    cli::Lines,
    guest::Guest,
    program::{DEADLINE, Program, bare, command, run},
    stderr::{Log, nobody_reads},
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
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(1), &b""[..]));
    }
}
