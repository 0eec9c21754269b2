//! Why a handshake fails.

use super::{frame::FrameError, limits::MAX_AUTH_FRAMES};
use crate::{
    identity::NodeId,
    protocol::wire::{DecodeError, DelimitedError},
};

/// Why a handshake failed: in every case because of what the peer sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte is not the length of the ephemeral key's message: it speaks something else,
    /// or has a key of another size.
    #[error("starts with {0:#04x} instead of an ephemeral key")]
    EphemeralLength(u8),
    /// The message with the ephemeral key is not written as it must be, or the key has not 32
    /// bytes.
    #[error("malformed ephemeral key")]
    EphemeralMalformed,
    /// The peer sent our own ephemeral key back.
    #[error("our own ephemeral key was reflected")]
    ReflectedKey,
    /// The shared secret would be known to everybody (all zero).
    #[error("ephemeral key of low order")]
    LowOrderKey,
    /// A frame could not be opened: keys differ (somebody in between), or a broken peer.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The authentication message was not complete after [`MAX_AUTH_FRAMES`] frames.
    #[error("authentication message in more than {MAX_AUTH_FRAMES} frames")]
    TooManyFrames,
    /// The authentication message is longer than [`MAX_AUTH`](super::MAX_AUTH) or has no proper length.
    #[error("authentication message: {0}")]
    AuthLength(#[from] DelimitedError),
    /// The authentication message is not what it must be.
    #[error("malformed authentication message: {0}")]
    AuthMalformed(#[from] DecodeError),
    /// No public key, or one of a kind that nobody knows.
    #[error("no public key in the authentication message")]
    KeyMissing,
    /// A secp256k1 key; nodes have ed25519 keys.
    #[error("public key is not ed25519")]
    KeyType,
    /// The public key has this many bytes instead of 32.
    #[error("public key of {0} bytes")]
    KeyLength(usize),
    /// The signature has this many bytes instead of 64.
    #[error("signature of {0} bytes")]
    SignatureLength(usize),
    /// The signature is not one of this key over this session: somebody in between, or a liar.
    #[error("signature does not verify")]
    BadSignature,
    /// The peer proved to be another one than was dialed.
    #[error("dialed {expected}, reached {actual}")]
    WrongId {
        /// Whom we dialed.
        expected: NodeId,
        /// Who answered.
        actual: NodeId,
    },
}
