//! The two threads, with stores that work, fail, hang and panic.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender};
use rand::{SeedableRng, rngs::StdRng};

use super::{BookState, FoundBook, Pex, PexHandle, PexSettings, Prepared, Start};
use crate::{
    addrbook::{
        BanError, BookKey, BookLimits, BookSettings, BookStore, KnownAddress, MemoryStore,
        StoreBatch, StoreEnd, StoreError, StoredBook, UnbanError,
        json::{self, ImportedBook},
    },
    address::NetAddress,
    ban::{Ban, BanTable, BanTarget},
    clock::Clock,
    config::{Config, PexBias},
    event_loop::Mailbox,
    identity::NodeId,
    reactor::Verdicts,
    refused::{Stopped, WrongThread},
    switch::{Input, ToSwitch},
    thread,
    time::Mono,
};

/// For what must happen: never waited out unless the test fails.
const LONG: Duration = Duration::from_secs(20);

type Published = (Arc<BanTable>, Vec<Ban>);

struct Running {
    pex: Pex,
    handle: PexHandle,
    inputs: Receiver<Input>,
    clock: Clock,
}

/// A node that keeps a book and exchanges nothing.
pub(super) fn begin() -> Start {
    Start {
        settings: PexSettings::of(&Config { pex: false, ..Config::default() }),
        book: BookSettings { own: id(0), is_strict: true, limits: BookLimits::default() },
        private: Vec::new(),
        find: Box::new(|_| None),
        seed: [1; 32],
        book_seed: [2; 32],
    }
}

fn start(store: Option<Box<dyn BookStore>>) -> Running {
    let clock = Clock::start();
    let prepared = Prepared::load(begin(), store, clock.clone()).unwrap();
    let handle = prepared.handle();
    let (to_switch, inputs) = ToSwitch::new();
    let pex = prepared.start(None, to_switch, to_loop()).unwrap();
    Running { pex, handle, inputs, clock }
}

pub(super) fn to_loop() -> Arc<Mailbox> {
    Arc::new(Mailbox::new(|| {}, || Mono::ZERO))
}

/// For whom no switch is there.
fn start_alone(prepared: Prepared) -> Pex {
    prepared.start(None, ToSwitch::new().0, to_loop()).unwrap()
}

impl Running {
    /// What the switch is told of bans next.
    fn published(&self) -> Published {
        loop {
            if let Some(bans) = bans(self.inputs.recv_timeout(LONG).unwrap()) {
                return bans;
            }
        }
    }

    fn stop(self) -> Option<StoreEnd> {
        let end = self.pex.stop(self.clock.mono() + LONG);
        assert!(!end.had_panicked);
        end.store
    }
}

fn bans(input: Input) -> Option<Published> {
    match input {
        Input::Bans { table, added } => Some((table, added)),
        _ => None,
    }
}

fn id(n: u8) -> NodeId {
    NodeId::from_bytes([n; 20])
}

fn ban(handle: &PexHandle, n: u8) -> Ban {
    handle.ban(id(n).into(), None, "test".to_owned()).unwrap()
}

/// A store that tells of each write, and does what it is told to.
struct Told {
    writes: Sender<StoreBatch>,
    results: Receiver<Result<(), StoreError>>,
}

impl BookStore for Told {
    fn load(&mut self) -> Result<StoredBook, StoreError> {
        // With a key, or that would be the first thing to be written.
        let key = BookKey::random(&mut StdRng::seed_from_u64(1));
        Ok(StoredBook { key: Some(key), ..StoredBook::default() })
    }

    fn write(&mut self, batch: &StoreBatch) -> Result<(), StoreError> {
        let _ = self.writes.send(batch.clone());
        self.results.recv().unwrap_or(Ok(()))
    }
}

type ToldStore = (Box<dyn BookStore>, Receiver<StoreBatch>, Sender<Result<(), StoreError>>);

fn told() -> ToldStore {
    let (writes, written) = crossbeam_channel::unbounded();
    let (result, results) = crossbeam_channel::unbounded();
    (Box::new(Told { writes, results }), written, result)
}

#[test]
fn bans_live_in_memory_not_enforced_on_accept_no_op_for_unknown_ids() {
    let store = MemoryStore::new();
    let first = start(Some(Box::new(store.clone())));
    let unknown = ban(&first.handle, 1);
    let ip = first.handle.ban("10.0.0.0/8".parse().unwrap(), Some(LONG * 1000), "net".into());
    let ip = ip.unwrap();
    // Published before it was answered.
    let published = first.inputs.try_iter().filter_map(bans);
    let tables: Vec<_> = published.flat_map(|(_, added)| added).collect();
    assert_eq!(tables, [unknown.clone(), ip.clone()]);
    first.handle.mark_bad(id(2), None, LONG * 1000, "no answer".into());
    assert_eq!(first.stop(), Some(StoreEnd::Written));

    let second = start(Some(Box::new(store.clone())));
    assert_eq!(second.handle.bans().iter().cloned().collect::<Vec<_>>(), [unknown, ip]);
    assert_eq!(second.handle.bad_addresses().unwrap()[0].id, id(2));
    second.handle.mark_good(id(2));
    second.handle.unban(id(1).into()).unwrap();
    let begin = std::time::SystemTime::UNIX_EPOCH;
    assert!(second.published().0.find_id(&id(1), begin).is_none());
    assert_eq!(second.handle.unban(id(1).into()), Err(UnbanError::NotBanned(BanTarget::Id(id(1)))));
    assert_eq!(second.stop(), Some(StoreEnd::Written));
    assert_eq!((store.stored().bans.len(), store.stored().bad.len()), (1, 0));
}

#[test]
fn a_ban_ends_by_itself() {
    let running = start(None);
    let ban = running.handle.ban(id(1).into(), Some(Duration::from_millis(50)), "x".into());
    assert_eq!(running.published().1, [ban.unwrap()]);
    let (table, added) = running.published();
    assert!(table.is_empty() && added.is_empty());
    assert!(running.handle.bans().is_empty());
    assert_eq!(running.stop(), None);
}

#[test]
fn handles_say_so_after_the_stop_and_on_the_librarys_threads() {
    let running = start(None);
    let handle = running.handle.clone();
    let theirs = handle.clone();
    let on_ours = thread::spawn("p2p-test", move || theirs.ban(id(1).into(), None, "x".into()));
    let on_ours = on_ours.unwrap().join_within(LONG);
    assert_eq!(on_ours, thread::Joined::Over(Err(BanError::WrongThread(WrongThread))));
    assert_eq!(handle.ban(id(0).into(), None, "x".into()), Err(BanError::OwnId));
    ban(&handle, 1);
    running.stop();
    assert_eq!(handle.ban(id(2).into(), None, "x".into()), Err(BanError::Stopped(Stopped)));
    assert_eq!(handle.unban(id(1).into()), Err(UnbanError::Stopped(Stopped)));
    assert_eq!(handle.bad_addresses(), None);
    assert_eq!(handle.bans().len(), 1, "the last table can still be read");
}

#[test]
fn a_reactor_that_praises_every_message_does_not_fill_the_queue() {
    let clock = Clock::start();
    let prepared = Prepared::load(begin(), None, clock.clone()).unwrap();
    let handle = prepared.handle();
    for _ in 0..1000 {
        handle.mark_good(id(1));
        handle.mark_good(id(2));
    }
    assert_eq!(prepared.num_inputs(), 2);
    // The last word counts.
    handle.mark_bad(id(1), None, LONG * 1000, "x".into());
    handle.mark_good(id(1));
    assert_eq!(prepared.num_inputs(), 4);
    let pex = start_alone(prepared);
    assert_eq!(handle.bad_addresses().unwrap(), []);
    handle.mark_bad(id(1), None, LONG * 1000, "x".into());
    assert_eq!(handle.bad_addresses().unwrap().len(), 1);
    handle.mark_good(id(1));
    assert_eq!(handle.bad_addresses().unwrap(), [], "it is heard again once it was taken");
    pex.stop(clock.mono() + LONG);
}

#[test]
fn a_write_that_fails_is_tried_again_with_what_came_later() {
    let (store, written, result) = told();
    let running = start(Some(store));
    ban(&running.handle, 1);
    assert_eq!(written.recv_timeout(LONG).unwrap().len(), 1);
    result.send(Err(StoreError::with_source("disk", std::io::Error::other("full")))).unwrap();
    // Urgent: does not wait for the pause after a failure.
    ban(&running.handle, 2);
    let batch = written.recv_timeout(LONG).unwrap();
    assert!(batch.bans.contains_key(&id(2).into()));
    result.send(Ok(())).unwrap();
    drop(result);
    let first = batch.bans.contains_key(&id(1).into());
    assert_eq!(running.stop(), Some(StoreEnd::Written));
    assert!(first, "{batch:?}");
}

#[test]
fn a_store_that_hangs_holds_up_nobody_and_is_left_behind() {
    let (store, written, result) = told();
    let running = start(Some(store));
    ban(&running.handle, 1);
    written.recv_timeout(LONG).unwrap();
    // The store sits in its write now; the book goes on.
    for n in 2..100 {
        ban(&running.handle, n);
    }
    running.handle.unban(id(1).into()).unwrap();
    assert_eq!(running.handle.bans().len(), 98);
    let end = running.pex.stop(Mono::ZERO);
    assert_eq!(end.store, Some(StoreEnd::LeftBehind));
    // It comes back late: what waited is still written, then the thread drops the store.
    drop(result);
    let last = written.recv_timeout(LONG).unwrap();
    assert_eq!((last.len(), &last.bans[&id(1).into()]), (99, &None));
    assert!(written.recv_timeout(LONG).is_err());
}

#[test]
fn a_store_that_still_fails_at_the_stop_is_reported() {
    struct Broken;
    impl BookStore for Broken {
        fn load(&mut self) -> Result<StoredBook, StoreError> {
            Ok(StoredBook::default())
        }
        fn write(&mut self, _: &StoreBatch) -> Result<(), StoreError> {
            panic!("a panic in a store, as the test wants it")
        }
    }
    let running = start(Some(Box::new(Broken)));
    ban(&running.handle, 1);
    assert_eq!(running.stop(), Some(StoreEnd::Failed("the store panicked".to_owned())));
}

/// Whoever has begun without it, with a broken one or with another one has lost nothing by putting it
/// there later; and none is taken in twice.
#[test]
fn what_was_taken_in_last_is_known_at_the_next_start() {
    let store = MemoryStore::new();
    let file = |n: u8| {
        let addr = NetAddress::new(id(n), [50, 1, 1, n].into(), 1);
        let book = ImportedBook { addresses: vec![known(addr)], ..Default::default() };
        FoundBook { digest: [n; 32], book }
    };
    let mut asked = Vec::new();
    for found in [None, Some(file(1)), None, Some(file(2)), None] {
        let (sender, receiver) = crossbeam_channel::unbounded();
        let is_found = found.is_some();
        let find = Box::new(move |taken| {
            sender.send(taken).unwrap();
            found
        });
        let start = Start { find, ..begin() };
        let clock = Clock::start();
        let prepared = Prepared::load(start, Some(Box::new(store.clone())), clock.clone()).unwrap();
        assert_eq!(prepared.imported().map(|report| report.added), is_found.then_some(1));
        let pex = start_alone(prepared);
        pex.stop(clock.mono() + LONG);
        asked.extend(receiver.try_iter());
    }
    let [first, second] = [1, 2].map(|n| Some([n; 32]));
    assert_eq!(asked, [None, None, first, first, second]);
    assert_eq!(store.stored().addresses.len(), 2);
}

#[test]
fn an_operator_ends_what_is_bad_and_it_is_stored() {
    let (store, written, result) = told();
    let running = start(Some(store));
    drop(result);
    let addr = NetAddress::new(id(1), [50, 1, 1, 1].into(), 1);
    running.handle.mark_bad(id(1), Some(addr), LONG, "no answer".to_owned());
    assert!(written.recv_timeout(LONG).unwrap().bad[&id(1)].is_some());
    assert!(running.handle.reinstate(id(1)).unwrap());
    let batch = written.recv_timeout(LONG).unwrap();
    assert_eq!(batch.bad[&id(1)], None);
    assert!(batch.addresses[&id(1)].is_some(), "new again");
    assert!(!running.handle.reinstate(id(1)).unwrap(), "it is bad no more");
    assert!(!running.handle.reinstate(id(2)).unwrap(), "nobody knows it");
    running.stop();
}

/// What a file says of an address that was never tried.
fn known(addr: NetAddress) -> KnownAddress {
    let file = format!(
        r#"{{"addrs": [{{"addr": {{"id": "{}", "ip": "{}", "port": 1}}, "bucket_type": 1}}]}}"#,
        addr.id(),
        addr.ip()
    );
    json::parse(file.as_bytes()).unwrap().addresses.remove(0)
}

#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    struct Unreadable;
    impl BookStore for Unreadable {
        fn load(&mut self) -> Result<StoredBook, StoreError> {
            Err(StoreError::new("no permission"))
        }
        fn write(&mut self, _: &StoreBatch) -> Result<(), StoreError> {
            Ok(())
        }
    }
    let result = Prepared::load(begin(), Some(Box::new(Unreadable)), Clock::start());
    assert_eq!(result.err().unwrap().to_string(), "no permission");
}

#[test]
fn a_private_node_is_in_no_export_until_it_is_private_no_more() {
    let running = start(None);
    let addr = NetAddress::new(id(1), [50, 1, 1, 1].into(), 1);
    let imported = ImportedBook { addresses: vec![known(addr)], ..Default::default() };
    assert_eq!(running.handle.import(imported).unwrap().added, 1);
    let exported = || {
        let file = running.handle.export().unwrap();
        json::parse(&file)
            .unwrap()
            .addresses
            .into_iter()
            .map(|known| known.addr)
            .collect::<Vec<_>>()
    };
    assert_eq!(exported(), vec![addr]);
    running.handle.add_private(vec![id(1)]);
    assert_eq!(exported(), Vec::new());
    running.handle.remove_private(vec![id(1)]);
    assert_eq!(exported(), vec![addr]);
    running.stop();
}

#[test]
fn the_book_says_of_whom_is_banned_that_it_is() {
    let running = start(None);
    let [by_id, by_ip, free] = [1, 2, 3].map(|n| NetAddress::new(id(n), [50, n, 1, 1].into(), 1));
    let addresses = [by_id, by_ip, free].map(known).to_vec();
    let imported = ImportedBook { addresses, ..Default::default() };
    _ = running.handle.import(imported).unwrap();
    for target in [id(1).into(), by_ip.ip().into()] {
        running.handle.ban(target, None, "test".to_owned()).unwrap();
    }
    let view = running.handle.book().unwrap();
    let states: Vec<_> = view.addresses.iter().map(|entry| entry.state).collect();
    assert_eq!(states, [BookState::Banned, BookState::Banned, BookState::New]);
    running.stop();
}

#[test]
fn who_asks_for_the_book_on_the_librarys_threads_is_refused_and_not_waited_for() {
    let running = start(None);
    let theirs = running.handle.clone();
    let asked = thread::spawn("p2p-test", move || theirs.book()).unwrap().join_within(LONG);
    let thread::Joined::Over(answer) = asked else { panic!("it hangs") };
    assert_eq!(answer, Err(WrongThread.into()));
    assert!(running.handle.book().is_ok());
    running.stop();
}

/// `Config::pex_bias` is the application's code, on the thread of peer exchange.
#[test]
fn a_bias_that_hangs_is_left_behind_and_nobody_waits_for_its_thread() {
    let (entered, is_in) = crossbeam_channel::bounded(0);
    let (let_go, gone) = crossbeam_channel::bounded::<()>(0);
    let bias = PexBias::new(move |_| {
        _ = entered.send(());
        _ = gone.recv();
        50
    });
    let settings = PexSettings::of(&Config { pex_bias: bias, ..Config::default() });
    let addr = NetAddress::new(id(1), [50, 1, 1, 1].into(), 1);
    let find = Box::new(move |_| {
        let book = ImportedBook { addresses: vec![known(addr)], ..Default::default() };
        Some(FoundBook { digest: [1; 32], book })
    });
    let start = Start { settings, find, ..begin() };
    let prepared = Prepared::load(start, None, Clock::start()).unwrap();
    let handle = prepared.handle();
    let pex = start_alone(prepared);
    handle.request_more_peers();
    is_in.recv_timeout(LONG).unwrap();
    let end = pex.stop(Mono::ZERO);
    assert!(end.is_left_behind && !end.had_panicked);
    assert_eq!(handle.ban(id(2).into(), None, "x".into()), Err(BanError::Stopped(Stopped)));
    drop((let_go, is_in));
}
