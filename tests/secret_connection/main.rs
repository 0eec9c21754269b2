//! The secret connection against hostile peers. Two independent implementations are met in
//! `tests/oracles`.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod faults;
mod frames;
mod handshake;
mod messages;

use tmp2p::{
    NodeKey,
    internals::protocol::{
        secret::{
            Cipher, EPHEMERAL, FRAME_DATA, FRAME_SEALED, FrameKeys, Handshake, HandshakeError,
            Progress, Sealer, Side, TAG, challenge,
        },
        wire::put_message_field,
    },
};

use messages::{OURS, THEIRS, agreement, delimited, key_message};

fn start<C: Cipher>(who: ([u8; 32], [u8; 32]), out: &mut Vec<u8>) -> Handshake<C> {
    Handshake::start(NodeKey::from_seed(who.0), agreement(who.1), None, out)
}

/// Advances as far as the input allows, one expensive step a call.
fn run<C: Cipher>(
    mut handshake: Handshake<C>,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<Progress<C>, HandshakeError> {
    for _ in 0..2 {
        match handshake.advance(input, out)? {
            Progress::Stepped(next) => handshake = next,
            other => return Ok(other),
        }
    }
    panic!("more than one step before the peer's authentication")
}

/// The error that this input must end with; nothing but what every peer gets was sent.
fn refusal<C: Cipher>(input: &[u8]) -> HandshakeError {
    let mut out = Vec::new();
    let error = run(start::<C>(OURS, &mut out), &mut &input[..], &mut out).unwrap_err();
    assert!([EPHEMERAL, EPHEMERAL + FRAME_SEALED].contains(&out.len()), "sent {}", out.len());
    error
}

/// A peer that keeps to the protocol as far as a test wants it to.
struct Peer<C> {
    /// What it seals with.
    key: [u8; 32],
    sealer: Sealer<C>,
    challenge: [u8; 32],
    /// Its ephemeral message, then whatever it sealed.
    sent: Vec<u8>,
}

impl<C: Cipher> Peer<C> {
    fn new() -> Self {
        let (ours, theirs) = (agreement(OURS.1), agreement(THEIRS.1));
        let mut sent = vec![34, 0x0a, 32];
        sent.extend(theirs.public);
        let (side, low, high) = if theirs.public < ours.public {
            (Side::Low, theirs.public, ours.public)
        } else {
            (Side::High, ours.public, theirs.public)
        };
        let secret = (theirs.agree)(ours.public).unwrap();
        let keys = FrameKeys::derive(&secret, side);
        Self {
            key: *keys.send,
            sealer: Sealer::new(&keys.send),
            challenge: challenge(&low, &high, &secret),
            sent,
        }
    }

    /// Sends these bytes in as few frames as possible.
    fn send(&mut self, stream: &[u8]) -> &mut Self {
        let mut writer = self.sealer.writer(&mut self.sent, usize::MAX);
        writer.put(stream);
        writer.finish().unwrap();
        self
    }

    fn signature(&self) -> [u8; 64] {
        NodeKey::from_seed(THEIRS.0).sign(&self.challenge)
    }

    /// The honest authentication message, length in front.
    fn auth(&self) -> Vec<u8> {
        let public = *NodeKey::from_seed(THEIRS.0).public_key().as_bytes();
        delimited(&auth_body(&key_message(1, &public), &self.signature()))
    }
}

/// An `AuthSigMessage`.
fn auth_body(key: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    put_message_field(1, key, &mut body);
    put_message_field(2, signature, &mut body);
    body
}

/// A complete honest stream: handshake, then `more` in a frame of its own.
fn honest<C: Cipher>(more: &[u8]) -> Vec<u8> {
    let mut peer = Peer::<C>::new();
    let auth = peer.auth();
    peer.send(&auth).send(more);
    peer.sent
}

fn frame<C: Cipher>(sealer: &mut Sealer<C>, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = sealer.writer(&mut out, 1);
    writer.put(data);
    assert_eq!(writer.finish(), Ok(1));
    out
}

/// A frame that no sealer makes: this length in front of 1024 data bytes.
fn raw_frame<C: Cipher>(key: &[u8; 32], counter: u64, length: u32) -> Vec<u8> {
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend([0x55; FRAME_DATA]);
    let tag: [u8; TAG] = C::new(key).seal(counter, &mut frame);
    frame.extend(tag);
    frame
}
