//! Handles before the start and after it, tickets, and waiting.

use tmp2p::{
    BanError, ChannelDescriptor, ControlError, DialError, Event, NumPeers, ReactorSpec, StopReason,
    Stopped, SwitchEvent,
    crossbeam_channel::{Receiver, select},
};

use crate::support::*;

#[test]
fn a_handle_before_the_start_says_that_there_is_no_switch() {
    let mut builder = builder(local());
    let handle = builder.handle().clone();
    let stopped = ControlError::Stopped(Stopped);
    let other = stranger(closed_port());
    assert_eq!(handle.dial(other.clone()).wait(), Err(DialError::Stopped(Stopped)));
    assert_eq!(handle.add_persistent(other.clone()), Err(stopped.clone()));
    assert_eq!(handle.ban(other.id(), None, "x"), Err(BanError::Stopped(Stopped)));
    assert_eq!(handle.mark_good(other.id()), Err(stopped.clone()));
    assert_eq!(handle.disconnect(other.id(), "x"), Err(stopped.clone()));
    assert_eq!(handle.peer_states(), Err(stopped));
    assert_eq!((handle.local_addr(), handle.peer_address()), (None, None));
    assert_eq!((handle.num_peers(), handle.peers().len()), (NumPeers::default(), 0));
    assert_eq!((handle.bans(), handle.metrics()), (Vec::new(), tmp2p::Metrics::default()));
    assert_eq!(handle.broadcast(CHANNEL, b"x".to_vec()).unwrap().num_peers(), 0);
    handle.request_more_peers();
    assert_eq!(handle.node_info().id(), Some(handle.id()));
    assert!(handle.node_info().channels().is_empty());
    // The same one serves from the start on.
    let _reactor = builder.reactor(spec("test", [ChannelDescriptor::new(CHANNEL)])).unwrap();
    let alice = builder.start().unwrap();
    assert_eq!(handle.peer_address(), alice.handle().peer_address());
    assert_eq!(handle.node_info().channels().len(), 1);
    handle.add_persistent(other).unwrap();
}

#[test]
fn a_subscriber_from_before_the_start_misses_nothing_and_ends_in_any_case() {
    let mut builder = builder(local());
    let told = builder.subscribe();
    let _reactor = builder.reactor(spec("test", [ChannelDescriptor::new(CHANNEL)])).unwrap();
    let alice = builder.start().unwrap();
    let bob = node();
    connect(&bob.0, &alice);
    peer_up(&told);
    drop(alice);
    assert_eq!(told.iter().last(), Some(SwitchEvent::Stopped(StopReason::Requested)));

    let started = crate::support::builder(local());
    let (told, handle) = (started.subscribe(), started.handle().clone());
    drop(started);
    let end = SwitchEvent::Stopped(StopReason::NotStarted);
    assert_eq!(next(&told), end);
    assert!(told.recv().is_err() && handle.subscribe().recv().is_err());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let failing = crate::support::builder(listening(local(), taken.local_addr().unwrap()));
    let (told, handle) = (failing.subscribe(), failing.handle().clone());
    assert!(failing.start().is_err());
    assert_eq!(next(&told), end);
    assert!(told.recv().is_err() && handle.dial(stranger(closed_port())).wait().is_err());
}

#[test]
fn a_stop_that_was_asked_for_before_the_start_holds() {
    let builder = builder(local());
    builder.handle().request_stop();
    let alice = builder.start().unwrap();
    assert_eq!(alice.wait_timeout(DEADLINE), Some(StopReason::Requested));
}

#[test]
fn waiting_for_a_switch_has_a_time_out() {
    let alice = node();
    assert_eq!(alice.0.wait_timeout(std::time::Duration::ZERO), None);
    alice.0.handle().request_stop();
    assert_eq!(alice.0.wait_timeout(DEADLINE), Some(StopReason::Requested));
}

#[test]
fn tickets_and_events_stand_in_one_select() {
    let (alice, bob) = (node(), node());
    let (good, bad) = (bob.0.handle().peer_address().unwrap(), stranger(closed_port()));
    let good = alice.0.handle().dial(good);
    let bad = alice.0.handle().dial(bad);
    let events: &Receiver<Event> = alice.1.events();
    let (mut session, mut told, mut failed) = (None, None, false);
    while session.is_none() || told.is_none() || !failed {
        select! {
            recv(good.outcome()) -> outcome => if let Ok(outcome) = outcome {
                session = Some(outcome.unwrap());
            } else {
                // Told once; who waits for it later finds that.
                assert!(session.is_some());
            },
            recv(bad.outcome()) -> outcome => if let Ok(outcome) = outcome {
                assert!(matches!(outcome, Err(DialError::Failed(_))));
                failed = true;
            },
            recv(events) -> event => if let Event::PeerUp(peer) = event.unwrap() {
                told = Some(peer);
            },
            default(DEADLINE) => panic!("not in time"),
        }
    }
    assert_eq!(session, told);
    assert_eq!(session.unwrap().id(), bob.0.handle().id());
}

#[test]
fn a_hook_gets_the_handle_of_its_switch() {
    let mut builder = builder(local());
    let (sender, ids) = tmp2p::crossbeam_channel::unbounded();
    let wants = ReactorSpec::new("test").channel(ChannelDescriptor::new(CHANNEL));
    let wants = wants.on_init(move |_, handle| sender.send(handle.peer_address()).unwrap());
    let _reactor = builder.reactor(wants).unwrap();
    let alice = builder.start().unwrap();
    let bob = node();
    connect(&bob.0, &alice);
    assert_eq!(next(&ids), alice.handle().peer_address());
}
