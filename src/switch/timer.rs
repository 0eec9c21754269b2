//! What the switch has to look at again, and when.

use crate::{identity::NodeId, ids::ConnId};

/// What a deadline is about. Whoever is told looks whether it still means anything: deadlines are
/// not taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An attempt is to begin, or its name was not resolved in time.
    Attempt(u64),
    /// A persistent peer is to be dialed.
    Persistent(NodeId),
    /// A duplicate has waited long enough.
    Parked(ConnId),
    /// A session has lasted long enough to count as a success.
    Proven(ConnId),
    /// Filters have not answered in time.
    Filter(u64),
}
