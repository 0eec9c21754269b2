//! The library's own threads: named, recognisable from within, and waited for no longer than one
//! wants.

use std::{
    cell::Cell,
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// A running thread of the library. Dropping it leaves the thread to itself.
#[derive(Debug)]
pub(crate) struct Thread<T> {
    handle: JoinHandle<T>,
    /// Ends with the thread's work.
    running: Receiver<()>,
}

/// How a thread was found when it was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined<T> {
    /// It is over.
    Over(T),
    /// It is over, by a panic.
    Panicked,
    /// It is not over, and left to itself.
    LeftBehind,
}

/// Starts a thread of the library. Blocking calls of the public interface refuse to run on it.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Thread<T>> {
    let (alive, running) = bounded(0);
    let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
        OURS.with(|ours| ours.set(true));
        // Dropped at the end, also by a panic.
        let _alive = alive;
        run()
    })?;
    Ok(Thread { handle, running })
}

impl<T> Thread<T> {
    /// Waits for the thread's end, but not longer than this. Not for the thread itself.
    pub(crate) fn join_within(self, timeout: Duration) -> Joined<T> {
        match self.running.recv_timeout(timeout) {
            Err(RecvTimeoutError::Timeout) => Joined::LeftBehind,
            Ok(()) | Err(RecvTimeoutError::Disconnected) => match self.handle.join() {
                Ok(result) => Joined::Over(result),
                Err(panic) => {
                    // See `guard`: it may be anything.
                    std::mem::forget(panic);
                    Joined::Panicked
                }
            },
        }
    }
}

/// Whether the calling thread is one of the library's (`p2p-*`): a blocking call there could wait
/// for itself.
pub(crate) fn is_ours() -> bool {
    OURS.with(Cell::get)
}
