//! What an application says about who may connect, from whatever thread it likes.

use std::{fmt, sync::Arc};

use super::Candidate;

/// A filter: looks at a candidate and decides, at once or later, on any thread. Called on the
/// switch's thread: it must not block. A panic is a refusal.
pub type Filter = Arc<dyn Fn(&Candidate, Decision) + Send + Sync>;

/// A filter's answer, to be given once, on any thread. Dropping it refuses the candidate; so does
/// letting the time pass (`Config::connection_filter_timeout`, `Config::peer_filter_timeout`).
#[must_use = "dropping a decision refuses the candidate"]
pub struct Decision(Option<Box<dyn FnOnce(Result<(), String>) + Send>>);

impl Decision {
    pub(super) fn new(answer: impl FnOnce(Result<(), String>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    /// Lets the candidate in, as far as this filter is concerned.
    pub fn accept(mut self) {
        self.give(Ok(()));
    }

    /// Refuses the candidate; the reason goes to the log and into
    /// [`DisconnectReason::Filtered`](crate::DisconnectReason::Filtered).
    pub fn reject(mut self, why: impl Into<String>) {
        self.give(Err(why.into()));
    }

    fn give(&mut self, result: Result<(), String>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl Drop for Decision {
    fn drop(&mut self) {
        let why = if std::thread::panicking() { "the filter panicked" } else { "no decision" };
        self.give(Err(why.to_owned()));
    }
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decision")
    }
}
