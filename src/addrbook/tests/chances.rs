//! What the book leaves to chance, and how likely each outcome is. Counted over so many draws that
//! a wrong weight cannot be luck; the seeds are fixed.

use rand::RngExt;

use super::*;

/// A book in which this many are only told and this many proved good, all of different groups.
fn book_of(new: u32, old: u32) -> Book {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0.. {
        if book.num_old() as u32 == old {
            break;
        }
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        make_good(&mut book, node(n), start(), &mut rng);
    }
    for n in 10_000.. {
        if book.num_new() as u32 == new {
            break;
        }
        book.add(node(n), node(n), start(), &mut rng).unwrap();
    }
    assert_eq!((book.num_new(), book.num_old()), (new as usize, old as usize));
    book
}

/// The share of new ones among ten thousand picks.
fn share_of_new(book: &Book, bias: u8) -> f64 {
    let mut rng = rng();
    let is_new = |_: &u32| {
        let known = book.pick(bias, start(), &mut rng, true, |_| true).expect("nobody is banned");
        matches!(known.placement, Placement::New(_))
    };
    f64::from((0..10_000).filter(is_new).count() as u32) / 10_000.0
}

/// Go's `PickAddress`: the roots of how many there are, so that a book full of addresses that
/// somebody made up does not bury the few that proved good.
#[test]
fn a_pick_weighs_new_against_old_by_the_roots_of_their_numbers_and_the_bias() {
    for (new, old) in [(900, 100), (100, 400), (225, 225)] {
        let book = book_of(new, old);
        for bias in [0, 10, 30, 50, 90, 100] {
            let weight_of_new = f64::from(new).sqrt() * f64::from(bias);
            let weight_of_old = f64::from(old).sqrt() * f64::from(100 - bias);
            let expected = weight_of_new / (weight_of_new + weight_of_old);
            let share = share_of_new(&book, bias);
            let what = format!("{new} new, {old} old, bias {bias}: {share}, not {expected}");
            match bias {
                0 | 100 => assert_eq!(share, expected, "{what}"),
                _ => assert!((share - expected).abs() < 0.02, "{what}"),
            }
        }
        assert_eq!(share_of_new(&book, 255), 1.0, "as 100");
    }
}

#[test]
fn a_pick_never_takes_a_new_one_at_bias_0_nor_an_old_one_at_100() {
    let mut rng = rng();
    // Not even if there is nothing else.
    assert_eq!(book_of(50, 0).pick(0, start(), &mut rng, true, |_| true), None);
    assert_eq!(book_of(0, 50).pick(100, start(), &mut rng, true, |_| true), None);
    // Nor if all others are banned, which is found out by looking at them one after the other.
    for (bias, is_new) in [(0, false), (100, true)] {
        let mut book = book_of(50, 50);
        let of_that_kind =
            |known: &&KnownAddress| matches!(known.placement, Placement::New(_)) == is_new;
        let ids: Vec<_> = book.iter().filter(of_that_kind).map(|known| known.addr.id()).collect();
        let (last, others) = ids.split_last().unwrap();
        for id in others {
            book.ban((*id).into(), None, String::new(), start()).unwrap();
        }
        for _ in 0..100 {
            assert_eq!(
                book.pick(bias, start(), &mut rng, true, |_| true).unwrap().addr.id(),
                *last
            );
        }
        book.ban((*last).into(), None, String::new(), start()).unwrap();
        for _ in 0..100 {
            assert_eq!(book.pick(bias, start(), &mut rng, true, |_| true), None);
        }
    }
}

/// How often each was picked.
fn tally(book: &Book, bias: u8, picks: u32) -> BTreeMap<NodeId, u32> {
    let mut rng = rng();
    let mut tally = BTreeMap::new();
    for _ in 0..picks {
        *tally
            .entry(book.pick(bias, start(), &mut rng, true, |_| true).unwrap().addr.id())
            .or_default() += 1;
    }
    tally
}

/// Whoever is behind the first entry of a bucket would get all connections, and the others none.
#[test]
fn a_pick_takes_every_entry_of_a_bucket_as_often() {
    let mut rng = rng();
    // One full bucket: of old ones, and of new ones, which one group has told of another.
    let mut old = large_book();
    for addr in of_one_old_bucket(&old, BUCKET_SIZE) {
        old.add(addr, addr, start(), &mut rng).unwrap();
        make_good(&mut old, addr, start(), &mut rng);
    }
    let mut new = large_book();
    for n in 0..BUCKET_SIZE as u8 {
        let addr = NetAddress::new(id(100 + n), [44, 55, 1, n].into(), 1);
        new.add(addr, node(1), start(), &mut rng).unwrap();
    }
    for (book, bias) in [(&old, 0), (&new, 100)] {
        let buckets = if bias == 0 { &book.table.old } else { &book.table.new };
        assert_eq!((buckets.occupied().len(), book.len()), (1, BUCKET_SIZE));
        let tally = tally(book, bias, 100 * BUCKET_SIZE as u32);
        assert_eq!(tally.len(), BUCKET_SIZE, "each of them");
        // A hundred each; ten is the deviation to be expected.
        assert!(tally.values().all(|picks| (50..=150).contains(picks)), "{tally:?}");
    }
}

#[test]
fn a_pick_takes_every_bucket_as_often_however_little_is_in_it() {
    let (mut book, mut rng) = (large_book(), rng());
    let alone = node(1);
    book.add(alone, alone, start(), &mut rng).unwrap();
    for n in 0..BUCKET_SIZE as u8 {
        let addr = NetAddress::new(id(100 + n), [44, 55, 1, n].into(), 1);
        book.add(addr, node(2), start(), &mut rng).unwrap();
    }
    assert_eq!(book.table.new.occupied().len(), 2);
    let picks = tally(&book, 100, 10_000)[&alone.id()];
    assert!((4800..=5200).contains(&picks), "{picks}");
}

/// Who is told by many is likelier to be picked, but not by as much as somebody cares to tell it.
#[test]
fn a_further_source_is_taken_in_with_a_chance_of_one_in_twice_the_buckets() {
    let (mut book, mut rng) = (large_book(), rng());
    let addr = node(0);
    // Sources that put it in different buckets, and that each bucket is of.
    let mut sources = BTreeMap::new();
    for n in 0.. {
        sources.entry(book.hash.new_bucket(&addr, &node(n))).or_insert(node(n));
        if sources.len() == MAX_NEW_BUCKETS + 1 {
            break;
        }
    }
    let sources: Vec<_> = sources.into_values().collect();
    assert_eq!(book.add(addr, sources[0], start(), &mut rng), Ok(Added::New));
    for buckets in 1..=MAX_NEW_BUCKETS {
        let Placement::New(held) = &book.get(&addr.id()).unwrap().placement else { panic!() };
        assert_eq!(held.len(), buckets);
        let tries = 10_000;
        let mut taken = 0;
        let mut next = None;
        for _ in 0..tries {
            // Nobody who is a source already is one again.
            let mut told = book.clone();
            let known = sources[..buckets].iter();
            for source in known {
                assert_eq!(told.add(addr, *source, start(), &mut rng), Ok(Added::Known));
            }
            match told.add(addr, sources[buckets], start(), &mut rng).unwrap() {
                Added::AnotherBucket => {
                    taken += 1;
                    next = Some(told);
                }
                added => assert_eq!(added, Added::Known),
            }
        }
        let share = f64::from(taken) / f64::from(tries);
        if buckets == MAX_NEW_BUCKETS {
            assert_eq!(taken, 0, "it is in enough");
            break;
        }
        let expected = 1.0 / (2 * buckets) as f64;
        assert!((share - expected).abs() < 0.02, "in {buckets}: {share}, not {expected}");
        book = next.expect("it happened at least once");
    }
    book.table.check();
}

/// The fault: second and third places of those of whom many tell filled the
/// buckets. A book of 16,384 places forgot every tenth of ten thousand nodes, and a seed crawled it anew
/// as soon as somebody told of it again.
#[test]
fn a_book_keeps_as_many_nodes_as_it_has_places_for_however_often_they_are_told() {
    const NODES: u32 = 10_000;
    let (mut book, mut rng) = (large_book(), rng());
    let mut new = 0;
    for _ in 0..2000 {
        let src = node(rng.random_range(0..NODES));
        for _ in 0..250 {
            let told = book.add(node(rng.random_range(0..NODES)), src, start(), &mut rng);
            new += u32::from(told == Ok(Added::New));
        }
    }
    assert_eq!(book.len(), NODES as usize);
    // 40,000 and 9119 kept where places are given away as the reference does.
    assert!(new < NODES * 3 / 2, "booked {new} times");
    book.table.check();
}
