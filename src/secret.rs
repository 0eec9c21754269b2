//! The secret connection by itself, for programs that need nothing else of a node: remote signers,
//! monitors, other transports. What Go has in `p2p/conn/secret_connection.go`.
//!
//! Machines without sockets and threads: they take the bytes that have come and give the bytes that
//! are to be sent, and the caller reads, writes and sees to deadlines. A [`Handshake`] ends with the
//! peer's authenticated key, a [`Sealer`] for what is sent and an [`Opener`] for what comes. What a
//! peer can make them hold or compute is bounded by the constants here. Any thread; nothing blocks.
//!
//! # Two ends in memory
//! ```
//! use tmp2p::{
//!     NodeId, NodeKey,
//!     secret::{ChaCha, FRAME_SEALED, Handshake, HandshakeError, KeyAgreement, Progress},
//! };
//!
//! /// Begins as this node, with the one that was dialed or with anybody.
//! fn start(key: &NodeKey, dialed: Option<NodeId>, out: &mut Vec<u8>) -> Handshake<ChaCha> {
//!     let ephemeral = KeyAgreement::generate().expect("the system has random numbers");
//!     Handshake::start(key.clone(), ephemeral, dialed, out)
//! }
//!
//! /// Goes on with what has come, as far as it goes. What is not used yet stays.
//! fn advance(
//!     handshake: Handshake<ChaCha>,
//!     come: &mut Vec<u8>,
//!     out: &mut Vec<u8>,
//! ) -> Result<Progress<ChaCha>, HandshakeError> {
//!     let mut rest = &come[..];
//!     let progress = handshake.advance(&mut rest, out)?;
//!     let used = come.len() - rest.len();
//!     come.drain(..used);
//!     Ok(progress)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (signer, node) = (NodeKey::generate(), NodeKey::generate());
//! // What is under way to each of them.
//! let (mut to_signer, mut to_node) = (Vec::new(), Vec::new());
//! let at_node = start(&node, Some(signer.id()), &mut to_signer);
//! let at_signer = start(&signer, None, &mut to_node);
//! // The keys are there, and each proves who it is.
//! let Progress::Stepped(at_node) = advance(at_node, &mut to_node, &mut to_signer)? else { panic!() };
//! let Progress::Stepped(at_signer) = advance(at_signer, &mut to_signer, &mut to_node)? else {
//!     panic!()
//! };
//! let Progress::Done(mut at_node) = advance(at_node, &mut to_node, &mut to_signer)? else { panic!() };
//! let Progress::Done(mut at_signer) = advance(at_signer, &mut to_signer, &mut to_node)? else {
//!     panic!()
//! };
//! assert_eq!((at_node.peer_id, at_signer.peer_id), (signer.id(), node.id()));
//!
//! let mut writer = at_node.sealer.writer(&mut to_signer, 1);
//! writer.put(b"sign this");
//! writer.finish()?;
//! assert_eq!(to_signer.len(), FRAME_SEALED);
//! assert_eq!(at_signer.opener.open(&mut to_signer)?, b"sign this");
//! # Ok(())
//! # }
//! ```

pub use crate::protocol::{
    secret::{
        BadFrame, ChaCha, Cipher, EPHEMERAL, Established, FRAME_DATA, FRAME_SEALED, FrameError,
        FrameReader, FrameWriter, Handshake, HandshakeError, KeyAgreement, MAX_AUTH,
        MAX_AUTH_FRAMES, MAX_EMPTY_FRAMES, NonceExhausted, Opener, Progress, Sealer, TAG,
    },
    wire::{DecodeError, DelimitedError, VarintOverflow},
};
