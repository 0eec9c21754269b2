//! The peer is known, and nothing flows yet.

use crate::{
    identity::NodeId,
    protocol::secret::{Cipher, Opener, Sealer},
};

/// A connection whose peer has authenticated itself and sent its NodeInfo, which is valid and
/// compatible. It holds less than a frame of what the peer sent beyond.
pub struct Established<C: Cipher> {
    pub(super) sealer: Sealer<C>,
    pub(super) opener: Opener<C>,
    pub(super) peer_id: NodeId,
    /// What followed the NodeInfo in its last frame, opened.
    pub(super) rest: Vec<u8>,
}

impl<C: Cipher> Established<C> {
    /// Who is at the other end.
    pub fn peer_id(&self) -> NodeId {
        self.peer_id
    }
}
