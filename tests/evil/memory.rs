//! What a connection of each kind takes, against what is documented. Memory of the process: what the kernel
//! holds for its sockets is not in it.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    alone, figure, give_way,
    honest::Pair,
    peer::{Evil, Misdeed, Stage, message, node_info},
    support::{plain_from, until},
    victim::{FOUNTAIN, SINK, SINK_CAPACITY, Settings, Victim},
};

/// Many enough that what the victim takes for other things does not count.
const STRANGERS: usize = 800;
const PEERS: usize = 250;

/// What the allocator keeps, and the tables of accept rates.
const SLACK: usize = 256 << 10;

/// A victim that has room for all of them.
fn victim(more: Value, change: impl FnOnce(&mut Settings)) -> (Victim, Pair) {
    let mut table = json!({
        "max_pending_handshakes": 5 * STRANGERS,
        "max_num_inbound_peers": PEERS + 10,
        "pex": false,
        "recv_rate": 0,
        "send_rate": 0,
    });
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let mut settings = Settings::new(table);
    change(&mut settings);
    let both = Pair::at(settings);
    give_way();
    both
}

/// So many connections of a kind are there: prints and checks what each takes.
#[track_caller]
fn check(victim: &Victim, pair: &Pair, what: &str, number: usize, each: usize, beside: usize) {
    let report = victim.report();
    let grown = victim.grown();
    figure(format_args!(
        "{number} {what}: {:.1} KiB each, {:.1} KiB by the formula; {}",
        grown.saturating_sub(beside) as f64 / number as f64 / 1024.0,
        each as f64 / 1024.0,
        pair.lap()
    ));
    let most = number * each + beside + SLACK;
    assert!(grown <= most, "{what}: {grown} bytes, {most} by the formula");
    // They were all there.
    assert!(report.descriptors >= number, "{what}: {report:?}");
}

#[test]
#[ignore = "takes a second of the machine: run by .ci/run"]
fn a_silent_stranger_takes_a_kibibyte() {
    let (victim, pair) = victim(json!({}), |_| ());
    let come = |to| (0..STRANGERS).map(|_| plain_from(alone(), to)).collect::<Vec<TcpStream>>();
    // What the machine itself makes of so many who connect at once.
    let bystander = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = bystander.local_addr().unwrap();
    let host = thread::spawn(move || bystander.incoming().take(STRANGERS).collect::<Vec<_>>());
    drop((come(addr), host.join().unwrap()));
    figure(format_args!("{STRANGERS} who connect to somebody else: {}", pair.lap()));
    let silent = come(victim.addr);
    until("all have come", || victim.report().accepted as usize > STRANGERS);
    figure(format_args!("the longest turn of the loop so far: {:?}", victim.report().longest_turn));
    check(&victim, &pair, "silent strangers", STRANGERS, 1 << 10, 0);
    drop(silent);
    victim.recovers();
    pair.end();
    victim.stop();
}

/// As much as may be before it is known who somebody is, and a frame that is not whole.
#[test]
#[ignore = "takes seconds of the machine: run by .ci/run"]
fn a_stranger_with_half_a_node_info_takes_twenty_kibibytes() {
    let (victim, pair) = victim(json!({}), |_| ());
    // 3 s are all that there is for it.
    let begun = Instant::now();
    let strangers: Vec<Evil> = (0..STRANGERS)
        .map(|_| {
            let mut evil = Evil::at(Stage::Known, Misdeed::Silence, &victim, 0);
            // Of the largest NodeInfo all but the last byte.
            let info = [&crate::peer::varint(10_240)[..], &[0x0a; 10_239]].concat();
            evil.put(&info);
            let cut = evil.sealed(&[0]);
            evil.stream().write_all(&cut[..1043]).unwrap();
            evil
        })
        .collect();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "the first have gone: it took {took:?}");
    pair.goes_on(20);
    check(&victim, &pair, "strangers with half a NodeInfo", STRANGERS, 20 << 10, 0);
    drop(strangers);
    victim.recovers();
    pair.end();
    victim.stop();
}

/// The application does not decide about them, and they have said more than they should.
#[test]
#[ignore = "takes seconds of the machine: run by .ci/run"]
fn a_stranger_who_waits_for_a_verdict_takes_twenty_kibibytes() {
    // Who is being decided about has a place as a peer.
    let table = json!({ "peer_filter_timeout": "60s", "max_num_inbound_peers": STRANGERS + 10 });
    let (victim, pair) = victim(table, |settings| settings.decides = false);
    let strangers: Vec<Evil> = (0..STRANGERS)
        .map(|_| {
            let mut evil = Evil::at(Stage::Known, Misdeed::Silence, &victim, 0);
            let addr = "x".repeat(2000);
            let info = node_info(evil.key.id(), "evil").with_rpc_address(addr);
            let mut all = info.encode_delimited();
            all.resize(40 << 10, 2);
            evil.put(&all);
            evil
        })
        .collect();
    pair.goes_on(20);
    check(&victim, &pair, "strangers who wait for a verdict", STRANGERS, 20 << 10, 0);
    drop(strangers);
    pair.end();
    victim.stop();
}

/// Nothing of what is queued is read at the other end.
#[test]
#[ignore = "takes seconds of the machine: run by .ci/run"]
fn a_session_and_what_is_queued_for_it_take_what_is_documented() {
    const DROP: usize = 60_000;
    let (victim, pair) = victim(json!({ "send_timeout": "60s" }), |settings| settings.drop = DROP);
    let idle: Vec<Evil> = (0..PEERS).map(|_| Evil::session(&victim)).collect();
    pair.goes_on(20);
    check(&victim, &pair, "idle sessions", PEERS, 200 << 10, 0);
    let mut deaf = idle;
    for evil in &mut deaf {
        // What the victim has queued and taken is out of the queue only once the kernel is full.
        (0..20).for_each(|_| evil.put(&message(FOUNTAIN, b"more")));
    }
    let (mut last, mut still) = (0, Instant::now());
    while still.elapsed() < Duration::from_millis(300) {
        let grown = victim.grown();
        if grown > last {
            (last, still) = (grown, Instant::now());
        }
        pair.goes_on(1);
    }
    // Queued, and as much on its way; each takes one message beyond.
    let queues = 2 * (victim.config.send_queue_bytes + DROP);
    let each = (200 << 10) + queues;
    check(&victim, &pair, "sessions that read nothing", PEERS, each, 0);
    assert!(victim.grown() > PEERS * queues / 3, "nothing was measured");
    drop(deaf);
    victim.recovers();
    pair.end();
    victim.stop();
}

/// A reactor reads nothing, all bounds are met, and each peer goes on sending.
#[test]
#[ignore = "takes seconds of the machine: run by .ci/run"]
fn a_session_that_is_not_read_takes_two_hundred_kibibytes() {
    const MIB: usize = 1 << 20;
    let (delivered, parking, pool) = (2 * MIB, 2 * MIB, 2 * MIB);
    let totals = json!({
        "delivered_total": delivered,
        "parking_total": parking,
        "parking_per_peer": MIB / 4,
        "reassembly_pool": pool,
        "reactor_budget": MIB / 4,
    });
    let (victim, pair) = victim(totals, |settings| settings.reads = false);
    let mut peers: Vec<Evil> = (0..PEERS).map(|_| Evil::session(&victim)).collect();
    // With a part of a message, and of a frame.
    let whole = message(SINK, &[1; 1000]).repeat(400);
    for evil in &mut peers {
        evil.stream().set_nonblocking(true).unwrap();
        let frames = evil.sealed(&whole);
        let _ = evil.stream().write(&frames);
    }
    let (mut last, mut still) = (0, Instant::now());
    while still.elapsed() < Duration::from_millis(300) {
        let grown = victim.grown();
        if grown > last {
            (last, still) = (grown, Instant::now());
        }
        pair.goes_on(1);
    }
    let beside = delivered + parking + pool + 4 * SINK_CAPACITY;
    check(&victim, &pair, "sessions that are not read", PEERS, 200 << 10, beside);
    drop(peers);
    pair.end();
    victim.stop();
}
