//! What the command lines take, and what they refuse.

use std::fs;

use tmp2p::NodeKey;

use crate::program::{
    Program, assert_prints, assert_refused, assert_runs, at_a_free_port, command,
};

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
        (
            &["--chain-id", "c", "--block-protocol", "x"],
            &["block-protocol", "whole number", "--help"],
        ),
        (&["--block-protocol=-1"], &["block-protocol", "\"-1\"", "0 or more"]),
        (&["--block-protocol=99999999999999999999"], &["block-protocol", "too large"]),
        (
            &["--chain-id", "c", "--p2p.laddr", "udp://127.0.0.1:0"],
            &["p2p.laddr", "udp", "tcp://IP:PORT"],
        ),
        (&["--chain-id", "c", "--p2p.laddr", "unix:///x"], &["p2p.laddr", "unix", "tcp://IP:PORT"]),
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

/// As tenderseed does it: an ID can be told to others before the first start.
#[test]
fn show_node_id_makes_the_key_of_a_fresh_home() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let show = || assert_prints(command(program, home.path()).arg("show-node-id"));
        let id = show();
        assert_eq!(show(), id);
        let key = NodeKey::load(home.path().join("config/node_key.json")).unwrap();
        assert_eq!(id, format!("{}\n", key.id()));
    }
}

#[test]
fn version_is_that_of_the_crate() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        for flag in ["--version", "-version", "-V"] {
            let said = assert_prints(command(program, home.path()).arg(flag));
            assert_eq!(said, format!("{program} {}\n", env!("CARGO_PKG_VERSION")));
        }
    }
}

/// Of a flag that stands twice the last counts, also before and behind the command; an empty one of a
/// script does not count.
#[test]
fn repeated_and_empty_flags() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for program in ["full_node", "seed"] {
        let id = assert_prints(command(program, home.path()).arg("show-node-id"));
        let mut twice = command(program, other.path());
        let home_flag = format!("--home={}", home.path().display());
        assert_eq!(
            assert_prints(twice.args(["-home", "/nowhere", &home_flag, "show-node-id"])),
            id
        );
        let mut behind = command(program, other.path());
        assert_eq!(assert_prints(behind.args(["show-node-id", &home_flag])), id);
        let mut empty = command(program, other.path());
        assert_eq!(
            assert_prints(empty.args(["show-node-id", "-home="]).env("TMHOME", home.path())),
            id
        );

        let mut start = command(program, home.path());
        start.args(["--chain-id", "a\tb", "--chain-id=c", "--moniker=", "--log_level="]);
        start.args(["--moniker", "a\tb", "--moniker", "m", "--events=false"]);
        if program == "full_node" {
            start.args(["--rpc.laddr", ""]);
        }
        assert_runs(start);
    }
    // No key but the one of the home that counts.
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

/// What tenderseed's container scripts write: `-seeds=$SEEDS -chain-id=$CHAIN_ID`.
#[test]
fn empty_flags_and_variables_leave_the_file_of_a_seed_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    let text = format!("chain_id = \"file-chain\"\nseeds = \"{ID}@127.0.0.1:1\"\n");
    fs::write(home.path().join("config/config.toml"), text).unwrap();
    let mut command = command("seed", home.path());
    command.args(["-seeds=", "-chain-id=", "-laddr=", "-config=", "-http=tcp://127.0.0.1:0"]);
    for name in ["TM_CHAIN_ID", "TENDERSEED_CHAIN_ID", "TENDERSEED_SEEDS", "TM_P2P_SEEDS"] {
        command.env(name, "");
    }
    let seed = Program::start(command);
    let event = seed.event("dial_failed", |_| true);
    assert_eq!(event["addr"], format!("{ID}@127.0.0.1:1"));
    let (_, page) = seed.get("http", "/metrics");
    assert!(page.contains("chain_id=\"file-chain\""), "{page}");
    seed.stop();
}

/// The faults: panics, code 101.
#[test]
fn arguments_and_variables_of_any_script_are_no_panic() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("链 ünï");
        let id = assert_prints(command(program, &folder).arg("show-node-id"));
        assert_eq!(
            NodeKey::load(folder.join("config/node_key.json")).unwrap().id().to_string(),
            id.trim_end()
        );
        let mut moniker = command(program, &folder);
        // Peers would refuse it.
        assert_refused(moniker.args(["--chain-id", "c", "--moniker", "ünï"]), &["moniker"]);
        let mut unknown = command(program, &folder);
        assert_refused(unknown.arg("-é"), &["--help"]);
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let odd = std::ffi::OsStr::from_bytes(b"\xff");
            let mut start = command(program, &folder);
            start.args(["--chain-id", "c"]).env("OTHER", odd).env(odd, "x").env("TM_OTHER", odd);
            if program == "full_node" {
                start.args(["--rpc.laddr", ""]);
            }
            assert_runs(start);
            let mut ours = command(program, &folder);
            assert_refused(
                ours.args(["--chain-id", "c"]).env("TM_P2P_SEEDS", odd),
                &["TM_P2P_SEEDS", "UTF-8"],
            );
        }
    }
}

/// What is odd about files, variables and flags is read before the log begins, and told all the same.
#[test]
fn warnings_about_settings_reach_the_operator() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("config")).unwrap();
        let text = format!(
            "[p2p]\nlader = \"x\"\npersistent_peers = \"{ID}@0.0.0.0:1\"\nupnp = true\npex = false\n\
             seed_mode = {}\n",
            program == "full_node"
        );
        fs::write(home.path().join("config/config.toml"), text).unwrap();
        let log = home.path().join("log");
        let mut command = command(program, home.path());
        command
            .args(["--chain-id", "c", "--proxy_app", "kvstore"])
            .env("TM_P2P_QUEUE_TYPE", "fifo");
        command.stderr(fs::File::create(&log).unwrap());
        if program == "full_node" {
            command.args(["--rpc.laddr", ""]);
        }
        assert_runs(command);
        let log = fs::read_to_string(log).unwrap();
        let of_both = match program {
            "full_node" => "line 6, p2p.seed_mode has no effect",
            _ => "line 6, p2p.seed_mode is false; this program is a seed all the same",
        };
        for told in [
            "p2p.lader (line 2)",
            "line 3, p2p.persistent_peers: entry 1",
            "line 4, p2p.upnp is true",
            "line 5, p2p.pex",
            of_both,
            "--proxy_app",
            "TM_P2P_QUEUE_TYPE",
        ] {
            assert!(log.contains(told), "no {told:?} in {log}");
        }
        assert!(log.lines().all(|line| line.contains("WARN")), "{log}");
    }
}

/// The fault: whoever writes `--seeds` was told that `--events` is similar.
#[test]
fn who_mistypes_a_flag_is_told_the_one_that_is_meant_or_none() {
    let home = tempfile::tempdir().unwrap();
    for (flag, meant) in [
        ("--persistent_peers", "write --p2p.persistent_peers or see --help"),
        ("--addr-book-strict", "write --p2p.addr_book_strict or see --help"),
        ("--moniket", "write --moniker or see --help"),
        ("--vents", "\"--vents\"; see --help"),
        ("--frobnicate", "\"--frobnicate\"; see --help"),
    ] {
        for program in ["full_node", "seed"] {
            assert_refused(command(program, home.path()).args([flag, "x"]), &[meant]);
        }
    }
    let mut seeds = command("full_node", home.path());
    assert_refused(seeds.args(["--seeds", "x"]), &["write --p2p.seeds or see --help"]);
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
            let spoiled = at_a_free_port(&mut spoiled).args([verb, "--chain-id", "c"]);
            assert_refused(spoiled, &["node_key.json"]);
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

/// Of the process's environment, `CMTHOME` or `TMHOME` is the home without `--home`.
#[test]
fn cmthome_or_tmhome_is_the_home() {
    let home = tempfile::tempdir().unwrap();
    let id = assert_prints(command("full_node", home.path()).arg("gen-node-key"));
    let elsewhere = command("full_node", home.path());
    for (name, other) in [("TMHOME", "CMTHOME"), ("CMTHOME", "TMHOME")] {
        let mut without = std::process::Command::new(elsewhere.get_program());
        without.arg("show-node-id").env(name, home.path());
        without.env(other, if name == "CMTHOME" { "/nowhere" } else { "" });
        assert_eq!(assert_prints(&mut without), id);
    }
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
