//! What one can do with a peer beside sending.

use std::{collections::HashMap, sync::Arc};

use tmp2p::{
    ControlError, DisconnectReason, Event, NodeKey, Peer, SendErrorKind,
    crossbeam_channel::{after, select},
};

use crate::support::*;

#[test]
fn the_end_of_a_session_can_be_selected_on() {
    let (alice, bob) = (node(), node());
    let (to_bob, to_alice) = pair(&alice, &bob);
    let waiter = {
        let peer = to_bob.clone();
        std::thread::spawn(move || {
            select! {
                recv(peer.closed()) -> never => assert!(never.is_err(), "it carries nothing"),
                recv(after(DEADLINE)) -> _ => panic!("the session did not end"),
            }
        })
    };
    assert!(to_bob.closed().try_recv().unwrap_err().is_empty(), "not before the end");
    assert!(!to_bob.is_closed() && !to_alice.is_closed());
    to_alice.stop("the test says so");
    waiter.join().unwrap();
    assert!(to_bob.closed().recv().is_err() && to_alice.closed().recv().is_err());
    assert!(to_bob.is_closed() && to_alice.is_closed());
    // Whether it was within a second depends on the machine.
    let kind = down(&alice.1).1.kind();
    assert!(["refused_after_handshake", "eof"].contains(&kind), "alice dialed: {kind}");
    let error = to_bob.send(CHANNEL, b"late".to_vec()).unwrap_err();
    assert_eq!((error.kind, &error.payload[..]), (SendErrorKind::Closed, &b"late"[..]));
    assert!(!to_bob.can_send(CHANNEL));
}

#[test]
fn reactors_share_values_of_a_session() {
    #[derive(Debug, PartialEq)]
    struct Height(u64);
    let (alice, bob) = (node(), node());
    let (to_bob, to_alice) = pair(&alice, &bob);
    assert_eq!(to_bob.get::<Height>(), None);
    to_bob.set(Height(7));
    to_bob.set(String::from("of another type"));
    let same = alice.0.handle().peer(to_bob.id()).unwrap();
    assert_eq!(same.get::<Height>().as_deref(), Some(&Height(7)));
    same.set(Height(8));
    assert_eq!(to_bob.get::<Height>().as_deref(), Some(&Height(8)));
    assert_eq!(to_bob.get::<String>().unwrap().as_str(), "of another type");
    assert_eq!(to_alice.get::<Height>(), None, "it is this side's own");

    to_bob.stop("next session");
    down(&alice.1);
    down(&bob.1);
    let (next, _) = pair(&alice, &bob);
    assert_eq!(next.get::<Height>(), None, "the next session starts empty");
    until("nobody hears of the old one any more", || to_bob.get::<Height>().is_none());
    to_bob.set(Height(9));
    assert_eq!(to_bob.get::<Height>(), None, "it is over");
}

/// What ported Go code keeps with a peer.
struct PeerState {
    peer: Peer,
    /// Tells of its end.
    alive: Arc<()>,
}

impl Drop for PeerState {
    fn drop(&mut self) {
        // Whoever drops it holds no lock of the session.
        let _ = self.peer.get::<u32>();
        self.peer.set(Arc::strong_count(&self.alive));
    }
}

/// The fault: each held the other for ever, and a value that was dropped under the lock of the
/// values waited for itself.
#[test]
fn a_value_that_holds_the_peer_goes_with_the_session() {
    let (alice, bob) = (node(), node());
    let told = Arc::new(());
    for _ in 0..3 {
        let (to_bob, _) = pair(&alice, &bob);
        let state = || PeerState { peer: to_bob.clone(), alive: told.clone() };
        to_bob.set(state());
        let (again, next) = (to_bob.clone(), state());
        in_time(move || again.set(next));
        assert_eq!(Arc::strong_count(&told), 2, "the first one is gone");
        to_bob.stop("over");
        // As long as somebody has to hear of the end, the value is there.
        until("it has ended", || !to_bob.can_send(CHANNEL));
        let (peer, reason) = down(&alice.1);
        assert!(peer.get::<PeerState>().is_some());
        drop(reason);
        until("it went with the session", || Arc::strong_count(&told) == 1);
        down(&bob.1);
    }
    // A peer that is refused by the hook that has kept something with it.
    let kept = told.clone();
    let carol = built(unlimited(), NodeKey::generate(), move |_, spec| {
        hook(spec, move |peer, _| {
            peer.set(PeerState { peer: peer.clone(), alive: kept.clone() });
            panic!("a panic on purpose");
        });
    });
    let events = carol.0.handle().subscribe();
    assert!(knock(&alice.0, carol.0.handle().peer_address().unwrap(), &events).is_err());
    until("nothing of it is left", || Arc::strong_count(&told) == 2);
    // What is with sessions when the switch stops goes with it.
    let (to_bob, _) = pair(&alice, &bob);
    to_bob.set(PeerState { peer: to_bob.clone(), alive: told.clone() });
    in_time(move || drop(alice.0));
    in_time(move || drop(carol));
    assert_eq!(Arc::strong_count(&told), 1);
}

#[test]
fn a_session_is_a_key_and_the_next_one_with_the_same_node_is_another() {
    let (alice, bob) = (node(), node());
    let (first, _) = pair(&alice, &bob);
    #[allow(clippy::mutable_key_type, reason = "it is hashed by what never changes")]
    let mut said = HashMap::from([(first.clone(), "first")]);
    let same = alice.0.handle().peer(first.id()).unwrap();
    assert_eq!(said.get(&same), Some(&"first"));
    same.stop("next session");
    down(&alice.1);
    down(&bob.1);
    let (next, _) = pair(&alice, &bob);
    assert_eq!((said.insert(next, "next"), said.len()), (None, 2));
    assert_eq!(said[&first], "first");
}

/// What is queued is written or dropped, with a reason or without.
#[test]
fn a_session_ends_in_four_ways() {
    type End = fn(&Peer);
    const MESSAGES: u64 = 50;
    let ways: [(End, DisconnectReason, bool); 4] = [
        (|peer| peer.stop("a fault"), DisconnectReason::Reactor("a fault".into()), false),
        (Peer::stop_gracefully, DisconnectReason::Finished, false),
        (|peer| peer.flush_stop_for("a fault"), DisconnectReason::Reactor("a fault".into()), true),
        (Peer::flush_stop, DisconnectReason::Finished, true),
    ];
    let (alice, bob) = (node(), node());
    for (end, reason, is_written) in ways {
        let (to_bob, _) = pair(&alice, &bob);
        (0..MESSAGES).for_each(|_| to_bob.try_send(CHANNEL, vec![1; 1000]).unwrap());
        end(&to_bob);
        assert_eq!(*down(&alice.1).1, reason);
        let mut received = 0;
        loop {
            match next(bob.1.events()) {
                Event::Message(_) => received += 1,
                Event::PeerDown(..) => break,
                _ => {}
            }
        }
        let status = to_bob.status();
        let [test] = &status.channels[..] else { panic!("{status:?}") };
        assert_eq!(test.sent_messages + test.dropped, MESSAGES, "{reason}");
        if is_written {
            assert_eq!((received, test.dropped), (MESSAGES, 0), "{reason}");
        }
    }
}

#[test]
fn a_late_stop_kills_the_next_session() {
    let (alice, bob) = (node(), node());
    let (old, _) = pair(&alice, &bob);
    old.stop("first");
    down(&alice.1);
    down(&bob.1);
    let (new, _) = pair(&alice, &bob);
    assert_eq!(old.id(), new.id());
    assert_ne!(old, new);
    old.stop("late");
    old.stop_gracefully();
    old.flush_stop();
    old.flush_stop_for("late");
    // Whatever the late stops did is done before this arrives.
    new.send(CHANNEL, b"alive").unwrap();
    assert_eq!(&message(&bob.1).payload()[..], b"alive");
    assert!(alice.1.events().is_empty());
}

#[test]
fn a_stop_by_the_operator_names_him() {
    let (alice, bob) = (node(), node());
    let (to_bob, _) = pair(&alice, &bob);
    alice.0.handle().disconnect(to_bob.id(), "maintenance").unwrap();
    let (_, reason) = down(&alice.1);
    assert_eq!(*reason, DisconnectReason::Operator("maintenance".to_owned()));
    until("the session is not listed", || alice.0.handle().peers().is_empty());
    let again = alice.0.handle().disconnect(to_bob.id(), "again");
    assert_eq!(again, Err(ControlError::UnknownPeer(to_bob.id())));
}

#[test]
fn flush_stop_writes_what_was_accepted_and_graceful_stop_tells_of_what_it_drops() {
    let (alice, bob) = (node(), node());
    for flush in [true, false] {
        let (to_bob, _) = pair(&alice, &bob);
        let mut accepted = 0;
        while accepted < 2000 && to_bob.try_send(CHANNEL, vec![1; 1000]).is_ok() {
            accepted += 1;
        }
        assert!(accepted > 50, "the queue takes {accepted} messages");
        if flush {
            to_bob.flush_stop();
            to_bob.flush_stop();
        } else {
            to_bob.stop_gracefully();
        }
        let error = loop {
            match to_bob.try_send(CHANNEL, b"more".to_vec()) {
                // Until the loop has seen the stop.
                Ok(()) => accepted += 1,
                Err(error) if error.kind == SendErrorKind::Full => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, SendErrorKind::Closed);
        down(&alice.1);
        let mut received = 0;
        let reason = loop {
            match next(bob.1.events()) {
                Event::Message(_) => received += 1,
                Event::PeerDown(_, reason) => break reason,
                _ => {}
            }
        };
        assert_eq!(*reason, DisconnectReason::Eof);
        let status = to_bob.status().channels[0];
        assert_eq!(received, status.sent_messages, "what is cut is written");
        if flush {
            assert_eq!(received, accepted);
        }
    }
}
