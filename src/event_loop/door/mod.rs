//! The door: who is let in, who waits, who goes for somebody else, and what the switch is told of
//! strangers. Knows slots by number and nothing of what is in them.

mod counts;
mod gate;
mod networks;
mod pool;
mod rates;
mod share;
#[cfg(test)]
mod siege;
mod standing;
mod telling;

use std::net::IpAddr;

pub(crate) use counts::Counts;
use gate::Gate;
pub use gate::GateSettings;
pub(crate) use networks::{around, networks};
use pool::Pool;
pub(super) use pool::{Class, Place};
pub(crate) use rates::{Buckets, Pace};
pub(super) use telling::Telling;

use crate::{reactor::DisconnectReason, time::Now};

/// Who is let in.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) gate: Gate,
    pub(super) pool: Pool,
    pub(super) telling: Telling,
    most_pending: usize,
    most_connections: usize,
}

impl Door {
    pub(super) fn new(settings: GateSettings) -> Self {
        Self {
            most_pending: settings.max_pending,
            most_connections: settings.max_connections,
            gate: Gate::new(settings),
            pool: Pool::default(),
            telling: Telling::default(),
        }
    }

    /// Whether a connection from this canonical address may take a place.
    pub(super) fn enter(
        &mut self,
        ip: IpAddr,
        slot: u32,
        now: Now,
    ) -> Result<Place, DisconnectReason> {
        let standing = self.gate.admit(ip, &self.pool, now)?;
        Ok(self.pool.join(slot, Some((ip, standing))))
    }

    /// Whether handshakes may begin: not while the switch has more to look at than it keeps up
    /// with, since whoever gets through would wait for it as well.
    pub(super) fn may_begin(&self) -> bool {
        self.telling.may_ask() && !self.pool.has_unasked()
    }

    /// Who has to go, of so many connections in all stages: the pool holds no more than its limit, and
    /// all together are no more than theirs as long as there is a pending one.
    pub(super) fn one_too_many(&self, connections: usize) -> Option<u32> {
        if self.pool.len() > self.most_pending || connections > self.most_connections {
            return self.pool.first_to_go(self.most_pending);
        }
        None
    }
}
