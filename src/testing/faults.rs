//! What hosts cannot do by themselves.

use std::{collections::BTreeSet, io, net::SocketAddr};

/// Hosts and addresses where something is wrong.
#[derive(Debug, Default)]
pub struct Faults {
    /// Hosts that have no file descriptor left.
    pub out_of_files: BTreeSet<usize>,
    /// Hosts whose link is down: no route leads anywhere.
    pub without_link: BTreeSet<usize>,
    /// No route of anybody leads there.
    pub no_route: BTreeSet<SocketAddr>,
    /// Nobody has an address to connect from to there.
    pub no_address: BTreeSet<SocketAddr>,
}

impl Faults {
    /// Whether the host can open anything.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_files(&self, host: usize) -> io::Result<()> {
        const EMFILE: i32 = 24;
        let is_out = self.out_of_files.contains(&host);
        if is_out { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) }
    }

    /// Whether it can begin to connect to this address.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_connect(&self, host: usize, to: &SocketAddr) -> io::Result<()> {
        self.check_files(host)?;
        if self.no_address.contains(to) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let is_out = self.without_link.contains(&host) || self.no_route.contains(to);
        if is_out { Err(io::ErrorKind::NetworkUnreachable.into()) } else { Ok(()) }
    }
}
