//! From the shared secret to the keys of the two directions.

use std::fmt;

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// Which of the two ephemeral public keys is ours, in bytewise order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Ours is the lower one.
    Low,
    /// Ours is the higher one.
    High,
}

/// The frame keys of a session, wiped when dropped.
pub struct FrameKeys {
    /// What the peer seals with.
    pub recv: Zeroizing<[u8; 32]>,
    /// What we seal with.
    pub send: Zeroizing<[u8; 32]>,
}

impl FrameKeys {
    /// The keys that follow from the shared secret, as seen from our side.
    #[expect(clippy::expect_used, reason = "ring checks nothing but the two lengths")]
    pub fn derive(dh_secret: &[u8; 32], side: Side) -> Self {
        // Go derives 96 bytes and has no use for the last 32, the challenge of an older version.
        let mut okm = Zeroizing::new([[0; 32]; 2]);
        Salt::new(HKDF_SHA256, &[])
            .extract(dh_secret)
            .expand(&[b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN"], Length)
            .and_then(|derived| derived.fill(okm.as_flattened_mut()))
            .expect("64 bytes are within what HKDF-SHA256 gives, and as many were asked for");
        let [first, second] = &*okm;
        let (first, second) = (Zeroizing::new(*first), Zeroizing::new(*second));
        match side {
            Side::Low => Self { recv: first, send: second },
            Side::High => Self { recv: second, send: first },
        }
    }
}

impl fmt::Debug for FrameKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameKeys").finish_non_exhaustive()
    }
}

/// Two keys' worth of output.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        64
    }
}
