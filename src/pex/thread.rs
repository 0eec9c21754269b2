//! The thread `p2p-pex`: performs what the core decides.

use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::{
    PexCore, PexHandle, PexInput, PexNotice, PexOutput,
    handle::Shared,
    store::{StoreEnd, StoreWriter},
};
use crate::{
    addrbook::{Book, BookLimits, BookStore, StoreError, StoredBook},
    ban::{Ban, BanTable},
    clock::Clock,
    identity::NodeId,
    thread,
    time::Mono,
};

/// Time that a store is given for its last write even if the stop has none left: one that works
/// needs milliseconds, and an operator's ban should not be lost to a hard stop.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What the book has to know.
#[derive(Clone, Debug)]
pub(crate) struct PexSettings {
    /// Our own ID.
    pub(crate) id: NodeId,
    /// Nodes whose addresses are told to nobody.
    pub(crate) private: Vec<NodeId>,
}

/// Called on `p2p-pex` with every new table and, if a ban was added, with it. Must not block.
pub(crate) type Publish = Box<dyn FnMut(Arc<BanTable>, Option<Ban>) + Send>;

/// The book is read and no thread is started yet: whoever needs the bans before the first
/// connection takes them from here.
pub(crate) struct Prepared {
    core: PexCore,
    store: Option<(Box<dyn BookStore>, StoredBook)>,
    clock: Clock,
    inputs: Sender<PexInput>,
    receiver: Receiver<PexInput>,
    handle: PexHandle,
}

/// The running threads `p2p-pex` and `p2p-store`. Dropping it stops them.
pub(crate) struct Pex {
    handle: PexHandle,
    thread: Option<JoinHandle<Option<StoreWriter>>>,
    clock: Clock,
}

/// How the two threads ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PexEnd {
    /// `p2p-pex` had panicked: a bug.
    pub(crate) had_panicked: bool,
    /// How the writing ended; `None` without a store.
    pub(crate) store: Option<StoreEnd>,
}

impl Prepared {
    /// Reads the book. Waits for the store.
    pub(crate) fn load(
        settings: PexSettings,
        store: Option<Box<dyn BookStore>>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let mut store = store;
        let stored = store.as_mut().map(|store| store.load()).transpose()?.unwrap_or_default();
        let now = clock.now();
        let mut book = Book::load(settings.id, BookLimits::default(), stored.clone(), now.wall);
        book.add_private(settings.private);
        let (inputs, receiver) = crossbeam_channel::unbounded();
        let shared = Arc::new(Shared::default());
        *shared.bans.write() = book.bans().clone();
        let handle = PexHandle { inputs: inputs.clone(), shared, next_ticket: Arc::default() };
        let core = PexCore::new(book, now);
        let store = store.map(|store| (store, stored));
        Ok(Self { core, store, clock, inputs, receiver, handle })
    }

    /// The bans there are at the start. `publish` gets later tables, not this one.
    pub(crate) fn bans(&self) -> Arc<BanTable> {
        self.handle.bans()
    }

    /// What handles of the switch hold. Requests wait for the start.
    pub(crate) fn handle(&self) -> PexHandle {
        self.handle.clone()
    }

    /// Starts the threads; `p2p-store` only if there is a store.
    pub(crate) fn start(self, publish: Publish) -> io::Result<Pex> {
        let inputs = self.inputs.clone();
        let store = self
            .store
            .map(|(store, stored)| {
                StoreWriter::start(store, &stored, self.clock, move |error| {
                    // The other thread outlives this one unless the switch has stopped.
                    let _ = inputs.send(PexInput::StoreFailed(error));
                })
            })
            .transpose()?;
        let driver = PexThread {
            core: self.core,
            inputs: self.receiver,
            shared: self.handle.shared.clone(),
            store,
            publish,
            clock: self.clock,
        };
        let thread = Some(thread::spawn("p2p-pex", move || driver.run())?);
        Ok(Pex { handle: self.handle, thread, clock: self.clock })
    }
}

impl Pex {
    /// Ends both threads: requests are refused, what is left is written. `p2p-pex` is always
    /// joined, for it waits for nobody; a store that does not come back by the deadline, or one
    /// second from now if that is later, is left behind with its thread. That is logged.
    pub(crate) fn stop(mut self, deadline: Mono) -> PexEnd {
        self.join(deadline)
    }

    fn join(&mut self, deadline: Mono) -> PexEnd {
        let Some(thread) = self.thread.take() else {
            return PexEnd { had_panicked: false, store: None };
        };
        // Fails if the thread has ended already.
        let _ = self.handle.inputs.send(PexInput::Stop);
        let Ok(store) = thread.join() else {
            return PexEnd { had_panicked: true, store: None };
        };
        let deadline = deadline.max(self.clock.mono() + LAST_WRITE);
        let store = store.map(|store| store.stop(deadline));
        match &store {
            Some(StoreEnd::Failed(error)) => {
                log::error!("the last changes of the address book are not stored: {error}");
            }
            Some(StoreEnd::LeftBehind) => log::error!(
                "the address book's store does not answer; its thread is left behind, and the \
                 last changes may not be stored"
            ),
            Some(StoreEnd::Written) | None => {}
        }
        PexEnd { had_panicked: false, store }
    }
}

impl Drop for Pex {
    fn drop(&mut self) {
        self.join(Mono::ZERO);
    }
}

/// Everything that the thread owns.
struct PexThread {
    core: PexCore,
    inputs: Receiver<PexInput>,
    shared: Arc<Shared>,
    store: Option<StoreWriter>,
    publish: Publish,
    clock: Clock,
}

impl PexThread {
    /// Runs until it is told to stop; hands out what still writes.
    fn run(mut self) -> Option<StoreWriter> {
        self.perform();
        while !self.core.is_stopped() {
            let timeout = self.core.next_deadline().map(|deadline| self.clock.until(deadline));
            let input = match timeout {
                Some(timeout) => self.inputs.recv_timeout(timeout),
                None => self.inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let now = self.clock.now();
            match input {
                Ok(input) => self.core.handle(input, now),
                Err(RecvTimeoutError::Timeout) => self.core.handle_timeout(now),
                // Nobody is left who could stop it.
                Err(RecvTimeoutError::Disconnected) => self.core.handle(PexInput::Stop, now),
            }
            self.perform();
        }
        self.store.take()
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                PexOutput::Publish { table, added } => {
                    *self.shared.bans.write() = table.clone();
                    (self.publish)(table, added);
                }
                PexOutput::Answer { ticket, answer } => {
                    if let Some(asked) = self.shared.waiting.lock().tickets.remove(&ticket) {
                        // Whoever asked waits, or its thread is gone.
                        let _ = asked.send(answer);
                    }
                }
                PexOutput::Store { batch, is_urgent } => {
                    if let Some(store) = &self.store {
                        store.add(batch, is_urgent);
                    }
                }
                PexOutput::Notice(PexNotice::StoreFailed(error)) => {
                    log::warn!("the address book cannot be stored, it is tried again: {error}");
                }
            }
        }
    }
}

impl Drop for PexThread {
    /// However the thread ends, nobody waits for it for ever.
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        waiting.is_over = true;
        waiting.tickets.clear();
    }
}
