//! Where nodes are reached: pure text and numbers, nothing here ever asks a resolver.
//!
//! [`NetAddress`] is an ID and an IP address, what the book keeps and peers exchange.
//! [`PeerAddress`] is what an operator writes and may name a host. [`ListenAddress`] has no ID.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod cidr;
mod error;
mod group;
mod host;
mod listen_address;
mod net_address;
mod peer_address;
mod ranges;

pub use cidr::{Cidr, CidrError};
pub use error::AddressError;
pub use group::GroupKey;
pub use host::Host;
pub use listen_address::ListenAddress;
pub use net_address::NetAddress;
pub use peer_address::PeerAddress;

use crate::NodeId;

/// Splits `[scheme://]id@host:port`, with the verdicts and in the order of the reference
/// (`p2p/netaddress.go`, `NewNetAddressString`).
fn split(text: &str) -> Result<(NodeId, Host, u16), AddressError> {
    let address = without_scheme(text);
    let mut parts = address.split('@');
    let (Some(id), Some(location), None) = (parts.next(), parts.next(), parts.next()) else {
        return Err(AddressError::no_id(text));
    };
    let id = id.parse::<NodeId>().map_err(|error| AddressError::invalid(text, error))?;
    let (host, port) =
        host::split_host_port(location).map_err(|reason| AddressError::invalid(text, reason))?;
    Ok((id, host, port))
}

/// What stands behind the first `scheme://`, whatever the scheme, up to a second one: so does the
/// reference.
pub(crate) fn without_scheme(text: &str) -> &str {
    text.split("://").nth(1).unwrap_or(text)
}
