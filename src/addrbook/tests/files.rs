//! What goes out as `addrbook.json` and comes in.

use super::*;

/// Who takes the file of a seed must not think that nobody in it was ever there: the seed reaches
/// nodes again and again and calls nobody good.
#[test]
fn an_export_has_the_times_of_what_was_reached() {
    let (mut book, mut rng) = (large_book(), rng());
    let [reached, failing, told] = [1, 2, 3].map(node);
    for addr in [reached, failing, told] {
        book.add(addr, node(9), start(), &mut rng).unwrap();
    }
    for hour in 0..5 {
        for addr in [reached, failing] {
            book.attempted(&addr, start() + hour * HOUR);
            book.authenticated(&addr, &facts(), start() + hour * HOUR);
            book.reached(&addr.id(), true);
        }
    }
    let now = start() + 5 * HOUR;
    book.seen(&reached.id(), &facts(), now);
    for _ in 0..2 {
        book.attempted(&failing, now);
        book.dial_failed(&failing, now);
    }
    book.attempted(&told, now);
    book.dial_failed(&told, now);
    let file = json::parse(&json::write(&book, now)).unwrap();
    let of = |addr: NetAddress| {
        let known = file.addresses.iter().find(|known| known.addr == addr).unwrap();
        (known.history().attempts, known.history().last_attempt, known.history().last_success)
    };
    let last = start() + 4 * HOUR;
    assert_eq!(of(reached), (0, Some(last), Some(now)));
    assert_eq!(of(failing), (2, Some(now), Some(last)));
    assert_eq!(of(told), (1, Some(now), None));
}

#[test]
fn an_import_says_what_became_of_each_address() {
    let (mut book, mut rng) = (large_book(), rng());
    let at = |n: u8, ip: [u8; 4], port| NetAddress::new(id(n), ip.into(), port);
    book.add(node(1), node(2), start(), &mut rng).unwrap();
    book.add_private([id(3)]);
    book.ban(id(4).into(), None, String::new(), start()).unwrap();
    book.mark_bad(id(5), None, HOUR, "x", start());
    let addresses = [
        node(1),
        node(7),
        node(8),
        NetAddress::new(OWN, [50, 0, 0, 1].into(), 1),
        at(3, [50, 0, 0, 3], 1),
        at(4, [50, 0, 0, 4], 1),
        at(5, [50, 0, 0, 5], 1),
        at(6, [10, 0, 0, 6], 1),
        at(7, [127, 0, 0, 7], 1),
        at(8, [50, 0, 0, 8], 0),
        at(9, [0, 0, 0, 0], 1),
    ];
    let addresses = addresses.map(|addr| KnownAddress::told(addr, addr));
    let file = json::ImportedBook { addresses: addresses.into(), ..Default::default() };
    let report = book.import(file, start(), &mut rng);
    assert_eq!((report.added, report.known, report.crowded_out), (2, 1, 0));
    let expected = [
        (AddError::Own, 1),
        (AddError::Invalid, 1),
        (AddError::NoPort, 1),
        (AddError::NotRoutable, 2),
        (AddError::Private, 1),
        (AddError::Banned, 1),
        (AddError::Bad, 1),
    ];
    assert_eq!(report.refused, expected.into());
    assert_eq!(book.len(), 3);
    let text = report.to_string();
    assert!(text.starts_with("2 added, 1 known, 8 refused (1: "), "{text}");
    assert!(text.contains("; 2: ") && text.contains("addr_book_strict is on; "), "{text}");
    assert_eq!(ImportReport::default().to_string(), "0 added, 0 known, 0 refused");
}

/// One source has 32 buckets of 64.
#[test]
fn who_gives_way_to_others_of_the_file_was_not_added() {
    let (mut book, mut rng) = (large_book(), rng());
    let addresses = (0..3000).map(|n| KnownAddress::told(node(n), node(5000)));
    let file = json::ImportedBook { addresses: addresses.collect(), ..Default::default() };
    let report = book.import(file, start(), &mut rng);
    assert_eq!((report.added, report.added + report.crowded_out), (book.len(), 3000));
    assert!(report.crowded_out >= 3000 - 32 * 64, "{report}");
    assert!(report.to_string().contains(" without a place"), "{report}");
}

/// The fault: anybody's list, which a script puts there every night, was believed like what the node
/// had found itself, and filled all buckets.
#[test]
fn what_a_file_says_of_history_counts_only_where_there_is_none() {
    let addresses = (0..3000).map(|n| {
        // Each from another group: the file has all buckets.
        let src = NetAddress::new(node(n).id(), [n as u8, 9, 9, 9].into(), 1);
        let placement = if n % 2 == 0 { Placement::Old(0) } else { new([0]) };
        let at = Some(start());
        let history = History { last_attempt: at, last_success: at, ..History::default() };
        KnownAddress::new(node(n), src, placement, history)
    });
    let file =
        || json::ImportedBook { addresses: addresses.clone().collect(), ..Default::default() };
    let (mut first, mut rng) = (large_book(), rng());
    let report = first.import(file(), start(), &mut rng);
    assert!(first.num_old() > 500 && report.added > 2048, "{report}: {}", first.num_old());
    assert!(first.get(&node(1).id()).unwrap().history().last_success.is_some());

    let mut other = large_book();
    other.add(node(5000), node(5001), start(), &mut rng).unwrap();
    other.attempted(&node(5000), start());
    other.authenticated(&node(5000), &facts(), start());
    other.mark_good(&node(5000).id(), start(), &mut rng);
    let mut told = file();
    // Where the node has never been.
    let elsewhere = NetAddress::new(node(5000).id(), [50, 50, 50, 50].into(), 1);
    told.addresses.push(KnownAddress::told(elsewhere, elsewhere));
    let report = other.import(told, start(), &mut rng);
    assert_eq!((report.known, report.added + report.crowded_out), (1, 3000));
    assert_eq!(other.num_old(), 1, "what it has found itself");
    assert!(other.num_new() <= 32 * 64, "one source has 32 buckets of 64: {}", other.num_new());
    let met = |known: &&KnownAddress| known.met().is_some() || known.history().attempts > 0;
    assert_eq!(other.iter().filter(met).count(), 1);
    let known = other.get(&node(5000).id()).unwrap();
    assert_eq!((known.addr, known.history().probation), (node(5000), Some(elsewhere)));
}

/// Whoever starts once without `addr_book_strict = false`, on a private network, has not lost his book.
#[test]
fn what_a_strict_book_does_not_take_stays_in_the_store() {
    let loose = BookSettings { is_strict: false, limits: BookLimits::default(), ..SETTINGS };
    let strict = BookSettings { is_strict: true, ..loose };
    let (mut book, mut rng) = (Book::new(loose, key()), rng());
    let private = |n: u8| NetAddress::new(id(n), [10, 0, 0, n].into(), 26656);
    for n in 1..5 {
        book.add(private(n), private(9), start(), &mut rng).unwrap();
    }
    book.add(node(1), private(9), start(), &mut rng).unwrap();
    make_good(&mut book, private(1), start(), &mut rng);
    let mut store = MemoryStore::new();
    store.write(&book.take_batch().unwrap()).unwrap();

    let mut load = |store: &mut MemoryStore, settings| {
        let mut book = Book::load(settings, key(), store.stored(), start() + HOUR, &mut rng);
        let batch = book.take_batch();
        batch.into_iter().for_each(|batch| store.write(&batch).unwrap());
        book
    };
    let by_mistake = load(&mut store, strict);
    assert_eq!((by_mistake.iter().count(), by_mistake.left_out()), (1, 4));
    let book = load(&mut store, loose);
    assert_eq!((book.iter().count(), book.left_out(), book.num_old()), (5, 0, 1));
}
