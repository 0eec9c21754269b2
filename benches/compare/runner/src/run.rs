//! One program, one case, once.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    case::{Case, Kind},
    program::Program,
};

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The line, with the figures of its kind.
    Line(Value),
    /// The program says why it has no such figure.
    Cannot(String),
}

/// How long peers may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a case of any program.
pub(crate) fn run(program: &Program, case: &Case, quick: bool) -> Result<Outcome, String> {
    let path = program.path.as_ref().map_err(String::clone)?;
    if program.is_ours {
        return match case.ours_cannot {
            Some(reason) => Ok(Outcome::Cannot(reason.to_owned())),
            None => {
                ours(path, &case.name, quick).map(|lines| Outcome::Line(merge(case.kind, &lines)))
            }
        };
    }
    let mut command = Command::new(path);
    command.args(program.flags);
    match case.kind {
        Kind::Handshakes => handshakes(&command, &case.args).map(Outcome::Line),
        Kind::Idle => idle(&command, &case.args).map(Outcome::Line),
        _ => {
            command.args(&case.args);
            last_line(command).map(outcome)
        }
    }
}

/// The figure of the bare pipe or hop.
pub(crate) fn bare(ours: &Program, case: &str, quick: bool) -> Result<f64, String> {
    let path = ours.path.as_ref().map_err(String::clone)?;
    let lines = self::ours(path, case, quick)?;
    let line = lines.first().ok_or_else(|| format!("no line of {case}"))?;
    line["value"].as_f64().ok_or_else(|| format!("no value in {line}"))
}

fn ours(path: &Path, case: &str, quick: bool) -> Result<Vec<Value>, String> {
    let mut command = Command::new(path);
    command.args(["--bench", "--json", "--runs", "1", case]);
    if quick {
        command.arg("--quick");
    }
    let mut lines = lines(command)?;
    // Of the yardstick beside it, which is measured by itself.
    lines.retain(|line| line["case"].as_str().is_some_and(|name| name.starts_with(case)));
    if lines.is_empty() { Err(format!("no line of {case}")) } else { Ok(lines) }
}

/// Our bench's lines of a case under the names that the other programs use.
fn merge(kind: Kind, lines: &[Value]) -> Value {
    let (figure, _) = kind.figures();
    let mut merged = lines.first().cloned().unwrap_or_default();
    let value = merged["value"].clone();
    match kind {
        Kind::Mixed => {
            if let Some(bulk) = lines.get(1) {
                merged["bulk_mb_per_s"] = bulk["value"].clone();
            }
        }
        Kind::Slow => {}
        _ => merged[figure] = value,
    }
    merged
}

fn outcome(line: Value) -> Outcome {
    match line["cannot"].as_str() {
        Some(reason) => Outcome::Cannot(reason.to_owned()),
        None => Outcome::Line(line),
    }
}

fn last_line(command: Command) -> Result<Value, String> {
    lines(command)?.pop().ok_or_else(|| "it printed nothing".to_owned())
}

/// Runs it to its end; its lines.
fn lines(mut command: Command) -> Result<Vec<Value>, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if !output.status.success() {
        return Err(format!("{}: {said}", output.status));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
        .collect()
}

/// A listener, and its dialers in another process.
fn handshakes(program: &Command, args: &[String]) -> Result<Value, String> {
    let mut listener = Process::start(program, &["listen"])?;
    let listening = listener.read()?;
    let addr = text(&listening, "addr")?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let dial = [&["dial", "-addr", addr.as_str()], &args[..]].concat();
    let mut dialers = Process::start(program, &dial)?;
    let mut dialed = dialers.read()?;
    dialers.finish()?;
    if dialed["ok"] != dialed["n"] {
        return Err(format!("not all dials succeeded: {dialed}"));
    }
    listener.input = None;
    let stopped = listener.read()?;
    listener.finish()?;
    dialed["listener_cpu_us_each"] = stopped["cpu_us_each"].clone();
    Ok(dialed)
}

/// A listener's memory with held peers, and before with one that came and went.
fn idle(program: &Command, args: &[String]) -> Result<Value, String> {
    let mut listener = Process::start(program, &["listen"])?;
    let listening = listener.read()?;
    let addr = text(&listening, "addr")?;
    let hold = |args: &[&str]| -> Result<(Process, f64), String> {
        let mut holding =
            Process::start(program, &[&["hold", "-addr", addr.as_str()], args].concat())?;
        let held = number(&holding.read()?, "held")?;
        Ok((holding, held))
    };
    hold(&["-n", "1"])?.0.finish()?;
    let without = number(&listener.wait_for(0.0)?, "rss_kib")?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (holding, peers) = hold(&args)?;
    listener.wait_for(peers)?;
    // What the last messages left is given back, where it is.
    sleep(Duration::from_secs(1));
    let with = number(&listener.ask()?, "rss_kib")?;
    holding.finish()?;
    listener.finish()?;
    let each = (with - without) / peers;
    Ok(json!({ "program": "idle", "peers": peers, "kib_per_peer": each, "rss_kib": with }))
}

fn number(line: &Value, key: &str) -> Result<f64, String> {
    line[key].as_f64().ok_or_else(|| format!("no number {key} in {line}"))
}

fn text(line: &Value, key: &str) -> Result<String, String> {
    line[key].as_str().map(str::to_owned).ok_or_else(|| format!("no text {key} in {line}"))
}

/// A program that goes on until its input ends; killed when dropped.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(program: &Command, args: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program.get_program());
        command.args(program.get_args()).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("piped above"));
        Ok(Self { child, input, output })
    }

    fn read(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("it ended early".to_owned()),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("{error}: {line}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ask(&mut self) -> Result<Value, String> {
        let input = self.input.as_mut().ok_or("its input has ended")?;
        writeln!(input, "figures").map_err(|error| error.to_string())?;
        self.read()
    }

    fn wait_for(&mut self, peers: f64) -> Result<Value, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let figures = self.ask()?;
            if number(&figures, "peers")? == peers {
                return Ok(figures);
            }
            if Instant::now() > deadline {
                return Err(format!("it never had {peers} peers: {figures}"));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn finish(mut self) -> Result<(), String> {
        self.input = None;
        // What it still says is not waited for, but taken.
        let _ = std::io::copy(&mut self.output, &mut std::io::sink());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_figures_or_says_why_not() {
        assert_eq!(
            outcome(json!({ "cannot": "no queue" })),
            Outcome::Cannot("no queue".to_owned())
        );
        let line = json!({ "mb_per_s": 1.0 });
        assert_eq!(outcome(line.clone()), Outcome::Line(line));
    }

    #[test]
    fn our_lines_get_the_names_of_the_others() {
        let drain = json!({ "case": "drain/size=1024", "value": 5.0, "cpu_s_per_gb": 2.0 });
        assert_eq!(merge(Kind::Drain, &[drain])["mb_per_s"], 5.0);
        let mixed = [json!({ "value": 1.0, "p99_ms": 1.0 }), json!({ "value": 70.0 })];
        let merged = merge(Kind::Mixed, &mixed);
        assert_eq!((&merged["p99_ms"], &merged["bulk_mb_per_s"]), (&json!(1.0), &json!(70.0)));
        let handshakes = json!({ "value": 300.0, "per_second": 900.0 });
        let merged = merge(Kind::Handshakes, &[handshakes]);
        assert_eq!(merged["per_second"], 900.0);
        assert_eq!(merged["listener_cpu_us_each"], 300.0);
    }

    #[test]
    fn a_program_that_fails_is_an_error_with_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo '{\"a\":1}'; echo too bad >&2; exit 3"]);
        assert!(lines(command).unwrap_err().contains("too bad"));
        let mut command = Command::new("sh");
        command.args(["-c", "echo '{\"a\":1}'; echo '{\"a\":2}'"]);
        assert_eq!(last_line(command).unwrap()["a"], 2);
    }
}
