//! A place to listen at, without an ID.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use super::{AddressError, Host, host, without_scheme};

/// Where a node listens, or says that it does: `tcp://host:port`.
///
/// The default is `tcp://127.0.0.1:0`: reachable from this machine only, port chosen by the system.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenAddress {
    host: Host,
    port: u16,
}

impl ListenAddress {
    /// An IP address or a name.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port; 0 lets the system choose one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What to bind a socket to, if the host is an IP address and needs no look-up.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.host.ip().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().into(), port: address.port() }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tcp://")?;
        self.host.fmt_with_port(self.port, f)
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    /// Parses `tcp://host:port` or `host:port`; whatever the scheme is, it is read as TCP.
    ///
    /// # Errors
    /// [`AddressError::Invalid`] also for an address with an ID in it.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (host, port) = host::split_host_port(without_scheme(text))
            .map_err(|reason| AddressError::invalid(text, reason))?;
        if !host.is_plausible() {
            return Err(AddressError::invalid(text, host::IMPLAUSIBLE_NAME));
        }
        Ok(Self { host, port })
    }
}

crate::text::as_text!(ListenAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_shows() {
        for (written, shown) in [
            ("tcp://0.0.0.0:26656", "tcp://0.0.0.0:26656"),
            ("0.0.0.0:26656", "tcp://0.0.0.0:26656"),
            ("tcp://[::]:0", "tcp://[::]:0"),
            ("tcp://[::ffff:127.0.0.1]:1", "tcp://127.0.0.1:1"),
            ("node.example.com:1", "tcp://node.example.com:1"),
        ] {
            let address: ListenAddress = written.parse().unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.to_string().parse(), Ok(address.clone()));
            assert_eq!(
                address.socket_addr().map(ListenAddress::from),
                address.host().ip().map(|_| address)
            );
        }
        assert_eq!(ListenAddress::default(), "tcp://127.0.0.1:0".parse().unwrap());
    }

    #[test]
    fn refuses_what_nobody_can_listen_at() {
        let with_id = "tcp://ed99ea2d90b79612618deaed7cdde9e9786223b7@1.2.3.4:1";
        for text in ["", "tcp://", ":1", "tcp://:1", "1.2.3.4", "1.2.3.4:65536", "a b:1", with_id] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(matches!(error, AddressError::Invalid { .. }), "{text}: {error}");
        }
    }
}
