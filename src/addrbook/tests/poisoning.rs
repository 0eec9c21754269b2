//! Who owns one part of the internet.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::*;

/// Addresses of one IPv4 /16, one IPv6 /32, or all that teredo gives to one IPv4 /16.
fn attacker(kind: u8, n: u32) -> NetAddress {
    let [a, b, c, d] = n.to_be_bytes();
    let ip: IpAddr = match kind {
        0 => [66, 6, c, d].into(),
        1 => [0x2a00, 0x666, a.into(), b.into(), c.into(), d.into(), 0, 1].into(),
        _ => [0x2001, 0, a.into(), b.into(), 0, 0, !0x4206, u16::from_be_bytes([c, d])].into(),
    };
    let mut bytes = [0x66; 20];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    NetAddress::new(NodeId::from_bytes(bytes), ip, 1 + (n % 60_000) as u16)
}

/// The first of the nodes that only an attacker tells of.
const FAR: u32 = 1 << 20;

fn buckets_of(book: &Book, is_theirs: impl Fn(&NetAddress) -> bool) -> (usize, usize) {
    let (mut new, mut old) = (BTreeSet::new(), BTreeSet::new());
    for known in book.iter().filter(|known| is_theirs(&known.addr)) {
        match &known.placement {
            Placement::New(buckets) => new.extend(buckets.iter().copied()),
            Placement::Old(bucket) => _ = old.insert(*bucket),
            Placement::Bad => {}
        }
    }
    (new.len(), old.len())
}

#[test]
fn book_poisoning_by_one_subnet() {
    let (mut book, mut rng) = (large_book(), rng());
    let honest: Vec<_> = (0..400).map(node).collect();
    for (n, addr) in honest.iter().enumerate() {
        book.add(*addr, node(1000 + n as u32 / 20), start(), &mut rng).unwrap();
        if n % 4 == 0 {
            make_good(&mut book, *addr, start(), &mut rng);
        }
    }
    let good = book.num_old();
    for n in 0..30_000 {
        let _ = book.add(attacker(0, n), attacker(0, n / 7), start(), &mut rng);
        // Nobody is there, or somebody else.
        let _ = book.add(node(FAR + n), attacker(0, n / 7), start(), &mut rng);
        // Even if all of them exist and behave.
        if n % 3 == 0 {
            make_good(&mut book, attacker(0, n), start(), &mut rng);
        }
    }
    book.table.check();
    let is_theirs = |addr: &NetAddress| !honest.contains(addr);
    let (new, old) = buckets_of(&book, is_theirs);
    assert!(new <= 32 && old <= 4, "{new} {old}");
    let theirs = book.iter().filter(|known| is_theirs(&known.addr)).count();
    assert!(theirs <= 36 * BUCKET_SIZE, "{theirs}");
    let left = honest.iter().filter(|addr| book.is_good(&addr.id())).count();
    assert_eq!(left, good);
    // They have most of the addresses and few of the picks.
    let picks = 2000;
    let picked = (0..picks).filter(|_| {
        let known = book.pick(50, start(), &mut rng, true, |_| true).unwrap();
        is_theirs(&known.addr)
    });
    let picked = picked.count();
    assert!(theirs > 3 * left && picked < picks / 3, "{theirs} {picked}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..Default::default() })]

    /// Whatever one group sends, in whatever order.
    #[test]
    fn one_group_never_has_more_than_its_share(
        seed: u64,
        kind in 0..3_u8,
        steps in proptest::collection::vec((0..6_u8, 0..4000_u32, 0..4000_u32), 2000..4000),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut book = Book::new(large_book().settings, BookKey::random(&mut rng));
        let good: Vec<_> = (0..200).map(node).collect();
        for addr in &good {
            book.add(*addr, *addr, start(), &mut rng).unwrap();
            make_good(&mut book, *addr, start(), &mut rng);
        }
        let before: BTreeMap<_, _> = book.iter().map(|known| (known.addr, known.placement)).collect();
        let mut wall = start();
        for (what, n, src) in steps {
            let (addr, src) = (attacker(kind, n), attacker(kind, src));
            wall += Duration::from_secs(1);
            match what {
                0..=2 => _ = book.add(addr, src, wall, &mut rng),
                // In the name of a good node.
                3 => {
                    let id = good[n as usize % good.len()].id();
                    let addr = NetAddress::new(id, addr.ip(), addr.port());
                    let _ = book.add(addr, src, wall, &mut rng);
                }
                4 => make_good(&mut book, addr, wall, &mut rng),
                _ => {
                    book.mark_good(&addr.id(), wall, &mut rng);
                    // A good one that is dialed is there.
                    if let Some(holder) = book.next_test(wall) {
                        book.authenticated(&holder, &facts(), wall);
                    }
                }
            }
        }
        book.table.check();
        let is_theirs = |addr: &NetAddress| addr.id().as_bytes()[19] == 0x66;
        let (new, old) = buckets_of(&book, is_theirs);
        prop_assert!(new <= 32 && old <= 4, "{} {}", new, old);
        prop_assert!(book.len() <= good.len() + 36 * BUCKET_SIZE);
        for (addr, placement) in before {
            let known = book.get(&addr.id()).unwrap();
            prop_assert_eq!(known.addr, addr);
            prop_assert_eq!(&known.placement, &placement);
        }
    }
}

/// So many nodes, of which a hundred others tell in so many answers.
fn tell_of_all(book: &mut Book, nodes: u32, answers: u32, wall: SystemTime, rng: &mut StdRng) {
    for _ in 0..answers {
        let src = node(rng.random_range(0..100));
        for _ in 0..250 {
            let _ = book.add(node(rng.random_range(0..nodes)), src, wall, rng);
        }
    }
}

/// One group tells of 250 nodes that are nowhere.
fn make_up(book: &mut Book, group: u8, wall: SystemTime, rng: &mut StdRng) {
    let src = NetAddress::new(NodeId::from_bytes([2; 20]), [130, group, 9, 9].into(), 1);
    for _ in 0..250 {
        let mut id: [u8; 20] = rng.random();
        id[19] = 0x66;
        let ip = [100 + rng.random_range(0..20), rng.random(), 7, rng.random_range(1..250)];
        let _ = book.add(NetAddress::new(NodeId::from_bytes(id), ip.into(), 1), src, wall, rng);
    }
}

fn is_made_up(addr: &NetAddress) -> bool {
    addr.id().as_bytes()[19] == 0x66
}

/// How many of a hundred addresses to dial are not made up.
fn honest_share(book: &Book, wall: SystemTime, rng: &mut StdRng) -> usize {
    let mut pick = || book.pick(100, wall, rng, true, |_| true).unwrap().addr;
    (0..5000).filter(|_| !is_made_up(&pick())).count() / 50
}

/// The fault: for each made-up address somebody left of whom many tell, one in three of 8000 in the end; and
/// once they could have no second place at the cost of one that was tried in vain, they never got theirs back.
#[test]
fn who_is_told_by_many_stays_while_many_groups_make_up_others() {
    for (nodes, during, after) in [(2000, 28, 47), (8000, 55, 99)] {
        let (mut book, mut rng, mut wall) = (large_book(), rng(), start());
        tell_of_all(&mut book, nodes, 400, wall, &mut rng);
        for group in (0..66).chain(0..66).chain(0..66).chain(0..66) {
            make_up(&mut book, group, wall, &mut rng);
            tell_of_all(&mut book, nodes, 1, wall, &mut rng);
        }
        let num_honest = |book: &Book| book.iter().filter(|known| !is_made_up(&known.addr)).count();
        assert!(num_honest(&book) * 1000 >= nodes as usize * 995, "{}", num_honest(&book));
        let found = honest_share(&book, wall, &mut rng);
        assert!(found >= during, "{found} % of {nodes} while it lasts");
        let all: Vec<_> = book.iter().map(|known| known.addr).filter(is_made_up).collect();
        for _ in 0..3 {
            wall += HOUR;
            for addr in &all {
                book.attempted(addr, wall);
                book.dial_failed(addr, wall);
            }
        }
        wall += HOUR;
        tell_of_all(&mut book, nodes, 1000, wall, &mut rng);
        let found = honest_share(&book, wall, &mut rng);
        assert!(found >= after, "{found} % of {nodes} afterwards");
        book.table.check();
    }
}

/// The fault: who tells first what all others tell, too, could have it forgotten by telling more, where the
/// buckets are full.
#[test]
fn nobody_has_forgotten_what_others_tell_although_he_told_it_first() {
    // With 2000 all have several places, with 12,000 most have one.
    for (nodes, groups) in [(2000, 130), (12_000, 0)] {
        let (mut book, mut rng) = (large_book(), rng());
        for group in 0..groups {
            make_up(&mut book, group, start(), &mut rng);
        }
        let first = NetAddress::new(NodeId::from_bytes([3; 20]), [130, 249, 9, 9].into(), 1);
        for n in 0..250 {
            let _ = book.add(node(n), first, start(), &mut rng);
        }
        tell_of_all(&mut book, nodes, 1500, start(), &mut rng);
        let missing = |book: &Book| (0..250).filter(|n| book.get(&node(*n).id()).is_none()).count();
        assert_eq!(missing(&book), 0, "{nodes}");
        for _ in 0..20 {
            make_up(&mut book, 249, start(), &mut rng);
        }
        assert_eq!(missing(&book), 0, "{nodes}");
    }
}

/// The fault: a seed never calls anybody good, so that after three crawls each node it served was the first to
/// go for any made-up address: of 4000 served ones 130 groups left 5.
#[test]
fn what_a_seed_serves_makes_room_for_nothing_that_is_only_told() {
    let (mut book, mut rng, mut wall) = (large_book(), rng(), start());
    tell_of_all(&mut book, 4000, 600, wall, &mut rng);
    let all: Vec<_> = book.iter().map(|known| known.addr).collect();
    for _ in 0..4 {
        wall += HOUR / 4;
        for addr in &all {
            book.attempted(addr, wall);
            book.authenticated(addr, &facts(), wall);
            book.reached(&addr.id(), true);
        }
    }
    wall += HOUR / 4;
    let num_served = |book: &Book| book.iter().filter(|known| known.is_served(wall)).count();
    assert_eq!(num_served(&book), 4000);
    for group in 0..130 {
        make_up(&mut book, group, wall, &mut rng);
    }
    assert_eq!(num_served(&book), 4000);
}

/// One peer alone, without a single node that is there.
#[test]
fn what_a_group_tells_is_bounded_by_what_of_it_was_reached() {
    let (mut book, mut rng) = (large_book(), rng());
    let honest: Vec<_> = (0..200).map(node).collect();
    for addr in &honest {
        book.add(*addr, *addr, start(), &mut rng).unwrap();
    }
    let told = |book: &Book| book.len() - honest.len();
    for n in 0..5000 {
        book.add(node(FAR + n), attacker(0, n), start(), &mut rng).unwrap();
    }
    assert_eq!(told(&book), 250, "as many as one answer holds");
    assert!(honest.iter().all(|addr| book.get(&addr.id()).is_some()), "at nobody's cost");
    // What it told last is there: what was told first may be gone by now.
    assert!(book.get(&node(FAR + 4999).id()).is_some());
    // Ten of them are there after all.
    let known: Vec<_> = book.iter().map(|known| known.addr).collect();
    let theirs = known.iter().filter(|addr| !honest.contains(addr));
    for addr in theirs.take(10) {
        book.authenticated(addr, &facts(), start());
    }
    for n in 5000..10_000 {
        book.add(node(FAR + n), attacker(0, n), start(), &mut rng).unwrap();
    }
    assert_eq!(told(&book), 10 + 250 + 4 * 10);
    // Others have told some of them, too: those stay, or one could have another's forgotten.
    let kept: Vec<_> = (20_000..20_200).map(|n| node(FAR + n)).collect();
    for addr in &kept {
        book.add(*addr, attacker(1, 7), start(), &mut rng).unwrap();
        while book.get(&addr.id()).unwrap().placement
            == new([book.hash.new_bucket(addr, &attacker(1, 7))])
        {
            book.add(*addr, node(7), start(), &mut rng).unwrap();
        }
    }
    for n in 30_000..31_000 {
        book.add(node(FAR + n), attacker(1, n), start(), &mut rng).unwrap();
    }
    let left = kept.iter().filter(|addr| book.get(&addr.id()).is_some()).count();
    assert!(left > 190, "{left}");
    // An operator's list is not bounded, and no file.
    let before = book.len();
    for n in 0..1000 {
        book.add(node(3 * FAR + n), book.own_addr(), start(), &mut rng).unwrap();
    }
    assert!(book.len() > before + 900);
    let addresses = (0..1000).map(|n| KnownAddress::told(node(2 * FAR + n), attacker(0, 1)));
    let imported = json::ImportedBook { addresses: addresses.collect(), ..Default::default() };
    let report = book.import(imported, start(), &mut rng);
    assert_eq!(report.added + report.crowded_out, 1000);
    book.table.check();
}

/// As many addresses as anybody likes, from everywhere.
#[test]
fn the_size_is_bounded() {
    let (mut book, mut rng) = (large_book(), rng());
    for n in 0..60_000_u32 {
        let (addr, src) = (node(n.reverse_bits() >> 7), node(n));
        let _ = book.add(addr, src, start(), &mut rng);
        if n % 2 == 0 {
            make_good(&mut book, addr, start(), &mut rng);
        }
        if n % 5 == 0 {
            book.mark_bad(addr.id(), None, HOUR, "x", start());
        }
    }
    book.table.check();
    assert!(book.num_new() > 10_000 && book.num_new() <= 256 * 64, "{}", book.num_new());
    assert!(book.num_old() > 3000 && book.num_old() <= 64 * 64, "{}", book.num_old());
    assert!(book.table.len() <= book.len() + book.num_bad());
    let bytes = json::write(&book, start());
    assert_eq!(json::parse(&bytes).unwrap().addresses.len(), book.len());
}
