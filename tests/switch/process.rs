//! What a test does to its whole process. Such tests run in a process of their own.

use std::{collections::BTreeMap, fs, process::Command};

/// Set in the process that runs a test alone.
const ALONE: &str = "TMP2P_TEST_ALONE";

/// Whether this process runs the test alone; if not, one that does is started and must succeed.
#[track_caller]
pub(crate) fn is_alone(test: &str) -> bool {
    runs_alone(test, Command::new(std::env::current_exe().unwrap()))
}

/// The same in a process that may have so many files open, and no more.
#[track_caller]
pub(crate) fn is_alone_with_files(test: &str, files: usize) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"ulimit -n "$0" && exec "$@""#, &files.to_string()]);
    shell.arg(std::env::current_exe().unwrap());
    runs_alone(test, shell)
}

/// The same in a process that may have so many files open, and may raise that as far.
#[track_caller]
pub(crate) fn is_alone_with_limits(test: &str, soft: usize, hard: usize) -> bool {
    let mut shell = Command::new("sh");
    let script = r#"ulimit -Sn "$0" && ulimit -Hn "$1" && shift && exec "$@""#;
    shell.args(["-c", script, &soft.to_string(), &hard.to_string()]);
    shell.arg(std::env::current_exe().unwrap());
    runs_alone(test, shell)
}

#[track_caller]
fn runs_alone(test: &str, mut command: Command) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = command
        .args([test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test has another name: {text}");
    print!("{text}");
    false
}

/// The library's threads by name, and how many descriptors are open.
pub(crate) fn resources() -> (BTreeMap<String, usize>, usize) {
    resources_of("self")
}

/// The same of another process.
pub(crate) fn resources_of(process: &str) -> (BTreeMap<String, usize>, usize) {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        // A thread may end while we look.
        let Ok(name) = fs::read_to_string(task.unwrap().path().join("comm")) else { continue };
        if name.starts_with("p2p-") {
            *threads.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    (threads, fs::read_dir(format!("/proc/{process}/fd")).unwrap().count())
}

/// Memory that the process has in use, bytes.
pub(crate) fn memory() -> usize {
    memory_of("self")
}

/// The same of another process.
pub(crate) fn memory_of(process: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// Processor time that the process has used, in ticks of 10 ms.
pub(crate) fn ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
