//! What the programs say of themselves.

use std::{collections::BTreeSet, path::Path};

use crate::{
    layers,
    program::{assert_prints, binary, command},
};

/// Columns of a terminal that nobody has made wider.
const WIDTH: usize = 80;

fn help(program: &str, args: &[&str]) -> String {
    let mut command = std::process::Command::new(binary(program));
    // Nobody has a wider one by saying so.
    assert_prints(command.args(args).env("COLUMNS", "200"))
}

/// The commands that help lists.
fn commands(program: &str) -> Vec<String> {
    let text = help(program, &["-h"]);
    let Some((_, list)) = text.split_once("Commands:\n") else { return Vec::new() };
    let lines = list.lines().take_while(|line| !line.is_empty());
    let first = |line: &str| line.split("  ").nth(1).unwrap().to_owned();
    lines.filter(|line| !line.starts_with("   ")).map(first).filter(|name| name != "help").collect()
}

/// The fault: lines of 120 columns, which a terminal breaks anywhere.
#[test]
fn every_help_text_fits_into_80_columns() {
    for (program, count) in [("seed", 9), ("full_node", 4), ("echo", 3), ("local_net", 0)] {
        let commands = commands(program);
        assert_eq!(commands.len(), count, "{program}: {commands:?}");
        for flag in ["-h", "--help"] {
            let mut texts = vec![help(program, &[flag])];
            texts.extend(commands.iter().map(|command| help(program, &[command, flag])));
            for text in &texts {
                let lines: Vec<&str> = text.lines().collect();
                assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
                // Wrapped once, by whoever knows the width.
                for two in lines.windows(2) {
                    let goes_on = two.iter().all(|line| !line.is_empty() && !line.starts_with(' '));
                    let word = two[1].split(' ').next().unwrap();
                    let is_torn = goes_on && word.starts_with(char::is_lowercase);
                    assert!(!is_torn || two[0].len() + 1 + word.len() > WIDTH, "{text}");
                }
            }
        }
    }
}

/// The fault: `show-node-id --help` listed where the server of the seed listens.
#[test]
fn help_of_a_command_shows_what_means_something_to_it() {
    let options = |program: &str, command: &str| -> BTreeSet<String> {
        let text = help(program, &[command, "-h"]);
        let words = text.split(|c: char| c.is_whitespace() || "[=".contains(c));
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    let set =
        |names: &[&str]| names.iter().map(|name| format!("--{name}")).collect::<BTreeSet<_>>();
    let common = ["help", "home", "log_level", "log_format"];
    for verb in ["show-node-id", "gen-node-key"] {
        assert_eq!(options("full_node", verb), set(&[&common[..], &["node_key_file"]].concat()));
        let seeds = set(&[&common[..], &["config", "node_key_file"]].concat());
        assert_eq!(options("seed", verb), seeds);
    }
    let peers = set(&[&common[..], &["config", "json", "wide", "sort", "state"]].concat());
    assert_eq!(options("seed", "peers"), peers);
    for (program, flag) in [("seed", "--http"), ("full_node", "--rpc.laddr")] {
        assert!(options(program, "start").contains(flag));
        assert!(!options(program, "init").contains(flag) && options(program, "init").len() > 4);
    }
    // Scripts that have them all the same go on.
    let home = tempfile::tempdir().unwrap();
    for (program, flag) in [("seed", "--http"), ("full_node", "--rpc.laddr")] {
        let more = [flag, "tcp://127.0.0.1:0", "--events", "--moniker", "m"];
        let id = assert_prints(command(program, home.path()).arg("show-node-id").args(more));
        let same = assert_prints(command(program, home.path()).args(more).arg("show-node-id"));
        assert_eq!(id, same);
    }
}

/// A setting that is hidden in a command's help is the same in it, wherever it stands.
#[test]
fn what_help_does_not_show_counts_all_the_same() {
    let home = tempfile::tempdir().unwrap();
    let key = |args: &[&str]| {
        assert_prints(command("seed", home.path()).args(args));
        Path::new(home.path()).join("other.json").exists()
    };
    assert!(!key(&["show-node-id"]));
    assert!(
        key(&["peers", "--node_key_file", "other.json"])
            || key(&["show-node-id", "--node_key_file", "other.json"])
    );
    crate::program::assert_refused(
        command("seed", home.path()).args(["import-addrbook", "x.json", "--block-protocol", "x"]),
        &["--block-protocol", "whole number"],
    );
}

/// The fault: which keys there are was nowhere to be seen.
#[test]
fn long_help_lists_every_key_of_p2p_once() {
    assert!(layers::keys().len() > 50);
    for program in ["seed", "full_node"] {
        let text = help(program, &["--help"]);
        let list = text.split_once("The keys of [p2p]:").unwrap().1;
        let words: Vec<&str> = list.split_whitespace().collect();
        for key in layers::keys() {
            assert_eq!(words.iter().filter(|word| **word == key).count(), 1, "{key}");
        }
        assert!(!help(program, &["-h"]).contains("The keys of [p2p]:"));
    }
}
