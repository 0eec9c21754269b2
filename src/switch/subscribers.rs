//! Who hears of the switch's events: each through a queue of its own, which has a bound.

use crossbeam_channel::{Receiver, Sender};

use super::{StopReason, SwitchEvent};

/// Events that a subscriber may leave unread; it loses those that come then, and is told how many.
/// Beyond those there is word of lost ones, and of the end.
pub(crate) const UNREAD_EVENTS: usize = 4096;

/// The subscribers of a switch, which hear of an event at the same time.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Vec<Subscriber>);

#[derive(Debug)]
struct Subscriber {
    /// Unbounded by type: only then a receiver that goes takes along what it has not read.
    queue: Sender<SwitchEvent>,
    /// It has heard of its first loss, with which it is to look for itself what there is.
    is_losing: bool,
    /// Lost and not told.
    lost: u64,
}

impl Subscribers {
    /// One more, who hears of what comes.
    pub(crate) fn add(&mut self) -> Receiver<SwitchEvent> {
        let (queue, receiver) = crossbeam_channel::unbounded();
        self.0.push(Subscriber { queue, is_losing: false, lost: 0 });
        receiver
    }

    /// Tells everybody who is there. Never blocks.
    pub(crate) fn tell(&mut self, event: &SwitchEvent) {
        self.0.retain_mut(|subscriber| {
            // Nobody else puts anything in.
            if subscriber.queue.len() >= UNREAD_EVENTS {
                subscriber.lost += 1;
                let is_known = std::mem::replace(&mut subscriber.is_losing, true);
                return is_known || subscriber.tell_lost();
            }
            subscriber.is_losing = false;
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
        assert_eq!(rest[kept], SwitchEvent::Lost(1), "at once, whatever comes or not");
        assert_eq!(rest[kept + 1], SwitchEvent::Lost(6));
        assert_eq!(rest[kept + 2], event(UNREAD_EVENTS + 7));
        let [.., SwitchEvent::Lost(_), end] = &rest[..] else { panic!("{rest:?}") };
        let lost = rest.iter().map(|event| if let SwitchEvent::Lost(n) = event { *n } else { 0 });
        let events = rest.iter().filter(|event| matches!(event, SwitchEvent::ReactorStalled(_)));
        let all = 10 + events.count() + lost.sum::<u64>() as usize;
        assert_eq!(all, UNREAD_EVENTS + 27);
        assert_eq!(*end, SwitchEvent::Stopped(reason));
        assert!(quick.iter().eq([end.clone()]));
    }
    /// The fault: nobody looked whether he was there whose queue was full.
    #[test]
    fn who_goes_with_a_full_queue_is_forgotten_with_what_is_in_it() {
        let mut subscribers = Subscribers::default();
        let lazy = subscribers.add();
        (0..UNREAD_EVENTS + 2).for_each(|number| subscribers.tell(&event(number)));
        assert_eq!((lazy.len(), subscribers.0.len()), (UNREAD_EVENTS + 1, 1));
        drop(lazy);
        subscribers.tell(&event(0));
        assert_eq!(subscribers.0.len(), 0);
    }
}
