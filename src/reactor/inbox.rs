//! Where events for reactors go, as the loop and the switch see it.

use super::Event;

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
