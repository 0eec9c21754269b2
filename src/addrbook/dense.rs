//! A set of entries from which one can be drawn.

/// Not in the set.
const NOWHERE: u32 = u32::MAX;

/// A set of entries' numbers: put in, taken out, asked for and drawn in constant time.
#[derive(Clone, Debug, Default)]
pub(super) struct Dense {
    items: Vec<u32>,
    /// **Invariant:** for every item its place in `items`, for every other number [`NOWHERE`].
    places: Vec<u32>,
}

impl Dense {
    /// In no order that means anything.
    pub(super) fn items(&self) -> &[u32] {
        &self.items
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn contains(&self, entry: u32) -> bool {
        self.places.get(entry as usize).is_some_and(|place| *place != NOWHERE)
    }

    /// Puts the entry in or takes it out.
    #[expect(
        clippy::indexing_slicing,
        clippy::expect_used,
        reason = "`contains` has looked for its place, or it was just made; a number is in the set once"
    )]
    pub(super) fn set(&mut self, entry: u32, is_in: bool) {
        match (self.contains(entry), is_in) {
            (false, true) => {
                reach(&mut self.places, entry, NOWHERE);
                self.places[entry as usize] =
                    u32::try_from(self.items.len()).expect("entries have numbers of 32 bits");
                make_room(&mut self.items, 1);
                self.items.push(entry);
            }
            (true, false) => {
                let place = std::mem::replace(&mut self.places[entry as usize], NOWHERE);
                self.items.swap_remove(place as usize);
                if let Some(moved) = self.items.get(place as usize) {
                    self.places[*moved as usize] = place;
                }
            }
            _ => {}
        }
    }
}

/// Makes the list so long that the entry has its place, with this in places that nobody had.
pub(super) fn reach<T: Clone>(list: &mut Vec<T>, entry: u32, unset: T) {
    let wanted = entry as usize + 1;
    if list.len() < wanted {
        make_room(list, wanted - list.len());
        list.resize(wanted, unset);
    }
}

/// Makes room for more at the end of a list that nobody shortens: for a quarter more at a time. The usual
/// doubling leaves half of a large book empty.
pub(super) fn make_room<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more + list.len() / 4);
    }
}
