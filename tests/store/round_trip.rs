//! What is written is what is read.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use proptest::{collection, option, prelude::*};
use tmp2p::{
    BadAddress, BadCause, Ban, BanOrigin, BanTarget, BookKey, BookStore, Cidr, History,
    KnownAddress, MemoryStore, NetAddress, NodeId, Placement, SqliteStore, StoreBatch, StoredBook,
};

use crate::support::{Place, batch, id, load, load_file};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// The same as in memory, wherever the process is restarted.
    #[test]
    fn any_story_is_told_as_in_memory(
        story in collection::vec((batches(), any::<bool>()), 1..6),
    ) {
        let place = Place::new();
        let mut memory = MemoryStore::new();
        let mut store = SqliteStore::open(place.book()).unwrap();
        for (batch, is_restarted) in story {
            memory.write(&batch).unwrap();
            store.write(&batch).unwrap();
            if is_restarted {
                drop(store);
                store = SqliteStore::open(place.book()).unwrap();
            }
            prop_assert_eq!(load(&mut store), memory.stored());
        }
        drop(store);
        prop_assert_eq!(load_file(&place.book()), memory.stored());
        prop_assert!(place.quarantine().is_empty());
    }
}

#[test]
fn a_new_book_is_empty_and_its_owners_only() {
    let place = Place::new();
    let mut store = SqliteStore::open(place.book()).unwrap();
    assert_eq!(load(&mut store), StoredBook::default());
    store.write(&StoreBatch::default()).unwrap();
    store.write(&batch(1)).unwrap();
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm", ".lock"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(place.file(suffix)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{suffix:?}: the book holds a secret");
    }
}

/// Nothing but the database and the lock stays behind a store that was closed.
#[test]
fn a_closed_book_is_one_file() {
    let place = Place::new();
    SqliteStore::open(place.book()).unwrap().write(&batch(1)).unwrap();
    assert_eq!(place.files().into_keys().collect::<Vec<_>>(), ["book.db"]);
}

#[test]
fn times_beyond_what_fits_are_the_last_that_does() {
    let place = Place::new();
    let until = |until| {
        let mut batch = StoreBatch::default();
        let (cause, reason) = (BadCause::Unreachable, String::new());
        let bad = BadAddress { id: id(1), addr: None, until, cause, reason };
        batch.bad.insert(id(1), Some(bad));
        SqliteStore::open(place.book()).unwrap().write(&batch).unwrap();
        load_file(&place.book()).bad[0].until
    };
    let last = UNIX_EPOCH + Duration::from_nanos(i64::MAX as u64);
    assert_eq!(until(last), last);
    assert_eq!(until(last + Duration::from_nanos(1)), last);
    assert_eq!(until(UNIX_EPOCH + Duration::from_secs(i64::MAX as u64)), last);
    assert_eq!(until(UNIX_EPOCH), UNIX_EPOCH);
    assert_eq!(until(UNIX_EPOCH - Duration::from_secs(1)), UNIX_EPOCH);
}

/// Of few nodes, so that entries are replaced and removed.
fn batches() -> impl Strategy<Value = StoreBatch> {
    let bans = collection::btree_map(targets(), option::of(bans()), 0..4);
    let bad = collection::btree_map(ids(), option::of(bad_addresses()), 0..4);
    let addresses = collection::btree_map(ids(), option::of(known_addresses()), 0..5);
    let anchors = option::of(collection::vec(addrs(), 0..4));
    let key = option::of(("[0-9a-f]{24}", any::<[u8; 32]>()));
    let imported = option::of(any::<[u8; 32]>());
    let parts = (bans, bad, addresses, anchors, key, imported);
    parts.prop_map(|(bans, bad, addresses, anchors, key, imported)| {
        let mut batch = StoreBatch::default();
        for (target, ban) in bans {
            batch.bans.insert(target, ban.map(|ban| Ban { target, ..ban }));
        }
        for (id, bad) in bad {
            batch.bad.insert(id, bad.map(|bad| BadAddress { id, ..bad }));
        }
        for (id, known) in addresses {
            let of = |addr: NetAddress| NetAddress::new(id, addr.ip(), addr.port());
            let known = known.map(|mut known| {
                known.addr = of(known.addr);
                known
            });
            batch.addresses.insert(id, known);
        }
        batch.anchors = anchors;
        batch.key = key.map(|(text, hash)| BookKey { text, hash });
        batch.imported = imported;
        batch
    })
}

fn ids() -> impl Strategy<Value = NodeId> {
    (0..6_u64).prop_map(id)
}

fn addrs() -> impl Strategy<Value = NetAddress> {
    (ids(), any::<IpAddr>(), any::<u16>()).prop_map(|(id, ip, port)| NetAddress::new(id, ip, port))
}

fn targets() -> impl Strategy<Value = BanTarget> {
    let ranges =
        (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, prefix)| Cidr::new(ip.into(), prefix));
    let wide =
        (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, prefix)| Cidr::new(ip.into(), prefix));
    prop_oneof![
        ids().prop_map(BanTarget::from),
        any::<IpAddr>().prop_map(BanTarget::from),
        ranges.prop_map(|range| range.unwrap().into()),
        wide.prop_filter_map("an IPv4 range", |range| range.map(BanTarget::from)),
    ]
}

fn bans() -> impl Strategy<Value = Ban> {
    let origin = prop_oneof![Just(BanOrigin::Operator), Just(BanOrigin::Automatic)];
    (targets(), option::of(times()), ".*", origin).prop_map(|(target, until, reason, origin)| Ban {
        target,
        until,
        reason,
        origin,
    })
}

fn bad_addresses() -> impl Strategy<Value = BadAddress> {
    let cause = prop_oneof![
        Just(BadCause::Incompatible),
        Just(BadCause::Unreachable),
        Just(BadCause::Application),
    ];
    (ids(), option::of(addrs()), times(), cause, ".*")
        .prop_map(|(id, addr, until, cause, reason)| BadAddress { id, addr, until, cause, reason })
}

fn known_addresses() -> impl Strategy<Value = KnownAddress> {
    let placement = prop_oneof![
        collection::vec(any::<u8>(), 0..=4).prop_map(|all| Placement::New(all.into())),
        any::<u8>().prop_map(Placement::Old),
        Just(Placement::Bad),
    ];
    let counts = (any::<u32>(), any::<u32>());
    let times = collection::vec(option::of(times()), 5);
    let texts = (".*", "[ -~]*", ".*");
    (addrs(), addrs(), placement, counts, times, option::of(addrs()), texts).prop_map(
        |(addr, src, placement, (attempts, dial_failures), times, probation, texts)| {
            let history = History {
                attempts,
                last_attempt: times[0],
                last_success: times[1],
                last_bad: times[2],
                dial_failures,
                verified: times[3],
                last_seen: times[4],
                probation,
                moniker: texts.0,
                version: texts.1,
                network: texts.2,
            };
            KnownAddress::new(addr, src, placement, history)
        },
    )
}

fn times() -> impl Strategy<Value = SystemTime> {
    (0..=i64::MAX as u64).prop_map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos))
}
