//! Who the two sides are, and what they send.

use tmp2p::internals::protocol::{
    secret::KeyAgreement,
    wire::{put_delimited, put_message_field},
};
use x25519_dalek::{PublicKey, StaticSecret};

/// What we are in all tests: node key, ephemeral key.
pub(crate) const OURS: ([u8; 32], [u8; 32]) = ([1; 32], [2; 32]);
/// What our peer is.
pub(crate) const THEIRS: ([u8; 32], [u8; 32]) = ([3; 32], [4; 32]);

/// With a private key that is known: ring's cannot be given one.
pub(crate) fn agreement(private: [u8; 32]) -> KeyAgreement {
    let secret = StaticSecret::from(private);
    let public = PublicKey::from(&secret).to_bytes();
    let agree = move |peer| Some(secret.diffie_hellman(&PublicKey::from(peer)).to_bytes());
    KeyAgreement { public, agree: Box::new(agree) }
}

/// A `PublicKey` with this field set.
pub(crate) fn key_message(field: u32, key: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_message_field(field, key, &mut message);
    message
}

pub(crate) fn delimited(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_delimited(body, &mut out);
    out
}
