//! Known faults of the existing implementations that show between two whole nodes.

use std::time::{Duration, Instant};

use tmp2p::{ChannelDescriptor, Config, Event, Peer, Reactor, SendErrorKind};

use crate::support::*;

#[test]
fn nagle_and_delayed_ack_stalls() {
    // Two small writes and then an answer: with Nagle's algorithm the second one waits for the
    // acknowledgement of the first, which the other kernel delays by 40 ms. Both directions: one
    // socket was dialed, the other one accepted.
    let (alice, bob) = (node(), node());
    let (to_bob, to_alice) = pair(&alice, &bob);
    for (name, to, there, back, here) in [
        ("dialed", &to_bob, &bob.1, &to_alice, &alice.1),
        ("accepted", &to_alice, &alice.1, &to_bob, &bob.1),
    ] {
        let mut times: Vec<Duration> =
            (0..60).map(|_| write_write_read(to, there, back, here)).collect();
        times.sort();
        let median = times[times.len() / 2];
        assert!(median < Duration::from_millis(30), "{name}: {median:?}");
    }
}

fn write_write_read(to: &Peer, there: &Reactor, back: &Peer, here: &Reactor) -> Duration {
    let started = Instant::now();
    to.send(CHANNEL, b"first").unwrap();
    // It has arrived, so it was a write of its own.
    message(there);
    to.send(CHANNEL, b"second").unwrap();
    message(there);
    let elapsed = started.elapsed();
    back.send(CHANNEL, b"answer").unwrap();
    message(here);
    elapsed
}

#[test]
fn can_send_compares_with_1_instead_of_the_capacity() {
    // So slow that nothing of the queue is taken while the test looks at it.
    let config = Config { send_rate: 100, send_queue_bytes: 0, ..unlimited() };
    for capacity in [1, 2, 7] {
        let channel = ChannelDescriptor::new(CHANNEL).send_queue_capacity(capacity);
        let alice = node_with(config.clone(), channel);
        let bob = node();
        let (to_bob, _) = pair(&alice, &bob);
        to_bob.try_send(CHANNEL, vec![0; 100_000]).unwrap();
        until("the first message is being cut", || to_bob.status().channels[0].queued == 0);
        for queued in 0..capacity {
            assert_eq!(to_bob.status().channels[0].queued, queued);
            assert!(to_bob.can_send(CHANNEL), "{queued} of {capacity} are queued");
            to_bob.try_send(CHANNEL, vec![1; 10]).unwrap();
        }
        assert!(!to_bob.can_send(CHANNEL), "all {capacity} places are taken");
        let error = to_bob.try_send(CHANNEL, vec![1; 10]).unwrap_err();
        assert_eq!(error.kind, SendErrorKind::Full);
    }
}

#[test]
fn high_priority_message_waits_behind_bulk() {
    const BULK: u8 = 0x21;
    const VOTE: u8 = 0x22;
    const MESSAGE: usize = 64 << 10;
    const MESSAGES: usize = 64;
    /// What may be ahead of the vote: a batch, the kernel's buffers, and what the machine does
    /// between two lines of this test. In one queue for both it would be all 4 MiB.
    const AHEAD: usize = 1 << 20;
    let start = || {
        let mut builder = builder(Config { send_rate: 1_000_000, ..unlimited() });
        let channels = [
            ChannelDescriptor::new(BULK).priority(1).send_queue_capacity(MESSAGES),
            ChannelDescriptor::new(VOTE).priority(10),
        ];
        let reactor = builder.reactor(spec("test", channels)).unwrap();
        (builder.start().unwrap(), reactor)
    };
    let (alice, bob) = (start(), start());
    let (to_bob, _) = pair(&alice, &bob);
    for _ in 0..MESSAGES {
        to_bob.try_send(BULK, vec![1; MESSAGE]).unwrap();
    }
    let status = to_bob.status().channels[0];
    to_bob.try_send(VOTE, vec![2; 200]).unwrap();
    let cut = status.sent_bytes as usize + MESSAGE;
    let mut before = 0;
    loop {
        let Event::Message(envelope) = next(bob.1.events()) else { panic!("lost") };
        if envelope.channel().as_u8() == VOTE {
            break;
        }
        before += envelope.payload().len();
    }
    assert!(before <= cut + AHEAD, "{before} bytes of bulk before the vote, {cut} were cut");
    assert!(before < MESSAGES * MESSAGE, "the bulk is not over");
}
