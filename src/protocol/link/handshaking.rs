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
        let mut writer = sealer.writer(out, ours.len().div_ceil(FRAME_DATA));
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
            self.frames = self.frames.saturating_add(1);
            *input = rest;
            let mut frame = *sealed;
            let data = self.opener.open(&mut frame).map_err(LinkError::Frame)?;
            if self.plain.capacity() < self.plain.len().saturating_add(data.len()) {
                // Not twice as much: what a stranger makes us hold is what it has sent.
                self.plain.reserve_exact(FRAME_DATA);
            }
            self.plain.extend_from_slice(data);
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
        let end = prefix.saturating_add(len as usize);
        let Some(theirs) = self.plain.get(prefix..end) else { return Ok(None) };
        let theirs = NodeInfo::decode(theirs).map_err(LinkError::NodeInfo)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identity::NodeKey, protocol::secret::ChaCha};

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed([seed; 32])
    }

    fn node_info(seed: u8) -> NodeInfo {
        LinkSettings::for_test(seed, "chain").node_info
    }

    /// What we make of a peer with this key that sends these bytes in the place of its NodeInfo. `None`: we
    /// wait for more.
    fn judged(seed: u8, bytes: &[u8]) -> Option<Result<Arc<NodeInfo>, Failed>> {
        run(seed, bytes).ok()
    }

    /// The same; an error is who waits for more.
    fn run(seed: u8, bytes: &[u8]) -> Result<Result<Arc<NodeInfo>, Failed>, Handshaking<ChaCha>> {
        let settings = LinkSettings::for_test(1, "chain");
        let (mut to_us, mut to_them) = (Vec::new(), Vec::new());
        let agreement = || KeyAgreement::generate().unwrap();
        let mut ours = Handshaking::<ChaCha>::start(&settings, agreement(), None, &mut to_them);
        let theirs = Handshake::<ChaCha>::start(key(seed), agreement(), None, &mut to_us);
        let mut theirs = Some(theirs);
        loop {
            if let Some(handshake) = theirs.take() {
                let mut input = &to_them[..];
                match handshake.advance(&mut input, &mut to_us).unwrap() {
                    Progress::NeedMore(handshake) | Progress::Stepped(handshake) => {
                        theirs = Some(handshake);
                    }
                    Progress::Done(mut established) => {
                        let frames = bytes.len() / FRAME_DATA + 1;
                        let mut writer = established.sealer.writer(&mut to_us, frames);
                        writer.put(bytes);
                        writer.finish().unwrap();
                    }
                }
                to_them.drain(..to_them.len() - input.len());
            }
            let mut input = &to_us[..];
            let step = ours.advance(&settings, &mut input, &mut to_them);
            let left = input.len();
            to_us.drain(..to_us.len() - left);
            ours = match step {
                Ok(Step::NeedMore(ours)) if theirs.is_none() => return Err(ours),
                Ok(Step::NeedMore(ours) | Step::Stepped(ours)) => ours,
                Ok(Step::Established(_, theirs)) => return Ok(Ok(theirs)),
                Err(failed) => return Ok(Err(failed)),
            };
        }
    }

    fn refused(bytes: &[u8]) -> LinkError {
        let failed = judged(2, bytes).expect("it is judged").expect_err("it is refused");
        assert_eq!(failed.peer_id, Some(key(2).id()), "it was authenticated before");
        failed.error
    }

    #[test]
    fn a_node_info_of_somebody_else_is_refused() {
        let own = judged(2, &node_info(2).encode_delimited()).unwrap().unwrap();
        assert_eq!(own.id(), Some(key(2).id()));
        let error = refused(&node_info(3).encode_delimited());
        let (claimed, authenticated) = (Some(key(3).id()), key(2).id());
        assert_eq!(error, LinkError::ForeignNodeInfo { claimed, authenticated });
    }

    #[test]
    fn a_node_info_that_is_too_long_is_refused_by_its_length() {
        let of = |len: u64| {
            let mut prefix = Vec::new();
            wire::put_varint(len, &mut prefix);
            prefix
        };
        let most = MAX_NODE_INFO_SIZE as u64;
        assert_eq!(judged(2, &of(most)), None, "its bytes may come");
        for len in [most + 1, 1 << 32, u64::MAX] {
            assert_eq!(refused(&of(len)), LinkError::NodeInfoTooLarge(len));
        }
        assert_eq!(refused(&[0xff; 11]), LinkError::NodeInfoLength);
    }

    #[test]
    fn a_node_info_that_is_not_all_there_takes_as_much_memory_as_has_come() {
        let most = MAX_NODE_INFO_SIZE as u64;
        for come in [1, 5000, MAX_NODE_INFO_SIZE - 1] {
            let mut bytes = Vec::new();
            wire::put_varint(most, &mut bytes);
            bytes.resize(bytes.len() + come, 0x0a);
            let Err(Handshaking(State::NodeInfo(exchange))) = run(2, &bytes) else { panic!() };
            let (len, capacity) = (exchange.plain.len(), exchange.plain.capacity());
            assert!(len == bytes.len() && capacity <= len + FRAME_DATA, "{capacity} for {len}");
        }
    }

    /// Both sides sign the same bytes.
    #[test]
    fn who_sends_our_own_signature_back_is_ourselves() {
        let failed = judged(1, &node_info(1).encode_delimited()).unwrap().unwrap_err();
        assert_eq!(failed, Failed { error: LinkError::SelfConnection, peer_id: Some(key(1).id()) });
    }
}
