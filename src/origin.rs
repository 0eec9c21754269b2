//! Who wants a node dialed, and what for.

/// Who wants a node dialed. It goes with the attempt to its end, so that its outcome is told to
/// whoever asked, and with the session that it brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator or the application: no limit applies.
    Operator,
    /// It is a persistent peer: no limit applies.
    Persistent,
    /// Peer exchange.
    Discovery {
        /// What it is dialed for.
        purpose: Purpose,
        /// How often it has tried in vain before.
        failures: u32,
        /// Up to `max_num_outbound_peers` only; else the session is a short one.
        is_limited: bool,
    },
}

/// What peer exchange dials a node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To have enough peers.
    Peers,
    /// To have another peer although there are enough: one of those leaves for it.
    Exchange,
    /// It is a configured seed.
    Seed,
    /// To see whether it is there, and whom it knows.
    Crawl,
    /// To see whether it is still there, before another takes its place in the book.
    Test,
}

impl Origin {
    /// Whether peer exchange asked.
    pub fn is_discovery(&self) -> bool {
        matches!(self, Self::Discovery { .. })
    }

    /// Whether the limit of outbound peers applies.
    pub(crate) fn is_limited(&self) -> bool {
        matches!(self, Self::Discovery { is_limited: true, .. })
    }

    /// What peer exchange asked for.
    pub(crate) fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::Discovery { purpose, .. } => Some(*purpose),
            Self::Operator | Self::Persistent => None,
        }
    }
}
