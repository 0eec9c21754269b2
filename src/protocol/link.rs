//! One connection's protocol from the first byte to the last: secret connection, NodeInfo
//! exchange, then MConnection.

use std::{sync::Arc, time::Duration};

use super::{
    mconn::{Filled, Flow, Incoming, MConn, MConnError, MConnSettings, Outgoing, Sink},
    secret::{
        Cipher, Established, FRAME_SEALED, FrameError, FrameWriter, Handshake, HandshakeError,
        KeyAgreement, NonceExhausted, Opener, Progress, Sealer,
    },
    wire,
};
use crate::{
    channel::ChannelDescriptor,
    identity::{NodeId, NodeKey},
    node_info::{Incompatible, MAX_NODE_INFO_SIZE, NodeInfo, NodeInfoError},
    payload::Payload,
    time::Mono,
};

/// Frames of one write while a single channel is pending; `mconn` lowers it while several are.
/// Measured: throughput is flat above 16, and 64 frames fill the 64 KiB that a read takes.
const MAX_BATCH_FRAMES: usize = 64;

/// How many frames a peer may use for its NodeInfo: 267 KB on the wire, for 10 KB in 11 frames at
/// most as everybody writes it. Each costs us about 0.6 µs whatever is in it, so all of them cost less
/// than one and a half of the steps before; without the limit, frames of one byte with empty ones
/// between them are 174,080.
pub const MAX_NODE_INFO_FRAMES: usize = 256;

/// What every connection of a switch needs to know of the switch.
#[derive(Clone)]
pub struct LinkSettings {
    /// Our identity.
    pub key: NodeKey,
    /// What we say of ourselves, and against which peers are judged.
    pub node_info: NodeInfo,
    /// Every channel of the switch, in descriptor order.
    pub channels: Arc<[ChannelDescriptor]>,
    /// Packet sizes, rates, keep-alive.
    pub mconn: MConnSettings,
}

/// The protocol of one connection. `C` is the cipher: ChaCha20-Poly1305, or none in simulations.
///
/// Driven in this order: [`advance`](Self::advance) with everything that arrives until it says
/// `Established`; [`admit`](Self::admit); then [`receive`](Self::receive), [`fill`](Self::fill) and
/// [`handle_timeout`](Self::handle_timeout) in any order. After the first error it is dead.
pub struct Link<C: Cipher> {
    state: State<C>,
    peer_id: Option<NodeId>,
}

enum State<C: Cipher> {
    Secret(Box<Handshake<C>>),
    NodeInfo(Box<Exchange<C>>),
    AwaitingAdmission(Box<Exchange<C>>),
    Open(Box<Open<C>>),
    /// After an error, or a call out of order.
    Dead,
}

/// Both NodeInfos on their way, in sealed frames.
struct Exchange<C: Cipher> {
    sealer: Sealer<C>,
    opener: Opener<C>,
    peer_id: NodeId,
    /// Opened bytes: at first the peer's NodeInfo, at most its largest size and one frame; then
    /// what followed it in its last frame.
    plain: Vec<u8>,
    /// Frames that were opened for it.
    frames: usize,
}

struct Open<C: Cipher> {
    sealer: Sealer<C>,
    opener: Opener<C>,
    mconn: MConn,
    /// Opened bytes that came after the message at which the receiver said stop: less than a frame,
    /// or what followed the NodeInfo.
    rest: Vec<u8>,
    nonces: Result<(), NonceExhausted>,
}

/// How far one step of the handshake got.
#[derive(Debug)]
pub enum Step {
    /// More bytes are needed.
    NeedMore,
    /// One expensive step (about 110 µs) was done; call again, now or later.
    Stepped,
    /// The peer is authenticated, its NodeInfo is valid and compatible.
    Established(NodeId, Box<NodeInfo>),
}

/// How far `receive` got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Sealed bytes that were consumed: whole frames.
    pub consumed: usize,
    /// The receiver said stop: no further frame was opened.
    pub stopped: bool,
}

/// What the peer did wrong, or that it is not the peer we want.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The secret connection could not be established.
    #[error("secret connection: {0}")]
    Handshake(HandshakeError),
    /// A frame is not authentic, or empty once too often.
    #[error("sealed frame: {0}")]
    Frame(FrameError),
    /// The counter of our own frames is used up.
    #[error("{0}")]
    Nonce(NonceExhausted),
    /// The dialed node is somebody else.
    #[error("wrong node: dialed {expected}, authenticated as {actual}")]
    WrongId {
        /// The ID that was dialed.
        expected: NodeId,
        /// The ID that was authenticated.
        actual: NodeId,
    },
    /// The peer has our own key.
    #[error("connected to ourselves")]
    SelfConnection,
    /// The peer announces a NodeInfo larger than any may be.
    #[error("node info of {0} bytes, the limit is {MAX_NODE_INFO_SIZE}")]
    NodeInfoTooLarge(u64),
    /// The peer's NodeInfo was not complete after [`MAX_NODE_INFO_FRAMES`] frames.
    #[error("node info in more than {MAX_NODE_INFO_FRAMES} frames")]
    NodeInfoFrames,
    /// The peer's NodeInfo has no readable length.
    #[error("node info without a length")]
    NodeInfoLength,
    /// The peer's NodeInfo cannot be read or is not valid.
    #[error("node info: {0}")]
    NodeInfo(NodeInfoError),
    /// The peer's NodeInfo names another ID than the one it authenticated.
    #[error("node info of {}, who has authenticated as {authenticated}", claimant(.claimed))]
    ForeignNodeInfo {
        /// The ID in the NodeInfo.
        claimed: Option<NodeId>,
        /// The ID that was authenticated.
        authenticated: NodeId,
    },
    /// The peer cannot be a peer of ours.
    #[error("incompatible: {0}")]
    Incompatible(Incompatible),
    /// The peer broke the rules of the multiplexed connection, or did not answer a ping.
    #[error("{0}")]
    MConn(MConnError),
    /// The link was used after its end.
    #[error("the link is over")]
    Dead,
}

fn claimant(claimed: &Option<NodeId>) -> String {
    claimed.map_or_else(|| "nobody".to_owned(), |id| id.to_string())
}

impl LinkError {
    /// A stable snake_case word, see [`DisconnectReason::kind`](crate::DisconnectReason::kind).
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Handshake(_) | Self::Frame(_) => "auth_failure",
            Self::WrongId { .. } => "wrong_id",
            Self::SelfConnection => "self",
            Self::Incompatible(_) => "incompatible",
            Self::MConn(MConnError::PongTimeout) => "pong_timeout",
            _ => "protocol",
        }
    }

    /// Whether the peer did nothing wrong, so that it is to get what was sent before the error and
    /// an orderly end: it then finds its own reason (we are as incompatible to it as it is to us)
    /// and not just a broken connection.
    pub fn is_polite(&self) -> bool {
        matches!(
            self,
            Self::Incompatible(_) | Self::NodeInfo(_) | Self::SelfConnection | Self::WrongId { .. }
        )
    }
}

impl<C: Cipher> Link<C> {
    /// Begins the handshake: the first bytes are appended to `out`. A dialed node must
    /// authenticate as `expected`.
    pub fn start(
        settings: &LinkSettings,
        agreement: KeyAgreement,
        expected: Option<NodeId>,
        out: &mut Vec<u8>,
    ) -> Self {
        let handshake = Handshake::start(settings.key.clone(), agreement, expected, out);
        Self { state: State::Secret(Box::new(handshake)), peer_id: None }
    }

    /// One step of the handshake: takes from the front of `input` what it can use, appends to
    /// `out` what is to be sent.
    ///
    /// # Errors
    /// What the peer did wrong. `out` may hold bytes that the peer should still get.
    pub fn advance(
        &mut self,
        settings: &LinkSettings,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, LinkError> {
        match std::mem::replace(&mut self.state, State::Dead) {
            State::Secret(handshake) => {
                let progress = handshake.advance(input, out);
                match progress.map_err(handshake_error)? {
                    Progress::NeedMore(handshake) => {
                        self.state = State::Secret(Box::new(handshake));
                        Ok(Step::NeedMore)
                    }
                    Progress::Stepped(handshake) => {
                        self.state = State::Secret(Box::new(handshake));
                        Ok(Step::Stepped)
                    }
                    Progress::Done(established) => {
                        self.peer_id = Some(established.peer_id);
                        let exchange = Exchange::start(settings, established, out)?;
                        self.state = State::NodeInfo(Box::new(exchange));
                        Ok(Step::Stepped)
                    }
                }
            }
            State::NodeInfo(mut exchange) => match exchange.advance(settings, input)? {
                None => {
                    self.state = State::NodeInfo(exchange);
                    Ok(Step::NeedMore)
                }
                Some(theirs) => {
                    let id = exchange.peer_id;
                    self.state = State::AwaitingAdmission(exchange);
                    Ok(Step::Established(id, Box::new(theirs)))
                }
            },
            state @ (State::AwaitingAdmission(_) | State::Open(_)) => {
                self.state = state;
                Ok(Step::NeedMore)
            }
            State::Dead => Err(LinkError::Dead),
        }
    }

    /// Who is at the other end, once authenticated; also after an error.
    pub fn peer_id(&self) -> Option<NodeId> {
        self.peer_id
    }

    /// Opens an established link: from now on messages flow.
    pub fn admit(&mut self, settings: &LinkSettings, now: Mono) {
        self.state = match std::mem::replace(&mut self.state, State::Dead) {
            State::AwaitingAdmission(exchange) => State::Open(Box::new(Open {
                sealer: exchange.sealer,
                opener: exchange.opener,
                mconn: MConn::new(&settings.mconn, &settings.channels, now),
                rest: exchange.plain,
                nonces: Ok(()),
            })),
            state => state,
        };
    }

    /// Opens whole frames in place and hands complete messages to `incoming`, until the frames
    /// are used up or it says stop. With an empty `sealed` only what is left of an earlier frame
    /// is looked at.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub fn receive(
        &mut self,
        sealed: &mut [u8],
        now: Mono,
        incoming: &mut impl Incoming,
    ) -> Result<Received, LinkError> {
        let State::Open(open) = &mut self.state else { return Err(LinkError::Dead) };
        let mut incoming = Stoppable { incoming, stopped: false };
        if !open.rest.is_empty() {
            let rest = std::mem::take(&mut open.rest);
            let used = open.mconn.receive(&rest, now, &mut incoming).map_err(LinkError::MConn)?;
            if used < rest.len() {
                open.rest = rest[used..].to_vec();
            }
        }
        let mut consumed = 0;
        for frame in sealed.chunks_exact_mut(FRAME_SEALED) {
            if incoming.stopped {
                break;
            }
            consumed += FRAME_SEALED;
            let plain = open.opener.open(frame).map_err(LinkError::Frame)?;
            let used = open.mconn.receive(plain, now, &mut incoming).map_err(LinkError::MConn)?;
            open.mconn.end_frame(plain.len());
            if used < plain.len() {
                open.rest = plain[used..].to_vec();
            }
        }
        Ok(Received { consumed, stopped: incoming.stopped })
    }

    /// Seals what is pending into `out`, up to one batch.
    ///
    /// # Errors
    /// Only that the nonces are used up.
    pub fn fill(
        &mut self,
        out: &mut Vec<u8>,
        outgoing: &mut impl Outgoing,
        now: Mono,
    ) -> Result<Filled, LinkError> {
        let State::Open(open) = &mut self.state else { return Err(LinkError::Dead) };
        open.nonces.map_err(LinkError::Nonce)?;
        let mut writer = FrameSink(open.sealer.writer(out, MAX_BATCH_FRAMES));
        let filled = open.mconn.fill(&mut writer, outgoing, now);
        // What was sealed before the last nonce may still go out; the next call ends the session.
        open.nonces = writer.0.finish().map(drop);
        Ok(filled)
    }

    /// Time has passed: keep-alive.
    ///
    /// # Errors
    /// The peer did not answer in time.
    pub fn handle_timeout(&mut self, now: Mono) -> Result<(), LinkError> {
        match &mut self.state {
            State::Open(open) => open.mconn.handle_timeout(now).map_err(LinkError::MConn),
            _ => Ok(()),
        }
    }

    /// Asks for a sign of life: sends a ping now, unless one is unanswered.
    pub fn probe(&mut self, now: Mono) {
        if let State::Open(open) = &mut self.state {
            open.mconn.probe(now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.open()?.mconn.next_deadline()
    }

    /// Whether a ping or pong waits to be written.
    pub fn wants_control(&self) -> bool {
        self.open().is_some_and(|open| open.mconn.wants_control())
    }

    /// Whether opened bytes wait for the receiver.
    pub fn has_rest(&self) -> bool {
        self.open().is_some_and(|open| !open.rest.is_empty())
    }

    /// Plain bytes that the receive rate allows now; 0 means not before
    /// [`recv_deadline`](Self::recv_deadline).
    pub fn recv_allowance(&mut self, now: Mono) -> usize {
        match &mut self.state {
            State::Open(open) => open.mconn.recv_allowance(now),
            _ => usize::MAX,
        }
    }

    /// When the receive rate allows more.
    pub fn recv_deadline(&self) -> Option<Mono> {
        self.open()?.mconn.recv_deadline()
    }

    /// There are bytes to read that we do not read: the peer's pongs may be among them.
    pub fn suspend_reading(&mut self, now: Mono) {
        if let State::Open(open) = &mut self.state {
            open.mconn.suspend_reading(now);
        }
    }

    /// We have read up to the end of what there is.
    pub fn resume_reading(&mut self, now: Mono) {
        if let State::Open(open) = &mut self.state {
            open.mconn.resume_reading(now);
        }
    }

    /// Bytes held by unfinished messages.
    pub fn reassembly_bytes(&self) -> usize {
        self.open().map_or(0, |open| open.mconn.reassembly_bytes())
    }

    /// Last measured round trip of a ping.
    pub fn rtt(&self) -> Option<Duration> {
        self.open()?.mconn.rtt()
    }

    fn open(&self) -> Option<&Open<C>> {
        match &self.state {
            State::Open(open) => Some(open),
            _ => None,
        }
    }
}

impl<C: Cipher> Exchange<C> {
    /// Authenticated: our NodeInfo goes out.
    fn start(
        settings: &LinkSettings,
        established: Established<C>,
        out: &mut Vec<u8>,
    ) -> Result<Self, LinkError> {
        let Established { mut sealer, opener, peer_id, rest, .. } = established;
        let ours = settings.node_info.encode_delimited();
        let mut writer = sealer.writer(out, ours.len() / super::secret::FRAME_DATA + 1);
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

/// Remembers that the receiver said stop, also when it said so at the very end of a frame.
struct Stoppable<'a, I> {
    incoming: &'a mut I,
    stopped: bool,
}

impl<I: Incoming> Incoming for Stoppable<'_, I> {
    fn message(&mut self, channel: usize, payload: Payload) -> Flow {
        let flow = self.incoming.message(channel, payload);
        self.stopped = flow == Flow::Stop;
        flow
    }
}

struct FrameSink<'a, C: Cipher>(FrameWriter<'a, C>);

impl<C: Cipher> Sink for FrameSink<'_, C> {
    fn room(&self) -> usize {
        self.0.room()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.put(bytes);
    }

    fn limit_frames(&mut self, frames: usize) {
        self.0.set_max_frames(frames);
    }
}
