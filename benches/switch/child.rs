//! Other processes: this program in another role, or another program. They take a line on their
//! input as a question and answer with a line of JSON; the end of their input ends them.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::common::{Outcome, allowed_cpu};

/// Role: a switch that listens and echoes.
pub(crate) const LISTEN: &str = "--listen";
/// Role: the same, with more pings.
pub(crate) const IDLE: &str = "--idle";
/// Role: the same, and counts what memory it holds.
pub(crate) const HEAP: &str = "--heap";
/// Role: dials and closes. `--dialers ADDR N CONCURRENT`.
pub(crate) const DIALERS: &str = "--dialers";
/// Role: dials, exchanges a message, stays and answers pings. `--hold ADDR N`.
pub(crate) const HOLD: &str = "--hold";
/// Role: dials, stays, reads all, and sends when told to. `--crowd ADDR N PER_SECOND`.
pub(crate) const CROWD: &str = "--crowd";
/// Role: a switch that broadcasts when told to.
pub(crate) const FANOUT: &str = "--fanout";
/// Role: a switch that passes some of what it receives to everybody.
pub(crate) const GOSSIP: &str = "--gossip";
/// Role: measures round trips. `--rtt SAMPLES`.
pub(crate) const RTT: &str = "--rtt";
/// Role: a switch that is attacked. `--stand PLACES UNCONDITIONAL PERSISTENT`.
pub(crate) const STAND: &str = "--stand";
/// Role: attacks. `--attack NAME ADDR`.
pub(crate) const ATTACK: &str = "--attack";

/// How long a listener may take to have as many peers as it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running child, killed when dropped.
pub(crate) struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// This program in another role.
    pub(crate) fn start(args: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args);
        Self::spawn(command)
    }

    /// The same on one processor.
    pub(crate) fn start_on(cpu: u32, args: &[&str]) -> Outcome<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", &cpu.to_string()]).arg(std::env::current_exe()?).args(args);
        Self::spawn(command)
    }

    /// This program in another role, as if on the first or the second machine: where there are two
    /// processors, each has one of its own.
    pub(crate) fn start_apart(nth: u32, args: &[&str]) -> Outcome<Self> {
        let processors = thread::available_parallelism().map_or(1, |n| n.get());
        match allowed_cpu() {
            Some(first) if processors > 1 && has_taskset() => Self::start_on(first + nth, args),
            _ => Self::start(args),
        }
    }

    /// Another program.
    pub(crate) fn program(path: impl AsRef<OsStr>, args: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(path);
        command.args(args);
        Self::spawn(command)
    }

    /// The next line of its output.
    pub(crate) fn read_json(&mut self) -> Outcome<Value> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a child process ended early".into());
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks something.
    pub(crate) fn ask(&mut self, question: &str) -> Outcome<Value> {
        let input = self.input.as_mut().ok_or("the child's input has ended")?;
        writeln!(input, "{question}")?;
        self.read_json()
    }

    /// Ends its input; what it says then.
    pub(crate) fn last_words(&mut self) -> Outcome<Value> {
        self.input = None;
        self.read_json()
    }

    /// Ends its input and waits until it is gone.
    pub(crate) fn finish(mut self) -> Outcome<()> {
        self.input = None;
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("a child process ended with {status}").into());
        }
        Ok(())
    }

    /// Whatever is to be run.
    pub(crate) fn spawn(mut command: Command) -> Outcome<Self> {
        let program = command.get_program().to_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process =
            command.spawn().map_err(|error| format!("cannot start {program:?}: {error}"))?;
        let input = process.stdin.take();
        let output = process.stdout.take().expect("piped above");
        Ok(Self { process, input, output: BufReader::new(output) })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether there is a program to run another on one processor.
pub(crate) fn has_taskset() -> bool {
    let mut command = Command::new("taskset");
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Asks until the child has as many peers.
pub(crate) fn wait_for_peers(child: &mut Child, question: &str, peers: usize) -> Outcome<()> {
    let deadline = Instant::now() + PATIENCE;
    while number(&child.ask(question)?, "peers")? != peers as f64 {
        if Instant::now() > deadline {
            return Err(format!("the listener never had {peers} peers").into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A number in a child's answer.
pub(crate) fn number(answer: &Value, key: &str) -> Outcome<f64> {
    answer[key].as_f64().ok_or_else(|| format!("no number {key} in {answer}").into())
}

/// A text in a child's answer.
pub(crate) fn text<'a>(answer: &'a Value, key: &str) -> Outcome<&'a str> {
    answer[key].as_str().ok_or_else(|| format!("no text {key} in {answer}").into())
}
