//! What each part of a connection's life is given, and what its run ends with.

use std::net::SocketAddr;

use crate::{
    ids::{ConnId, Direction},
    reactor::DisconnectReason,
};

/// What is true of a connection all the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) id: ConnId,
    pub(super) direction: Direction,
    pub(super) remote: SocketAddr,
}

/// What a connection's run ended with.
#[derive(Debug)]
pub(in crate::event_loop) enum Next {
    /// Nothing to do before something happens.
    Wait,
    /// There is more to do, in the next turn.
    Again,
    /// It is over.
    Over(DisconnectReason),
}
