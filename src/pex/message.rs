//! What goes into the core of peer exchange and what comes out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{BookView, Candidates, PeerFacts};
use crate::{
    addrbook::{BadAddress, BanError, ImportReport, StoreBatch, UnbanError, json::ImportedBook},
    address::{NetAddress, PeerAddress},
    ban::{Ban, BanTable, BanTarget},
    identity::NodeId,
    ids::ConnId,
    payload::Payload,
    reactor::DisconnectReason,
    reply::{Answer, Reply},
    switch::{Notice, Origin, SwitchEvent},
};

/// What happened.
#[derive(Debug)]
pub enum PexInput {
    /// It begins: peers are looked for from now on.
    Start,
    /// Nothing but that time has passed.
    Timeout,
    /// Somebody wants something.
    Request(PexRequest),
    /// A session began.
    PeerUp(PeerFacts),
    /// A message on channel 0x00.
    Message {
        /// Whose.
        conn: ConnId,
        /// Its bytes.
        payload: Payload,
    },
    /// A session is over.
    PeerDown {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: Arc<DisconnectReason>,
    },
    /// A [`Send`](PexOutput::Send) that was a request has not gone out: the peer does not read, or
    /// its session is over.
    NotSent(ConnId),
    /// The switch tells.
    Notice(Notice),
    /// The store cannot write. At most once a minute.
    StoreFailed(String),
    /// Store what is left and end.
    Stop,
}

impl PexInput {
    /// Whether a reactor says what it thinks of a peer. Drivers take what sessions tell before that
    /// first.
    pub fn is_verdict(&self) -> bool {
        use PexRequest::{MarkBad, MarkGood};
        matches!(self, Self::Request(MarkGood { .. } | MarkBad { .. }))
    }
}

/// What handles ask for.
#[derive(Debug)]
pub enum PexRequest {
    /// An operator's ban.
    Ban {
        /// Whom.
        target: BanTarget,
        /// For how long; `None`: until it is lifted.
        duration: Option<Duration>,
        /// Why, for people.
        reason: String,
        /// The ban as it stands in the table now.
        reply: Reply<Result<Ban, BanError>>,
    },
    /// An operator's bans of a whole list, or none of them.
    BanMany {
        /// Whom.
        targets: Vec<BanTarget>,
        /// For how long; `None`: until they are lifted.
        duration: Option<Duration>,
        /// Why, for people.
        reason: String,
        /// The bans, or the first target that cannot be banned, by its place from 0.
        reply: Reply<Result<Vec<Ban>, (usize, BanError)>>,
    },
    /// Lift a ban.
    Unban {
        /// The target it was imposed with.
        target: BanTarget,
        /// The ban that was lifted.
        reply: Reply<Result<Ban, UnbanError>>,
    },
    /// Do not dial a node for a while.
    MarkBad {
        /// The node.
        id: NodeId,
        /// Where it was thought to be.
        addr: Option<NetAddress>,
        /// For how long.
        duration: Duration,
        /// Why, for people.
        reason: String,
    },
    /// A node behaved well.
    MarkGood {
        /// The node.
        id: NodeId,
    },
    /// A node's address is bad no more.
    Reinstate {
        /// The node.
        id: NodeId,
        /// Whether it was bad.
        reply: Reply<bool>,
    },
    /// Tell nobody the addresses of these nodes.
    AddPrivate {
        /// The nodes.
        ids: Vec<NodeId>,
    },
    /// Addresses of these nodes may be told again.
    RemovePrivate {
        /// The nodes.
        ids: Vec<NodeId>,
    },
    /// Which addresses may be dialed?
    Candidates {
        /// Only nodes after this one.
        after: Option<NodeId>,
        /// No more than so many.
        limit: usize,
        /// Not these: the switch has something to say of them.
        besides: BTreeSet<NodeId>,
        /// A page of them.
        reply: Reply<Candidates>,
    },
    /// Which addresses are bad? By ID.
    BadAddresses(Reply<Vec<BadAddress>>),
    /// Dial up to so many peers from now on.
    SetMaxOutbound(usize),
    /// Look for peers now; for another one if there are enough.
    MorePeers,
    /// What is in the book?
    Book(Reply<BookView>),
    /// The book as `addrbook.json`.
    Export(Reply<Vec<u8>>),
    /// Add what the book does not know.
    Import {
        /// What was read.
        imported: ImportedBook,
        /// What became of the addresses.
        reply: Reply<ImportReport>,
    },
}

/// What the driver does next.
#[derive(Debug)]
pub enum PexOutput {
    /// Give the table to whoever looks into it.
    Publish {
        /// Every ban.
        table: Arc<BanTable>,
        /// The new ones among them: their targets are to be disconnected.
        added: Vec<Ban>,
    },
    /// Answer a request.
    Answer(Answer),
    /// Have it written.
    Store {
        /// What has changed.
        batch: StoreBatch,
        /// At once, not within a second.
        is_urgent: bool,
    },
    /// Send this on channel 0x00. If it is a request and is not accepted, say
    /// [`NotSent`](PexInput::NotSent).
    Send {
        /// To whom.
        conn: ConnId,
        /// The message.
        message: Vec<u8>,
        /// It asks for addresses.
        is_request: bool,
    },
    /// Have the switch end the session once everything is sent.
    Evict {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: DisconnectReason,
    },
    /// End the session at once.
    Stop {
        /// Which.
        conn: ConnId,
        /// What the peer did.
        reason: String,
    },
    /// Have the switch dial. Its failure comes back; its success is a session.
    Dial {
        /// Whom.
        addr: PeerAddress,
        /// For which the switch dials.
        origin: Origin,
    },
    /// Tell those who listen to the switch.
    Event(SwitchEvent),
    /// Tell people.
    Notice(PexNotice),
}

/// What people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PexNotice {
    /// The store cannot write, and why. What has changed is kept and tried again.
    StoreFailed(String),
    /// So many addresses were told to a strict book that has none, and none of them is routable: most
    /// likely this is a private network. Once an hour at most.
    NoneRoutable(u64),
    /// `Config::pex_bias` is not as it should be, and how. Said once.
    UnfitBias(String),
}
