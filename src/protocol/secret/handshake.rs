//! The key exchange: who is at the other end, and under which keys do we talk.
//!
//! ```text
//! ours                                  theirs
//! ephemeral key, clear      ───────▶
//!                           ◀───────    ephemeral key, clear
//!        (X25519, challenge, frame keys, signature: one expensive step)
//! key + signature, sealed   ───────▶
//!                           ◀───────    key + signature, sealed
//!        (verify: the other expensive step)
//! ```
//! Both sides do the same; neither waits for the other before it sends.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    agreement::KeyAgreement,
    auth::AuthSig,
    cipher::Cipher,
    error::HandshakeError,
    frame::{FRAME_SEALED, FrameError, Opener, Sealer},
    key_schedule::{FrameKeys, Side},
    limits::MAX_AUTH_FRAMES,
    transcript::challenge,
};
use crate::{NodeId, NodeKey, PublicKey, protocol::wire::DelimitedReader};

/// Size of the message with the ephemeral key on the wire. There is only one way to write it.
pub const EPHEMERAL: usize = EPHEMERAL_START.len() + 32;

/// `BytesValue` with 32 bytes: its length, its field and wire type, the length of the key.
const EPHEMERAL_START: [u8; 3] = [34, 0x0a, 32];

/// One side of the handshake. Consumed by each step, so that no step can be done twice or out of
/// order, and nothing is left to misuse after an error.
///
/// Before the peer is authenticated this holds, of bytes that the peer chose, at most
/// [`MAX_AUTH`](super::MAX_AUTH); the caller holds at most one incomplete frame ([`FRAME_SEALED`] − 1 bytes).
/// There is no clock in here: the deadline for all of it is the caller's.
#[doc(alias = "MakeSecretConnection")]
#[doc(alias = "SecretConnection")]
pub struct Handshake<C> {
    expected: Option<NodeId>,
    state: State<C>,
}

enum State<C> {
    AwaitingEphemeral { key: NodeKey, agreement: KeyAgreement },
    AwaitingAuth(Box<AwaitingAuth<C>>),
}

struct AwaitingAuth<C> {
    challenge: [u8; 32],
    sealer: Sealer<C>,
    opener: Opener<C>,
    reader: DelimitedReader,
    frames: usize,
}

/// What a call of [`Handshake::advance`] came to.
#[must_use = "the handshake goes on with what is in it"]
pub enum Progress<C> {
    /// The input does not hold enough for the next step. What it still holds must be shown again,
    /// with more behind it.
    NeedMore(Handshake<C>),
    /// One expensive step was done; there may be enough input for another one.
    Stepped(Handshake<C>),
    /// The peer has proven its identity. This call did an expensive step too.
    Done(Established<C>),
}

/// What comes out of a handshake.
pub struct Established<C> {
    /// Seals what we send. The frame with our authentication message was its first.
    pub sealer: Sealer<C>,
    /// Opens what follows in the input.
    pub opener: Opener<C>,
    /// The key that the peer proved to hold.
    pub peer_key: PublicKey,
    /// The ID that follows from it. May be our own.
    pub peer_id: NodeId,
    /// What came behind the authentication message in the same frame, in clear: the start of the
    /// peer's stream, at most 1023 bytes.
    pub rest: Vec<u8>,
}

impl<C: Cipher> Handshake<C> {
    /// Starts as `key`, with an ephemeral key that nobody else uses, and writes our ephemeral key
    /// to `out` (in clear, [`EPHEMERAL`] bytes). `expected` is who was dialed; `None` accepts
    /// anybody.
    pub fn start(
        key: NodeKey,
        agreement: KeyAgreement,
        expected: Option<NodeId>,
        out: &mut Vec<u8>,
    ) -> Self {
        out.extend_from_slice(&EPHEMERAL_START);
        out.extend_from_slice(&agreement.public);
        Self { expected, state: State::AwaitingEphemeral { key, agreement } }
    }

    /// Goes on with what the peer sent, cut anywhere. Takes whole messages and frames from the
    /// front of `input`; what is left there (also after [`Progress::Done`]) stays the caller's.
    /// What must be sent is appended to `out`.
    ///
    /// Does at most one of the two expensive steps (about 110 µs each), so that the caller can
    /// bound its work per turn.
    ///
    /// # Errors
    /// Whatever the error, the connection must be closed. Nothing but our ephemeral key and
    /// authentication message was written.
    pub fn advance(
        self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Progress<C>, HandshakeError> {
        let Self { expected, state } = self;
        match state {
            State::AwaitingEphemeral { key, agreement } => match read_ephemeral(input)? {
                None => {
                    let state = State::AwaitingEphemeral { key, agreement };
                    Ok(Progress::NeedMore(Self { expected, state }))
                }
                Some(theirs) => {
                    let next = agree(&key, agreement, &theirs, out)?;
                    let state = State::AwaitingAuth(Box::new(next));
                    Ok(Progress::Stepped(Self { expected, state }))
                }
            },
            State::AwaitingAuth(mut awaiting) => match awaiting.read_auth(input)? {
                None => {
                    let state = State::AwaitingAuth(awaiting);
                    Ok(Progress::NeedMore(Self { expected, state }))
                }
                Some((auth, rest)) => {
                    Ok(Progress::Done(awaiting.authenticate(&auth, expected, rest)?))
                }
            },
        }
    }
}

/// The peer's ephemeral key, once all of it is there. Judges each byte as soon as it can: what
/// speaks another protocol is refused at its first byte.
fn read_ephemeral(input: &mut &[u8]) -> Result<Option<[u8; 32]>, HandshakeError> {
    if let Some(&first) = input.first()
        && first != EPHEMERAL_START[0]
    {
        return Err(HandshakeError::EphemeralLength(first));
    }
    if input.iter().zip(&EPHEMERAL_START).any(|(got, expected)| got != expected) {
        return Err(HandshakeError::EphemeralMalformed);
    }
    let message = input.split_at_checked(EPHEMERAL_START.len());
    let Some((key, rest)) = message.and_then(|(_, key)| key.split_first_chunk()) else {
        return Ok(None);
    };
    *input = rest;
    Ok(Some(*key))
}

/// The first expensive step: agree on the keys, sign, and write our authentication message in a
/// frame of its own (there are peers that expect it alone in one).
fn agree<C: Cipher>(
    key: &NodeKey,
    agreement: KeyAgreement,
    theirs: &[u8; 32],
    out: &mut Vec<u8>,
) -> Result<AwaitingAuth<C>, HandshakeError> {
    let ours = agreement.public;
    if ours == *theirs {
        return Err(HandshakeError::ReflectedKey);
    }
    let dh_secret = (agreement.agree)(*theirs).map(Zeroizing::new);
    // The secret decides, not a list of points: there are many encodings of each bad one.
    let dh_secret = dh_secret
        .filter(|secret| secret.iter().fold(0, |any, byte| any | byte) != 0)
        .ok_or(HandshakeError::LowOrderKey)?;

    let (side, low, high) =
        if ours < *theirs { (Side::Low, &ours, theirs) } else { (Side::High, theirs, &ours) };
    let challenge = challenge(low, high, &dh_secret);
    let keys = FrameKeys::derive(&dh_secret, side);

    let auth = AuthSig { key: *key.public_key().as_bytes(), signature: key.sign(&challenge) };
    let mut sealer = Sealer::new(&keys.send);
    let mut writer = sealer.writer(out, 1);
    writer.put(&auth.encode());
    writer.finish().map_err(FrameError::from)?;

    Ok(AwaitingAuth {
        challenge,
        sealer,
        opener: Opener::new(&keys.recv),
        reader: AuthSig::reader(),
        frames: 0,
    })
}

impl<C: Cipher> AwaitingAuth<C> {
    /// Opens frames until the peer's message is complete; with it comes what followed in its
    /// last frame.
    fn read_auth(
        &mut self,
        input: &mut &[u8],
    ) -> Result<Option<(AuthSig, Vec<u8>)>, HandshakeError> {
        while let Some((sealed, rest)) = input.split_first_chunk::<FRAME_SEALED>() {
            if self.frames == MAX_AUTH_FRAMES {
                return Err(HandshakeError::TooManyFrames);
            }
            self.frames = self.frames.saturating_add(1);
            *input = rest;
            let mut frame = *sealed;
            let mut data = self.opener.open(&mut frame)?;
            if let Some(body) = self.reader.read(&mut data)? {
                return Ok(Some((AuthSig::decode(&body)?, data.to_vec())));
            }
        }
        Ok(None)
    }

    /// The second expensive step: verify. The signature comes first: who cannot prove an identity
    /// is not reported as having it.
    fn authenticate(
        self,
        auth: &AuthSig,
        expected: Option<NodeId>,
        rest: Vec<u8>,
    ) -> Result<Established<C>, HandshakeError> {
        let peer_key = PublicKey::from(auth.key);
        peer_key
            .verify(&self.challenge, &auth.signature)
            .map_err(|_| HandshakeError::BadSignature)?;
        let peer_id = NodeId::from_public_key(&peer_key);
        match expected {
            Some(expected) if expected != peer_id => {
                Err(HandshakeError::WrongId { expected, actual: peer_id })
            }
            _ => Ok(Established {
                sealer: self.sealer,
                opener: self.opener,
                peer_key,
                peer_id,
                rest,
            }),
        }
    }
}

impl<C> fmt::Debug for Handshake<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::AwaitingEphemeral { .. } => "awaiting ephemeral key",
            State::AwaitingAuth(_) => "awaiting authentication",
        };
        f.debug_struct("Handshake").field("state", &state).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Progress<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedMore(handshake) => f.debug_tuple("NeedMore").field(handshake).finish(),
            Self::Stepped(handshake) => f.debug_tuple("Stepped").field(handshake).finish(),
            Self::Done(established) => f.debug_tuple("Done").field(established).finish(),
        }
    }
}

impl<C> fmt::Debug for Established<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("peer_id", &self.peer_id)
            .field("rest", &self.rest.len())
            .finish_non_exhaustive()
    }
}
