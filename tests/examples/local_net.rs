//! The network in one process: what a person sees of it, and that nothing of it is left.

#[path = "../../examples/local_net/progress.rs"]
mod progress;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use progress::{Progress, is_at_limit, rate};

use crate::program::{DEADLINE, binary, run};

/// With its folders in this one.
fn local_net(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary("local_net"));
    command.args(args).env("TMPDIR", folder).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
    command.stdin(Stdio::null());
    command
}

#[track_caller]
fn assert_nothing_is_left(folder: &Path) {
    let left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_network_shows_itself_in_60_columns_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = local_net(folder.path(), &["--nodes", "3", "--messages", "20"]);
    let output = run(command.env("NO_COLOR", "1"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
    assert!(!text.contains('\x1b'), "NO_COLOR: {text}");
    for part in [" MB/s", "every byte compared", "p99 ms", "All well after"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_nothing_is_left(folder.path());
}

#[test]
fn what_cannot_be_asked_of_a_network_is_told_by_the_flags_name() {
    let folder = tempfile::tempdir().unwrap();
    for (args, parts) in [
        (["--nodes", "0"], ["--nodes 0", "from 2 to 256"]),
        (["--nodes", "many"], ["--nodes", "whole number"]),
        (["--size", "1"], ["--size 1", "bytes from 24"]),
        (["--seconds", "-1"], ["--seconds", "0 or more"]),
    ] {
        crate::program::assert_refused(&mut local_net(folder.path(), &args), &parts);
    }
}

/// The fault: Ctrl-C left a folder of keys and books behind each time.
#[test]
fn a_network_that_is_interrupted_leaves_nothing() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        // A test that was started with nohup ignores it, and so would the network.
        if signal == "-HUP" && crate::told::ignores_sighup() {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = local_net(folder.path(), &["--nodes", "3", "--seconds", "600"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Everybody sends now.
        let found = lines.find(|line| line.contains("find")).expect("they find each other");
        assert!(found.contains("\x1b[32m"), "green: {found}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let said: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said:?}");
        assert!(said.iter().any(|line| line.contains("stopped by SIG")), "{said:?}");
        assert_nothing_is_left(folder.path());
    }
}

/// The fault: a second Ctrl-C left it behind. Nobody reads any more, so that the network cannot end in
/// order: it waits in the middle of a line.
#[cfg(target_os = "linux")]
#[test]
fn a_second_signal_ends_a_network_at_once_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = local_net(folder.path(), &["--nodes", "3", "--seconds", "600"]);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut child = command.stdout(writer.try_clone().unwrap()).spawn().unwrap();
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while !line.contains("start") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it starts them");
    }
    // Its next line finds no room.
    let filler = std::thread::spawn(move || while writer.write_all(&[b'.'; 4096]).is_ok() {});
    let deadline = Instant::now() + DEADLINE;
    let writes = || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
        // Of x86-64 and of the others.
        call.starts_with("1 0x1 ") || call.starts_with("64 0x1 ")
    };
    while !writes() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let pid = child.id().to_string();
    for _ in 0..2 {
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        // Sooner it would be the same one.
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_nothing_is_left(folder.path());
    drop(reader);
    filler.join().unwrap();
}

/// Here it has not enough descriptors for so many nodes.
#[cfg(unix)]
#[test]
fn a_network_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let network = local_net(folder.path(), &["--nodes", "32"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]).arg(network.get_program());
    command.args(network.get_args()).env("TMPDIR", folder.path()).stdin(Stdio::null());
    let output = run(&mut command);
    let (text, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}{stderr}");
    assert!(text.contains("FAILED") && stderr.starts_with("error: "), "{text}{stderr}");
    assert_nothing_is_left(folder.path());
}

#[test]
fn progress_has_a_rate_with_its_unit_and_the_time_left() {
    let text = |share, seconds, megabytes| {
        let elapsed = Duration::from_secs_f64(seconds);
        Progress { share, elapsed, bytes: megabytes * 1e6 }.text()
    };
    assert_eq!(text(0.25, 2.0, 25.0), "12.50 MB/s, 6.00 s left");
    assert_eq!(text(0.0, 0.1, 0.0), "0.00 MB/s");
    assert_eq!(text(1.0, 3.0, 1.0), "0.33 MB/s, 0.00 s left");
    // A bar of twenty and the name of the step are before it.
    for seconds in [1e-6, 1.0, 500.0, 1e4, 1e6] {
        for share in [1e-4, 0.01, 0.5, 1.0, 1.5] {
            let text = text(share, seconds, 900.0 * seconds);
            assert!("  send     [".len() + 20 + text.len() <= 60, "{text}");
        }
    }
    assert_eq!(rate(3e9, Duration::from_secs(2)), "1.50 GB/s");
}

#[test]
fn the_default_rate_is_named_where_it_is_the_limit() {
    let second = Duration::from_secs(1);
    assert!(is_at_limit(5_000_000.0, second, 5_120_000));
    assert!(!is_at_limit(4_000_000.0, second, 5_120_000));
    assert!(!is_at_limit(5_000_000.0, 2 * second, 5_120_000));
    assert!(!is_at_limit(5_000_000.0, second, 0), "0 is no limit");
}
