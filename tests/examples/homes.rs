//! Homes of other programs.

use std::{fs, path::Path};

use tmp2p::NodeKey;

use crate::{
    program::{Program, assert_prints, assert_refused, assert_runs, at_a_free_port, command},
    settings::case,
};

/// The fault: "File exists", of something that is not there.
#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_told_with_its_target() {
    let home = tempfile::tempdir().unwrap();
    let nothing = home.path().join("nothing");
    let link = |at: &str| {
        let at = home.path().join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&nothing, &at).unwrap();
        at
    };
    for program in ["full_node", "seed"] {
        let of = |path: &Path| [path.display().to_string(), nothing.display().to_string()];
        let told = |home: &Path, link: &Path, verb: &str| {
            let [link, target] = of(link);
            let mut command = command(program, home);
            command.args([verb, "--chain-id", "c", "--p2p.laddr", "tcp://127.0.0.1:0"]);
            at_a_free_port(&mut command);
            assert_refused(&mut command, &[&link, &target, "a link to", "correct the link"]);
        };
        let whole = link(&format!("{program}-home"));
        for verb in ["init", "start", "show-node-id"] {
            told(&whole, &whole, verb);
            told(&whole.join("deeper"), &whole, verb);
        }
        let folder = if program == "seed" { "data" } else { "config" };
        for (n, part) in
            [folder, "config/config.toml", "config/genesis.json", "config/node_key.json"]
                .into_iter()
                .enumerate()
        {
            // The seed needs no genesis when it is told of which chain it is.
            if program == "seed" && part.contains("genesis") {
                continue;
            }
            let part = link(&format!("{program}-{n}/{part}"));
            told(&home.path().join(format!("{program}-{n}")), &part, "start");
        }
    }
}

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
        ("full_node", "[p2p\n", &["line 1", "config.toml"]),
        ("full_node", "[p2p.libp2p]\nenabled = true\n", &["line 2", "libp2p.enabled"]),
        ("seed", "seeds = \"nobody\"\n", &["line 1", "seeds"]),
        ("seed", "chain_id = \"c\"\npex = \"maybe\"\n", &["line 2", "true or false"]),
        ("seed", "[p2p]\nladdr = \"tcp://127.0.0.1\"\n", &["line 2", "p2p.laddr"]),
        ("full_node", "moniker = []\n", &["line 1, moniker", "text"]),
    ];
    for (program, text, expected) in cases {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("config")).unwrap();
        fs::write(home.path().join("config/config.toml"), text).unwrap();
        assert_refused(command(program, home.path()).args(["--chain-id", "c"]), expected);
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    let genesis = home.path().join("config/genesis.json");
    fs::write(&genesis, "{\"chain_id\": 5}").unwrap();
    assert_refused(&mut command("full_node", home.path()), &["chain_id", "genesis.json"]);
    fs::write(&genesis, case("genesis-rpc-wrapped.json")).unwrap();
    let told = ["chain_id", "genesis.json", "/genesis", "result.genesis", "--chain-id"];
    assert_refused(&mut command("full_node", home.path()), &told);
}

/// Files as they are found in the field, each of which Go starts with.
#[test]
fn homes_of_the_field_start_both_programs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/cases");
    let files = [folder.clone(), folder.join("homes")];
    let files = files.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> =
        files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        // The metrics of tenderseed have a port that may be taken.
        let text = fs::read_to_string(file).unwrap().replace(":9100", ":0");
        for program in ["full_node", "seed"] {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("config")).unwrap();
            fs::write(home.path().join("config/config.toml"), &text).unwrap();
            let mut command = command(program, home.path());
            command.args(["--chain-id", "c"]).stderr(std::process::Stdio::null());
            if program == "full_node" {
                command.args(["--rpc.laddr", ""]);
            }
            assert_runs(command);
        }
    }
}

/// `full_node` on a seed's home without peer exchange, and a seed on a full node's: both start.
#[test]
fn seed_mode_and_pex_of_a_home_stop_neither_program() {
    for text in ["pex = false\nseed_mode = true\n", "pex = false\nseed_mode = false\n"] {
        for (program, head) in [("full_node", "[p2p]\n"), ("seed", "[p2p]\n"), ("seed", "")] {
            let home = tempfile::tempdir().unwrap();
            fs::create_dir(home.path().join("config")).unwrap();
            fs::write(home.path().join("config/config.toml"), format!("{head}{text}")).unwrap();
            let mut command = command(program, home.path());
            command.args(["--chain-id", "c"]);
            command.args(if program == "seed" {
                ["--http", "tcp://127.0.0.1:0"]
            } else {
                ["--rpc.laddr", ""]
            });
            let running = Program::start(command);
            running.addr();
            if program == "seed" {
                // Whoever asks it for addresses is answered: the channel is there.
                running.event("listening", |event| event["service"] == "http");
            }
            running.stop();
        }
    }
}

/// Files of other tools: a genesis with everything that JSON allows, a key with more than the key.
#[test]
fn a_genesis_of_the_field_and_the_key_of_another_version() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        fs::create_dir(&config).unwrap();
        fs::write(config.join("genesis.json"), case("genesis-odd.json")).unwrap();
        fs::write(config.join("node_key.json"), case("node_key-with-id.json")).unwrap();
        let id = assert_prints(command(program, home.path()).arg("show-node-id"));
        assert_eq!(id, "ee2b023f53331a4c1b75bcb999b39376c3ae3ff6\n");
        let mut command = command(program, home.path());
        if program == "full_node" {
            command.args(["--rpc.laddr", "tcp://127.0.0.1:0"]);
        } else {
            command.args(["--http", "tcp://127.0.0.1:0"]);
        }
        let running = Program::start(command);
        assert_eq!(running.addr().id().to_string(), id.trim_end());
        if program == "full_node" {
            assert_eq!(running.call("/status")["node_info"]["network"], "hunt-1");
        } else {
            let (_, page) = running.get("http", "/metrics");
            assert!(page.contains("chain_id=\"hunt-1\""), "{page}");
        }
        running.stop();
    }
}
