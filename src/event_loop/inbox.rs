//! Where events for reactors go.

use crate::reactor::Event;

/// Where events for reactors go. Never blocks.
pub trait Inbox {
    /// Puts the event into the reactor's inbox. False: its receiver is gone, and so is the event.
    fn deliver(&mut self, reactor: usize, event: Event) -> bool;
    /// How far the reactor has come with what everybody delivered to it.
    fn progress(&self, reactor: usize) -> Progress;
}

/// How far a reactor has come with its inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Events put into the inbox so far.
    pub delivered: u64,
    /// How many of them still lie there.
    pub waiting: usize,
}

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
