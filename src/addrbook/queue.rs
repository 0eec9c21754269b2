//! Entries in the order in which they came.

/// Before the first, behind the last.
const END: u32 = u32::MAX;

/// A queue that an entry can leave from anywhere in constant time.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    /// Per entry; meaningless for those that are not in the queue.
    links: Vec<Link>,
    first: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Link {
    is_in: bool,
    before: u32,
    behind: u32,
}

impl Default for Queue {
    fn default() -> Self {
        Self { links: Vec::new(), first: END, last: END }
    }
}

impl Queue {
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let next = |entry: u32| (entry != END).then_some(entry);
        std::iter::successors(next(self.first), move |entry| {
            next(self.links[*entry as usize].behind)
        })
    }

    pub(super) fn contains(&self, entry: u32) -> bool {
        self.links.get(entry as usize).is_some_and(|link| link.is_in)
    }

    /// Puts the entry at the end unless it is in the queue, or takes it out.
    pub(super) fn set(&mut self, entry: u32, is_in: bool) {
        match (self.contains(entry), is_in) {
            (false, true) => {
                if self.links.len() <= entry as usize {
                    self.links.resize(entry as usize + 1, Link::default());
                }
                let link = Link { is_in: true, before: self.last, behind: END };
                self.links[entry as usize] = link;
                match self.last {
                    END => self.first = entry,
                    last => self.links[last as usize].behind = entry,
                }
                self.last = entry;
            }
            (true, false) => {
                let Link { before, behind, .. } = std::mem::take(&mut self.links[entry as usize]);
                match before {
                    END => self.first = behind,
                    before => self.links[before as usize].behind = behind,
                }
                match behind {
                    END => self.last = before,
                    behind => self.links[behind as usize].before = before,
                }
            }
            _ => {}
        }
    }
}
