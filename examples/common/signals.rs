//! SIGINT, SIGTERM and SIGHUP as something to select on.

use std::{
    fs,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use tmp2p::crossbeam_channel::{Receiver, bounded};

use crate::cli::{self, Failure};

/// Signals that come so soon after the first one mean the same stop: `timeout` sends one to the program
/// and one to its process group, and so do shells.
const SAME: Duration = Duration::from_secs(1);

/// Gets the name of the first signal that asks the program to end. A later one ends it at once.
pub(crate) fn watch() -> Result<Receiver<&'static str>, Failure> {
    watch_and(|| ())
}

/// The same for a program that leaves something behind if it ends at once: `clean` is run before.
pub(crate) fn watch_and(
    clean: impl Fn() + Send + 'static,
) -> Result<Receiver<&'static str>, Failure> {
    let mut asking = vec![SIGINT, SIGTERM];
    // Whoever has started it with nohup wants it to outlive the terminal.
    if !is_ignored(SIGHUP) {
        asking.push(SIGHUP);
    }
    let mut signals = Signals::new(asking).map_err(Failure::failed)?;
    let (sender, receiver) = bounded(1);
    cli::spawn("signals", move || {
        let mut asked = Asked::default();
        for signal in signals.forever() {
            match asked.again(Instant::now()) {
                Answer::Stop => {
                    // Nobody waits for it any more if the program is about to end anyway.
                    let _ = sender.send(name(signal));
                }
                Answer::IsStopping => {}
                Answer::Exit => {
                    clean();
                    // As shells tell it: ended by this signal.
                    std::process::exit(128 + signal);
                }
            }
        }
    })?;
    Ok(receiver)
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGHUP => "SIGHUP",
        _ => "SIGTERM",
    }
}

/// Whether the program was started with this signal ignored. Only Linux tells without unsafe code.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// When the program was asked to end.
#[derive(Debug, Default)]
pub(crate) struct Asked(Option<Instant>);

/// What it does about being asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It stops in order.
    Stop,
    /// It does so already.
    IsStopping,
    /// It ends at once.
    Exit,
}

impl Asked {
    /// It is asked, for the first time or again.
    pub(crate) fn again(&mut self, now: Instant) -> Answer {
        match self.0 {
            None => {
                self.0 = Some(now);
                Answer::Stop
            }
            Some(first) if now.duration_since(first) < SAME => Answer::IsStopping,
            Some(_) => Answer::Exit,
        }
    }
}
