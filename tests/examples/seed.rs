//! The seed.

use std::{fs, path::Path};

use serde_json::Value;

use crate::program::{Program, assert_prints, assert_refused, command};

#[test]
fn the_http_server_shows_the_seed() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command("seed", home.path());
    command.args(["--chain-id", "a\"<b>", "--moniker", "s", "--http", "tcp://127.0.0.1:0"]);
    let seed = Program::start(command);
    let addr = seed.addr();
    let (code, page) = seed.get("http", "/");
    assert_eq!(code, 200);
    assert!(page.contains(&addr.to_string()) && page.contains("a\"&lt;b&gt;"), "{page}");

    let (code, metrics) = seed.get("http", "/metrics");
    assert_eq!(code, 200);
    assert!(metrics.contains("\ntendermint_p2p_peers{chain_id=\"a\\\"<b>\"} 0\n"), "{metrics}");
    // Each series has a help text and a type.
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('{').next().unwrap();
        for head in ["# HELP", "# TYPE"] {
            assert!(metrics.contains(&format!("{head} {name} ")), "{head} of {line}");
        }
    }
    assert_eq!(seed.get("http", "/nothing").0, 404);
    seed.stop();
}

/// Starts a node or a seed that does at once what takes minutes in earnest.
fn start(program: &str, home: &tempfile::TempDir, more: &[&str]) -> Program {
    let mut command = command(program, home.path());
    command.args(["--chain-id", "c"]).args(more);
    for flag in ["ensure_peers_period", "crawl_period"] {
        command.arg(format!("--p2p.{flag}=200ms"));
    }
    command.arg("--p2p.pex_request_interval=200ms");
    Program::start(command)
}

/// Nodes that know nothing but the seed find each other through it; its book can be looked at,
/// taken out while it runs, and put into another one's home.
#[test]
fn nodes_find_each_other_through_a_seed_whose_book_moves() {
    let homes: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let seed = start("seed", &homes[0], &["--http", "tcp://127.0.0.1:0", "--moniker", "a seed"]);
    let seeds = format!("--p2p.seeds={}", seed.addr());
    let nodes = [1, 2].map(|n| {
        let moniker = format!("--moniker=node {n}");
        start("full_node", &homes[n], &[&seeds, &moniker, "--rpc.laddr", ""])
    });
    let ids: Vec<String> = nodes.iter().map(|node| node.addr().id().to_string()).collect();
    for (node, other) in [(&nodes[0], &ids[1]), (&nodes[1], &ids[0])] {
        node.event("peer_up", |event| event["id"] == **other);
        node.event("book", |event| event["addresses"].as_u64() >= Some(1));
    }
    seed.event("book", |event| event["addresses"] == 2);

    let lines = |text: &str| -> Vec<Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // Written within a second.
    let peers = loop {
        let peers =
            lines(&assert_prints(command("seed", homes[0].path()).args(["peers", "--json"])));
        let is_reached =
            |peer: &Value| peer["last_seen_ms"].is_u64() && peer["state"] == "verified";
        if peers.len() == 2 && peers.iter().all(is_reached) {
            break peers;
        }
        assert!(std::time::Instant::now() < deadline, "{peers:?}");
    };
    for peer in &peers {
        let n = ids.iter().position(|id| peer["id"] == **id).unwrap();
        let addr = nodes[n].addr().to_string();
        assert_eq!(peer["addr"], addr.split_once('@').unwrap().1);
        assert_eq!(peer["moniker"], format!("node {}", n + 1));
        assert_eq!(peer["version"], concat!("tmp2p/", env!("CARGO_PKG_VERSION")));
        assert!(["new", "old"].contains(&peer["bucket"].as_str().unwrap()), "{peer}");
    }
    let table = assert_prints(command("seed", homes[0].path()).arg("peers"));
    assert!(table.starts_with("ID ") && ids.iter().all(|id| table.contains(&id[..8])), "{table}");
    assert!(table.contains("\n\n2 addresses: ") && table.ends_with(" bad\n"), "{table}");
    let shown: Value = serde_json::from_str(&seed.get("http", "/peers").1).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 2);

    // Of a running seed, by file and over HTTP.
    let file = homes[0].path().join("x.json");
    let export = || {
        let mut command = command("seed", homes[0].path());
        command.arg("export-addrbook").arg(&file);
        command
    };
    assert_prints(&mut export());
    assert_refused(&mut export(), &["x.json", "exists", "another file", "--force"]);
    let exported: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let served: Value = serde_json::from_str(&seed.get("http", "/addrbook.json").1).unwrap();
    for book in [&exported, &served] {
        let mut found: Vec<_> = book["addrs"].as_array().unwrap().iter().collect();
        // The seed has called nobody good, but it was there.
        for known in &found {
            assert!(!known["last_success"].as_str().unwrap().starts_with("0001"), "{known}");
        }
        found.sort_by_key(|known| known["addr"]["id"].as_str());
        let mut ids: Vec<_> = ids.iter().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(found.iter().map(|known| &known["addr"]["id"]).collect::<Vec<_>>(), ids);
    }
    let import = |home: &tempfile::TempDir, file: &Path| {
        let mut command = command("seed", home.path());
        command.args(["--p2p.addr_book_strict=false", "import-addrbook"]).arg(file);
        command
    };
    assert_refused(&mut import(&homes[0], &file), &["address book", "stop"]);
    seed.stop();

    let other = tempfile::tempdir().unwrap();
    let nobody = assert_prints(command("seed", other.path()).arg("peers"));
    assert!(nobody.contains("no book") && nobody.contains("start"), "{nobody}");
    assert_eq!(assert_prints(&mut import(&other, &file)), "added 2 addresses\n");
    assert_eq!(assert_prints(&mut import(&other, &file)), "added 0 addresses\nknown 2\n");
    let moved = lines(&assert_prints(command("seed", other.path()).args(["peers", "--json"])));
    assert_eq!(moved.len(), 2);
    for peer in &moved {
        assert!(peer["last_seen_ms"].is_null(), "{peer}");
        assert_eq!((&peer["state"], &peer["bucket"]), (&"unverified".into(), &"new".into()));
    }
    fs::write(&file, "{\"key\": 3}").unwrap();
    assert_refused(&mut import(&other, &file), &["x.json", "line 1"]);
    assert_refused(&mut import(&other, Path::new("/nowhere.json")), &["/nowhere.json"]);
}
