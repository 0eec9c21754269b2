//! Where a server listens, as settings say it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
};

use mio::net::TcpListener;
use socket2::{Domain, Socket, Type};
use tmp2p::ListenAddress;

/// Connections that may wait to be accepted, as for mio's own listeners.
const BACKLOG: i32 = 1024;

/// The addresses of a list like `tcp://127.0.0.1:26657,tcp://10.0.0.1:26657`; none of them, and
/// nobody listens. As in Go, an address without a host is every one of this machine.
pub(crate) fn list(text: &str) -> Result<Vec<ListenAddress>, String> {
    let one = |text: &str| {
        let (scheme, addr) = text.split_once("://").unwrap_or(("tcp", text));
        let why = |why: &dyn std::fmt::Display| format!("{text:?}: {why}; write tcp://IP:PORT");
        if !scheme.eq_ignore_ascii_case("tcp") {
            return Err(why(&format_args!("{scheme} is not served")));
        }
        let all = if addr.starts_with(':') { "[::]" } else { "" };
        format!("{all}{addr}").parse().map_err(|error| why(&error))
    };
    text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(one).collect()
}

/// A socket that listens there; at every address it is one of IPv6 that takes IPv4 as well, if there is
/// IPv6.
pub(super) fn bind(laddr: &ListenAddress) -> io::Result<TcpListener> {
    let addr = resolve(laddr)?;
    if !(addr.is_ipv6() && addr.ip().is_unspecified()) {
        return TcpListener::bind(addr);
    }
    let Ok(socket) = Socket::new(Domain::IPV6, Type::STREAM, None) else {
        return TcpListener::bind((Ipv4Addr::UNSPECIFIED, addr.port()).into());
    };
    socket.set_only_v6(false)?;
    // As mio does it: so a server that was stopped can be started again at once.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What to bind a socket to. Of the addresses of a name it is one, as in Go: the first of IPv4 if
/// there is one.
fn resolve(laddr: &ListenAddress) -> io::Result<SocketAddr> {
    if let Some(addr) = laddr.socket_addr() {
        return Ok(addr);
    }
    let found: Vec<SocketAddr> =
        (laddr.host().to_string(), laddr.port()).to_socket_addrs()?.collect();
    let first = found.iter().find(|addr| addr.is_ipv4()).or(found.first()).copied();
    first.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}
