//! The secret that makes a node who it is.

use std::{fmt, sync::Arc};

use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use zeroize::Zeroizing;

use super::{NodeId, PublicKey};

/// A node's ed25519 key. Whoever holds it is that node.
///
/// Clones share one copy. The seed is wiped from memory when the last clone is dropped; the
/// signing state that ring derives from it is not, ring offers no way to.
#[derive(Clone)]
pub struct NodeKey(Arc<Secret>);

struct Secret {
    seed: Zeroizing<[u8; NodeKey::SEED_LENGTH]>,
    pair: Ed25519KeyPair,
    public_key: PublicKey,
}

impl NodeKey {
    /// Bytes of a seed.
    pub const SEED_LENGTH: usize = 32;

    /// A new key from the operating system's random source.
    ///
    /// # Panics
    /// If the operating system has no random source.
    #[expect(clippy::expect_used, reason = "documented; called where a node is set up")]
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; Self::SEED_LENGTH]);
        SystemRandom::new()
            .fill(&mut *seed)
            .expect("the operating system's random source works once it has booted");
        Self::from_wiped_seed(seed)
    }

    /// The key that grows from this seed (RFC 8032): always the same one.
    pub fn from_seed(seed: [u8; Self::SEED_LENGTH]) -> Self {
        Self::from_wiped_seed(Zeroizing::new(seed))
    }

    #[expect(clippy::expect_used, reason = "ring checks nothing but the length of the seed")]
    fn from_wiped_seed(seed: Zeroizing<[u8; Self::SEED_LENGTH]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .expect("every seed of 32 bytes makes an ed25519 key");
        let mut public_key = [0; PublicKey::LENGTH];
        public_key.copy_from_slice(pair.public_key().as_ref());
        let public_key = PublicKey::from_bytes(public_key);
        Self(Arc::new(Secret { seed, pair, public_key }))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key
    }

    /// The node's name.
    pub fn id(&self) -> NodeId {
        NodeId::from_public_key(&self.0.public_key)
    }

    /// The ed25519 signature of these bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.pair.sign(message).as_ref());
        signature
    }

    pub(super) fn seed(&self) -> &[u8; Self::SEED_LENGTH] {
        &self.0.seed
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BadSignature;

    #[test]
    fn signs_what_its_public_half_accepts_and_nothing_else() {
        let key = NodeKey::from_seed([7; 32]);
        let message = b"challenge";
        let signature = key.sign(message);
        assert_eq!(key.public_key().verify(message, &signature), Ok(()));
        assert_eq!(key.public_key().verify(b"challengf", &signature), Err(BadSignature));
        assert_eq!(
            NodeKey::from_seed([8; 32]).public_key().verify(message, &signature),
            Err(BadSignature)
        );
        for bit in 0..64 * 8 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.public_key().verify(message, &flipped), Err(BadSignature), "bit {bit}");
        }
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(NodeKey::generate().id(), NodeKey::generate().id());
    }

    #[test]
    fn debug_shows_the_id_only() {
        let key = NodeKey::from_seed([7; 32]);
        assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.id()));
    }
}
