//! The tables of `tests/README.md` and `SECURITY.md` name tests that there are.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{fs, path::Path};

/// What stands between the backticks of a text, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What a mention of `file::name` or `file::{one, two}` does not keep of its promise.
fn why_not(mention: &str) -> Option<String> {
    let (file, names) = mention.split_once("::").unwrap_or((mention, ""));
    let Ok(text) = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)) else {
        return Some(format!("there is no file {file}"));
    };
    let names = names.trim_start_matches('{').trim_end_matches('}');
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let missing: Vec<_> = names.filter(|name| !text.contains(&format!("fn {name}("))).collect();
    (!missing.is_empty()).then(|| format!("{file} has no {missing:?}"))
}

#[test]
fn every_test_that_the_table_names_is_there() {
    check("tests/README.md", 250);
}

/// A row that only tells of a fault is a promise that nothing keeps.
#[test]
fn every_fault_has_a_test() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/README.md");
    let text = fs::read_to_string(path).unwrap();
    let mut faults = 0;
    for section in text.split("\n## ").filter(|section| section.starts_with("Faults of ")) {
        let rows = section.lines().filter(|line| line.starts_with("| "));
        let is_head = |row: &&str| row.starts_with("| Fault |") || row.starts_with("| ---");
        for row in rows.filter(|row| !is_head(row)) {
            let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
            let kinds = ["tests/", "src/", ".ci/run "];
            let is_test = |text: &str| kinds.iter().any(|kind| text.starts_with(kind));
            assert!(quoted(tests).any(is_test), "no test: {row}");
            faults += 1;
        }
    }
    assert!(faults >= 100, "{faults} faults");
}

#[test]
fn every_test_that_the_security_policy_names_is_there() {
    check("SECURITY.md", 60);
}

/// Each mention in a table of the file, of which there are so many at least.
fn check(file: &str, least: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    let mentions: Vec<_> = cells
        .flat_map(|(_, cell)| quoted(cell).map(str::to_owned).collect::<Vec<_>>())
        .filter(|mention| mention.starts_with("tests/") || mention.starts_with("src/"))
        .collect();
    assert!(mentions.len() >= least, "{} mentions", mentions.len());
    let faults: Vec<_> = mentions.iter().filter_map(|mention| why_not(mention)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
