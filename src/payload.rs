//! The bytes of one message.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

/// The bytes of one message, shared: cloning copies a pointer, so that a broadcast to a thousand
/// peers holds the bytes once.
///
/// Made from whatever holds bytes: from `Vec<u8>`, `Box<[u8]>`, `String` and `Arc<Vec<u8>>` without a
/// copy, from slices, arrays and `Arc<[u8]>` with one. Turning it back into a vector is free for the
/// only owner. Compared with bytes as bytes:
///
/// ```
/// use tmp2p::Payload;
///
/// let payload = Payload::from("hello");
/// assert_eq!(payload, b"hello");
/// assert!("hello" == payload && payload != *b"hello!");
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Payload(
    /// **Invariant:** `None` if there are no bytes.
    Option<Arc<Vec<u8>>>,
);

/// The memory of a message that nobody holds any more.
///
/// **Invariant:** it has one owner, and no bytes in it.
#[derive(Debug)]
pub(crate) struct Spare(Arc<Vec<u8>>);

/// The size of a buffer for so many bytes. Sizes lie an eighth apart, below 128 bytes 16 bytes, as
/// allocators have it: so what one message leaves is good for others, too.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a step is an eighth of the bytes at most, and no buffer has more than half of what a `usize` counts"
)]
pub(crate) const fn buffer_size(bytes: usize) -> usize {
    let step = if bytes <= 128 { 16 } else { 1 << ((bytes - 1).ilog2() - 3) };
    match bytes.div_ceil(step) {
        0 => step,
        steps => steps * step,
    }
}

impl Payload {
    /// The bytes as a vector: moved out if this is the only owner, else copied.
    pub fn into_vec(self) -> Vec<u8> {
        self.0.map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// How much memory its bytes take, and those that there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.0.as_deref().map_or(0, Vec::capacity)
    }

    /// Its memory, if this is the only owner.
    pub(crate) fn into_spare(self) -> Option<Spare> {
        let mut bytes = self.0?;
        Arc::get_mut(&mut bytes)?.clear();
        Some(Spare(bytes))
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl Spare {
    /// The size of its buffer.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Its buffer. What is left is good for [`into_payload`](Self::into_payload).
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        Arc::get_mut(&mut self.0).map(std::mem::take).unwrap_or_default()
    }

    /// A message with these bytes.
    pub(crate) fn into_payload(mut self, bytes: Vec<u8>) -> Payload {
        match Arc::get_mut(&mut self.0) {
            Some(own) if !bytes.is_empty() => {
                *own = bytes;
                Payload(Some(self.0))
            }
            _ => bytes.into(),
        }
    }
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Arc<Vec<u8>>> for Payload {
    fn from(bytes: Arc<Vec<u8>>) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    fn from(bytes: &[u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

impl<const N: usize> From<[u8; N]> for Payload {
    fn from(bytes: [u8; N]) -> Self {
        bytes.to_vec().into()
    }
}

/// What a vector is made from.
macro_rules! from_bytes {
    ($($bytes:ty: $into_vec:expr),+ $(,)?) => {$(
        impl From<$bytes> for Payload {
            fn from(bytes: $bytes) -> Self {
                let into_vec: fn($bytes) -> Vec<u8> = $into_vec;
                Arc::new(into_vec(bytes)).into()
            }
        }
    )+};
}

from_bytes! {
    Vec<u8>: |bytes| bytes,
    Box<[u8]>: Vec::from,
    String: String::into_bytes,
    &[u8]: <[u8]>::to_vec,
    &Vec<u8>: Vec::clone,
    &str: |text| text.as_bytes().to_vec(),
    Arc<[u8]>: |bytes| bytes.to_vec(),
    Cow<'_, [u8]>: |bytes| bytes.into_owned(),
}

/// Equal in both directions, if the bytes are.
macro_rules! equal_bytes {
    ($($({$n:ident})? $bytes:ty),+ $(,)?) => {$(
        impl$(<const $n: usize>)? PartialEq<$bytes> for Payload {
            fn eq(&self, other: &$bytes) -> bool {
                **self == *AsRef::<[u8]>::as_ref(other)
            }
        }

        impl$(<const $n: usize>)? PartialEq<Payload> for $bytes {
            fn eq(&self, other: &Payload) -> bool {
                other == self
            }
        }
    )+};
}

equal_bytes!([u8], &[u8], {N} [u8; N], {N} &[u8; N], Vec<u8>, str, &str, String);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_holds_bytes_is_a_payload() {
        let vec = b"bytes".to_vec();
        let at = vec.as_ptr();
        let payload = Payload::from(vec);
        assert_eq!(payload.as_ptr(), at, "no copy");
        let vec = payload.into_vec();
        assert_eq!(vec.as_ptr(), at, "no copy");
        let shared = Arc::new(b"bytes".to_vec());
        assert_eq!(Payload::from(shared.clone()).as_ptr(), shared.as_ptr(), "no copy");
        let text = "bytes".to_owned();
        let at = text.as_ptr();
        assert_eq!(Payload::from(text).as_ptr(), at, "no copy");
        for payload in [
            Payload::from(b"bytes"),
            Payload::from(*b"bytes"),
            Payload::from(&b"bytes"[..]),
            Payload::from(&b"bytes".to_vec()),
            Payload::from("bytes"),
            Payload::from(Box::<[u8]>::from(&b"bytes"[..])),
            Payload::from(Arc::<[u8]>::from(&b"bytes"[..])),
            Payload::from(Cow::Borrowed(&b"bytes"[..])),
            Payload::from(shared),
        ] {
            assert_eq!(payload, b"bytes");
        }
    }

    #[test]
    fn no_bytes_are_one_payload_however_they_come() {
        let empty = Payload::default();
        for payload in [
            Payload::from(Vec::with_capacity(10)),
            Payload::from(""),
            Payload::from(Arc::new(Vec::new())),
        ] {
            assert_eq!(payload, empty);
            assert_eq!((payload.len(), payload.clone().into_vec()), (0, Vec::new()));
            assert!(payload.into_spare().is_none());
        }
    }

    #[test]
    fn a_payload_equals_its_bytes_in_both_directions() {
        let payload = Payload::from("bytes");
        macro_rules! both_ways {
            ($($bytes:expr),+) => {$(
                assert_eq!(payload, $bytes);
                assert_eq!($bytes, payload);
            )+};
        }
        let (slice, vec) = (&b"bytes"[..], b"bytes".to_vec());
        both_ways!(*b"bytes", b"bytes", slice, *slice, vec, "bytes", *"bytes", "bytes".to_owned());
        assert_ne!(payload, b"byte");
        assert_ne!("bytes ", payload);
        assert_ne!(payload, [0; 5]);
    }
}
