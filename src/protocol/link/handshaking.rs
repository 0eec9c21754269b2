//! Secret connection, then both NodeInfos.

use std::sync::Arc;

use super::{Established, LinkError, LinkSettings, MAX_NODE_INFO_FRAMES};
use crate::{
    identity::NodeId,
    node_info::{MAX_NODE_INFO_SIZE, NodeInfo},
    protocol::{
        secret::{
            self, Cipher, FRAME_DATA, FRAME_SEALED, Handshake, HandshakeError, KeyAgreement,
            Opener, Progress, Sealer,
        },
        wire,
    },
};

/// A connection from its first byte until the peer is known. Consumed by each step: after an error
/// there is nothing left to go on with.
pub struct Handshaking<C: Cipher>(State<C>);

enum State<C: Cipher> {
    Secret(Box<Handshake<C>>),
    NodeInfo(Box<Exchange<C>>),
}

/// Both NodeInfos on their way, in sealed frames.
struct Exchange<C: Cipher> {
    sealer: Sealer<C>,
    opener: Opener<C>,
    peer_id: NodeId,
    /// Opened bytes: the peer's NodeInfo, at most its largest size and one frame.
    plain: Vec<u8>,
    /// Frames that were opened for it.
    frames: usize,
}

/// How far one step of the handshake got.
pub enum Step<C: Cipher> {
    /// More bytes are needed. What is left of the input must be shown again, with more behind it.
    NeedMore(Handshaking<C>),
    /// One expensive step (about 110 µs) was done; call again, now or later.
    Stepped(Handshaking<C>),
    /// The peer is authenticated, its NodeInfo is valid and compatible.
    Established(Established<C>, Arc<NodeInfo>),
}

/// A handshake that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What the peer did wrong.
    pub error: LinkError,
    /// Who it is, if it was authenticated before.
    pub peer_id: Option<NodeId>,
}

impl<C: Cipher> Handshaking<C> {
    /// Begins the handshake: the first bytes are appended to `out`. A dialed node must
    /// authenticate as `expected`.
    pub fn start(
        settings: &LinkSettings,
        agreement: KeyAgreement,
        expected: Option<NodeId>,
        out: &mut Vec<u8>,
    ) -> Self {
        let handshake = Handshake::start(settings.key.clone(), agreement, expected, out);
        Self(State::Secret(Box::new(handshake)))
    }

    /// One step of the handshake: takes from the front of `input` what it can use, appends to
    /// `out` what is to be sent.
    ///
    /// # Errors
    /// What the peer did wrong. `out` may hold bytes that the peer should still get.
    pub fn advance(
        self,
        settings: &LinkSettings,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step<C>, Failed> {
        match self.0 {
            State::Secret(handshake) => advance_secret(*handshake, settings, input, out),
            State::NodeInfo(mut exchange) => match exchange.advance(settings, input) {
                Ok(None) => Ok(Step::NeedMore(Self(State::NodeInfo(exchange)))),
                Ok(Some(theirs)) => {
                    let Exchange { sealer, opener, peer_id, plain: rest, .. } = *exchange;
                    let established = Established { sealer, opener, peer_id, rest };
                    Ok(Step::Established(established, Arc::new(theirs)))
                }
                Err(error) => Err(Failed { error, peer_id: Some(exchange.peer_id) }),
            },
        }
    }

    /// Who is at the other end, once authenticated.
    pub fn peer_id(&self) -> Option<NodeId> {
        match &self.0 {
            State::Secret(_) => None,
            State::NodeInfo(exchange) => Some(exchange.peer_id),
        }
    }
}

fn advance_secret<C: Cipher>(
    handshake: Handshake<C>,
    settings: &LinkSettings,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<Step<C>, Failed> {
    let secret = |handshake| Handshaking(State::Secret(Box::new(handshake)));
    match handshake.advance(input, out) {
        Ok(Progress::NeedMore(handshake)) => Ok(Step::NeedMore(secret(handshake))),
        Ok(Progress::Stepped(handshake)) => Ok(Step::Stepped(secret(handshake))),
        Ok(Progress::Done(established)) => {
            let peer_id = established.peer_id;
            match Exchange::start(settings, established, out) {
                Ok(exchange) => Ok(Step::Stepped(Handshaking(State::NodeInfo(Box::new(exchange))))),
                Err(error) => Err(Failed { error, peer_id: Some(peer_id) }),
            }
        }
        Err(error) => Err(Failed { error: handshake_error(error), peer_id: None }),
    }
}

impl<C: Cipher> Exchange<C> {
    /// Authenticated: our NodeInfo goes out.
    fn start(
        settings: &LinkSettings,
        established: secret::Established<C>,
        out: &mut Vec<u8>,
    ) -> Result<Self, LinkError> {
        let secret::Established { mut sealer, opener, peer_id, rest, .. } = established;
        let ours = settings.node_info.encode_delimited();
        let mut writer = sealer.writer(out, ours.len() / FRAME_DATA + 1);
        writer.put(&ours);
        writer.finish().map_err(LinkError::Nonce)?;
        // After ours was written: a Go node takes the ID that it knows itself by from there, and calls
        // a connection that just breaks a failed authentication.
        if peer_id == settings.key.id() {
            return Err(LinkError::SelfConnection);
        }
        Ok(Self { sealer, opener, peer_id, plain: rest, frames: 0 })
    }

    /// Opens frames until the peer's NodeInfo is complete, and judges it.
    fn advance(
        &mut self,
        settings: &LinkSettings,
        input: &mut &[u8],
    ) -> Result<Option<NodeInfo>, LinkError> {
        loop {
            if let Some(theirs) = self.take_node_info()? {
                self.judge(settings, &theirs)?;
                return Ok(Some(theirs));
            }
            let Some((sealed, rest)) = input.split_first_chunk::<FRAME_SEALED>() else {
                return Ok(None);
            };
            if self.frames == MAX_NODE_INFO_FRAMES {
                return Err(LinkError::NodeInfoFrames);
            }
            self.frames += 1;
            *input = rest;
            let mut frame = *sealed;
            self.plain.extend_from_slice(self.opener.open(&mut frame).map_err(LinkError::Frame)?);
        }
    }

    fn take_node_info(&mut self) -> Result<Option<NodeInfo>, LinkError> {
        let Some((len, prefix)) =
            wire::decode_varint(&self.plain).map_err(|_| LinkError::NodeInfoLength)?
        else {
            return Ok(None);
        };
        // One limit for what is buffered before the peer has said who it is.
        if len > MAX_NODE_INFO_SIZE as u64 {
            return Err(LinkError::NodeInfoTooLarge(len));
        }
        let end = prefix + len as usize;
        if self.plain.len() < end {
            return Ok(None);
        }
        let theirs = NodeInfo::decode(&self.plain[prefix..end]).map_err(LinkError::NodeInfo)?;
        self.plain.drain(..end);
        self.plain.shrink_to_fit();
        Ok(Some(theirs))
    }

    fn judge(&self, settings: &LinkSettings, theirs: &NodeInfo) -> Result<(), LinkError> {
        theirs.validate().map_err(LinkError::NodeInfo)?;
        if theirs.id() != Some(self.peer_id) {
            let (claimed, authenticated) = (theirs.id(), self.peer_id);
            return Err(LinkError::ForeignNodeInfo { claimed, authenticated });
        }
        settings.node_info.compatible_with(theirs).map_err(LinkError::Incompatible)
    }
}

fn handshake_error(error: HandshakeError) -> LinkError {
    match error {
        HandshakeError::WrongId { expected, actual } => LinkError::WrongId { expected, actual },
        error => LinkError::Handshake(error),
    }
}
