//! Persistent peers are never bad, and peer exchange knows at once who is one.

use std::time::Duration;

use tmp2p::{
    ChannelDescriptor, Config, Direction, NetAddress, SwitchEvent,
    internals::pex::PexMessage,
    internals::protocol::secret::Null,
    internals::switch::{Control, Limits},
};

use super::HOUR;
use crate::{
    internet::{SECOND, addr, internet, quiet},
    node::key_of,
    options::Options,
    world::{Actor, World},
};

/// The longest pause with its jitter, and the attempt itself.
const BACK: Duration = Duration::from_secs(80);

fn keeps(peer: NetAddress) -> Config {
    Config { persistent_peers: vec![peer.into()], ..Config::default() }
}

#[test]
fn a_persistent_peer_that_is_never_there_is_never_bad_and_the_switchs_to_dial() {
    let mut world = internet(100);
    let gone = addr(700);
    let node = world.join(keeps(gone));
    world.run_for(12 * HOUR);
    assert!(world.failures(node, gone.id()).len() > 500);
    assert!(!world.was_ever_bad(node, gone.id()));
    assert!(world.asked_to_dial(node, gone.id()).is_empty());
    assert!(
        world.nodes[node].pex.core.book().get(&gone.id()).unwrap().history().dial_failures > 500
    );
}

/// That he is persistent and that he is to be dialed cross: the switch tells the one while peer exchange
/// asks for the other. He is being dialed, or connected, or between two attempts.
#[test]
fn who_is_dialed_as_he_becomes_persistent_is_counted_once_and_not_asked_for_again() {
    for (spread, is_there) in [(HOUR, true), (Duration::ZERO, true), (Duration::ZERO, false)] {
        let mut world = internet(108);
        let node = world.join(Config { dial_spread: spread, ..Config::default() });
        let peer = world.join(quiet());
        let (at, id) = (world.net_addr(peer), world.nodes[peer].id);
        if !is_there {
            world.kill(peer);
        }
        world.tell(node, [at]);
        assert!(world.asked_to_dial(node, id).is_empty());
        // It has to look for peers meanwhile, and does so as soon as it can.
        world.hold(Actor::Pex(node), 60 * SECOND);
        world.control(node, Control::AddPersistent(at.into()));
        world.run_for(90 * SECOND);
        assert_eq!(world.asked_to_dial(node, id).len(), 1);
        let failures = world.failures(node, id);
        let in_book = |world: &World<Null>| {
            let known = world.nodes[node].pex.core.book().get(&id).unwrap().clone();
            (known.history().attempts, known.history().dial_failures)
        };
        let of_switch = world.states(node).into_iter().find(|state| state.id == Some(id)).unwrap();
        match is_there {
            true => {
                let why = if spread == HOUR { "already_dialing" } else { "duplicate_id" };
                assert_eq!(failures, [why]);
                assert_eq!((in_book(&world), of_switch.failures), ((0, 0), 0));
                let is_none_in_a_row = |event: &SwitchEvent| {
                    matches!(event, SwitchEvent::DialFailed { failures: 0, .. })
                };
                assert!(world.nodes[node].events.iter().any(is_none_in_a_row));
            }
            false => {
                // One attempt more than there would have been, which is none of the switch's.
                let count = failures.len() as u32;
                assert!(count > 2 && failures.iter().all(|kind| *kind == "dial_timeout"));
                assert_eq!((in_book(&world), of_switch.failures), ((count, count), count - 1));
                world.revive(peer);
            }
        }
        assert!(world.run_until(HOUR, |w| w.session(node, peer).is_some()));
        world.run_for(HOUR);
        assert_eq!(world.asked_to_dial(node, id).len(), 1);
        assert!(!world.was_ever_bad(node, id));
    }
}

/// It authenticates itself and then has no place for us.
#[test]
fn a_persistent_peer_that_is_full_for_an_hour_is_never_bad() {
    let mut world = internet(101);
    let peer = world.join(Config { max_num_inbound_peers: 0, ..quiet() });
    let at = world.net_addr(peer);
    let node = world.join(keeps(at));
    world.run_for(HOUR);
    let failures = world.failures(node, at.id()).len() + world.endings(node, at.id()).len();
    assert!(failures > 40, "{failures}");
    assert!(!world.was_ever_bad(node, at.id()));
    assert!(world.asked_to_dial(node, at.id()).is_empty());
    let limits = Limits { max_num_inbound_peers: 1, max_num_outbound_peers: 0 };
    world.control(peer, Control::SetLimits(limits));
    assert!(world.run_until(BACK, |w| w.session(node, peer).is_some()));
}

#[test]
fn a_persistent_peer_that_is_incompatible_is_never_bad() {
    let mut world = internet(102);
    let other = world.add(Options {
        config: quiet(),
        network: "another",
        key: Some(key_of(0)),
        addr: Some(addr(0).socket_addr()),
        reactors: vec![vec![ChannelDescriptor::new(0x20)]],
        ..Options::default()
    });
    let at = world.net_addr(other);
    let node = world.join(keeps(at));
    world.run_for(HOUR);
    let failures = world.failures(node, at.id());
    assert!(failures.len() > 40 && failures.iter().all(|kind| *kind == "incompatible"));
    assert!(!world.was_ever_bad(node, at.id()));
}

/// Who misbehaves is banned, but not whom the operator wants.
#[test]
fn who_becomes_persistent_is_banned_by_no_machine_from_then_on() {
    let mut world = internet(103);
    let node = world.join(quiet());
    let peer = world.join(quiet());
    let at = world.net_addr(peer);
    let misbehave = |world: &mut World<Null>| {
        world.receive(node, peer, PexMessage::Addrs(vec![addr(900)]).encode());
    };
    let is_banned = |world: &World<Null>| {
        let bans = world.nodes[node].pex.core.book().bans();
        bans.find_id(&at.id(), world.at(node).wall).is_some()
    };
    world.dial(peer, node);
    world.run_for(SECOND);
    misbehave(&mut world);
    assert!(is_banned(&world) && world.session(node, peer).is_none());
    // What a machine has decided ends with the operator's word.
    world.control(node, Control::AddPersistent(at.into()));
    assert!(world.run_until(BACK, |w| w.session(node, peer).is_some()));
    assert!(!is_banned(&world));
    let lifted = |event: &SwitchEvent| matches!(event, SwitchEvent::Unbanned(ban) if ban.target == at.id().into());
    assert!(world.nodes[node].events.iter().any(lifted));
    // Stopped it is all the same, and it comes back.
    for _ in 0..3 {
        world.run_for(SECOND);
        misbehave(&mut world);
        assert!(!is_banned(&world));
        assert!(world.run_until(BACK, |w| w.session(node, peer).is_some()));
    }
    world.control(node, Control::RemovePersistent(at.id()));
    world.run_for(SECOND);
    misbehave(&mut world);
    assert!(is_banned(&world), "a peer like others again");
}

#[test]
fn who_is_reserved_is_banned_by_no_machine() {
    for is_persistent in [true, false] {
        let mut world = internet(104);
        let peer = world.join(quiet());
        let at = world.net_addr(peer);
        let mut config = quiet();
        if is_persistent {
            config.persistent_peers = vec![at.into()];
        } else {
            config.unconditional_peer_ids = vec![at.id()];
        }
        let node = world.join(config);
        world.dial(peer, node);
        world.run_for(5 * SECOND);
        assert!(world.session(node, peer).is_some());
        world.receive(node, peer, PexMessage::Addrs(vec![addr(900)]).encode());
        assert_eq!(world.nodes[node].pex.stopped.len(), 1, "it is stopped");
        assert!(world.nodes[node].pex.core.book().bans().is_empty());
    }
}

/// A bad address is bad no more once its node is persistent.
#[test]
fn who_becomes_persistent_is_not_bad_any_more() {
    let mut world = internet(105);
    let node = world.join(quiet());
    let gone = addr(700);
    world.tell(node, [gone]);
    let duration = 24 * HOUR;
    let reason = "no answer".to_owned();
    let bad =
        tmp2p::internals::pex::PexRequest::MarkBad { id: gone.id(), addr: None, duration, reason };
    world.request(node, bad);
    world.run_for(SECOND);
    assert!(world.nodes[node].pex.core.book().is_bad(&gone.id()));
    world.control(node, Control::AddPersistent(gone.into()));
    world.run_for(SECOND);
    assert!(!world.nodes[node].pex.core.book().is_bad(&gone.id()));
    let is_told =
        |event: &SwitchEvent| matches!(event, SwitchEvent::Reinstated { id } if *id == gone.id());
    assert!(world.nodes[node].events.iter().any(is_told));
}

/// A seed sends everybody away, but not for whom a place is reserved; the list may change.
#[test]
fn a_seed_keeps_whom_the_operator_has_just_reserved() {
    for is_persistent in [true, false] {
        let mut world = internet(106);
        let config = Config {
            seed_mode: true,
            seed_disconnect_wait_period: 60 * SECOND,
            ..Config::default()
        };
        let seed = world.join(config);
        let guests = [(); 2].map(|()| world.join(Config { pex: false, ..quiet() }));
        for guest in guests {
            world.dial(guest, seed);
        }
        world.run_for(30 * SECOND);
        assert_eq!(world.num_peers(seed), 2);
        let kept = world.net_addr(guests[0]);
        let control = if is_persistent {
            Control::AddPersistent(kept.into())
        } else {
            Control::AddUnconditional(kept.id())
        };
        world.control(seed, control);
        world.run_for(600 * SECOND);
        assert!(world.session(seed, guests[0]).is_some());
        assert!(world.session(seed, guests[1]).is_none());
        let inbound = world.nodes[seed].switch.num_limited(Direction::Inbound);
        assert_eq!(inbound, 0, "it counts in no limit");
    }
}

#[test]
fn a_private_peer_is_told_to_nobody_from_the_moment_it_is_private() {
    let mut world = internet(107);
    let node = world.join(quiet());
    world.tell(node, (500..540).map(addr));
    let asks = world.join(quiet());
    world.mute(asks);
    world.dial(asks, node);
    world.run_for(SECOND);
    let (ask, secret) = (PexMessage::Request.encode(), addr(500).id());
    let told = |world: &World<Null>| {
        let sent = world.nodes[node].pex.sent.iter();
        sent.filter(|(.., message)| {
            matches!(message, PexMessage::Addrs(addrs) if addrs.iter().any(|a| a.id() == secret))
        })
        .count()
    };
    for (request, is_told) in [
        (tmp2p::internals::pex::PexRequest::AddPrivate { ids: vec![secret] }, false),
        (tmp2p::internals::pex::PexRequest::RemovePrivate { ids: vec![secret] }, true),
    ] {
        world.request(node, request);
        let before = told(&world);
        for _ in 0..20 {
            world.run_for(11 * SECOND);
            world.receive(node, asks, ask.clone());
        }
        assert_eq!(told(&world) > before, is_told);
    }
}
