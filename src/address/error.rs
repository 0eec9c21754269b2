//! What can be wrong with the text of an address.

use std::fmt;

use crate::text::shown;

/// A text is no address of the wanted kind. What it quotes of the text is shortened and made
/// printable.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is not exactly one `@` that splits an ID from a location.
    #[error("address \"{address}\" has no node id; write it as id@host:port")]
    NoId {
        /// The text.
        address: String,
    },
    /// Something in it makes no sense.
    #[error("invalid address \"{address}\": {reason}")]
    Invalid {
        /// The text.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The host is a name, and only an IP address will do here.
    #[error(
        "address \"{address}\" names a host where an IP address is needed; it has to be looked up first"
    )]
    LookupNeeded {
        /// The text.
        address: String,
    },
}

crate::text::readable_debug!(AddressError);

impl AddressError {
    pub(super) fn no_id(address: &str) -> Self {
        Self::NoId { address: shown(address) }
    }

    pub(super) fn invalid(address: &str, reason: impl fmt::Display) -> Self {
        Self::Invalid { address: shown(address), reason: reason.to_string() }
    }

    pub(super) fn lookup_needed(address: &str) -> Self {
        Self::LookupNeeded { address: shown(address) }
    }
}
