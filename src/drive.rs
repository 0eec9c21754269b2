//! How a core is driven: by whoever has threads, sockets and clocks, or by a test that has none.

use crate::time::{Mono, Now};

/// What decides, without I/O: one way in, one way out.
pub trait Core {
    /// What happened.
    type Input;
    /// What is to be done.
    type Output;
    /// The first input, and given once.
    const START: Self::Input;

    /// Takes in what happened. Time is an input as well.
    fn handle_input(&mut self, input: Self::Input, now: Now);

    /// The next thing to do. Everything is to be done, in this order, before the next input; but what
    /// becomes known by doing one thing is told before the next is polled.
    fn poll_output(&mut self) -> Option<Self::Output>;

    /// When nothing but the passing of time is an input.
    fn next_deadline(&self) -> Option<Mono>;

    /// Whether it is over. What `poll_output` still gives is to be done.
    fn is_stopped(&self) -> bool;
}

/// Holds a core, and does what it says.
pub trait Driver {
    /// What it drives.
    type Core: Core;

    /// The core.
    fn core(&mut self) -> &mut Self::Core;

    /// What the clocks show. Asked once for each input.
    fn now(&self) -> Now;

    /// Waits for what happens next, up to the core's deadline.
    fn next_input(&mut self) -> Input<Self>;

    /// Does one thing; [`feed`](Self::feed)s the core with what became known by it.
    fn perform(&mut self, output: <Self::Core as Core>::Output);

    /// Tells the core what happened.
    fn feed(&mut self, input: Input<Self>) {
        let now = self.now();
        self.core().handle_input(input, now);
    }

    /// Tells it, and does all that follows.
    fn step(&mut self, input: Input<Self>) {
        self.feed(input);
        while let Some(output) = self.core().poll_output() {
            self.perform(output);
        }
    }

    /// Once around: the next input, and all that follows.
    fn take_turn(&mut self) {
        let input = self.next_input();
        self.step(input);
    }

    /// The drive loop: from the start until the core is over.
    fn run(&mut self) {
        self.step(Self::Core::START);
        while !self.core().is_stopped() {
            self.take_turn();
        }
    }
}

/// What the core of a driver takes.
pub type Input<D> = <<D as Driver>::Core as Core>::Input;
