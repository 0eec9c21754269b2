//! What an application says about who may connect, at once or later.

use std::{fmt, mem, sync::Arc};

use parking_lot::Mutex;

use super::Candidate;

/// Looks at a candidate and says what it thinks. Called on the switch's thread: it must not block. A
/// panic is a refusal.
pub type Filter = Arc<dyn Fn(&Candidate) -> Verdict + Send + Sync>;

/// What a filter says of a candidate.
///
/// ```
/// use tmp2p::{Candidate, NodeId, Verdict};
///
/// fn at_once(candidate: &Candidate, unwanted: NodeId) -> Verdict {
///     if candidate.id == Some(unwanted) { Verdict::reject("not you") } else { Verdict::Accept }
/// }
///
/// fn later(candidate: &Candidate, is_wanted: fn(Candidate) -> bool) -> Verdict {
///     let (decision, verdict) = Verdict::later();
///     let candidate = candidate.clone();
///     std::thread::spawn(move || {
///         if is_wanted(candidate) { decision.accept() } else { decision.reject("not you") }
///     });
///     verdict
/// }
/// ```
#[derive(Debug)]
pub enum Verdict {
    /// Lets the candidate in, as far as this filter is concerned.
    Accept,
    /// Refuses it; the reason goes to the log and into
    /// [`DisconnectReason::Filtered`](crate::DisconnectReason::Filtered).
    Reject(String),
    /// Somebody decides later, see [`later`](Self::later).
    Later(Later),
}

/// Stands for a [`Decision`] that somebody has still to give.
pub struct Later(Arc<Mutex<Outcome>>);

/// A filter's answer, to be given once, on any thread, before or after the filter has returned the
/// [`Verdict`] that was made with it. Dropping it refuses the candidate; so does letting the time pass
/// (`Config::connection_filter_timeout`, `Config::peer_filter_timeout`).
#[must_use = "dropping a decision refuses the candidate"]
pub struct Decision(Option<Arc<Mutex<Outcome>>>);

enum Outcome {
    Open,
    Awaited(Box<dyn FnOnce(Result<(), String>) + Send>),
    Given(Result<(), String>),
}

impl Verdict {
    /// Refuses the candidate for this reason.
    pub fn reject(why: impl Into<String>) -> Self {
        Self::Reject(why.into())
    }

    /// For who cannot say at once: the filter returns the verdict, and the decision is given when it
    /// is known.
    pub fn later() -> (Decision, Self) {
        let state = Arc::new(Mutex::new(Outcome::Open));
        (Decision(Some(state.clone())), Self::Later(Later(state)))
    }

    /// Tells `answer` once it is known.
    pub(super) fn tell(self, answer: impl FnOnce(Result<(), String>) + Send + 'static) {
        match self {
            Self::Accept => answer(Ok(())),
            Self::Reject(why) => answer(Err(why)),
            Self::Later(Later(state)) => {
                let mut state = state.lock();
                match mem::replace(&mut *state, Outcome::Open) {
                    Outcome::Given(result) => answer(result),
                    Outcome::Open | Outcome::Awaited(_) => {
                        *state = Outcome::Awaited(Box::new(answer))
                    }
                }
            }
        }
    }
}

impl Decision {
    /// Lets the candidate in, as far as this filter is concerned.
    pub fn accept(mut self) {
        self.give(Ok(()));
    }

    /// Refuses the candidate for this reason.
    pub fn reject(mut self, why: impl Into<String>) {
        self.give(Err(why.into()));
    }

    fn give(&mut self, result: Result<(), String>) {
        let Some(state) = self.0.take() else { return };
        let mut state = state.lock();
        match mem::replace(&mut *state, Outcome::Open) {
            Outcome::Awaited(answer) => answer(result),
            Outcome::Open | Outcome::Given(_) => *state = Outcome::Given(result),
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

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}
