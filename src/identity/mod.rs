//! Who a node is: its key, and the ID that its public key hashes to.
//!
//! No thread of its own; the only I/O is reading and writing the key file, on the caller's thread.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod key_file;
mod node_id;
mod node_key;
mod public_key;

pub use key_file::NodeKeyError;
pub use node_id::{NodeId, NodeIdError};
pub use node_key::NodeKey;
pub use public_key::{BadSignature, PublicKey};
