//! Deadlines of connections, one armed per slot.

use std::collections::BTreeSet;

use crate::time::Mono;

/// The armed deadlines, earliest first. A slot's deadline is only ever moved forward here: one
/// that comes too early finds nothing due and is armed anew, which spares the table a change for
/// every packet.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Mono, u32)>);

impl Timers {
    /// Arms the slot for `next` unless it is armed for an earlier time.
    pub(super) fn arm(&mut self, slot: u32, armed: &mut Option<Mono>, next: Option<Mono>) {
        let Some(next) = next else { return };
        if armed.is_some_and(|armed| armed <= next) {
            return;
        }
        self.disarm(slot, armed);
        self.0.insert((next, slot));
        *armed = Some(next);
    }

    /// Forgets the slot's deadline.
    pub(super) fn disarm(&mut self, slot: u32, armed: &mut Option<Mono>) {
        if let Some(at) = armed.take() {
            self.0.remove(&(at, slot));
        }
    }

    /// A slot whose deadline has come; the caller clears the slot's `armed`.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<u32> {
        let &(at, slot) = self.0.first()?;
        (at <= now).then(|| {
            self.0.remove(&(at, slot));
            slot
        })
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.0.first().map(|&(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_stays_armed() {
        let at = Mono::from_nanos;
        let (mut timers, mut armed) = (Timers::default(), None);
        timers.arm(7, &mut armed, Some(at(5)));
        timers.arm(7, &mut armed, Some(at(9)));
        timers.arm(7, &mut armed, None);
        assert_eq!((timers.next(), armed), (Some(at(5)), Some(at(5))));
        timers.arm(7, &mut armed, Some(at(3)));
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.pop_due(at(2)), None);
        assert_eq!(timers.pop_due(at(3)), Some(7));
        assert_eq!(timers.next(), None);
    }
}
