//! What handles of the switch hold of the book.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Mutex, RwLock};

use super::{BookView, Candidates, PexInput, PexRequest};
use crate::{
    addrbook::{
        BadAddress, BanError, ImportReport, StoreWatch, UnbanError, Unstored, json::ImportedBook,
    },
    address::NetAddress,
    ban::{Ban, BanTable, BanTarget},
    identity::NodeId,
    reactor::Verdicts,
    refused::{Stopped, WrongThread},
    reply::Reply,
    switch::{ControlError, Notice, Notices},
    thread::{self, Waiting},
};

/// What the thread `p2p-pex` shares with the handles.
#[derive(Default)]
pub(super) struct Shared {
    /// The table that was published last; at the end the last there was.
    pub(super) bans: RwLock<Arc<BanTable>>,
    /// Who waits for the answer to a request.
    pub(super) waiting: Waiting,
    /// Nodes that were called good and of which the thread has not heard yet: a reactor may say so
    /// with every message, and must not fill the queue with it.
    pub(super) good: Mutex<BTreeSet<NodeId>>,
    /// If the book is stored.
    pub(super) store: OnceLock<StoreWatch>,
}

/// Tells the thread `p2p-pex`, from any thread; never blocks.
#[derive(Clone, Debug)]
pub(crate) struct ToPex(Sender<PexInput>);

/// Asks the thread `p2p-pex`, from any thread.
#[derive(Clone)]
pub(crate) struct PexHandle {
    pub(super) to_pex: ToPex,
    pub(super) shared: Arc<Shared>,
}

enum NoAnswer {
    Stopped,
    WrongThread,
}

impl From<NoAnswer> for ControlError {
    fn from(no_answer: NoAnswer) -> Self {
        match no_answer {
            NoAnswer::Stopped => Stopped.into(),
            NoAnswer::WrongThread => WrongThread.into(),
        }
    }
}

impl ToPex {
    /// One, and where it leads: to the thread.
    pub(super) fn new() -> (Self, Receiver<PexInput>) {
        let (sender, inputs) = crossbeam_channel::unbounded();
        (Self(sender), inputs)
    }

    /// Tells it. If it is gone, a request has been answered with that.
    pub(super) fn tell(&self, input: PexInput) {
        _ = self.0.send(input);
    }
}

/// Switch → peer exchange, which ends after it.
impl Notices for ToPex {
    fn notice(&self, notice: Notice) {
        self.tell(PexInput::Notice(notice));
    }
}

impl PexHandle {
    /// The thread is not waited for any longer.
    pub(super) fn close(&self) {
        self.shared.waiting.close();
    }

    /// Where the switch tells what peer exchange is to know.
    pub(crate) fn notices(&self) -> ToPex {
        self.to_pex.clone()
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
        match self.ask(|reply| PexRequest::Ban { target, duration, reason, reply }) {
            Ok(result) => result,
            Err(NoAnswer::Stopped) => Err(Stopped.into()),
            Err(NoAnswer::WrongThread) => Err(WrongThread.into()),
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
        Ok(self.ask(|reply| PexRequest::BanMany { targets, duration, reason, reply })?)
    }

    /// Waits until what was changed before, these bans, is stored, if the book is.
    pub(crate) fn stored(&self, bans: &[Ban]) -> Result<(), Unstored> {
        let stored = self.shared.store.get().map_or(Ok(()), StoreWatch::settled);
        stored.map_err(|why| Unstored { bans: bans.to_vec(), why })
    }

    /// Lifts a ban, likewise.
    pub(crate) fn unban(&self, target: BanTarget) -> Result<Ban, UnbanError> {
        match self.ask(|reply| PexRequest::Unban { target, reply }) {
            Ok(result) => result,
            Err(NoAnswer::Stopped) => Err(Stopped.into()),
            Err(NoAnswer::WrongThread) => Err(WrongThread.into()),
        }
    }

    /// What may be dialed: a page of it.
    pub(crate) fn candidates(
        &self,
        after: Option<NodeId>,
        limit: usize,
        besides: BTreeSet<NodeId>,
    ) -> Result<Candidates, ControlError> {
        Ok(self.ask(|reply| PexRequest::Candidates { after, limit, besides, reply })?)
    }

    /// Every bad address, by ID; `None` after the end and on the library's own threads.
    pub(crate) fn bad_addresses(&self) -> Option<Vec<BadAddress>> {
        self.ask(PexRequest::BadAddresses).ok()
    }

    /// What is in the book.
    pub(crate) fn book(&self) -> Result<BookView, ControlError> {
        Ok(self.ask(PexRequest::Book)?)
    }

    /// The book as `addrbook.json`.
    pub(crate) fn export(&self) -> Result<Vec<u8>, ControlError> {
        Ok(self.ask(PexRequest::Export)?)
    }

    /// Adds what the book does not know.
    pub(crate) fn import(&self, imported: ImportedBook) -> Result<ImportReport, ControlError> {
        Ok(self.ask(|reply| PexRequest::Import { imported, reply })?)
    }

    /// The node's address is bad no more; whether it was.
    pub(crate) fn reinstate(&self, id: NodeId) -> Result<bool, ControlError> {
        Ok(self.ask(|reply| PexRequest::Reinstate { id, reply })?)
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
        self.to_pex.tell(PexInput::Request(request));
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Reply<T>) -> PexRequest,
    ) -> Result<T, NoAnswer> {
        if thread::is_ours() {
            return Err(NoAnswer::WrongThread);
        }
        let (reply, answer) = self.shared.waiting.ask().ok_or(NoAnswer::Stopped)?;
        self.send(request(reply));
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
