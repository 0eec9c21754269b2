//! What is due when.

use crate::{identity::NodeId, ids::ConnId};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The peer has stayed for some time.
    Proven(ConnId),
    /// The peer has stayed for long.
    Good(ConnId),
    /// The peer had time to answer the crawl.
    Crawled(ConnId),
    /// The peer has used the seed for long enough.
    Overstayed(ConnId),
    /// The node may be asked again.
    Asked(NodeId),
}
