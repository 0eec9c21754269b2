//! Where nodes stand, as the programs name and show it.

#[path = "../../examples/common/states.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod table;

use std::time::{Duration, Instant};

use serde_json::Value;
use tmp2p::{Config, NodeId, NodeInfo, NodeKey, PeerAddress, Switch};

use crate::{
    guest::Guest,
    program::{DEADLINE, Program, command},
};

const HOUR: Duration = Duration::from_secs(3600);

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

#[test]
fn the_log_has_counts_and_a_bounded_number_of_lines() {
    // Nobody listens there.
    let gone: PeerAddress = format!("{}@127.0.0.1:1", id(1)).parse().unwrap();
    let config = Config {
        persistent_peers: vec![gone.clone()],
        addr_book_strict: false,
        dial_spread: Duration::ZERO,
        ..Config::default()
    };
    let info = NodeInfo::new("c", "states").unwrap();
    let switch = Switch::builder(config, NodeKey::generate(), info).start().unwrap();
    let handle = switch.handle();
    for number in 2..40 {
        handle.mark_bad(id(number), HOUR, "sends nonsense").unwrap();
    }
    handle.ban(id(40), None, "spam").unwrap();
    handle.ban("10.0.0.0/8".parse::<tmp2p::BanTarget>().unwrap(), Some(HOUR), "a flood").unwrap();

    let deadline = Instant::now() + DEADLINE;
    let shown = loop {
        let shown = table::table(handle).unwrap();
        if shown[0].contains("1 reconnecting, 38 bad") {
            break shown;
        }
        assert!(Instant::now() < deadline, "{shown:#?}");
    };
    let lines: Vec<&str> = shown.iter().map(String::as_str).collect();
    assert!(lines.iter().all(|line| !line.contains('\n')), "a record each: {shown:#?}");
    assert_eq!(lines[0], "0 candidates, 0 dialing, 0 connected, 1 reconnecting, 38 bad, 2 banned");
    // A busy machine has seen more than one by then.
    assert!(lines[1].starts_with(&format!("reconnecting {gone}, ")), "{lines:#?}");
    assert!(lines[1].contains(" failed attempt"), "{lines:#?}");
    assert!(lines[1].ends_with(": connection refused"), "{lines:#?}");
    assert!(lines[2].starts_with(&format!("bad          {}, for another 3", id(2))), "{lines:#?}");
    assert!(lines[2].ends_with(": sends nonsense"), "{lines:#?}");
    assert_eq!((lines.len(), lines[21]), (22, "and 21 more"));

    // The bans are at the end, once there is room.
    for number in 2..40 {
        handle.mark_good(id(number)).unwrap();
    }
    let shown = table::table(handle).unwrap().join("\n");
    assert!(shown.contains(&format!("\nbanned       {}: ", id(40))), "{shown}");
    assert!(shown.contains("10.0.0.0/8: a flood"), "{shown}");
    switch.stop(DEADLINE).unwrap();
}

/// What the HTTP server of a seed says of nodes in its book.
#[test]
fn a_running_seed_shows_who_is_connected_and_who_was() {
    let home = tempfile::tempdir().unwrap();
    let mut command = command("seed", home.path());
    // Nobody is asked to leave while the test looks.
    command.args(["--chain-id", "c", "--http", "tcp://127.0.0.1:0"]);
    command.args(["--p2p.seed_disconnect_wait_period", "1h", "--p2p.crawl_period", "1h"]);
    let seed = Program::start(command);
    // It listens, so that the seed books it.
    let guest = Guest::with(Config::default(), seed.addr());
    seed.event("book", |event| event["addresses"] == 1);

    let id = guest.id();
    let shown = || -> Value {
        let rows: Value = serde_json::from_str(&seed.get("http", "/peers").1).unwrap();
        assert_eq!(rows[0]["id"], id);
        rows[0].clone()
    };
    let row = shown();
    assert_eq!((&row["state"], &row["bucket"]), (&"connected".into(), &"new".into()), "{row}");
    let page = seed.get("http", "/").1;
    // What is counted is in the rows.
    assert_eq!(row["standing"], "unverified", "{row}");
    for part in
        ["STATE", "BUCKET", " unverified, connected ", "1 address: 0 verified, 1 unverified"]
    {
        assert!(page.contains(part), "no {part:?} in {page}");
    }

    // The seed looks where it has gone, and finds nobody.
    guest.leave();
    seed.event("dial_failed", |_| true);
    let deadline = Instant::now() + DEADLINE;
    while shown()["state"] != "failing" {
        assert!(Instant::now() < deadline, "{}", shown());
    }
    seed.stop();
}
