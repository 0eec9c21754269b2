//! Every interleaving of the wake protocol, and mutants of it that must fail.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release --lib wake::model`.

use loom::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering, fence},
    },
    thread,
};

use super::{AtomicCounter, AtomicFlag, Atomics, Budget, Charged, Dirty, Sleeper};

impl AtomicFlag for AtomicBool {
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

impl AtomicCounter for AtomicUsize {
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

/// As it is.
enum Real {}

impl Atomics for Real {
    type Bool = AtomicBool;
    type Size = AtomicUsize;

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// A mutant: no fence.
enum Unfenced {}

impl Atomics for Unfenced {
    type Bool = AtomicBool;
    type Size = AtomicUsize;

    fn fence() {}
}

/// A mutant: swaps order nothing.
enum Unordered {}

struct RelaxedFlag(AtomicBool);

impl AtomicFlag for RelaxedFlag {
    fn new(value: bool) -> Self {
        Self(AtomicBool::new(value))
    }

    fn load(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn store(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn swap(&self, value: bool) -> bool {
        self.0.swap(value, Ordering::Relaxed)
    }
}

impl Atomics for Unordered {
    type Bool = RelaxedFlag;
    type Size = AtomicUsize;

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// A mutant: the loop does not look again after it has set `paused`.
enum Unchecked {}

struct BlindCounter(AtomicUsize);

impl AtomicCounter for BlindCounter {
    fn zero() -> Self {
        Self(AtomicUsize::new(0))
    }

    fn load(&self) -> usize {
        usize::MAX
    }

    fn add(&self, n: usize) -> usize {
        self.0.add(n)
    }

    fn sub(&self, n: usize) -> usize {
        self.0.sub(n)
    }
}

impl Atomics for Unchecked {
    type Bool = AtomicBool;
    type Size = BlindCounter;

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// A poster and a loop that goes to sleep: nobody sleeps on posted work without being woken.
fn sleep_against_post<A: Atomics + 'static>(may_sleep: impl Fn(&Sleeper<A>) -> bool)
where
    A::Bool: Send + Sync,
{
    let sleeper = Arc::new(Sleeper::<A>::new());
    let work = Arc::new(Mutex::new(0));
    let poster = {
        let (sleeper, work) = (sleeper.clone(), work.clone());
        thread::spawn(move || {
            *work.lock().unwrap() += 1;
            sleeper.post()
        })
    };
    let mut done = 0;
    if sleeper.take_posted() {
        done += std::mem::take(&mut *work.lock().unwrap());
    }
    let sleeps = may_sleep(&sleeper);
    let woken = poster.join().unwrap();
    if !sleeps || woken {
        sleeper.awake();
        if sleeper.take_posted() {
            done += std::mem::take(&mut *work.lock().unwrap());
        }
    }
    assert_eq!(done, 1, "the loop sleeps on posted work");
}

#[test]
fn posted_work_is_never_slept_on() {
    loom::model(|| sleep_against_post::<Real>(Sleeper::may_sleep));
}

#[test]
#[should_panic(expected = "sleeps on posted work")]
fn without_its_fence_a_sleeper_is_caught() {
    loom::model(|| sleep_against_post::<Unfenced>(Sleeper::may_sleep));
}

#[test]
#[should_panic(expected = "sleeps on posted work")]
fn without_looking_again_a_sleeper_is_caught() {
    loom::model(|| {
        sleep_against_post::<Real>(|sleeper| {
            AtomicFlag::store(&sleeper.sleeping, true);
            Real::fence();
            true
        });
    });
}

/// A reactor lets earlier messages go while the loop charges the next one: whenever so little is
/// held that the loop may go on, it goes on or is asked to.
fn charge_against_release<A: Atomics + 'static>()
where
    A::Bool: Send + Sync,
    A::Size: Send + Sync,
{
    let budget = Arc::new(Budget::<A>::new(100));
    assert_eq!(budget.charge(60), Charged::Open);
    assert_eq!(budget.charge(30), Charged::Open);
    let reactors: Vec<_> = [60, 30]
        .into_iter()
        .map(|cost| {
            let budget = budget.clone();
            thread::spawn(move || budget.release(cost))
        })
        .collect();
    let charged = budget.charge(10);
    let asked = reactors.into_iter().map(|r| r.join().unwrap()).filter(|asked| *asked).count();
    assert!(asked <= 1, "asked twice");
    assert!(charged == Charged::Open || asked == 1, "paused for ever");
    assert!(!AtomicFlag::load(&budget.paused), "paused for ever");
}

#[test]
fn a_budget_is_never_paused_for_ever() {
    loom::model(charge_against_release::<Real>);
}

#[test]
#[should_panic(expected = "paused for ever")]
fn without_ordered_swaps_a_budget_is_caught() {
    loom::model(charge_against_release::<Unordered>);
}

#[test]
#[should_panic(expected = "paused for ever")]
fn without_looking_again_a_budget_is_caught() {
    loom::model(charge_against_release::<Unchecked>);
}

/// A sender queues while the loop takes the queue: what is not taken is announced again.
fn queue_against_take(clears_first: bool) {
    let dirty = Arc::new(Dirty::<Real>::new());
    let queue = Arc::new(Mutex::new(0));
    assert!(dirty.mark());
    let sender = {
        let (dirty, queue) = (dirty.clone(), queue.clone());
        thread::spawn(move || {
            *queue.lock().unwrap() += 1;
            dirty.mark()
        })
    };
    if clears_first {
        dirty.clear();
    }
    let taken = std::mem::take(&mut *queue.lock().unwrap());
    if !clears_first {
        dirty.clear();
    }
    let announced = sender.join().unwrap();
    assert!(taken == 1 || announced, "a queued message is forgotten");
}

#[test]
fn a_queued_message_is_taken_or_announced() {
    loom::model(|| queue_against_take(true));
}

#[test]
#[should_panic(expected = "is forgotten")]
fn clearing_after_taking_is_caught() {
    loom::model(|| queue_against_take(false));
}
