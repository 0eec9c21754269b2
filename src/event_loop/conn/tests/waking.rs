//! When the loop is woken for a connection.

use super::*;

#[test]
fn nobody_wakes_the_loop_for_a_connection_that_takes_nothing() {
    let mut cx = context(|_| ());
    let (mut conn, mut far, peer) = open(&mut cx);
    run(&mut conn, &mut cx);
    cx.sockets.is_full = true;
    for (message, woken) in [("one", 1), ("two", 1), ("three", 1), ("four", 2)] {
        let before = WOKEN.get();
        peer.try_send(0x20, message).unwrap();
        if WOKEN.get() > before {
            conn.set_dirty();
        }
        assert_eq!(WOKEN.get(), woken, "{message}");
        assert!(matches!(run(&mut conn, &mut cx), Next::Wait));
        cx.sockets.is_full = message == "one";
    }
    assert_eq!(far.receive(&mut cx), ["one", "two", "three", "four"]);
}
