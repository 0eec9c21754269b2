//! The library's own threads: named, recognisable from within, and waited for no longer than one
//! wants; and so are their answers.

use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use parking_lot::Mutex;

use crate::reply::Reply;

thread_local! {
    static OURS: Cell<bool> = const { Cell::new(false) };
    /// How many [`Guest`]s there are.
    #[cfg(feature = "testing")]
    static GUESTS: Cell<usize> = const { Cell::new(0) };
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

/// Requests without an answer, of one thread. They need not wait for it: when it is given up, although
/// it still sits on their replies in code of the application, they are let go.
#[derive(Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Requests>>);

#[derive(Default)]
struct Requests {
    /// Nobody is answered any more.
    is_over: bool,
    last: u64,
    /// The replies that they came with, each of which answers when it leaves this table.
    replies: BTreeMap<u64, Arc<dyn Any + Send + Sync>>,
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

/// The calling thread runs whole nodes, and is the library's as long as there is one of these.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub(crate) struct Guest {
    /// It stays on its thread.
    _not_send: std::marker::PhantomData<*const ()>,
}

/// See [`Guest`].
#[cfg(feature = "testing")]
pub(crate) fn guest() -> Guest {
    GUESTS.with(|guests| guests.set(guests.get() + 1));
    Guest { _not_send: std::marker::PhantomData }
}

#[cfg(feature = "testing")]
impl Drop for Guest {
    fn drop(&mut self) {
        GUESTS.with(|guests| guests.set(guests.get() - 1));
    }
}

/// Whether the calling thread is one of the library's (`p2p-*`): a blocking call there could wait
/// for itself.
pub(crate) fn is_ours() -> bool {
    #[cfg(feature = "testing")]
    if GUESTS.with(Cell::get) > 0 {
        return true;
    }
    OURS.with(Cell::get)
}

impl Waiting {
    /// A reply to go with a request, and where its answer comes. That ends without one if the reply is
    /// dropped or nobody is answered any more; `None`: nobody is now.
    pub(crate) fn ask<T: Send + 'static>(&self) -> Option<(Reply<T>, Receiver<T>)> {
        let (sender, answer) = bounded(1);
        let take = move |answer: Option<T>| {
            // Whoever asked may wait no longer.
            answer.into_iter().for_each(|answer| _ = sender.send(answer));
        };
        Some((self.hold(Reply::new(take))?, answer))
    }

    /// One that passes its answer on to this one, which is let go at the end. `None`: it is now.
    pub(crate) fn hold<T: Send + 'static>(&self, reply: Reply<T>) -> Option<Reply<T>> {
        let place = Arc::new(Mutex::new(Some(reply)));
        let there = Arc::downgrade(&place);
        // Under the lock of the flag: the end finds the reply, or we the flag.
        let mut requests = self.0.lock();
        if requests.is_over {
            return None;
        }
        requests.last += 1;
        let number = requests.last;
        requests.replies.insert(number, place);
        let waiting = self.clone();
        Some(Reply::new(move |answer| {
            // Else it was let go.
            let reply = there.upgrade().and_then(|place| place.lock().take());
            waiting.0.lock().replies.remove(&number);
            if let (Some(reply), Some(answer)) = (reply, answer) {
                reply.give(answer);
            }
        }))
    }

    /// Nobody is answered from now on.
    pub(crate) fn close(&self) {
        let replies = {
            let mut requests = self.0.lock();
            requests.is_over = true;
            std::mem::take(&mut requests.replies)
        };
        drop(replies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For what must happen: never waited out unless the test fails.
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn whoever_waits_is_answered_once_or_let_go() {
        let waiting = Waiting::default();
        let ask = || waiting.ask::<u8>().expect("it is not over");
        let (reply, answer) = ask();
        reply.give(7);
        assert_eq!(answer.recv_timeout(LONG), Ok(7));
        assert!(answer.recv_timeout(LONG).is_err(), "once");
        let (reply, answer) = ask();
        drop(reply);
        assert_eq!(answer.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        // The thread is stuck, with the reply.
        let (reply, answer) = ask();
        let waiter = std::thread::spawn(move || answer.recv_timeout(LONG));
        waiting.close();
        assert_eq!(waiter.join().unwrap(), Err(RecvTimeoutError::Disconnected));
        reply.give(7);
        assert!(waiting.ask::<u8>().is_none());
        assert!(waiting.0.lock().replies.is_empty(), "nothing is kept of them");
    }

    /// It takes no part in what happens to the answer of another.
    #[test]
    fn an_answer_that_is_on_its_way_at_the_end_arrives() {
        let waiting = Waiting::default();
        let (reply, answer) = waiting.ask().unwrap();
        reply.give(7);
        waiting.close();
        assert_eq!(answer.recv_timeout(LONG), Ok(7));
    }
}
