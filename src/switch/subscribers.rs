//! Who hears of the switch's events: each through a queue of its own, which has a bound.

use crossbeam_channel::{Receiver, Sender};

use super::{StopReason, SwitchEvent};

/// Events that a subscriber may leave unread; it loses those that come then, and is told how many.
pub(crate) const UNREAD_EVENTS: usize = 4096;

/// Beyond those there is always room for an event after word of lost ones, and the same for the last.
const SPARE: usize = 4;

/// The subscribers of a switch, which hear of an event at the same time.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Vec<Subscriber>);

#[derive(Debug)]
struct Subscriber {
    queue: Sender<SwitchEvent>,
    lost: u64,
}

impl Subscribers {
    /// One more, who hears of what comes.
    pub(crate) fn add(&mut self) -> Receiver<SwitchEvent> {
        let (queue, receiver) = crossbeam_channel::bounded(UNREAD_EVENTS + SPARE);
        self.0.push(Subscriber { queue, lost: 0 });
        receiver
    }

    /// Tells everybody who is there. Never blocks.
    pub(crate) fn tell(&mut self, event: &SwitchEvent) {
        self.0.retain_mut(|subscriber| {
            // Nobody else puts anything in.
            if subscriber.queue.len() >= UNREAD_EVENTS {
                subscriber.lost += 1;
                return true;
            }
            subscriber.tell_lost() && subscriber.queue.try_send(event.clone()).is_ok()
        });
    }

    /// Tells everybody the last event, and ends their receivers.
    pub(crate) fn end(&mut self, reason: &StopReason) {
        for mut subscriber in self.0.drain(..) {
            if subscriber.tell_lost() {
                let _ = subscriber.queue.try_send(SwitchEvent::Stopped(reason.clone()));
            }
        }
    }
}

impl Subscriber {
    /// Tells what was lost. False: nobody is there.
    fn tell_lost(&mut self) -> bool {
        match std::mem::take(&mut self.lost) {
            0 => true,
            lost => self.queue.try_send(SwitchEvent::Lost(lost)).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: usize) -> SwitchEvent {
        SwitchEvent::ReactorStalled(number.to_string())
    }

    #[test]
    fn who_does_not_read_is_told_how_much_was_lost_and_always_of_the_end() {
        let mut subscribers = Subscribers::default();
        let (lazy, gone, quick) = (subscribers.add(), subscribers.add(), subscribers.add());
        drop(gone);
        let mut told = 0;
        let mut tell = |subscribers: &mut Subscribers, count: usize| {
            for _ in 0..count {
                subscribers.tell(&event(told));
                assert_eq!(quick.try_recv(), Ok(event(told)));
                told += 1;
            }
        };
        tell(&mut subscribers, UNREAD_EVENTS + 7);
        assert_eq!(subscribers.0.len(), 2, "who is gone is forgotten");
        for number in 0..10 {
            assert_eq!(lazy.try_recv(), Ok(event(number)));
        }
        // In its place: after what came before, and before what came after.
        tell(&mut subscribers, 20);
        let reason = StopReason::Requested;
        subscribers.end(&reason);
        let rest: Vec<_> = lazy.iter().collect();
        let kept = UNREAD_EVENTS - 10;
        assert_eq!(rest[kept - 1], event(UNREAD_EVENTS - 1));
        assert_eq!(rest[kept], SwitchEvent::Lost(7));
        assert_eq!(rest[kept + 1], event(UNREAD_EVENTS + 7));
        let [.., last, lost, end] = &rest[..] else { panic!("{rest:?}") };
        let SwitchEvent::Lost(lost) = lost else { panic!("{lost:?}") };
        let events = rest.iter().filter(|event| matches!(event, SwitchEvent::ReactorStalled(_)));
        assert_eq!(10 + events.count() + 7 + *lost as usize, UNREAD_EVENTS + 27, "{last:?}");
        assert_eq!(*end, SwitchEvent::Stopped(reason));
        assert!(quick.iter().eq([end.clone()]));
    }
}
