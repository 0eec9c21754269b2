//! Memory of messages that reactors have let go, for the next ones.
//!
//! A message is put together on the loop's thread and let go on a reactor's. An allocator's way from
//! the one to the other and back costs a third of what opening a frame does where messages are small,
//! and where they are large their pages go back to the kernel and come anew: a tenth of the loop's time.
//! So buffers come back here instead, if they are of one of the sizes that messages begin in.

use std::ops::Range;

use crate::{
    payload::{Payload, Spare, buffer_size},
    protocol::mconn::MAX_RESERVED,
};

/// Largest buffer that is kept: as much as is reserved for a message ahead of its bytes.
pub(crate) const MOST_BYTES: usize = MAX_RESERVED;

/// Up to here a buffer is small. Of small and large ones each has a place of its own, so that bulk does
/// not push out what votes need.
const SMALL: usize = 4096;

/// Small buffers that are kept at most, in each of three places: here, on their way, and just taken from
/// there. Twice what a read of 64 KiB makes of frames that are full.
const MOST_SMALL: usize = 128;

/// Bytes in large buffers that are kept at most, in each of these places: four of the largest. With the
/// small ones at most 2.4 MiB.
const MOST_LARGE: usize = 4 * MOST_BYTES;

const SMALL_CLASSES: usize = class_of(SMALL) + 1;
const CLASSES: usize = class_of(MOST_BYTES) + 1;

/// How many small buffers, and how many bytes in large ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Filling {
    small: usize,
    large: usize,
}

impl Filling {
    fn has_room(self, capacity: usize) -> bool {
        if capacity <= SMALL {
            self.small < MOST_SMALL
        } else {
            self.large + capacity <= MOST_LARGE
        }
    }

    fn add(&mut self, capacity: usize) {
        if capacity <= SMALL {
            self.small += 1;
        } else {
            self.large += capacity;
        }
    }

    fn remove(&mut self, capacity: usize) {
        if capacity <= SMALL {
            self.small -= 1;
        } else {
            self.large -= capacity;
        }
    }
}

/// Those that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    spares: Vec<Spare>,
    held: Filling,
}

impl Returned {
    /// Takes it along, or gives it back: there is no room, or no message begins in one of this size.
    pub(crate) fn put(&mut self, spare: Spare) -> Option<Spare> {
        let capacity = spare.capacity();
        if class(capacity).is_none() || !self.held.has_room(capacity) {
            return Some(spare);
        }
        self.held.add(capacity);
        self.spares.push(spare);
        None
    }

    /// Takes them out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Spare> {
        self.held = Filling::default();
        self.spares.drain(..)
    }
}

/// What the loop has of them.
#[derive(Debug)]
pub(super) struct Spares {
    classes: Box<[Class]>,
    held: Filling,
    /// Buffers asked for so far.
    asked: u64,
    /// Those whose buffer is in use, for the message that it becomes.
    emptied: Vec<Spare>,
}

/// Buffers of one size.
#[derive(Debug, Default)]
struct Class {
    spares: Vec<Spare>,
    /// When one was asked for last, as [`Spares::asked`] counts.
    asked_at: u64,
}

impl Default for Spares {
    fn default() -> Self {
        let classes = (0..CLASSES).map(|_| Class::default()).collect();
        Self { classes, held: Filling::default(), asked: 0, emptied: Vec::new() }
    }
}

impl Spares {
    /// Keeps it, if messages begin in such a one, in the place of what was not asked for since.
    #[expect(
        clippy::indexing_slicing,
        reason = "`class` counts as the classes are, the smallest first"
    )]
    pub(super) fn put(&mut self, spare: Spare) {
        let capacity = spare.capacity();
        let Some(class) = class(capacity) else { return };
        let asked_at = self.classes[class].asked_at;
        while !self.held.has_room(capacity) {
            let kind: Range<usize> =
                if capacity <= SMALL { 0..SMALL_CLASSES } else { SMALL_CLASSES..CLASSES };
            let there = self.classes[kind].iter_mut().filter(|class| !class.spares.is_empty());
            let Some(oldest) = there.min_by_key(|class| class.asked_at) else { return };
            if oldest.asked_at >= asked_at {
                return;
            }
            let Some(oldest) = oldest.spares.pop() else { return };
            self.held.remove(oldest.capacity());
        }
        self.held.add(capacity);
        self.classes[class].spares.push(spare);
    }

    /// An empty buffer for a message of this size.
    #[expect(clippy::indexing_slicing, reason = "`class` counts as the classes are")]
    pub(super) fn buffer(&mut self, size: usize) -> Vec<u8> {
        let bytes = buffer_size(size);
        let Some(class) = class(bytes) else { return Vec::with_capacity(size) };
        self.asked += 1;
        let class = &mut self.classes[class];
        class.asked_at = self.asked;
        let Some(mut spare) = class.spares.pop() else { return Vec::with_capacity(bytes) };
        self.held.remove(bytes);
        let buffer = spare.take_buffer();
        // That of a message that never was whole is left over.
        if self.emptied.len() < MOST_SMALL {
            self.emptied.push(spare);
        }
        buffer
    }

    /// The message whose bytes these are.
    pub(super) fn payload(&mut self, bytes: Vec<u8>) -> Payload {
        match self.emptied.pop() {
            Some(spare) => spare.into_payload(bytes),
            None => bytes.into(),
        }
    }
}

/// The class of buffers of this size; `None`: no message begins in one.
fn class(bytes: usize) -> Option<usize> {
    (0 < bytes && bytes <= MOST_BYTES && buffer_size(bytes) == bytes).then(|| class_of(bytes))
}

/// Counted from the smallest: up to 128 bytes they are 16 bytes apart, above there are 8 to each doubling.
const fn class_of(bytes: usize) -> usize {
    if bytes <= 128 {
        return bytes / 16 - 1;
    }
    let doubling = (bytes - 1).ilog2();
    8 * (doubling as usize - 6) + ((bytes - (1 << doubling)) >> (doubling - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spare(len: usize) -> Spare {
        Payload::from(vec![0; len]).into_spare().unwrap()
    }

    fn held(spares: &Spares, bytes: usize) -> usize {
        spares.classes[class(bytes).unwrap()].spares.len()
    }

    #[test]
    fn each_size_has_a_class() {
        let mut before = (0, 16);
        for size in 1..=MOST_BYTES {
            let bytes = buffer_size(size);
            let class = class(bytes).unwrap();
            assert!(
                (class, bytes) == before || class == before.0 + 1 && bytes > before.1,
                "{size}"
            );
            before = (class, bytes);
        }
        assert_eq!(before, (CLASSES - 1, MOST_BYTES));
        assert_eq!([0, 17, MOST_BYTES - 1, MOST_BYTES + 1, 2 * MOST_BYTES].map(class), [None; 5]);
    }

    #[test]
    fn memory_that_was_let_go_is_the_next_messages() {
        let mut spares = Spares::default();
        let mut buffer = spares.buffer(1000);
        buffer.extend([7; 1000]);
        let at = buffer.as_ptr();
        let payload = spares.payload(buffer);
        let other = payload.clone();
        assert!(payload.into_spare().is_none(), "somebody holds it");
        spares.put(other.into_spare().unwrap());
        let larger = spares.buffer(2000);
        assert_ne!(larger.as_ptr(), at);
        let mut buffer = spares.buffer(990);
        assert_eq!((buffer.as_ptr(), buffer.len()), (at, 0));
        buffer.push(1);
        let payload = spares.payload(buffer);
        let other = spares.buffer(990);
        assert_ne!(other.as_ptr(), at, "it is in use");
        assert_eq!(payload, [1]);
    }

    #[test]
    fn no_more_is_kept_than_the_bounds() {
        let mut spares = Spares::default();
        for size in [16, MOST_BYTES] {
            (0..2 * MOST_SMALL).for_each(|_| spares.put(spare(size)));
        }
        assert_eq!(spares.held, Filling { small: MOST_SMALL, large: MOST_LARGE });
        for len in [17, MOST_BYTES + 1] {
            spares.put(spare(len));
        }
        assert_eq!(spares.held, Filling { small: MOST_SMALL, large: MOST_LARGE });
        for _ in 0..2 * MOST_SMALL {
            drop((spares.buffer(1), spares.buffer(MOST_BYTES)));
        }
        assert_eq!((spares.held, spares.emptied.len()), (Filling::default(), MOST_SMALL));
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_what_is_not() {
        let mut spares = Spares::default();
        (0..4).for_each(|_| spares.put(spare(MOST_BYTES)));
        // Bulk is over; now there are others.
        for _ in 0..100 {
            drop(spares.buffer(8192));
            spares.put(spare(8192));
            spares.put(spare(8192));
        }
        assert_eq!((held(&spares, 8192), held(&spares, MOST_BYTES)), (MOST_LARGE / 8192, 0));
        // What nobody asks for takes no place of theirs.
        spares.put(spare(MOST_BYTES));
        assert_eq!((held(&spares, 8192), held(&spares, MOST_BYTES)), (MOST_LARGE / 8192, 0));
        // And small ones have their own.
        (0..10).for_each(|_| spares.put(spare(64)));
        assert_eq!((held(&spares, 8192), held(&spares, 64)), (MOST_LARGE / 8192, 10));
    }

    #[test]
    fn no_more_is_on_its_way_than_the_bounds_and_nothing_of_another_size() {
        let mut returned = Returned::default();
        let mut taken =
            |size: usize| (0..200).filter(|_| returned.put(spare(size)).is_none()).count();
        assert_eq!([17, MOST_BYTES + 1, 16, MOST_BYTES].map(&mut taken), [0, 0, MOST_SMALL, 4]);
        assert_eq!(returned.drain().count(), MOST_SMALL + 4);
        assert!(returned.put(spare(16)).is_none());
        assert_eq!(returned.drain().count(), 1);
    }
}
