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
    let text = text_of("tests/README.md");
    let faults: Vec<_> = text
        .split("\n## ")
        .filter(|section| section.starts_with("Faults of "))
        .flat_map(rows)
        .filter(|(row, _)| !row.starts_with("| Fault |") && !row.starts_with("| ---"))
        .collect();
    assert!(faults.len() >= 100, "{} faults", faults.len());
    for (row, tests) in faults {
        let is_step = |text: &str| text.starts_with(".ci/run ");
        assert!(quoted(tests).any(|text| is_mention(text) || is_step(text)), "no test: {row}");
    }
}

#[test]
fn every_test_that_the_security_policy_names_is_there() {
    check("SECURITY.md", 60);
}

fn text_of(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The rows of all tables of a text, each with its last cell; an empty one is none.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        (row, row.trim_end_matches(" |").rsplit_once(" | ").map_or("", |(_, cell)| cell))
    })
}

fn is_mention(text: &str) -> bool {
    text.starts_with("tests/") || text.starts_with("src/")
}

/// Each mention in a table of the file, of which there are so many at least.
fn check(file: &str, least: usize) {
    let text = text_of(file);
    let mentions: Vec<_> =
        rows(&text).flat_map(|(_, cell)| quoted(cell)).filter(|text| is_mention(text)).collect();
    assert!(mentions.len() >= least, "{} mentions", mentions.len());
    let faults: Vec<_> = mentions.iter().filter_map(|mention| why_not(mention)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
