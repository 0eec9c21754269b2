//! Where events for reactors go: channels of their own, which end when nobody can send any more.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crossbeam_channel::Sender;
use log::Level;
use parking_lot::Mutex;

use super::{DisconnectReason, Event, Inbox, Peer, Progress};
use crate::guard::{P2P, tell};

/// The reactors' inboxes; the loop and the switch each hold them, and the receivers end when both
/// are gone.
#[derive(Clone)]
pub(crate) struct Inboxes {
    senders: Vec<Sender<Event>>,
    /// Events put into each, by everybody who holds it.
    delivered: Arc<[AtomicU64]>,
}

impl Inboxes {
    pub(crate) fn new(senders: Vec<Sender<Event>>) -> Self {
        let delivered = senders.iter().map(|_| AtomicU64::new(0)).collect();
        Self { senders, delivered }
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "there is an inbox for each reactor that was registered"
)]
impl Inbox for Inboxes {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        if log::log_enabled!(target: P2P, Level::Trace)
            && let Event::Message(message) = &event
        {
            let (peer, channel) = (message.peer(), message.channel());
            tell!(Level::Trace, "{peer} sent {} bytes on {channel}", message.payload().len());
        }
        self.delivered[reactor].fetch_add(1, Relaxed);
        // A reactor that is gone gets nothing; dropping the event returns its budget.
        self.senders[reactor].send(event).is_ok()
    }

    fn progress(&self, reactor: usize) -> Progress {
        Progress {
            delivered: self.delivered[reactor].load(Relaxed),
            waiting: self.senders[reactor].len(),
        }
    }
}

/// The switch's: they can be taken from it while it is stuck in code of the application, so that the
/// reactors hear of the end all the same.
pub(crate) struct Revocable(Arc<Mutex<Option<Inboxes>>>);

/// Takes them from it. Keeps no receiver from ending.
pub(crate) struct Revoker(Weak<Mutex<Option<Inboxes>>>);

impl Revocable {
    pub(crate) fn new(inboxes: Inboxes) -> Self {
        Self(Arc::new(Mutex::new(Some(inboxes))))
    }

    pub(crate) fn revoker(&self) -> Revoker {
        Revoker(Arc::downgrade(&self.0))
    }
}

impl Revoker {
    /// Tells every reactor of the end of these sessions, and the switch tells them nothing any more.
    pub(crate) fn revoke(&self, peers: Vec<Peer>, reason: DisconnectReason) {
        let inboxes = self.0.upgrade().and_then(|inboxes| inboxes.lock().take());
        let Some(mut inboxes) = inboxes else { return };
        let reason = Arc::new(reason);
        for peer in peers {
            peer.session().end();
            for reactor in 0..inboxes.senders.len() {
                inboxes.deliver(reactor, Event::PeerDown(peer.clone(), reason.clone()));
            }
        }
    }
}

impl Inbox for Revocable {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        match &mut *self.0.lock() {
            Some(inboxes) => inboxes.deliver(reactor, event),
            // The stop has told them of the end, and asks nobody whether a reactor is there.
            None => true,
        }
    }

    fn progress(&self, reactor: usize) -> Progress {
        self.0.lock().as_ref().map_or_else(Progress::default, |inboxes| inboxes.progress(reactor))
    }
}
