//! An address that is not dialed for a while.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{address::NetAddress, identity::NodeId};

/// A node that is not dialed, and whose address is not passed on, until a time. It may dial us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadAddress {
    /// The node.
    pub id: NodeId,
    /// Where it was thought to be, if that is known.
    pub addr: Option<NetAddress>,
    /// When it may be tried again.
    pub until: SystemTime,
    /// Who says so, and of what.
    pub cause: BadCause,
    /// Why, for people.
    pub reason: String,
}

/// What an address is bad for, and so what makes it good before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadCause {
    /// Its node was of another network or spoke another version. Until it proves to be one of ours,
    /// whoever dials; or until we start again: it may be we who have changed.
    Incompatible,
    /// Attempts to connect have failed for too long: it was not there, had no room or did not want
    /// us. Until it is found there. Or until it dials us, if it was ever found there: a node behind a
    /// NAT dials us, too, and nobody reaches it.
    Unreachable,
    /// The application has found fault with what the node did ([`Peer::mark_bad`]), and nothing else
    /// than the application's word makes that good.
    ///
    /// [`Peer::mark_bad`]: crate::Peer::mark_bad
    Application,
}
