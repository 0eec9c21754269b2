//! Tests that need a process of their own, which may be killed or see other file systems.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Set in such a process: the folder that it works in.
const FOLDER: &str = "TMP2P_STORE_FOLDER";

/// The folder, in a process that was made for a test.
pub(crate) fn given_folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// This program, told to run one test with this folder.
pub(crate) fn command(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments(test)).env(FOLDER, folder);
    command
}

/// The same after a shell script, in name spaces where it may mount. `None`, and a line says why, if
/// that is not permitted here.
pub(crate) fn run_mounted(test: &str, folder: &Path, script: &str) -> Option<Output> {
    let permitted = Command::new("unshare").args(["-rm", "true"]).output();
    if !permitted.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: mounts of one's own are not permitted here: {permitted:?}");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &format!("set -e; cd \"$0\"; {script}; exec \"$@\"")]);
    command.arg(folder).arg(std::env::current_exe().unwrap());
    command.args(arguments(test)).env(FOLDER, folder);
    Some(command.output().unwrap())
}

/// The test was run, and passed.
#[track_caller]
pub(crate) fn assert_passed(output: &Output) {
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

fn arguments(test: &str) -> [OsString; 5] {
    [test, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"].map(OsString::from)
}
