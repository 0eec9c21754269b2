//! Streams that somebody has tampered with.

use std::time::Duration;

use tmp2p::{
    DisconnectReason, SwitchEvent,
    internals::protocol::secret::{ChaCha, Cipher, FRAME_SEALED, Null},
};

use crate::{
    dice::Dice,
    mangle::{Mangler, Mischief},
    options::Options,
    weather::Weather,
    world::{World, seeds},
};

const MS: Duration = Duration::from_millis(1);

fn any_mischief(dice: &mut Dice, reach: usize) -> Mischief {
    let at = dice.below(reach) as u64;
    let bytes = dice.range(1..=2000) as u64;
    // The first sealed frame is number 0.
    let frame = dice.below(reach / FRAME_SEALED) as u64;
    match dice.below(5) {
        0 => Mischief::Flip { bit: dice.below(reach * 8) as u64 },
        1 => Mischief::Drop { at, bytes },
        2 => Mischief::Insert { at, bytes },
        3 => Mischief::Replay { frame },
        _ => Mischief::Swap { frame },
    }
}

#[test]
fn a_tampered_stream_ends_its_connection_and_no_other() {
    for seed in seeds(150) {
        tamper::<Null>(seed);
    }
    for seed in seeds(10) {
        tamper::<ChaCha>(seed);
    }
}

fn tamper<C: Cipher>(seed: u64) {
    let mut dice = Dice::new(seed);
    let weather =
        Weather { send_buffer: 8 << 10, recv_buffer: 8 << 10, ..Weather::random(&mut dice) };
    let mut world = World::<C>::with(seed, weather);
    let options = Options::default();
    let (a, b, c) = (world.add(options.clone()), world.add(options.clone()), world.add(options));
    let (at_c, _) = world.connect(c, b);
    let mischief = any_mischief(&mut dice, 40_000);
    world.dial(a, b);
    // As soon as there is a connection, and before anything is sent.
    let (host_a, host_b) = (world.nodes[a].host, world.nodes[b].host);
    let is_connected = |w: &World<C>| w.net.borrow().sock_between(host_a, host_b).is_some();
    assert!(world.run_until(1000 * MS, is_connected));
    let sock = world.sock(a, b);
    world.net.borrow_mut().socks[sock].mangler = Some(Mangler::new(mischief));
    let is_done =
        |w: &World<C>| w.net.borrow().socks[sock].mangler.as_ref().is_some_and(|m| m.is_done);

    // Until it has happened, and long enough for the receiver to see it.
    let mut left = 20;
    for _ in 0..2000 {
        if let Some(peer) = world.peer(a, b) {
            let _ = world.send(a, &peer, 0x20, dice.range(0..=3000));
        }
        let _ = world.send(c, &at_c, 0x20, dice.range(0..=100));
        world.run_for(10 * MS);
        left -= usize::from(is_done(&world));
        if left == 0 {
            break;
        }
    }
    assert!(is_done(&world), "{mischief:?} did not happen");
    world.run_for(Duration::from_secs(30));

    assert!(world.peer(b, a).is_none(), "{mischief:?} went unnoticed");
    assert!(world.peer(a, b).is_none(), "the other side still believes in it");
    let id = world.nodes[a].id;
    let node = &world.nodes[b];
    for reactor in &node.reactors {
        let seen = reactor.sessions.values().find(|seen| seen.peer.id() == id);
        let Some(seen) = seen else {
            // A key that was tampered with gives both another secret: the dialer may find out first.
            let is_found_out = is_rejected(&node.events) || has_failed(&world.nodes[a].events);
            assert!(is_found_out, "{mischief:?}: {:?}", node.events);
            continue;
        };
        let reason = seen.down.as_deref().expect("told");
        let is_blamed = matches!(reason, DisconnectReason::Protocol(_));
        assert!(is_blamed && reason.kind() == "auth_failure", "{mischief:?}: {reason}");
    }
    // The third one has not noticed anything.
    assert!(world.down(c, 0, at_c.conn()).is_none());
    let (accepted, delivered) = world.counts(c, at_c.conn());
    assert_eq!((accepted > 0, delivered), (true, accepted));
    world.stop_all();
}

/// Whether a dial failed for what the peer sent.
fn has_failed(events: &[SwitchEvent]) -> bool {
    let is_it = |event: &SwitchEvent| {
        matches!(event, SwitchEvent::DialFailed { reason: DisconnectReason::Protocol(_), .. })
    };
    events.iter().any(is_it)
}

/// Whether a handshake failed for what the peer sent.
fn is_rejected(events: &[SwitchEvent]) -> bool {
    let is_it = |event: &SwitchEvent| match event {
        SwitchEvent::Rejected { reason, .. } => {
            matches!(reason, DisconnectReason::Protocol(_) | DisconnectReason::HandshakeTimeout(_))
        }
        _ => false,
    };
    events.iter().any(is_it)
}
