//! Whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use tmp2p::internals::time::Mono;

use crate::dice::Dice;

/// Whoever can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    Net,
    Loop(usize),
    Switch(usize),
    /// What the switch and peer exchange post for the loop.
    Commands(usize),
    Resolver(usize),
    Pex(usize),
    Reactor(usize, usize),
}

/// When somebody can do something, as long as nobody else does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Now,
    At(Mono),
    Never,
}

/// Who is ready, and who will be. Each change costs O(log n), so that thousands can take part.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    turns: BTreeMap<Actor, Turn>,
    ready: Vec<Actor>,
    /// **Invariant:** the place of each actor of `ready`.
    places: BTreeMap<Actor, usize>,
    alarms: BTreeSet<(Mono, Actor)>,
}

impl Turn {
    /// Whoever has this turn, and is held until then.
    pub(crate) fn held(self, until: Mono) -> Self {
        match self {
            Self::Now => Self::At(until),
            Self::At(at) => Self::At(at.max(until)),
            Self::Never => Self::Never,
        }
    }

    /// At this time, which may be past.
    pub(crate) fn at(at: Option<Mono>, now: Mono) -> Self {
        match at {
            Some(at) if at <= now => Self::Now,
            Some(at) => Self::At(at),
            None => Self::Never,
        }
    }
}

impl Schedule {
    /// This is when the actor can do something.
    pub(crate) fn set(&mut self, actor: Actor, turn: Turn) {
        let before = match turn {
            Turn::Never => self.turns.remove(&actor),
            _ => self.turns.insert(actor, turn),
        };
        let before = before.unwrap_or(Turn::Never);
        if before == turn {
            return;
        }
        match before {
            Turn::Now => self.remove_ready(actor),
            Turn::At(at) => _ = self.alarms.remove(&(at, actor)),
            Turn::Never => {}
        }
        match turn {
            Turn::Now => {
                self.places.insert(actor, self.ready.len());
                self.ready.push(actor);
            }
            Turn::At(at) => _ = self.alarms.insert((at, actor)),
            Turn::Never => {}
        }
    }

    /// One of those who are ready, each as likely as the others.
    pub(crate) fn pick(&self, dice: &mut Dice) -> Option<Actor> {
        (!self.ready.is_empty()).then(|| *dice.pick(&self.ready))
    }

    /// Who is ready, for people.
    pub(crate) fn ready(&self) -> &[Actor] {
        &self.ready
    }

    /// When somebody else will be ready.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Whose time has come by now; each is to be [`set`](Self::set) anew.
    pub(crate) fn due(&self, now: Mono) -> Vec<Actor> {
        let due = self.alarms.iter().take_while(|(at, _)| *at <= now);
        due.map(|(_, actor)| *actor).collect()
    }

    fn remove_ready(&mut self, actor: Actor) {
        let place = self.places.remove(&actor).expect("an actor that was ready");
        self.ready.swap_remove(place);
        if let Some(moved) = self.ready.get(place) {
            self.places.insert(*moved, place);
        }
    }
}
