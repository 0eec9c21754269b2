//! The message that says who we are and proves it.

use super::{error::HandshakeError, limits::MAX_AUTH};
use crate::protocol::wire::{
    DecodeError, DelimitedReader, Fields, put_bytes_field, put_delimited, put_message_field,
};

/// Field numbers of `AuthSigMessage` and of the oneof `PublicKey` in it.
const PUB_KEY: u32 = 1;
const SIG: u32 = 2;
const ED25519: u32 = 1;
const SECP256K1: u32 = 2;

/// A claimed identity and its proof, not verified yet.
#[derive(Debug)]
pub(super) struct AuthSig {
    pub(super) key: [u8; 32],
    pub(super) signature: [u8; 64],
}

impl AuthSig {
    /// What collects the peer's message.
    pub(super) const fn reader() -> DelimitedReader {
        DelimitedReader::new(MAX_AUTH)
    }

    /// The message with its length in front: 103 bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(34);
        put_bytes_field(ED25519, &self.key, &mut key);
        let mut body = Vec::with_capacity(102);
        put_message_field(PUB_KEY, &key, &mut body);
        put_bytes_field(SIG, &self.signature, &mut body);
        let mut message = Vec::with_capacity(103);
        put_delimited(&body, &mut message);
        message
    }

    /// Reads a message without its length.
    pub(super) fn decode(body: &[u8]) -> Result<Self, HandshakeError> {
        let (key, signature) = decode_fields(body)?;
        let key = match key {
            None => return Err(HandshakeError::KeyMissing),
            Some(Key::Secp256k1) => return Err(HandshakeError::KeyType),
            Some(Key::Ed25519(key)) => key,
        };
        Ok(Self {
            key: key.try_into().map_err(|_| HandshakeError::KeyLength(key.len()))?,
            signature: signature
                .try_into()
                .map_err(|_| HandshakeError::SignatureLength(signature.len()))?,
        })
    }
}

/// The kinds of keys that the protocol knows.
enum Key<'a> {
    Ed25519(&'a [u8]),
    Secp256k1,
}

/// Like Go: a repeated key message merges into the earlier one, the last key in it counts, and so
/// does the last signature.
fn decode_fields(body: &[u8]) -> Result<(Option<Key<'_>>, &[u8]), DecodeError> {
    let (mut key, mut signature) = (None, [].as_slice());
    for field in Fields::new(body) {
        let field = field?;
        match field.number {
            PUB_KEY => {
                for inner in Fields::new(field.bytes()?) {
                    let inner = inner?;
                    match inner.number {
                        ED25519 => key = Some(Key::Ed25519(inner.bytes()?)),
                        SECP256K1 => {
                            inner.bytes()?;
                            key = Some(Key::Secp256k1);
                        }
                        _ => {}
                    }
                }
            }
            SIG => signature = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTH: AuthSig = AuthSig { key: [7; 32], signature: [9; 64] };

    #[test]
    fn round_trip() {
        let message = AUTH.encode();
        assert_eq!((message.len(), message[0]), (103, 102));
        let decoded = AuthSig::decode(&message[1..]).unwrap();
        assert_eq!((decoded.key, decoded.signature), (AUTH.key, AUTH.signature));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_an_error_or_another_message() {
        let message = AUTH.encode();
        let body = &message[1..];
        for cut in 0..body.len() {
            assert!(AuthSig::decode(&body[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..body.len() * 8 {
            let mut flipped = body.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = AuthSig::decode(&flipped) {
                assert!(decoded.key != AUTH.key || decoded.signature != AUTH.signature);
            }
        }
    }

    #[test]
    fn repeated_and_unknown_fields() {
        let message = AUTH.encode();
        let body = &message[1..];
        let wrong = AuthSig { key: [1; 32], signature: [2; 64] }.encode();
        // Last one counts; an empty key message changes nothing; unknown fields are passed over.
        for parts in [
            [&wrong[1..], body].concat(),
            [body, &[0x0a, 0x00]].concat(),
            [&[0x18, 0x05], body, &[0x23, 0x08, 0x01, 0x24]].concat(),
            [body, &[0x0a, 0x03, 0x1a, 0x01, 0xff]].concat(),
        ] {
            let decoded = AuthSig::decode(&parts).unwrap();
            assert_eq!((decoded.key, decoded.signature), (AUTH.key, AUTH.signature));
        }
        let replaced = [body, &[0x0a, 0x02, 0x12, 0x00]].concat();
        assert_eq!(AuthSig::decode(&replaced).unwrap_err(), HandshakeError::KeyType);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let _ = AuthSig::decode(&body);
        }
    }
}
