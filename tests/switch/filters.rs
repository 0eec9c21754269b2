//! What an application says about who may connect.

use std::{
    net::Ipv4Addr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tmp2p::{
    BanError, Candidate, Config, ControlError, Decision, DialError, DialPeersError, Direction,
    DisconnectReason, Limits, NodeKey, Reactor, Switch, SwitchHandle, UnbanError, Verdict,
    WrongThread,
    crossbeam_channel::{Receiver, Sender, unbounded},
};

use crate::support::*;

fn filtered(why: &str) -> DisconnectReason {
    DisconnectReason::Filtered(why.to_owned())
}

fn short() -> Config {
    Config {
        connection_filter_timeout: Duration::from_millis(100),
        peer_filter_timeout: Duration::from_millis(100),
        ..unlimited()
    }
}

/// Whether a filter is for connections, or for peers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Connection,
    Peer,
}

const KINDS: [Kind; 2] = [Kind::Connection, Kind::Peer];

type Asked = (Candidate, Decision);

/// A node with filters whose questions come in receivers.
fn asking(config: Config, kind: Kind, filters: usize) -> ((Switch, Reactor), Vec<Receiver<Asked>>) {
    let (senders, asked): (Vec<Sender<Asked>>, _) = (0..filters).map(|_| unbounded()).unzip();
    let node = filtering(
        config,
        kind,
        senders.into_iter().map(|sender| {
            move |candidate: &Candidate| {
                let (decision, verdict) = Verdict::later();
                sender.send((candidate.clone(), decision)).unwrap();
                verdict
            }
        }),
    );
    (node, asked)
}

fn filtering<F: Fn(&Candidate) -> Verdict + Send + Sync + 'static>(
    config: Config,
    kind: Kind,
    filters: impl IntoIterator<Item = F>,
) -> (Switch, Reactor) {
    built(config, NodeKey::generate(), |builder, _| {
        for filter in filters {
            match kind {
                Kind::Connection => builder.connection_filter(filter),
                Kind::Peer => builder.peer_filter(filter),
            }
        }
    })
}

#[test]
fn a_filter_knows_the_candidate_and_decides() {
    for kind in KINDS {
        let (alice, asked) = asking(unlimited(), kind, 1);
        let events = alice.0.handle().subscribe();
        let bob = node();
        let bobs_id = bob.0.handle().id();
        for accepts in [false, true] {
            let _ticket = bob.0.handle().dial(alice.0.handle().peer_address().unwrap());
            let (candidate, decision) = next(&asked[0]);
            assert_eq!(candidate.direction, Direction::Inbound);
            assert_eq!(candidate.addr.ip(), ip("127.0.0.1"));
            // Before the handshake nobody knows who it is.
            let is_peer = kind == Kind::Peer;
            assert_eq!(candidate.id, is_peer.then_some(bobs_id));
            let moniker = candidate.node_info.as_ref().map(|info| info.moniker());
            assert_eq!(moniker, is_peer.then_some("test"));
            assert!(alice.0.handle().peers().is_empty(), "not before the decision");
            if accepts {
                decision.accept();
                assert_eq!(verdict(&events), Ok(bobs_id));
            } else {
                decision.reject("not you");
                assert_eq!(verdict(&events), Err(filtered("not you")));
                until("bob knows", || bob.0.handle().num_peers() == Default::default());
            }
        }
        assert_eq!(up(&alice.1).id(), bobs_id, "the first that the reactor hears of");
    }
}

#[test]
fn a_connection_is_refused_before_a_byte_is_exchanged() {
    let (alice, asked) = asking(unlimited(), Kind::Connection, 1);
    let stream = plain_from(Ipv4Addr::LOCALHOST, alice.0.handle().local_addr().unwrap());
    let (candidate, decision) = next(&asked[0]);
    assert_eq!(candidate.addr, stream.local_addr().unwrap());
    decision.reject("no");
    assert!(!is_let_in(&stream));
}

#[test]
fn outbound_connections_are_filtered_too() {
    for kind in KINDS {
        let (alice, asked) = asking(unlimited(), kind, 1);
        let bob = node();
        let bobs_id = bob.0.handle().id();
        for accepts in [false, true] {
            let ticket = alice.0.handle().dial(bob.0.handle().peer_address().unwrap());
            let (candidate, decision) = next(&asked[0]);
            let expected = (Direction::Outbound, Some(bobs_id), bob.0.handle().local_addr());
            assert_eq!((candidate.direction, candidate.id, Some(candidate.addr)), expected);
            assert_eq!(candidate.node_info.is_some(), kind == Kind::Peer);
            if accepts {
                decision.accept();
                assert_eq!(ticket.wait_timeout(DEADLINE), Some(Ok(up(&alice.1))));
            } else {
                decision.reject("not you");
                let failed = DialError::Failed(filtered("not you"));
                assert_eq!(ticket.wait_timeout(DEADLINE), Some(Err(failed)));
            }
        }
    }
}

#[test]
fn a_decision_that_takes_its_time_holds_up_nobody() {
    for kind in KINDS {
        let (alice, asked) = asking(unlimited(), kind, 1);
        let events = alice.0.handle().subscribe();
        let (slow, quick) = (node(), node());
        let _slow = slow.0.handle().dial(alice.0.handle().peer_address().unwrap());
        let (_, late) = next(&asked[0]);
        let _quick = quick.0.handle().dial(alice.0.handle().peer_address().unwrap());
        next(&asked[0]).1.accept();
        assert_eq!(verdict(&events), Ok(quick.0.handle().id()));
        std::thread::spawn(move || late.accept()).join().unwrap();
        assert_eq!(verdict(&events), Ok(slow.0.handle().id()));
    }
}

#[test]
fn no_decision_is_a_refusal() {
    for kind in KINDS {
        let dropping = filtering(unlimited(), kind, [|_: &Candidate| Verdict::later().1]);
        let panicking = filtering(unlimited(), kind, [|_: &Candidate| panic!("on purpose")]);
        let refusing = filtering(unlimited(), kind, [|_: &Candidate| Verdict::reject("not you")]);
        let (silent, asked) = asking(short(), kind, 1);
        for (node, why) in [
            (&dropping, "no decision"),
            (&panicking, "the filter panicked"),
            (&refusing, "not you"),
            (&silent, "no answer in time"),
        ] {
            let (events, guest) = (node.0.handle().subscribe(), node_from(unlimited()));
            let refused = knock(&guest.0, node.0.handle().peer_address().unwrap(), &events);
            assert_eq!(refused, Err(filtered(why)), "{kind:?}");
            // Outbound as well, and the switch lives on.
            let reason = dial(&node.0, node_from(unlimited()).0.handle().peer_address().unwrap());
            assert_eq!(reason, Err(filtered(why)), "{kind:?}");
            assert!(node.0.handle().peers().is_empty());
        }
        // What comes too late changes nothing.
        let events = silent.0.handle().subscribe();
        for (_, decision) in asked[0].try_iter() {
            decision.accept();
        }
        assert_eq!(silent.0.handle().peer_states(), Ok(Vec::new()));
        assert!(events.is_empty());
    }
}

#[test]
fn the_time_for_an_answer_is_configured() {
    for kind in KINDS {
        // The other filters' time has nothing to do with it.
        let mut config = short();
        match kind {
            Kind::Connection => config.connection_filter_timeout = DEADLINE * 2,
            Kind::Peer => config.peer_filter_timeout = DEADLINE * 2,
        }
        let (patient, questions) = asking(config, kind, 1);
        let (hasty, _unanswered) = asking(short(), kind, 1);
        let (patience, haste) = (patient.0.handle().subscribe(), hasty.0.handle().subscribe());
        let guest = node();
        let _ticket = guest.0.handle().dial(patient.0.handle().peer_address().unwrap());
        let (_, decision) = next(&questions[0]);
        let refused = knock(&guest.0, hasty.0.handle().peer_address().unwrap(), &haste);
        assert_eq!(refused, Err(filtered("no answer in time")));
        // Later than the hasty one's time, and in time.
        decision.accept();
        assert_eq!(verdict(&patience), Ok(guest.0.handle().id()));
    }
}

#[test]
fn all_filters_must_accept() {
    for kind in KINDS {
        for refusing in [None, Some(0), Some(1), Some(2)] {
            let (alice, asked) = asking(unlimited(), kind, 3);
            let events = alice.0.handle().subscribe();
            let bob = node();
            let _ticket = bob.0.handle().dial(alice.0.handle().peer_address().unwrap());
            let decisions: Vec<Decision> = asked.iter().map(|asked| next(asked).1).collect();
            for (filter, decision) in decisions.into_iter().enumerate() {
                assert!(alice.0.handle().peers().is_empty());
                if refusing == Some(filter) {
                    decision.reject(format!("filter {filter}"));
                } else {
                    decision.accept();
                }
            }
            let expected = match refusing {
                None => Ok(bob.0.handle().id()),
                Some(filter) => Err(filtered(&format!("filter {filter}"))),
            };
            assert_eq!(verdict(&events), expected, "{kind:?}");
            assert!(asked.iter().all(Receiver::is_empty), "each is asked once");
        }
    }
}

/// Everything that would wait for the thread it is called on.
fn assert_waits_for_nobody(handle: &SwitchHandle) {
    let other = stranger(closed_port());
    let wrong = Err(ControlError::WrongThread(WrongThread));
    assert_eq!(handle.peer_states().map(drop), wrong);
    assert_eq!(handle.add_persistent(other.clone()), wrong);
    assert_eq!(handle.remove_persistent(other.id()), wrong);
    assert_eq!(handle.add_unconditional(other.id()), wrong);
    let limits = Limits { max_num_inbound_peers: 0, max_num_outbound_peers: 0 };
    assert_eq!(handle.set_limits(limits), wrong);
    let dialed = handle.dial_peers([other.clone()]);
    assert_eq!(dialed, Err(DialPeersError::Control(ControlError::WrongThread(WrongThread))));
    assert_eq!(handle.ban(other.id(), None, "no").unwrap_err(), BanError::WrongThread(WrongThread));
    assert_eq!(handle.unban(other.id()).unwrap_err(), UnbanError::WrongThread(WrongThread));
    let ticket = handle.dial(other.clone());
    assert_eq!(ticket.wait_timeout(DEADLINE), Some(Err(DialError::WrongThread(WrongThread))));
    assert_eq!(ticket.wait(), Err(DialError::WrongThread(WrongThread)));
    // What does not wait works.
    handle.mark_bad(other.id(), DEADLINE, "test").unwrap();
    handle.mark_good(other.id()).unwrap();
    handle.add_private(other.id()).unwrap();
    assert!(handle.bans().is_empty() && handle.peers().is_empty());
}

#[test]
fn calls_that_wait_are_refused_in_filters_and_hooks() {
    let handle: Arc<OnceLock<SwitchHandle>> = Arc::default();
    let (done, asked) = unbounded();
    let alice = built(unlimited(), NodeKey::generate(), |builder, spec| {
        let check = |name: &'static str| {
            let (handle, done) = (handle.clone(), done.clone());
            move || {
                assert_waits_for_nobody(handle.get().unwrap());
                done.send(name).unwrap();
            }
        };
        let (connection, peer, hook) = (check("connection"), check("peer"), check("hook"));
        builder.connection_filter(move |candidate| {
            // Its own dials are asked about, too.
            if candidate.direction == Direction::Inbound {
                connection();
            }
            Verdict::Accept
        });
        builder.peer_filter(move |_| {
            peer();
            Verdict::Accept
        });
        super::support::hook(spec, move |_, _| hook());
    });
    handle.set(alice.0.handle().clone()).unwrap();
    let events = alice.0.handle().subscribe();
    let bob = node();
    // A panic in one of the three would refuse bob.
    assert_eq!(
        knock(&bob.0, alice.0.handle().peer_address().unwrap(), &events),
        Ok(bob.0.handle().id())
    );
    let order: Vec<_> = asked.try_iter().collect();
    assert_eq!(order, ["connection", "peer", "hook"]);
    assert!(alice.0.handle().bans().is_empty(), "nothing of it was done");
}
