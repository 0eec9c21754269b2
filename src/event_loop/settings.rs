//! What the event loop is told at its start.

use std::time::Duration;

use super::GateSettings;
use crate::{config::Config, protocol::LinkSettings};

/// Everything that the loop has to know.
#[derive(Clone)]
pub struct LoopSettings {
    /// Number of this loop in a [`ConnId`](crate::ConnId).
    pub event_loop: u8,
    /// What every connection needs.
    pub link: LinkSettings,
    /// How many reactors there are.
    pub reactors: usize,
    /// From `connect` to an established TCP connection.
    pub dial_timeout: Duration,
    /// From accept, or from the established TCP connection, to the peer's valid NodeInfo: one
    /// deadline over everything, so that a peer that sends a byte now and then gains nothing.
    pub handshake_timeout: Duration,
    /// From the peer's NodeInfo to the switch's verdict: longer than a switch needs that is not held
    /// up, so that what waits behind a hook, a filter or a logger is bounded in time, too.
    pub verdict_timeout: Duration,
    /// How long a close waits for the peer to take what is to be written.
    pub close_timeout: Duration,
    /// How long messages that arrived before the end of the stream wait for room in a budget.
    pub drain_timeout: Duration,
    /// Bytes of undelivered messages per connection, see `Config::parking_per_peer`.
    pub parking_per_peer: usize,
    /// The same over all connections.
    pub parking_total: usize,
    /// Bytes that all reactors together may hold, see `Config::delivered_total`.
    pub delivered_total: usize,
    /// Bytes of unfinished messages over all connections.
    pub reassembly_pool: usize,
    /// Who may begin a handshake.
    pub gate: GateSettings,
    /// Accepted connections wait for `Filtered` before anything is sent or read.
    pub filter_connections: bool,
}

impl LoopSettings {
    /// What of the configuration concerns it, of the only loop: with so many reactors, and nobody who
    /// filters connections. `verdict_timeout` is how long the switch may take.
    pub fn of(
        config: &Config,
        link: LinkSettings,
        reactors: usize,
        verdict_timeout: Duration,
    ) -> Self {
        Self {
            event_loop: 0,
            link,
            reactors,
            dial_timeout: config.dial_timeout,
            handshake_timeout: config.handshake_timeout,
            verdict_timeout,
            close_timeout: config.close_timeout,
            drain_timeout: config.drain_timeout,
            parking_per_peer: config.parking_per_peer,
            parking_total: config.parking_total,
            delivered_total: config.delivered_total,
            reassembly_pool: config.reassembly_pool,
            gate: GateSettings::of(config),
            filter_connections: false,
        }
    }
}
