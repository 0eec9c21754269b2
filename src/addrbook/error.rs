//! What is wrong with a ban.

use crate::{
    address::Cidr,
    ban::{Ban, BanTarget},
    refused::{Stopped, WrongThread},
};

/// A change is in force and could not be stored: it may not survive a restart. Storing it is tried
/// again.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is in force, but could not be stored and may not survive a restart: {why}")]
pub struct Unstored {
    /// What the call would have given: the bans that were imposed, in the order of the list, or the one
    /// that was lifted.
    pub bans: Vec<Ban>,
    /// Why it is not stored, with all causes.
    pub why: String,
}

crate::text::readable_debug!(Unstored);

/// Why a target was not banned, or not as it should be.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BanError {
    /// There is no switch to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// It is this node.
    #[error("this is the node's own id; it cannot ban itself")]
    OwnId,
    /// It would end at once.
    #[error("a ban for no time; give a duration, or none to ban until it is lifted")]
    ZeroDuration,
    /// Every IPv4 or every IPv6 address would be banned.
    #[error("the range {0} covers every address; to refuse everybody, do not listen")]
    CoversEverything(Cidr),
    /// It is done all the same.
    #[error(transparent)]
    Unstored(#[from] Unstored),
    /// Called on one of the library's own threads.
    #[error(transparent)]
    WrongThread(#[from] WrongThread),
}

crate::text::readable_debug!(BanError);

/// Why no ban was lifted, or not as it should be.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnbanError {
    /// There is no switch to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// There is no ban of exactly this target.
    #[error("there is no ban of {0}; bans are lifted by the target they were imposed with")]
    NotBanned(BanTarget),
    /// It is done all the same.
    #[error(transparent)]
    Unstored(#[from] Unstored),
    /// Called on one of the library's own threads.
    #[error(transparent)]
    WrongThread(#[from] WrongThread),
}

crate::text::readable_debug!(UnbanError);
