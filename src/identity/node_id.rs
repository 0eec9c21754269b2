//! The name of a node on the network.

use std::{fmt, str::FromStr};

use ring::digest;

use super::PublicKey;

/// The name of a node: the first 20 bytes of the SHA-256 of its public key, shown as 40 lower-case
/// hex digits.
///
/// Upper-case digits are accepted when parsed and lower-cased. The reference keeps them, which
/// makes a second name that no authenticated peer can ever have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; NodeId::LENGTH]);

impl NodeId {
    /// Bytes of an ID (`crypto/crypto.go`, `AddressSize`).
    pub const LENGTH: usize = 20;

    /// The ID with these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The ID of the node that holds the private half of this key.
    #[expect(clippy::expect_used, reason = "what is hashed has no say in how long the hash is")]
    pub fn from_public_key(key: &PublicKey) -> Self {
        let hash = digest::digest(&digest::SHA256, key.as_bytes());
        let id = hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
        Self(*id)
    }

    /// The ID's bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Its text, in ASCII.
    #[expect(clippy::indexing_slicing, reason = "half a byte is below 16")]
    pub(crate) fn digits(&self) -> [u8; 2 * Self::LENGTH] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * Self::LENGTH];
        for ([high, low], byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            (*high, *low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]);
        }
        text
    }
}

impl fmt::Display for NodeId {
    #[expect(clippy::expect_used, reason = "digits are ASCII")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.digits()).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, NodeIdError> {
        if text.is_empty() {
            return Err(NodeIdError::Empty);
        }
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LENGTH {
            return Err(NodeIdError::Length { found: digits.len() });
        }
        let mut id = [0; Self::LENGTH];
        for (byte, [high, low]) in id.iter_mut().zip(digits.as_chunks().0) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(id))
    }
}

crate::text::as_text!(NodeId);

fn digit(ascii: u8) -> Result<u8, NodeIdError> {
    match ascii {
        b'0'..=b'9' => Ok(ascii & 0xf),
        // Capital or not.
        b'a'..=b'f' | b'A'..=b'F' => Ok((ascii & 0xf).saturating_add(9)),
        _ => Err(NodeIdError::NotHex),
    }
}

/// A text is no node ID.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeIdError {
    /// Nothing there.
    #[error("the node id is empty")]
    Empty,
    /// Not 40 bytes of text.
    #[error("a node id is 40 hex digits, not {found} bytes")]
    Length {
        /// Length of the text in bytes.
        found: usize,
    },
    /// Something other than 0–9, a–f, A–F.
    #[error("a node id is 40 hex digits; something else is among them")]
    NotHex,
}

crate::text::readable_debug!(NodeIdError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_case_is_the_same_id() {
        let lower = "00112233445566778899aabbccddeeff0a1b2c3d";
        let id: NodeId = lower.parse().unwrap();
        assert_eq!(id, lower.to_uppercase().parse().unwrap());
        assert_eq!(id.to_string(), lower);
        assert_eq!(format!("{id:?}"), lower);
        assert_eq!(format!("{id:>42}"), format!("  {lower}"));
        assert_eq!(id, NodeId::from_bytes(*id.as_bytes()));
    }

    #[test]
    fn refuses_every_wrong_length_and_every_wrong_byte() {
        let good = "00112233445566778899aabbccddeeff0a1b2c3d";
        assert_eq!("".parse::<NodeId>(), Err(NodeIdError::Empty));
        for len in 1..40 {
            let error = good[..len].parse::<NodeId>().unwrap_err();
            assert_eq!(error, NodeIdError::Length { found: len });
        }
        let long = format!("{good}0");
        assert_eq!(long.parse::<NodeId>(), Err(NodeIdError::Length { found: 41 }));
        for at in 0..40 {
            for byte in 0..=0x7f_u8 {
                let mut text = good.to_owned().into_bytes();
                text[at] = byte;
                let text = String::from_utf8(text).unwrap();
                assert_eq!(text.parse::<NodeId>().is_ok(), byte.is_ascii_hexdigit(), "{text:?}");
            }
        }
        // 40 bytes, 20 characters.
        assert_eq!("é".repeat(20).parse::<NodeId>(), Err(NodeIdError::NotHex));
    }
}
