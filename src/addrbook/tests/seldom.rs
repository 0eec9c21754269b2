//! What happens to few books, and rarely.

use super::{super::json::ImportedBook, *};

#[test]
fn where_we_met_ourselves_is_remembered_of_the_last_sixteen_addresses() {
    let (mut book, mut rng) = (large_book(), rng());
    let met: Vec<_> = (0..17).map(node).collect();
    for addr in &met {
        book.meet_own(addr.socket_addr());
        // Once more: it is one of them already.
        book.meet_own(addr.socket_addr());
    }
    let mut add = |addr: NetAddress| book.add(addr, node(99), start(), &mut rng);
    assert_eq!(add(met[0]), Ok(Added::New), "that is the seventeenth");
    assert!(met[1..].iter().all(|addr| add(*addr) == Err(AddError::Own)));
}

#[test]
fn a_node_that_is_imported_twice_is_added_once() {
    let (mut book, mut rng) = (large_book(), rng());
    let (first, elsewhere) = (node(1), NetAddress::new(node(1).id(), [90, 1, 1, 1].into(), 1));
    let addresses = [first, elsewhere].map(|addr| KnownAddress::told(addr, node(2))).to_vec();
    let imported = ImportedBook { addresses, ..Default::default() };
    let report = book.import(imported, start(), &mut rng);
    assert_eq!((report.added, report.known, report.num_refused()), (1, 1, 0));
    assert_eq!(book.get(&first.id()).unwrap().addr, first);
    book.table.check();
}

/// A store may have been written by another node, or by hand.
#[test]
fn what_can_be_nobodys_address_is_not_loaded() {
    let own = NetAddress::new(OWN, [50, 1, 1, 1].into(), 1);
    let no_port = NetAddress::new(node(1).id(), node(1).ip(), 0);
    let private = NetAddress::new(node(2).id(), ip(1), 1);
    let told = |addr| KnownAddress::told(addr, node(9));
    let addresses = [own, no_port, private, node(3)].map(told).to_vec();
    let stored = StoredBook { key: Some(key()), addresses, ..Default::default() };
    let book = Book::load(SETTINGS, key(), stored, start(), &mut rng());
    assert_eq!(book.iter().map(|known| known.addr).collect::<Vec<_>>(), [node(3)]);
    assert_eq!(book.left_out(), 1, "the private one, of which a strict book tells the operator");
    book.table.check();
}

/// As after an import, or with another key: its bucket is another one than it was.
#[test]
fn a_good_address_for_which_there_is_no_place_any_more_is_loaded_as_a_new_one() {
    let nodes = of_one_old_bucket(&large_book(), BUCKET_SIZE + 1);
    let old =
        |addr: &NetAddress| KnownAddress::new(*addr, *addr, Placement::Old(0), History::default());
    let addresses = nodes.iter().map(old).collect();
    let stored = StoredBook { key: Some(key()), addresses, ..Default::default() };
    let settings = BookSettings { limits: BookLimits::default(), ..SETTINGS };
    let book = Book::load(settings, key(), stored, start(), &mut rng());
    assert_eq!((book.num_old(), book.num_new()), (BUCKET_SIZE, 1));
    book.table.check();
}

/// A bad node whose other address was told before it was bad.
fn bad_with_another_address() -> (Book, NetAddress, NetAddress) {
    let (mut book, mut rng) = (large_book(), rng());
    let bad = node(1);
    let other = NetAddress::new(bad.id(), [90, 1, 1, 1].into(), 1);
    for addr in [bad, other] {
        book.add(addr, node(2), start(), &mut rng).unwrap();
    }
    assert!(book.mark_bad(bad.id(), Some(bad), HOUR, "no answer", start()));
    (book, bad, other)
}

#[test]
fn who_is_bad_stays_bad_when_its_address_was_somebody_elses() {
    let (mut book, bad, other) = bad_with_another_address();
    book.wrong_id(&bad, start());
    let known = book.get(&bad.id()).unwrap();
    assert_eq!((known.addr, known.history().probation), (other, None));
    assert_eq!(known.placement, Placement::Bad);
    assert_eq!(book.bad_addresses().next().unwrap().addr, Some(other));
    assert_eq!((book.num_bad(), book.num_new()), (1, 0));
    book.table.check();
}

#[test]
fn who_is_bad_stays_bad_when_it_is_found_elsewhere() {
    let (mut book, bad, other) = bad_with_another_address();
    book.authenticated(&other, &facts(), start());
    let known = book.get(&bad.id()).unwrap();
    assert_eq!((known.addr, known.history().probation), (other, None));
    assert_eq!((book.num_bad(), book.num_new(), book.num_old()), (1, 0, 0));
    book.table.check();
}

/// A large book is not looked through for each dial.
#[test]
fn who_may_not_walk_through_the_book_finds_only_what_chance_gives() {
    let (mut book, mut rng) = (large_book(), rng());
    (0..5000).for_each(|n| _ = book.add(node(n), node(n), start(), &mut rng));
    let last = book.iter().last().unwrap().addr;
    let is_last = |known: &KnownAddress| known.addr == last;
    let found = book.pick(50, start(), &mut rng, false, is_last);
    assert!(found.is_none(), "one of {} was drawn", book.len());
    let found = book.pick(50, start(), &mut rng, true, is_last);
    assert_eq!(found.map(|known| known.addr), Some(last));
}

/// Who knows it can fill the buckets of his choice.
#[test]
fn the_key_of_a_book_is_not_in_what_is_shown_of_it() {
    assert_eq!(format!("{:?}", key()), "BookKey(…)");
}
