//! What seals a frame.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Bytes that a cipher adds to a frame to authenticate it.
pub const TAG: usize = 16;

/// An authenticated cipher with a key for one direction.
///
/// The caller never uses a counter twice with the same key to seal.
pub trait Cipher: Send {
    /// A cipher with this key.
    fn new(key: &[u8; 32]) -> Self;

    /// Encrypts `data` in place and returns its tag.
    fn seal(&self, counter: u64, data: &mut [u8]) -> [u8; TAG];

    /// Checks and decrypts `sealed`, which is data and tag, in place and returns the data.
    ///
    /// # Errors
    /// [`BadFrame`] if it was not sealed like this with this counter and this key.
    fn open<'a>(&self, counter: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadFrame>;
}

/// A frame was not sealed by the peer with the expected counter: corrupted, forged, repeated or
/// out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame fails authentication")]
pub struct BadFrame;

/// ChaCha20-Poly1305 with the nonce 4 zero bytes ‖ counter, little-endian: what is spoken on the
/// wire.
pub struct ChaCha(LessSafeKey);

impl ChaCha {
    fn nonce(counter: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&counter.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Cipher for ChaCha {
    #[expect(clippy::expect_used, reason = "ring checks nothing but the length of the key")]
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key)
            .expect("a key of ChaCha20-Poly1305 has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    #[expect(
        clippy::expect_used,
        reason = "ring checks lengths, which are those of a frame and a tag"
    )]
    fn seal(&self, counter: u64, data: &mut [u8]) -> [u8; TAG] {
        self.0
            .seal_in_place_separate_tag(Self::nonce(counter), Aad::empty(), data)
            .expect("a frame is far below the 256 GiB that the cipher takes at once")
            .as_ref()
            .try_into()
            .expect("a tag of Poly1305 has 16 bytes")
    }

    fn open<'a>(&self, counter: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadFrame> {
        self.0.open_in_place(Self::nonce(counter), Aad::empty(), sealed).map_err(|_| BadFrame)
    }
}

impl fmt::Debug for ChaCha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaCha").finish_non_exhaustive()
    }
}

/// No encryption at all, **for tests and simulations only**: the data stay readable and anybody
/// can make a valid tag.
///
/// Sizes are those of [`ChaCha`]. The tag is a cheap checksum over key, counter and data, so that
/// a corrupted, repeated or misplaced frame is still noticed, as long as nobody forges it.
#[derive(Debug)]
pub struct Null {
    seed: u64,
}

impl Null {
    fn checksum(&self, counter: u64, data: &[u8]) -> [u8; TAG] {
        let start = mix(mix(self.seed, counter), data.len() as u64);
        let (words, rest) = data.as_chunks();
        let sum = words.iter().fold(start, |sum, word| mix(sum, u64::from_le_bytes(*word)));
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let sum = mix(sum, u64::from_le_bytes(last));
        let mut tag = [0; TAG];
        tag[..8].copy_from_slice(&sum.to_le_bytes());
        tag[8..].copy_from_slice(&mix(sum, counter).to_le_bytes());
        tag
    }
}

impl Cipher for Null {
    fn new(key: &[u8; 32]) -> Self {
        let (words, _) = key.as_chunks::<8>();
        Self { seed: words.iter().fold(0, |seed, word| mix(seed, u64::from_le_bytes(*word))) }
    }

    fn seal(&self, counter: u64, data: &mut [u8]) -> [u8; TAG] {
        self.checksum(counter, data)
    }

    fn open<'a>(&self, counter: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8], BadFrame> {
        let (data, tag) = sealed.split_last_chunk_mut::<TAG>().ok_or(BadFrame)?;
        if *tag != self.checksum(counter, data) {
            return Err(BadFrame);
        }
        Ok(data)
    }
}

/// A bijection of `sum` for every `word` and of `word` for every `sum`: a single changed word
/// always changes the result.
fn mix(sum: u64, word: u64) -> u64 {
    // 2^64 divided by the golden ratio, odd: multiplication by it loses nothing.
    (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices_every_bit<C: Cipher>(size: usize) {
        let cipher = C::new(&[7; 32]);
        let mut sealed: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let plain = sealed.clone();
        let tag = cipher.seal(3, &mut sealed);
        sealed.extend(tag);
        assert_eq!(sealed.len(), size + TAG);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(3, &mut flipped), Err(BadFrame), "bit {bit}");
        }
        assert_eq!(cipher.open(2, &mut sealed.clone()), Err(BadFrame));
        assert_eq!(cipher.open(4, &mut sealed.clone()), Err(BadFrame));
        assert_eq!(C::new(&[8; 32]).open(3, &mut sealed.clone()), Err(BadFrame));
        for cut in 0..sealed.len() {
            assert_eq!(cipher.open(3, &mut sealed.clone()[..cut]), Err(BadFrame), "cut {cut}");
        }
        assert_eq!(cipher.open(3, &mut sealed), Ok(plain.clone().as_mut_slice()));
    }

    #[test]
    fn chacha_notices_every_flipped_bit() {
        notices_every_bit::<ChaCha>(100);
    }

    #[test]
    fn null_notices_every_flipped_bit() {
        for size in [0, 1, 7, 8, 9, 100] {
            notices_every_bit::<Null>(size);
        }
    }
}
