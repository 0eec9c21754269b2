//! This crate against released Go nodes, over loopback: the `peer` programs of `go/`, and complete
//! nodes (`real`).
//!
//! Every test runs against both release lines and needs Go 1.24 or newer, so it is ignored unless
//! asked for: `cargo test --test interop -- --ignored`. `TMP2P_INTEROP_FULL=1` makes the bulk
//! transfers 1 GiB each way instead of 256 MiB.
//!
//! Nothing here sleeps: each wait is for an event, with a deadline. That something does *not*
//! happen is known by an event that comes afterwards; only idle connections (`keepalive`) are
//! watched for a fixed time.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

/// Makes a test of each function for each release line.
macro_rules! for_each_release {
    ($($test:ident),* $(,)?) => {
        for_each_release!(v034 V034 $($test)*);
        for_each_release!(v038 V038 $($test)*);
    };
    ($module:ident $release:ident $($test:ident)*) => {
        mod $module {
            $(
                #[test]
                #[ignore = "needs Go: run by .ci/run, or `cargo test --test interop -- --ignored`"]
                fn $test() {
                    super::$test(crate::go::Release::$release);
                }
            )*
        }
    };
}

mod admission;
mod bulk;
mod closing;
mod coming_back;
mod crowd;
mod dialing;
mod exchange;
mod go;
mod judged;
mod keepalive;
mod ours;
mod payload;
mod persistent;
mod priorities;
#[path = "../examples/program.rs"]
#[allow(dead_code, reason = "the tests of the examples use the rest")]
mod program;
mod real;
mod refusals;
mod simultaneous;
mod sizes;
mod stalled;

use std::{
    fmt,
    io::Write,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// For one event. Everything here takes milliseconds, but the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

/// What floods holds this: two of them at once would measure each other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A failed test has not spoilt anything that the next one uses.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a measurement, also when the test passes: the test harness captures only the macros.
fn figure(text: fmt::Arguments<'_>) {
    let mut stderr = std::io::stderr();
    writeln!(stderr, "interop: {text}").unwrap();
}
