//! The thread `p2p-store`: the only one that waits for a disk.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use log::Level;
use parking_lot::{Condvar, Mutex};

use super::{BookStore, StoreBatch, StoredBook, pending::Pending};
use crate::{
    clock::Clock,
    guard::{guarded, tell},
    thread::{self, Joined, Thread},
    time::Mono,
};

/// How long an operator's call waits for its write. One that works needs milliseconds.
const STORED_WITHIN: Duration = Duration::from_secs(1);

/// How the writing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreEnd {
    /// Everything is written.
    Written,
    /// The last write failed for this reason; what it held is lost.
    Failed(String),
    /// The store did not come back in time. Its thread is left behind; it ends when the store
    /// does, after one more write if there is something left.
    LeftBehind,
}

/// Writes behind: takes batches without waiting, and writes them on a thread of its own.
pub(crate) struct StoreWriter {
    shared: Arc<Shared>,
    clock: Clock,
    thread: Option<Thread<StoreEnd>>,
    /// Without a thread: it is written at once.
    #[cfg(feature = "testing")]
    inline: Option<Mutex<Box<dyn BookStore>>>,
}

struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

/// What is to be written.
struct Work {
    pending: Pending,
    is_stopping: bool,
    /// Writes that have begun and that are over, and why the last of these failed.
    begun: u64,
    over: u64,
    failure: Option<String>,
}

/// Tells whether what was given to the writer is stored. It may outlive the writer, and keeps nothing of
/// what that knows.
#[derive(Clone)]
pub(crate) struct StoreWatch(Weak<Shared>);

impl StoreWatch {
    /// Waits for the write of what was added as urgent before. Not on the library's threads.
    ///
    /// # Errors
    /// It failed, or is not over in time.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let Some(shared) = self.0.upgrade() else { return Ok(()) };
        let mut work = shared.work.lock();
        let awaited = work.begun + u64::from(work.pending.is_pressing());
        shared.changed.wait_while_for(&mut work, |work| work.over < awaited, STORED_WITHIN);
        if work.over < awaited {
            return Err("the store has not come back in time".to_owned());
        }
        work.failure.clone().map_or(Ok(()), Err)
    }
}

impl StoreWriter {
    /// Starts the thread. `on_failure` is called on it: at first once a minute, then ever more rarely.
    pub(crate) fn start(
        mut store: Box<dyn BookStore>,
        stored: &StoredBook,
        clock: Clock,
        on_failure: impl Fn(String) + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(stored));
        let (theirs, of_thread) = (shared.clone(), clock.clone());
        let run = move || {
            let end = theirs.run(&mut *store, &of_thread, on_failure);
            // Whoever opens the same store next finds it closed. The application's, as above.
            _ = guarded(|| drop(store));
            if let StoreEnd::Failed(error) = &end {
                tell!(Level::Error, "the last changes of the address book are not stored: {error}");
            }
            end
        };
        let thread = Some(thread::spawn("p2p-store", run)?);
        Ok(Self {
            shared,
            clock,
            thread,
            #[cfg(feature = "testing")]
            inline: None,
        })
    }

    /// One that writes what it is given at once, on the thread that gives it. What fails is lost.
    #[cfg(feature = "testing")]
    pub(crate) fn inline(store: Box<dyn BookStore>, clock: &Clock) -> Self {
        let shared = Arc::new(Shared::new(&StoredBook::default()));
        Self { shared, clock: clock.clone(), thread: None, inline: Some(Mutex::new(store)) }
    }

    /// Have this written. Never waits for the store.
    pub(crate) fn add(&self, batch: StoreBatch, is_urgent: bool) {
        #[cfg(feature = "testing")]
        if let Some(store) = &self.inline {
            if let Err(error) = write(&mut **store.lock(), &batch) {
                tell!(Level::Error, "changes of the address book are not stored: {error}");
            }
            return;
        }
        self.shared.work.lock().pending.add(batch, is_urgent);
        self.shared.changed.notify_all();
    }

    pub(crate) fn watch(&self) -> StoreWatch {
        StoreWatch(Arc::downgrade(&self.shared))
    }

    /// Writes what is left and joins the thread, or leaves it behind at the deadline.
    pub(crate) fn stop(mut self, deadline: Mono) -> StoreEnd {
        self.shared.work.lock().is_stopping = true;
        self.shared.changed.notify_all();
        match self.thread.take().map(|thread| thread.join_within(self.clock.until(deadline))) {
            Some(Joined::Over(end)) => end,
            Some(Joined::LeftBehind) => StoreEnd::LeftBehind,
            Some(Joined::Panicked) | None => StoreEnd::Failed(PANICKED.to_owned()),
        }
    }
}

impl Drop for StoreWriter {
    /// Lets the thread end by itself.
    fn drop(&mut self) {
        self.shared.work.lock().is_stopping = true;
        self.shared.changed.notify_all();
    }
}

const PANICKED: &str = "the store panicked";

impl Shared {
    fn new(stored: &StoredBook) -> Self {
        let pending = Pending::new(stored);
        let work = Work { pending, is_stopping: false, begun: 0, over: 0, failure: None };
        Self { work: Mutex::new(work), changed: Condvar::new() }
    }

    fn run(
        &self,
        store: &mut dyn BookStore,
        clock: &Clock,
        on_failure: impl Fn(String),
    ) -> StoreEnd {
        let mut work = self.work.lock();
        loop {
            let is_last = work.is_stopping;
            if is_last {
                work.pending.hurry();
            }
            if let Some(batch) = work.pending.take(clock.mono()) {
                work.begun += 1;
                drop(work);
                let result = write(store, &batch);
                drop(batch);
                work = self.work.lock();
                work.over += 1;
                work.failure = result.clone().err();
                self.changed.notify_all();
                let Err(error) = result else {
                    work.pending.written(clock.mono());
                    continue;
                };
                let is_due = work.pending.failed(clock.mono());
                if is_last {
                    return StoreEnd::Failed(error);
                }
                if is_due {
                    on_failure(error);
                }
            } else if is_last {
                debug_assert!(work.pending.is_empty());
                return StoreEnd::Written;
            } else if let Some(deadline) = work.pending.next_deadline() {
                self.changed.wait_for(&mut work, clock.until(deadline));
            } else {
                self.changed.wait(&mut work);
            }
        }
    }
}

/// The store may be anybody's code: a panic in it is a failure like others.
fn write(store: &mut dyn BookStore, batch: &StoreBatch) -> Result<(), String> {
    // The error is the application's, too.
    let written = guarded(|| store.write(batch).map_err(|error| error.to_string()));
    written.unwrap_or_else(|| Err(PANICKED.to_owned()))
}
