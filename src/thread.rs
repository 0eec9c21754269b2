//! The library's own threads: named, and recognisable from within.

use std::{cell::Cell, io, thread};

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread of the library. Blocking calls of the public interface refuse to run on it.
pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        OURS.with(|ours| ours.set(true));
        run()
    })
}

/// Whether the calling thread is one of the library's (`p2p-*`): a blocking call there could wait
/// for itself.
pub(crate) fn is_ours() -> bool {
    OURS.with(Cell::get)
}
