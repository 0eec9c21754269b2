//! What is in which slot, whose turn it is, and when somebody is due.

use std::{collections::VecDeque, time::Duration};

use crate::{deadlines::Deadlines, ids::ConnId, time::Mono};

/// A deadline that is not so far away is left where it is, as is one that moves by less: with each packet
/// it may be another one.
const NEAR: Duration = Duration::from_secs(1);

/// Slots for connections. A slot is used again, each time with another generation: who holds the ID of
/// what was there before finds nothing.
#[derive(Debug)]
pub(super) struct Table<T> {
    event_loop: u8,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    taken: usize,
    /// To whom something has happened.
    ready: VecDeque<u32>,
    /// Those that an earlier turn has left over, then those that had a run and have more to do.
    again: VecDeque<u32>,
    /// Those whose handshake has more to do than its turn had steps for.
    handshakes: VecDeque<u32>,
    /// How many of `again` may still have a run in this turn.
    left_over: usize,
    /// Who is next: one of those.
    is_agains_turn: bool,
    deadlines: Deadlines<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// It waits for its run, which comes with the first of its entries.
    waits: bool,
    /// In which queues it has an entry, at most one in each.
    in_ready: bool,
    in_again: bool,
    in_handshakes: bool,
    /// The deadline for which it is armed.
    armed: Option<Mono>,
    entry: Option<Box<T>>,
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self {
            generation: 0,
            waits: false,
            in_ready: false,
            in_again: false,
            in_handshakes: false,
            armed: None,
            entry: None,
        }
    }
}

impl<T> Table<T> {
    /// Without entries; the number of the loop is part of each ID.
    pub(super) fn new(event_loop: u8) -> Self {
        Self {
            event_loop,
            slots: Vec::new(),
            free: Vec::new(),
            taken: 0,
            ready: VecDeque::new(),
            again: VecDeque::new(),
            handshakes: VecDeque::new(),
            left_over: 0,
            is_agains_turn: false,
            deadlines: Deadlines::default(),
        }
    }

    /// Takes a slot, in which there is nothing yet.
    pub(super) fn reserve(&mut self) -> ConnId {
        self.taken += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::new());
            (self.slots.len() - 1) as u32
        });
        ConnId::new(self.event_loop, slot, slot_at(&mut self.slots, slot).generation)
    }

    /// Frees the slot, whose ID names nothing any more; what was in it.
    pub(super) fn release(&mut self, slot: u32) -> Option<Box<T>> {
        self.taken -= 1;
        let entry = slot_at(&mut self.slots, slot);
        if let Some(at) = entry.armed.take() {
            self.deadlines.remove(at, slot);
        }
        entry.generation = entry.generation.wrapping_add(1);
        entry.waits = false;
        self.free.push(slot);
        entry.entry.take()
    }

    /// Slots that are taken.
    pub(super) fn len(&self) -> usize {
        self.taken
    }

    /// One more than the highest slot that ever was taken.
    pub(super) fn end(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Puts an entry into a slot that is taken.
    pub(super) fn put(&mut self, slot: u32, entry: Box<T>) {
        slot_at(&mut self.slots, slot).entry = Some(entry);
    }

    /// What the ID names.
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        slot.entry.as_deref_mut().filter(|_| slot.generation == id.generation())
    }

    /// What is in the slot.
    pub(super) fn at(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.entry.as_deref()
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.entry.as_deref_mut()
    }

    /// All entries, by slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.entry.as_deref())
    }

    /// Something has happened to what is in the slot: its run comes after those to whom something has
    /// happened before, and not after a crowd that was left over. A handshake keeps its place.
    pub(super) fn set_ready(&mut self, number: u32) {
        let slot = slot_at(&mut self.slots, number);
        if !slot.waits || !slot.in_handshakes {
            slot.waits = true;
            if !std::mem::replace(&mut slot.in_ready, true) {
                self.ready.push_back(number);
            }
        }
    }

    /// What is in the slot had a run, and has more to do in another turn.
    pub(super) fn set_again(&mut self, number: u32) {
        let slot = slot_at(&mut self.slots, number);
        slot.waits = true;
        if !std::mem::replace(&mut slot.in_again, true) {
            self.again.push_back(number);
        }
    }

    /// The same of a handshake.
    pub(super) fn set_handshake(&mut self, number: u32) {
        let slot = slot_at(&mut self.slots, number);
        slot.waits = true;
        if !std::mem::replace(&mut slot.in_handshakes, true) {
            self.handshakes.push_back(number);
        }
    }

    /// How many handshakes wait, at most.
    pub(super) fn num_handshakes(&self) -> usize {
        self.handshakes.len()
    }

    /// The handshake that waits longest.
    pub(super) fn pop_handshake(&mut self) -> Option<u32> {
        while let Some(number) = self.handshakes.pop_front() {
            let slot = slot_at(&mut self.slots, number);
            slot.in_handshakes = false;
            if std::mem::take(&mut slot.waits) {
                return Some(number);
            }
        }
        None
    }

    /// Runs begin, of all but handshakes; for how many slots, at most.
    pub(super) fn begin_runs(&mut self) -> usize {
        self.left_over = self.again.len();
        self.ready.len() + self.again.len()
    }

    /// Who is to run. Every other one is of those that were left over: to whom something happens waits for
    /// no crowd, and no crowd waits for ever.
    pub(super) fn pop_ready(&mut self) -> Option<u32> {
        loop {
            let is_agains = !self.is_agains_turn || self.ready.is_empty();
            self.is_agains_turn = self.left_over > 0 && is_agains;
            let number = if self.is_agains_turn {
                self.left_over -= 1;
                let number = self.again.pop_front()?;
                slot_at(&mut self.slots, number).in_again = false;
                number
            } else {
                let number = self.ready.pop_front()?;
                slot_at(&mut self.slots, number).in_ready = false;
                number
            };
            if std::mem::take(&mut slot_at(&mut self.slots, number).waits) {
                return Some(number);
            }
        }
    }

    /// Those of them that had no run in this turn are left over, before those that had one; whether there
    /// are any. The others are as ready as before.
    pub(super) fn leave_over(&mut self, of_them: impl Fn(&T) -> bool) -> bool {
        let mut had_one = self.again.split_off(self.left_over);
        for number in std::mem::take(&mut self.ready) {
            let slot = slot_at(&mut self.slots, number);
            slot.in_ready = slot.waits && !slot.entry.as_deref().is_some_and(&of_them);
            if slot.in_ready {
                self.ready.push_back(number);
            } else if slot.waits && !std::mem::replace(&mut slot.in_again, true) {
                self.again.push_back(number);
            }
        }
        let is_left = !self.again.is_empty();
        self.again.append(&mut had_one);
        is_left
    }

    /// How many are ready, at most.
    pub(super) fn num_ready(&self) -> usize {
        self.ready.len() + self.again.len() + self.handshakes.len()
    }

    /// The slot is due then, or earlier if it was armed for an earlier time that is near: who is due too
    /// early finds nothing to do and is armed anew, which costs less than to change the deadline with each
    /// packet. One that is far away moves: whoever has answered a ping would else have the loop wake up
    /// when the answer had to be there.
    pub(super) fn arm(&mut self, slot: u32, next: Option<Mono>, now: Mono) {
        let armed = &mut slot_at(&mut self.slots, slot).armed;
        let is_near = |armed: Mono, next: Mono| armed < now + NEAR || next < armed + NEAR;
        let is_fine =
            |next: &Mono| armed.is_some_and(|armed| armed <= *next && is_near(armed, *next));
        let Some(next) = next.filter(|next| !is_fine(next)) else { return };
        if let Some(at) = armed.replace(next) {
            self.deadlines.remove(at, slot);
        }
        self.deadlines.add(next, slot);
    }

    /// A slot that is due; it is armed no more.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<u32> {
        let slot = self.deadlines.pop_due(now)?;
        slot_at(&mut self.slots, slot).armed = None;
        Some(slot)
    }

    /// When the first one is due.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.next()
    }
}

/// A slot by its number.
#[expect(
    clippy::indexing_slicing,
    reason = "numbers are those of `reserve`, and no slot ever goes"
)]
fn slot_at<T>(slots: &mut [Slot<T>], number: u32) -> &mut Slot<T> {
    &mut slots[number as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Option<Mono> {
        Some(Mono::from_nanos(nanos))
    }

    #[test]
    fn an_id_names_its_entry_and_never_the_next_one_in_the_slot() {
        let mut table = Table::new(3);
        let first = table.reserve();
        assert_eq!((table.len(), table.get_mut(first)), (1, None), "nothing is in it yet");
        table.put(first.slot(), Box::new("first"));
        assert_eq!((first.event_loop(), table.get_mut(first)), (3, Some(&mut "first")));
        assert_eq!(table.release(first.slot()), Some(Box::new("first")));
        assert_eq!((table.len(), table.end(), table.at(first.slot())), (0, 1, None));
        let second = table.reserve();
        table.put(second.slot(), Box::new("second"));
        assert_eq!((second.slot(), table.get_mut(first)), (first.slot(), None));
        assert_eq!(table.iter().collect::<Vec<_>>(), [&"second"]);
    }

    /// A table with so many slots that are taken.
    fn of(len: u32) -> Table<u32> {
        let mut table = Table::new(0);
        for number in 0..len {
            let id = table.reserve();
            table.put(id.slot(), Box::new(number));
        }
        table
    }

    /// Who runs in a turn of so many runs; those of `again` have more to do each time.
    fn turn(table: &mut Table<u32>, runs: usize, again: &[u32]) -> Vec<u32> {
        let mut ran = Vec::new();
        for _ in 0..table.begin_runs() {
            if ran.len() == runs {
                table.leave_over(|_| true);
                break;
            }
            let Some(slot) = table.pop_ready() else { break };
            ran.push(slot);
            if again.contains(&slot) {
                table.set_again(slot);
            }
        }
        ran
    }

    #[test]
    fn each_has_one_run_in_a_turn_however_often_it_is_called() {
        let mut table = of(2);
        for slot in [0, 1, 0, 1, 0] {
            table.set_ready(slot);
        }
        assert_eq!(table.num_ready(), 2);
        assert_eq!(turn(&mut table, 9, &[0, 1]), [0, 1]);
        assert_eq!(turn(&mut table, 9, &[0]), [0, 1]);
        assert_eq!(turn(&mut table, 9, &[]), [0]);
        assert!(turn(&mut table, 9, &[]).is_empty());
        // What is gone has no run, what comes in its place has one.
        for slot in [0, 1] {
            table.set_ready(slot);
            table.release(slot);
        }
        let id = table.reserve();
        table.set_ready(id.slot());
        assert_eq!((id.slot(), turn(&mut table, 9, &[])), (1, vec![1]));
        assert_eq!(table.num_ready(), 0);
    }

    #[test]
    fn handshakes_wait_in_their_order_and_in_nobodys_crowd() {
        let mut table = of(8);
        [3, 5, 4].into_iter().for_each(|slot| table.set_handshake(slot));
        // More has come from it: it keeps its place.
        table.set_ready(4);
        (0..3).for_each(|slot| table.set_ready(slot));
        table.set_ready(7);
        table.release(5);
        assert_eq!((table.num_handshakes(), table.pop_handshake()), (3, Some(3)));
        table.set_handshake(3);
        assert_eq!(table.begin_runs(), 4);
        assert_eq!((table.pop_ready(), table.leave_over(|entry| *entry < 7)), (Some(0), true));
        // The seventh is not of the crowd.
        assert_eq!(table.begin_runs(), 3);
        assert_eq!(
            [table.pop_ready(), table.pop_ready(), table.pop_ready()],
            [Some(1), Some(7), Some(2)]
        );
        assert_eq!([table.pop_handshake(), table.pop_handshake()], [Some(4), Some(3)]);
        assert_eq!((table.pop_handshake(), table.num_ready()), (None, 0));
    }

    #[test]
    fn who_is_called_waits_for_no_crowd_and_no_crowd_waits_for_ever() {
        let mut table = of(10);
        (0..8).for_each(|slot| table.set_ready(slot));
        assert_eq!(turn(&mut table, 4, &[0]), [0, 1, 2, 3]);
        // The one that is never done is behind those that had no run at all.
        (8..10).for_each(|slot| table.set_ready(slot));
        assert_eq!(turn(&mut table, 4, &[8]), [4, 8, 5, 9]);
        assert_eq!(turn(&mut table, 4, &[]), [6, 7, 0, 8]);
        assert_eq!(table.num_ready(), 0);
        // Something happens to one of the crowd: it waits no longer.
        (0..8).for_each(|slot| table.set_ready(slot));
        assert_eq!(turn(&mut table, 2, &[]), [0, 1]);
        table.set_ready(7);
        assert_eq!(turn(&mut table, 2, &[7]), [2, 7]);
        assert_eq!(turn(&mut table, 9, &[]), [3, 4, 5, 6, 7], "and it has one run a turn");
        // Some that are called all the time: the others have every other run.
        let mut calls = [0; 10];
        (0..10).for_each(|slot| table.set_ready(slot));
        for _ in 0..20 {
            for slot in turn(&mut table, 2, &[4, 5, 6, 7, 8, 9]) {
                calls[slot as usize] += 1;
            }
            (0..4).for_each(|slot| table.set_ready(slot));
        }
        assert!(calls.iter().all(|calls| *calls >= 2), "{calls:?}");
    }

    /// The loop of a node with a thousand idle peers woke up twice a minute for each: for the ping, and when
    /// the answer would have been too late, though it had come at once.
    #[test]
    fn a_deadline_that_is_far_away_moves_and_a_near_one_does_not() {
        let mut table = Table::<()>::new(0);
        table.reserve();
        let tenth = |tenths: u64| Mono::ZERO + NEAR / 10 * tenths as u32;
        for (armed, next, expected) in [
            (450, 600, 600),
            (450, 460, 460),
            (450, 459, 450),
            (450, 300, 300),
            (10, 20, 20),
            (9, 600, 9),
        ] {
            table.arm(0, Some(tenth(armed)), Mono::ZERO);
            table.arm(0, Some(tenth(next)), Mono::ZERO);
            assert_eq!(table.next_deadline(), Some(tenth(expected)), "{armed} and {next}");
            // Nobody waits for what is not there any more.
            assert_eq!(table.pop_due(tenth(1000)), Some(0));
            assert_eq!(table.pop_due(tenth(1000)), None);
        }
        table.arm(0, Some(tenth(450)), Mono::ZERO);
        table.arm(0, None, Mono::ZERO);
        assert_eq!(table.next_deadline(), Some(tenth(450)));
    }

    #[test]
    fn what_is_gone_is_due_no_more() {
        let mut table = Table::<()>::new(0);
        let ids = [table.reserve(), table.reserve()];
        table.arm(0, at(5), Mono::ZERO);
        table.arm(1, at(7), Mono::ZERO);
        // Later than before: it is due too early once.
        table.arm(0, at(9), Mono::ZERO);
        assert_eq!(table.next_deadline(), at(5));
        table.release(ids[0].slot());
        assert_eq!(table.next_deadline(), at(7));
        assert_eq!(table.pop_due(Mono::from_nanos(6)), None);
        assert_eq!(table.pop_due(Mono::from_nanos(7)), Some(1));
        assert_eq!((table.next_deadline(), table.pop_due(Mono::from_nanos(100))), (None, None));
        table.arm(1, at(8), Mono::ZERO);
        assert_eq!(table.next_deadline(), at(8), "it may be armed again");
    }
}
