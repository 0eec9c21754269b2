#![no_main]
//! A secret connection whose peer sends whatever the script says, as clear bytes or in frames that
//! it sealed with the right key.

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    NodeKey,
    internals::protocol::secret::{
        ChaCha, Cipher, EPHEMERAL, FRAME_DATA, FRAME_SEALED, FrameKeys, Handshake, KeyAgreement,
        Null, Progress, Sealer, Side, TAG, challenge,
    },
    internals::protocol::wire::{put_delimited, put_message_field},
};
use tmp2p_fuzz::{Script, agreement, cheap_agreement};

const OURS: [u8; 32] = [2; 32];
const THEIRS: [u8; 32] = [4; 32];

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    if script.flag() {
        check::<ChaCha>(script, agreement);
    } else {
        check::<Null>(script, cheap_agreement);
    }
});

fn check<C: Cipher>(mut script: Script, agreement: fn([u8; 32]) -> KeyAgreement) {
    let expects = script.flag();
    let mut cuts = Script::new(script.piece());
    let stream = stream::<C>(&mut script, agreement);
    let whole = run::<C>(&[&stream], expects, agreement);
    let cut = run::<C>(&cuts.cut(&stream), expects, agreement);
    assert_eq!(whole, cut);
    // Nothing but our ephemeral key and our authentication, whatever the peer does.
    assert!([EPHEMERAL, EPHEMERAL + FRAME_SEALED].contains(&whole.sent.len()));
}

/// What a handshake comes to: what we sent, the verdict, and what was left for the caller.
#[derive(Debug, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    verdict: Verdict,
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Open,
    Failed(String),
    Done { peer: String, rest: Vec<u8>, unread: Vec<u8> },
}

fn run<C: Cipher>(
    pieces: &[&[u8]],
    expects: bool,
    agreement: fn([u8; 32]) -> KeyAgreement,
) -> Outcome {
    let mut sent = Vec::new();
    let expected = expects.then(|| NodeKey::from_seed([3; 32]).id());
    let key = NodeKey::from_seed([1; 32]);
    let mut handshake = Handshake::<C>::start(key, agreement(OURS), expected, &mut sent);
    let mut buffer = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            let mut input = buffer.as_slice();
            let progress = handshake.advance(&mut input, &mut sent);
            let used = before - input.len();
            buffer.drain(..used);
            match progress {
                Ok(Progress::Stepped(next)) => handshake = next,
                Ok(Progress::NeedMore(next)) => {
                    handshake = next;
                    assert!(buffer.len() < FRAME_SEALED, "a whole frame was not taken");
                    break;
                }
                Ok(Progress::Done(done)) => {
                    assert!(done.rest.len() < FRAME_DATA);
                    let unread = [&buffer[..], &pieces[i + 1..].concat()].concat();
                    let peer = done.peer_id.to_string();
                    return Outcome {
                        sent,
                        verdict: Verdict::Done { peer, rest: done.rest, unread },
                    };
                }
                Err(error) => return Outcome { sent, verdict: Verdict::Failed(error.to_string()) },
            }
        }
    }
    Outcome { sent, verdict: Verdict::Open }
}

/// What the peer sends.
fn stream<C: Cipher>(script: &mut Script, agreement: fn([u8; 32]) -> KeyAgreement) -> Vec<u8> {
    let (ours, theirs) = (agreement(OURS), agreement(THEIRS));
    let mut stream = match script.below(4) {
        0 => script.piece().to_vec(),
        // Any key in the right form.
        1 => [&[34, 0x0a, 32][..], script.bytes(32)].concat(),
        _ => [&[34, 0x0a, 32][..], &theirs.public].concat(),
    };
    let (side, low, high) = if theirs.public < ours.public {
        (Side::Low, theirs.public, ours.public)
    } else {
        (Side::High, ours.public, theirs.public)
    };
    let secret = (theirs.agree)(ours.public).expect("two different keys");
    let keys = FrameKeys::derive(&secret, side);
    let key = NodeKey::from_seed([3; 32]);
    let signature = key.sign(&challenge(&low, &high, &secret));
    let mut sealer = Sealer::<C>::new(&keys.send);
    let mut counter = 0;
    let seal = |sealer: &mut Sealer<C>, counter: &mut u64, data: &[u8], out: &mut Vec<u8>| {
        let mut writer = sealer.writer(out, usize::MAX);
        writer.put(data);
        *counter += writer.finish().expect("far from the last nonce") as u64;
    };
    while !script.is_empty() && stream.len() < 64 * FRAME_SEALED {
        match script.below(5) {
            0 => {
                let public = *key.public_key().as_bytes();
                let mut honest = Vec::new();
                put_delimited(&auth_body(&public, &signature), &mut honest);
                seal(&mut sealer, &mut counter, &honest, &mut stream);
            }
            1 => {
                let mut body = Vec::new();
                put_delimited(&auth_body(script.piece(), script.piece()), &mut body);
                seal(&mut sealer, &mut counter, &body, &mut stream);
            }
            2 => seal(&mut sealer, &mut counter, script.piece(), &mut stream),
            3 => stream.extend_from_slice(script.piece()),
            _ => {
                // A frame that no sealer makes: any length in front.
                let mut frame = (script.word() as u32).to_le_bytes().to_vec();
                frame.extend([0x55; FRAME_DATA]);
                let tag: [u8; TAG] = C::new(&keys.send).seal(counter, &mut frame);
                frame.extend(tag);
                counter += 1;
                sealer = Sealer::with_counter(&keys.send, counter);
                stream.extend(frame);
            }
        }
    }
    stream
}

fn auth_body(key: &[u8], signature: &[u8]) -> Vec<u8> {
    let (mut public, mut body) = (Vec::new(), Vec::new());
    put_message_field(1, key, &mut public);
    put_message_field(1, &public, &mut body);
    put_message_field(2, signature, &mut body);
    body
}
