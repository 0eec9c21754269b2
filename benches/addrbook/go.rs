//! The books of the Go releases, doing the same.

use std::{env, ffi::OsString, process::Command};

use serde_json::Value;

use crate::common::Outcome;

/// Where the comparison programs are: see `benches/compare/README.md`.
const RELEASES: [Names; 2] = [
    Names { variable: "TMP2P_COMPARE_V034", per_second: "go_v034_per_s", ratio: "ratio_v034" },
    Names { variable: "TMP2P_COMPARE_V038", per_second: "go_v038_per_s", ratio: "ratio_v038" },
];

/// A release whose program is at hand.
pub(crate) struct Go {
    pub(crate) names: Names,
    program: OsString,
}

/// What a release's program and its figures are called.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    variable: &'static str,
    pub(crate) per_second: &'static str,
    pub(crate) ratio: &'static str,
}

impl Go {
    /// The releases whose programs are at hand.
    pub(crate) fn all() -> Vec<Self> {
        let at_hand = |names: Names| Some(Self { program: env::var_os(names.variable)?, names });
        RELEASES.into_iter().filter_map(at_hand).collect()
    }

    /// Runs a case so often. How many of its operations a second the release makes, and which
    /// release it is.
    pub(crate) fn run(&self, case: &str, count: usize) -> Outcome<(f64, String)> {
        let mut command = Command::new(&self.program);
        command.args(["book", "-case", case, "-count", &count.to_string()]);
        let output = command
            .output()
            .map_err(|error| format!("cannot start {:?}: {error}", self.program))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{:?} ended with {}: {errors}", self.program, output.status).into());
        }
        let result: Value = serde_json::from_slice(&output.stdout)?;
        let per_second = result["per_second"].as_f64();
        let version = result["version"].as_str();
        match (per_second, version) {
            (Some(per_second), Some(version)) => Ok((per_second, format!("go-v{version}"))),
            _ => Err(format!("no per_second or version in {result}").into()),
        }
    }
}
