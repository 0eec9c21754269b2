//! What the reactors say of their peers, for the address book: who is of use is looked for first
//! when peers are needed again, and who sends nonsense is not dialed or told to others for a day.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tmp2p::Peer;

/// How long: the reference's default.
const BAD_FOR: Duration = Duration::from_secs(24 * 3600);

/// How often the same peer is called good. Each message would be too often: it says nothing new.
const GOOD_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// What was said of a peer. Kept with its session, so that all reactors know and it ends with it.
#[derive(Clone, Copy)]
enum Said {
    Good(Instant),
    Bad,
}

/// One verdict at a time. The last one counts, and a reactor that still holds messages of a peer
/// must not call it good after another one has called it bad.
static VERDICT: Mutex<()> = Mutex::new(());

/// The peer has sent something that was of use.
pub(crate) fn good(peer: &Peer) {
    let _one = VERDICT.lock().unwrap_or_else(PoisonError::into_inner);
    let is_said = match peer.get::<Said>().as_deref() {
        Some(Said::Good(at)) => at.elapsed() < GOOD_AGAIN_AFTER,
        Some(Said::Bad) => true,
        None => false,
    };
    if !is_said {
        peer.set(Said::Good(Instant::now()));
        peer.mark_good();
    }
}

/// The peer has sent what no node of this network sends.
pub(crate) fn bad(peer: &Peer, why: impl Into<String>) {
    let why = why.into();
    let _one = VERDICT.lock().unwrap_or_else(PoisonError::into_inner);
    peer.set(Said::Bad);
    peer.mark_bad(BAD_FOR, &why);
    peer.stop(why);
}
