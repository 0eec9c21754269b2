//! A seed over real sockets: everybody who asks is answered before being sent away.

use std::{
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tmp2p::{
    BookKey, BookState, BookStore, Config, MemoryStore, NetAddress, NodeId, NodeInfo, NodeKey,
    Switch, SwitchBuilder,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts},
};

use crate::support::{DEADLINE, closed_port, connect, local, until};

const HOUR: Duration = Duration::from_secs(3600);

fn node(config: Config, prepare: impl FnOnce(&mut SwitchBuilder)) -> Switch {
    let config = Config { pex: true, addr_book_strict: false, ..config };
    let info = NodeInfo::new("test-chain", "test").unwrap();
    let mut builder = Switch::builder(config, NodeKey::generate(), info);
    prepare(&mut builder);
    builder.start().unwrap()
}

/// A seed that has found many nodes, of which it will not find any again: the addresses are of
/// this machine, and nobody listens there.
fn seed() -> Switch {
    let mut rng = StdRng::seed_from_u64(1);
    let limits = BookLimits::default();
    let own = NodeId::from_bytes([0; 20]);
    let settings = BookSettings { own, is_strict: false, limits };
    let mut book = Book::new(settings, BookKey::random(&mut rng));
    let now = SystemTime::now();
    let port = closed_port().port();
    while book.len() < 200 {
        let ip = IpAddr::from([127, rng.random(), rng.random(), 1]);
        let addr = NetAddress::new(NodeId::from_bytes(rng.random()), ip, port);
        book.add(addr, addr, now, &mut rng).unwrap();
        book.attempted(&addr, now);
        book.authenticated(&addr, &NodeFacts::default(), now);
        book.mark_good(&addr.id(), now, &mut rng);
    }
    let mut store = MemoryStore::new();
    store.write(&book.take_batch().unwrap()).unwrap();
    // They are not looked for again while the test runs.
    let config = Config { seed_mode: true, crawl_period: 24 * HOUR, ..local() };
    node(config, |builder| builder.book_store(store))
}

/// Starts so many nodes that know only the seed; each is gone once its book has an answer.
fn bootstrap(seed: &Switch, count: usize, newcomer: &Config) {
    const AT_ONCE: usize = 50;
    let config = Config { seeds: vec![seed.handle().peer_address().unwrap()], ..newcomer.clone() };
    for batch in (0..count).step_by(AT_ONCE) {
        let switches: Vec<_> = (batch..count.min(batch + AT_ONCE))
            .map(|_| node(Config { laddr: None, ..config.clone() }, |_| {}))
            .collect();
        for switch in &switches {
            let handle = switch.handle();
            let is_answered = || {
                let told = handle.book().unwrap().addresses;
                // Beside the seed itself.
                told.iter().filter(|entry| entry.state != BookState::Banned).count() > 32
            };
            until("an answer", is_answered);
            assert_eq!(handle.bans().len(), 0);
        }
        for switch in switches {
            switch.stop(DEADLINE).unwrap();
        }
    }
}

/// Every answer arrives, though the seed hangs up at once.
#[test]
fn seed_closes_before_its_answer_is_flushed() {
    let seed = seed();
    let start = Instant::now();
    bootstrap(&seed, 1000, &Config { max_num_outbound_peers: 1, ..local() });
    println!("1000 bootstraps in {:?}", start.elapsed());
    until("everybody is gone", || seed.handle().peers().is_empty());
    seed.stop(DEADLINE).unwrap();
}

/// Who reads slower than the seed writes has the whole answer too.
#[test]
fn a_slow_reader_has_the_whole_answer() {
    let seed = seed();
    let slow = Config { max_num_outbound_peers: 1, recv_rate: 1500, ..local() };
    let start = Instant::now();
    bootstrap(&seed, 1, &slow);
    assert!(start.elapsed().as_millis() > 500, "it was not slow: {:?}", start.elapsed());
    seed.stop(DEADLINE).unwrap();
}

/// Nobody can dial it, and it may dial us all the same.
#[test]
fn un_dialable_node_behind_nat_refused_inbound() {
    let listener = node(local(), |_| {});
    let key = NodeKey::generate();
    let addr = NetAddress::new(key.id(), [127, 0, 0, 1].into(), closed_port().port());
    let handle = listener.handle();
    let never = "0001-01-01T00:00:00Z";
    let entry = format!(r#"{{"id":"{}","ip":"{}","port":{}}}"#, addr.id(), addr.ip(), addr.port());
    let file = format!(
        r#"{{"key":"0123456789abcdef01234567","addrs":[{{"addr":{entry},"src":{entry},
        "buckets":[1],"attempts":0,"bucket_type":1,"last_attempt":"{never}",
        "last_success":"{never}","last_ban_time":"{never}"}}]}}"#
    );
    assert_eq!(handle.import_addrbook(file.as_bytes()).unwrap().added, 1);
    handle.mark_bad(key.id(), HOUR, "nobody is there").unwrap();
    until("it is bad", || {
        let book = handle.book().unwrap().addresses;
        book.iter().any(|entry| entry.known.addr == addr && entry.state == BookState::Bad)
    });
    let info = NodeInfo::new("test-chain", "behind a NAT").unwrap();
    let config = Config { laddr: None, ..local() };
    // `pex` on both sides: they have a channel in common.
    let behind = Switch::builder(Config { pex: true, ..config }, key, info).start().unwrap();
    connect(&behind, &listener);
    until("it is let in", || handle.peers().iter().any(|peer| peer.id() == addr.id()));
}
