//! Command lines as scripts have them.

use std::ffi::OsString;

use proptest::prelude::*;

use crate::{
    args::{CommandLine, is_on},
    layers::Kind,
};

fn split(args: &[&str]) -> CommandLine {
    let own = ["home", "chain-id", "moniker", "events"].map(str::to_owned);
    CommandLine::split(args.iter().map(OsString::from), &own)
}

/// What clap gets, the `--p2p.` flags, the warning.
#[track_caller]
fn assert_split(args: &[&str], rest: &[&str], p2p: &[(&str, Option<&str>)]) {
    let line = split(&[&["program"], args].concat());
    let got: Vec<_> = line.rest[1..].iter().map(|arg| arg.to_str().unwrap()).collect();
    assert_eq!(got, rest, "{args:?}");
    let got: Vec<_> =
        line.flags.p2p.iter().map(|(key, text)| (key.as_str(), text.as_deref())).collect();
    assert_eq!(got, p2p, "{args:?}");
}

#[test]
fn flags_of_p2p_are_taken_out_wherever_they_are() {
    assert_split(
        &["--p2p.persistent_peers", "x", "start", "-p2p.external-address=y", "-home", "z"],
        &["start", "--home", "z"],
        &[("persistent_peers", Some("x")), ("external_address", Some("y"))],
    );
    assert_split(&["--p2p.laddr"], &[], &[("laddr", None)]);
    assert_split(&["--p2p.laddr="], &[], &[("laddr", Some(""))]);
    assert_split(&["--p2p.laddr", "", "start"], &["start"], &[("laddr", Some(""))]);
    assert_split(&["--p2p.laddr", "--events"], &["--events"], &[("laddr", None)]);
    assert_split(&["--p2p.send_rate", "-1"], &[], &[("send_rate", Some("-1"))]);
    assert_split(&["--p2p.seeds=a=b"], &[], &[("seeds", Some("a=b"))]);
    assert_split(&["--", "--p2p.pex", "-home"], &["--", "--p2p.pex", "-home"], &[]);
}

/// Like Go's: a boolean needs no value, and has one in any of its forms.
#[test]
fn booleans_may_be_alone_or_have_a_value_in_any_form() {
    assert_split(&["--p2p.pex", "start"], &["start"], &[("pex", Some("true"))]);
    assert_split(&["--p2p.seed-mode"], &[], &[("seed_mode", Some("true"))]);
    for text in ["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"] {
        assert_split(&["--p2p.pex", text, "start"], &["start"], &[("pex", Some(text))]);
        assert_split(&[&format!("--p2p.pex={text}")], &[], &[("pex", Some(text))]);
        assert_eq!(is_on(text), Ok("1tT".contains(&text[..1])), "{text}");
    }
    for text in ["", "yes", "no", "2", "tRUE"] {
        assert!(is_on(text).is_err(), "{text:?}");
    }
}

/// What kind a key is of comes from the reader itself.
#[test]
fn kinds_of_keys_are_those_of_the_reader() {
    for (kind, keys) in [
        (Kind::Switch, &["pex", "seed_mode", "addr_book_strict", "allow_duplicate_ip", "upnp"][..]),
        (
            Kind::Number,
            &["send_rate", "max_num_inbound_peers", "reconnect_give_up", "accept_rate_per_ip"],
        ),
        (Kind::Duration, &["dial_timeout", "good_after", "persistent_peers_max_dial_period"]),
        (Kind::Text, &["laddr", "seeds", "addr_book_file", "exempt_cidrs", "private_peer_ids"]),
    ] {
        keys.iter().for_each(|key| assert_eq!(Kind::of(key), Some(kind), "{key}"));
    }
    for key in ["", "lader", "pex_bias", "p2p.pex", "Pex", "libp2p"] {
        assert_eq!(Kind::of(key), None, "{key}");
    }
}

/// Scripts that start Tendermint have flags that mean nothing here.
#[test]
fn flags_of_tendermint_without_a_meaning_here_are_a_warning() {
    let args = [
        "program",
        "start",
        "--proxy_app",
        "kvstore",
        "--fast_sync=false",
        "--fast_sync",
        "false",
        "--consensus.create_empty_blocks",
        "--consensus.create_empty_blocks_interval",
        "5s",
        "--consensus.timeout_commit=1s",
        "--rpc.unsafe",
        "--rpc.laddr",
        "tcp://127.0.0.1:1",
        "--db_backend=goleveldb",
        "--trace",
        "-abci",
        "grpc",
        "--mempool.version",
        "v1",
        "--home",
        "h",
    ];
    let line = split(&args);
    assert_eq!(line.rest, ["program", "start", "--home", "h"].map(OsString::from));
    let warning = line.flags.warning().unwrap();
    for name in
        ["--proxy_app", "--fast_sync", "--consensus.timeout_commit", "--rpc.laddr", "--abci"]
    {
        assert!(warning.contains(name), "{warning}");
    }
    assert_eq!(split(&["program", "--events", "start"]).flags.warning(), None);
    // One that the program has itself is its own.
    let line = CommandLine::split(
        ["p", "--rpc.laddr", "x", "--rpc.lader", "x"].map(OsString::from),
        &["rpc.laddr".to_owned()],
    );
    assert_eq!(line.rest, ["p", "--rpc.laddr", "x"].map(OsString::from));
    // The fault: `--mempool.max-tx-bytes` was taken for one of others and dropped.
    let own = ["mempool.max_tx_bytes".to_owned(), "chain-id".to_owned()];
    let args = ["p", "--mempool.max-tx-bytes", "7", "-chain_id=c", "--mempool.max_tx_bytes=8"];
    let line = CommandLine::split(args.map(OsString::from), &own);
    let rest = ["p", "--mempool.max_tx_bytes", "7", "--chain-id=c", "--mempool.max_tx_bytes=8"];
    assert_eq!((line.rest, line.flags.warning()), (rest.map(OsString::from).to_vec(), None));
    // What is neither is clap's to refuse.
    assert_eq!(split(&["p", "--frobnicate", "x"]).rest.len(), 3);
}

/// The fault: an argument that is not ASCII was a panic, wherever it stood.
#[test]
fn arguments_in_any_script_are_taken_as_they_are() {
    for text in ["ünï", "链", "é", "-é", "-链x", "\u{1f600}", "--ünï", "--ünï=链", "-", "--", ""]
    {
        let line = split(&["program", "--moniker", text]);
        assert_eq!(line.rest.len(), 3, "{text}");
        assert_eq!(line.rest[2].to_str().unwrap(), text);
    }
    assert_split(&["--p2p.ünï=链"], &[], &[("ünï", Some("链"))]);
}

#[cfg(unix)]
#[test]
fn paths_that_are_no_utf8_are_taken_as_they_are() {
    use std::os::unix::ffi::OsStringExt;

    let raw = OsString::from_vec(b"-home=\xff".to_vec());
    let line = CommandLine::split(["p".into(), raw, OsString::from_vec(vec![0xff])], &[]);
    assert_eq!(line.rest[1], OsString::from_vec(b"--home=\xff".to_vec()));
    assert_eq!(line.rest[2], OsString::from_vec(vec![0xff]));
}

proptest! {
    #[test]
    fn no_command_line_panics(args in proptest::collection::vec(r"-{0,3}(p2p\.|rpc\.)?[a-zé链=.]{0,8}", 0..6)) {
        split(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
