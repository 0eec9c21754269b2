//! `addrbook/`: books that Go saved, and files that somebody broke.

#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tmp2p::{
    BookKey, KnownAddress, NetAddress, Placement,
    internals::addrbook::{
        Book, BookLimits, BookSettings,
        json::{self, ImportError, ImportedBook},
    },
};

use super::{cases, deviations, load, text};

/// The books, which Go loads and so must we, entry by entry.
#[test]
fn vectors_addrbook() {
    let mut files = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".json").filter(|stem| !stem.ends_with(".facts")) else {
            continue;
        };
        let facts = load(&format!("addrbook/{stem}.facts.json"));
        if !path.is_file() || facts.get("files").is_some() {
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        let book = json::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(book.key, text(&facts, "key"), "{name}");
        check_entries(&name, &book, facts["addrs"].as_array().unwrap());

        let now = time(&facts["reference_time"]).unwrap();
        for fact in facts["addrs"].as_array().unwrap() {
            let known = find(&book, fact);
            let is_good = matches!(known.placement, Placement::Old(_));
            assert_eq!(is_good, fact["is_good"], "{name}: {fact}");
            assert_eq!(known.is_hopeless(now), fact["is_bad"], "{name}: {fact}");
        }
        check_import(&name, book, &facts, now);
    }
    assert!(files > 0);
}

/// Broken files: never worse than Go, and what Go would stumble over later is an error.
#[test]
fn vectors_addrbook_malformed() {
    let facts = load("addrbook/malformed.facts.json");
    let mut verdicts = Vec::new();
    for case in cases(&facts, "files") {
        let name = text(case, "file");
        let bytes = fs::read(folder().join("malformed").join(name)).unwrap();
        let file = String::from_utf8_lossy(&bytes).into_owned();
        let mut case = case.clone();
        case["text"] = file.into();
        let rule = deviations::IMPORT.iter().find(|(rule, _)| rule.decides(&case));
        let loads = match rule {
            Some((_, loads)) => *loads,
            None => text(&case, "outcome") == "loads",
        };
        let result = json::parse(&bytes);
        assert_eq!(result.is_ok(), loads, "{name}: {result:?}");
        match &result {
            Ok(book) if rule.is_none() => {
                check_entries(name, book, case["addrs"].as_array().unwrap());
            }
            Ok(_) => {}
            Err(ImportError::Malformed { line, reason, .. }) => {
                assert!(*line <= bytes.split(|byte| *byte == b'\n').count(), "{name}: {line}");
                assert!(!reason.is_empty() && reason.is_ascii(), "{name}: {reason:?}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
        if let Ok(book) = result {
            // However odd, it can be worked with.
            let mut rng = StdRng::seed_from_u64(1);
            let mut ours = empty(false);
            let (now, count) =
                (SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000), book.addresses.len());
            let report = ours.import(book, now, &mut rng);
            assert_eq!(
                report.added + report.known + report.num_refused() + report.crowded_out,
                count,
                "{name}"
            );
            assert_eq!(
                ours.pick(50, now, &mut rng, true, |_| true).is_none(),
                ours.is_empty(),
                "{name}"
            );
            json::parse(&json::write(&ours, now)).unwrap();
        }
        verdicts.push(case);
    }
    for (rule, _) in &deviations::IMPORT {
        rule.must_decide_one_of(&verdicts);
    }
}

/// What Go wrote goes into a book and comes out again as Go would write it.
fn check_import(name: &str, book: ImportedBook, facts: &Value, now: SystemTime) {
    let mut rng = StdRng::seed_from_u64(1);
    let is_strict = facts["strict"] == true;
    let mut ours = empty(is_strict);
    let report = ours.import(book.clone(), now, &mut rng);
    // Ranges that are nobody's are routable to Go.
    let fit = book.addresses.iter().filter(|known| !is_strict || known.addr.is_routable());
    let is_old = |known: &&KnownAddress| matches!(known.placement, Placement::Old(_));
    let (count, old) = (fit.clone().count(), fit.filter(is_old).count());
    // Go's fullest bucket holds one more than ours.
    let is_over = facts["fullest_bucket"].as_u64().unwrap() > 64;
    let over = usize::from(is_over);
    assert_eq!((report.added, report.crowded_out, report.known), (count - over, over, 0), "{name}");
    assert_eq!(report.num_refused(), book.addresses.len() - count, "{name}");
    assert_eq!((ours.len(), ours.num_old()), (count - over, old), "{name}");
    let again = ours.clone().import(book.clone(), now, &mut rng);
    assert_eq!(again.known < count, is_over, "{name}: again");
    let written = json::write(&ours, now);
    let again = json::parse(&written).unwrap();
    assert_eq!(again.addresses.len(), ours.len());
    for known in &again.addresses {
        let Ok(at) = book.addresses.binary_search_by_key(&known.addr.id(), |k| k.addr.id()) else {
            panic!("{name}: {known:?} is new");
        };
        let mut before = book.addresses[at].clone();
        before.placement = known.placement;
        assert_eq!(*known, before, "{name}");
    }
    // The same fields in the same order, and tabs.
    let shape = |bytes: &[u8]| -> Vec<String> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines = text.lines().map(|line| line.split(": ").next().unwrap().to_owned());
        let is_bucket = |line: &String| line.trim_end_matches(',').trim().parse::<u8>().is_ok();
        lines.filter(|line| !is_bucket(line)).collect()
    };
    let go = fs::read(folder().join(name)).unwrap();
    if ours.len() == book.addresses.len() {
        assert_eq!(shape(&written), shape(&go), "{name}");
    }
}

fn empty(is_strict: bool) -> Book {
    let own = "0000000000000000000000000000000000000000".parse().unwrap();
    let settings = BookSettings { own, is_strict, limits: BookLimits::default() };
    Book::new(settings, BookKey::random(&mut StdRng::seed_from_u64(7)))
}

fn check_entries(name: &str, book: &ImportedBook, facts: &[Value]) {
    let ids: BTreeMap<_, _> = book.addresses.iter().map(|known| (known.addr.id(), ())).collect();
    assert_eq!(ids.len(), facts.len(), "{name}");
    for fact in facts {
        let known = find(book, fact);
        assert_eq!(known.addr, address(&fact["addr"]).unwrap(), "{name}");
        assert_eq!(known.src, address(&fact["src"]).unwrap_or(known.addr), "{name}");
        let buckets: Vec<u64> = match &known.placement {
            Placement::New(buckets) => buckets.iter().map(|bucket| u64::from(*bucket)).collect(),
            Placement::Old(bucket) => vec![u64::from(*bucket)],
            Placement::Bad => panic!("{name}: bad in a file"),
        };
        let mut expected: Vec<_> =
            fact["buckets"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
        expected.dedup();
        expected.truncate(if fact["bucket_type"] == 2 { 1 } else { 4 });
        assert_eq!(buckets, expected, "{name}");
        let attempts = fact["attempts"].as_i64().unwrap().max(0);
        assert_eq!(i64::from(known.history().attempts), attempts, "{name}");
        assert_eq!(known.history().last_attempt, time(&fact["last_attempt"]), "{name}");
        assert_eq!(known.history().last_success, time(&fact["last_success"]), "{name}");
        assert_eq!(known.history().last_bad, time(&fact["last_ban_time"]), "{name}");
    }
}

fn find<'a>(book: &'a ImportedBook, fact: &Value) -> &'a KnownAddress {
    let id = text(&fact["addr"], "id").parse().unwrap();
    let known = book.addresses.iter().find(|known| known.addr.id() == id);
    known.unwrap_or_else(|| panic!("no entry of {id}"))
}

fn address(value: &Value) -> Option<NetAddress> {
    let id = value["id"].as_str()?.parse().unwrap();
    let ip: IpAddr = text(value, "ip").parse().unwrap();
    Some(NetAddress::new(id, ip, value["port"].as_u64().unwrap().try_into().unwrap()))
}

fn time(value: &Value) -> Option<SystemTime> {
    let time: Timestamp = value.as_str()?.parse().unwrap();
    Some(time.into())
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/addrbook")
}
