//! What goes to reactors, and whose receiver is gone.

use crate::reactor::{Event, Inbox};

/// What is held at most: as many messages of 1 KiB as a read brings. Empty ones come by the thousand.
const MOST_HELD: usize = 64;

/// The reactors' inboxes, and whose receiver is gone.
#[derive(Debug)]
pub(super) struct Watched<I> {
    pub(super) inner: I,
    /// Not delivered yet, in order.
    held: Vec<(usize, Event)>,
    gone: Box<[bool]>,
    /// Found since they were last told.
    news: Vec<usize>,
}

impl<I: Inbox> Watched<I> {
    pub(super) fn new(inner: I, reactors: usize) -> Self {
        Self { inner, held: Vec::new(), gone: vec![false; reactors].into(), news: Vec::new() }
    }

    /// Delivers; an event for a reactor that is gone is dropped, which returns its budget.
    pub(super) fn deliver(&mut self, reactor: usize, event: Event) {
        if !self.inner.deliver(reactor, event)
            && let Some(is_gone) = self.gone.get_mut(reactor)
            && !std::mem::replace(is_gone, true)
        {
            self.news.push(reactor);
        }
    }

    /// Delivers with the next [`flush`](Self::flush): what one read has brought comes in one go. A
    /// reactor that is woken by its first message and is quicker than we open frames would fall asleep
    /// before the next one, and waking a thread costs as much as opening ten frames.
    pub(super) fn hold(&mut self, reactor: usize, event: Event) {
        self.held.push((reactor, event));
        if self.held.len() >= MOST_HELD {
            self.flush();
        }
    }

    /// Delivers what is held.
    pub(super) fn flush(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        for (reactor, event) in held.drain(..) {
            self.deliver(reactor, event);
        }
        self.held = held;
    }

    /// A reactor whose receiver turned out to be gone; each once.
    pub(super) fn pop_gone(&mut self) -> Option<usize> {
        self.news.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::{Progress, peer_without_connection};

    /// Which reactors got something, in order.
    impl Inbox for Vec<usize> {
        fn deliver(&mut self, reactor: usize, _: Event) -> bool {
            self.push(reactor);
            true
        }
        fn progress(&self, _: usize) -> Progress {
            Progress::default()
        }
    }

    #[test]
    fn what_is_held_is_bounded_and_comes_in_its_order() {
        let mut inbox = Watched::new(Vec::new(), 3);
        let event = || Event::PeerUp(peer_without_connection(1));
        for reactor in [2, 0, 1] {
            inbox.hold(reactor, event());
            assert!(inbox.inner.is_empty());
        }
        inbox.flush();
        assert_eq!(inbox.inner, [2, 0, 1]);
        for held in 1..=MOST_HELD {
            assert_eq!(inbox.inner.len(), 3, "with {held}");
            inbox.hold(0, event());
        }
        assert_eq!(inbox.inner.len(), 3 + MOST_HELD);
    }
}
