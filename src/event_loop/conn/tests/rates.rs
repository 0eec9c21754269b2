//! How much flows.

use super::*;

#[test]
fn rates_are_those_of_the_last_seconds_and_silence_shows_though_nothing_happens() {
    let mut cx = context(|_| ());
    let (mut conn, mut far, peer) = open(&mut cx);
    let mut exchange = |at, cx: &mut _| {
        turn(cx, at);
        far.send(&[1; 90], cx);
        peer.try_send(0x20, vec![1; 490]).unwrap();
        conn.set_dirty();
        run(&mut conn, cx);
        assert_eq!(far.receive(cx).len(), 1);
        cx.inbox.inner.0.clear();
    };
    for step in 0..200 {
        exchange(step * Duration::from_millis(20), &mut cx);
    }
    // Fifty messages a second, each with some bytes of its packet.
    let (sent, received) = (peer.status().send_rate, peer.status().recv_rate);
    assert!((50 * 490..=52 * 502).contains(&sent), "{sent}");
    assert!((50 * 90..=52 * 102).contains(&received), "{received}");
    // The loop does nothing now.
    turn(&mut cx, 9 * SECOND / 2);
    assert!(peer.status().send_rate < sent && peer.status().recv_rate < received);
    turn(&mut cx, 6 * SECOND);
    assert_eq!((peer.status().send_rate, peer.status().recv_rate), (0, 0));
}
