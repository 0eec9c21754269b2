//! The handshake, cut, corrupted, oversized and made up.

use tmp2p::{
    NodeKey,
    internals::protocol::{
        secret::{
            ChaCha, EPHEMERAL, Established, FRAME_SEALED, FrameError, Handshake, HandshakeError,
            MAX_AUTH, MAX_AUTH_FRAMES, MAX_EMPTY_FRAMES, Null, Progress, Sealer,
        },
        wire::{DelimitedError, put_message_field},
    },
};

use super::{OURS, Peer, THEIRS, delimited, frame, honest, raw_frame, refusal, run, start};

/// Two of ours, message by message.
#[test]
fn both_sides_agree_and_talk() {
    let (mut to_them, mut to_us) = (Vec::new(), Vec::new());
    let ours: Handshake<ChaCha> = start(OURS, &mut to_them);
    let theirs: Handshake<ChaCha> = start(THEIRS, &mut to_us);
    let ours = match ours.advance(&mut to_us.as_slice(), &mut to_them).unwrap() {
        Progress::Stepped(handshake) => handshake,
        other => panic!("{other:?}"),
    };
    to_us.clear();
    let mut input = to_them.as_slice();
    let Ok(Progress::Done(mut theirs)) = run(theirs, &mut input, &mut to_us) else { panic!() };
    let Ok(Progress::Done(mut ours)) = run(ours, &mut to_us.as_slice(), &mut Vec::new()) else {
        panic!()
    };
    assert_eq!(ours.peer_id, NodeKey::from_seed(THEIRS.0).id());
    assert_eq!(ours.peer_key, NodeKey::from_seed(THEIRS.0).public_key());
    assert_eq!(theirs.peer_id, NodeKey::from_seed(OURS.0).id());
    assert_eq!(theirs.opener.open(&mut frame(&mut ours.sealer, b"ping")), Ok(&b"ping"[..]));
    assert_eq!(ours.opener.open(&mut frame(&mut theirs.sealer, b"pong")), Ok(&b"pong"[..]));
}

#[test]
fn every_split_point_of_a_handshake() {
    let stream = honest::<Null>(b"first data");
    let (mut whole, mut out) = (Vec::new(), Vec::new());
    let handshake: Handshake<Null> = start(OURS, &mut whole);
    let Ok(Progress::Done(_)) = run(handshake, &mut &stream[..], &mut whole) else { panic!() };

    for split in 0..=stream.len() {
        out.clear();
        let mut input = &stream[..split];
        let (established, unread) = match run(start::<Null>(OURS, &mut out), &mut input, &mut out) {
            Ok(Progress::Done(established)) => (established, split - input.len()),
            Ok(Progress::NeedMore(handshake)) => {
                assert!(split < EPHEMERAL + FRAME_SEALED, "not done at {split}");
                assert!(input.len() < FRAME_SEALED);
                let mut input = &stream[split - input.len()..];
                match run(handshake, &mut input, &mut out) {
                    Ok(Progress::Done(established)) => (established, stream.len() - input.len()),
                    other => panic!("split at {split}: {other:?}"),
                }
            }
            other => panic!("split at {split}: {other:?}"),
        };
        assert_eq!(out, whole, "split at {split}");
        let Established { mut opener, rest, .. } = established;
        assert!(rest.is_empty());
        let mut next = stream[unread..].to_vec();
        assert_eq!(opener.open(&mut next), Ok(&b"first data"[..]), "split at {split}");
    }
}

#[test]
fn byte_by_byte_with_the_real_cipher() {
    let stream = honest::<ChaCha>(b"");
    let mut out = Vec::new();
    let (mut handshake, mut held, mut steps) = (start::<ChaCha>(OURS, &mut out), 0, 0);
    for end in 1..=stream.len() {
        let mut input = &stream[held..end];
        loop {
            match handshake.advance(&mut input, &mut out).unwrap() {
                Progress::Stepped(next) => (handshake, steps) = (next, steps + 1),
                Progress::NeedMore(next) => {
                    handshake = next;
                    break;
                }
                Progress::Done(established) => {
                    assert_eq!((end, steps), (stream.len(), 1));
                    assert_eq!(established.peer_id, NodeKey::from_seed(THEIRS.0).id());
                    return;
                }
            }
        }
        held = end - input.len();
    }
    panic!("never done");
}

/// Some bit of every byte, flipped on the way: never authenticated, never a panic.
#[test]
fn bit_flips_at_every_byte_of_a_handshake() {
    let stream = honest::<Null>(b"");
    for index in 0..stream.len() {
        let mut flipped = stream.clone();
        flipped[index] ^= 1 << (index % 8);
        let error = refusal::<Null>(&flipped);
        match index {
            0 => assert!(matches!(error, HandshakeError::EphemeralLength(_))),
            1 | 2 => assert_eq!(error, HandshakeError::EphemeralMalformed),
            _ => assert!(matches!(error, HandshakeError::Frame(FrameError::BadTag(_)))),
        }
    }
    for index in [3, 34, 35, 39, 200, stream.len() - 1] {
        let mut flipped = honest::<ChaCha>(b"");
        flipped[index] ^= 1;
        assert!(matches!(
            refusal::<ChaCha>(&flipped),
            HandshakeError::Frame(FrameError::BadTag(_))
        ));
    }
}

#[test]
fn what_is_no_ephemeral_key_is_refused_at_the_first_byte_that_shows_it() {
    for first in (0..=255).filter(|first| *first != 34) {
        assert_eq!(refusal::<Null>(&[first]), HandshakeError::EphemeralLength(first));
    }
    assert_eq!(refusal::<Null>(b"GET / HTTP/1.1\r\n"), HandshakeError::EphemeralLength(b'G'));
    for malformed in [[34, 0x12].as_slice(), &[34, 0x08], &[34, 0x0a, 31], &[34, 0x0a, 33]] {
        assert_eq!(refusal::<Null>(malformed), HandshakeError::EphemeralMalformed);
    }
}

#[test]
fn our_own_ephemeral_key_reflected() {
    let (mut out, mut sink) = (Vec::new(), Vec::new());
    let handshake: Handshake<ChaCha> = start(OURS, &mut out);
    let error = handshake.advance(&mut out.as_slice(), &mut sink).unwrap_err();
    assert_eq!(error, HandshakeError::ReflectedKey);
    assert!(sink.is_empty());
}

#[test]
fn an_authentication_message_is_bounded_exactly() {
    let padded = |length: usize| {
        let mut peer = Peer::<Null>::new();
        let mut body = peer.auth()[1..].to_vec();
        // An unknown field: key of 1 byte, length of 2.
        let padding = vec![0; length - body.len() - 3];
        put_message_field(15, &padding, &mut body);
        assert_eq!(body.len(), length);
        peer.send(&delimited(&body));
        peer.sent
    };
    let fits = padded(MAX_AUTH);
    let mut out = Vec::new();
    let handshake = start::<Null>(OURS, &mut out);
    assert!(matches!(run(handshake, &mut &fits[..], &mut out), Ok(Progress::Done(_))));
    let error = DelimitedError::TooLong { length: MAX_AUTH as u64 + 1, limit: MAX_AUTH };
    assert_eq!(refusal::<Null>(&padded(MAX_AUTH + 1)), error.into());
}

#[test]
fn frames_before_authentication_are_bounded() {
    let mut peer = Peer::<Null>::new();
    let mut body = peer.auth()[1..].to_vec();
    put_message_field(15, &[0; MAX_AUTH - 102 - 3], &mut body);
    assert_eq!(body.len(), MAX_AUTH);
    // The longest way to write the length, and one byte a frame: exactly the bound.
    let prefix = [0x80, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
    let stream = [&prefix, body.as_slice()].concat();
    assert_eq!(stream.len(), MAX_AUTH_FRAMES);
    for byte in &stream {
        peer.send(&[*byte]);
    }
    let mut out = Vec::new();
    let handshake = start::<Null>(OURS, &mut out);
    assert!(matches!(run(handshake, &mut &peer.sent[..], &mut out), Ok(Progress::Done(_))));
}

/// Frames without data are passed over, a run of them is not.
#[test]
fn empty_frames_before_authentication() {
    let stream = |empty: u32, between_bytes: bool| {
        let mut peer = Peer::<Null>::new();
        let auth = peer.auth();
        let mut counter = 0;
        for byte in auth {
            if counter == 0 || between_bytes {
                for _ in 0..empty {
                    peer.sent.extend(raw_frame::<Null>(&peer.key, counter, 0));
                    counter += 1;
                }
            }
            peer.sealer = Sealer::with_counter(&peer.key, counter);
            peer.send(&[byte]);
            counter += 1;
        }
        peer.sent
    };
    let mut out = Vec::new();
    for tolerated in [stream(1, true), stream(MAX_EMPTY_FRAMES, false)] {
        let handshake = start::<Null>(OURS, &mut out);
        assert!(matches!(run(handshake, &mut &tolerated[..], &mut out), Ok(Progress::Done(_))));
    }
    let too_many = FrameError::TooManyEmpty.into();
    assert_eq!(refusal::<Null>(&stream(MAX_EMPTY_FRAMES + 1, false)), too_many);
    assert_eq!(refusal::<Null>(&stream(2, true)), HandshakeError::TooManyFrames);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]

    /// A peer that seals whatever it likes is never taken for anybody.
    #[test]
    fn arbitrary_plaintext_authenticates_nobody(frames: Vec<Vec<u8>>) {
        let mut peer = Peer::<Null>::new();
        for frame in &frames {
            peer.send(frame);
        }
        let mut out = Vec::new();
        let handshake = start::<Null>(OURS, &mut out);
        let done = run(handshake, &mut &peer.sent[..], &mut out);
        proptest::prop_assert!(!matches!(done, Ok(Progress::Done(_))));
    }

    /// Neither is one that does not even know the protocol.
    #[test]
    fn arbitrary_bytes_authenticate_nobody(bytes: Vec<u8>) {
        let (mut out, stream) = (Vec::new(), [&honest::<Null>(b"")[..EPHEMERAL], &bytes].concat());
        for input in [&bytes, &stream] {
            let handshake = start::<Null>(OURS, &mut out);
            let done = run(handshake, &mut &input[..], &mut out);
            proptest::prop_assert!(!matches!(done, Ok(Progress::Done(_))));
        }
    }
}
