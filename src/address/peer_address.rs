//! An ID and a host, as an operator writes it.

use std::{fmt, str::FromStr};

use super::{AddressError, Host, NetAddress, host, split};
use crate::NodeId;

/// A node and where an operator says it is: `id@host:port`. The host may be a name; it is kept as
/// written, to be looked up anew at every dial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    id: NodeId,
    host: Host,
    port: u16,
}

impl PeerAddress {
    /// The node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// An IP address or a name.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same with an IP address, if the host is one and needs no look-up.
    pub fn net_address(&self) -> Option<NetAddress> {
        self.host.ip().map(|ip| NetAddress::new(self.id, ip, self.port))
    }

    /// Whether somebody can be there: a port, and no address that is nobody's.
    pub(crate) fn is_dialable(&self) -> bool {
        self.port() != 0 && self.net_address().is_none_or(|address| address.is_valid())
    }
}

impl From<NetAddress> for PeerAddress {
    fn from(address: NetAddress) -> Self {
        Self { id: address.id(), host: address.ip().into(), port: address.port() }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.id)?;
        self.host.fmt_with_port(self.port, f)
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerAddress {
    type Err = AddressError;

    /// Parses `id@host:port`. A `scheme://` in front is dropped.
    ///
    /// # Errors
    /// [`AddressError::Invalid`] also for a host that cannot be a name in the DNS.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (id, host, port) = split(text)?;
        if !host.is_plausible() {
            return Err(AddressError::invalid(text, host::IMPLAUSIBLE_NAME));
        }
        Ok(Self { id, host, port })
    }
}

crate::text::as_text!(PeerAddress);

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";

    #[test]
    fn names_are_kept_and_ip_addresses_recognised() {
        for (written, shown, ip) in [
            ("seed-1.Example_x.com:26656", "seed-1.Example_x.com:26656", false),
            ("1.2.3.4:026656", "1.2.3.4:26656", true),
            ("[::ffff:1.2.3.4]:1", "1.2.3.4:1", true),
            ("[2A01::1%eth0]:1", "[2a01::1]:1", true),
            ("1.2.3:1", "1.2.3:1", false),
        ] {
            let address: PeerAddress = format!("tcp://{ID}@{written}").parse().unwrap();
            assert_eq!(address.to_string(), format!("{ID}@{shown}"));
            assert_eq!(address.to_string().parse(), Ok(address.clone()));
            assert_eq!(address.host().ip().is_some(), ip);
            match address.net_address() {
                Some(net_address) => assert_eq!(PeerAddress::from(net_address), address),
                None => assert!(!ip),
            }
        }
    }

    #[test]
    fn hosts_that_nobody_can_have_are_refused() {
        let long = "a".repeat(254);
        for host in [" a", "a b", "a\n", "é.com", "1.2.3.4%eth0", "a/b", &long] {
            let error = format!("{ID}@{host}:1").parse::<PeerAddress>().unwrap_err();
            assert!(matches!(error, AddressError::Invalid { .. }), "{error}");
        }
        assert!(format!("{ID}@{}:1", &long[1..]).parse::<PeerAddress>().is_ok());
    }

    #[test]
    fn without_a_port_or_at_nobodys_address_nobody_is_dialed() {
        let id = NodeId::from_bytes([1; 20]);
        for (location, is_dialable) in [
            ("seed.example.com:26656", true),
            ("seed.example.com:0", false),
            ("1.2.3.4:26656", true),
            ("1.2.3.4:0", false),
            ("0.0.0.0:26656", false),
            ("0.0.0.0:0", false),
        ] {
            let address: PeerAddress = format!("{id}@{location}").parse().unwrap();
            assert_eq!(address.is_dialable(), is_dialable, "{location}");
        }
    }
}
