//! Homes of other programs.

use std::{fs, path::Path};

use tmp2p::NodeKey;

use crate::program::{Program, assert_refused, command};

/// What `init` of Tendermint and of CometBFT writes is taken as it is.
#[test]
fn vectors_config_files_start_both_programs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/config");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(!files.is_empty());
    for file in files {
        for program in ["full_node", "seed"] {
            let home = tempfile::tempdir().unwrap();
            let config = home.path().join("config");
            fs::create_dir(&config).unwrap();
            fs::copy(&file, config.join("config.toml")).unwrap();
            let genesis = r#"{"app_state": {"a": [1, {"chain_id": "no"}]}, "chain_id": "yes", "initial_height": "7"}"#;
            fs::write(config.join("genesis.json"), genesis).unwrap();
            let mut command = command(program, home.path());
            if program == "full_node" {
                command.args(["--rpc.laddr", "tcp://127.0.0.1:0"]);
            }
            let running = Program::start(command);
            let id = running.addr().id();
            if program == "full_node" {
                let info = running.call("/status")["node_info"].clone();
                assert_eq!(
                    (&info["network"], &info["moniker"]),
                    (&"yes".into(), &"vector-node".into())
                );
            }
            running.stop();
            assert_eq!(NodeKey::load(config.join("node_key.json")).unwrap().id(), id);
        }
    }
}

/// A home of tenderseed: keys in no table, the key file where the configuration says, flags with
/// one dash.
#[test]
fn a_home_of_tenderseed_starts_the_seed() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    let text = r#"
# Address to listen for incoming connections
laddr = "tcp://127.0.0.1:0"
# network identifier
chain_id = "file-chain"
log_level = "none"
node_key_file = "keys/node_key.json"
addr_book_file = "data/addrbook.json"
# Set true for strict routability rules
#  Set false for private or local networks
addr_book_strict = false
max_num_inbound_peers = 100
max_num_outbound_peers = 60
max_packet_msg_payload_size = 1024
seeds = ""
"#;
    fs::write(home.path().join("config/config.toml"), text).unwrap();
    let seed = "ed99ea2d90b79612618deaed7cdde9e9786223b7@127.0.0.1:1";
    for args in [["-seed", seed], ["--seeds", seed], ["-chain-id", "flag-chain"]] {
        let mut command = command("seed", home.path());
        let running = Program::start({
            command.args(args).args(["-http=tcp://127.0.0.1:0"]);
            command
        });
        let id = running.addr().id();
        let (_, page) = running.get("http", "/metrics");
        let chain = if args[0] == "-chain-id" { "flag-chain" } else { "file-chain" };
        assert!(page.contains(&format!("chain_id=\"{chain}\"")), "{page}");
        running.stop();
        assert_eq!(NodeKey::load(home.path().join("keys/node_key.json")).unwrap().id(), id);
    }
}

/// Mistakes in files are told with file, line and key.
#[test]
fn mistakes_in_configuration_files() {
    let cases = [
        ("full_node", "moniker = \"a\"\n[p2p]\nsend_rate = \"fast\"\n", &["line 3", "send_rate"]),
        ("full_node", "[p2p]\nlader = \"tcp://127.0.0.1:0\"\n", &["line 2", "lader"]),
        ("full_node", "[p2p\n", &["line 1", "config.toml"]),
        ("seed", "chain_id = \"c\"\nmax_num_peers = 3\n", &["line 2", "max_num_peers"]),
        ("seed", "seeds = \"nobody\"\n", &["line 1", "seeds"]),
        ("seed", "[p2p]\nladr = \"tcp://127.0.0.1:0\"\n", &["line 2", "ladr"]),
        ("seed", "pex = false\n", &["seed_mode", "pex"]),
        ("full_node", "moniker = 7\n", &["moniker", "quotes"]),
    ];
    for (program, text, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("config")).unwrap();
        fs::write(home.path().join("config/config.toml"), text).unwrap();
        assert_refused(command(program, home.path()).args(["--chain-id", "c"]), expected);
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/genesis.json"), "{\"chain_id\": 5}").unwrap();
    assert_refused(&mut command("full_node", home.path()), &["chain_id", "genesis.json"]);
}
