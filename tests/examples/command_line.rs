//! What the command lines take, and what they refuse.

use std::fs;

use tmp2p::NodeKey;

use crate::program::{Program, assert_prints, assert_refused, command};

const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";

#[test]
fn bad_usage_is_code_2_and_one_line_with_field_and_remedy() {
    let home = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], &[&str])] = &[
        (&["frobnicate"], &["frobnicate", "--help"]),
        (&["--frobnicate"], &["frobnicate", "--help"]),
        (&["start"], &["chain_id", "--chain-id"]),
        (&["--chain-id", "c", "--p2p.laddr"], &["p2p.laddr", "missing"]),
        (&["--chain-id", "c", "--p2p.laddr", "nowhere"], &["p2p.laddr", "nowhere", "port"]),
        (&["--chain-id", "c", "--p2p.no_such_key", "1"], &["p2p.no_such_key", "--help"]),
        (&["--chain-id", "c", "--p2p.send_rate=-1"], &["p2p.send_rate", "0 or more"]),
        (&["--chain-id", "c", "--p2p.pex=maybe"], &["p2p.pex", "maybe", "boolean"]),
        (&["--chain-id", "c", "--p2p.dial_timeout", "0s"], &["dial_timeout", "more than 0s"]),
        (&["--chain-id", "c", "--p2p.seeds", "me@here"], &["p2p.seeds", "me@here"]),
        (&["--chain-id", "c", "--moniker", "a\tb"], &["moniker"]),
        (&["--chain-id", "c", "--log_level", "loud"], &["log_level", "loud", "debug"]),
        (&["--chain-id", "c", "--block-protocol", "x"], &["block-protocol", "--help"]),
    ];
    for program in ["full_node", "seed"] {
        for (args, expected) in cases {
            let mut command = command(program, home.path());
            assert_refused(command.args(*args).env("TM_LOG_LEVEL", "none"), expected);
        }
    }
    let mut wrong = command("full_node", home.path());
    assert_refused(
        wrong.args(["--chain-id=c", "--rpc.laddr", "x"]),
        &["rpc.laddr", "tcp://IP:PORT"],
    );
    let mut wrong = command("seed", home.path());
    assert_refused(wrong.args(["--chain-id=c", "--http", "x"]), &["http", "tcp://IP:PORT"]);
    let mut wrong = command("full_node", home.path());
    wrong.arg("--chain-id=c").env("TM_P2P_RECV_RATE", "fast");
    assert_refused(&mut wrong, &["TM_P2P_RECV_RATE", "fast", "number"]);
}

/// No command that only looks may leave something behind.
#[test]
fn show_node_id_without_a_key_says_how_to_make_one() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(program, home.path());
        assert_refused(command.arg("show-node-id"), &["node_key.json", "gen-node-key"]);
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }
}

#[test]
fn a_generated_key_is_shown_and_never_replaced() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config/node_key.json");
        let id = assert_prints(command(program, home.path()).arg("gen-node-key"));
        assert_eq!(id.trim_end(), NodeKey::load(&file).unwrap().id().to_string());
        assert_eq!(assert_prints(command(program, home.path()).arg("show-node-id")), id);

        let text = fs::read(&file).unwrap();
        let mut again = command(program, home.path());
        assert_refused(again.arg("gen-node-key"), &["node_key.json", "kept", "move it away"]);
        assert_eq!(fs::read(&file).unwrap(), text);

        fs::write(&file, "{}").unwrap();
        for verb in ["gen-node-key", "show-node-id", "init", "start"] {
            let mut spoiled = command(program, home.path());
            assert_refused(spoiled.args([verb, "--chain-id", "c"]), &["node_key.json"]);
            assert_eq!(fs::read(&file).unwrap(), b"{}");
        }
    }
}

#[test]
fn init_makes_a_home_that_starts_and_keeps_what_there_is() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let init =
            || assert_prints(command(program, home.path()).args(["init", "--chain-id", "c"]));
        let said = init();
        assert!(said.contains("wrote") && !said.contains("kept"), "{said}");
        let read = |name: &str| fs::read(home.path().join(name)).unwrap();
        let (key, config) = (read("config/node_key.json"), read("config/config.toml"));

        let said = init();
        assert!(said.contains("kept") && !said.contains("wrote"), "{said}");
        assert_eq!((read("config/node_key.json"), read("config/config.toml")), (key, config));

        // No --chain-id any more: it is in the home.
        let mut start = command(program, home.path());
        if program == "full_node" {
            start.args(["--rpc.laddr", ""]);
        }
        let running = Program::start(start);
        let id = running.addr().id();
        running.stop();
        let shown = assert_prints(command(program, home.path()).arg("show-node-id"));
        assert_eq!(shown.trim_end(), id.to_string());
    }
    let home = tempfile::tempdir().unwrap();
    assert_prints(command("full_node", home.path()).args(["init", "--chain-id", "c"]));
    let mut other = command("full_node", home.path());
    assert_refused(
        other.args(["init", "--chain-id", "d"]),
        &["chain-id", "genesis.json", "--home"],
    );
}

/// A flag comes before the environment, that before the file, and that before the default.
#[test]
fn flags_environment_file_default() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    let status = |layers: usize| {
        if layers >= 1 {
            let text = "moniker = \"file\"\n[p2p]\nexternal_address = \"1.1.1.1:1\"\n";
            fs::write(home.path().join("config/config.toml"), text).unwrap();
        }
        let mut command = command("full_node", home.path());
        command.args(["--chain-id", "c", "--rpc.laddr", "tcp://127.0.0.1:0"]);
        if layers >= 2 {
            command.env("TM_MONIKER", "environment").env("TM_P2P_EXTERNAL_ADDRESS", "2.2.2.2:2");
        }
        if layers >= 3 {
            command.args(["--moniker=flag", "-p2p.external-address", "tcp://3.3.3.3:3"]);
        }
        let program = Program::start(command);
        let info = program.call("/status")["node_info"].clone();
        program.stop();
        let text = |key: &str| info[key].as_str().unwrap().to_owned();
        (text("moniker"), text("listen_addr"))
    };
    let (moniker, addr) = status(0);
    assert_eq!(moniker, "full-node");
    assert!(addr.starts_with("tcp://127.0.0.1:"), "{addr}");
    for (layer, name) in [(1, "file"), (2, "environment"), (3, "flag")] {
        assert_eq!(
            status(layer),
            (name.to_owned(), format!("tcp://{layer}.{layer}.{layer}.{layer}:{layer}"))
        );
    }
}

/// Of the process's environment, `TMHOME` is the home without `--home`.
#[test]
fn tmhome_is_the_home() {
    let home = tempfile::tempdir().unwrap();
    let id = assert_prints(command("full_node", home.path()).arg("gen-node-key"));
    let elsewhere = command("full_node", home.path());
    let mut without = std::process::Command::new(elsewhere.get_program());
    without.arg("show-node-id").env("TMHOME", home.path());
    assert_eq!(assert_prints(&mut without), id);
}

/// Every key of `[p2p]` is a flag, with dashes or underscores, one dash or two, also before the
/// command and with a space or `=`.
#[test]
fn all_forms_of_flags() {
    let home = tempfile::tempdir().unwrap();
    let peer = format!("{ID}@127.0.0.1:1");
    for flags in [
        vec!["--p2p.persistent_peers".to_owned(), peer.clone(), "--p2p.pex".into(), "start".into()],
        vec![
            "start".to_owned(),
            format!("-p2p.persistent-peers={peer}"),
            "--p2p.pex".into(),
            "false".into(),
        ],
    ] {
        let mut command = command("full_node", home.path());
        command.args(["-chain-id", "c", "--rpc.laddr", ""]).args(&flags);
        let program = Program::start(command);
        let event = program.event("dial_failed", |_| true);
        assert_eq!((&event["addr"], &event["kind"]), (&peer.clone().into(), &"refused".into()));
        program.stop();
    }
}
