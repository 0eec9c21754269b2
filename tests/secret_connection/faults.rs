//! Faults of existing implementations that must not be ours.

use tmp2p::{
    NodeId, NodeKey,
    internals::protocol::{
        secret::{
            ChaCha, Cipher, EPHEMERAL, FRAME_DATA, FRAME_SEALED, FrameError, Handshake,
            HandshakeError, KeyAgreement, NonceExhausted, Null, Opener, Progress, Sealer,
            challenge,
        },
        wire::{DecodeError, DelimitedReader, put_message_field},
    },
};

use super::{
    OURS, Peer, THEIRS, agreement, auth_body, delimited, frame, honest, key_message, raw_frame,
    refusal, run, start,
};

#[test]
fn nil_or_non_ed25519_or_wrong_length_auth_key() {
    let with_body = |body: &[u8]| {
        let mut peer = Peer::<ChaCha>::new();
        peer.send(&delimited(body));
        refusal::<ChaCha>(&peer.sent)
    };
    let signature = Peer::<ChaCha>::new().signature();
    let with_key = |key: &[u8]| with_body(&auth_body(key, &signature));
    let public = *NodeKey::from_seed(THEIRS.0).public_key().as_bytes();

    assert_eq!(with_body(&[]), HandshakeError::KeyMissing);
    let mut no_key = Vec::new();
    put_message_field(2, &signature, &mut no_key);
    assert_eq!(with_body(&no_key), HandshakeError::KeyMissing);
    assert_eq!(with_key(&[]), HandshakeError::KeyMissing);
    for unknown in [3, 4, 100] {
        assert_eq!(with_key(&key_message(unknown, &public)), HandshakeError::KeyMissing);
    }
    for length in [0, 32, 33, 65] {
        assert_eq!(with_key(&key_message(2, &vec![2; length])), HandshakeError::KeyType);
    }
    let both = [key_message(1, &public), key_message(2, &[2; 33])].concat();
    assert_eq!(with_key(&both), HandshakeError::KeyType);
    for length in [0, 1, 31, 33, 64] {
        let key: Vec<u8> = public.iter().copied().cycle().take(length).collect();
        assert_eq!(with_key(&key_message(1, &key)), HandshakeError::KeyLength(length));
    }
    for length in [0, 1, 63, 65] {
        let cut: Vec<u8> = signature.iter().copied().cycle().take(length).collect();
        let body = auth_body(&key_message(1, &public), &cut);
        assert_eq!(with_body(&body), HandshakeError::SignatureLength(length));
    }
    assert_eq!(with_body(&[0x08, 1]), DecodeError::WrongType(1).into());
    assert_eq!(with_key(&[0x08, 1]), DecodeError::WrongType(1).into());
    assert_eq!(with_key(&[0x0a, 32]), DecodeError::Truncated.into());

    // The peer would have been let in with the same message and a proper key.
    let mut peer = Peer::<ChaCha>::new();
    peer.send(&delimited(&auth_body(&key_message(1, &public), &signature)));
    let mut out = Vec::new();
    let handshake = start::<ChaCha>(OURS, &mut out);
    assert!(matches!(run(handshake, &mut &peer.sent[..], &mut out), Ok(Progress::Done(_))));
}

#[test]
fn low_order_points_and_transcript_malleability() {
    // u-coordinates of the points of order 1, 2, 4 and 8, and their second encodings above p; the
    // top bit is masked, so each has two more.
    let low_order = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    for point in low_order {
        for top_bit in [0, 0x80] {
            let mut point = hex::decode(point).unwrap();
            point[31] |= top_bit;
            let message = [&[34, 0x0a, 32], point.as_slice()].concat();
            let ring = KeyAgreement::generate().unwrap();
            for agreement in [agreement([9; 32]), agreement([0; 32]), ring] {
                let (mut out, key) = (Vec::new(), NodeKey::from_seed(OURS.0));
                let handshake: Handshake<ChaCha> = Handshake::start(key, agreement, None, &mut out);
                let error = handshake.advance(&mut &message[..], &mut out).unwrap_err();
                assert_eq!(error, HandshakeError::LowOrderKey, "{}", hex::encode(&point));
                assert_eq!(out.len(), EPHEMERAL, "nothing was signed");
            }
        }
    }

    // Every bit of everything that is hashed changes what must be signed.
    let honest = challenge(&[1; 32], &[2; 32], &[3; 32]);
    for bit in 0..3 * 256 {
        let mut parts = [[1; 32], [2; 32], [3; 32]];
        parts[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
        assert_ne!(challenge(&parts[0], &parts[1], &parts[2]), honest, "bit {bit}");
    }

    // Somebody in between changes an ephemeral key: neither end accepts the other.
    for index in 3..EPHEMERAL {
        let mut bits = vec![1 << (index % 8)];
        if index == EPHEMERAL - 1 {
            // Masked by X25519: the shared secret and the frame keys stay the same, and only the
            // signature over the transcript shows it.
            bits.push(0x80);
        }
        for bit in bits {
            let (mut to_them, mut to_us) = (Vec::new(), Vec::new());
            let ours: Handshake<ChaCha> = start(OURS, &mut to_them);
            let theirs: Handshake<ChaCha> = start(THEIRS, &mut to_us);
            to_them[index] ^= bit;
            let Ok(Progress::Stepped(ours)) = ours.advance(&mut &to_us[..], &mut to_them) else {
                panic!()
            };
            to_us.clear();
            let they_say = run(theirs, &mut &to_them[..], &mut to_us).unwrap_err();
            let we_say = run(ours, &mut &to_us[..], &mut Vec::new()).unwrap_err();
            for error in [we_say, they_say] {
                match bit {
                    0x80 if index == EPHEMERAL - 1 => {
                        assert_eq!(error, HandshakeError::BadSignature);
                    }
                    _ => assert!(matches!(error, HandshakeError::Frame(FrameError::BadTag(_)))),
                }
            }
        }
    }
}

#[test]
fn dialled_id_not_authenticated() {
    let dial = |expected: NodeId, stream: &[u8]| {
        let (mut out, key) = (Vec::new(), NodeKey::from_seed(OURS.0));
        let handshake: Handshake<ChaCha> =
            Handshake::start(key, agreement(OURS.1), Some(expected), &mut out);
        let result = run(handshake, &mut &stream[..], &mut out);
        assert_eq!(out.len(), EPHEMERAL + FRAME_SEALED, "ephemeral key and authentication only");
        result
    };
    let (expected, actual) = (NodeKey::from_seed([77; 32]).id(), NodeKey::from_seed(THEIRS.0).id());
    let stream = honest::<ChaCha>(b"");
    assert_eq!(dial(expected, &stream).unwrap_err(), HandshakeError::WrongId { expected, actual });
    assert!(matches!(dial(actual, &stream), Ok(Progress::Done(_))));

    // Claiming the dialed key is not having it, and does not get the claimant its name.
    let mut liar = Peer::<ChaCha>::new();
    let claimed = *NodeKey::from_seed([77; 32]).public_key().as_bytes();
    let body = auth_body(&key_message(1, &claimed), &liar.signature());
    liar.send(&delimited(&body));
    for dialed in [expected, actual] {
        assert_eq!(dial(dialed, &liar.sent).unwrap_err(), HandshakeError::BadSignature);
    }
}

fn nonces_run_out<C: Cipher>() {
    let key = [5; 32];
    let last = u64::MAX - 1;
    // One frame is left: a batch of three ends after it, with whole frames only.
    let (mut sealer, mut out) = (Sealer::<C>::with_counter(&key, last), Vec::new());
    let mut writer = sealer.writer(&mut out, 3);
    writer.put(&[1; 3 * FRAME_DATA]);
    assert_eq!(writer.room(), 0);
    assert_eq!(writer.finish(), Err(NonceExhausted));
    assert_eq!(out.len(), FRAME_SEALED);
    for _ in 0..2 {
        let mut writer = sealer.writer(&mut out, 1);
        writer.put(&[1]);
        assert_eq!(writer.finish(), Err(NonceExhausted), "stays exhausted");
        assert_eq!(out.len(), FRAME_SEALED);
    }

    let mut opener = Opener::<C>::with_counter(&key, last);
    assert_eq!(opener.open(&mut out), Ok([1; FRAME_DATA].as_slice()));
    for counter in [u64::MAX, 0] {
        let mut frame = raw_frame::<C>(&key, counter, 1);
        assert_eq!(opener.open(&mut frame), Err(NonceExhausted.into()), "frame {counter}");
    }
}

#[test]
fn nonce_wrap() {
    nonces_run_out::<ChaCha>();
    nonces_run_out::<Null>();
}

#[test]
fn frame_assumed_to_be_a_message() {
    // The authentication message in two frames, cut anywhere, with what follows it right behind.
    let auth = Peer::<Null>::new().auth();
    for cut in 1..=auth.len() {
        for tail in [0, 1, 500] {
            let mut peer = Peer::<Null>::new();
            let second = [&auth[cut..], &vec![0xcc; tail]].concat();
            peer.send(&auth[..cut]).send(&second);
            let (mut out, mut input) = (Vec::new(), &peer.sent[..]);
            let handshake = start::<Null>(OURS, &mut out);
            let Ok(Progress::Done(mut established)) = run(handshake, &mut input, &mut out) else {
                panic!("cut at {cut}")
            };
            // Data behind it are handed over in clear or left sealed in the input: never lost.
            let mut stream = established.rest;
            for sealed in input.to_vec().chunks_exact_mut(FRAME_SEALED) {
                stream.extend_from_slice(established.opener.open(sealed).unwrap());
            }
            assert_eq!(stream, vec![0xcc; tail], "cut at {cut}");
        }
    }

    // A stream of messages in frames of every size; sizes around a frame, empty ones too.
    let sizes = [0, 1, 1021, 1022, 1023, 1024, 1025, 0, 3000, 5];
    let messages: Vec<Vec<u8>> =
        sizes.iter().enumerate().map(|(i, &size)| vec![i as u8; size]).collect();
    let stream: Vec<u8> = messages.iter().flat_map(|message| delimited(message)).collect();
    for size in (1..=FRAME_DATA).filter(|size| *size < 40 || size % 61 == 0 || *size > 1015) {
        let (mut sealer, mut opener) =
            (Sealer::<Null>::new(&[5; 32]), Opener::<Null>::new(&[5; 32]));
        let (mut reader, mut read) = (DelimitedReader::new(3000), Vec::new());
        for piece in stream.chunks(size) {
            let mut sealed = frame(&mut sealer, piece);
            let mut data = opener.open(&mut sealed).unwrap();
            while let Some(message) = reader.read(&mut data).unwrap() {
                read.push(message);
            }
        }
        assert!(read == messages, "frames of {size}");
    }
}
