//! One ephemeral X25519 key, from whoever has one to give.

use std::fmt;

use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    rand::SystemRandom,
};

/// An ephemeral key pair that can be used once.
///
/// The library takes it from ring, whose ephemeral keys can be neither seeded nor imported;
/// tests, fuzzers and simulations supply one that can.
pub struct KeyAgreement {
    /// Our public key, as it is sent.
    pub public: [u8; 32],
    /// From the peer's public key to the shared secret. May answer `None` where the secret would
    /// be all zero; whoever calls it checks the secret all the same.
    pub agree: Box<dyn FnOnce([u8; 32]) -> Option<[u8; 32]> + Send>,
}

impl KeyAgreement {
    /// A fresh key of ring's; `None` if the system's random generator fails.
    pub fn generate() -> Option<Self> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        let agree = move |peer: [u8; 32]| {
            let peer = UnparsedPublicKey::new(&X25519, peer);
            agree_ephemeral(private, &peer, |secret| secret.try_into().ok()).ok().flatten()
        };
        Some(Self { public, agree: Box::new(agree) })
    }
}

impl fmt::Debug for KeyAgreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreement").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_them_agree() {
        let (a, b) = (KeyAgreement::generate().unwrap(), KeyAgreement::generate().unwrap());
        let (a_public, b_public) = (a.public, b.public);
        let secret = (a.agree)(b_public).unwrap();
        assert_eq!((b.agree)(a_public), Some(secret));
        assert_ne!(secret, [0; 32]);
        assert_ne!(a_public, b_public);
    }
}
