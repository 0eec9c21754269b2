//! The reactors of a switch, as the switch tells them of sessions.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::{
    event_loop::Inbox,
    reactor::{Admission, DisconnectReason, Event, Notify, Peer, Session, SessionSettings},
};

/// A reactor's init hook.
pub type Hook = Box<dyn FnMut(&Peer) + Send>;

/// Every reactor's inbox and init hook. Used on `p2p-switch`, and by simulations.
pub struct Lineup<I> {
    settings: SessionSettings,
    names: Vec<String>,
    hooks: Vec<(usize, Hook)>,
    inbox: I,
    notify: Arc<dyn Notify>,
}

impl<I: Inbox> Lineup<I> {
    /// Reactors by number, with what their sessions have in common.
    pub fn new(
        settings: SessionSettings,
        names: Vec<String>,
        inbox: I,
        notify: Arc<dyn Notify>,
    ) -> Self {
        Self { settings, names, hooks: Vec::new(), inbox, notify }
    }

    /// With hooks that [`introduce`](Self::introduce) runs, each with the number of its reactor.
    pub fn with_hooks(mut self, hooks: Vec<(usize, Hook)>) -> Self {
        self.hooks = hooks;
        self
    }

    /// Makes the session, runs every init hook, lists the peer with `list`, then puts `PeerUp` into
    /// every inbox: who is told of a session finds it listed.
    ///
    /// # Errors
    /// A hook panicked: the peer is not to be admitted, and no reactor was told of it.
    pub fn introduce(
        &mut self,
        admission: Admission,
        list: impl FnOnce(&Peer),
    ) -> Result<Arc<Session>, String> {
        let session = Arc::new(Session::new(admission, &self.settings, self.notify.clone()));
        let peer = Peer::new(session.clone());
        for (reactor, hook) in &mut self.hooks {
            if catch_unwind(AssertUnwindSafe(|| hook(&peer))).is_err() {
                session.end();
                return Err(format!("the init hook of {:?} panicked", self.names[*reactor]));
            }
        }
        list(&peer);
        for reactor in 0..self.names.len() {
            self.inbox.deliver(reactor, Event::PeerUp(peer.clone()));
        }
        Ok(session)
    }

    /// Puts `PeerDown` into every inbox.
    pub fn dismiss(&mut self, peer: &Peer, reason: DisconnectReason) {
        // The loop has ended it, unless the connection was over before it heard of the admission.
        peer.session().end();
        let reason = Arc::new(reason);
        for reactor in 0..self.names.len() {
            self.inbox.deliver(reactor, Event::PeerDown(peer.clone(), reason.clone()));
        }
    }
}
