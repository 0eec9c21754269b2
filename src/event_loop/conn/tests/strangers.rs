//! Who is not let in, at every stage.

use super::*;
use crate::{
    node_info::Incompatible,
    protocol::{link::LinkError, secret::HandshakeError},
};

#[test]
fn who_waits_for_a_filter_that_never_decides_is_closed_in_a_handshakes_time() {
    let mut cx = context(|settings| settings.filter_connections = true);
    let conn = accepted(&mut cx);
    let timeout = cx.settings.handshake_timeout;
    turn(&mut cx, timeout - Duration::from_millis(1));
    assert!(matches!(conn.handle_deadline(&cx), Next::Again));
    turn(&mut cx, timeout);
    let next = conn.handle_deadline(&cx);
    let Report::HandshakeFailed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::HandshakeTimeout(timeout));
}

#[test]
fn nobody_is_admitted_about_whom_the_switch_was_not_asked() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    // Not even who is there is known.
    let early = session(&cx);
    assert!(matches!(conn.admit(early, &mut cx), Next::Wait));
    conn.ask(&mut cx);
    assert!(reports(&mut cx).is_empty(), "there is nobody to ask about");
    established(&mut conn, &mut cx);
    let early = session(&cx);
    assert!(matches!(conn.admit(early, &mut cx), Next::Wait));
    assert!(matches!(conn.stage, Stage::AwaitingAdmission(_)));
    conn.ask(&mut cx);
    assert!(matches!(&reports(&mut cx)[..], [Report::Established(_)]));
    let session = session(&cx);
    assert!(matches!(conn.admit(session, &mut cx), Next::Again));
    assert!(matches!(conn.stage, Stage::Open(_)));
}

#[test]
fn an_end_before_anybody_is_there_is_one_at_once_and_has_its_reason() {
    let close = || CloseMode::Graceful(DisconnectReason::Evicted);
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    Far::start("chain", &mut cx);
    run(&mut conn, &mut cx);
    assert_eq!(conn.why_evicted(), DisconnectReason::Evicted);
    assert_eq!(conn.pooled(), None, "none of the memory for messages is its");
    let next = conn.end(close(), &mut cx);
    let Report::HandshakeFailed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Evicted);
    assert!(!cx.sockets.is_shut, "there is nothing that would have to arrive");

    let mut conn = dialed(&cx, None);
    let next = conn.end(close(), &mut cx);
    let Report::DialFailed { ticket: 5, reason } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::Evicted);
}

#[test]
fn who_makes_room_while_it_is_refused_goes_for_the_reason_of_the_refusal() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    let (mut far, settings) = Far::start("other", &mut cx);
    for _ in 0..4 {
        run(&mut conn, &mut cx);
        far = far.answer(&settings, &mut cx);
    }
    let reason = conn.why_evicted();
    assert!(matches!(&reason, DisconnectReason::Incompatible(_)), "{reason:?}");
    // It is over for that, whoever ends it once more, and with that reason.
    let again = CloseMode::Graceful(DisconnectReason::Stopped);
    assert!(matches!(conn.end(again, &mut cx), Next::Wait));
    assert_eq!(conn.why_evicted(), reason);
}

#[test]
fn a_node_info_of_somebody_else_is_told_with_both_names() {
    let [claimed, authenticated] = [1, 2].map(|n| NodeId::from_bytes([n; 20]));
    let text = |claimed| LinkError::ForeignNodeInfo { claimed, authenticated }.to_string();
    assert_eq!(
        text(Some(claimed)),
        format!("node info of {claimed}, who has authenticated as {authenticated}")
    );
    assert!(text(None).starts_with("node info of nobody, who"), "{}", text(None));
}

/// Monitors group by these words: they are part of what is promised.
#[test]
fn what_ends_a_handshake_is_of_a_kind_with_a_stable_word() {
    let id = NodeId::from_bytes([1; 20]);
    let blocks = Incompatible::BlockProtocol { ours: 11, theirs: 10 };
    for (error, kind) in [
        (LinkError::Handshake(HandshakeError::LowOrderKey), "auth_failure"),
        (LinkError::WrongId { expected: id, actual: their_id() }, "wrong_id"),
        (LinkError::SelfConnection, "self"),
        (LinkError::Incompatible(blocks), "incompatible"),
        (LinkError::NodeInfoLength, "protocol"),
    ] {
        assert_eq!(error.kind(), kind, "{error}");
    }
}
