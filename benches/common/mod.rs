//! What the benches share: arguments, printing, statistics, the process's own figures, and the
//! bare cipher that everything is compared with.
#![allow(dead_code, unused_imports, reason = "each bench uses its part")]

mod args;
mod bare;
mod process;
mod report;
mod stats;

pub(crate) use args::Args;
pub(crate) use bare::{Bare, CLEAR, PAYLOAD, SEALED};
pub(crate) use process::{
    allowed_cpu, cpu_seconds, descriptor_limit, forget_peak, peak_kib, resident_kib,
};
pub(crate) use report::{Goal, Line, Reporter};
pub(crate) use stats::{Summary, percentile};

/// What a measurement gives, or why it could not be made.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
