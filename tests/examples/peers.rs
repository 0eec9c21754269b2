//! What `seed peers` shows, and what lifts a *bad*.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tmp2p::{
    BadAddress, BadCause, Ban, BanOrigin, BanTarget, BookStore, History, KnownAddress, NetAddress,
    NodeId, Placement, SqliteStore, StoreBatch,
};

use crate::console::millis;
use crate::program::{Program, assert_prints, assert_refused, command, run};

const HOUR: Duration = Duration::from_secs(3600);

/// Their first digits differ.
fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

fn known(n: u8, addr: &str) -> KnownAddress {
    let addr: SocketAddr = addr.parse().unwrap();
    let addr = NetAddress::new(id(n), addr.ip(), addr.port());
    let history = History {
        moniker: format!("node {n}"),
        version: "0.34.24".to_owned(),
        network: "c".to_owned(),
        ..History::default()
    };
    KnownAddress::new(addr, addr, Placement::New([n].into_iter().collect()), history)
}

/// The same with another history.
fn with(mut known: KnownAddress, change: impl FnOnce(&mut History)) -> KnownAddress {
    change(known.history_mut());
    known
}

/// Of each kind one, or two.
fn batch() -> StoreBatch {
    let (now, mut batch) = (SystemTime::now(), StoreBatch::default());
    let seen = |n: u8, addr: &str, ago: Duration| {
        let at = Some(now - ago);
        with(known(n, addr), |history| (history.verified, history.last_seen) = (at, at))
    };
    let mut bad = known(0x41, "127.8.8.4:26656");
    bad.placement = Placement::Bad;
    let long = "a moniker that is as long as a moniker may be, and that is longer than a line";
    let addresses = [
        seen(0x11, "127.8.8.1:26656", HOUR * 3),
        with(seen(0x12, "127.8.8.2:26656", HOUR), |history| history.moniker = long.to_owned()),
        known(0x21, "[2a01:4f8:1234:5678:9abc:def0:1234:5678]:26656"),
        with(seen(0x31, "127.8.8.3:26656", HOUR * 72), |history| history.dial_failures = 3),
        bad,
        known(0x51, "127.8.8.5:26656"),
    ];
    batch.addresses.extend(addresses.map(|known| (known.addr.id(), Some(known))));
    let bad = |n, until| {
        let reason = "seventeen attempts in a row have failed".to_owned();
        (
            id(n),
            Some(BadAddress { id: id(n), addr: None, until, cause: BadCause::Unreachable, reason }),
        )
    };
    batch.bad.extend([bad(0x41, now + HOUR * 23 + HOUR / 2), bad(0x42, now + HOUR)]);
    let target = BanTarget::from(std::net::IpAddr::from([127, 8, 8, 5]));
    let reason = "sends\x1b[2J nonsense".to_owned();
    let ban = Ban { target, until: None, reason, origin: BanOrigin::Operator };
    batch.bans.insert(target, Some(ban));
    batch
}

/// A home with this in its book.
fn home(batch: &StoreBatch) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("data")).unwrap();
    let mut store = SqliteStore::open(home.path().join("data/addrbook.sqlite")).unwrap();
    store.write(batch).unwrap();
    home
}

fn seed(home: &Path, args: &[&str]) -> Command {
    let mut command = command("seed", home);
    command.args(args);
    command
}

/// The first two digits of the IDs, in order.
fn ids(text: &str) -> Vec<String> {
    let rows = text.lines().skip(1).take_while(|line| !line.is_empty());
    rows.map(|row| row[..2].to_owned()).collect()
}

const SUMMARY: &str = "\n\n7 addresses: 2 verified, 1 unverified, 1 failing, 2 bad, 1 banned\n";

#[test]
fn peers_tells_what_is_handed_out_in_80_columns() {
    let home = home(&batch());
    let text = assert_prints(&mut seed(home.path(), &["peers"]));
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.starts_with("ID ") && text.ends_with(SUMMARY), "{text}");
    // What is handed out first, and of that who was there last.
    assert_eq!(ids(&text), ["12", "11", "21", "31", "41", "42", "51"]);
    let row = |id: &str| text.lines().find(|line| line.starts_with(id)).unwrap();
    for (id, parts) in [
        ("11111111 ", &["127.8.8.1:26656 ", " verified ", " 3 h ", "node 17 0.34.24"][..]),
        ("12121212 ", &["verified", "a moniker that"]),
        ("21212121 ", &["unverified", "never"]),
        ("31313131 ", &["failing", " 3 d "]),
        ("41414141 ", &["127.8.8.4:26656", "bad", "23 h more: sevent"]),
        ("42424242 ", &["- ", "bad", "min more: sevent"]),
        ("51515151 ", &["banned", "until lifted: sends?"]),
    ] {
        for part in parts {
            assert!(row(id).contains(part), "no {part:?} in {}", row(id));
        }
    }
    let wide = assert_prints(&mut seed(home.path(), &["peers", "--wide"]));
    assert!(wide.ends_with(SUMMARY), "{wide}");
    for part in [
        &*id(0x42).to_string(),
        "[2a01:4f8:1234:5678:9abc:def0:1234:5678]:26656",
        "longer than a line",
        "seventeen attempts in a row have failed",
    ] {
        assert!(wide.contains(part), "no {part:?} in {wide}");
    }
    assert!(!wide.contains('\x1b') && !text.contains('\x1b'));
}

#[test]
fn peers_are_sorted_and_picked_as_one_likes() {
    let home = home(&batch());
    let shown = |args: &[&str]| ids(&assert_prints(seed(home.path(), &["peers"]).args(args)));
    assert_eq!(shown(&["--sort", "id"]), ["11", "12", "21", "31", "41", "42", "51"]);
    assert_eq!(shown(&["--sort=seen"])[..3], ["12", "11", "31"]);
    assert_eq!(shown(&["--sort=addr"]), ["42", "11", "12", "31", "41", "51", "21"]);
    assert_eq!(shown(&["--state=bad"]), ["41", "42"]);
    assert_eq!(shown(&["--state", "failing,banned"]), ["31", "51"]);
    let text = assert_prints(seed(home.path(), &["peers"]).args(["--state", "bad"]));
    assert!(text.ends_with(SUMMARY), "the summary is of all: {text}");
    let mut wrong = seed(home.path(), &["peers", "--state", "good"]);
    assert_refused(&mut wrong, &["good", "verified"]);

    let text = assert_prints(&mut seed(home.path(), &["peers", "--json", "--sort=id"]));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = rows.iter().map(|row| row["state"].as_str().unwrap()).collect();
    let expected = ["verified", "verified", "unverified", "failing", "bad", "bad", "banned"];
    assert_eq!(states, expected);
    for (row, n) in rows.iter().zip([0x11, 0x12, 0x21, 0x31, 0x41, 0x42, 0x51]) {
        assert_eq!(row["id"], id(n).to_string());
        let keys = ["addr", "moniker", "version", "last_seen_ms", "bucket", "failures"];
        assert!(keys.iter().all(|key| row.get(key).is_some()), "{row}");
    }
    assert_eq!((&rows[0]["addr"], &rows[5]["addr"]), (&"127.8.8.1:26656".into(), &Value::Null));
    assert_eq!(rows[4]["reason"], "seventeen attempts in a row have failed");
    assert!(rows[4]["until_ms"].as_u64() > Some(millis(SystemTime::now())), "{}", rows[4]);
    assert_eq!((rows[6].get("until_ms"), rows[0].get("reason")), (Some(&Value::Null), None));
}

#[test]
fn an_empty_book_says_nobody_yet_and_what_to_do() {
    let empty = home(&StoreBatch::default());
    let text = assert_prints(&mut seed(empty.path(), &["peers"]));
    for part in ["nobody yet", "--seeds ID@HOST:PORT", "import-addrbook", "addr_book_strict=false"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(assert_prints(&mut seed(empty.path(), &["peers", "--json"])), "");
    let mut one = StoreBatch::default();
    one.addresses.insert(id(0x11), Some(known(0x11, "127.8.8.1:1")));
    let one = home(&one);
    let text = assert_prints(&mut seed(one.path(), &["peers", "--state", "bad"]));
    assert_eq!(
        text,
        "nobody is in this state\n\n1 address: 0 verified, 1 unverified, 0 failing, 0 bad\n"
    );
    let nowhere = tempfile::tempdir().unwrap();
    let text = assert_prints(&mut seed(nowhere.path(), &["peers"]));
    for part in ["there is no book", "addrbook.sqlite", "start the seed", "nobody yet"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let output = run(&mut seed(nowhere.path(), &["peers", "--json"]));
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no book"));
    // There is nothing to export or to lift, and no book is made for it.
    assert_refused(&mut seed(nowhere.path(), &["export-addrbook", "-"]), &["nobody yet", "start"]);
    assert_refused(&mut seed(nowhere.path(), &["unmark-bad", "11"]), &["no bad address"]);
    assert_refused(&mut seed(nowhere.path(), &["unban", "1.2.3.4"]), &["1.2.3.4", "no ban"]);
    assert!(!nowhere.path().join("data/addrbook.sqlite").exists());
}

/// The fault: who was ever found at its address was verified for ever, and a seed hands it out for six
/// hours.
#[test]
fn verified_is_what_a_seed_hands_out() {
    let (mut batch, minute) = (StoreBatch::default(), HOUR / 60);
    for (n, ago) in [(0x11, 6 * HOUR - 5 * minute), (0x12, 6 * HOUR + minute), (0x13, HOUR)] {
        let known = known(n, &format!("127.8.8.{n}:1"));
        let verified = Some(SystemTime::now() - ago);
        batch.addresses.insert(id(n), Some(with(known, |history| history.verified = verified)));
    }
    let home = home(&batch);
    let private = id(0x13).to_string();
    let peers = |args: &[&str]| {
        let mut peers = seed(home.path(), &["peers", "--json"]);
        let text = assert_prints(peers.args(["--p2p.private_peer_ids", &private]).args(args));
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| row["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(peers(&[]), ["verified", "unverified", "private"]);
    assert_eq!(peers(&["--state=verified"]).len(), 1);
    let mut peers = seed(home.path(), &["peers", "--p2p.private_peer_ids", &private]);
    let summary = "\n\n3 addresses: 1 verified, 1 unverified, 0 failing, 1 private, 0 bad\n";
    assert!(assert_prints(&mut peers).ends_with(summary));
}

/// The fault: the command knew of no bad address, and nothing could lift the ban.
#[test]
fn who_is_bad_and_banned_is_told_to_be_and_both_are_lifted() {
    let mut batch = batch();
    for (target, until) in [
        (BanTarget::from(id(0x41)), Some(SystemTime::now() + HOUR * 5 + HOUR / 2)),
        ("127.8.8.0/30".parse::<BanTarget>().unwrap(), None),
        (BanTarget::from(id(0x42)), None),
    ] {
        let (reason, origin) = ("asks all the time".to_owned(), BanOrigin::Operator);
        batch.bans.insert(target, Some(Ban { target, until, reason, origin }));
    }
    batch.addresses.insert(id(0x41), {
        let mut known = known(0x41, "127.8.8.2:26656");
        known.placement = Placement::Bad;
        Some(known)
    });
    let home = home(&batch);
    let standing = |n: u8| {
        let text = assert_prints(&mut seed(home.path(), &["peers", "--wide", "--sort=id"]));
        text.lines().find(|line| line.starts_with(&id(n).to_string())).map(str::to_owned)
    };
    let row = standing(0x41).unwrap();
    assert!(row.contains(" banned ") && row.contains("5 h more: asks all the time ("), "{row}");
    assert!(standing(0x42).unwrap().contains(" banned "));

    let text = assert_prints(&mut seed(home.path(), &["unmark-bad", "4141"]));
    let all = id(0x41).to_string();
    for part in [
        &*format!("{all} is bad no more\n"),
        "but banned, 5 h more: asks all the time",
        &*format!("; lift it with unban {all}\n"),
        "but banned, until lifted: asks all the time",
        "; lift it with unban 127.8.8.0/30\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(standing(0x41).unwrap().contains(" banned "));
    for target in [&*all, "127.8.8.0/30"] {
        let text = assert_prints(&mut seed(home.path(), &["unban", target]));
        assert_eq!(text, format!("{target} is banned no more\n"));
        assert_refused(&mut seed(home.path(), &["unban", target]), &[target, "no ban", "--wide"]);
    }
    assert!(standing(0x41).unwrap().contains(" unverified "));
    assert_refused(&mut seed(home.path(), &["unban", "somebody"]), &["somebody"]);
}

/// The fault: bans of whoever is not in the book were nowhere, although the hints of `unban` point here.
#[test]
fn bans_of_others_than_those_of_the_book_have_rows_of_their_own() {
    let mut batch = batch();
    let over = Some(SystemTime::now() - HOUR);
    let gone: BanTarget = "1.2.3.4".parse().unwrap();
    for (target, until, reason) in [
        // Of the node at 127.8.8.5, which has another ban already.
        (BanTarget::from(id(0x51)), None, "who"),
        (BanTarget::from(id(0x99)), None, "nobody here"),
        ("10.0.0.0/8".parse().unwrap(), Some(SystemTime::now() + HOUR * 5 / 2), "a flood"),
        ("2001:db8::1".parse().unwrap(), None, "one of six"),
        (gone, over, "over"),
    ] {
        let (reason, origin) = (reason.to_owned(), BanOrigin::Operator);
        batch.bans.insert(target, Some(Ban { target, until, reason, origin }));
    }
    let home = home(&batch);
    let text = assert_prints(&mut seed(home.path(), &["peers", "--state", "banned"]));
    let summary =
        "7 addresses: 2 verified, 1 unverified, 1 failing, 2 bad, 1 banned\nand 4 other bans\n";
    assert!(text.ends_with(&format!("\n\n{summary}")), "{text}");
    for part in
        ["99999999  -  ", "10.0.0.0/8  ", "2 h more: a flood", "2001:db8::1  ", "127.8.8.5  "]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("1.2.3.4") && text.lines().all(|line| line.len() <= 80), "{text}");

    let by_id = ids(&assert_prints(&mut seed(home.path(), &["peers", "--sort=id"])));
    assert_eq!(by_id[6..], ["51", "99", "- ", "- ", "- "], "who has no ID comes last");

    // Each can be lifted as it is shown.
    let json = assert_prints(&mut seed(home.path(), &["peers", "--json", "--state=banned"]));
    let rows: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 5);
    for row in &rows {
        assert_eq!(
            (&row["state"], row["addr"].is_string()),
            (&"banned".into(), row["id"] == id(0x51).to_string())
        );
        let target = row["target"].as_str().unwrap();
        assert_prints(&mut seed(home.path(), &["unban", target]));
    }
    let text = assert_prints(&mut seed(home.path(), &["peers"]));
    assert!(text.contains("2 unverified") && !text.contains("ban"), "{text}");

    // A book of nobody but bans.
    let mut batch = StoreBatch::default();
    let target: BanTarget = "10.0.0.0/8".parse().unwrap();
    let (reason, origin) = ("a flood".to_owned(), BanOrigin::Operator);
    batch.bans.insert(target, Some(Ban { target, until: None, reason, origin }));
    let home = self::home(&batch);
    let text = assert_prints(&mut seed(home.path(), &["peers"]));
    assert!(text.contains("nobody yet") && text.contains("10.0.0.0/8"), "{text}");
    assert!(
        text.ends_with(
            "0 addresses: 0 verified, 0 unverified, 0 failing, 0 bad\nand 1 other ban\n"
        )
    );
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// The fault: columns were counted in characters, of which some take two columns and some none.
#[test]
fn columns_are_those_of_a_terminal_whatever_the_script() {
    let mut batch = StoreBatch::default();
    for (n, moniker) in [
        (0x11, "plain"),
        (0x12, "验证者节点验证者节点验证者节点验证者节点验证者节点"),
        (0x13, "a\u{202e}b\u{200b}c\u{301}"),
        (0x14, "ひらがな"),
    ] {
        let known = with(known(n, "127.8.8.1:1"), |history| history.moniker = moniker.to_owned());
        batch.addresses.insert(id(n), Some(known));
    }
    let home = home(&batch);
    let text = assert_prints(&mut seed(home.path(), &["peers", "--sort=id"]));
    assert!(text.lines().all(|line| crate::cli::columns(line) <= 80), "{text}");
    assert!(text.contains("a?b?c? 0.34.24") && text.contains("ひらがな 0.34.24"), "{text}");
    let wide = assert_prints(&mut seed(home.path(), &["peers", "--sort=id", "--wide"]));
    let column = |line: &str| line.find("0.34.24").map(|at| crate::cli::columns(&line[..at]));
    let columns: Vec<_> = wide.lines().filter_map(column).collect();
    assert!(columns.len() == 4 && columns.iter().all(|at| *at == columns[0]), "{wide}");
}

/// The fault: a command that changes the book said that it had, on a full disk.
#[test]
fn what_cannot_be_stored_is_no_success() {
    let home = home(&batch());
    let file = home.path().join("data/addrbook.sqlite");
    let full = |what: &str| {
        format!(
            "CREATE TRIGGER {what} BEFORE DELETE ON {what}
                 BEGIN SELECT RAISE(ABORT, 'no space left'); END;"
        )
    };
    let insert = full("address").replace("DELETE", "INSERT");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute_batch(&(full("bad_address") + &full("ban") + &insert)).unwrap();
    drop(connection);
    let book = include_str!("cases/addrbook-stale-1.json");
    let input = home.path().join("in.json");
    std::fs::write(&input, book).unwrap();
    for args in [
        &["unmark-bad", "4141"][..],
        &["unban", "127.8.8.5"],
        &["import-addrbook", input.to_str().unwrap(), "--p2p.addr_book_strict=false"],
    ] {
        let output = run(&mut seed(home.path(), args));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        let last = stderr.lines().last().unwrap();
        assert!(last.contains("not stored: ") && last.contains("no space left"), "{last}");
    }
    // And that is so.
    let text = assert_prints(&mut seed(home.path(), &["peers"]));
    assert!(text.ends_with(SUMMARY), "{text}");
}

/// By the whole ID or as much of it as `peers` shows; not under a running seed, which has the book.
#[test]
fn a_bad_address_is_lifted_by_a_command() {
    // What the running seed dials is loopback.
    let mut batch = batch();
    batch.addresses.remove(&id(0x21));
    let home = home(&batch);
    // The book is of a private network, and who is strict drops such addresses: a flag that the seed
    // gets is easily forgotten here.
    let unmark = |id: &str| seed(home.path(), &["unmark-bad", id]);
    assert_refused(&mut unmark("4"), &["2 bad addresses", "more of it"]);
    for nobody in ["1111", "", "nobody"] {
        assert_refused(&mut unmark(nobody), &["no bad address", "peers --state bad"]);
    }
    let running = Program::start(seed(home.path(), &["--chain-id", "c"]));
    running.event("listening", |_| true);
    assert_refused(&mut unmark("4141"), &["address book", "in use", "stop"]);
    running.stop();

    let lifted = assert_prints(&mut unmark(&id(0x41).to_string().to_uppercase()));
    assert_eq!(lifted, format!("{} is bad no more\n", id(0x41)));
    assert_prints(&mut unmark("42"));
    let text = assert_prints(&mut seed(home.path(), &["peers", "--json", "--sort=id"]));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = rows.iter().find(|row| row["id"] == id(0x41).to_string()).unwrap();
    assert_eq!(row["state"], "unverified");
    // Nobody knows where the other one is.
    assert!(rows.iter().all(|row| row["state"] != "bad" && row["id"] != id(0x42).to_string()));
    assert_refused(&mut unmark("4141"), &["no bad address"]);
}
