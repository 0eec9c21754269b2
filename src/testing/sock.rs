//! One end of a connection.

use std::{collections::VecDeque, net::SocketAddr};

use super::mangle::Mangler;
use crate::time::Mono;

/// Index of a socket; never used again unless the network forgets.
pub type SockId = usize;

/// One end of a connection.
#[derive(Debug)]
pub struct Sock {
    /// Whose it is.
    pub host: usize,
    /// How its owner calls it, until it is closed.
    pub slot: Option<u32>,
    pub(super) remote: SocketAddr,
    /// The other end, once there is one.
    pub peer: Option<SockId>,
    pub(super) stage: Stage,
    /// The send buffer.
    pub(super) out: VecDeque<u8>,
    pub(super) wants_fin: bool,
    pub(super) is_fin_sent: bool,
    pub(super) wants_room: bool,
    pub(super) is_pump_due: bool,
    /// On the way here, each with its time of arrival.
    pub(super) flight: VecDeque<(Mono, Segment)>,
    pub(super) flight_bytes: usize,
    pub(super) last_arrival: Mono,
    /// The receive buffer.
    pub(super) arrived: VecDeque<u8>,
    pub(super) has_eof: bool,
    /// A reset has arrived, and whether nobody was told of it.
    pub(super) is_reset: bool,
    pub(super) error: bool,
    pub(super) is_closed: bool,
    /// Where [`Weather::rearms`]: reading and writing of which nothing was told since the last
    /// `WouldBlock`.
    pub(super) armed: (bool, bool),
    /// What happens to the bytes written here.
    pub mangler: Option<Mangler>,
    /// Bytes that the owner has written.
    pub written: u64,
    /// Bytes that the owner has read.
    pub read: u64,
    /// What is still to happen to it.
    pub(super) happenings: u32,
}

impl Sock {
    /// An end that nobody has written to.
    pub(super) fn new(host: usize, remote: SocketAddr, stage: Stage) -> Self {
        Self {
            host,
            slot: None,
            remote,
            peer: None,
            stage,
            out: VecDeque::new(),
            wants_fin: false,
            is_fin_sent: false,
            wants_room: false,
            is_pump_due: false,
            flight: VecDeque::new(),
            flight_bytes: 0,
            last_arrival: Mono::ZERO,
            arrived: VecDeque::new(),
            has_eof: false,
            is_reset: false,
            error: false,
            is_closed: false,
            armed: (true, true),
            mangler: None,
            written: 0,
            read: 0,
            happenings: 0,
        }
    }

    /// Bytes that have arrived and were not read.
    pub fn num_arrived(&self) -> usize {
        self.arrived.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Connected,
    Refused,
}

#[derive(Debug)]
pub(super) enum Segment {
    Data(Vec<u8>),
    Fin,
    Rst,
}
