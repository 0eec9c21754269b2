//! What may know of what, read from the source itself: which module names which, and that what
//! decides names nothing that does (sockets, threads, clocks, disks).
//!
//! The scanner sees every path and every `use`, aliases included; it does not see through macros of
//! other crates or method calls on values, so a rule is about what a file *names*.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "architecture/page.rs"]
mod page;
#[path = "architecture/scan.rs"]
mod scan;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use scan::{CLOCK, Crate, Named, Source};

/// Who may know of whom: a module names modules of its own line and of the lines above, except
/// that `protocol` and `addrbook` do not know of each other.
const LAYERS: [&[&str]; 8] = [
    &[
        "address",
        "ban",
        "channel",
        "clock",
        "config",
        "deadlines",
        "drive",
        "folder",
        "guard",
        "identity",
        "ids",
        "origin",
        "payload",
        "refused",
        "reply",
        "text",
        "thread",
        "time",
        "wake",
    ],
    &["protocol", "secret", "mconn", "addrbook", "node_info"],
    &["reactor"],
    &["event_loop"],
    &["switch"],
    &["pex"],
    &["runtime"],
    &["testing"],
];

/// Never, although the layers would allow it: `(who, whom, why)`.
const NEVER: [(&str, &str, &str); 5] = [
    ("addrbook", "node_info", "what the book knows of a node it is told"),
    ("protocol", "addrbook", "siblings"),
    ("addrbook", "protocol", "siblings"),
    ("event_loop", "addrbook", "the loop waits for no disk; bans reach it as a table"),
    ("switch", "addrbook", "peer exchange subscribes to the switch's events instead"),
];

/// What does, by where it lies: a folder or a file with one of these names. Everything else decides, and
/// names none of [`WORLD`].
const DRIVERS: [&str; 11] = [
    "driver/",
    "sqlite/",
    "runtime/",
    "testing/",
    "clock.rs",
    "folder.rs",
    "handle.rs",
    "key_file.rs",
    "resolver.rs",
    "thread.rs",
    "writer.rs",
];

/// What threads share: it may lock and pass on, and nothing else. Its queue needs neither.
const SHARED: &str = "reactor/";
const UNSHARED: &str = "reactor/send_queue.rs";
const SHARING: [&str; 4] =
    ["std::sync::Mutex", "std::sync::Condvar", "crossbeam_channel", "parking_lot"];

/// Sockets, threads, locks, clocks, disks, chance. A last segment may end in `*`.
const WORLD: [&str; 27] = [
    "std::net::Tcp*",
    "std::net::Udp*",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::thread",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::mpsc",
    "std::time::Instant",
    CLOCK,
    "std::fs",
    "std::env",
    "std::process",
    "mio",
    "socket2",
    "crossbeam_channel",
    "parking_lot",
    "rusqlite",
    "rand::rng",
    "rand::random*",
    "rand::rngs::ThreadRng",
    "rand::rngs::SysRng",
    "ring::rand",
    "crate::clock",
    "crate::thread",
    "crate::runtime",
];

/// What a file that decides names all the same: `(file, what, why)`. One that is not needed any more
/// fails.
const EXCEPTIONS: [(&str, &str, &str); 9] = [
    (
        "protocol/secret/agreement.rs",
        "ring::rand",
        "ring's ephemeral keys cannot be made without its own randomness; everything else takes the \
         key as an argument, and this constructor is called by the driver only",
    ),
    ("identity/node_key.rs", "ring::rand", "makes keys"),
    ("addrbook/memory.rs", "parking_lot", "a store that several switches share"),
    ("switch/decision.rs", "std::thread", "whoever drops it may be panicking, on any thread"),
    ("switch/decision.rs", "parking_lot", "it is given on one thread and awaited on another"),
    ("switch/subscribers.rs", "crossbeam_channel", "their queues, which threads of the user read"),
    ("reactor/registration.rs", "std::thread", "whoever drops it may be panicking"),
    ("reactor/broadcast.rs", "crate::thread", "a call that waits says so on the library's threads"),
    ("reactor/peer.rs", "crate::thread", "a call that waits says so on the library's threads"),
];

/// Not in the event loop and what it runs: it reports, the switch logs.
const NO_LOGGING: [&str; 2] = ["event_loop/", "protocol/"];

/// Lines of a file, tests included.
const MAX_LINES: usize = 600;

#[test]
fn dependencies_point_one_way() {
    assert_none(library().sources.iter().flat_map(direction_faults));
}

#[test]
fn what_decides_names_nothing_that_does() {
    let library = library();
    let mut faults = Vec::new();
    let (mut used, mut drivers) = (BTreeSet::new(), BTreeSet::new());
    for source in library.sources.iter().filter(|s| s.file != "lib.rs" && !s.is_test()) {
        for (named, what) in worldly(source) {
            let is_of = |(file, of, _): &&(&str, &str, &str)| *file == source.file && *of == what;
            if let Some(driver) = driver(&source.file) {
                drivers.insert(driver);
            } else if let Some(exception) = EXCEPTIONS.iter().find(is_of) {
                used.insert(exception);
            } else if !may_share(&source.file, what) {
                faults.push(format!("{} names {what}", at(source, named)));
            }
        }
    }
    for exception in EXCEPTIONS.iter().filter(|exception| !used.contains(exception)) {
        faults.push(format!("the exception {exception:?} is not needed any more"));
    }
    for driver in DRIVERS.iter().filter(|driver| !drivers.contains(*driver)) {
        faults.push(format!("no driver {driver} does anything"));
    }
    assert_none(faults);
}

#[test]
fn files_name_each_other_in_one_direction() {
    assert_none(library().circles());
}

/// Of two files of a folder, each may have helpers of the same name; a type or a constant has it alone.
#[test]
fn a_name_means_one_thing_in_a_folder() {
    assert_none(double_names(&library()));
}

#[test]
fn the_loop_does_not_log() {
    let library = library();
    let sources =
        library.sources.iter().filter(|s| NO_LOGGING.iter().any(|p| s.file.starts_with(p)));
    assert_none(sources.flat_map(|source| {
        let logs = source.named.iter().filter(|named| is_under(&named.path, "log"));
        logs.map(|named| format!("{} logs", at(source, named))).collect::<Vec<_>>()
    }));
}

/// A logger is the application's code: one that panics is not to end a thread of the library.
#[test]
fn threads_of_the_library_log_under_a_guard() {
    let library = library();
    let on_threads =
        |s: &&Source| ["switch/", "pex/", "addrbook/"].iter().any(|p| s.file.starts_with(p));
    assert_none(library.sources.iter().filter(on_threads).flat_map(|source| {
        let logs = source
            .named
            .iter()
            .filter(|named| is_under(&named.path, "log") && !is_under(&named.path, "log::Level"));
        logs.map(|named| format!("{} logs past guard::tell", at(source, named))).collect::<Vec<_>>()
    }));
}

/// The lists above mean files that exist: a renamed one must not silently lose its rule.
#[test]
fn every_rule_is_about_something() {
    let library = library();
    let has = |prefix: &str| library.sources.iter().any(|s| s.file.starts_with(prefix));
    assert_none(
        NO_LOGGING
            .iter()
            .chain([&SHARED, &UNSHARED])
            .chain(EXCEPTIONS.iter().map(|(file, ..)| file))
            .filter(|prefix| !has(prefix))
            .map(|prefix| format!("no file {prefix}")),
    );
    for file in ["event_loop/core.rs", "protocol/link/open.rs", "switch/core.rs", "wake.rs"] {
        assert!(has(file) && driver(file).is_none(), "{file} must be pure");
    }
    let [driven, shared] = ["event_loop/driver/mio.rs", "reactor/session.rs"];
    assert!(has(driven) && driver(driven).is_some() && has(shared) && driver(shared).is_none());
    assert!(may_share(shared, "parking_lot") && !may_share(shared, "mio"));
    assert!(!may_share(UNSHARED, "parking_lot") && !may_share("switch/core.rs", "parking_lot"));
}

/// A core has one way in, its inputs: what else a driver may ask of it changes nothing.
#[test]
fn nothing_but_an_input_changes_a_core() {
    let cores = ["switch", "pex"].map(|folder| rust_files(&format!("src/{folder}"))).concat();
    let doors = cores.iter().flat_map(|file| {
        let doors = side_doors(&read(file));
        doors.into_iter().map(move |door| format!("{file}: {door} changes the core"))
    });
    assert_none(doors);
    assert_eq!(
        side_doors("impl PexCore {\n    pub fn ask(\n        &mut self,\n    ) {}\n}"),
        ["ask"]
    );
}

/// Methods beside `Core`'s that are open to drivers and change a core.
fn side_doors(text: &str) -> Vec<String> {
    let blocks = text.split("impl ");
    let cores = blocks.filter(|s| s.starts_with("SwitchCore {") || s.starts_with("PexCore {"));
    let open = cores.flat_map(|block| {
        ["pub fn ", "pub(crate) fn "].into_iter().flat_map(|open| block.split(open).skip(1))
    });
    let methods = open.filter_map(|method| method.split_once('('));
    let changes = methods.filter(|(_, rest)| rest.trim_start().starts_with("&mut self"));
    changes.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn files_are_short() {
    assert_none(rust_files("src").into_iter().filter_map(|file| {
        let lines = read(&file).lines().count();
        (lines > MAX_LINES).then(|| format!("{file}: {lines} lines, {MAX_LINES} are allowed"))
    }));
}

#[test]
fn every_mod_rs_says_what_it_owns() {
    let files: Vec<_> = rust_files("src").into_iter().filter(|f| f.ends_with("mod.rs")).collect();
    assert!(files.len() > 5, "found only {files:?}");
    assert_none(files.into_iter().filter(|file| !read(file).starts_with("//! ")));
}

#[test]
fn unsafe_code_is_forbidden() {
    let mut roots = vec!["src/lib.rs".to_owned()];
    for entry in fs::read_dir(root().join("examples")).expect("there are examples") {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            // A folder is an example if cargo takes it for one, else it is shared by examples.
            let main = format!("examples/{name}/main.rs");
            roots.extend(root().join(&main).is_file().then_some(main));
        } else if name.ends_with(".rs") {
            roots.push(format!("examples/{name}"));
        }
    }
    assert!(roots.len() > 1, "no example found");
    assert_none(
        roots.into_iter().filter(|file| {
            !read(file).lines().any(|line| line.trim() == "#![forbid(unsafe_code)]")
        }),
    );
}

/// Clippy looks for it, and nobody tells it not to.
#[test]
fn what_could_panic_says_why_it_does_not() {
    let lints =
        ["expect_used", "get_unwrap", "indexing_slicing", "panic", "string_slice", "unreachable"];
    let (sums, all) = ("arithmetic_side_effects", read("src/lib.rs"));
    let looks = |text: &str, lint: &str| {
        let attribute = text.split_once("#![cfg_attr(").and_then(|(_, rest)| rest.split_once(")]"));
        attribute.is_some_and(|(attribute, _)| attribute.contains(&format!("clippy::{lint}")))
    };
    assert_none(lints.into_iter().filter(|lint| !looks(&all, lint)));
    let hear_peers = [
        "address/mod.rs",
        "event_loop/conn/mod.rs",
        "identity/mod.rs",
        "node_info/mod.rs",
        "payload.rs",
        "pex/mod.rs",
        "protocol/mod.rs",
    ];
    assert_none(hear_peers.into_iter().filter(|file| !looks(&read(&format!("src/{file}")), sums)));
    assert_none(rust_files("src").into_iter().filter(|file| {
        let text = read(file);
        text.split("allow(").skip(1).any(|list| {
            let list = list.split_once(')').map_or(list, |(list, _)| list);
            lints.into_iter().chain([sums, "unwrap_used"]).any(|lint| list.contains(lint))
        })
    }));
}

/// The rules can fail: each of these small sources breaks one.
#[test]
fn bad_sources_are_caught() {
    let lib = "mod ids; mod reactor; pub use reactor::{Peer, Event as Happening};
               pub use crossbeam_channel;";
    let faults = |file: &str, text: &str| {
        let source = Crate::new([("lib.rs", lib), (file, text)]).sources.pop().unwrap();
        let mut faults: Vec<String> = direction_faults(&source);
        faults.extend(worldly(&source).into_iter().map(|(_, what)| what.to_owned()));
        faults
    };
    for (file, text) in [
        // Direction.
        ("ids.rs", "use crate::reactor::Peer;"),
        ("ids.rs", "use crate::Peer;"),
        ("ids.rs", "use crate::{self as c, text::shown};"),
        ("ids.rs", "use crate::*;"),
        ("ids.rs", "use super::*;"),
        ("ids.rs", "fn f() -> crate::Happening { todo!() }"),
        ("ids.rs", "mod tests { use super::super::protocol::Link; }"),
        ("ids.rs", "macro_rules! m { () => { $crate::switch::SwitchCore } }"),
        ("protocol/wire/field.rs", "use crate::{ids::{ChannelId}, time::Mono, reactor::{Peer}};"),
        ("protocol/wire/mod.rs", "pub use super::super::event_loop::Command;"),
        ("protocol/link.rs", "use super::super::reactor as r; fn f(_: r::Peer) {}"),
        ("protocol/link.rs", "fn f<T: crate::switch::Resolver>() {}"),
        ("protocol/link.rs", "use crate::addrbook::Book;"),
        ("addrbook/mod.rs", "use crate::protocol::Link;"),
        ("event_loop/core.rs", "type T = crate::switch::Input;"),
        ("event_loop/core.rs", "fn f() { crate::addrbook::open() }"),
        ("event_loop/core.rs", "use crate::pex;"),
        ("switch/core.rs", "use crate::addrbook::Book;"),
        ("switch/core.rs", "use crate::runtime::Switch;"),
        ("brand_new.rs", "use crate::ids::ChannelId;"),
        ("protocol/link.rs", "use crate::nowhere::X;"),
        // Purity.
        ("protocol/link.rs", "use std::time::Instant;"),
        ("protocol/link.rs", "use std::time::{Duration, Instant as I};"),
        (
            "protocol/link.rs",
            "use std::{io, time::{self, Duration}}; fn f() { time::Instant::now(); }",
        ),
        ("protocol/link.rs", "use std::time::SystemTime; fn f() { SystemTime::now(); }"),
        ("protocol/link.rs", "use std::time::SystemTime as T; fn f() { T::now(); }"),
        ("protocol/link.rs", "type T = SystemTime; fn f() { T::now(); }"),
        ("protocol/link.rs", "fn f() { <SystemTime>::now(); }"),
        ("protocol/link.rs", "impl Wall for SystemTime { fn f() -> Self { Self::now() } }"),
        ("protocol/link.rs", "fn f(t: SystemTime) { t.elapsed(); }"),
        ("protocol/link.rs", "fn f(t: SystemTime) { SystemTime::elapsed(&t); }"),
        ("protocol/link.rs", "fn f() { jiff::Timestamp::now(); }"),
        ("protocol/link.rs", "use std as s; fn f() { s::thread::yield_now() }"),
        ("protocol/link.rs", "use std::time::*;"),
        ("protocol/link.rs", "use std::*;"),
        ("protocol/link.rs", "fn f() { std::thread::sleep(d) }"),
        ("protocol/link.rs", "fn f() { ::std::thread::sleep(d) }"),
        ("protocol/link.rs", "use std::net::{SocketAddr, TcpStream};"),
        ("protocol/link.rs", "use std::net::UdpSocket;"),
        ("protocol/link.rs", "fn f(_: &mio::Poll) {}"),
        ("protocol/link.rs", "use crate::crossbeam_channel::Sender;"),
        ("protocol/link.rs", "use r#rand::random;"),
        ("protocol/link.rs", "use ring::{digest, rand::SystemRandom};"),
        ("protocol/link.rs", "use crate::clock::Clock;"),
        (
            "protocol/link.rs",
            "#[cfg(x)] static M: parking_lot::Mutex<()> = parking_lot::Mutex::new(());",
        ),
        ("protocol/link.rs", "fn f() { let c = '\"'; std::fs::read(p); let d = '\"'; }"),
        ("protocol/link.rs", "fn f<'a>(x: &'a u8) { std::env::var(s) }"),
        ("protocol/link.rs", "#[path = \"x.rs\"] mod x;"),
        ("protocol/link.rs", "include!(\"x.rs\");"),
        ("protocol/link.rs", "extern crate mio as m;"),
    ] {
        assert_ne!(faults(file, text), [""; 0], "not caught in {file}: {text}");
    }
    for (file, text) in [
        ("reactor/peer.rs", "use crate::{Peer, protocol::{Link, secret::*}, ids::ChannelId};"),
        ("reactor/peer.rs", "use super::session::Session; use super::*;"),
        ("ids.rs", "mod tests { use super::*; use crate::payload::Payload; }"),
        ("ids.rs", "// use crate::reactor::Peer;\n/* /* std::thread */ std::thread */"),
        ("ids.rs", "const S: &str = \"crate::reactor \\\" std::thread\";"),
        ("ids.rs", "const S: &str = r#\"\" crate::reactor\"#; const B: &[u8] = b\"mio::Poll\";"),
        ("ids.rs", "fn f() { x.rand::<u8>(); a::b::<std::time::Duration>() }"),
        (
            "ids.rs",
            "use std::time::SystemTime; fn f(t: SystemTime) -> bool { t < SystemTime::UNIX_EPOCH }",
        ),
        ("ids.rs", "fn f(cx: &Cx) { let now = cx.now; driver.now(); now(); let elapsed = now; }"),
        ("ids.rs", "use std::{fmt::{self, Debug}, net::{IpAddr, SocketAddr}, time::Duration};"),
        (
            "event_loop/mod.rs",
            "mod mio; mod core; pub use self::mio::{start}; pub use core::LoopCore;",
        ),
        ("runtime/builder.rs", "use crate::{Peer, switch::Lineup, pex::X, addrbook::Y};"),
    ] {
        assert_eq!(faults(file, text), [""; 0], "wrongly caught in {file}: {text}");
    }
}

/// Made-up folders: what is a circle of files, and what is none.
#[test]
fn circles_are_found() {
    let circles = |files: &[(&str, &str)]| {
        let lib = [("lib.rs", "mod a; pub use a::x::X;")];
        Crate::new(lib.into_iter().chain(files.iter().copied())).circles()
    };
    let folder = ("a/mod.rs", "mod x; mod y; pub use x::X; pub use y::{self, Y};");
    for files in [
        // Two files, however they name what the other one defines.
        [
            folder,
            ("a/x.rs", "use super::y::Y; struct X;"),
            ("a/y.rs", "use super::x::X; struct Y;"),
        ],
        [
            folder,
            ("a/x.rs", "use super::Y; struct X(Y);"),
            ("a/y.rs", "use crate::a::X; struct Y;"),
        ],
        [folder, ("a/x.rs", "struct X(super::Y);"), ("a/y.rs", "fn f(_: crate::X) {} struct Y;")],
        [folder, ("a/x.rs", "use super::y::*; struct X;"), ("a/y.rs", "use super::X; struct Y;")],
        [
            folder,
            ("a/x.rs", "use super::y; fn f() { y::g() } struct X;"),
            ("a/y.rs", "use super::X; fn g() {}"),
        ],
        // The folder's own file and one in it, with and without a re-export.
        [
            ("a/mod.rs", "mod x; pub use x::X; struct M(X);"),
            ("a/x.rs", "use super::M; struct X;"),
            ("b.rs", ""),
        ],
        [
            ("a/mod.rs", "mod x; use x::X; struct M;"),
            ("a/x.rs", "pub struct X(super::M);"),
            ("b.rs", ""),
        ],
        // Three.
        [
            ("a/x.rs", "use crate::a::y::Y; enum X {}"),
            ("a/y.rs", "use crate::b::B; trait Y {}"),
            ("b.rs", "use crate::X; const B: X = X;"),
        ],
    ] {
        assert_eq!(circles(&files).len(), 1, "not found, or not once: {files:?}");
    }
    for files in [
        // One direction, and a folder's own file that passes on what is in it.
        [folder, ("a/x.rs", "use super::Y; struct X;"), ("a/y.rs", "struct Y;")],
        [
            ("a/mod.rs", "mod x; pub use x::X; struct M;"),
            ("a/x.rs", "use super::M; struct X(M);"),
            ("b.rs", ""),
        ],
        // Tests.
        [
            folder,
            ("a/x.rs", "use super::Y; struct X;"),
            ("a/y.rs", "struct Y; mod tests { use crate::X; }"),
        ],
        [
            folder,
            ("a/x.rs", "use super::Y; struct X;"),
            ("a/tests/y.rs", "use crate::X; use super::Y;"),
        ],
        // A module is no item of its own, and a name may be a method's or a comment's.
        [folder, ("a/x.rs", "use super::y; struct X;"), ("a/y.rs", "use super::x; struct Y;")],
        [
            folder,
            ("a/x.rs", "use super::Y; struct X;"),
            ("a/y.rs", "struct Y; fn f() { s.X() } // X"),
        ],
    ] {
        assert_eq!(circles(&files), [""; 0], "wrongly found: {files:?}");
    }
    let doubles = |x, y| {
        let files =
            [("lib.rs", "mod a;"), ("a/x.rs", x), ("a/y.rs", y), ("b/y.rs", "enum Stage {}")];
        double_names(&Crate::new(files))
    };
    for (x, y) in
        [("struct Stage;", "enum Stage {}"), ("const N: u8 = 1;", "pub(super) const N: u8 = 1;")]
    {
        assert_eq!(doubles(x, y).len(), 1, "not found: {x} {y}");
    }
    for (x, y) in
        [("fn f() {}", "fn f() {}"), ("struct A;", "mod tests { struct A; }"), ("", "struct A;")]
    {
        assert_eq!(doubles(x, y), [""; 0], "wrongly found: {x} {y}");
    }
}

/// What several files of a folder call by one name: `(folder, why)`.
const SAME_NAMES: [(&str, &str); 1] =
    [("addrbook/json", "what is written is what is read, and each has its own form of it")];

fn double_names(library: &Crate) -> Vec<String> {
    let mut files = BTreeMap::<_, Vec<_>>::new();
    for source in library.sources.iter().filter(|source| !source.is_test()) {
        let folder = source.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let is_one = |kind: &&String| !["fn", "macro_rules"].contains(&kind.as_str());
        for (name, _) in source.defines.iter().filter(|(_, kind)| is_one(kind)) {
            files.entry((folder, name)).or_default().push(&source.file);
        }
    }
    files.retain(|(folder, name), files| {
        files.len() > 1 && *name != "_" && !SAME_NAMES.iter().any(|(same, _)| same == folder)
    });
    files.into_iter().map(|((_, name), files)| format!("{name} is defined in {files:?}")).collect()
}

/// Modules that the source names and must not.
fn direction_faults(source: &Source) -> Vec<String> {
    if source.file == "lib.rs" {
        return Vec::new();
    }
    let own = source.module[0].as_str();
    let Some(own_layer) = layer(own) else {
        return vec![format!("{}: {own:?} has no place in the layers", source.file)];
    };
    let mut faults = Vec::new();
    for named in &source.named {
        if named.path[0] != scan::CRATE {
            continue;
        }
        let at = at(source, named);
        // The root itself would be a way around every rule.
        let Some(whom) = named.path.get(1) else {
            faults.push(format!("{at} names the crate's root"));
            continue;
        };
        match layer(whom) {
            None => faults.push(format!("{at} names {whom:?}, which has no place in the layers")),
            Some(layer) if layer > own_layer => {
                faults.push(format!("{at}: {own} names {whom}, which is above it"));
            }
            Some(_) => {}
        }
        if let Some((.., why)) = NEVER.iter().find(|(who, of, _)| *who == own && of == whom) {
            faults.push(format!("{at}: {own} names {whom} ({why})"));
        }
    }
    faults.extend(source.opaque.iter().map(|what| format!("{}: {what}", source.file)));
    faults
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Everything of [`WORLD`] that the source names. A glob and a renamed module count for all that
/// they may stand for.
fn worldly(source: &Source) -> Vec<(&Named, &'static str)> {
    let mut found = Vec::new();
    for named in &source.named {
        for what in WORLD {
            let hides = named.hides_members && is_prefix(&named.path, what);
            if is_under(&named.path, what) || hides {
                found.push((named, what));
            }
        }
    }
    found
}

/// Whether the path is `what` or lies in it.
fn is_under(path: &[String], what: &str) -> bool {
    let what: Vec<_> = what.split("::").collect();
    path.len() >= what.len()
        && path.iter().zip(what).all(|(segment, of)| match of.strip_suffix('*') {
            Some(start) => segment.starts_with(start),
            None => segment == of,
        })
}

/// Whether `what` lies in the path.
fn is_prefix(path: &[String], what: &str) -> bool {
    let what: Vec<_> = what.split("::").collect();
    path.len() < what.len() && path.iter().zip(what).all(|(segment, of)| segment == of)
}

/// By which of its names the file is a driver.
fn driver(file: &str) -> Option<&'static str> {
    let is_in = |driver: &&&str| match driver.strip_suffix('/') {
        Some(folder) => file.split('/').rev().skip(1).any(|name| name == folder),
        None => file.rsplit('/').next() == Some(**driver),
    };
    DRIVERS.iter().find(is_in).copied()
}

fn may_share(file: &str, what: &str) -> bool {
    file.starts_with(SHARED) && file != UNSHARED && SHARING.contains(&what)
}

fn at(source: &Source, named: &Named) -> String {
    format!("src/{}:{}", source.file, named.line)
}

fn assert_none(faults: impl IntoIterator<Item = impl ToString>) {
    let faults: Vec<_> = faults.into_iter().map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn library() -> Crate {
    let files = rust_files("src");
    let texts: Vec<_> = files.iter().map(|file| (file, read(file))).collect();
    Crate::new(texts.iter().map(|(file, text)| (&file["src/".len()..], text.as_str())))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every `.rs` below the folder, relative to the package, in order.
fn rust_files(folder: &str) -> Vec<String> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}
