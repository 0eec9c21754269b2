//! Memory of messages that reactors have let go, for the next ones.
//!
//! A message is put together on the loop's thread and let go on a reactor's. An allocator's way from
//! the one to the other and back costs a third of what opening a frame does where messages are small,
//! and where they are large their pages go back to the kernel and come anew: a tenth of the loop's time.
//! So buffers come back here instead. There are size classes an eighth apart, as a buffer may be no
//! larger than what its message is charged for.

use crate::payload::{Payload, Spare};

/// Largest buffer that is kept: as much as is reserved for a message ahead of its bytes.
pub(crate) const MOST_BYTES: usize = 64 << 10;

/// What is kept at most, here and again on its way.
pub(crate) const MOST: Held = Held { buffers: 128, bytes: 512 << 10 };

/// So many buffers, and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    buffers: usize,
    bytes: usize,
}

impl Held {
    fn with(self, spare: &Spare) -> Self {
        Self { buffers: self.buffers + 1, bytes: self.bytes + spare.capacity() }
    }

    fn without(self, spare: &Spare) -> Self {
        Self { buffers: self.buffers - 1, bytes: self.bytes - spare.capacity() }
    }

    fn is_within(self, most: Self) -> bool {
        self.buffers <= most.buffers && self.bytes <= most.bytes
    }
}

/// Those that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    spares: Vec<Spare>,
    held: Held,
}

impl Returned {
    /// Takes it along if there is room.
    pub(crate) fn put(&mut self, spare: Spare) {
        let held = self.held.with(&spare);
        if held.is_within(MOST) {
            self.held = held;
            self.spares.push(spare);
        }
    }

    /// Takes them out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Spare> {
        self.held = Held::default();
        self.spares.drain(..)
    }
}

/// Up to here the classes are 16 bytes apart, above there are 8 to each doubling.
const LINEAR: usize = 128;
const STEP: usize = 16;
const CLASSES: usize = LINEAR / STEP + 8 * (MOST_BYTES.ilog2() - LINEAR.ilog2()) as usize;

/// What the loop has of them.
#[derive(Debug)]
pub(super) struct Spares {
    classes: Box<[Vec<Spare>]>,
    held: Held,
    /// Those whose buffer is in use, for the message that it becomes.
    emptied: Vec<Spare>,
}

impl Default for Spares {
    fn default() -> Self {
        let classes = (0..CLASSES).map(|_| Vec::new()).collect();
        Self { classes, held: Held::default(), emptied: Vec::new() }
    }
}

impl Spares {
    /// Keeps it, if it is of a size that messages get.
    pub(super) fn put(&mut self, spare: Spare) {
        let capacity = spare.capacity();
        let Some((class, bytes)) = class(capacity) else { return };
        if bytes != capacity {
            return;
        }
        while !self.held.with(&spare).is_within(MOST) {
            // What is used now and not there is worth more than what there is most of.
            if !self.classes[class].is_empty() {
                return;
            }
            let most = self.classes.iter_mut().max_by_key(|class| bytes_of(class));
            let Some(other) = most.and_then(Vec::pop) else { return };
            self.held = self.held.without(&other);
        }
        self.held = self.held.with(&spare);
        self.classes[class].push(spare);
    }

    /// An empty buffer for a message of this size.
    pub(super) fn buffer(&mut self, size: usize) -> Vec<u8> {
        let Some((class, bytes)) = class(size) else { return Vec::with_capacity(size) };
        let Some(mut spare) = self.classes[class].pop() else { return Vec::with_capacity(bytes) };
        self.held = self.held.without(&spare);
        let buffer = spare.take_buffer();
        // That of a message that never was whole is left over.
        if self.emptied.len() < MOST.buffers {
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

/// Bytes in the buffers of a class, which are of one size.
fn bytes_of(class: &[Spare]) -> usize {
    class.first().map_or(0, Spare::capacity) * class.len()
}

/// The class of this size, and the bytes of its buffers; `None`: none is kept.
fn class(size: usize) -> Option<(usize, usize)> {
    if size <= LINEAR {
        let class = size.div_ceil(STEP).max(1);
        return Some((class - 1, class * STEP));
    }
    if size > MOST_BYTES {
        return None;
    }
    let doubling = (size - 1).ilog2();
    let step = 1 << (doubling - 3);
    let eighth = (size - (1 << doubling)).div_ceil(step);
    let class = LINEAR / STEP + 8 * (doubling - LINEAR.ilog2()) as usize + eighth - 1;
    Some((class, (1 << doubling) + eighth * step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_a_class_that_wastes_no_more_than_an_eighth() {
        let mut before = (0, STEP);
        for size in 1..=MOST_BYTES {
            let (class, bytes) = class(size).unwrap();
            assert!(size <= bytes && bytes < size + STEP.max(size / 8 + 1), "{size}: {bytes}");
            assert!(
                (class, bytes) == before || class == before.0 + 1 && bytes > before.1,
                "{size}"
            );
            assert_eq!(super::class(bytes), Some((class, bytes)));
            before = (class, bytes);
        }
        assert_eq!(before, (CLASSES - 1, MOST_BYTES));
        assert_eq!((class(0), class(MOST_BYTES + 1)), (Some((0, STEP)), None));
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

    fn spare(len: usize) -> Spare {
        Payload::from(vec![0; len]).into_spare().unwrap()
    }

    #[test]
    fn no_more_is_kept_than_the_bound_and_nothing_of_another_size() {
        let mut spares = Spares::default();
        (0..2 * MOST.buffers).for_each(|_| spares.put(spare(16)));
        assert_eq!(spares.held, Held { buffers: MOST.buffers, bytes: 16 * MOST.buffers });
        // Other sizes are used now.
        spares.put(spare(32));
        assert_eq!(spares.held.buffers, MOST.buffers);
        assert_eq!((spares.classes[0].len(), spares.classes[1].len()), (MOST.buffers - 1, 1));
        for _ in 0..2 * MOST.buffers {
            drop((spares.buffer(1), spares.buffer(32)));
        }
        assert_eq!((spares.held, spares.emptied.len()), (Held::default(), MOST.buffers));
        for len in [17, MOST_BYTES + 1] {
            spares.put(spare(len));
        }
        assert_eq!(spares.held, Held::default());
    }

    #[test]
    fn no_more_bytes_are_kept_than_the_bound() {
        let mut spares = Spares::default();
        let most = MOST.bytes / MOST_BYTES;
        (0..2 * most).for_each(|_| spares.put(spare(MOST_BYTES)));
        assert_eq!(spares.held, Held { buffers: most, bytes: MOST.bytes });
        (0..100).for_each(|_| spares.put(spare(1024)));
        // Two of the large ones have made room for them.
        assert_eq!(spares.held.buffers, most - 1 + 64);
        assert!(spares.held.is_within(MOST), "{:?}", spares.held);
    }

    #[test]
    fn no_more_is_on_its_way_than_the_bound() {
        let mut returned = Returned::default();
        (0..2 * MOST.buffers).for_each(|_| returned.put(spare(16)));
        assert_eq!(returned.drain().count(), MOST.buffers);
        (0..MOST.buffers).for_each(|_| returned.put(spare(MOST_BYTES)));
        assert_eq!(returned.drain().count(), MOST.bytes / MOST_BYTES);
        assert_eq!(returned.drain().count(), 0);
        returned.put(spare(16));
        assert_eq!(returned.drain().count(), 1);
    }
}
