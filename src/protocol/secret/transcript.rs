//! What both sides sign: a hash of the key exchange.

use merlin::Transcript;

/// The challenge of a session, from the two ephemeral public keys in bytewise order and their
/// shared secret. Each side proves its identity by signing it.
///
/// Both keys and the secret enter, so a signature is of no use in any other session and neither
/// key can be replaced on the way.
pub fn challenge(low: &[u8; 32], high: &[u8; 32], dh_secret: &[u8; 32]) -> [u8; 32] {
    let mut transcript = Transcript::new(b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH");
    transcript.append_message(b"EPHEMERAL_LOWER_PUBLIC_KEY", low);
    transcript.append_message(b"EPHEMERAL_UPPER_PUBLIC_KEY", high);
    transcript.append_message(b"DH_SECRET", dh_secret);
    let mut challenge = [0; 32];
    transcript.challenge_bytes(b"SECRET_CONNECTION_MAC", &mut challenge);
    challenge
}
