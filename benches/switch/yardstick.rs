//! Throughput, and the pipe that it is compared with, measured again and again: what a machine
//! gives changes within seconds.

use std::time::Instant;

use crate::{
    common::{Args, Line, Outcome, Reporter, Summary, cpu_seconds},
    pipe,
};

/// Bytes per time, and what they cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    /// 10^6 bytes of payload a second.
    pub(crate) mb_per_s: f64,
    /// Processor seconds of the whole process, all ends, per 10^9 bytes.
    pub(crate) cpu_s_per_gb: Option<f64>,
}

/// Measures one throughput.
pub(crate) struct Meter {
    started: Instant,
    cpu: Option<f64>,
}

impl Meter {
    /// Before the first byte.
    pub(crate) fn start() -> Self {
        Self { cpu: cpu_seconds(), started: Instant::now() }
    }

    /// After the last one, which came at `last`.
    pub(crate) fn stop(self, last: Instant, bytes: usize) -> Throughput {
        let used = cpu_seconds().zip(self.cpu).map(|(now, before)| now - before);
        let bytes = bytes as f64;
        Throughput {
            mb_per_s: bytes / 1e6 / last.duration_since(self.started).as_secs_f64(),
            cpu_s_per_gb: used.map(|used| used / (bytes / 1e9)),
        }
    }
}

/// A throughput and the pipe's around it.
pub(crate) struct Compared {
    pub(crate) ours: Throughput,
    /// Part of the pipe's bytes per time.
    pub(crate) ratio: f64,
    /// Multiple of the pipe's processor time per byte.
    pub(crate) cpu_ratio: Option<f64>,
}

/// The bare pipe, run between all other runs.
pub(crate) struct Yardstick {
    bytes: usize,
    runs: usize,
    is_announced: bool,
    last: Option<Throughput>,
}

impl Yardstick {
    pub(crate) fn new(args: &Args) -> Self {
        let bytes = args.pick(256 << 20, 16 << 20);
        Self { bytes, runs: args.runs(), is_announced: false, last: None }
    }

    /// Measures and reports the pipe by itself, the first time.
    pub(crate) fn announce(&mut self, reporter: &mut Reporter) {
        if !std::mem::replace(&mut self.is_announced, true) {
            reporter.outcome("pipe", self.line());
        }
    }

    /// Runs something with the pipe directly before and after it. What came after the last run is
    /// what is before this one.
    pub(crate) fn around(
        &mut self,
        run: impl FnOnce() -> Outcome<Throughput>,
    ) -> Outcome<Compared> {
        let before = match self.last.take() {
            Some(last) => last,
            None => pipe::run(self.bytes)?,
        };
        let ours = run()?;
        let after = pipe::run(self.bytes)?;
        self.last = Some(after);
        let pipes_cpu = before.cpu_s_per_gb.zip(after.cpu_s_per_gb).map(|(a, b)| (a + b) / 2.0);
        Ok(Compared {
            ours,
            ratio: ours.mb_per_s / ((before.mb_per_s + after.mb_per_s) / 2.0),
            cpu_ratio: ours.cpu_s_per_gb.zip(pipes_cpu).map(|(ours, pipes)| ours / pipes),
        })
    }

    /// Something else ran in between: what was measured is old.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }

    fn line(&mut self) -> Outcome<Line> {
        let runs = (0..self.runs).map(|_| pipe::run(self.bytes)).collect::<Outcome<Vec<_>>>()?;
        self.last = runs.last().copied();
        let value = Summary::of(runs.iter().map(|run| run.mb_per_s));
        Ok(Line::new("pipe", value, "MB/s")
            .cpu(Summary::of_all(runs.iter().map(|run| run.cpu_s_per_gb))))
    }
}

/// The line of a case that was compared with the pipe.
pub(crate) fn line(case: String, runs: &[Compared]) -> Line {
    Line::new(case, Summary::of(runs.iter().map(|run| run.ours.mb_per_s)), "MB/s")
        .ratio(Summary::of(runs.iter().map(|run| run.ratio)), "pipe")
        .cpu(Summary::of_all(runs.iter().map(|run| run.ours.cpu_s_per_gb)))
        .cpu_ratio(Summary::of_all(runs.iter().map(|run| run.cpu_ratio)))
}
