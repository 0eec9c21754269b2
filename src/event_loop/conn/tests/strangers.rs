//! Who is not let in, at every stage.

use super::*;

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
