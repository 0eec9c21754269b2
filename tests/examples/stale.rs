//! A node or a seed comes back to an address book of nodes that are all gone. It has a living seed in
//! its configuration, and default periods.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::program::{Program, command};

/// From the first address that did not answer on, milliseconds.
const SOON: i64 = 5000;

/// How long is waited for what takes too long, so that it can be told how long it took.
const PATIENCE: Duration = Duration::from_secs(40);

/// Writes an `addrbook.json` of addresses where nobody listens: all are refused at once.
fn write_stale_book(home: &tempfile::TempDir, folder: &str, count: u64) {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let known = |number: u64| {
        let (group, host) = (1 + number % 200, 2 + number % 250);
        let ip = format!("127.{group}.{}.{host}", number / 200);
        // Told by itself.
        let addr = json!({ "id": format!("{number:040x}"), "ip": ip, "port": 1 });
        json!({
            "addr": addr, "src": addr, "buckets": [number % 256], "attempts": 0, "bucket_type": 1,
            "last_attempt": NEVER, "last_success": NEVER, "last_ban_time": NEVER,
        })
    };
    let addrs: Value = (1..=count).map(known).collect();
    let book = json!({ "key": "0123456789abcdef01234567", "addrs": addrs });
    fs::create_dir_all(home.path().join(folder)).unwrap();
    fs::write(home.path().join(folder).join("addrbook.json"), book.to_string()).unwrap();
}

/// A seed, and a node that it has reached and tells others of.
fn living_seed(homes: &[tempfile::TempDir]) -> (Program, Program) {
    let mut seed = command("seed", homes[0].path());
    seed.args(["--chain-id", "c", "--p2p.crawl_period", "200ms"]);
    let seed = Program::start(seed);
    let mut node = command("full_node", homes[1].path());
    node.args(["--chain-id", "c", "--rpc.laddr", "", "--p2p.seeds", &seed.addr().to_string()]);
    let node = Program::start(node);
    let id = node.addr().id().to_string();
    seed.event("peer_up", |event| event["id"] == id && event["direction"] == "outbound");
    (seed, node)
}

/// How long after its start the program has this peer. It may have it before it has dialed any of the
/// stale ones.
#[track_caller]
fn measure(what: &str, program: &Program, peer: &Program) -> i64 {
    let id = peer.addr().id().to_string();
    let at = |event: Value| event["at_ms"].as_i64().unwrap();
    let up = at(program.event_within(PATIENCE, "peer_up", |event| event["id"] == id));
    let after = up - at(program.event("listening", |_| true));
    eprintln!("{what}: {after} ms after start");
    after
}

#[track_caller]
fn assert_a_node_has_peers_soon(stale: u64) {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (seed, other) = living_seed(&homes[..2]);
    write_stale_book(&homes[2], "config", stale);
    let mut node = command("full_node", homes[2].path());
    node.args(["--chain-id", "c", "--rpc.laddr", "", "--p2p.seeds", &seed.addr().to_string()]);
    let node = Program::start(node);
    let what = format!("a node with {stale} stale addresses");
    let to_seed = measure(&format!("{what}, its seed"), &node, &seed);
    let to_other = measure(&format!("{what}, a node of its seed's"), &node, &other);
    assert!(to_seed < SOON && to_other < SOON, "{to_seed} ms, {to_other} ms");
    node.stop();
}

#[test]
fn a_node_with_five_stale_addresses_has_peers_within_five_seconds() {
    assert_a_node_has_peers_soon(5);
}

#[test]
fn a_node_with_nine_hundred_stale_addresses_has_peers_within_five_seconds() {
    assert_a_node_has_peers_soon(900);
}

#[test]
fn a_seed_with_fifty_stale_addresses_has_its_seed_within_five_seconds() {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (seed, other) = living_seed(&homes[..2]);
    write_stale_book(&homes[2], "data", 50);
    let mut stale = command("seed", homes[2].path());
    stale.args(["--chain-id", "c", "--seeds", &seed.addr().to_string()]);
    let stale = Program::start(stale);
    let what = "a seed with 50 stale addresses";
    let to_seed = measure(&format!("{what}, its seed"), &stale, &seed);
    let to_other = measure(&format!("{what}, a node of its seed's"), &stale, &other);
    assert!(to_seed < SOON && to_other < SOON, "{to_seed} ms, {to_other} ms");
    stale.stop();
}
