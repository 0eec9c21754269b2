//! The secret connection against the two independent Rust implementations, over loopback.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "../secret_connection/messages.rs"]
mod messages;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use tmp2p::{
    NodeId, NodeKey,
    internals::protocol::{
        secret::{
            ChaCha, Established, FRAME_DATA, FRAME_SEALED, Handshake, KeyAgreement, Progress,
        },
        wire::{DelimitedReader, Fields},
    },
};

use messages::{OURS, THEIRS, agreement, delimited, key_message};

/// Our side over a blocking socket.
struct Ours {
    stream: TcpStream,
    session: Established<ChaCha>,
    reader: DelimitedReader,
}

impl Ours {
    fn handshake(mut stream: TcpStream, agreement: KeyAgreement, expected: NodeId) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let (mut out, mut held, key) = (Vec::new(), Vec::new(), NodeKey::from_seed(OURS.0));
        let mut handshake = Handshake::start(key, agreement, Some(expected), &mut out);
        loop {
            let mut input = held.as_slice();
            let progress = handshake.advance(&mut input, &mut out).unwrap();
            held = input.to_vec();
            stream.write_all(&out).unwrap();
            out.clear();
            match progress {
                Progress::Stepped(next) => handshake = next,
                Progress::NeedMore(next) => {
                    handshake = next;
                    let mut piece = [0; 600];
                    let len = stream.read(&mut piece).unwrap();
                    assert!(len > 0, "closed during the handshake");
                    held.extend_from_slice(&piece[..len]);
                }
                Progress::Done(session) => {
                    assert!(held.is_empty() && session.rest.is_empty(), "they wait for us");
                    return Self { stream, session, reader: DelimitedReader::new(10_000) };
                }
            }
        }
    }

    /// One message, from the start of a frame.
    fn send(&mut self, body: &[u8]) {
        let mut out = Vec::new();
        let mut writer = self.session.sealer.writer(&mut out, usize::MAX);
        writer.put(&delimited(body));
        writer.finish().unwrap();
        self.stream.write_all(&out).unwrap();
    }

    /// One message, which must end with its frame.
    fn receive(&mut self) -> Vec<u8> {
        loop {
            let mut frame = [0; FRAME_SEALED];
            self.stream.read_exact(&mut frame).unwrap();
            let mut data = self.session.opener.open(&mut frame).unwrap();
            if let Some(message) = self.reader.read(&mut data).unwrap() {
                assert!(data.is_empty());
                return message;
            }
        }
    }
}

/// A message that is a `BytesValue`.
fn bytes_value(size: usize) -> Vec<u8> {
    key_message(1, &vec![0x5a; size])
}

const SIZES: [usize; 6] = [1, 100, 1015, 1024, 1025, 5000];

/// Ephemeral keys at both ends of the order, so that we are the low side once and the high side
/// once, and one of ring's.
fn agreements() -> [KeyAgreement; 3] {
    let with_last_byte = |wanted: u8| {
        (0..)
            .map(|n: u64| {
                let mut private = [0x11; 32];
                private[..8].copy_from_slice(&n.to_le_bytes());
                agreement(private)
            })
            .find(|agreement| agreement.public[0] == wanted)
            .unwrap()
    };
    let ring = KeyAgreement::generate().unwrap();
    [with_last_byte(0), with_last_byte(0xff), ring]
}

/// Runs `oracle` on one end of a loopback connection and us on the other, dialing and dialed.
fn interop(oracle: fn(TcpStream), with_us: fn(&mut Ours)) {
    for agreement in agreements() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialed = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let (ours, theirs) =
            if agreement.public[0] == 0 { (dialed, accepted) } else { (accepted, dialed) };
        theirs.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let other = thread::spawn(move || oracle(theirs));
        let mut ours = Ours::handshake(ours, agreement, NodeKey::from_seed(THEIRS.0).id());
        with_us(&mut ours);
        other.join().unwrap();
    }
}

#[test]
fn interop_with_cometbft_p2p() {
    use cometbft_p2p::{IdentitySecret, ReadMsg, SecretConnection, WriteMsg};
    interop(
        |stream| {
            let key = IdentitySecret::from_bytes(&THEIRS.0);
            let mut connection = SecretConnection::new(stream, &key).unwrap();
            let peer = connection.peer_public_key().peer_id();
            let ours = NodeKey::from_seed(OURS.0).id().to_string();
            assert_eq!(hex::encode(peer.as_bytes()), ours);
            for size in SIZES {
                let echo: Vec<u8> = connection.read_msg().unwrap();
                assert_eq!(echo.len(), size);
                connection.write_msg(&echo).unwrap();
            }
        },
        |ours| {
            for size in SIZES {
                ours.send(&bytes_value(size));
                assert_eq!(ours.receive(), bytes_value(size));
            }
        },
    );
}

#[test]
fn interop_with_tendermint_p2p() {
    use tendermint_p2p::secret_connection::{SecretConnection, Version};
    interop(
        |stream| {
            let mut connection =
                SecretConnection::new(stream, THEIRS.0.into(), Version::V0_34).unwrap();
            let peer = connection.remote_pubkey().peer_id();
            assert_eq!(hex::encode(peer.as_bytes()), NodeKey::from_seed(OURS.0).id().to_string());
            for size in SIZES {
                let expected = delimited(&bytes_value(size));
                let mut message = Vec::new();
                while message.len() < expected.len() {
                    // Its reader wants room for a whole frame.
                    let mut piece = [0; FRAME_DATA];
                    let len = connection.read(&mut piece).unwrap();
                    message.extend_from_slice(&piece[..len]);
                }
                assert!(message == expected);
                connection.write_all(&message).unwrap();
            }
        },
        |ours| {
            for size in SIZES {
                ours.send(&bytes_value(size));
                let received = ours.receive();
                let field = Fields::new(&received).next().unwrap().unwrap();
                assert_eq!(field.bytes().map(<[u8]>::len), Ok(size));
            }
        },
    );
}
