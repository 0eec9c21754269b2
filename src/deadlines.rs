//! What is due when.

use std::collections::BTreeSet;

use crate::time::Mono;

/// Deadlines, the earliest first; of those at the same time in the order of what they are about. The same
/// thing may be due several times.
#[derive(Clone, Debug)]
pub(crate) struct Deadlines<K>(BTreeSet<(Mono, K)>);

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Copy + Ord> Deadlines<K> {
    /// It is due then.
    pub(crate) fn add(&mut self, at: Mono, what: K) {
        self.0.insert((at, what));
    }

    /// It is not due then, after all.
    pub(crate) fn remove(&mut self, at: Mono, what: K) {
        self.0.remove(&(at, what));
    }

    /// Takes out the first that is due.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<K> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, what)| what)
    }

    /// When the first is due.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Only these are due any more.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&K) -> bool) {
        self.0.retain(|(_, what)| is_kept(what));
    }

    /// Nothing is due any more.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_first_and_only_when_it_is_due() {
        let at = Mono::from_nanos;
        let mut deadlines = Deadlines::default();
        for (nanos, what) in [(7, 'c'), (5, 'b'), (5, 'a'), (9, 'a'), (6, 'x')] {
            deadlines.add(at(nanos), what);
        }
        deadlines.remove(at(6), 'x');
        deadlines.remove(at(6), 'b');
        assert_eq!((deadlines.next(), deadlines.pop_due(at(4))), (Some(at(5)), None));
        assert_eq!([(); 3].map(|()| deadlines.pop_due(at(7))), [Some('a'), Some('b'), Some('c')]);
        assert_eq!((deadlines.pop_due(at(8)), deadlines.len()), (None, 1));
        deadlines.retain(|what| *what != 'a');
        assert_eq!((deadlines.next(), deadlines.pop_due(at(10))), (None, None));
    }
}
