//! The secret connection: keys, handshakes and frames as Go derives, sends and judges them.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

use serde_json::Value;
use tmp2p::{
    NodeKey, PublicKey,
    internals::protocol::secret::{
        ChaCha, Established, FRAME_SEALED, FrameKeys, Handshake, HandshakeError, KeyAgreement,
        Opener, Progress, Sealer, Side, challenge,
    },
};
use x25519_dalek::{PublicKey as XPublic, StaticSecret};

use super::{bytes, cases, deviations, load, text};

fn key(case: &Value, field: &str) -> [u8; 32] {
    bytes(case, field).try_into().unwrap_or_else(|_| panic!("{field} has not 32 bytes"))
}

fn count(case: &Value, field: &str) -> u64 {
    text(case, field).parse().unwrap()
}

/// A key agreement that can be given its private key, unlike ring's.
fn agreement(private: [u8; 32]) -> KeyAgreement {
    let secret = StaticSecret::from(private);
    let public = XPublic::from(&secret).to_bytes();
    let agree = move |peer| Some(secret.diffie_hellman(&XPublic::from(peer)).to_bytes());
    KeyAgreement { public, agree: Box::new(agree) }
}

fn handshake(seed: [u8; 32], private: [u8; 32], out: &mut Vec<u8>) -> Handshake<ChaCha> {
    Handshake::start(NodeKey::from_seed(seed), agreement(private), None, out)
}

/// All the progress that the input allows.
fn run(
    mut handshake: Handshake<ChaCha>,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<Progress<ChaCha>, HandshakeError> {
    loop {
        match handshake.advance(input, out)? {
            Progress::Stepped(next) => handshake = next,
            other => return Ok(other),
        }
    }
}

#[test]
fn vectors_x25519() {
    for case in cases(&load("key_schedule.json"), "x25519") {
        let (a, b) = (agreement(key(case, "a_private")), agreement(key(case, "b_private")));
        assert_eq!((a.public, b.public), (key(case, "a_public"), key(case, "b_public")));
        let dh_secret = key(case, "dh_secret");
        assert_eq!((a.agree)(b.public), Some(dh_secret), "{case}");
        assert_eq!((b.agree)(a.public), Some(dh_secret), "{case}");
    }
}

#[test]
fn vectors_key_schedule() {
    for case in cases(&load("key_schedule.json"), "cases") {
        let dh_secret = key(case, "dh_secret");
        let side = match text(case, "ours") {
            "low" => Side::Low,
            "high" => Side::High,
            other => panic!("side {other:?}"),
        };
        let challenge = challenge(&key(case, "low_public"), &key(case, "high_public"), &dh_secret);
        assert_eq!(challenge, key(case, "challenge"), "{case}");
        let keys = FrameKeys::derive(&dh_secret, side);
        assert_eq!(*keys.recv, key(case, "recv_key"), "{case}");
        assert_eq!(*keys.send, key(case, "send_key"), "{case}");
    }
}

#[test]
fn vectors_low_order_points() {
    for case in cases(&load("key_schedule.json"), "low_order") {
        let refused = case["refused"].as_bool().unwrap();
        let message = [&[34, 0x0a, 32], key(case, "public").as_slice()].concat();
        for agreement in [agreement([5; 32]), KeyAgreement::generate().unwrap()] {
            let mut out = Vec::new();
            let handshake: Handshake<ChaCha> =
                Handshake::start(NodeKey::from_seed([1; 32]), agreement, None, &mut out);
            match handshake.advance(&mut message.as_slice(), &mut out) {
                Ok(Progress::Stepped(_)) => assert!(!refused, "{case}"),
                Err(HandshakeError::LowOrderKey) => assert!(refused, "{case}"),
                other => panic!("{other:?}: {case}"),
            }
        }
    }
}

/// Both sides of each session are played by us and must send, byte for byte, what was recorded.
#[test]
fn vectors_sessions() {
    for case in cases(&load("secret_connection.json"), "sessions") {
        let (a, b) = (&case["a"], &case["b"]);
        let (a_to_b, b_to_a) = (cases(case, "a_to_b"), cases(case, "b_to_a"));
        replay_session(a, b, a_to_b, b_to_a);
        replay_session(b, a, b_to_a, a_to_b);
    }
}

fn replay_session(us: &Value, them: &Value, sent: &[Value], received: &[Value]) {
    let (ephemeral, auth, writes) = steps(sent);
    let (their_ephemeral, their_auth, their_writes) = steps(received);

    let mut out = Vec::new();
    let ours = handshake(key(us, "node_seed"), key(us, "ephemeral_private"), &mut out);
    assert_eq!(out, bytes(ephemeral, "bytes"));
    out.clear();
    let mut input = bytes(their_ephemeral, "bytes");
    // Go's own frames where they differ (in the padding): a receiver must take them.
    input.extend(frames(their_auth).flat_map(received_as));
    let mut input = input.as_slice();
    let Ok(Progress::Done(established)) = run(ours, &mut input, &mut out) else {
        panic!("handshake with {them} failed")
    };
    assert_eq!(out, frames(auth).flat_map(|frame| bytes(frame, "sealed")).collect::<Vec<_>>());
    assert!(input.is_empty() && established.rest.is_empty());
    assert_eq!(established.peer_key.as_bytes(), &key(them, "node_public"));
    assert_eq!(established.peer_id.to_string(), text(them, "node_id"));

    let Established { mut sealer, mut opener, .. } = established;
    for write in writes {
        out.clear();
        let plaintext = bytes(write, "plaintext");
        let mut writer = sealer.writer(&mut out, plaintext.len().div_ceil(1024));
        writer.put(&plaintext);
        writer.finish().unwrap();
        let expected: Vec<u8> = frames(write).flat_map(|frame| bytes(frame, "sealed")).collect();
        assert!(out == expected, "{} bytes sealed differently", plaintext.len());
    }
    for write in their_writes {
        let mut plaintext = Vec::new();
        for frame in frames(write) {
            let mut sealed = received_as(frame);
            let data = opener.open(&mut sealed).unwrap();
            assert_eq!(data.len() as u64, frame["length"].as_u64().unwrap());
            plaintext.extend_from_slice(data);
        }
        assert!(plaintext == bytes(write, "plaintext"));
    }
}

/// The ephemeral step, the authentication step, and the writes.
fn steps(direction: &[Value]) -> (&Value, &Value, &[Value]) {
    let [ephemeral, auth, writes @ ..] = direction else { panic!("a direction without steps") };
    assert_eq!((text(ephemeral, "kind"), text(auth, "kind")), ("ephemeral", "auth"));
    assert!(!writes.is_empty() && writes.iter().all(|write| text(write, "kind") == "write"));
    (ephemeral, auth, writes)
}

fn frames(step: &Value) -> impl Iterator<Item = &Value> {
    step["frames"].as_array().unwrap().iter()
}

fn received_as(frame: &Value) -> Vec<u8> {
    bytes(frame, if frame["sealed_by_go"].is_null() { "sealed" } else { "sealed_by_go" })
}

#[test]
fn vectors_received_frames() {
    for case in cases(&load("secret_connection.json"), "received_frames") {
        let mut opener =
            Opener::<ChaCha>::with_counter(&key(case, "recv_key"), count(case, "counter"));
        let mut wire = bytes(case, "wire");
        let mut frames = wire.chunks_exact_mut(FRAME_SEALED);
        for read in cases(case, "reads") {
            let is_data = read["error"].is_null() && read["panic"].is_null();
            match frames.next() {
                Some(frame) => match opener.open(frame) {
                    Ok(data) => {
                        assert!(is_data, "opened, unlike Go: {read} in {}", text(case, "name"));
                        assert_eq!(data, bytes(read, "data"), "{}", text(case, "name"));
                    }
                    Err(error) => assert!(!is_data, "{error}: {}", text(case, "name")),
                },
                // The end of the stream is not this machine's business.
                None => assert!(!is_data, "{}", text(case, "name")),
            }
        }
    }
}

#[test]
fn vectors_handshakes() {
    let (mut not_exact, mut too_long, mut empty_first) = (0, 0, 0);
    let file = load("secret_connection.json");
    for case in cases(&file, "handshakes") {
        let clear = bytes(case, "peer_sends_clear");
        let peer = Peer::new(case);
        let sealed = match &case["peer_sends_sealed"] {
            Value::Object(_) => peer.byte_by_byte(case, cases(&file, "handshakes")),
            _ => bytes(case, "peer_sends_sealed"),
        };
        let frames = peer.frames(&sealed);
        let go = case["ok"].as_bool().unwrap().then(|| text(case, "peer_id").to_owned());
        let expected = if deviations::ephemeral_is_not_the_exact_35_bytes(&clear) {
            not_exact += 1;
            None
        } else if deviations::auth_message_is_over_256_bytes(&frames) {
            too_long += 1;
            None
        } else if deviations::an_empty_frame_precedes_the_auth_message(&frames) {
            empty_first += 1;
            let without = frames.iter().filter(|frame| !frame.is_empty()).cloned();
            let id = verdict(case, &clear, &peer.seal(&without.collect::<Vec<_>>()));
            assert!(id.is_some(), "{} is wrong in more than one way", text(case, "name"));
            id
        } else {
            go
        };
        assert_eq!(verdict(case, &clear, &sealed), expected, "{}", text(case, "name"));
    }
    assert!(not_exact > 0 && too_long > 0 && empty_first > 0, "a deviation without a case");
}

/// Whom we take the peer for, if we accept it.
fn verdict(case: &Value, clear: &[u8], sealed: &[u8]) -> Option<String> {
    let (mut out, stream) = (Vec::new(), [clear, sealed].concat());
    let ours = handshake(key(case, "our_node_seed"), key(case, "our_ephemeral_private"), &mut out);
    match run(ours, &mut stream.as_slice(), &mut out) {
        Ok(Progress::Done(established)) => {
            let from_key = PublicKey::from(*established.peer_key.as_bytes());
            assert_eq!(tmp2p::NodeId::from_public_key(&from_key), established.peer_id);
            Some(established.peer_id.to_string())
        }
        Ok(_) | Err(_) => None,
    }
}

/// The peer of a recorded handshake, to look into what it sealed.
struct Peer {
    keys: FrameKeys,
}

impl Peer {
    fn new(case: &Value) -> Self {
        let ours = agreement(key(case, "our_ephemeral_private"));
        let theirs = agreement(key(case, "peer_ephemeral_private"));
        let side = if theirs.public < ours.public { Side::Low } else { Side::High };
        let secret = (theirs.agree)(ours.public).unwrap();
        Self { keys: FrameKeys::derive(&secret, side) }
    }

    /// Data of the frames, up to the first that the peer did not seal as it should.
    fn frames(&self, sealed: &[u8]) -> Vec<Vec<u8>> {
        let mut opener = Opener::<ChaCha>::new(&self.keys.send);
        let frames = sealed.chunks_exact(FRAME_SEALED);
        frames.map_while(|frame| Some(opener.open(&mut frame.to_vec()).ok()?.to_vec())).collect()
    }

    /// What `{"first_frame", "frames_of_one_byte"}` stands for: the authentication message that
    /// another case of this peer has in one frame, sent one byte a frame.
    fn byte_by_byte(&self, case: &Value, all: &[Value]) -> Vec<u8> {
        let short = &case["peer_sends_sealed"];
        let length = short["frames_of_one_byte"].as_u64().unwrap() as usize;
        let id_of_good = |other: &&Value| other["peer_id"] == case["peer_id"];
        for other in all.iter().filter(id_of_good) {
            let Some(sealed) = other["peer_sends_sealed"].as_str() else { continue };
            let message = self.frames(&hex::decode(sealed).unwrap()).concat();
            if message.len() == length {
                let frames: Vec<_> = message.into_iter().map(|byte| vec![byte]).collect();
                let sealed = self.seal(&frames);
                assert_eq!(sealed[..FRAME_SEALED], bytes(short, "first_frame"));
                return sealed;
            }
        }
        panic!("no other case has the message of {}", text(case, "name"))
    }

    fn seal(&self, frames: &[Vec<u8>]) -> Vec<u8> {
        let (mut sealer, mut out) = (Sealer::<ChaCha>::new(&self.keys.send), Vec::new());
        for frame in frames {
            let mut writer = sealer.writer(&mut out, 1);
            writer.put(frame);
            writer.finish().unwrap();
        }
        out
    }
}
