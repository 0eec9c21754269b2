//! Bans: nodes, addresses, ranges; at the door, after authentication, before dialing.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tmp2p::{
    Ban, BanError, BanManyError, BanOrigin, BanTarget, BookStore, Cidr, Config, ControlError,
    DialPeersError, DisconnectReason, Limits, MemoryStore, NodeId, NodeKey, Stopped, StoreBatch,
    StoreError, StoredBook, SwitchEvent, UnbanError,
};

use crate::support::*;

const HERE: Ipv4Addr = Ipv4Addr::new(127, 8, 1, 1);
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 8, 2, 1);

fn target(text: &str) -> BanTarget {
    text.parse().unwrap()
}

fn banned(target: impl Into<BanTarget>) -> DisconnectReason {
    DisconnectReason::Banned(target.into())
}

/// Nobody has connected to it.
fn assert_untouched(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_banned_node_is_disconnected_and_kept_out_in_both_directions() {
    let (alice, bob) = (node(), node());
    let (handle, events) = (alice.0.handle(), alice.0.handle().subscribe());
    pair(&bob, &alice);
    let id = bob.0.handle().id();
    let ban = handle.ban(id, None, "spam").unwrap();
    assert_eq!((ban.target, ban.until, ban.origin), (id.into(), None, BanOrigin::Operator));
    let event = happens(&events, |event| match event {
        SwitchEvent::Banned(ban) => Some(ban),
        _ => None,
    });
    assert_eq!(event, ban);
    assert_eq!(down(&alice.1).1, banned(id).into(), "the session ends");
    peer_down(&events);
    down(&bob.1);
    // After authentication, for only then it is known who it is.
    assert_eq!(knock(&bob.0, handle.peer_address().unwrap(), &events), Err(banned(id)));
    until("bob knows", || bob.0.handle().num_peers() == Default::default());
    // Before dialing: wherever it is said to be, nobody connects there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(dial(&alice.0, at(id, listener.local_addr().unwrap())), Err(banned(id)));
    assert_untouched(&listener);
    // Others at the same address are not meant.
    let other = node();
    let address = handle.peer_address().unwrap();
    assert_eq!(knock(&other.0, address, &events), Ok(other.0.handle().id()));
    assert_eq!(handle.unban(id), Ok(ban));
    assert_eq!(
        knock(&bob.0, handle.peer_address().unwrap(), &alice.0.handle().subscribe()),
        Ok(id)
    );
}

#[test]
fn banned_addresses_and_ranges_are_closed_at_the_door() {
    for (text, has_sibling) in
        [("127.8.1.1", true), ("127.8.1.0/24", true), ("127.8.0.0/16", false)]
    {
        let alice = node();
        let (handle, events) = (alice.0.handle(), alice.0.handle().subscribe());
        let addr = handle.local_addr().unwrap();
        // A session and a handshake from there, and one of each from here.
        let way = Way::new(HERE, addr);
        let (there, here) = (node(), node());
        for (guest, addr) in [(&there, way.addr), (&here, addr)] {
            knock(&guest.0, at(handle.id(), addr), &events).unwrap();
        }
        let pending = plain_from(HERE, addr);
        assert!(is_let_in(&pending));

        handle.ban(target(text), None, "test").unwrap();
        let (id, reason) = peer_down(&events);
        assert_eq!((id, reason), (there.0.handle().id(), banned(target(text))));
        assert!(handle.peer(here.0.handle().id()).is_some());
        let events = handle.subscribe();
        let stream = plain_from(HERE, addr);
        assert!(!is_let_in(&stream), "closed before a byte");
        let told = happens(&events, |event| match event {
            SwitchEvent::Rejected { addr, id, reason, .. } => Some((addr, id, reason)),
            _ => None,
        });
        assert_eq!(told, (stream.local_addr().unwrap(), None, banned(target(text))));
        assert_eq!(is_let_in(&plain_from(ELSEWHERE, addr)), has_sibling);

        // Before dialing.
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let dialed = dial(&alice.0, stranger(listener.local_addr().unwrap()));
        assert_eq!(dialed, Err(banned(target(text))));
        assert_untouched(&listener);

        handle.unban(target(text)).unwrap();
        assert!(is_let_in(&plain_from(HERE, addr)));
    }
}

#[test]
fn ipv4_mapped_ipv6_bypasses_bans() {
    let any = ("::".parse::<IpAddr>().unwrap(), 0);
    for text in ["127.8.1.1", "::ffff:127.8.1.1", "127.8.1.0/24", "::ffff:127.8.1.0/120"] {
        // A listener of IPv4 alone, and one that sees mapped addresses.
        for config in [unlimited(), listening(unlimited(), any)] {
            let alice = node_from(config);
            let handle = alice.0.handle().clone();
            let port = handle.local_addr().unwrap().port();
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            assert!(is_let_in(&plain_from(HERE, addr)));
            handle.ban(target(text), None, "test").unwrap();
            assert!(!is_let_in(&plain_from(HERE, addr)), "{text}");
            assert!(is_let_in(&plain_from(ELSEWHERE, addr)), "{text}");
            let mapped = SocketAddr::new(HERE.to_ipv6_mapped().into(), 1);
            let reason = dial(&alice.0, stranger(mapped)).unwrap_err();
            assert_eq!(reason.kind(), "banned", "{text}: {reason}");
        }
    }
}

#[test]
fn a_ban_ends_by_itself() {
    let (alice, bob) = (node(), node());
    let handle = alice.0.handle().clone();
    let id = bob.0.handle().id();
    let brief = Duration::from_millis(300);
    let ban = handle.ban(id, Some(brief), "calm down").unwrap();
    assert!(ban.until.is_some());
    // Longer bans of the same target take its place.
    handle.ban(target("127.8.1.1"), Some(DEADLINE * 2), "long").unwrap();
    until("the ban is over", || handle.bans().len() == 1);
    connect(&bob.0, &alice.0);
    let left = handle.unban(id).unwrap_err();
    assert_eq!(left, UnbanError::NotBanned(id.into()));
    assert_eq!(handle.bans()[0].target, target("127.8.1.1"), "that one goes on");
}

#[test]
fn bans_are_listed_with_what_is_known_of_them() {
    let alice = node();
    let handle = alice.0.handle().clone();
    let id = NodeKey::generate().id();
    assert!(handle.bans().is_empty());
    // Nobody has ever heard of any of them.
    let range: Cidr = "10.0.0.0/8".parse().unwrap();
    handle.ban(id, Some(Duration::from_secs(3600)), "an hour").unwrap();
    handle.ban(ip("1.2.3.4"), None, "for good").unwrap();
    handle.ban(range, None, "a range").unwrap();
    handle.ban(ip("1.2.3.4"), None, "another reason").unwrap();
    let bans = handle.bans();
    let told: Vec<_> =
        bans.iter().map(|ban| (ban.target, ban.until.is_some(), ban.reason.as_str())).collect();
    let expected = [
        (id.into(), true, "an hour"),
        (target("1.2.3.4"), false, "another reason"),
        (target("10.0.0.0/8"), false, "a range"),
    ];
    assert_eq!(told, expected);
    assert!(bans.iter().all(|ban| ban.origin == BanOrigin::Operator));
    assert_eq!(handle.metrics().bans, 3);
}

#[test]
fn bans_that_make_no_sense_are_refused() {
    let alice = node();
    let handle = alice.0.handle().clone();
    let id = NodeKey::generate().id();
    assert_eq!(handle.ban(handle.id(), None, "me").unwrap_err(), BanError::OwnId);
    assert_eq!(handle.ban(id, Some(Duration::ZERO), "").unwrap_err(), BanError::ZeroDuration);
    for text in ["0.0.0.0/0", "::/0"] {
        let range: Cidr = text.parse().unwrap();
        let error = handle.ban(range, None, "all").unwrap_err();
        assert_eq!(error, BanError::CoversEverything(range));
    }
    assert_eq!(handle.unban(id).unwrap_err(), UnbanError::NotBanned(id.into()));
    handle.ban(target("1.2.3.0/24"), None, "").unwrap();
    let part = target("1.2.3.4");
    assert_eq!(handle.unban(part).unwrap_err(), UnbanError::NotBanned(part));
    assert_eq!(handle.bans().len(), 1, "nothing else has changed");
}

#[test]
fn bans_survive_a_restart() {
    let store = MemoryStore::new();
    let key = NodeKey::generate();
    let start = || {
        let store = store.clone();
        built(unlimited(), key.clone(), |builder, _| builder.book_store(store))
    };
    let bob = node();
    let id = bob.0.handle().id();
    for graceful in [true, false] {
        let alice = start();
        let handle = alice.0.handle().clone();
        handle.ban(id, None, "spam").unwrap();
        handle.ban(target("127.8.1.1"), Some(DEADLINE * 10), "spam").unwrap();
        handle.ban(target("127.8.2.1"), None, "lifted again").unwrap();
        handle.unban(target("127.8.2.1")).unwrap();
        let before: Vec<Ban> = handle.bans();
        assert_eq!(before.len(), 2);
        if graceful {
            alice.0.stop(DEADLINE).unwrap();
        } else {
            drop(alice);
        }
        assert_eq!(store.stored().bans.len(), 2);
        let alice = start();
        assert_eq!(alice.0.handle().bans(), before);
        // In force from the first connection on, without a call.
        let addr = alice.0.handle().local_addr().unwrap();
        let events = alice.0.handle().subscribe();
        assert!(!is_let_in(&plain_from(HERE, addr)));
        assert_eq!(verdict(&events), Err(banned(target("127.8.1.1"))));
        let other = plain_from(ELSEWHERE, addr);
        assert!(is_let_in(&other));
        assert_eq!(
            knock(&bob.0, alice.0.handle().peer_address().unwrap(), &events),
            Err(banned(id))
        );
        until("bob knows", || bob.0.handle().num_peers() == Default::default());
    }
}

/// A store whose disk is full, now and then.
struct Full(Arc<AtomicBool>);

impl BookStore for Full {
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        Ok(StoredBook::default())
    }

    fn write(&mut self, _: &StoreBatch) -> Result<(), StoreError> {
        match self.0.load(SeqCst) {
            true => Err(StoreError::with_source("disk", std::io::Error::other("full"))),
            false => Ok(()),
        }
    }
}

/// The operator thought that it was for good, and after the restart there was no ban.
#[test]
fn a_ban_that_cannot_be_stored_is_in_force_and_says_so() {
    let is_full = Arc::new(AtomicBool::new(true));
    let store = Full(is_full.clone());
    let alice = built(unlimited(), NodeKey::generate(), |builder, _| builder.book_store(store));
    let handle = alice.0.handle();
    let banned = handle.ban(target("1.2.3.4"), None, "spam").unwrap_err();
    let BanError::Unstored(unstored) = &banned else { panic!("{banned}") };
    assert!(unstored.why.contains("full"), "{banned}");
    assert_eq!(unstored.bans, handle.bans(), "it is in force");
    assert!(banned.to_string().starts_with("it is in force, but could not be stored"), "{banned}");
    let many = handle.ban_many([target("1.2.3.5"), target("1.2.3.6")], None, "spam").unwrap_err();
    let BanManyError::Unstored(many) = many else { panic!("{many}") };
    let targets: Vec<_> = many.bans.iter().map(|ban| ban.target).collect();
    assert_eq!(targets, [target("1.2.3.5"), target("1.2.3.6")]);
    assert_eq!(handle.bans().len(), 3);
    let lifted = handle.unban(target("1.2.3.4")).unwrap_err();
    let UnbanError::Unstored(lifted) = lifted else { panic!("{lifted}") };
    assert_eq!(lifted.bans, unstored.bans);
    assert_eq!(handle.bans().len(), 2);
    // It is tried again, with what comes later.
    is_full.store(false, SeqCst);
    handle.ban(target("1.2.3.7"), None, "spam").unwrap();
    assert_eq!(alice.0.stop(DEADLINE).unwrap().unstored, None);
}

/// Whatever has become of the file, there is a node, and what it learns from then on is kept.
#[cfg(feature = "sqlite")]
#[test]
fn a_node_with_a_corrupt_book_starts_and_begins_a_new_one() {
    let folder = tempfile::TempDir::with_prefix("bans").unwrap();
    let file = folder.path().join("book.sqlite");
    let rubbish = b"a text that is longer than the header of a database ".repeat(100);
    std::fs::write(&file, &rubbish).unwrap();
    let start = || node_from(Config { addr_book_file: Some(file.clone()), ..unlimited() });

    let alice = start();
    assert_eq!(alice.0.handle().bans(), []);
    connect(&node().0, &alice.0);
    let ban = alice.0.handle().ban(target("1.2.3.4"), None, "spam").unwrap();
    alice.0.stop(DEADLINE).unwrap();
    assert_eq!(start().0.handle().bans(), [ban]);

    // What was there can be looked at.
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let aside = files.filter(|path| std::fs::read(path).unwrap() == rubbish).count();
    assert_eq!(aside, 1, "set aside, and once");
}

#[test]
fn nothing_can_be_changed_after_the_stop() {
    let store = MemoryStore::new();
    let alice = built(unlimited(), NodeKey::generate(), |b, _| b.book_store(store.clone()));
    let handle = alice.0.handle().clone();
    handle.ban(target("1.2.3.4"), None, "before").unwrap();
    let (bans, metrics) = (handle.bans(), handle.metrics());
    alice.0.stop(DEADLINE).unwrap();
    let stored = store.stored();

    let other = stranger(closed_port());
    let id = other.id();
    let stopped = Err(ControlError::Stopped(Stopped));
    assert_eq!(handle.ban(id, None, "").unwrap_err(), BanError::Stopped(Stopped));
    assert_eq!(handle.unban(target("1.2.3.4")).unwrap_err(), UnbanError::Stopped(Stopped));
    assert_eq!(handle.add_persistent(other.clone()), stopped);
    assert_eq!(handle.remove_persistent(id), stopped);
    assert_eq!(handle.add_unconditional(id), stopped);
    assert_eq!(handle.add_private(id), stopped);
    let limits = Limits { max_num_inbound_peers: 0, max_num_outbound_peers: 0 };
    assert_eq!(handle.set_limits(limits), stopped);
    assert_eq!(handle.disconnect(id, ""), stopped);
    assert_eq!(handle.mark_bad(id, DEADLINE, ""), stopped);
    assert_eq!(handle.mark_good(id), stopped);
    assert_eq!(handle.peer_states().map(drop), stopped);
    let dialed = handle.dial_peers([other.clone()]);
    assert_eq!(dialed, Err(DialPeersError::Control(ControlError::Stopped(Stopped))));
    assert_eq!(handle.dial(other).wait(), Err(Stopped.into()));

    let mut after = handle.metrics();
    // The stop itself takes turns of the loop.
    assert!(after.event_loop.turns > metrics.event_loop.turns);
    after.event_loop = metrics.event_loop;
    assert_eq!((handle.bans(), after), (bans, metrics));
    assert_eq!(store.stored(), stored);
}

#[test]
fn a_ban_of_a_persistent_peer_ends_with_the_ban() {
    let bob = node();
    let config = Config {
        persistent_peers: vec![bob.0.handle().peer_address().unwrap()],
        persistent_peers_max_dial_period: Duration::from_millis(20),
        dial_spread: Duration::ZERO,
        ..unlimited()
    };
    let alice = node_from(config);
    let (handle, events) = (alice.0.handle(), alice.0.handle().subscribe());
    let id = up(&alice.1).id();
    handle.ban(id, None, "maintenance").unwrap();
    assert_eq!(peer_down(&events), (id, banned(id)));
    assert_eq!(dial_failed(&events).1, banned(id));
    handle.unban(id).unwrap();
    assert_eq!(peer_up(&events), id);
}

#[test]
fn a_list_is_banned_at_once_or_not_at_all() {
    let (alice, bob) = (node(), node());
    let handle = alice.0.handle().clone();
    pair(&bob, &alice);
    let ranges = (0..50_000u32).map(|n| {
        let ip = Ipv4Addr::from(0x2000_0000 + (n << 8));
        BanTarget::from(Cidr::new(ip.into(), 24).unwrap())
    });
    let with = |last: BanTarget| ranges.clone().chain([last]);
    let error = BanManyError::Target { position: 50_001, error: BanError::OwnId };
    assert_eq!(handle.ban_many(with(handle.id().into()), None, "list"), Err(error.clone()));
    assert_eq!(error.to_string(), format!("entry 50001 of the list: {}", BanError::OwnId));
    assert_eq!(handle.bans(), []);
    let bans = handle.ban_many(with(bob.0.handle().id().into()), None, "list").unwrap();
    assert_eq!((bans.len(), handle.bans().len()), (50_001, 50_001));
    assert_eq!(bans[7].target, "32.0.7.0/24".parse().unwrap());
    let (_, reason) = down(&alice.1);
    assert_eq!(reason, banned(bob.0.handle().id()).into(), "who is on the list leaves");
    assert_eq!(handle.ban_many([] as [NodeId; 0], None, "nobody"), Ok(Vec::new()));
    // A single one is lifted as it was imposed.
    assert!(handle.unban(bans[7].target).is_ok());
    alice.0.stop(Duration::from_secs(5)).unwrap();
    let stopped = BanManyError::Control(ControlError::Stopped(Stopped));
    assert_eq!(handle.ban_many(ranges, None, "late"), Err(stopped));
}
