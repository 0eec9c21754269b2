//! What a person sees: steps as they are done, a bar while messages flow, a table at the end. All of
//! it in 60 columns.

use std::{
    cell::Cell,
    fmt::Arguments,
    io::{self, Write},
    time::{Duration, Instant},
};

use clap::builder::styling::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{network::Row, progress::Progress};

const PLAIN: Style = Style::new();
const BOLD: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Steps of the bar: a share of the work is known more exactly than anybody sees.
const STEPS: f64 = 1000.0;

/// Writes for people: colours and moving parts only to a terminal, and no colours if the environment
/// says `NO_COLOR`.
pub(crate) struct Show {
    /// Whether everything could be written.
    failure: Cell<Option<io::Error>>,
}

impl Show {
    pub(crate) fn new() -> Self {
        Self { failure: Cell::new(None) }
    }

    /// What could not be written, if something could not.
    pub(crate) fn result(&self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    pub(crate) fn title(&self, text: &str) {
        self.line(format_args!("{BOLD}{text}{BOLD:#}\n"));
    }

    pub(crate) fn end(&self, text: &str) {
        self.line(format_args!("\n{GOOD}{text}{GOOD:#}"));
    }

    pub(crate) fn failed(&self, why: &str) {
        self.named(BAD, "FAILED", why);
    }

    /// Does one step and says what came of it.
    pub(crate) fn step(
        &self,
        name: &str,
        step: impl FnOnce() -> Result<String, String>,
    ) -> Result<(), String> {
        let spinner = ProgressBar::new_spinner().with_message(name.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        let started = Instant::now();
        let result = step();
        spinner.finish_and_clear();
        let said = result.map_err(|why| format!("{name}: {why}"))?;
        self.done(name, &format!("{said}, {}", elapsed(started)));
        Ok(())
    }

    pub(crate) fn done(&self, name: &str, said: &str) {
        self.named(GOOD, name, said);
    }

    /// A bar for a round.
    pub(crate) fn bar(&self) -> Bar {
        let style = ProgressStyle::with_template("  send     [{bar:18}] {msg}");
        let style = style.expect("the template is well formed").progress_chars("=> ");
        Bar(ProgressBar::new(STEPS as u64).with_style(style))
    }

    /// What each node did, and the sum.
    pub(crate) fn table(&self, rows: &[Row]) {
        self.line(format_args!("\n{BOLD}Before the kill, under full load:{BOLD:#}\n"));
        self.line(format_args!(
            "{:<4} {:<8} {:>5} {:>8} {:>8} {:>8} {:>6} {:>6}",
            "node", "id", "peers", "sent", "received", "MB in", "p50 ms", "p99 ms"
        ));
        for row in rows {
            self.line(format_args!(
                "{:<4} {:<8} {:>5} {:>8} {:>8} {:>8.2} {:>6.2} {:>6.2}",
                row.name,
                row.id,
                row.peers,
                row.sent,
                row.received,
                row.bytes as f64 / 1e6,
                millis(row.p50),
                millis(row.p99),
            ));
        }
    }

    /// The text has a line for each of its own, below each other.
    fn named(&self, style: Style, name: &str, text: &str) {
        for (n, line) in text.lines().enumerate() {
            let (style, name) = if n == 0 { (style, name) } else { (PLAIN, "") };
            self.line(format_args!("  {style}{name:<8}{style:#} {line}"));
        }
    }

    fn line(&self, line: Arguments<'_>) {
        let mut stdout = anstream::stdout().lock();
        if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            self.failure.set(Some(error));
        }
    }
}

/// Shows how far a round is. Gone when it is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn show(&self, progress: Progress) {
        self.0.set_message(progress.text());
        self.0.set_position((progress.share * STEPS) as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(crate) fn elapsed(since: Instant) -> String {
    format!("{:.2} s", since.elapsed().as_secs_f64())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
