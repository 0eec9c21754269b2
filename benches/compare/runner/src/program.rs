//! Who is measured, and how each of them is built.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

/// Somebody who is measured.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The head of a column.
    pub(crate) title: &'static str,
    pub(crate) is_ours: bool,
    /// What stands before a subcommand.
    pub(crate) flags: &'static [&'static str],
    /// Where it was built, or why it was not.
    pub(crate) path: Result<PathBuf, String>,
}

/// Builds all programs: `root` is the library's folder, `target` where what is built goes.
pub(crate) fn build_all(root: &Path, target: &Path, say: impl Fn(&str)) -> Vec<Program> {
    let out = target.join("bin");
    let folder = root.join("benches/compare");
    say("building ours");
    let ours = ours(root);
    let go = |module: &str, package: &str, name: &str| {
        say(&format!("building {name}"));
        let mut command = Command::new("go");
        let path = out.join(name);
        command.current_dir(folder.join(module)).args(["build", "-o"]).arg(&path).arg(package);
        finish(command, "Go 1.25 or newer, https://go.dev/dl").map(|_| path)
    };
    let rust = |name: &str| {
        say(&format!("building {name}, the first time for some minutes"));
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked", "--quiet", "--manifest-path"]);
        command.arg(folder.join(name).join("Cargo.toml")).arg("--target-dir").arg(target);
        finish(command, "cargo").map(|_| target.join(format!("release/compare-{name}")))
    };
    let program = |title, flags, path| Program { title, is_ours: false, flags, path };
    let libp2p = rust("libp2p");
    vec![
        Program { title: "tmp2p", is_ours: true, flags: &[], path: ours },
        program("Tendermint v0.34.24", &[], go("v034", ".", "v034")),
        program("CometBFT v0.38.26", &[], go("v038", ".", "v038")),
        program("CometBFT v0.40.0", &[], go("v040", ".", "v040")),
        program("CometBFT v0.40.0 lp2p", &[], go("v040", "./lp2p", "lp2p")),
        program("rust-libp2p", &[], libp2p.clone()),
        program("rust-libp2p buffered", &["--buffered"], libp2p),
        program("commonware-p2p", &[], rust("commonware")),
    ]
}

/// The program of `benches/switch`.
fn ours(root: &Path) -> Result<PathBuf, String> {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(["bench", "--no-run", "--bench", "switch", "--locked"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = finish(command, "cargo")?;
    executable(&output).ok_or_else(|| "cargo names no program".to_owned())
}

/// The program that cargo says it has built.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "switch")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Runs it to its end; what it prints, or what is missing.
fn finish(mut command: Command, needed: &str) -> Result<String, String> {
    command.stdin(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Err(error) => Err(format!("cannot start {name}: {error}; it needs {needed}")),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(format!("{name} failed ({}):\n{said}", output.status))
        }
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_the_program_is() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"tmp2p"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"switch"},"executable":"/target/switch-1"}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/target/switch-1")));
        assert_eq!(executable("{}"), None);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = finish(Command::new("no-such-toolchain"), "a toolchain").unwrap_err();
        assert!(missing.contains("no-such-toolchain") && missing.contains("a toolchain"));
    }
}
