#![no_main]
//! The send queue against a model that counts from scratch each time.

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    Payload,
    internals::reactor::{Pushed, Refused, SendQueue},
    internals::time::Mono,
};
use tmp2p_fuzz::Script;

/// What each entry counts beside its bytes.
const OVERHEAD: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let (capacity, bound) = (1 + script.below(4), [0, 100, 1000, 65536][script.below(4)]);
    let mut queue = SendQueue::<u64>::new(capacity, bound);
    let mut model = Model { capacity, bound, ..Model::default() };
    let (mut next, mut now) = (0_u64, 0_u64);
    while !script.is_empty() {
        match script.below(8) {
            0 | 1 => {
                let message = message(&mut next, &mut script);
                assert_eq!(queue.try_push(&message), model.try_push(&message));
            }
            2 | 3 => {
                let message = message(&mut next, &mut script);
                let deadline = script.flag().then(|| now + script.byte() as u64);
                let pushed = queue.push(&message, deadline.map(Mono::from_nanos), next);
                assert_eq!(pushed, model.push(&message, deadline, next));
            }
            4 => {
                let (mut taken, mut accepted) = (VecDeque::new(), Vec::new());
                let writable = queue.take(&mut taken, &mut accepted);
                assert_eq!((taken.into(), accepted, writable), model.take());
            }
            5 => {
                let ticket = script.below(64) as u64;
                assert_eq!(queue.cancel(ticket), model.cancel(|w| w.ticket == ticket).pop());
            }
            6 => {
                now += script.byte() as u64;
                let mut expired = Vec::new();
                queue.expire(Mono::from_nanos(now), &mut expired);
                assert_eq!(expired, model.cancel(|w| w.deadline.is_some_and(|d| d <= now)));
            }
            _ if script.below(8) == 0 => {
                let (flush, mut failed) = (script.flag(), Vec::new());
                let dropped = queue.close(flush, &mut failed);
                model.closed = true;
                assert_eq!(failed, model.cancel(|_| true));
                let kept = if flush { model.accepted.len() } else { 0 };
                assert_eq!(dropped, model.accepted.len() - kept);
                model.accepted.truncate(kept);
            }
            _ => {}
        }
        assert_eq!(queue.len(), model.accepted.len() + model.waiting.len());
        assert_eq!(queue.is_empty(), queue.len() == 0);
        assert_eq!(queue.may_accept(), model.may_accept());
        let deadline = model.waiting.iter().filter_map(|w| w.deadline).min();
        assert_eq!(queue.next_deadline(), deadline.map(Mono::from_nanos));
        model.is_bounded();
    }
});

fn message(next: &mut u64, script: &mut Script) -> Payload {
    *next += 1;
    let mut bytes = next.to_le_bytes().to_vec();
    bytes.resize(8 + script.byte() as usize * 8, 0);
    bytes.into()
}

#[derive(Default)]
struct Model {
    capacity: usize,
    bound: usize,
    accepted: Vec<Payload>,
    waiting: Vec<Waiting>,
    tickets: u64,
    refused: bool,
    closed: bool,
}

struct Waiting {
    ticket: u64,
    message: Payload,
    deadline: Option<u64>,
    token: u64,
}

impl Model {
    fn has_room(&self) -> bool {
        self.accepted.len() < self.capacity || cost(&self.accepted) < self.bound
    }

    fn may_accept(&self) -> bool {
        !self.closed && self.waiting.is_empty() && self.has_room()
    }

    fn try_push(&mut self, message: &Payload) -> Result<(), Refused> {
        match () {
            () if self.closed => Err(Refused::Closed),
            () if self.may_accept() => {
                self.accepted.push(message.clone());
                Ok(())
            }
            () => {
                self.refused = true;
                Err(Refused::Full)
            }
        }
    }

    fn push(
        &mut self,
        message: &Payload,
        deadline: Option<u64>,
        token: u64,
    ) -> Result<Pushed, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        if self.may_accept() {
            self.accepted.push(message.clone());
            return Ok(Pushed::Accepted);
        }
        let broadcasts = self.broadcasts();
        let held = cost(&self.accepted) + cost(&broadcasts) + message.len() + OVERHEAD;
        if deadline.is_some() && !broadcasts.is_empty() && held > 4 * self.bound {
            return Err(Refused::Full);
        }
        let ticket = self.tickets;
        self.tickets += 1;
        self.waiting.push(Waiting { ticket, message: message.clone(), deadline, token });
        Ok(Pushed::Waiting(ticket))
    }

    fn take(&mut self) -> (Vec<Payload>, Vec<u64>, bool) {
        let taken = std::mem::take(&mut self.accepted);
        let mut tokens = Vec::new();
        while !self.waiting.is_empty() && self.has_room() {
            let first = self.waiting.remove(0);
            self.accepted.push(first.message);
            tokens.push(first.token);
        }
        let writable = self.refused && self.may_accept();
        self.refused &= !writable;
        (taken, tokens, writable)
    }

    fn cancel(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<u64> {
        self.waiting.extract_if(.., |w| is_meant(w)).map(|w| w.token).collect()
    }

    fn broadcasts(&self) -> Vec<Payload> {
        let broadcasts = self.waiting.iter().filter(|w| w.deadline.is_some());
        broadcasts.map(|w| w.message.clone()).collect()
    }

    /// What nobody's thread is blocked on is bounded: four times the bound, or one message.
    fn is_bounded(&self) {
        let broadcasts = self.broadcasts();
        assert!(broadcasts.len() < 2 || cost(&broadcasts) <= 4 * self.bound + 2048 + OVERHEAD);
    }
}

fn cost(messages: &[Payload]) -> usize {
    messages.iter().map(|message| message.len() + OVERHEAD).sum()
}
