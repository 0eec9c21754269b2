//! Which reactors' receivers are gone.

use crate::reactor::{Event, Inbox};

/// The reactors' inboxes, and whose receiver is gone.
#[derive(Debug)]
pub(super) struct Watched<I> {
    pub(super) inner: I,
    gone: Box<[bool]>,
    /// Found since they were last told.
    news: Vec<usize>,
}

impl<I: Inbox> Watched<I> {
    pub(super) fn new(inner: I, reactors: usize) -> Self {
        Self { inner, gone: vec![false; reactors].into(), news: Vec::new() }
    }

    /// Delivers; an event for a reactor that is gone is dropped, which returns its budget.
    pub(super) fn deliver(&mut self, reactor: usize, event: Event) {
        if !self.inner.deliver(reactor, event) && !std::mem::replace(&mut self.gone[reactor], true)
        {
            self.news.push(reactor);
        }
    }

    /// A reactor whose receiver turned out to be gone; each once.
    pub(super) fn pop_gone(&mut self) -> Option<usize> {
        self.news.pop()
    }
}
