//! Answers that are made only so often, however many ask for them. Pure.

use std::{collections::BTreeMap, time::Duration};

/// Making answers takes at most one in so many parts of the time: others have work for the threads
/// that make them (peer exchange copies the whole book for a page), and strangers may ask again and
/// again.
const SHARE: u32 = 10;

/// What takes longer to make was held up by something else.
const LONGEST: Duration = Duration::from_secs(1);

/// The last answer of each name, and until when it is given again.
pub(crate) struct Kept<T> {
    names: u32,
    made: BTreeMap<&'static str, (T, Duration)>,
}

impl<T: Clone> Kept<T> {
    /// There are so many names.
    pub(crate) fn new(names: u32) -> Self {
        Self { names, made: BTreeMap::new() }
    }

    /// The answer of this name, which is made if there is none or if it is old.
    pub(crate) fn get(
        &mut self,
        name: &'static str,
        clock: impl Fn() -> Duration,
        make: impl FnOnce() -> T,
    ) -> T {
        let begun = clock();
        if let Some((made, until)) = self.made.get(name)
            && begun < *until
        {
            return made.clone();
        }
        let made = make();
        let ended = clock();
        let took = ended.saturating_sub(begun).min(LONGEST);
        // All names together have their share.
        let until = ended + took * (SHARE * self.names).saturating_sub(1);
        self.made.insert(name, (made.clone(), until));
        made
    }
}
