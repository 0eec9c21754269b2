//! The secret connection: authenticated key exchange, then sealed frames.
//!
//! Owns everything between the first byte on a socket and the plaintext stream: the
//! [`Handshake`], and the [`Sealer`] and [`Opener`] that come out of it. Runs on the event loop's
//! thread, which owns sockets, deadlines and buffers; nothing in here blocks, and what a peer can
//! make us hold or compute is bounded by the constants next to the code.
//!
//! The names and constants are those of Tendermint's `p2p/conn/secret_connection.go`.

mod agreement;
mod auth;
mod cipher;
mod error;
mod frame;
mod handshake;
mod key_schedule;
mod limits;
#[cfg(test)]
mod shown;
mod transcript;

pub use agreement::KeyAgreement;
pub use cipher::{BadFrame, ChaCha, Cipher, Null, TAG};
pub use error::HandshakeError;
pub use frame::{
    FRAME_DATA, FRAME_SEALED, FrameError, FrameReader, FrameWriter, MAX_EMPTY_FRAMES,
    NonceExhausted, Opener, Sealer,
};
pub use handshake::{EPHEMERAL, Established, Handshake, Progress};
pub use key_schedule::{FrameKeys, Side};
pub use limits::{MAX_AUTH, MAX_AUTH_FRAMES};
pub use transcript::challenge;
