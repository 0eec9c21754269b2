//! An address that is not dialed for a while.

use std::time::Duration;

use crate::{address::NetAddress, identity::NodeId};

/// A node that is not dialed, and whose address is not passed on, until a time. It may dial us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    /// The node.
    pub id: NodeId,
    /// Where it was thought to be, if that is known.
    pub addr: Option<NetAddress>,
    /// When it may be tried again, since the Unix epoch.
    pub until: Duration,
    /// Why, for people.
    pub reason: String,
}
