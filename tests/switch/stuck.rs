//! Code of the application on threads of the library that blocks, panics, or ends the switch itself:
//! nothing hangs, and nothing is left behind unnamed.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    time::Duration,
};

use tmp2p::{
    BanError, Config, DisconnectReason, Event, MemoryStore, NodeKey, ReactorSpec, StopError,
    StopReason, Switch, SwitchBuilder, Verdict, WrongThread,
    crossbeam_channel::{Receiver, bounded, unbounded},
};

use crate::{process::*, support::*};

/// Blocks whoever comes, until it is dropped.
fn gate() -> (tmp2p::crossbeam_channel::Sender<()>, impl Fn() + Clone + Send + Sync + 'static) {
    let (release, blocked) = bounded::<()>(0);
    (release, move || {
        let _ = blocked.recv();
    })
}

/// Blocks in its `Drop`.
struct Late<F: Fn()>(F);

impl<F: Fn()> Drop for Late<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

type Prepare = Box<dyn FnOnce(&mut SwitchBuilder, &mut ReactorSpec)>;

/// The fault: whoever stopped or dropped a switch whose thread sat in code of the application waited
/// as long as that did.
#[test]
fn a_stop_waits_for_no_hook_filter_or_drop() {
    for place in ["hook", "connection filter", "peer filter", "drop of a value"] {
        let (_release, block) = gate();
        let (entered, enters) = unbounded();
        let second = NodeKey::generate();
        let id = second.id();
        let enter = move || {
            entered.send(()).unwrap();
            block();
        };
        let prepare: Prepare = match place {
            "hook" => Box::new(move |_, spec| {
                hook(spec, move |peer, _| {
                    if peer.id() == id {
                        enter()
                    }
                });
            }),
            "connection filter" => Box::new(move |builder, _| {
                let asked = AtomicU8::new(0);
                builder.connection_filter(move |_| {
                    if asked.fetch_add(1, SeqCst) > 0 {
                        enter();
                    }
                    Verdict::Accept
                });
            }),
            "peer filter" => Box::new(move |builder, _| {
                builder.peer_filter(move |candidate| {
                    if candidate.node_info.as_ref().is_some_and(|info| info.id() == Some(id)) {
                        enter();
                    }
                    Verdict::Accept
                });
            }),
            _ => Box::new(move |_, spec| {
                hook(spec, move |peer, _| {
                    if peer.id() == id {
                        peer.set(Mutex::new(Late(enter.clone())));
                        panic!("a panic on purpose, so that the value goes");
                    }
                });
            }),
        };
        let alice = built(unlimited(), NodeKey::generate(), prepare);
        let (bob, carol) = (node(), built(unlimited(), second, |_, _| {}));
        connect(&bob.0, &alice.0);
        let peer = up(&alice.1);
        let _dial = carol.0.handle().dial(alice.0.handle().peer_address().unwrap());
        next(&enters);
        let handle = alice.0.handle().clone();
        let dial = handle.dial(stranger(closed_port()));
        let (switch, reactor) = alice;
        let report = in_time(move || switch.stop(Duration::ZERO)).unwrap();
        assert_eq!(report.left_behind, ["p2p-switch"], "{place}");
        assert_eq!(report.sessions, 1, "{place}");
        // Everybody hears of the end all the same.
        assert!(dial.wait().is_err());
        assert!(handle.peers().is_empty());
        assert!(peer.closed().recv().is_err());
        let ends: Vec<_> = reactor.events().iter().collect();
        let [Event::PeerDown(who, reason)] = &ends[..] else { panic!("{place}: {ends:?}") };
        assert_eq!((who, &**reason), (&peer, &DisconnectReason::Stopped));
        down(&bob.1);
    }
}

/// A resolver that finds nobody, and a store that keeps nothing: each does this first.
struct Acts<F>(F, MemoryStore);

impl<F: Fn() + Send + Sync> tmp2p::Resolver for Acts<F> {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<std::net::SocketAddr>> {
        (self.0)();
        Err(std::io::Error::other("nobody"))
    }
}

impl<F: Fn() + Send> tmp2p::BookStore for Acts<F> {
    fn load(&mut self) -> Result<tmp2p::StoredBook, tmp2p::StoreError> {
        self.1.load()
    }
    fn write(&mut self, _: &tmp2p::StoreBatch) -> Result<(), tmp2p::StoreError> {
        (self.0)();
        Ok(())
    }
}

#[test]
fn a_stop_names_a_store_that_does_not_return() {
    let (_release, block) = gate();
    let alice = built(unlimited(), NodeKey::generate(), |builder, _| {
        builder.book_store(Acts(block, MemoryStore::new()));
    });
    let banned = alice.0.handle().ban(NodeKey::generate().id(), None, "test");
    assert!(matches!(banned, Err(BanError::Unstored(_))), "{banned:?}");
    let report = in_time(move || alice.0.stop(Duration::ZERO)).unwrap();
    assert_eq!(report.left_behind, ["p2p-store"]);
}

/// What the logger of a test's process does on threads of the library.
static LOGGER: AtomicU8 = AtomicU8::new(0);
const PANICS: u8 = 1;
const BLOCKS: u8 = 2;

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &log::Record<'_>) {
        let thread = std::thread::current();
        if !thread.name().is_some_and(|name| name.starts_with("p2p-")) {
            return;
        }
        match LOGGER.load(SeqCst) {
            PANICS => panic!("a panic on purpose"),
            BLOCKS => loop {
                std::thread::park();
            },
            _ => {}
        }
    }

    fn flush(&self) {}
}

fn set_logger(does: u8) {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    LOGGER.store(does, SeqCst);
}

/// The fault: a logger that panicked ended `p2p-switch`, and then `drop` waited for ever.
#[test]
fn a_logger_that_panics_ends_nothing() {
    if !is_alone("stuck::a_logger_that_panics_ends_nothing") {
        return;
    }
    set_logger(PANICS);
    let exchanges = || Config { pex: true, addr_book_strict: false, ..unlimited() };
    let (alice, bob) = (node_from(exchanges()), node_from(exchanges()));
    let (to_bob, _) = pair(&alice, &bob);
    to_bob.send(CHANNEL, b"hello".to_vec()).unwrap();
    assert_eq!(&message(&bob.1).payload()[..], b"hello");
    assert!(dial(&alice.0, stranger(closed_port())).is_err());
    alice.0.handle().ban(NodeKey::generate().id(), None, "test").unwrap();
    assert_eq!(in_time(move || alice.0.stop(DEADLINE)).unwrap().left_behind, [""; 0]);
    down(&bob.1);
    in_time(move || drop(bob.0));
}

#[test]
fn a_logger_that_blocks_holds_up_no_stop() {
    if !is_alone("stuck::a_logger_that_blocks_holds_up_no_stop") {
        return;
    }
    let alice = node();
    let bob = node();
    pair(&alice, &bob);
    set_logger(BLOCKS);
    let handle = alice.0.handle();
    let _dial = handle.dial(stranger(closed_port()));
    let (switch, reactor) = alice;
    let report = in_time(move || switch.stop(Duration::ZERO)).unwrap();
    assert_eq!(report.left_behind, ["p2p-switch"]);
    assert!(matches!(reactor.events().iter().last(), Some(Event::PeerDown(..))));
    in_time(move || drop(bob.0));
}

/// Where the owner of a switch is told what to do with it.
type Owner = Arc<Mutex<Option<Switch>>>;

/// What a library thread does with the owner; what became of it.
#[derive(Debug, PartialEq)]
enum Told {
    Waited(StopReason),
    Stopped(StopError),
    Dropped,
}

fn do_with(owner: &Owner, what: usize) -> Option<Told> {
    let mut owner = owner.lock().unwrap();
    Some(match what {
        0 => Told::Waited(owner.as_ref()?.wait()),
        1 => Told::Stopped(owner.take()?.stop(DEADLINE).unwrap_err()),
        _ => {
            drop(owner.take()?);
            Told::Dropped
        }
    })
}

/// The fault: it joined the thread it was on, which is a panic, or waited for itself for ever. A panic
/// ends the process here, as with `panic = "abort"`.
#[test]
fn a_switch_may_be_dropped_stopped_and_waited_for_on_its_own_threads() {
    if !is_alone("stuck::a_switch_may_be_dropped_stopped_and_waited_for_on_its_own_threads") {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::abort();
    }));
    for place in ["hook", "filter", "resolver", "store"] {
        for what in 0..3 {
            let owner = Owner::default();
            let (told, tells) = unbounded();
            let theirs = owner.clone();
            let act = move || {
                if let Some(became) = do_with(&theirs, what) {
                    told.send(became).unwrap();
                }
            };
            let (switch, reactor) = built(unlimited(), NodeKey::generate(), |builder, spec| {
                at_place(place, act, builder, spec);
            });
            let handle = switch.handle().clone();
            let addr = handle.peer_address().unwrap();
            *owner.lock().unwrap() = Some(switch);
            let name = format!("{}@name.example:1", NodeKey::generate().id());
            let _dial = handle.dial(name.parse().unwrap());
            let _ban = std::thread::spawn({
                let handle = handle.clone();
                move || handle.ban(NodeKey::generate().id(), None, "test")
            });
            let bob = node();
            let _dial = bob.0.handle().dial(addr);
            let expected = match what {
                0 => Told::Waited(StopReason::WrongThread),
                1 => Told::Stopped(StopError::WrongThread(WrongThread)),
                _ => Told::Dropped,
            };
            assert_eq!(next(&tells), expected, "{place}");
            if what == 0 {
                let switch = owner.lock().unwrap().take();
                in_time(move || drop(switch));
            }
            // It stops all the same.
            ends(reactor.events());
            in_time(move || drop(bob));
            until("every thread has ended", || resources().0.is_empty());
        }
    }
}

/// Has this done at a place where the library calls the application.
fn at_place(
    place: &str,
    act: impl Fn() + Clone + Send + Sync + 'static,
    builder: &mut SwitchBuilder,
    spec: &mut ReactorSpec,
) {
    // No name is to reach the system's.
    builder.resolver(Acts(|| {}, MemoryStore::new()));
    match place {
        "hook" => hook(spec, move |_, _| act()),
        "filter" => builder.connection_filter(move |_| {
            act();
            Verdict::Accept
        }),
        "resolver" => builder.resolver(Acts(act, MemoryStore::new())),
        _ => builder.book_store(Acts(act, MemoryStore::new())),
    }
}

#[track_caller]
fn ends(events: &Receiver<Event>) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while events.recv_deadline(deadline).is_ok() {}
    assert!(std::time::Instant::now() < deadline, "the switch goes on");
}
