//! The reactors of a switch, as the switch tells them of sessions.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    guard::guarded,
    reactor::{Admission, DisconnectReason, Event, Inbox, Notify, Peer, Session, SessionSettings},
    time::Mono,
};

/// How long what reactors keep with a session stays after its end, for one that is behind with its
/// inbox. One that is stuck must not keep it for ever.
const VALUES_STAY: Duration = Duration::from_secs(60);
/// How often it is looked at whether somebody still needs them. Nothing but memory waits for it.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// A reactor's init hook. Called on the switch's thread.
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
    /// Sessions that are over, in order, while reactors may still look at what they keep with them.
    farewells: VecDeque<Farewell>,
    /// When to look whether they may go.
    look_at: Option<Mono>,
}

/// A session that is over.
struct Farewell {
    peer: Peer,
    /// Every `PeerDown` of it holds the reason.
    told: Weak<DisconnectReason>,
    /// Nobody is waited for any longer.
    until: Mono,
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
        Self {
            settings,
            names,
            hooks: Vec::new(),
            inbox,
            notify,
            unread,
            farewells: VecDeque::new(),
            look_at: None,
        }
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
    #[expect(
        clippy::indexing_slicing,
        reason = "hooks, names and what is unread are of the reactors that were registered"
    )]
    pub fn introduce(
        &mut self,
        admission: Admission,
        list: impl FnOnce(&Peer),
    ) -> Result<Arc<Session>, String> {
        let session = Arc::new(Session::new(admission, &self.settings, self.notify.clone()));
        let peer = Peer::new(session.clone());
        for (reactor, hook) in &mut self.hooks {
            if guarded(|| hook(&peer)).is_none() {
                session.end();
                drop_values(&session);
                return Err(format!("the init hook of {:?} panicked", self.names[*reactor]));
            }
        }
        list(&peer);
        // Peer exchange, which is registered last, is told first: whatever another reactor says of the
        // peer, it knows the peer by then.
        for reactor in (0..self.names.len()).rev() {
            if self.inbox.deliver(reactor, Event::PeerUp(peer.clone())) {
                self.unread[reactor].push_back(self.inbox.progress(reactor).delivered);
            }
        }
        Ok(session)
    }

    /// Puts `PeerDown` into every inbox.
    pub fn dismiss(&mut self, peer: &Peer, reason: DisconnectReason, now: Mono) {
        // The loop has ended it, unless the connection was over before it heard of the admission.
        peer.session().end();
        let reason = Arc::new(reason);
        for reactor in 0..self.names.len() {
            self.inbox.deliver(reactor, Event::PeerDown(peer.clone(), reason.clone()));
        }
        let told = Arc::downgrade(&reason);
        self.farewells.push_back(Farewell { peer: peer.clone(), told, until: now + VALUES_STAY });
        self.look_at.get_or_insert(now + LOOK_AFTER);
    }

    /// When [`let_go`](Self::let_go) has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.look_at
    }

    /// Drops what reactors have kept with sessions that are over and that no reactor has to hear of
    /// any more.
    pub fn let_go(&mut self, now: Mono) {
        if self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.farewells.retain(|farewell| {
            let stays = farewell.told.strong_count() > 0 && farewell.until > now;
            if !stays {
                drop_values(farewell.peer.session());
            }
            stays
        });
        self.look_at = (!self.farewells.is_empty()).then_some(now + LOOK_AFTER);
    }

    /// Drops hooks, and what was kept with sessions: nobody looks at it again.
    pub(super) fn let_go_of_all(&mut self) {
        for farewell in self.farewells.drain(..) {
            drop_values(farewell.peer.session());
        }
        for hook in self.hooks.drain(..) {
            _ = guarded(|| drop(hook));
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
}

fn drop_values(session: &Session) {
    for value in session.take_values() {
        // Its `Drop` is the application's.
        _ = guarded(|| drop(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Asleep, Progress, peer_without_connection};

    /// Keeps what comes.
    #[derive(Default)]
    struct Kept(Vec<Event>);

    impl Inbox for Kept {
        fn deliver(&mut self, _: usize, event: Event) -> bool {
            self.0.push(event);
            true
        }
        fn progress(&self, _: usize) -> Progress {
            Progress::default()
        }
    }

    /// Of one reactor, to which the end of a session with a value was told.
    fn dismissed() -> (Lineup<Kept>, Peer) {
        let settings = SessionSettings::for_test(&[]);
        let names = vec!["one".to_owned()];
        let mut lineup = Lineup::new(settings, names, Kept::default(), Arc::new(Asleep));
        assert_eq!(lineup.next_deadline(), None);
        let peer = peer_without_connection(1);
        peer.set(7_u8);
        lineup.dismiss(&peer, DisconnectReason::Eof, Mono::ZERO);
        (lineup, peer)
    }

    #[test]
    fn what_a_reactor_keeps_with_a_session_goes_when_it_has_heard_of_the_end() {
        let (mut lineup, peer) = dismissed();
        let look_at = lineup.next_deadline().expect("it is looked whether it may go");
        lineup.let_go(look_at);
        assert!(peer.get::<u8>().is_some(), "the end is not read yet");
        lineup.inbox.0.clear();
        lineup.let_go(look_at);
        assert!(peer.get::<u8>().is_some(), "it is not looked again so soon");
        lineup.let_go(look_at + LOOK_AFTER);
        assert!(peer.get::<u8>().is_none());
        assert_eq!(lineup.next_deadline(), None);
    }

    #[test]
    fn a_reactor_that_is_stuck_keeps_what_was_kept_with_a_session_for_a_minute() {
        let (mut lineup, peer) = dismissed();
        while let Some(now) = lineup.next_deadline() {
            assert!(peer.get::<u8>().is_some());
            lineup.let_go(now);
            assert!(now <= Mono::ZERO + VALUES_STAY + LOOK_AFTER);
        }
        assert!(peer.get::<u8>().is_none());
    }
}
