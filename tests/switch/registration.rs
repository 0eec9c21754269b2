//! Mistakes of the caller are errors that say what to do, and leave everything as it was.

use tmp2p::{
    ChannelDescriptor, ChannelId, Config, DialError, RegisterError, SendErrorKind, StartError,
    WrongThread, crossbeam_channel,
};

use crate::support::*;

#[test]
fn reactors_that_clash_are_refused_and_the_builder_is_as_before() {
    let mut builder = builder(unlimited());
    let channel = ChannelDescriptor::new;
    let first = builder.reactor(spec("first", [channel(1), channel(2)])).unwrap();
    let taken = |id: u8, name: &str, owner: &str| RegisterError::ChannelTaken {
        channel: ChannelId::new(id),
        name: name.to_owned(),
        owner: owner.to_owned(),
    };
    let zero = |value| RegisterError::Zero { channel: ChannelId::new(3), value };
    let too_large = 1 << 40;
    let cases = [
        ("second", vec![channel(3), channel(2)], taken(2, "second", "first")),
        ("second", vec![channel(3), channel(3)], taken(3, "second", "second")),
        ("first", vec![channel(3)], RegisterError::NameTaken("first".to_owned())),
        ("second", vec![channel(3).priority(0)], zero("priority")),
        ("second", vec![channel(3).send_queue_capacity(0)], zero("send_queue_capacity")),
        ("second", vec![channel(3).recv_message_capacity(0)], zero("recv_message_capacity")),
        ("second", (3..18).map(channel).collect(), RegisterError::TooManyChannels),
        (
            "second",
            vec![channel(3).recv_message_capacity(too_large)],
            RegisterError::CapacityOverPool {
                channel: ChannelId::new(3),
                capacity: too_large,
                key: "parking_total",
                limit: local().parking_total,
            },
        ),
    ];
    for (name, channels, expected) in cases {
        assert_eq!(builder.reactor(spec(name, channels)).unwrap_err(), expected);
    }
    // Nothing of them stayed: name and channels are free, and 16 channels in all are allowed.
    let second = builder.reactor(spec("second", (3..17).map(channel))).unwrap();
    let switch = builder.start().unwrap();
    assert_eq!(switch.handle().node_info().channels().len(), 16);
    switch.stop(DEADLINE).unwrap();
    assert!(first.events().recv().is_err() && second.events().recv().is_err());
}

#[test]
fn a_switch_that_cannot_start_says_why() {
    let error = |config| builder(config).start().unwrap_err();
    let config = Config { dial_timeout: std::time::Duration::ZERO, ..unlimited() };
    assert!(matches!(error(config), StartError::Config(_)));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let why = error(Config { laddr: Some(addr.into()), ..unlimited() });
    assert!(why.to_string().starts_with(&format!("cannot listen on {addr}: ")), "{why}");

    let laddr = Some("tcp://a.name.that.does.not.exist.invalid:1".parse().unwrap());
    let why = error(Config { laddr, ..unlimited() });
    assert!(matches!(why, StartError::Laddr { .. }), "{why}");
}

#[test]
fn sends_that_cannot_work_give_the_payload_back() {
    let mut narrow = builder(unlimited());
    let own = ChannelDescriptor::new(CHANNEL).recv_message_capacity(1000);
    let narrow_reactor =
        narrow.reactor(spec("test", [own, ChannelDescriptor::new(CHANNEL + 1)])).unwrap();
    let narrow = narrow.start().unwrap();
    let other = node();
    connect(&narrow, &other.0);
    let peer = up(&narrow_reactor);

    for (channel, size, kind) in [
        // Nobody's, and ours but not the peer's.
        (0x33, 1, SendErrorKind::NoSuchChannel),
        (CHANNEL + 1, 1, SendErrorKind::NoSuchChannel),
        (CHANNEL, 1001, SendErrorKind::TooLarge),
    ] {
        let payload = vec![7; size];
        for error in [
            peer.send(channel, payload.clone()).unwrap_err(),
            peer.try_send(channel, payload.clone()).unwrap_err(),
        ] {
            assert_eq!((error.kind, &error.payload[..]), (kind, &payload[..]));
        }
    }
    assert!(!peer.can_send(0x33) && !peer.can_send(CHANNEL + 1) && peer.can_send(CHANNEL));
    let dropped: Vec<u64> = peer.status().channels.iter().map(|c| c.dropped).collect();
    assert_eq!(dropped, [2, 0], "what is refused on an open channel is counted");
    peer.send(CHANNEL, vec![7; 1000]).unwrap();
    up(&other.1);
    assert_eq!(message(&other.1).payload().len(), 1000, "none of that hurt the session");
}

#[test]
fn blocking_calls_on_a_thread_of_the_switch_are_refused() {
    let mut builder = builder(unlimited());
    let (sender, outcomes) = crossbeam_channel::unbounded();
    let mut wants = spec("test", [ChannelDescriptor::new(CHANNEL)]);
    hook(&mut wants, move |peer, handle| {
        let send = peer.send(CHANNEL, b"no".to_vec()).unwrap_err();
        assert_eq!(&send.payload[..], b"no");
        let dial = || handle.dial(handle.peer_address().unwrap());
        let wait = dial().wait();
        let wait_timeout = dial().wait_timeout(DEADLINE);
        let broadcast = handle.broadcast(CHANNEL, b"x".to_vec()).unwrap();
        let settled = broadcast.wait_timeout(DEADLINE);
        assert!(settled.is_empty(), "nobody is admitted yet");
        // What does not block is fine.
        peer.try_send(CHANNEL, b"yes".to_vec()).unwrap();
        sender.send((send.kind, wait, wait_timeout)).unwrap();
    });
    let _reactor = builder.reactor(wants).unwrap();
    let alice = builder.start().unwrap();
    let bob = node();
    connect(&bob.0, &alice);
    let (send, wait, wait_timeout) = next(&outcomes);
    assert_eq!(send, SendErrorKind::WrongThread);
    assert_eq!(wait, Err(DialError::WrongThread(WrongThread)));
    assert_eq!(wait_timeout, Some(Err(DialError::WrongThread(WrongThread))));
    up(&bob.1);
    assert_eq!(&message(&bob.1).payload()[..], b"yes");
}
