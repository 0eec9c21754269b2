//! What is wrong with a ban.

use crate::{address::Cidr, ban::BanTarget};

/// Why a target was not banned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BanError {
    /// The switch has stopped.
    #[error("the switch has stopped")]
    Stopped,
    /// It is this node.
    #[error("this is the node's own id; it cannot ban itself")]
    OwnId,
    /// It would end at once.
    #[error("a ban for no time; give a duration, or none to ban until it is lifted")]
    ZeroDuration,
    /// Every IPv4 or every IPv6 address would be banned.
    #[error("the range {0} covers every address; to refuse everybody, do not listen")]
    CoversEverything(Cidr),
    /// Called on one of the library's own threads, which must not wait.
    #[error("banning on a thread of the switch")]
    WrongThread,
}

/// Why no ban was lifted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnbanError {
    /// The switch has stopped.
    #[error("the switch has stopped")]
    Stopped,
    /// There is no ban of exactly this target.
    #[error("there is no ban of {0}; bans are lifted by the target they were imposed with")]
    NotBanned(BanTarget),
    /// Called on one of the library's own threads, which must not wait.
    #[error("lifting a ban on a thread of the switch")]
    WrongThread,
}
