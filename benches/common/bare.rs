//! ring's ChaCha20-Poly1305 on frames and nothing else: the floor under everything that is sealed.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// Bytes of payload that a frame carries.
pub(crate) const PAYLOAD: usize = 1024;

/// A frame before it is sealed: a length and the payload.
pub(crate) const CLEAR: usize = 4 + PAYLOAD;

/// A sealed frame.
pub(crate) const SEALED: usize = CLEAR + 16;

/// One direction's key and count of frames.
pub(crate) struct Bare {
    key: LessSafeKey,
    counter: u64,
}

impl Bare {
    /// At the start of a session.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let key =
            UnboundKey::new(&CHACHA20_POLY1305, key).expect("the cipher's keys have 32 bytes");
        Self { key: LessSafeKey::new(key), counter: 0 }
    }

    /// Seals the first [`CLEAR`] bytes of a frame in place; the tag goes behind them.
    #[inline]
    pub(crate) fn seal(&mut self, frame: &mut [u8]) {
        let nonce = self.nonce();
        let (clear, tag) = frame.split_at_mut(CLEAR);
        let sealed = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), clear);
        tag.copy_from_slice(sealed.expect("a frame is short").as_ref());
    }

    /// Opens a sealed frame in place.
    ///
    /// # Panics
    /// If it is not the one that is due.
    #[inline]
    pub(crate) fn open(&mut self, frame: &mut [u8]) {
        let nonce = self.nonce();
        self.key
            .open_in_place(nonce, Aad::empty(), frame)
            .expect("this program sealed the frame with the same key and count");
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        Nonce::assume_unique_for_key(nonce)
    }
}
