//! What a person sees: steps as they are done, a bar while messages flow, a table at the end.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::network::Row;

/// Writes for people; the moving parts only to a terminal.
pub(crate) struct Show;

impl Show {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn title(&self, text: &str) {
        println!("{text}\n");
    }

    pub(crate) fn end(&self, text: &str) {
        println!("\n{text}");
    }

    pub(crate) fn failed(&self, why: &str) {
        println!("  FAILED   {why}");
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
        self.done(name, &format!("{said} ({})", elapsed(started)));
        Ok(())
    }

    pub(crate) fn done(&self, name: &str, said: &str) {
        println!("  {name:<8} {said}");
    }

    /// A bar of deliveries; a length of `None` is a spinner.
    pub(crate) fn bar(&self, length: Option<u64>) -> ProgressBar {
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "  send     [{bar:30}] {human_pos}/{human_len} deliveries, {per_sec}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "  send     {spinner} {human_pos} deliveries, {per_sec}, {elapsed}",
            ),
        };
        let style = ProgressStyle::with_template(template).expect("the template is well formed");
        bar.set_style(style.progress_chars("=> "));
        bar
    }

    /// What each node did, and the sum.
    pub(crate) fn table(&self, rows: &[Row]) {
        println!("\n  Before the kill, under full load:\n");
        println!(
            "  {:<5} {:<10} {:>5} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "node", "id", "peers", "sent", "received", "MB in", "p50 ms", "p99 ms"
        );
        for row in rows {
            println!(
                "  {:<5} {:<10} {:>5} {:>10} {:>10} {:>10.1} {:>10.1} {:>10.1}",
                row.name,
                row.id,
                row.peers,
                row.sent,
                row.received,
                row.bytes as f64 / 1e6,
                millis(row.p50),
                millis(row.p99),
            );
        }
    }
}

pub(crate) fn elapsed(since: Instant) -> String {
    format!("{:.0} ms", since.elapsed().as_secs_f64() * 1e3)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
