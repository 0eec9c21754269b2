//! A book that is taken up with a clock that is years off.

use super::*;
use crate::ban::BanOrigin;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A book with something of everything, as it is stored.
fn stored() -> StoredBook {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..100 {
        let at = start() - Duration::from_secs(60 * u64::from(n));
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        if n % 2 == 0 {
            make_good(&mut book, node(n), at, &mut rng);
        } else {
            book.attempted(&node(n), at);
        }
    }
    book.mark_bad(node(3).id(), None, HOUR, "no answer", start());
    book.ban(id(1).into(), Some(HOUR), String::new(), start()).unwrap();
    book.ban(id(2).into(), None, String::new(), start()).unwrap();
    book.ban_automatically(id(3), HOUR, "x", start());
    book.ban(ip(4).into(), Some(HOUR), String::new(), start()).unwrap();
    let mut store = MemoryStore::new();
    let batch = StoreBatch { key: Some(book.key().clone()), ..book.take_batch().unwrap() };
    store.write(&batch).unwrap();
    store.load().unwrap()
}

/// How long ago, or how long still, everything in the book is.
fn ages(book: &Book, wall: SystemTime) -> Vec<String> {
    let ago = |time: Option<SystemTime>| {
        time.map(|time| wall.since(time).as_secs() as i128 - time.since(wall).as_secs() as i128)
    };
    let known = book.iter().map(|known| {
        let past = [
            known.history().last_attempt,
            known.history().last_success,
            known.history().last_bad,
            known.history().verified,
            known.history().last_seen,
        ];
        format!("{} {:?} {:?}", known.addr, known.placement, past.map(ago))
    });
    let bans = book.bans().iter().map(|ban| format!("{} {:?}", ban.target, ago(ban.until)));
    let bad = book.bad_addresses().map(|bad| format!("{} {:?}", bad.id, ago(Some(bad.until))));
    known.chain(bans).chain(bad).collect()
}

fn load(stored: &StoredBook, clock: SystemTime) -> (Book, SystemTime) {
    let wall = stored.now(clock, DAY);
    let settings = large_book().settings;
    (Book::load(settings, key(), stored.clone(), wall, &mut rng()), wall)
}

/// A node that nobody could reach knows the time from those who have dialed it.
#[test]
fn a_book_of_guests_alone_tells_what_time_it_is() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..10 {
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        book.seen(&node(n).id(), &facts(), start());
    }
    let stored = StoredBook { addresses: book.iter().cloned().collect(), ..StoredBook::default() };
    assert_eq!(stored.now(EPOCH, DAY), start());
}

#[test]
fn a_book_that_is_taken_up_years_off_is_as_it_was() {
    let stored = stored();
    let (as_it_was, wall) = load(&stored, start());
    let expected = ages(&as_it_was, wall);
    assert_eq!(wall, start());
    for clock in [
        // A machine without a battery.
        EPOCH,
        EPOCH + HOUR,
        start() - 3 * YEAR,
        start() + 2 * YEAR,
        start() + 100 * YEAR,
    ] {
        let (mut book, wall) = load(&stored, clock);
        assert_eq!(ages(&book, wall), expected, "{clock:?}");
        book.table.check();
        // What was moved is stored, and found as it was when the clock is right again.
        let mut store = MemoryStore::new();
        store
            .write(&StoreBatch {
                key: stored.key.clone(),
                addresses: stored
                    .addresses
                    .iter()
                    .map(|k| (k.addr.id(), Some(k.clone())))
                    .collect(),
                bans: stored.bans.iter().map(|ban| (ban.target, Some(ban.clone()))).collect(),
                bad: stored.bad.iter().map(|bad| (bad.id, Some(bad.clone()))).collect(),
                ..StoreBatch::default()
            })
            .unwrap();
        if let Some(batch) = book.take_batch() {
            store.write(&batch).unwrap();
        }
        let (again, wall) = load(&store.load().unwrap(), start());
        assert_eq!(ages(&again, wall), expected, "{clock:?}, and back");
    }
}

/// What a clock may well show is believed: bans end, and those who were found are not new any more.
#[test]
fn a_book_that_is_taken_up_months_later_is_older() {
    let stored = stored();
    let clock = start() + 90 * DAY;
    let (book, wall) = load(&stored, clock);
    assert_eq!(wall, clock);
    assert_eq!(book.bans().len(), 1, "the one for ever");
    assert_eq!(book.get(&node(0).id()).unwrap().history().verified, Some(start()));
}

/// A damaged row, or one of a machine whose clock was wrong for an hour.
#[test]
fn one_record_with_an_absurd_time_moves_nothing() {
    let mut stored = stored();
    let expected = {
        let (book, wall) = load(&stored, start());
        ages(&book, wall)
    };
    stored.addresses[7].history_mut().last_seen = Some(start() + 200 * YEAR);
    let id = stored.addresses[7].addr.id().to_string();
    let (book, wall) = load(&stored, start());
    let others =
        |all: Vec<String>| all.into_iter().filter(|a| !a.contains(&id)).collect::<Vec<_>>();
    assert_eq!(others(ages(&book, wall)), others(expected));
    assert_eq!(stored.now(EPOCH, DAY), start());
}

/// A node that keeps nothing but bans.
#[test]
fn bans_alone_tell_what_time_it_is_about() {
    let stored = StoredBook { bans: stored().bans, ..StoredBook::default() };
    let (book, wall) = load(&stored, EPOCH + Duration::from_secs(60));
    assert_eq!(book.bans().len(), 4);
    assert!(wall <= start() && wall + DAY >= start(), "{wall:?}");
}

/// The wall clock was a year ahead when they were imposed.
#[test]
fn automatic_bans_of_nodes_last_no_longer_than_they_may() {
    let ban = |n, until, origin| Ban {
        target: id(n).into(),
        until: Some(until),
        reason: String::new(),
        origin,
    };
    let bans = vec![
        ban(1, start() + 300 * DAY, BanOrigin::Automatic),
        ban(2, start() + HOUR, BanOrigin::Automatic),
        ban(3, start() + 300 * DAY, BanOrigin::Operator),
    ];
    let stored = StoredBook { bans, ..StoredBook::default() };
    let mut book = Book::load(SETTINGS, key(), stored, start(), &mut rng());
    let until = |book: &Book, n| book.bans().get(&id(n).into()).unwrap().until.unwrap();
    assert_eq!(until(&book, 1), start() + DAY);
    assert_eq!(until(&book, 2), start() + HOUR);
    assert_eq!(until(&book, 3), start() + 300 * DAY);
    let batch = book.take_batch().unwrap();
    assert_eq!(batch.bans.len(), 1, "what was changed is stored");
    let ban = book.ban_automatically(id(4), 300 * DAY, "x", start()).unwrap();
    assert_eq!(ban.until, Some(start() + DAY));
}

/// A store is anybody's code: what it gives may lie at the ends of what a clock can show.
#[test]
fn a_book_of_absurd_times_can_be_worked_with_and_stored() {
    let end = Duration::from_secs(i64::MAX.unsigned_abs());
    let (first, last) = (EPOCH.checked_sub(end), EPOCH.checked_add(end));
    let ends = [first, Some(EPOCH - HOUR), Some(EPOCH), last].into_iter().flatten();
    for (n, time) in ends.flat_map(|time| [(0, time), (1, time), (2, time)]) {
        let mut stored = stored();
        for known in &mut stored.addresses {
            known.history_mut().times_mut().into_iter().for_each(|at| *at = Some(time));
        }
        stored.bans.iter_mut().for_each(|ban| ban.until = Some(time));
        stored.bad.iter_mut().for_each(|bad| bad.until = time);
        let clock = [EPOCH, start(), last.unwrap_or_else(start)][n];
        let (mut book, wall) = load(&stored, clock);
        book.set_all_dirty();
        let batch = serde_json::to_string(&book.take_batch());
        assert!(batch.is_ok(), "{time:?} at {clock:?}: {batch:?}");
        book.ban(id(9).into(), Some(Duration::MAX), String::new(), wall).unwrap();
        book.ban_automatically(id(8), Duration::MAX, "x", wall);
        book.mark_bad(node(2).id(), None, Duration::MAX, "x", wall);
        book.attempted(&node(4), wall);
        book.next_deadline(Now { mono: Mono::ZERO, wall });
        book.expire(wall, &mut rng());
        book.reinstate_due(wall, &mut rng());
        assert!(book.needs_more(wall) && book.next_test(wall).is_none());
        json::parse(&json::write(&book, wall)).unwrap();
        book.table.check();
    }
}
