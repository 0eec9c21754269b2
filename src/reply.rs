//! The answer to a request: given once, wherever the request goes and however it ends.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

type Take<T> = Box<dyn FnOnce(Option<T>) + Send>;

/// Goes with a request to whoever can answer it. Dropped without an answer, because nobody is there
/// any more, it says so: whoever waits is told in any case, and once.
#[must_use = "dropping a reply tells whoever waits that nobody answers"]
pub struct Reply<T>(Option<Take<T>>);

/// An answer that was found and is not told yet: what was decided with it comes first.
#[must_use = "nobody is told before it is given"]
pub struct Answer(Box<dyn FnOnce() + Send>);

/// The place of an answer: empty, then `None` if nobody has answered.
pub type Kept<T> = Arc<OnceLock<Option<T>>>;

impl<T> Reply<T> {
    /// `take` is called once, on whatever thread: with the answer, or with `None` if there is none.
    pub fn new(take: impl FnOnce(Option<T>) + Send + 'static) -> Self {
        Self(Some(Box::new(take)))
    }

    /// One whose answer is kept, for those who look at it later.
    ///
    /// # Panics
    /// If it were answered twice, which cannot be.
    pub fn kept() -> (Self, Kept<T>)
    where
        T: Send + Sync + 'static,
    {
        let kept = Kept::default();
        let place = kept.clone();
        let keep = move |answer| assert!(place.set(answer).is_ok(), "answered twice");
        (Self::new(keep), kept)
    }

    /// Answers.
    pub fn give(mut self, answer: T) {
        self.take(Some(answer));
    }

    /// This answer, to be given in its turn.
    pub fn with(self, answer: T) -> Answer
    where
        T: Send + 'static,
    {
        Answer(Box::new(move || self.give(answer)))
    }

    /// The same for who finds something else, of which `make` makes the answer where it is given.
    pub fn map<U>(mut self, make: impl FnOnce(U) -> T + Send + 'static) -> Reply<U>
    where
        T: 'static,
    {
        Reply::new(move |found: Option<U>| self.take(found.map(make)))
    }

    fn take(&mut self, answer: Option<T>) {
        if let Some(take) = self.0.take() {
            take(answer);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        self.take(None);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl Answer {
    /// Tells it.
    pub fn give(self) {
        (self.0)();
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults: two answers to one request, or none.
    #[test]
    fn a_reply_answers_once_however_it_ends() {
        type End = fn(Reply<u8>);
        let ways: [(End, Option<u8>); 6] = [
            (|reply| reply.give(7), Some(7)),
            (|reply| reply.with(7).give(), Some(7)),
            (drop, None),
            (|reply| drop(reply.with(7)), None),
            (|reply| reply.map(|more: u16| (more - 1) as u8).give(8), Some(7)),
            (|reply| drop(reply.map(|more: u16| more as u8)), None),
        ];
        for (end, answer) in ways {
            let (reply, kept) = Reply::kept();
            assert_eq!(kept.get(), None, "not yet");
            end(reply);
            assert_eq!(kept.get(), Some(&answer));
        }
    }

    #[test]
    fn who_unwinds_with_a_reply_has_answered() {
        let (reply, kept) = Reply::<u8>::kept();
        let thrown = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _reply = reply;
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(thrown.is_err());
        assert_eq!(kept.get(), Some(&None));
    }
}
