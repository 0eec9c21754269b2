//! The reactors of a switch, as the switch tells them of sessions.

use std::{
    collections::VecDeque,
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
    /// Per reactor, for each session whose beginning it may not have taken: how many events had
    /// been delivered with it.
    unread: Vec<VecDeque<u64>>,
    /// A reactor whose receiver was found gone.
    gone: Option<usize>,
}

impl<I: Inbox> Lineup<I> {
    /// Reactors by number, with what their sessions have in common.
    pub fn new(
        settings: SessionSettings,
        names: Vec<String>,
        inbox: I,
        notify: Arc<dyn Notify>,
    ) -> Self {
        let unread = vec![VecDeque::new(); names.len()];
        Self { settings, names, hooks: Vec::new(), inbox, notify, unread, gone: None }
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
        // Peer exchange, which is registered last, is told first: whatever another reactor says of the
        // peer, it knows the peer by then.
        for reactor in (0..self.names.len()).rev() {
            if self.deliver(reactor, Event::PeerUp(peer.clone())) {
                self.unread[reactor].push_back(self.inbox.progress(reactor).delivered);
            }
        }
        Ok(session)
    }

    /// Puts `PeerDown` into every inbox.
    pub fn dismiss(&mut self, peer: &Peer, reason: DisconnectReason) {
        // The loop has ended it, unless the connection was over before it heard of the admission.
        peer.session().end();
        let reason = Arc::new(reason);
        for reactor in 0..self.names.len() {
            self.deliver(reactor, Event::PeerDown(peer.clone(), reason.clone()));
        }
    }

    /// The reactor that has not taken the beginning of most sessions, and of how many. A count by
    /// place in the inbox, so it may be a few events off while the loop delivers at the same time.
    pub fn unread(&mut self) -> (usize, usize) {
        for (reactor, unread) in self.unread.iter_mut().enumerate() {
            if unread.is_empty() {
                continue;
            }
            let progress = self.inbox.progress(reactor);
            let taken = progress.delivered.saturating_sub(progress.waiting as u64);
            while unread.front().is_some_and(|place| *place <= taken) {
                unread.pop_front();
            }
        }
        let counts = self.unread.iter().map(VecDeque::len).enumerate();
        // The first of equals, so that it keeps its name.
        counts.rev().max_by_key(|(_, unread)| *unread).unwrap_or((0, 0))
    }

    /// A reactor whose receiver was found gone since the last call.
    pub fn take_gone(&mut self) -> Option<usize> {
        self.gone.take()
    }

    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        let is_delivered = self.inbox.deliver(reactor, event);
        if !is_delivered {
            self.gone = Some(reactor);
        }
        is_delivered
    }
}
