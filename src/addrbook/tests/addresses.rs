//! What happens to addresses; named after what went wrong elsewhere.

use super::{super::json, *};

#[test]
fn ip_overwrite_of_good_peers() {
    let (mut book, mut rng) = (large_book(), rng());
    let good = node(1);
    let stranger = node(2);
    assert_eq!(book.add(good, good, start(), &mut rng), Ok(Added::New));
    make_good(&mut book, good, start(), &mut rng);
    for n in 0..100 {
        let elsewhere = NetAddress::new(good.id(), [90, 1, 1, n].into(), 1);
        let added = book.add(elsewhere, stranger, start(), &mut rng);
        assert_eq!(added, Ok(if n == 0 { Added::Probation } else { Added::Known }));
    }
    let known = book.get(&good.id()).unwrap();
    let told = NetAddress::new(good.id(), [90, 1, 1, 0].into(), 1);
    assert_eq!((known.addr, known.history().probation), (good, Some(told)));
    assert!(book.is_good(&good.id()));
    // Not passed on, and forgotten as soon as nobody is there.
    assert_eq!(book.selection(start(), &mut rng), [good]);
    assert_eq!(book.dial_failed(&told, start()), 0);
    assert_eq!(book.get(&good.id()).unwrap().history().probation, None);
    // Whoever else is found there, the good one stays where it is.
    assert_eq!(book.add(told, stranger, start(), &mut rng), Ok(Added::Probation));
    book.wrong_id(&told, start());
    assert_eq!(book.get(&good.id()).unwrap().history().probation, None);
    assert_eq!(book.get(&good.id()).unwrap().addr, good);
    // A node that did move is found.
    assert_eq!(book.add(told, stranger, start(), &mut rng), Ok(Added::Probation));
    book.authenticated(&told, &facts(), start());
    assert_eq!(book.get(&good.id()).unwrap().addr, told);
    assert!(book.is_good(&good.id()));
    book.table.check();
}

/// The fault: a thousand sessions of a moment, each of another node that had dialed us and said where
/// it is, and nobody was asked for addresses for a month.
#[test]
fn who_only_says_where_it_is_was_not_met() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..1200 {
        let addr = node(n);
        book.add(addr, addr, start(), &mut rng).unwrap();
        book.seen(&addr.id(), &facts(), start());
    }
    assert!(book.needs_more(start()));
    for n in 0..1200 {
        book.authenticated(&node(n), &facts(), start());
    }
    assert!(!book.needs_more(start()));
}

#[test]
fn good_peer_lost_when_demoted_from_a_full_old_bucket() {
    let (mut book, mut rng) = (large_book(), rng());
    let nodes = of_one_old_bucket(&book, BUCKET_SIZE + 1);
    let (rival, holders) = nodes.split_last().unwrap();
    for (n, addr) in holders.iter().enumerate() {
        book.add(*addr, *addr, start(), &mut rng).unwrap();
        make_good(&mut book, *addr, start() + Duration::from_secs(n as u64), &mut rng);
    }
    book.add(*rival, *rival, start(), &mut rng).unwrap();
    assert_eq!((book.num_old(), book.num_new()), (BUCKET_SIZE, 1));
    // Nobody is displaced by one whose address nobody has verified.
    book.mark_good(&rival.id(), start() + HOUR, &mut rng);
    assert_eq!((book.num_old(), book.next_test(start() + HOUR)), (BUCKET_SIZE, None));

    // The one that was good longest ago is dialed before it gives way.
    make_good(&mut book, *rival, start() + HOUR, &mut rng);
    assert!(!book.is_good(&rival.id()));
    assert_eq!(book.next_test(start() + HOUR), Some(holders[0]));
    assert_eq!(book.next_test(start() + HOUR), None);
    // Found: it stays.
    book.authenticated(&holders[0], &facts(), start() + HOUR);
    assert!(book.is_good(&holders[0].id()) && !book.is_good(&rival.id()));
    make_good(&mut book, *rival, start() + HOUR, &mut rng);
    // Connected: it stays, however long nothing is said of a dial.
    let mut other = book.clone();
    other.keep_places(|id| *id == holders[0].id());
    assert_eq!(other.next_test(start() + 2 * HOUR), None);
    assert!(other.is_good(&holders[0].id()) && !other.is_good(&rival.id()));
    // Not found: it is new again.
    assert_eq!(book.next_test(start() + HOUR), Some(holders[0]));
    book.dial_failed(&holders[0], start() + HOUR);
    assert!(!book.is_good(&holders[0].id()) && book.is_good(&rival.id()));
    assert_eq!((book.num_old(), book.num_new(), book.len()), (BUCKET_SIZE, 1, BUCKET_SIZE + 1));
    // Nobody said anything for 40 minutes: as if it had not been found.
    make_good(&mut book, holders[0], start() + HOUR, &mut rng);
    let test = book.next_test(start() + HOUR).unwrap();
    assert_eq!(test, holders[1]);
    let later = start() + HOUR + Duration::from_secs(599);
    assert_eq!(book.next_test(later), None);
    assert_eq!(book.next_test(later + Duration::from_secs(1)), Some(test));
    assert_eq!(book.next_test(start() + HOUR + Duration::from_secs(40 * 60)), None);
    assert!(book.is_good(&holders[0].id()) && !book.is_good(&test.id()));
    assert_eq!(book.len(), BUCKET_SIZE + 1);
    book.table.check();
}

#[test]
fn good_peer_lost_when_its_ban_ends() {
    let (mut book, mut rng) = (large_book(), rng());
    let good = node(1);
    book.add(good, good, start(), &mut rng).unwrap();
    make_good(&mut book, good, start(), &mut rng);
    // Banned: it keeps its place, and nobody is told of it.
    book.ban(good.id().into(), Some(HOUR), String::new(), start()).unwrap();
    assert!(book.pick(50, start(), &mut rng, true, |_| true).is_none());
    assert!(book.selection(start(), &mut rng).is_empty());
    assert_eq!(book.add(good, good, start(), &mut rng), Err(AddError::Banned));
    book.expire(start() + HOUR, &mut rng);
    assert_eq!((book.num_new(), book.num_old()), (1, 0));
    assert_eq!(book.selection(start() + HOUR, &mut rng), [good]);
    // Bad: in no bucket, and new again afterwards although it had been old.
    make_good(&mut book, good, start() + HOUR, &mut rng);
    assert!(book.mark_bad(good.id(), None, HOUR, "no answer", start() + HOUR));
    assert_eq!((book.len(), book.num_bad()), (0, 1));
    assert_eq!(book.get(&good.id()).unwrap().placement, Placement::Bad);
    assert_eq!(book.add(good, good, start() + HOUR, &mut rng), Err(AddError::Bad));
    assert_eq!(book.bad_addresses().next().unwrap().addr, Some(good));
    book.table.check();
    // Its time is over: it stays bad, and nobody is told of it, until somebody wants it.
    book.expire(start() + 2 * HOUR, &mut rng);
    assert_eq!((book.len(), book.num_bad()), (0, 1));
    assert!(book.selection(start() + 2 * HOUR, &mut rng).is_empty());
    assert_eq!(book.next_deadline(Now { mono: Mono::ZERO, wall: start() }), None);
    assert!(book.reinstate_due(start() + 2 * HOUR - Duration::from_secs(1), &mut rng).is_empty());
    assert_eq!(book.reinstate_due(start() + 2 * HOUR, &mut rng).len(), 1);
    assert_eq!((book.num_new(), book.num_old(), book.num_bad()), (1, 0, 0));
    assert_eq!(book.get(&good.id()).unwrap().history().last_bad, Some(start() + HOUR));
    book.table.check();
}

/// A reactor may know a peer whose address nobody has told.
#[test]
fn what_was_marked_bad_before_it_was_booked_is_booked_once_it_is_bad_no_more() {
    let (mut book, mut rng) = (large_book(), rng());
    for (n, is_lifted) in [(1, true), (2, false)] {
        let addr = node(n);
        assert!(book.mark_bad(addr.id(), Some(addr), HOUR, "a wrong block", start()));
        assert_eq!(book.add(addr, addr, start(), &mut rng), Err(AddError::Bad));
        assert!(book.get(&addr.id()).is_none());
        if is_lifted {
            assert!(book.mark_good(&addr.id(), start(), &mut rng));
            assert!(book.is_good(&addr.id()));
        } else {
            book.reinstate_due(start() + HOUR, &mut rng);
        }
        assert_eq!(book.get(&addr.id()).unwrap().addr, addr);
    }
    // Nobody is booked who may not be.
    let own = NetAddress::new(OWN, [90, 1, 1, 1].into(), 1);
    assert!(!book.mark_bad(own.id(), Some(own), HOUR, "x", start()));
    let inside = NetAddress::new(node(3).id(), [10, 0, 0, 1].into(), 1);
    book.mark_bad(inside.id(), Some(inside), HOUR, "x", start());
    book.mark_good(&inside.id(), start(), &mut rng);
    assert!(book.get(&inside.id()).is_none());
}

/// Somebody else is there: being bad for a while does not make the address right.
#[test]
fn a_wrong_address_does_not_come_back_when_its_node_is_bad_no_more() {
    let (mut book, mut rng) = (large_book(), rng());
    let addr = node(1);
    book.add(addr, addr, start(), &mut rng).unwrap();
    book.mark_bad(addr.id(), None, HOUR, "x", start());
    book.wrong_id(&addr, start());
    assert_eq!(book.bad_address(&addr.id()).unwrap().addr, None);
    book.reinstate_due(start() + HOUR, &mut rng);
    assert_eq!(book.get(&addr.id()), None);
}

#[test]
fn failures_decay_while_an_address_is_left_alone() {
    let (mut book, mut rng) = (large_book(), rng());
    let addr = node(1);
    book.add(addr, addr, start(), &mut rng).unwrap();
    for _ in 0..9 {
        book.attempted(&addr, start());
        book.dial_failed(&addr, start());
    }
    let failures = |book: &Book| book.get(&addr.id()).unwrap().history().dial_failures;
    let day = 24 * HOUR;
    book.attempted(&addr, start() + day - Duration::from_secs(1));
    assert_eq!(failures(&book), 9);
    book.attempted(&addr, start() + 2 * day);
    assert_eq!(failures(&book), 4);
    assert_eq!(book.dial_failed(&addr, start() + 2 * day), 5);
    // A clock that was set back forgives nothing.
    book.attempted(&addr, start());
    assert_eq!(failures(&book), 5);
    book.attempted(&addr, start() + 1000 * day);
    assert_eq!(failures(&book), 0);
}

#[test]
fn re_banned_without_a_dial_after_a_ban() {
    let (mut book, mut rng) = (large_book(), rng());
    let addr = node(1);
    book.add(addr, addr, start(), &mut rng).unwrap();
    for failures in 1..=17 {
        book.attempted(&addr, start());
        assert_eq!(book.dial_failed(&addr, start()), failures);
    }
    book.mark_bad(addr.id(), None, HOUR, "no answer", start());
    book.reinstate_due(start() + HOUR, &mut rng);
    let known = book.get(&addr.id()).unwrap();
    assert_eq!((known.history().attempts, known.history().dial_failures), (0, 0));
    assert_eq!(book.pick(100, start() + HOUR, &mut rng, true, |_| true).unwrap().addr, addr);
    assert_eq!(book.dial_failed(&addr, start() + HOUR), 1);
    // The same after bans, whether they end or are lifted.
    for is_lifted in [true, false] {
        book.dial_failed(&addr, start());
        book.ban(addr.id().into(), Some(HOUR), String::new(), start()).unwrap();
        if is_lifted {
            book.unban(addr.id().into()).unwrap();
        } else {
            book.expire(start() + HOUR, &mut rng);
        }
        assert_eq!(book.get(&addr.id()).unwrap().history().dial_failures, 0);
    }
}

#[test]
fn private_ids_already_in_the_book_are_gossiped() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..200 {
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        if n % 2 == 0 {
            make_good(&mut book, node(n), start(), &mut rng);
        }
    }
    let private: Vec<_> = (0..100).map(|n| node(n).id()).collect();
    book.add_private(private.clone());
    assert_eq!(book.add(node(300), node(5), start(), &mut rng), Err(AddError::PrivateSource));
    assert_eq!(book.add(node(5), node(300), start(), &mut rng), Err(AddError::Private));
    let mut handed_out = Vec::new();
    for bias in [0, 30, 100] {
        for _ in 0..50 {
            handed_out.extend(book.selection(start(), &mut rng));
            handed_out.extend(book.selection_with_bias(bias, start(), &mut rng));
            handed_out.extend(book.verified_selection(bias, start(), &mut rng));
            handed_out
                .extend(book.pick(bias, start(), &mut rng, true, |_| true).map(|known| known.addr));
        }
    }
    assert!(handed_out.len() > 1000);
    assert!(handed_out.iter().all(|addr| !private.contains(&addr.id())));
    let file = String::from_utf8(json::write(&book, start())).unwrap();
    for n in 0..200 {
        assert_eq!(file.contains(&node(n).id().to_string()), n >= 100, "{n}");
    }
}

/// Who takes the file would dial them, or think that we had.
#[test]
fn nothing_banned_or_bad_is_exported() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..6 {
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        if n % 2 == 0 {
            make_good(&mut book, node(n), start(), &mut rng);
        }
    }
    book.ban(node(0).id().into(), Some(HOUR), String::new(), start()).unwrap();
    book.ban(node(1).ip().into(), None, String::new(), start()).unwrap();
    book.mark_bad(node(2).id(), None, HOUR, "no answer", start());
    book.mark_bad(node(3).id(), None, HOUR, "no answer", start());
    let exported = |book: &Book, wall| {
        let file = json::parse(&json::write(book, wall)).unwrap();
        file.addresses.into_iter().map(|known| known.addr).collect::<BTreeSet<_>>()
    };
    assert_eq!(exported(&book, start()), [4, 5].map(node).into());
    // A ban that is over counts no more; what is bad stays so until somebody wants it.
    assert_eq!(exported(&book, start() + HOUR), [0, 4, 5].map(node).into());
    book.reinstate_due(start() + HOUR, &mut rng);
    assert_eq!(exported(&book, start() + HOUR), [0, 2, 3, 4, 5].map(node).into());
}

/// The one who told an address stands in the file, too.
#[test]
fn a_private_node_is_not_exported_as_the_source_of_others() {
    let (mut book, mut rng) = (large_book(), rng());
    let (teller, told) = (node(1), node(2));
    book.add(told, teller, start(), &mut rng).unwrap();
    // It told before somebody said that it is private.
    book.add_private([teller.id()]);
    let bytes = json::write(&book, start());
    let imported = json::parse(&bytes).unwrap();
    assert_eq!((imported.addresses[0].addr, imported.addresses[0].src), (told, told));
    let file = String::from_utf8(bytes).unwrap();
    assert!(!file.contains(&teller.id().to_string()), "{file}");
    assert!(!file.contains(&teller.ip().to_string()), "{file}");
    book.remove_private(&[teller.id()]);
    assert_eq!(json::parse(&json::write(&book, start())).unwrap().addresses[0].src, teller);
}

#[test]
fn bucket_hash_key_forgotten_at_restart() {
    let (mut book, mut rng) = (large_book(), rng());
    let mut store = MemoryStore::new();
    for n in 0..500 {
        book.add(node(n), node(n / 9), start(), &mut rng).unwrap();
        let _ = book.add(node(n), node(n + 1), start(), &mut rng);
        if n % 3 == 0 {
            make_good(&mut book, node(n), start(), &mut rng);
        }
    }
    book.mark_bad(node(7).id(), None, HOUR, "x", start());
    book.set_anchors(vec![node(3)]);
    let batch = StoreBatch { key: Some(book.key().clone()), ..book.take_batch().unwrap() };
    store.write(&batch).unwrap();
    let another = BookKey::random(&mut StdRng::seed_from_u64(99));
    let stored = store.load().unwrap();
    let mut again = Book::load(book.settings, another.clone(), stored, start(), &mut rng);
    assert_eq!(again.take_batch(), None);
    assert_eq!(again.key(), book.key());
    assert!(again.iter().eq(book.iter()));
    assert_eq!(again.anchors(), [node(3)]);
    again.table.check();
    // Another address goes where it would have gone.
    for book in [&mut book, &mut again] {
        book.add(node(999), node(4), start(), &mut rng).unwrap();
    }
    assert_eq!(again.get(&node(999).id()), book.get(&node(999).id()));
    // A book without a key takes the fresh one, and stores it.
    let mut fresh =
        Book::load(book.settings, another.clone(), StoredBook::default(), start(), &mut rng);
    assert_eq!(fresh.take_batch().unwrap().key, Some(another));
}

#[test]
fn an_empty_bucket_list_loops_forever() {
    let mut rng = rng();
    let known = KnownAddress::told(node(1), node(2));
    let stored = StoredBook { addresses: vec![known.clone()], ..StoredBook::default() };
    let mut book = Book::load(large_book().settings, key(), stored, start(), &mut rng);
    assert_eq!(book.pick(100, start(), &mut rng, true, |_| true).unwrap().addr, node(1));
    assert!(book.take_batch().unwrap().addresses[&node(1).id()].is_some());
    let imported = json::ImportedBook { addresses: vec![known], ..Default::default() };
    let mut book = large_book();
    assert_eq!(book.import(imported, start(), &mut rng).added, 1);
    assert_eq!(book.pick(100, start(), &mut rng, true, |_| true).unwrap().addr, node(1));
    // Nothing to hand out at all.
    book.ban(node(1).id().into(), None, String::new(), start()).unwrap();
    assert!(
        book.pick(50, start(), &mut rng, true, |_| true).is_none()
            && book.selection(start(), &mut rng).is_empty()
    );
    assert!(large_book().pick(50, start(), &mut rng, true, |_| true).is_none());
}

#[test]
fn without_a_store_no_change_of_an_address_is_kept() {
    let (mut book, mut rng) = (large_book(), rng());
    book.add(node(1), node(2), start(), &mut rng).unwrap();
    book.forget_changes();
    book.add(node(3), node(2), start(), &mut rng).unwrap();
    book.attempted(&node(1), start());
    book.wrong_id(&node(3), start());
    book.ban(id(9).into(), None, String::new(), start()).unwrap();
    let batch = book.take_batch().unwrap();
    assert!(batch.addresses.is_empty() && batch.bans.len() == 1, "{batch:?}");
    assert_eq!(book.take_batch(), None);
    book.table.check();
}

#[test]
fn what_cannot_be_reached_or_is_ourselves_is_not_booked() {
    let (mut book, mut rng) = (large_book(), rng());
    let at = |ip: [u8; 4], port| NetAddress::new(id(9), ip.into(), port);
    book.add_own("[::ffff:50.0.0.1]:7".parse().unwrap());
    for (addr, error) in [
        (NetAddress::new(OWN, [50, 0, 0, 9].into(), 1), AddError::Own),
        (at([50, 0, 0, 1], 7), AddError::Own),
        (at([0, 0, 0, 0], 7), AddError::Invalid),
        (at([10, 0, 0, 1], 7), AddError::NotRoutable),
        (at([50, 0, 0, 1], 0), AddError::NoPort),
    ] {
        assert_eq!(book.add(addr, node(1), start(), &mut rng), Err(error), "{addr}");
    }
    assert_eq!((book.len(), book.take_batch()), (0, None));
    assert_eq!(book.add(at([50, 0, 0, 1], 8), node(1), start(), &mut rng), Ok(Added::New));
    book.add_own("50.0.0.1:8".parse().unwrap());
    assert_eq!(book.get(&id(9)), None);
    assert_eq!(book.take_batch().unwrap().addresses[&id(9)], None);
    let settings = BookSettings { is_strict: false, ..book.settings };
    let mut loose = Book::new(settings, key());
    assert_eq!(loose.add(at([10, 0, 0, 1], 7), node(1), start(), &mut rng), Ok(Added::New));
    // A book that has become strict does without what it should not have, and the store keeps it.
    let mut store = MemoryStore::new();
    store.write(&loose.take_batch().unwrap()).unwrap();
    let mut strict = Book::load(book.settings, key(), store.stored(), start(), &mut rng);
    assert_eq!((strict.get(&id(9)), strict.left_out()), (None, 1));
    assert_eq!(strict.take_batch(), None);
}

#[test]
fn what_is_wrong_in_a_store_is_put_right() {
    let (book, mut rng) = (large_book(), rng());
    let mut addresses = Vec::new();
    let mut place = |n: u32, placement| {
        addresses.push(KnownAddress::new(node(n), node(n), placement, History::default()));
    };
    // One more than a bucket holds, as the reference writes it (the first is old too); one that does
    // not exist; bad without being bad.
    (0..BUCKET_SIZE as u32 + 2).for_each(|n| place(n, new([9])));
    place(100, new([1, 2, 3, 3, 4, 5]));
    place(101, Placement::Old(200));
    place(102, Placement::Bad);
    place(0, Placement::Old(0));
    addresses[3].history_mut().last_attempt = Some(start() + HOUR);
    let stored = StoredBook { addresses, ..StoredBook::default() };
    let mut book = Book::load(book.settings, key(), stored, start(), &mut rng);
    book.table.check();
    assert_eq!((book.len(), book.num_old()), (BUCKET_SIZE + 4, 2));
    assert_eq!(book.get(&node(100).id()).unwrap().placement, new([1, 2, 3, 4]));
    assert_eq!(book.get(&node(3).id()).unwrap().history().last_attempt, Some(start()));
    let batch = book.take_batch().unwrap();
    let changed: Vec<_> = [0, 3, 101, 102].map(|n| node(n).id()).into();
    assert!(changed.iter().all(|id| batch.addresses.contains_key(id)), "{batch:?}");
    // And the one for which there was no room.
    assert_eq!(batch.addresses.len(), changed.len() + 1);
}

#[test]
fn a_seed_serves_what_it_verified_and_what_answers_still() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..300 {
        book.add(node(n), node(n), start(), &mut rng).unwrap();
    }
    for n in 0..20 {
        book.authenticated(&node(n), &facts(), start() + Duration::from_secs(n.into()));
    }
    book.dial_failed(&node(19), start());
    // The tenth was found there six hours ago.
    let wall = start() + Duration::from_secs(10) + 6 * HOUR;
    let mut served = book.verified_selection(30, wall, &mut rng);
    served.sort();
    assert_eq!(served, (10..19).map(node).collect::<Vec<_>>());
    let is_served = |known: &&KnownAddress| known.is_served(wall);
    assert_eq!(book.iter().filter(is_served).map(|k| k.addr).collect::<Vec<_>>(), served);
    let known = book.get(&node(5).id()).unwrap();
    assert_eq!(
        (&known.history().moniker[..], known.history().last_seen),
        ("m", known.history().verified)
    );
}

#[test]
fn a_selection_is_a_quarter_and_has_the_new_ones_that_were_asked_for() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..3000 {
        let size = book.len();
        let expected = (size * 23 / 100).max(size.min(32)).min(250);
        if n % 97 == 0 {
            for addresses in [
                book.selection(start(), &mut rng),
                book.selection_with_bias(30, start(), &mut rng),
                book.selection_with_bias(100, start(), &mut rng),
            ] {
                let different: BTreeSet<_> = addresses.iter().collect();
                assert_eq!((addresses.len(), different.len()), (expected, expected));
            }
        }
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        if n % 3 == 0 {
            make_good(&mut book, node(n), start(), &mut rng);
        }
    }
    let count_new = |addresses: Vec<NetAddress>| {
        addresses.iter().filter(|addr| !book.is_good(&addr.id())).count()
    };
    assert_eq!(count_new(book.selection_with_bias(30, start(), &mut rng)), 75);
    assert_eq!(count_new(book.selection_with_bias(100, start(), &mut rng)), 250);
    assert_eq!(count_new(book.selection_with_bias(0, start(), &mut rng)), 0);
    assert_eq!(book.selection_with_bias(255, start(), &mut rng).len(), 250);
}
