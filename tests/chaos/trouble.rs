//! What goes wrong, and when.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tmp2p_line::Shape;

/// Lines on which nothing goes wrong: 100 Mbit/s, 10 ms there and back.
pub(crate) const CALM: Shape = Shape {
    queue: 200_000,
    rate: 100_000_000,
    lost_per_mille: 0,
    delay: Duration::from_millis(5),
    late_per_mille: 0,
    late_by: Duration::ZERO,
};

/// One thing that goes wrong for a while. Nodes are told by their numbers, ours first.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// All lines are like this, until they are otherwise.
    Lines(Shape),
    /// The nodes of either side cannot reach those of the other one.
    Cut(Vec<bool>),
    /// Nobody reaches this one, which reaches everybody.
    OneWay(usize),
    /// `kill -9`, and a start.
    Kill(usize),
    /// A stop in order, and a start.
    Restart(usize),
    /// The process stands still, and goes on.
    Freeze(usize),
    /// A Go node is killed, and starts again.
    KillTheirs(usize),
    /// The disk of node 0 is full for a while.
    FullDisk,
    /// … and the node is killed meanwhile.
    KillOnFullDisk,
    /// The wall clock of the last node of ours is so many seconds off for a while, where it can be set.
    Clock(i64),
    /// … and the node is killed and started again meanwhile.
    KillOnWrongClock(i64),
}

/// Days off: what a person mistakes, and what nobody can mean.
const DAYS: [i64; 4] = [-30, -1, 1, 400];

/// Deals troubles like cards: each kind comes before one comes again.
pub(crate) struct Sky {
    dice: StdRng,
    deck: Vec<u8>,
}

impl Sky {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: StdRng::seed_from_u64(seed), deck: Vec::new() }
    }

    pub(crate) fn next(&mut self, ours: usize, theirs: usize) -> Trouble {
        let dice = &mut self.dice;
        if self.deck.is_empty() {
            self.deck = (0..14).collect();
            self.deck.shuffle(dice);
        }
        let ms = Duration::from_millis;
        match self.deck.pop() {
            Some(0) => Trouble::Lines(Shape { lost_per_mille: dice.random_range(10..100), ..CALM }),
            Some(1) => Trouble::Lines(Shape { delay: ms(dice.random_range(20..200)), ..CALM }),
            Some(2) => Trouble::Lines(Shape { late_per_mille: 50, late_by: ms(30), ..CALM }),
            Some(3) => Trouble::Lines(Shape { rate: 2_000_000, lost_per_mille: 20, ..CALM }),
            Some(4) => Trouble::Lines(CALM),
            Some(5) => Trouble::Cut((0..ours + theirs).map(|_| dice.random()).collect()),
            Some(6) => Trouble::OneWay(dice.random_range(0..ours + theirs)),
            Some(7) => Trouble::Kill(dice.random_range(0..ours)),
            Some(8) => Trouble::Restart(dice.random_range(0..ours)),
            Some(9) => Trouble::Freeze(dice.random_range(0..ours)),
            Some(10) => Trouble::KillTheirs(dice.random_range(0..theirs)),
            Some(11) => Trouble::Clock(off(dice)),
            Some(12) => Trouble::KillOnWrongClock(off(dice)),
            _ if dice.random() => Trouble::FullDisk,
            _ => Trouble::KillOnFullDisk,
        }
    }

    /// How long it lasts.
    pub(crate) fn pause(&mut self, trouble: &Trouble) -> Duration {
        let dice = &mut self.dice;
        Duration::from_millis(match trouble {
            // Now and then longer than a ping and its answer may take.
            Trouble::Cut(_) | Trouble::OneWay(_) | Trouble::Freeze(_) => {
                dice.random_range(500..12_000)
            }
            Trouble::Lines(_) => dice.random_range(500..4000),
            _ => dice.random_range(100..3000),
        })
    }
}

/// Seconds, at most an hour from whole days.
fn off(dice: &mut StdRng) -> i64 {
    DAYS[dice.random_range(0..DAYS.len())] * 24 * 3600 + dice.random_range(-3600..3600)
}
