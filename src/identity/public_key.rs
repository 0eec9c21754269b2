//! The public half of a node's key.

use std::fmt;

use ring::signature::{ED25519, UnparsedPublicKey};

/// The public half of a node's ed25519 key.
///
/// Any 32 bytes make one: whether they are a point of the curve shows when a signature is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; PublicKey::LENGTH]);

impl PublicKey {
    /// Bytes of a key.
    pub const LENGTH: usize = 32;

    /// The key with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Whether the holder of the private half signed this message.
    ///
    /// # Errors
    /// [`BadSignature`] if not, or if this is no valid key.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl From<[u8; PublicKey::LENGTH]> for PublicKey {
    fn from(bytes: [u8; PublicKey::LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// The signature is not the key holder's. There is one reason only, so that nothing can be learnt
/// from which check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not belong to the key and the message")]
pub struct BadSignature;
