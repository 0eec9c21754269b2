//! A released Go node, as a child process that takes commands and reports events in JSON lines.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde_json::{Value, json};
use tmp2p::{NodeId, PeerAddress};

use crate::DEADLINE;

/// A release line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Release {
    V034,
    V038,
}

/// A running `peer` program; dropping it kills it.
pub(crate) struct Go {
    child: Child,
    input: ChildStdin,
    lines: Receiver<Value>,
    /// Reported and not asked for yet, in order.
    seen: VecDeque<Value>,
    requests: u64,
    /// Only errors that answer what is waited for count.
    is_tolerant: bool,
    release: Release,
    pub(crate) id: NodeId,
    /// `host:port` of its listener.
    pub(crate) listen: String,
}

impl Go {
    /// Starts a node that flushes at once and limits no rate, unless `args` say otherwise.
    pub(crate) fn start(release: Release, args: &[&str]) -> Self {
        Self::run(Command::new(release.program()), release, args)
    }

    /// The same in a network namespace.
    #[cfg(target_os = "linux")]
    #[allow(dead_code, reason = "for many nodes in bad weather")]
    pub(crate) fn start_in(namespace: &str, release: Release, args: &[&str]) -> Self {
        Self::run(tmp2p_line::command_in(namespace, release.program()), release, args)
    }

    fn run(mut command: Command, release: Release, args: &[&str]) -> Self {
        command.args(["-flush-throttle", "0s", "-send-rate", "0", "-recv-rate", "0"]).args(args);
        let (child, input, lines) = talk(&mut command, |_| true, |line| eprintln!("go: {line}"));
        // Not the node's yet: the real ones come with its first event.
        let (id, listen) = (tmp2p::NodeKey::from_seed([0; 32]).id(), String::new());
        let seen = VecDeque::new();
        let is_tolerant = false;
        let mut go =
            Self { child, input, lines, seen, requests: 0, is_tolerant, release, id, listen };
        let listening = go.wait("listening", json!({}));
        assert!(text(&listening, "version").starts_with(release.version()), "{listening}");
        go.id = text(&listening, "id").parse().unwrap();
        go.listen = text(&listening, "addr").to_owned();
        go
    }

    /// What to dial.
    pub(crate) fn address(&self) -> PeerAddress {
        format!("{}@{}", self.id, self.listen).parse().unwrap()
    }

    /// Gives a command and returns its request number.
    pub(crate) fn tell(&mut self, cmd: &str, mut fields: Value) -> u64 {
        self.requests += 1;
        fields["cmd"] = cmd.into();
        fields["request"] = self.requests.into();
        writeln!(self.input, "{fields}").unwrap();
        self.requests
    }

    /// Gives a command and waits for its answer.
    pub(crate) fn ask(&mut self, cmd: &str, fields: Value, answer: &str) -> Value {
        let request = self.tell(cmd, fields);
        self.answer(request, answer)
    }

    /// The answer to a request.
    pub(crate) fn answer(&mut self, request: u64, answer: &str) -> Value {
        self.wait(answer, json!({ "request": request }))
    }

    /// The first event not asked for yet that has all these fields.
    pub(crate) fn wait(&mut self, event: &str, want: Value) -> Value {
        self.wait_for(DEADLINE, event, want)
    }

    /// The same with another deadline.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, deadline: Duration, event: &str, want: Value) -> Value {
        let deadline = Instant::now() + deadline;
        if let Some(at) = self.seen.iter().position(|line| matches(line, event, &want)) {
            return self.seen.remove(at).unwrap();
        }
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) if matches(&line, event, &want) => return line,
                Ok(line) => {
                    let counts = !self.is_tolerant || line["request"] == want["request"];
                    let is_refused = line["event"] == "error" && event != "error" && counts;
                    assert!(!is_refused, "waiting for {event} {want}: {line}");
                    self.seen.push_back(line);
                }
                Err(error) => {
                    let seen: Vec<_> = self.seen.iter().rev().take(20).collect();
                    let why = match error {
                        RecvTimeoutError::Timeout => "no",
                        RecvTimeoutError::Disconnected => "go has exited without",
                    };
                    panic!("{why} {event} {want}; seen, newest first: {seen:#?}");
                }
            }
        }
    }

    /// Commands about peers that are gone are no faults from now on.
    #[allow(dead_code, reason = "for many nodes in bad weather")]
    pub(crate) fn tolerate(&mut self) {
        self.is_tolerant = true;
    }

    /// The first such event not asked for yet that has come by now.
    #[allow(dead_code, reason = "for many nodes in bad weather")]
    pub(crate) fn came(&mut self, event: &str) -> Option<Value> {
        self.seen.extend(self.lines.try_iter());
        let at = self.seen.iter().position(|line| line["event"] == event)?;
        self.seen.remove(at)
    }

    /// Lets the node dial ours, which refuses it or is refused: what Go tells. If ours refuses after
    /// the handshake, Go has mostly added the peer by then; its `peer_up` is taken too.
    #[track_caller]
    pub(crate) fn dial_fails(&mut self, addr: &PeerAddress) -> Value {
        let request = self.tell("dial", json!({ "addr": addr.to_string() }));
        let failed = ("dial_failed", json!({ "request": request }));
        let said = self.wait_any(&[failed, ("peer_down", json!({ "outbound": true }))]);
        if said["added"] == true {
            self.wait("peer_up", json!({ "session": said["session"] }));
        }
        said
    }

    /// The first of several events not asked for yet.
    #[track_caller]
    fn wait_any(&mut self, wanted: &[(&str, Value)]) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let is_wanted =
            |line: &Value| wanted.iter().any(|(event, want)| matches(line, event, want));
        if let Some(at) = self.seen.iter().position(is_wanted) {
            return self.seen.remove(at).unwrap();
        }
        loop {
            match self.lines.recv_deadline(deadline) {
                Ok(line) if is_wanted(&line) => return line,
                Ok(line) => self.seen.push_back(line),
                Err(_) => panic!("none of {wanted:?}; seen: {:#?}", self.seen),
            }
        }
    }

    /// Prints what the node told of a case, also when the test passes.
    pub(crate) fn quote(&self, case: &str, line: &Value) {
        let release = self.release;
        let said = ["reason", "error"].into_iter().find_map(|field| line[field].as_str());
        // Of a rejection the flags say which kind it is.
        let kind = match line["flags"][0].as_str() {
            Some(flag) => format!("rejected/{flag}"),
            None => line["kind"].as_str().unwrap_or_default().to_owned(),
        };
        let event = text(line, "event");
        crate::figure(format_args!(
            "go {release:?}: {case}: {event} {kind} {:?}",
            said.unwrap_or_default()
        ));
    }

    /// Fails if such an event has come by now.
    #[track_caller]
    pub(crate) fn assert_none(&mut self, event: &str) {
        self.seen.extend(self.lines.try_iter());
        let found = self.seen.iter().find(|line| matches(line, event, &json!({})));
        assert!(found.is_none(), "{}", found.unwrap());
    }

    /// Fails if such an event comes within this time.
    #[track_caller]
    pub(crate) fn assert_none_for(&mut self, event: &str, time: Duration) {
        let end = Instant::now() + time;
        while let Ok(line) = self.lines.recv_deadline(end) {
            self.seen.push_back(line);
            self.assert_none(event);
        }
        self.assert_none(event);
        assert!(self.child.try_wait().unwrap().is_none(), "go has exited");
    }

    /// What came on a channel of the newest session, once it is `count` messages or more.
    #[track_caller]
    pub(crate) fn received(&mut self, channel: u8, count: u64, deadline: Duration) -> Value {
        let millis = deadline.as_millis() as u64;
        let request =
            self.tell("await", json!({ "channel": channel, "count": count, "millis": millis }));
        let sunk = self.wait_for(deadline + DEADLINE, "sunk", json!({ "request": request }));
        assert_eq!(sunk["reached"], true, "{count} messages on {channel:#x}: {sunk}");
        total(&sunk, channel)
    }

    /// What came on a channel, of the only session there was.
    #[track_caller]
    pub(crate) fn total(&mut self, channel: u8) -> Value {
        total(&self.ask("totals", json!({}), "sunk"), channel)
    }

    /// Kills the process at once.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
    }
}

/// Starts a process that takes commands and answers in lines of JSON: of its output those that are
/// answers. Each line of its log is told: read here and not inherited, so that it is shown with the test
/// that it belongs to.
pub(crate) fn talk(
    command: &mut Command,
    is_answer: fn(&str) -> bool,
    log: impl Fn(&str) + Send + 'static,
) -> (Child, ChildStdin, Receiver<Value>) {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let input = child.stdin.take().unwrap();
    let (output, logs) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (sender, lines) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map(Result::unwrap).filter(|l| is_answer(l)) {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        BufReader::new(logs).lines().map_while(Result::ok).for_each(|line| log(&line));
    });
    (child, input, lines)
}

impl Drop for Go {
    fn drop(&mut self) {
        // It may have exited; a process that was not waited for keeps its number, so this cannot hit
        // another one.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field that is text.
#[track_caller]
pub(crate) fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no text {field:?} in {line}"))
}

/// A field that is a number.
#[track_caller]
pub(crate) fn number(line: &Value, field: &str) -> u64 {
    line[field].as_u64().unwrap_or_else(|| panic!("no number {field:?} in {line}"))
}

/// Fails unless the line has all these fields.
#[track_caller]
pub(crate) fn check(line: &Value, want: Value) {
    assert!(has(line, &want), "want {want} in {line}");
}

#[track_caller]
fn total(sunk: &Value, channel: u8) -> Value {
    let totals = sunk["totals"].as_array().unwrap();
    totals.iter().find(|total| total["channel"] == channel).unwrap().clone()
}

fn matches(line: &Value, event: &str, want: &Value) -> bool {
    line["event"] == event && has(line, want)
}

fn has(line: &Value, want: &Value) -> bool {
    want.as_object().unwrap().iter().all(|(field, value)| &line[field] == value)
}

impl Release {
    fn version(self) -> &'static str {
        match self {
            Self::V034 => "0.34.",
            Self::V038 => "0.38.",
        }
    }

    fn directory(self) -> &'static str {
        match self {
            Self::V034 => "v034",
            Self::V038 => "v038",
        }
    }

    /// The `peer` program, built once.
    pub(crate) fn program(self) -> &'static Path {
        static V034: OnceLock<PathBuf> = OnceLock::new();
        static V038: OnceLock<PathBuf> = OnceLock::new();
        let program = match self {
            Self::V034 => &V034,
            Self::V038 => &V038,
        };
        program.get_or_init(|| self.build("peer", self.directory(), "."))
    }

    /// The complete node, built once.
    pub(crate) fn node(self) -> &'static Path {
        static V034: OnceLock<PathBuf> = OnceLock::new();
        static V038: OnceLock<PathBuf> = OnceLock::new();
        let (node, package) = match self {
            Self::V034 => (&V034, "github.com/tendermint/tendermint/cmd/tendermint"),
            Self::V038 => (&V038, "github.com/cometbft/cometbft/cmd/cometbft"),
        };
        let module = format!("nodes/{}", self.directory());
        node.get_or_init(|| self.build("node", &module, package))
    }

    fn build(self, name: &str, module: &str, package: &str) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/go").join(module);
        let program = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("interop-{name}-{}", self.directory()));
        let built = Command::new("go")
            .current_dir(&source)
            .args(["build", "-o"])
            .arg(&program)
            .arg(package)
            .output();
        let built = built.unwrap_or_else(|error| {
            panic!(
                "cannot run `go`: {error}. The interop tests build Go programs: install Go 1.24 or \
                 newer (https://go.dev/dl), or run `cargo test` without `--ignored`"
            )
        });
        assert!(
            built.status.success(),
            "`go build` in {} failed; it needs Go 1.24 or newer and the Go module proxy:\n{}",
            source.display(),
            String::from_utf8_lossy(&built.stderr),
        );
        program
    }
}
