//! The bytes of one message.

use std::{fmt, ops::Deref, sync::Arc};

/// The bytes of one message, shared: cloning copies a pointer, so that a broadcast to a thousand
/// peers holds the bytes once.
///
/// Made from a `Vec<u8>` without a copy. Turning it back into one is free for the only owner.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(Arc<Vec<u8>>);

impl Payload {
    /// The bytes as a vector: moved out if this is the only owner, else copied.
    pub fn into_vec(self) -> Vec<u8> {
        Arc::unwrap_or_clone(self.0)
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}
