//! Where a server listens, as settings say it.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use tmp2p::ListenAddress;

/// The addresses of a list like `tcp://127.0.0.1:26657,tcp://10.0.0.1:26657`; none of them, and
/// nobody listens. As in Go, an address without a host is every one of this machine (here IPv4's).
pub(crate) fn list(text: &str) -> Result<Vec<ListenAddress>, String> {
    let one = |text: &str| {
        let (scheme, addr) = text.split_once("://").unwrap_or(("tcp", text));
        let why = |why: &dyn std::fmt::Display| format!("{text:?}: {why}; write tcp://IP:PORT");
        if !scheme.eq_ignore_ascii_case("tcp") {
            return Err(why(&format_args!("{scheme} is not served")));
        }
        let all = if addr.starts_with(':') { "0.0.0.0" } else { "" };
        format!("{all}{addr}").parse().map_err(|error| why(&error))
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
}

/// What to bind a socket to. Of the addresses of a name it is one, as in Go: the first of IPv4 if
/// there is one.
pub(super) fn resolve(laddr: &ListenAddress) -> io::Result<SocketAddr> {
    if let Some(addr) = laddr.socket_addr() {
        return Ok(addr);
    }
    let found: Vec<SocketAddr> =
        (laddr.host().to_string(), laddr.port()).to_socket_addrs()?.collect();
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first()).copied();
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}
