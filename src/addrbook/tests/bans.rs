//! Bans and bad addresses, against a model that does everything the slow way.

use std::collections::BTreeMap;

use super::{super::bans::canonical, *};
use crate::{address::Cidr, ban::BanOrigin};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Ban {
        target: BanTarget,
        secs: Option<u64>,
    },
    Automatic {
        n: u8,
        secs: u64,
    },
    Unban {
        target: BanTarget,
    },
    MarkBad {
        n: u8,
        secs: u64,
    },
    MarkGood {
        n: u8,
    },
    /// Seconds that the wall clock goes forward, or is set back.
    Pass {
        secs: i64,
    },
    Restart,
}

fn target() -> impl Strategy<Value = BanTarget> {
    prop_oneof![
        (0..9_u8).prop_map(|n| id(n).into()),
        (0..9_u8).prop_map(|n| ip(n).into()),
        // Not canonical: must be found as the IPv4 address.
        (0..9_u8).prop_map(|n| BanTarget::Ip(format!("::ffff:10.0.0.{n}").parse().unwrap())),
        (28..=32_u8).prop_map(|prefix| BanTarget::Cidr(Cidr::new(ip(0), prefix).unwrap())),
        Just(BanTarget::Cidr("0.0.0.0/0".parse().unwrap())),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (target(), proptest::option::of(0..900_u64))
            .prop_map(|(target, secs)| Op::Ban { target, secs }),
        4 => (0..9_u8, 0..1500_u64).prop_map(|(n, secs)| Op::Automatic { n, secs }),
        1 => target().prop_map(|target| Op::Unban { target }),
        3 => (0..9_u8, 0..900_u64).prop_map(|(n, secs)| Op::MarkBad { n, secs }),
        1 => (0..9_u8).prop_map(|n| Op::MarkGood { n }),
        2 => (-300..600_i64).prop_map(|secs| Op::Pass { secs }),
        1 => Just(Op::Restart),
    ]
}

/// Lists, looked through from end to end.
#[derive(Default)]
struct Model {
    bans: Vec<Ban>,
    bad: Vec<(NodeId, SystemTime)>,
}

impl Model {
    fn expire(&mut self, wall: SystemTime) {
        self.bans.retain(|ban| ban.is_in_force(wall));
        self.bad.retain(|(_, until)| wall < *until);
    }

    fn find(&self, target: &BanTarget) -> Option<&Ban> {
        self.bans.iter().find(|ban| ban.target == *target)
    }

    fn put(&mut self, ban: Ban) {
        self.bans.retain(|other| other.target != ban.target);
        self.bans.push(ban);
        let automatic = |ban: &&Ban| ban.origin == BanOrigin::Automatic;
        if self.bans.iter().filter(automatic).count() > LIMITS.automatic_ids {
            let first = self.bans.iter().filter(automatic).min_by_key(|b| (b.until, b.target));
            let first = first.unwrap().target;
            self.bans.retain(|ban| ban.target != first);
        }
    }

    fn apply(&mut self, op: &Op, wall: SystemTime) {
        match op {
            Op::Ban { target, secs } => {
                let target = canonical(*target);
                let is_everything = target.to_string() == "0.0.0.0/0";
                if target == id(0).into() || *secs == Some(0) || is_everything {
                    return;
                }
                let until = secs.map(|secs| wall + Duration::from_secs(secs));
                let (reason, origin) = ("op".to_owned(), BanOrigin::Operator);
                self.put(Ban { target, until, reason, origin });
            }
            Op::Automatic { n, secs } => {
                let target = BanTarget::Id(id(*n));
                let until = wall + Duration::from_secs(*secs);
                let is_stronger = self.find(&target).is_none_or(|earlier| {
                    earlier.origin == BanOrigin::Automatic && earlier.until < Some(until)
                });
                if *n != 0 && *secs > 0 && is_stronger {
                    let (reason, origin) = ("auto".to_owned(), BanOrigin::Automatic);
                    self.put(Ban { target, until: Some(until), reason, origin });
                }
            }
            Op::Unban { target } => {
                let target = canonical(*target);
                self.bans.retain(|ban| ban.target != target);
            }
            Op::MarkBad { n, secs } => {
                let until = wall + Duration::from_secs(*secs);
                let earlier = self.bad.iter().find(|(of, _)| *of == id(*n)).map(|(_, u)| *u);
                if *n == 0 || *secs == 0 || earlier > Some(until) {
                    return;
                }
                self.bad.retain(|(of, _)| *of != id(*n));
                self.bad.push((id(*n), until));
                if self.bad.len() > LIMITS.bad {
                    let first = *self.bad.iter().min_by_key(|(id, until)| (*until, *id)).unwrap();
                    self.bad.retain(|bad| *bad != first);
                }
            }
            Op::MarkGood { n } => self.bad.retain(|(of, _)| *of != id(*n)),
            Op::Pass { .. } | Op::Restart => {}
        }
    }
}

proptest! {
    #[test]
    fn the_book_does_what_the_model_does(ops in proptest::collection::vec(op(), 1..80)) {
        let (mut book, mut model, mut store) = (book(), Model::default(), MemoryStore::new());
        let mut wall = start();
        for op in &ops {
            match op {
                Op::Ban { target, secs } => {
                    let _ = book.ban(*target, secs.map(Duration::from_secs), "op".into(), wall);
                }
                Op::Automatic { n, secs } => {
                    book.ban_automatically(id(*n), Duration::from_secs(*secs), "auto", wall);
                }
                Op::Unban { target } => _ = book.unban(*target),
                Op::MarkBad { n, secs } => {
                    book.mark_bad(id(*n), None, Duration::from_secs(*secs), "bad", wall);
                }
                Op::MarkGood { n } => _ = book.mark_good(&id(*n), wall, &mut rng()),
                Op::Pass { secs } => {
                    let by = Duration::from_secs(secs.unsigned_abs());
                    wall = if *secs < 0 { wall.before(by) } else { wall.after(by) };
                    book.expire(wall, &mut rng());
                    book.reinstate_due(wall, &mut rng());
                    model.expire(wall);
                }
                Op::Restart => {
                    book = Book::load(SETTINGS, key(), store.load().unwrap(), wall, &mut rng());
                }
            }
            model.apply(op, wall);
            // The store is never behind for more than one batch.
            if let Some(batch) = book.take_batch() {
                store.write(&batch).unwrap();
            }
            let held: BTreeMap<_, _> = book.bans().iter().map(|b| (b.target, b.clone())).collect();
            let expected: BTreeMap<_, _> =
                model.bans.iter().map(|b| (b.target, b.clone())).collect();
            prop_assert_eq!(&held, &expected, "after {:?}", op);
            prop_assert_eq!(&store.stored().bans, &expected.values().cloned().collect::<Vec<_>>());
            let bad: Vec<_> = book.bad_addresses().map(|bad| (bad.id, bad.until)).collect();
            model.bad.sort();
            prop_assert_eq!(&bad, &model.bad, "after {:?}", op);
            prop_assert_eq!(store.stored().bad.len(), bad.len());
            for ban in held.values() {
                prop_assert!(ban.is_in_force(wall), "{:?} is over", ban);
            }
            let ends = held.values().filter_map(|ban| ban.until);
            let now = Now { mono: Mono::ZERO, wall };
            let expected = ends.min().map(|end| Mono::ZERO + end.since(wall).clamp(MIN_SLEEP, MAX_SLEEP));
            prop_assert_eq!(book.next_deadline(now), expected);
        }
    }
}

#[test]
fn an_operators_ban_is_neither_shortened_nor_displaced_by_automatic_ones() {
    let mut book = book();
    book.ban(id(1).into(), Some(HOUR), "ours".into(), start()).unwrap();
    assert_eq!(book.ban_automatically(id(1), 9 * HOUR, "x", start()), None);
    for n in 2..100 {
        book.ban_automatically(id(n), 2 * HOUR, "x", start());
    }
    assert_eq!(book.bans().len(), 1 + LIMITS.automatic_ids);
    assert_eq!(book.bans().find_id(&id(1), start()).unwrap().reason, "ours");
    // The one that ends first gives way, be it the new one.
    assert_eq!(book.ban_automatically(id(200), HOUR, "x", start()), None);
    // An operator may shorten an operator's.
    book.ban(id(1).into(), Some(HOUR / 2), "less".into(), start()).unwrap();
    assert_eq!(book.bans().find_id(&id(1), start() + HOUR / 2), None);
}

#[test]
fn a_mapped_address_and_a_range_of_one_are_the_address() {
    let mut book = book();
    for text in ["::ffff:10.0.0.1", "10.0.0.1/32"] {
        let (ip, cidr) = (text.parse(), text.parse());
        let target = ip.map_or_else(|_| BanTarget::Cidr(cidr.unwrap()), BanTarget::Ip);
        book.ban(target, None, String::new(), start()).unwrap();
        assert_eq!(book.bans().len(), 1);
        assert!(book.bans().find_ip("10.0.0.1".parse().unwrap(), start()).is_some());
        assert!(book.bans().find_ip("::ffff:10.0.0.1".parse().unwrap(), start()).is_some());
    }
    assert!(book.unban("10.0.0.1".parse().unwrap()).is_ok());
    assert!(book.bans().is_empty());
}

#[test]
fn what_no_book_may_hold_is_not_loaded_and_leaves_the_store() {
    let ban =
        |target: BanTarget, origin, until| Ban { target, until, reason: String::new(), origin };
    let later = Some(start() + HOUR);
    let (automatic, operator) = (BanOrigin::Automatic, BanOrigin::Operator);
    let range = "10.0.0.0/8".parse::<BanTarget>().unwrap();
    let mapped = BanTarget::Ip("::ffff:1.2.3.4".parse().unwrap());
    let stored = StoredBook {
        bans: vec![
            ban(OWN.into(), operator, None),
            ban("::/0".parse().unwrap(), operator, None),
            ban(range, automatic, later),
            ban(id(1).into(), automatic, None),
            ban(id(2).into(), operator, Some(start())),
            ban(ip(3).into(), automatic, later),
            ban(mapped, operator, later),
            ban(id(4).into(), automatic, later),
        ],
        ..StoredBook::default()
    };
    let mut store = MemoryStore::new();
    let bans = stored.bans.iter().map(|ban| (ban.target, Some(ban.clone()))).collect();
    let batch = StoreBatch { bans, ..StoreBatch::default() };
    store.write(&batch).unwrap();
    let mut book = Book::load(SETTINGS, key(), stored, start(), &mut rng());
    let held: Vec<_> = book.bans().iter().map(|ban| (ban.target.to_string(), ban.until)).collect();
    assert_eq!(held, [(id(4).to_string(), later), ("1.2.3.4".to_owned(), later)]);
    store.write(&book.take_batch().unwrap()).unwrap();
    let mut kept: Vec<_> = book.bans().iter().cloned().collect();
    kept.sort_by_key(|ban| ban.target);
    assert_eq!(store.stored().bans, kept);
    assert_eq!(book.take_batch(), None);
}

#[test]
fn bad_is_not_banned_and_good_ends_it() {
    let mut book = book();
    let addr = NetAddress::new(id(1), ip(1), 1);
    assert!(book.mark_bad(id(1), Some(addr), HOUR, "no answer\n", start()));
    assert!(book.is_bad(&id(1)));
    assert!(book.bans().is_empty());
    // The later end counts, and the address stays known.
    assert!(!book.mark_bad(id(1), None, HOUR / 2, "x", start()));
    assert!(book.mark_bad(id(1), None, 2 * HOUR, "x", start()));
    let bad = book.bad_addresses().next().unwrap();
    assert_eq!((bad.addr, bad.until), (Some(addr), start() + 2 * HOUR));
    assert!(
        book.mark_good(&id(1), start(), &mut rng()) && !book.mark_good(&id(1), start(), &mut rng())
    );
    assert!(!book.is_bad(&id(1)));
    book.add_private([id(5)]);
    assert!(book.is_private(&id(5)) && !book.is_private(&id(1)));
}

/// What a machine has found of the n-th node.
fn found(n: u32, cause: BadCause, lasts: Duration) -> BadAddress {
    let (addr, until) = (node(n), start() + lasts);
    BadAddress { id: addr.id(), addr: Some(addr), until, cause, reason: "found".to_owned() }
}

#[test]
fn what_proves_a_verdict_wrong_depends_on_what_it_was_about() {
    use BadCause::{Application, Incompatible, Unreachable};
    for (cause, was_found, was_dialed, is_lifted) in [
        (Incompatible, false, false, true),
        (Incompatible, false, true, true),
        (Unreachable, false, false, false),
        (Unreachable, true, false, true),
        (Unreachable, false, true, true),
        (Application, true, false, false),
        (Application, true, true, false),
    ] {
        let (mut book, mut rng, addr) = (book(), rng(), node(1));
        book.add(addr, addr, start(), &mut rng).unwrap();
        if was_found {
            book.authenticated(&addr, &facts(), start());
        }
        book.attempted(&addr, start());
        book.dial_failed(&addr, start());
        assert!(!book.disprove_bad(&addr.id(), was_dialed, start(), &mut rng), "it was not bad");
        assert!(book.found_bad(found(1, cause, HOUR), start()));
        let what = format!("{cause:?}, found {was_found}, dialed {was_dialed}");
        assert_eq!(
            book.disprove_bad(&addr.id(), was_dialed, start(), &mut rng),
            is_lifted,
            "{what}"
        );
        assert_eq!(book.is_bad(&addr.id()), !is_lifted, "{what}");
        let known = book.get(&addr.id()).unwrap();
        // It starts from zero.
        assert_eq!(known.history().dial_failures, u32::from(!is_lifted), "{what}");
        assert_eq!(matches!(known.placement, Placement::New(_)), is_lifted, "{what}");
    }
}

#[test]
fn the_applications_word_counts_for_more_than_what_a_machine_has_found() {
    let word = |book: &mut Book, lasts| book.mark_bad(node(1).id(), None, lasts, "word", start());
    let as_it_is = |book: &Book| {
        let bad = book.bad_address(&node(1).id()).unwrap();
        (bad.cause, bad.until.since(start()), bad.reason.clone(), bad.addr)
    };
    // Said first: nothing that is found changes it.
    let mut book = book();
    assert!(word(&mut book, HOUR));
    assert!(!book.found_bad(found(1, BadCause::Unreachable, DAY), start()));
    assert_eq!(as_it_is(&book), (BadCause::Application, HOUR, "word".to_owned(), None));
    // Said later: it takes the place of what was found, which does not lengthen it.
    for found_for in [HOUR / 2, DAY] {
        let mut book = self::book();
        assert!(book.found_bad(found(1, BadCause::Incompatible, found_for), start()));
        assert!(word(&mut book, HOUR));
        let expected = (BadCause::Application, HOUR, "word".to_owned(), Some(node(1)));
        assert_eq!(as_it_is(&book), expected);
        assert!(!book.disprove_bad(&node(1).id(), true, start(), &mut rng()));
    }
    // Of two findings, and of two words, the later end counts.
    let mut book = self::book();
    assert!(book.found_bad(found(1, BadCause::Incompatible, DAY), start()));
    assert!(!book.found_bad(found(1, BadCause::Unreachable, HOUR), start()));
    assert!(book.found_bad(found(1, BadCause::Unreachable, 2 * DAY), start()));
    assert_eq!(as_it_is(&book).0, BadCause::Unreachable);
    let mut book = self::book();
    assert!(word(&mut book, DAY) && !word(&mut book, HOUR));
    assert_eq!(as_it_is(&book).1, DAY);
    assert!(word(&mut book, 2 * DAY));
    // A word whose time is over says nothing any more, also if nobody has needed the address since.
    let later = start() + 2 * DAY;
    let mut again = found(1, BadCause::Unreachable, DAY);
    again.until = later + HOUR;
    assert!(book.found_bad(again, later));
    assert_eq!(as_it_is(&book).0, BadCause::Unreachable);
    assert!(book.disprove_bad(&node(1).id(), true, later, &mut rng()));
}

/// Whoever is told so keeps it, and the operator hears of it.
#[test]
fn a_bad_address_for_which_another_one_gives_way_is_news_and_one_without_room_is_none() {
    let mut book = book();
    let mark =
        |book: &mut Book, n, lasts| book.found_bad(found(n, BadCause::Unreachable, lasts), start());
    assert!((1..=3).all(|n| mark(&mut book, n, n * HOUR)), "as many as there may be");
    assert!(mark(&mut book, 4, DAY));
    let are_bad = |book: &Book| [1, 2, 3, 4, 5].map(|n| book.is_bad(&node(n).id()));
    assert_eq!(are_bad(&book), [false, true, true, true, false], "the first to end gives way");
    assert!(!mark(&mut book, 5, HOUR));
    assert_eq!(are_bad(&book), [false, true, true, true, false], "it would be the first to end");
}

/// It may be we who were of another network before the restart.
#[test]
fn of_what_was_found_bad_only_another_network_is_forgotten_by_a_restart() {
    use BadCause::{Application, Incompatible, Unreachable};
    let limits = BookLimits { bad: 10, ..LIMITS };
    let settings = BookSettings { limits, ..SETTINGS };
    let (mut book, mut rng) = (Book::new(settings, key()), rng());
    for (n, cause) in [(1, Incompatible), (2, Unreachable), (3, Application)] {
        book.add(node(n), node(n), start(), &mut rng).unwrap();
        book.attempted(&node(n), start());
        book.dial_failed(&node(n), start());
        assert!(book.found_bad(found(n, cause, DAY), start()));
    }
    let mut store = crate::addrbook::MemoryStore::new();
    store.write(&book.take_batch().unwrap()).unwrap();
    let mut loaded = Book::load(settings, key(), store.stored(), start() + HOUR, &mut rng);
    let are_bad = |book: &Book| [1, 2, 3].map(|n| book.is_bad(&node(n).id()));
    // Who only looks at the book, or exports it, sees what was known.
    assert_eq!(are_bad(&loaded), [true; 3]);
    loaded.forget_incompatible(start() + HOUR, &mut rng);
    assert_eq!(are_bad(&loaded), [false, true, true]);
    let known = loaded.get(&node(1).id()).unwrap();
    assert_eq!(known.history().dial_failures, 0);
    assert!(matches!(known.placement, Placement::New(_)));
    // The store hears of it.
    store.write(&loaded.take_batch().unwrap()).unwrap();
    assert_eq!(store.stored().bad.len(), 2);
    loaded.table.check();
}

#[test]
fn only_who_was_found_at_its_address_forgets_its_failures_by_dialing_us() {
    for (was_found, was_dialed, are_over) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
    {
        let (mut book, mut rng, addr) = (book(), rng(), node(1));
        book.add(addr, addr, start(), &mut rng).unwrap();
        if was_found {
            book.authenticated(&addr, &facts(), start());
        }
        book.attempted(&addr, start());
        assert_eq!(book.dial_failed(&addr, start()), 1);
        book.reached(&addr.id(), was_dialed);
        let failures = book.get(&addr.id()).unwrap().history().dial_failures;
        assert_eq!(failures == 0, are_over, "found {was_found}, dialed {was_dialed}");
    }
}

#[test]
fn a_published_table_does_not_change() {
    let mut book = book();
    let before = book.bans().clone();
    book.ban(id(1).into(), None, String::new(), start()).unwrap();
    assert!(before.is_empty() && !book.bans().is_empty());
}

#[test]
fn only_a_range_of_all_addresses_is_a_slip() {
    let mut book = book();
    // The first or the last address of all is in these, and not both.
    for range in ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"] {
        let cidr: Cidr = range.parse().unwrap();
        book.ban(cidr.into(), None, String::new(), start()).unwrap();
    }
    for range in ["0.0.0.0/0", "::/0"] {
        let cidr: Cidr = range.parse().unwrap();
        let refused = book.ban(cidr.into(), None, String::new(), start()).unwrap_err();
        assert_eq!(refused, BanError::CoversEverything(cidr));
    }
}
