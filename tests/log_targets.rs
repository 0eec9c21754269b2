//! Each line of the library's log has one of a few targets, which are documented: never the path of the
//! module that it happens to come from.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where the macro is that gives each line its target.
const GUARD: &str = "src/guard.rs";

#[test]
fn every_line_of_the_log_has_a_documented_target() {
    let mut faults = Vec::new();
    let mut lines = 0;
    for file in sources(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        lines += text.matches("tell!(").count();
        if name != GUARD {
            faults.extend(without_target(&text).into_iter().map(|what| format!("{name}: {what}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(lines > 20, "only {lines} lines found");
}

#[test]
fn the_targets_are_in_the_documentation() {
    let guard = fs::read_to_string(root().join(GUARD)).unwrap();
    let targets: Vec<_> = guard
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.split_once(": &str = \""))
        .map(|(_, target)| target.trim_end_matches("\";"))
        .collect();
    assert!(targets.len() > 1, "found only {targets:?}");
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (_, chapter) = text.split_once("//! # Logging\n").unwrap();
    let chapter = chapter.split("//! # ").next().unwrap();
    for target in targets {
        assert!(chapter.contains(&format!("`{target}`")), "{target} is not documented");
    }
    // The one macro that has no target of its own is given one there.
    assert_eq!(without_target(&guard), [""; 0]);
}

#[test]
fn a_line_without_a_target_is_caught() {
    for text in [
        "log::warn!(\"x\");",
        "log::log!(level, \"x\");",
        "::log::info!(\"x\")",
        "use log::debug;",
        "use log::{Level, error};",
        "if log::log_enabled!(Level::Trace) {}",
        "tell!(target: \"mine\", Level::Warn, \"x\");",
    ] {
        assert_ne!(without_target(text), [""; 0], "not caught: {text}");
    }
    for text in [
        "use log::Level;",
        "if log::log_enabled!(target: P2P, Level::Trace) {}",
        "log::log!(target: $target, $level, $($line)+)",
        "tell!(Level::Warn, \"x\"); tell!(\n    target: PEX,\n Level::Warn, \"x\");",
        "crate::guard::tell!(target: crate::guard::PEX, Level::Warn, \"x\");",
    ] {
        assert_eq!(without_target(text), [""; 0], "wrongly caught: {text}");
    }
}

/// What of this source could log with another target.
fn without_target(text: &str) -> Vec<String> {
    const MACROS: [&str; 7] = ["log", "log_enabled", "error", "warn", "info", "debug", "trace"];
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let text = &text.lines().filter(is_code).map(|line| format!("{line}\n")).collect::<String>();
    let mut faults = Vec::new();
    for (at, _) in text.match_indices("log::") {
        let rest = &text[at + "log::".len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let is_macro = |name: &str| MACROS.contains(&name);
        let imported = behind.strip_prefix('{').and_then(|names| names.split('}').next());
        let imported = imported.filter(|_| name.is_empty()).unwrap_or_default();
        let hides = imported.split(',').any(|word| is_macro(word.trim()));
        let has_target =
            behind.starts_with("!(") && behind[2..].trim_start().starts_with("target:");
        if hides || (is_macro(name) && !has_target) {
            faults.push(format!("log::{name}{}", behind.lines().next().unwrap_or_default()));
        }
    }
    for (at, _) in text.match_indices("target:") {
        let target =
            text[at + "target:".len()..].split([',', ')']).next().unwrap_or_default().trim();
        let is_log = text[..at].trim_end().ends_with("!(");
        if is_log && !["P2P", "PEX", "$target"].iter().any(|known| target.ends_with(known)) {
            faults.push(format!("target: {target}"));
        }
    }
    faults
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
