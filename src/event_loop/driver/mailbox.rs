//! What other threads post for the event loop.

use parking_lot::Mutex;

use crate::{
    event_loop::{
        Command,
        spares::{MOST_BYTES, Returned},
    },
    ids::ConnId,
    payload::Payload,
    reactor::{CloseMode, Notify},
    time::Mono,
    wake::Sleeper,
};

/// Posts of other threads, taken whole by the loop. Posting never blocks on the loop, and wakes it
/// only when it sleeps. Peers and handles hold it, long after the loop's end if they like: then it
/// keeps nothing, neither what is posted nor what woke the loop.
pub struct Mailbox {
    sleeper: Sleeper,
    clock: Box<dyn Fn() -> Mono + Send + Sync>,
    posts: Mutex<Posts>,
    /// Memory of messages that reactors have let go. The loop is not woken for it.
    /// `None`: the loop is over. Nobody waits for this lock: a spare that is missed costs little.
    spares: Mutex<Option<Returned>>,
    /// `None`: the loop is over.
    wake: Mutex<Option<Wake>>,
}

type Wake = Box<dyn Fn() + Send>;

/// What was posted, in the order in which the loop takes it.
#[derive(Debug, Default)]
pub struct Posts {
    /// From the switch, in its order, and closes from anybody.
    pub commands: Vec<Command>,
    /// Connections of which a reactor let messages go.
    pub resume: Vec<ConnId>,
    /// Connections with queued messages.
    pub dirty: Vec<ConnId>,
    /// The loop is over, and nothing is posted any more.
    is_closed: bool,
}

impl Posts {
    /// Whether nothing was posted.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.resume.is_empty() && self.dirty.is_empty()
    }
}

impl Mailbox {
    /// An empty mailbox; `wake` ends the loop's poll, or makes its next one return at once; `clock`
    /// tells the loop's time.
    pub fn new(
        wake: impl Fn() + Send + 'static,
        clock: impl Fn() -> Mono + Send + Sync + 'static,
    ) -> Self {
        let wake: Wake = Box::new(wake);
        Self {
            sleeper: Sleeper::new(),
            clock: Box::new(clock),
            posts: Mutex::default(),
            spares: Mutex::new(Some(Returned::default())),
            wake: Mutex::new(Some(wake)),
        }
    }

    /// The loop is over: what was posted and not taken is dropped, and so is what will be.
    pub fn shut(&self) {
        let closed = Posts { is_closed: true, ..Posts::default() };
        let left = std::mem::replace(&mut *self.posts.lock(), closed);
        let wake = self.wake.lock().take();
        let spares = self.spares.lock().take();
        drop((left, wake, spares));
    }

    /// Posts a command.
    pub fn command(&self, command: Command) {
        self.post(|posts| posts.commands.push(command));
    }

    /// Moves what was posted to the end of `into`.
    pub fn take(&self, into: &mut Posts) {
        if !self.sleeper.take_posted() {
            return;
        }
        let mut posts = self.posts.lock();
        if into.is_empty() {
            std::mem::swap(into, &mut *posts);
            return;
        }
        into.commands.append(&mut posts.commands);
        into.resume.append(&mut posts.resume);
        into.dirty.append(&mut posts.dirty);
    }

    /// Puts what came back since the last call into `into`, which is empty.
    pub(crate) fn take_spares(&self, into: &mut Returned) {
        if let Some(mut spares) = self.spares.try_lock()
            && let Some(spares) = &mut *spares
        {
            std::mem::swap(into, spares);
        }
    }

    /// Whether something was posted since the last [`take`](Self::take).
    pub fn has_posts(&self) -> bool {
        self.sleeper.has_posted()
    }

    /// The loop is about to block: whether it may. See [`Sleeper::may_sleep`].
    pub fn may_sleep(&self) -> bool {
        self.sleeper.may_sleep()
    }

    /// The loop no longer blocks.
    pub fn awake(&self) {
        self.sleeper.awake();
    }

    fn post(&self, put: impl FnOnce(&mut Posts)) {
        {
            let mut posts = self.posts.lock();
            if posts.is_closed {
                return;
            }
            put(&mut posts);
        }
        if self.sleeper.post()
            && let Some(wake) = &*self.wake.lock()
        {
            wake();
        }
    }
}

impl Notify for Mailbox {
    fn dirty(&self, conn: ConnId) {
        self.post(|posts| posts.dirty.push(conn));
    }

    fn resume(&self, conn: ConnId) {
        self.post(|posts| posts.resume.push(conn));
    }

    fn recycle(&self, payload: Payload) {
        if payload.len() > MOST_BYTES {
            return;
        }
        let Some(spare) = payload.into_spare() else { return };
        let Some(mut spares) = self.spares.try_lock() else { return };
        // What is not taken is freed when nobody waits for it.
        let _refused = match &mut *spares {
            Some(returned) => returned.put(spare),
            None => Some(spare),
        };
        drop(spares);
    }

    fn close(&self, conn: ConnId, mode: CloseMode) {
        self.post(|posts| posts.commands.push(Command::Close { conn, mode }));
    }

    fn now(&self) -> Mono {
        (self.clock)()
    }
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Mailbox").field(&*self.posts.lock()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::DisconnectReason;

    #[test]
    fn what_is_taken_later_stands_behind_what_was_taken_before() {
        let mailbox = Mailbox::new(|| {}, || Mono::ZERO);
        let conns = [1, 2].map(|n| ConnId::new(0, n, 1));
        let mut taken = Posts::default();
        for conn in conns {
            mailbox.dirty(conn);
            mailbox.resume(conn);
            mailbox.close(conn, CloseMode::Now(DisconnectReason::Stopped));
            mailbox.take(&mut taken);
        }
        assert_eq!((&taken.dirty[..], &taken.resume[..]), (&conns[..], &conns[..]));
        let closed = taken.commands.iter().map(|command| match command {
            Command::Close { conn, .. } => *conn,
            other => panic!("{other:?}"),
        });
        assert_eq!(closed.collect::<Vec<_>>(), conns);
        assert!(!mailbox.has_posts());
    }
}
