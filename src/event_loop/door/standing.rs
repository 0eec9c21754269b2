//! What an address counts for.

/// What is known of an address before anything was read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_loop) enum Standing {
    /// Nothing.
    Stranger,
    /// A persistent peer is configured to be there: whatever others of its network do, it comes
    /// through. The limits of a single address hold.
    Known,
    /// Of `exempt_cidrs`: no limit of addresses and networks holds.
    Exempt,
}
