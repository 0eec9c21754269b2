//! Runs an example as a process of its own.

use std::{
    convert::Infallible,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Mutex, Once},
    time::{Duration, Instant},
};

use serde_json::Value;
use tmp2p::{PeerAddress, crossbeam_channel::Receiver};

/// After this a program hangs.
/// Longer than anything that a test waits for takes, also on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The command of an example, with nothing of this process's environment that it reads.
pub(crate) fn command(name: &str, home: &Path) -> Command {
    let mut command = Command::new(binary(name));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if ["TM", "CMT", "TENDERSEED"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(variable);
        }
    }
    command.env("HOME", home.join("no-home")).arg("--home").arg(home);
    command.stdin(Stdio::null());
    command
}

/// One that listens for peers only.
#[allow(dead_code, reason = "the interop tests, which share this file, have homes of their own")]
pub(crate) fn bare(name: &str, home: &Path) -> Command {
    let mut command = command(name, home);
    command.args(["--chain-id", "c"]);
    if name == "full_node" {
        command.args(["--rpc.laddr", ""]);
    }
    command
}

/// Whoever runs the tests may have a node that has the port which is ours where none is written.
#[allow(dead_code, reason = "the interop tests, which share this file, have homes of their own")]
pub(crate) fn at_a_free_port(command: &mut Command) -> &mut Command {
    command.env("TM_RPC_LADDR", "tcp://127.0.0.1:0")
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// Bad usage: code 2, nothing on stdout, one line on stderr that has all of this.
#[track_caller]
pub(crate) fn assert_refused(command: &mut Command, expected: &[&str]) {
    let output = run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{command:?}: {}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(stderr.lines().count(), 1, "{command:?}: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{command:?}: no {part:?} in {stderr}");
    }
}

/// Success; what it printed.
#[track_caller]
pub(crate) fn assert_prints(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// It starts, listens, and stops when it is told to.
#[track_caller]
pub(crate) fn assert_runs(command: Command) {
    let running = Program::start(command);
    running.addr();
    running.stop();
}

/// A program that runs with `--events`. Killed when dropped.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// Ends with its standard output, and so with it.
    running: Receiver<Infallible>,
    /// What was printed so far.
    seen: Mutex<Vec<Value>>,
}

impl Program {
    /// Starts it with ports of the system's choice.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_at("warn", command)
    }

    /// The same with this level of the log.
    pub(crate) fn start_at(level: &str, mut command: Command) -> Self {
        command.args(["--events", "--p2p.laddr", "tcp://127.0.0.1:0", "--p2p.dial_spread", "0s"]);
        command.args(["--p2p.allow_duplicate_ip", "--p2p.addr_book_strict=false"]);
        command.args(["--log_level", level, "--p2p.exempt_cidrs", "127.0.0.0/8"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = tmp2p::crossbeam_channel::unbounded();
        let (alive, running) = tmp2p::crossbeam_channel::bounded(0);
        std::thread::spawn(move || {
            let _alive = alive;
            for line in stdout.lines() {
                let Ok(()) = sender.send(line.unwrap()) else { return };
            }
        });
        Self { child, lines, running, seen: Mutex::default() }
    }

    /// The first event of this name that fits, from the beginning.
    #[track_caller]
    pub(crate) fn event(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.event_within(DEADLINE, name, fits)
    }

    /// The same with another deadline.
    #[track_caller]
    pub(crate) fn event_within(
        &self,
        deadline: Duration,
        name: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + deadline;
        let is_it = |event: &&Value| event["event"] == name && fits(event);
        let mut seen = self.seen.lock().unwrap();
        loop {
            if let Some(event) = seen.iter().find(is_it) {
                return event.clone();
            }
            match self.lines.recv_deadline(deadline) {
                Ok(line) => seen.push(parsed(&line)),
                Err(why) => panic!("no event {name}: {why}; there were {:#?}", *seen),
            }
        }
    }

    /// Everything that it has printed by now.
    #[allow(dead_code, reason = "the interop tests, which share this file, look back")]
    pub(crate) fn seen(&self) -> Vec<Value> {
        let mut seen = self.seen.lock().unwrap();
        seen.extend(self.lines.try_iter().map(|line| parsed(&line)));
        seen.clone()
    }

    /// Where it listens for peers.
    #[track_caller]
    pub(crate) fn addr(&self) -> PeerAddress {
        let event = self.event("listening", |event| event["service"] == "p2p");
        event["addr"].as_str().unwrap().parse().unwrap()
    }

    /// Of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where another service listens.
    #[track_caller]
    pub(crate) fn service(&self, service: &str) -> SocketAddr {
        let event = self.event("listening", |event| event["service"] == service);
        event["addr"].as_str().unwrap().parse().unwrap()
    }

    /// Answer to a GET request at another service: the code and the body.
    #[track_caller]
    pub(crate) fn get(&self, service: &str, path: &str) -> (u16, String) {
        let addr = self.service(service);
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The `result` of a call.
    #[track_caller]
    pub(crate) fn call(&self, path: &str) -> Value {
        let (code, body) = self.get("rpc", path);
        assert_eq!(code, 200, "{body}");
        let answer = parsed(&body);
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&"2.0".into(), &(-1).into()), "{body}");
        answer["result"].clone()
    }

    /// A line on its standard input.
    pub(crate) fn write_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Ends it with SIGTERM; everything that it printed. It must say goodbye and succeed.
    #[track_caller]
    pub(crate) fn stop(self) -> Vec<Value> {
        self.signal("TERM");
        self.ended()
    }

    /// Sends it a signal.
    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Whether it has not ended.
    #[allow(dead_code, reason = "the interop tests, which share this file, do not ask")]
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Its end, which was asked for; everything that it printed. It must say goodbye and succeed.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Vec<Value> {
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.extend(self.lines.iter().map(|line| parsed(&line)));
        assert_eq!(seen.last().unwrap()["event"], "stopped", "{seen:#?}");
        assert!(seen.iter().all(|event| event["at_ms"].is_u64()), "{seen:#?}");
        seen
    }

    /// How it ends.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let timeout = self.running.recv_timeout(DEADLINE).unwrap_err().is_timeout();
        assert!(!timeout, "the program does not end");
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Gone already if it was stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}"))
}

/// Where cargo puts the examples: beside the folder of this test. They are built with the settings
/// of this test, which `cargo test` has done already unless it was asked for this test alone.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let profile = if cfg!(debug_assertions) { "test" } else { "release" };
        let mut cargo = Command::new(env!("CARGO"));
        // Of this test's package: build scripts that look at them would run anew, and everything
        // that hangs on them would be built a second time.
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&variable);
            }
        }
        let status = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--profile", profile])
            .args([
                "--example=full_node",
                "--example=seed",
                "--example=local_net",
                "--example=echo",
            ])
            .status()
            .unwrap();
        assert!(status.success(), "the examples do not compile");
    });
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}
