//! The first step of a handshake.

use super::*;
use crate::{protocol::secret::FRAME_SEALED, reactor::LocalFault};

#[test]
fn who_is_silent_costs_nothing_and_whoever_speaks_is_answered_in_few_steps() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
    assert!(cx.sockets.from_us.is_empty() && cx.door.pool.has_silent());
    Far::start("chain", &mut cx);
    conn.note(Readiness { readable: true, ..Readiness::default() });
    cx.handshake_steps = 1;
    assert!(matches!(conn.run(&mut cx), Next::Again), "the other steps are for the next turn");
    assert_eq!(cx.handshake_steps, 0);
    assert!(!cx.sockets.from_us.is_empty() && !cx.door.pool.has_silent());
}

#[test]
fn who_is_silent_is_spoken_to_when_there_is_time() {
    let mut cx = context(|_| ());
    let mut conn = accepted(&mut cx);
    assert!(matches!(conn.begin_silent(&mut cx), Next::Wait));
    assert!(!cx.sockets.from_us.is_empty() && !cx.door.pool.has_silent());
    let timeout = cx.settings.handshake_timeout;
    turn(&mut cx, timeout);
    let next = conn.handle_deadline(&cx);
    let Report::HandshakeFailed { reason, .. } = over(conn, next, &mut cx) else { panic!() };
    assert_eq!(reason, DisconnectReason::HandshakeTimeout(cx.settings.handshake_timeout));
}

#[test]
fn without_randomness_no_handshake_begins() {
    let mut cx = context(|_| ());
    cx.key_agreement = Box::new(|| None);
    let mut conn = accepted(&mut cx);
    let next = conn.begin_silent(&mut cx);
    let report = over(conn, next, &mut cx);
    let Report::HandshakeFailed { reason, .. } = report else { panic!("{report:?}") };
    assert_eq!(reason, DisconnectReason::Local(LocalFault::Randomness));
    assert!(cx.sockets.from_us.is_empty());
}

/// A read brings up to 4 KiB, of which less than a frame is left.
#[test]
fn what_is_left_of_a_read_takes_little_room() {
    let mut socket = Socket::new(SLOT, true);
    socket.inbuf.resize(4 << 10, 1);
    socket.use_up(3 * FRAME_SEALED);
    let left = (4 << 10) - 3 * FRAME_SEALED;
    assert!(socket.inbuf == vec![1; left] && socket.inbuf.capacity() <= 2 * FRAME_SEALED);
    socket.use_up(left);
    assert_eq!(socket.inbuf.capacity(), 0);
}

/// What is sealed goes first, however urgent what comes later is.
#[test]
fn there_is_room_only_where_bytes_can_be_written_now() {
    let mut socket = Socket::new(SLOT, false);
    assert!(!socket.has_room(), "it is not connected");
    socket.note(Readiness { readable: false, writable: true, hung_up: false });
    assert!(socket.has_room());
    socket.out = vec![1];
    assert!(!socket.has_room(), "something waits");
    socket.out.clear();
    socket.write_failed = true;
    assert!(!socket.has_room(), "nothing is written any more");
}

#[test]
fn few_buffers_are_kept_however_many_are_given_back() {
    let mut cx = context(|_| ());
    cx.recycle(Vec::new());
    for _ in 0..100 {
        cx.recycle(vec![1]);
    }
    let kept = (0..100).take_while(|_| cx.spare_buffer().capacity() > 0).count();
    assert_eq!(kept, 8);
}
