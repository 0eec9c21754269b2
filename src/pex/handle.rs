//! What handles of the switch hold of the book.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::Sender;
use parking_lot::{Mutex, RwLock};

use super::{BookView, Candidates, PexAnswer, PexInput, PexRequest};
use crate::{
    addrbook::{BadAddress, BanError, ImportReport, UnbanError, json::ImportedBook},
    address::NetAddress,
    ban::{Ban, BanTable, BanTarget},
    identity::NodeId,
    reactor::Verdicts,
    switch::ControlError,
    thread,
};

/// What the thread `p2p-pex` shares with the handles.
#[derive(Default)]
pub(super) struct Shared {
    /// The table that was published last; at the end the last there was.
    pub(super) bans: RwLock<Arc<BanTable>>,
    pub(super) waiting: Mutex<Waiting>,
    /// Nodes that were called good and of which the thread has not heard yet: a reactor may say so
    /// with every message, and must not fill the queue with it.
    pub(super) good: Mutex<BTreeSet<NodeId>>,
}

/// Who waits for an answer, by ticket.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) tickets: BTreeMap<u64, Sender<PexAnswer>>,
    /// Nobody is answered any more.
    pub(super) is_over: bool,
}

/// Asks the thread `p2p-pex`, from any thread.
#[derive(Clone)]
pub(crate) struct PexHandle {
    pub(super) inputs: Sender<PexInput>,
    pub(super) shared: Arc<Shared>,
    pub(super) next_ticket: Arc<AtomicU64>,
}

enum NoAnswer {
    Stopped,
    WrongThread,
}

impl From<NoAnswer> for ControlError {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Stopped => Self::Stopped,
            NoAnswer::WrongThread => Self::WrongThread,
        }
    }
}

impl Shared {
    /// Nobody is answered from now on.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_over = true;
        waiting.tickets.clear();
    }
}

impl PexHandle {
    /// The thread is not waited for any longer.
    pub(super) fn close(&self) {
        self.shared.close();
    }

    /// Every ban, as last published.
    pub(crate) fn bans(&self) -> Arc<BanTable> {
        self.shared.bans.read().clone()
    }

    /// An operator's ban. When this returns, the table with it is published.
    pub(crate) fn ban(
        &self,
        target: BanTarget,
        duration: Option<Duration>,
        reason: String,
    ) -> Result<Ban, BanError> {
        match self.ask(|ticket| PexRequest::Ban { ticket, target, duration, reason }) {
            Ok(PexAnswer::Ban(result)) => result,
            Ok(_) | Err(NoAnswer::Stopped) => Err(BanError::Stopped),
            Err(NoAnswer::WrongThread) => Err(BanError::WrongThread),
        }
    }

    /// An operator's bans of a list, or the first of it that cannot be, by its place from 0; or none
    /// because nobody is there. When this returns, the table with them is published.
    pub(crate) fn ban_many(
        &self,
        targets: Vec<BanTarget>,
        duration: Option<Duration>,
        reason: String,
    ) -> Result<Result<Vec<Ban>, (usize, BanError)>, ControlError> {
        match self.ask(|ticket| PexRequest::BanMany { ticket, targets, duration, reason })? {
            PexAnswer::BanMany(result) => Ok(result),
            _ => Err(ControlError::Stopped),
        }
    }

    /// Lifts a ban, likewise.
    pub(crate) fn unban(&self, target: BanTarget) -> Result<Ban, UnbanError> {
        match self.ask(|ticket| PexRequest::Unban { ticket, target }) {
            Ok(PexAnswer::Unban(result)) => result,
            Ok(_) | Err(NoAnswer::Stopped) => Err(UnbanError::Stopped),
            Err(NoAnswer::WrongThread) => Err(UnbanError::WrongThread),
        }
    }

    /// What may be dialed: a page of it.
    pub(crate) fn candidates(
        &self,
        after: Option<NodeId>,
        limit: usize,
        besides: BTreeSet<NodeId>,
    ) -> Result<Candidates, ControlError> {
        match self.ask(|ticket| PexRequest::Candidates { ticket, after, limit, besides })? {
            PexAnswer::Candidates(candidates) => Ok(candidates),
            _ => Err(ControlError::Stopped),
        }
    }

    /// Every bad address, by ID; `None` after the end and on the library's own threads.
    pub(crate) fn bad_addresses(&self) -> Option<Vec<BadAddress>> {
        match self.ask(|ticket| PexRequest::BadAddresses { ticket }) {
            Ok(PexAnswer::BadAddresses(bad)) => Some(bad),
            _ => None,
        }
    }

    /// What is in the book.
    pub(crate) fn book(&self) -> Result<BookView, ControlError> {
        match self.ask(|ticket| PexRequest::Book { ticket })? {
            PexAnswer::Book(view) => Ok(view),
            _ => Err(ControlError::Stopped),
        }
    }

    /// The book as `addrbook.json`.
    pub(crate) fn export(&self) -> Result<Vec<u8>, ControlError> {
        match self.ask(|ticket| PexRequest::Export { ticket })? {
            PexAnswer::Export(file) => Ok(file),
            _ => Err(ControlError::Stopped),
        }
    }

    /// Adds what the book does not know.
    pub(crate) fn import(&self, imported: ImportedBook) -> Result<ImportReport, ControlError> {
        match self.ask(|ticket| PexRequest::Import { ticket, imported })? {
            PexAnswer::Import(report) => Ok(report),
            _ => Err(ControlError::Stopped),
        }
    }

    /// The node's address is bad no more; whether it was.
    pub(crate) fn reinstate(&self, id: NodeId) -> Result<bool, ControlError> {
        match self.ask(|ticket| PexRequest::Reinstate { ticket, id })? {
            PexAnswer::Reinstate(was_bad) => Ok(was_bad),
            _ => Err(ControlError::Stopped),
        }
    }

    /// Up to so many peers are dialed from now on. Never waits.
    pub(crate) fn set_max_outbound(&self, peers: usize) {
        self.send(PexRequest::SetMaxOutbound(peers));
    }

    /// Peers are looked for now. Never waits.
    pub(crate) fn request_more_peers(&self) {
        self.send(PexRequest::MorePeers);
    }

    /// The nodes' addresses are told to nobody. Never waits.
    pub(crate) fn add_private(&self, ids: Vec<NodeId>) {
        self.send(PexRequest::AddPrivate { ids });
    }

    /// The nodes' addresses may be told. Never waits.
    pub(crate) fn remove_private(&self, ids: Vec<NodeId>) {
        self.send(PexRequest::RemovePrivate { ids });
    }

    fn send(&self, request: PexRequest) {
        // Nobody is there to take it once the switch has stopped.
        let _ = self.inputs.send(PexInput::Request(request));
    }

    fn ask(&self, request: impl FnOnce(u64) -> PexRequest) -> Result<PexAnswer, NoAnswer> {
        if thread::is_ours() {
            return Err(NoAnswer::WrongThread);
        }
        let ticket = self.next_ticket.fetch_add(1, Relaxed);
        let (sender, answer) = crossbeam_channel::bounded(1);
        {
            // Under the lock of the flag: the thread's end finds the ticket, or we the flag.
            let mut waiting = self.shared.waiting.lock();
            if waiting.is_over {
                return Err(NoAnswer::Stopped);
            }
            waiting.tickets.insert(ticket, sender);
        }
        self.send(request(ticket));
        answer.recv().map_err(|_| NoAnswer::Stopped)
    }
}

/// What reactors think of peers. Nothing happens after the end.
impl Verdicts for PexHandle {
    fn mark_good(&self, id: NodeId) {
        if self.shared.good.lock().insert(id) {
            self.send(PexRequest::MarkGood { id });
        }
    }

    fn mark_bad(&self, id: NodeId, addr: Option<NetAddress>, duration: Duration, reason: String) {
        // Who is called good after this is to be heard of after this.
        self.shared.good.lock().remove(&id);
        self.send(PexRequest::MarkBad { id, addr, duration, reason });
    }
}

impl fmt::Debug for PexHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PexHandle")
    }
}
