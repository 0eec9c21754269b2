//! What goes out as `addrbook.json` and comes in.

use super::*;

/// Who takes the file of a seed must not think that nobody in it was ever there: the seed reaches
/// nodes again and again and calls nobody good.
#[test]
fn an_export_has_the_times_of_what_was_reached() {
    let (mut book, mut rng) = (large_book(), rng());
    let [reached, failing, told] = [1, 2, 3].map(node);
    for addr in [reached, failing, told] {
        book.add(addr, node(9), START, &mut rng).unwrap();
    }
    for hour in 0..5 {
        for addr in [reached, failing] {
            book.attempted(&addr, START + hour * HOUR);
            book.authenticated(&addr, &facts(), START + hour * HOUR);
            book.reached(&addr.id(), true);
        }
    }
    let now = START + 5 * HOUR;
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
        (known.attempts, known.last_attempt, known.last_success)
    };
    let last = START + 4 * HOUR;
    assert_eq!(of(reached), (0, Some(last), Some(now)));
    assert_eq!(of(failing), (2, Some(now), Some(last)));
    assert_eq!(of(told), (1, Some(now), None));
}

#[test]
fn an_import_says_what_became_of_each_address() {
    let (mut book, mut rng) = (large_book(), rng());
    let at = |n: u8, ip: [u8; 4], port| NetAddress::new(id(n), ip.into(), port);
    book.add(node(1), node(2), START, &mut rng).unwrap();
    book.add_private([id(3)]);
    book.ban(id(4).into(), None, String::new(), START).unwrap();
    book.mark_bad(id(5), None, HOUR, "x", START);
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
    let report = book.import(file, START, &mut rng);
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
    let report = book.import(file, START, &mut rng);
    assert_eq!((report.added, report.added + report.crowded_out), (book.len(), 3000));
    assert!(report.crowded_out >= 3000 - 32 * 64, "{report}");
    assert!(report.to_string().contains(" without a place"), "{report}");
}
