//! Settings outside of `[p2p]`: each counts as a flag, as a variable and in the file, of both programs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{assert_refused, at_a_free_port, command};

/// Each setting with a value that is refused, wherever it is read, and what is said of it. A value that
/// does not count cannot be.
const SETTINGS: [(&str, &str, &str, &str); 9] = [
    ("both", "chain_id", LONG, "node info"),
    ("both", "genesis_file", "/dev/null/genesis.json", "/dev/null/genesis.json"),
    ("both", "log_format", "xml", "plain or json"),
    ("both", "log_level", "loud", "\"loud\""),
    ("both", "moniker", "a\tb", "the moniker"),
    ("both", "node_key_file", "/dev/null/key.json", "/dev/null"),
    ("full_node", "mempool.max_tx_bytes", "much", "\"much\" is no number"),
    ("full_node", "rpc.laddr", "nowhere", "nowhere"),
    ("seed", "http", "nowhere", "nowhere"),
];

/// More than a peer reads of a node.
const LONG: &str = match str::from_utf8(&[b'c'; 20_000]) {
    Ok(text) => text,
    Err(_) => unreachable!(),
};

/// What a program takes from the layers, by its source.
fn read_by(program: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(root.join(program)).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files.chain([root.join("common/opening.rs")]).collect();
    let mut keys = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        for call in [".text(\"", ".written(\"", ".number(\""] {
            let keys_of = text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap());
            keys.extend(keys_of.map(str::to_owned));
        }
    }
    keys
}

/// The home of a program with such a file.
fn home(text: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/config.toml"), text).unwrap();
    home
}

/// The fault: `--mempool.max_tx_bytes` was taken and dropped.
#[cfg(unix)]
#[test]
fn every_setting_outside_of_p2p_counts_in_file_variable_and_flag() {
    for program in ["full_node", "seed"] {
        let of_it = SETTINGS.iter().filter(|(whose, ..)| [program, "both"].contains(whose));
        for (_, key, value, told) in of_it.clone() {
            let start = |home: &Path| -> Command {
                let mut start = command(program, home);
                // None of its own is told before the one that is looked for.
                if !["chain_id", "genesis_file"].contains(key) {
                    start.args(["--chain-id", "c"]);
                }
                start.args(["--p2p.laddr", "tcp://127.0.0.1:0"]);
                if *key != "rpc.laddr" {
                    at_a_free_port(&mut start);
                }
                start
            };
            let in_file = match key.split_once('.') {
                Some((table, key)) => format!("[{table}]\n{key} = {value:?}\n"),
                None => format!("{key} = {value:?}\n"),
            };
            let with_file = home(&in_file);
            assert_refused(&mut start(with_file.path()), &[told]);
            let plain = home("");
            let name = format!("TM_{}", key.replace('.', "_").to_uppercase());
            assert_refused(start(plain.path()).env(name, value), &[told]);
            assert_refused(start(plain.path()).args([&format!("--{key}"), *value]), &[told]);
            // An empty flag is none, but for a server, which is off.
            if ["http", "rpc.laddr"].contains(key) {
                continue;
            }
            let weak = home(&in_file);
            assert_refused(
                start(weak.path()).arg(format!("--{}=", key.replace('_', "-"))),
                &[told],
            );
        }
        // Keys that are read under a name, not by a text.
        let mut all: BTreeSet<String> = of_it.map(|(_, key, ..)| (*key).to_owned()).collect();
        if program == "full_node" {
            all.remove("mempool.max_tx_bytes");
        }
        assert_eq!(read_by(program), all, "a setting of {program} is not in the table, or no more");
    }
}

/// What Go does with 0 is to end the session of whoever sends a transaction; and it takes any number.
#[test]
fn a_largest_transaction_of_nothing_is_refused_and_of_too_much_is_a_warning() {
    let home = home("");
    let start = |bytes: &str| {
        let mut start = command("full_node", home.path());
        start.args(["--chain-id", "c", "--rpc.laddr", ""]);
        start.arg(format!("--mempool.max_tx_bytes={bytes}"));
        start
    };
    for (bytes, told) in [("0", "1 or more"), ("-1", "0 or more"), ("1x", "no number")] {
        assert_refused(&mut start(bytes), &["max_tx_bytes", told]);
    }
    let mut much = start("1000000000");
    let mut log = crate::stderr::Log::of_command(&mut much);
    let node = crate::program::Program::start(much);
    assert!(log.line("max_tx_bytes").contains("104857600"));
    node.addr();
    node.stop();
}
