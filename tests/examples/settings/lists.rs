//! Lists of nodes in a configuration: what Go tolerates is left out with a warning, what stops Go stops
//! ours.

use super::{Sources, assert_says, case};

const A: &str = "8dbde4f350f8767f8dd7f0161c53ec87a7188a31";
const B: &str = "6e97c750d6660b834240b2e323a1617639e97ad0";

fn file_with(key: &str, list: &str) -> String {
    format!("[p2p]\n{key} = {list:?}\n")
}

#[test]
fn nobody_is_at_0_0_0_0_and_the_others_are_used() {
    let text = case("config-peers-0000.toml");
    let sources = Sources::file(&text);
    let config = sources.p2p().unwrap().config;
    config.check().unwrap();
    let ips: Vec<_> = config.persistent_peers.iter().map(|a| a.host().to_string()).collect();
    assert_eq!(ips, ["10.0.12.5", "127.0.0.1"]);
    let warnings = sources.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    for (warning, entry) in warnings.iter().zip(["entry 1, \"8dbd", "entry 3, \"9eef"]) {
        assert_says(
            warning,
            &["line 5, p2p.persistent_peers: ", entry, "@0.0.0.0:26656", "left out"],
        );
    }
}

#[test]
fn entries_that_go_tolerates_are_left_out_with_a_warning() {
    let space = case("peers-space.txt");
    let long = "a".repeat(254);
    for entry in [
        space.trim_end(),
        &format!("{B}@my node:26656"),
        &format!("{B}@\u{1f600}.example.com:26656"),
        &format!("{B}@ünï.example.com:26656"),
        &format!("{B}@node/1:26656"),
        &format!("{B}@1.2.3.4%eth0:26656"),
        &format!("{B}@[2a01::g]:26656"),
        &format!("{B}@[a b]:26656"),
        &format!("{B}@{long}:26656"),
        &format!("tcp://{B}@a b:26656"),
        // Go looks the name up, in vain, before it looks at the port.
        &format!("{B}@a b:266560"),
        &format!("{B}@1.2.3.4:0"),
        &format!("{B}@[::]:26656"),
        &format!("{B}@255.255.255.255:26656"),
    ] {
        for key in ["persistent_peers", "seeds"] {
            let file = file_with(key, &format!("{A}@1.2.3.4:1,{entry},"));
            let p2p = Sources::file(&file).p2p().unwrap();
            let list = [p2p.config.persistent_peers, p2p.config.seeds].concat();
            assert_eq!(list, [format!("{A}@1.2.3.4:1").parse().unwrap()], "{entry}");
            assert_eq!(p2p.warnings.len(), 1, "{:?}", p2p.warnings);
            let place = format!("line 2, p2p.{key}: entry 2, {entry:?}: left out, ");
            assert_says(&p2p.warnings[0], &[&place]);
        }
    }
}

/// An awk script has cut addresses at colons; an ID of 42 digits among sixty; a port of six.
#[test]
fn entries_that_stop_go_are_all_named_at_once() {
    let awk = case("peers-awk.txt");
    let mistake = Sources::file(&file_with("persistent_peers", awk.trim_end())).p2p().unwrap_err();
    assert_says(
        &mistake.0,
        &["line 2, p2p.persistent_peers: ", "entry 3, ", "entry 4, ", "; entry 4"],
    );
    for fine in ["entry 1,", "entry 2,", "entry 5,", "203.0.113"] {
        assert!(!mistake.0.contains(fine), "{fine} in {}", mistake.0);
    }

    let sixty = case("peers-sixty-two-bad.txt");
    let entries: Vec<_> = sixty.trim_end().split(',').collect();
    let is_bad = |entry: &&&str| entry.parse::<tmp2p::PeerAddress>().is_err();
    let bad: Vec<_> = entries.iter().filter(is_bad).collect();
    assert_eq!((entries.len(), bad.len()), (60, 2));
    let variables = [("TM_P2P_SEEDS", sixty.trim_end())];
    let flags = [("seeds", sixty.trim_end())];
    for (sources, place) in [
        (Sources::variables(&variables), "TM_P2P_SEEDS: entry"),
        (Sources { flags: &flags, ..Sources::default() }, "--p2p.seeds: entry"),
    ] {
        let mistake = sources.p2p().unwrap_err();
        assert_says(&mistake.0, &[place]);
        bad.iter().for_each(|entry| assert_says(&mistake.0, &[entry]));
        assert!(mistake.0.len() < 500, "{}", mistake.0);
    }

    for entry in [
        "x",
        "1.2.3.4:26656",
        &format!("{A}1a@1.2.3.4:26656"),
        &format!("{A}@1.2.3.4:266560"),
        &format!("{A}@1.2.3.4:65536"),
        &format!("{A}@1.2.3.4"),
        &format!("{A}@:26656"),
        &format!("{A}@2a01::1:26656"),
        &format!("{A}@[2a01::1:26656"),
        &format!("{A}@a@1.2.3.4:26656"),
        &format!("{A}@tcp://1.2.3.4:26656"),
        &format!("zz{}@my node:26656", &A[2..]),
    ] {
        let file = file_with("persistent_peers", &format!("{B}@1.2.3.4:1,{entry}"));
        let mistake = Sources::file(&file).p2p().unwrap_err();
        assert_says(&mistake.0, &[&format!("p2p.persistent_peers: entry 2, {entry:?}: ")]);
    }
    // Of several lists, too.
    let file = "[p2p]\nseeds = \"x\"\npersistent_peers = \"y\"\nunconditional_peer_ids = \"z\"\n";
    let mistake = Sources::file(file).p2p().unwrap_err();
    assert_says(&mistake.0, &["line 2, p2p.seeds", "line 3, p2p.pers", "line 4, p2p.uncond"]);
}

#[test]
fn one_id_with_two_addresses_keeps_both_with_a_warning() {
    let text = case("config-dup-id.toml");
    let p2p = Sources::file(&text).p2p().unwrap();
    assert_eq!(p2p.config.persistent_peers.len(), 2);
    assert_eq!(p2p.warnings.len(), 1);
    assert_says(
        &p2p.warnings[0],
        &["line 7, p2p.persistent_peers: ", A, "2 addresses", "one after"],
    );
    // Twice the same is once.
    let file = file_with("seeds", &format!("{A}@1.2.3.4:1,{A}@1.2.3.4:1, tcp://{A}@1.2.3.4:1"));
    let p2p = Sources::file(&file).p2p().unwrap();
    assert_eq!((p2p.config.seeds.len(), p2p.warnings.len()), (1, 0));
}

/// The fault: it was left out without a word, or without one of where it is.
#[test]
fn the_node_itself_is_left_out_with_the_place_of_the_list() {
    let file = format!("[p2p]\nseeds = \"{A}@1.2.3.4:1\"\n");
    let persistent = format!("{A}@1.2.3.4:1,{B}@1.2.3.4:2");
    let sources = Sources { flags: &[("persistent_peers", &persistent)], ..Sources::file(&file) };
    let mut p2p = sources.p2p().unwrap();
    p2p.leave_out(&"1".repeat(40).parse().unwrap());
    assert_eq!((p2p.config.seeds.len(), p2p.config.persistent_peers.len()), (1, 2));
    assert_eq!(p2p.warnings, [""; 0]);
    p2p.leave_out(&A.parse().unwrap());
    assert_eq!((p2p.config.seeds.len(), p2p.config.persistent_peers.len()), (0, 1));
    assert_eq!(p2p.warnings.len(), 2);
    assert_says(&p2p.warnings[0], &["config.toml line 2, p2p.seeds: ", A, "itself"]);
    assert_says(&p2p.warnings[1], &["--p2p.persistent_peers: ", A, "itself"]);
}

/// The fault: whatever was before `://` was taken for TCP.
#[test]
fn nobody_listens_by_another_protocol_than_tcp() {
    for text in ["udp://1.2.3.4:5", "unix:///run/p2p.sock", "http://1.2.3.4:5"] {
        let mistake = Sources::file(&file_with("laddr", text)).p2p().unwrap_err().0;
        assert_says(&mistake, &["p2p.laddr", text, "tcp://IP:PORT"]);
        assert!(!mistake.contains("port is missing"), "one reason: {mistake}");
    }
    for text in ["tcp://1.2.3.4:5", "TCP://1.2.3.4:5", "1.2.3.4:5", ""] {
        assert_eq!(Sources::file(&file_with("laddr", text)).p2p().unwrap().warnings, [""; 0]);
    }
    let p2p = Sources::file(&file_with("external_address", "http://1.2.3.4:5")).p2p().unwrap();
    assert_eq!(p2p.config.external_address.unwrap().to_string(), "tcp://1.2.3.4:5");
    assert_says(
        &p2p.warnings[0],
        &["p2p.external_address", "http://1.2.3.4:5", "told tcp://1.2.3.4:5"],
    );
}

#[test]
fn whole_addresses_as_ids_count_as_their_ids() {
    let text = case("config-private-ids.toml");
    let p2p = Sources::file(&text).p2p().unwrap();
    let id = A.parse().unwrap();
    assert_eq!(p2p.config.private_peer_ids, [id]);
    assert_eq!(p2p.config.unconditional_peer_ids, [id]);
    assert_eq!(p2p.warnings.len(), 1);
    assert_says(&p2p.warnings[0], &["p2p.private_peer_ids: entry 1, ", "only the ID", A]);
    for entry in
        [format!("{A}@1.2.3.4:1"), format!("tcp://{A}@a.b:1"), format!("{A}@tcp://1.2.3.4:1")]
    {
        for key in ["private_peer_ids", "unconditional_peer_ids"] {
            let file = file_with(key, &format!("{entry}, {B}"));
            let config = Sources::file(&file).p2p().unwrap().config;
            let ids = [config.private_peer_ids, config.unconditional_peer_ids].concat();
            assert_eq!(ids, [id, B.parse().unwrap()], "{entry}");
        }
    }
    // Go looks at the IDs of one list only.
    let p2p = Sources::file("[p2p]\nprivate_peer_ids = \"x,y@z\"\n").p2p().unwrap();
    assert_eq!((p2p.config.private_peer_ids.len(), p2p.warnings.len()), (0, 2));
    let mistake = Sources::file("[p2p]\nunconditional_peer_ids = \"x,y@z\"\n").p2p().unwrap_err();
    assert_says(&mistake.0, &["entry 1, \"x\"", "entry 2, \"y@z\""]);
}
