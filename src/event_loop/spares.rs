//! Memory of small messages that reactors have let go, for the next ones.
//!
//! A message is put together on the loop's thread and let go on a reactor's. An allocator's way from
//! the one to the other and back costs a third of what opening a frame does, so buffers of up to
//! 4 KiB come back here instead. There are size classes an eighth apart, as a buffer may be no larger
//! than what its message is charged for.

use crate::payload::{Payload, Spare};

/// Largest buffer that is kept: for larger ones the allocator costs little beside their bytes.
pub(crate) const MOST_BYTES: usize = 4096;

/// Buffers that are kept at most, here and again on their way: twice what a read of 64 KiB makes of
/// frames that are full. At the most a mebibyte together.
pub(crate) const MOST_SPARES: usize = 128;

/// Up to here the classes are 16 bytes apart, above there are 8 to each doubling.
const LINEAR: usize = 128;
const STEP: usize = 16;
const CLASSES: usize = LINEAR / STEP + 8 * (MOST_BYTES.ilog2() - LINEAR.ilog2()) as usize;

/// What the loop has of them.
#[derive(Debug)]
pub(super) struct Spares {
    classes: Box<[Vec<Spare>]>,
    /// Buffers in the classes.
    len: usize,
    /// Those whose buffer is in use, for the message that it becomes.
    emptied: Vec<Spare>,
}

impl Default for Spares {
    fn default() -> Self {
        let classes = (0..CLASSES).map(|_| Vec::new()).collect();
        Self { classes, len: 0, emptied: Vec::new() }
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
        if self.len >= MOST_SPARES {
            // What is used now and not there is worth more than what there is most of.
            if !self.classes[class].is_empty() {
                return;
            }
            let fullest = self.classes.iter_mut().max_by_key(|class| class.len());
            self.len -= usize::from(fullest.and_then(Vec::pop).is_some());
        }
        self.classes[class].push(spare);
        self.len += 1;
    }

    /// An empty buffer for a message of this size.
    pub(super) fn buffer(&mut self, size: usize) -> Vec<u8> {
        let Some((class, bytes)) = class(size) else { return Vec::with_capacity(size) };
        let Some(mut spare) = self.classes[class].pop() else { return Vec::with_capacity(bytes) };
        self.len -= 1;
        let buffer = spare.take_buffer();
        // That of a message that never was whole is left over.
        if self.emptied.len() < MOST_SPARES {
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

    #[test]
    fn no_more_is_kept_than_the_bound_and_nothing_of_another_size() {
        let mut spares = Spares::default();
        for _ in 0..2 * MOST_SPARES {
            spares.put(Payload::from(Vec::from([0; 16])).into_spare().unwrap());
        }
        assert_eq!(spares.len, MOST_SPARES);
        // Other sizes are used now.
        spares.put(Payload::from(Vec::from([0; 32])).into_spare().unwrap());
        assert_eq!(spares.len, MOST_SPARES);
        assert_eq!((spares.classes[0].len(), spares.classes[1].len()), (MOST_SPARES - 1, 1));
        for _ in 0..2 * MOST_SPARES {
            drop((spares.buffer(1), spares.buffer(32)));
        }
        assert_eq!((spares.len, spares.emptied.len()), (0, MOST_SPARES));
        for len in [17, MOST_BYTES + 1] {
            spares.put(Payload::from(vec![0; len]).into_spare().unwrap());
        }
        assert_eq!(spares.len, 0);
    }
}
