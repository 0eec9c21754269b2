//! The wake protocol: how other threads tell the event loop that there is work, without a system
//! call while it is busy and without ever losing a wake-up while it sleeps.
//!
//! Three small pieces, each generic over its atomics so that a model checker can run every
//! interleaving of them (`RUSTFLAGS="--cfg loom"`, see `wake/model.rs`):
//! - [`Sleeper`]: the loop announces that it is going to block; who posts work wakes it.
//! - [`Dirty`]: a session is put on the loop's list once, however many messages are queued.
//! - [`Budget`]: bytes of undelivered messages of one (peer, reactor), with pause and resume.
//!
//! In each of them one side writes and then reads what the other side writes, and the other way
//! round; at least one of the two must see the other. The [`Sleeper`] has a sequentially consistent
//! fence between its store and its read on both sides. The other two meet in a swap of the same
//! flag: whichever swap comes second has acquired what the first one's side did before. The model
//! fails without any of the fences and with swaps that order nothing.

#[cfg(all(test, loom))]
mod model;

/// The atomics that the protocol is made of.
pub trait Atomics {
    /// An atomic boolean.
    type Bool: AtomicFlag;
    /// An atomic counter.
    type Size: AtomicCounter;
    /// A sequentially consistent fence.
    fn fence();
}

/// An atomic boolean; loads and stores are relaxed, swaps acquire and release.
pub trait AtomicFlag {
    /// A flag that holds `value`.
    fn new(value: bool) -> Self;
    /// Relaxed load.
    fn load(&self) -> bool;
    /// Relaxed store.
    fn store(&self, value: bool);
    /// Acquire-release swap.
    fn swap(&self, value: bool) -> bool;
}

/// An atomic counter.
pub trait AtomicCounter {
    /// A counter at zero.
    fn zero() -> Self;
    /// Relaxed load.
    fn load(&self) -> usize;
    /// Acquire-release addition; the new value.
    fn add(&self, n: usize) -> usize;
    /// Acquire-release subtraction; the new value.
    fn sub(&self, n: usize) -> usize;
}

/// The atomics of the standard library: what runs outside of the model.
#[derive(Debug)]
pub enum Std {}

mod std_atomics {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

    impl super::Atomics for super::Std {
        type Bool = AtomicBool;
        type Size = AtomicUsize;

        fn fence() {
            fence(Ordering::SeqCst);
        }
    }

    impl super::AtomicFlag for AtomicBool {
        fn new(value: bool) -> Self {
            Self::new(value)
        }

        fn load(&self) -> bool {
            self.load(Ordering::Relaxed)
        }

        fn store(&self, value: bool) {
            self.store(value, Ordering::Relaxed);
        }

        fn swap(&self, value: bool) -> bool {
            self.swap(value, Ordering::AcqRel)
        }
    }

    impl super::AtomicCounter for AtomicUsize {
        fn zero() -> Self {
            Self::new(0)
        }

        fn load(&self) -> usize {
            self.load(Ordering::Relaxed)
        }

        fn add(&self, n: usize) -> usize {
            self.fetch_add(n, Ordering::AcqRel) + n
        }

        fn sub(&self, n: usize) -> usize {
            self.fetch_sub(n, Ordering::AcqRel) - n
        }
    }
}

/// Whether the event loop sleeps, and whether work was posted for it.
#[derive(Debug)]
pub struct Sleeper<A: Atomics = Std> {
    sleeping: A::Bool,
    posted: A::Bool,
}

impl<A: Atomics> Sleeper<A> {
    /// A loop that is awake and has nothing to do.
    pub fn new() -> Self {
        Self { sleeping: A::Bool::new(false), posted: A::Bool::new(false) }
    }

    /// After work was put where the loop takes it. Any thread. True: the caller must wake the
    /// loop; a busy loop costs no system call.
    #[must_use]
    pub fn post(&self) -> bool {
        self.posted.store(true);
        A::fence();
        self.sleeping.load() && self.sleeping.swap(false)
    }

    /// Whether there is work to be taken. Only a hint: who is about to block asks
    /// [`may_sleep`](Self::may_sleep).
    pub fn has_posted(&self) -> bool {
        self.posted.load()
    }

    /// Whether work was posted since the last call; the loop takes it *after* asking.
    pub fn take_posted(&self) -> bool {
        self.posted.load() && self.posted.swap(false)
    }

    /// The loop is about to block. True: it may. False: there is work.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.sleeping.store(true);
        A::fence();
        if self.posted.load() {
            self.sleeping.store(false);
            return false;
        }
        true
    }

    /// The loop no longer blocks.
    pub fn awake(&self) {
        self.sleeping.store(false);
    }
}

impl<A: Atomics> Default for Sleeper<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a session is on the loop's list of sessions with queued messages.
#[derive(Debug)]
pub struct Dirty<A: Atomics = Std>(A::Bool);

impl<A: Atomics> Dirty<A> {
    /// Not on the list.
    pub fn new() -> Self {
        Self(A::Bool::new(false))
    }

    /// After a message was queued. True: the caller puts the session on the list.
    #[must_use]
    pub fn mark(&self) -> bool {
        !self.0.swap(true)
    }

    /// The loop is about to take the queues: cleared *before*, so that a message queued meanwhile
    /// marks the session anew.
    pub fn clear(&self) {
        // A swap, not a store: it must read the sender's swap to see what was queued before it.
        self.0.swap(false);
    }
}

impl<A: Atomics> Default for Dirty<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes of messages that one reactor has received from one peer and not yet let go.
///
/// The loop charges, whoever drops a message releases. At the high mark the loop pauses that
/// reactor's messages of that peer; the release that brings it down to half asks for the resume.
#[derive(Debug)]
pub struct Budget<A: Atomics = Std> {
    used: A::Size,
    paused: A::Bool,
    high: usize,
}

/// What the loop does after a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Charged {
    /// There is room for more.
    Open,
    /// Spent: hold this reactor's further messages until a resume is asked for.
    Paused,
}

impl<A: Atomics> Budget<A> {
    /// A budget of `high` bytes, resumed at half of it.
    pub fn new(high: usize) -> Self {
        Self { used: A::Size::zero(), paused: A::Bool::new(false), high }
    }

    /// The loop delivers a message of this cost. Only the loop calls it, and not while paused.
    pub fn charge(&self, cost: usize) -> Charged {
        if self.used.add(cost) < self.high {
            return Charged::Open;
        }
        // A swap, not a store: whoever released the last bytes may have swapped `paused` before
        // this. Then nobody will ask for the resume, and it is on us to see that there is room;
        // having read their swap, we do.
        self.paused.swap(true);
        if self.used.load() <= self.low() && self.paused.swap(false) {
            Charged::Open
        } else {
            Charged::Paused
        }
    }

    /// A message of this cost was let go. Any thread. True: the caller asks the loop to resume.
    #[must_use]
    pub fn release(&self, cost: usize) -> bool {
        self.used.sub(cost) <= self.low() && self.paused.swap(false)
    }

    /// Whether the loop must hold messages. Only the loop asks.
    pub fn is_paused(&self) -> bool {
        self.paused.load()
    }

    /// Bytes charged and not released.
    pub fn used(&self) -> usize {
        self.used.load()
    }

    fn low(&self) -> usize {
        self.high / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_pauses_at_the_high_mark_and_resumes_once_at_half() {
        let budget = Budget::<Std>::new(100);
        assert_eq!(budget.charge(60), Charged::Open);
        assert_eq!(budget.charge(60), Charged::Paused);
        assert!(!budget.release(60), "60 of 100 left");
        assert!(budget.release(60));
        assert!(!budget.is_paused());
        assert_eq!(budget.charge(99), Charged::Open);
        assert!(!budget.release(99), "was not paused");
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let sleeper = Sleeper::<Std>::new();
        assert!(!sleeper.post(), "awake: no system call");
        assert!(!sleeper.may_sleep());
        assert!(sleeper.take_posted());
        assert!(sleeper.may_sleep());
        assert!(sleeper.post());
        assert!(!sleeper.post());
    }

    #[test]
    fn a_budget_resumes_as_soon_as_no_more_than_half_of_it_is_held() {
        let budget = Budget::<Std>::new(100);
        assert_eq!(budget.charge(100), Charged::Paused);
        assert!(!budget.release(49));
        assert!(budget.release(1));
        assert!(!budget.is_paused());
    }
}
