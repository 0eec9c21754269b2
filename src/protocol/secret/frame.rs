//! Sealed frames: a byte stream cut into slots of 1024 bytes.
//!
//! A frame in clear is a length (4 bytes, little-endian), that many bytes of data, and padding up
//! to 1028 bytes; sealed it is 1044. Each direction counts its frames from 0 and the count is the
//! nonce.

use std::{fmt, marker::PhantomData};

use zeroize::Zeroizing;

use super::cipher::{BadFrame, Cipher, TAG};

/// Most bytes of data in a frame.
pub const FRAME_DATA: usize = 1024;

/// Size of the length in front of the data.
const LENGTH: usize = 4;

/// Size of a frame before it is sealed.
const FRAME_CLEAR: usize = LENGTH + FRAME_DATA;

/// Size of every frame on the wire.
pub const FRAME_SEALED: usize = FRAME_CLEAR + TAG;

/// How many frames without data may follow each other.
///
/// Such a frame costs us as much as a full one (about 0.6 µs) and gives nothing that a rate
/// limit on data or packets would count, so a peer could keep a core busy for as long as it
/// likes. No known implementation sends even one: Go's `Write` of nothing sends nothing, and a Go
/// receiver takes one between two packets for a broken packet. 16 is slack for an implementation
/// that flushes without need.
pub const MAX_EMPTY_FRAMES: u32 = 16;

/// The direction has used up its nonces: the session must end before one is used twice. (At a
/// million frames a second that takes half a million years.)
///
/// The last count, 2^64 − 1, is never used, because Go panics on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nonces exhausted")]
pub struct NonceExhausted;

/// Seals what we send. It keeps the key and not the cipher, which is made anew for each batch: of
/// ring's some 550 bytes there would be two in every idle connection.
pub struct Sealer<C> {
    key: Zeroizing<[u8; 32]>,
    counter: u64,
    cipher: PhantomData<fn() -> C>,
}

impl<C: Cipher> Sealer<C> {
    /// A sealer at the start of a session.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with_counter(key, 0)
    }

    /// A sealer whose next frame has this count; **for tests**.
    #[doc(hidden)]
    pub fn with_counter(key: &[u8; 32], counter: u64) -> Self {
        Self { key: Zeroizing::new(*key), counter, cipher: PhantomData }
    }

    /// Starts a batch of at most `max_frames` frames, which are appended to `out`.
    pub fn writer<'a>(&'a mut self, out: &'a mut Vec<u8>, max_frames: usize) -> FrameWriter<'a, C> {
        let (cipher, counter) = (C::new(&self.key), &mut self.counter);
        FrameWriter { cipher, counter, out, slot: None, frames: 0, max_frames, exhausted: false }
    }
}

impl<C> fmt::Debug for Sealer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// Writes a byte stream as sealed frames: each byte is copied once, straight into its slot, and
/// slots are sealed in place as they fill up.
///
/// Dropped without [`finish`](Self::finish) it takes the last, unsealed slot back: what was put
/// there is lost, but never seen in clear on the wire.
#[must_use = "only `finish` seals the last slot"]
pub struct FrameWriter<'a, C> {
    cipher: C,
    counter: &'a mut u64,
    out: &'a mut Vec<u8>,
    /// Where in `out` the unsealed slot starts. Everything behind it is that slot.
    slot: Option<usize>,
    /// Slots begun.
    frames: usize,
    max_frames: usize,
    exhausted: bool,
}

impl<C: Cipher> FrameWriter<'_, C> {
    /// How many bytes can still be put: what is free in the slot that was begun, and in those
    /// that may still be begun. 0 once the nonces are exhausted.
    #[inline]
    pub fn room(&self) -> usize {
        if self.exhausted {
            return 0;
        }
        let begun = self.slot.map_or(0, |slot| self.free(slot));
        begun.saturating_add(self.max_frames.saturating_sub(self.frames).saturating_mul(FRAME_DATA))
    }

    /// How many frames the batch may have.
    pub fn max_frames(&self) -> usize {
        self.max_frames
    }

    /// Changes how many frames the batch may have. Frames that were begun stay.
    pub fn set_max_frames(&mut self, max_frames: usize) {
        self.max_frames = max_frames;
    }

    /// Frames so far, one that is not full yet included.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Appends to the stream. `bytes` must not be longer than [`room`](Self::room); what is
    /// beyond goes out all the same, in more frames than were allowed.
    #[inline]
    pub fn put(&mut self, mut bytes: &[u8]) {
        debug_assert!(self.exhausted || bytes.len() <= self.room(), "more than there is room for");
        while !bytes.is_empty() && !self.exhausted {
            let slot = self.slot.unwrap_or_else(|| self.begin_slot());
            let free = self.free(slot);
            let (now, later) = bytes.split_at_checked(free).unwrap_or((bytes, &[]));
            self.out.extend_from_slice(now);
            bytes = later;
            if now.len() == free {
                self.seal_slot();
            }
        }
    }

    /// Ends the batch: seals the last slot, padded with zeros, and returns the number of frames.
    /// A slot without data is never sent.
    ///
    /// # Errors
    /// [`NonceExhausted`] if a frame could not be sealed. It and everything put after it is gone;
    /// the session is over.
    pub fn finish(mut self) -> Result<usize, NonceExhausted> {
        self.seal_slot();
        if self.exhausted { Err(NonceExhausted) } else { Ok(self.frames) }
    }

    fn begin_slot(&mut self) -> usize {
        let slot = self.out.len();
        // At most one growth per frame, and none once `out` has seen a batch of this size.
        self.out.reserve(FRAME_SEALED);
        self.out.extend_from_slice(&[0; LENGTH]);
        self.slot = Some(slot);
        self.frames = self.frames.saturating_add(1);
        slot
    }

    /// What is free in the slot that begins there.
    fn free(&self, slot: usize) -> usize {
        FRAME_CLEAR.saturating_sub(self.out.len().saturating_sub(slot))
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "`begin_slot` has put the length there, and nobody else changes `out` meanwhile"
    )]
    fn seal_slot(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let data = self.out.len() - slot - LENGTH;
        self.out[slot..slot + LENGTH].copy_from_slice(&(data as u32).to_le_bytes());
        // Zeros, whatever an earlier batch left in this memory: the peer can read the padding.
        self.out.resize(slot + FRAME_CLEAR, 0);
        let Some(next) = self.counter.checked_add(1) else {
            self.out.truncate(slot);
            self.exhausted = true;
            return;
        };
        let tag = self.cipher.seal(*self.counter, &mut self.out[slot..]);
        self.out.extend_from_slice(&tag);
        *self.counter = next;
    }
}

impl<C> Drop for FrameWriter<'_, C> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.out.truncate(slot);
        }
    }
}

impl<C> fmt::Debug for FrameWriter<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("frames", &self.frames)
            .field("max_frames", &self.max_frames)
            .finish_non_exhaustive()
    }
}

/// Opens what the peer sends. Like [`Sealer`] it keeps the key alone.
pub struct Opener<C> {
    key: Zeroizing<[u8; 32]>,
    counter: u64,
    empty_in_a_row: u32,
    cipher: PhantomData<fn() -> C>,
}

impl<C: Cipher> Opener<C> {
    /// An opener at the start of a session.
    pub fn new(key: &[u8; 32]) -> Self {
        Self::with_counter(key, 0)
    }

    /// An opener that expects this count next; **for tests**.
    #[doc(hidden)]
    pub fn with_counter(key: &[u8; 32], counter: u64) -> Self {
        let key = Zeroizing::new(*key);
        Self { key, counter, empty_in_a_row: 0, cipher: PhantomData }
    }

    /// Starts a batch of frames.
    pub fn reader(&mut self) -> FrameReader<'_, C> {
        FrameReader { cipher: C::new(&self.key), opener: self }
    }

    /// Opens a frame that comes alone, see [`FrameReader::open`].
    ///
    /// # Errors
    /// As there.
    pub fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], FrameError> {
        self.reader().open(frame)
    }
}

/// Opens frames that come together.
pub struct FrameReader<'a, C> {
    cipher: C,
    opener: &'a mut Opener<C>,
}

impl<C: Cipher> FrameReader<'_, C> {
    /// Opens one frame of [`FRAME_SEALED`] bytes in place and returns its data: at most
    /// [`FRAME_DATA`] bytes, possibly none, which is not the end of anything. The padding is not
    /// looked at: Go leaves stale bytes there.
    ///
    /// # Errors
    /// After any error the session is over: drop the connection.
    pub fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], FrameError> {
        debug_assert_eq!(frame.len(), FRAME_SEALED, "frames have one size");
        let opener = &mut *self.opener;
        let next = opener.counter.checked_add(1).ok_or(NonceExhausted)?;
        let clear: &[u8] = self.cipher.open(opener.counter, frame)?;
        opener.counter = next;
        let (length, data) = clear.split_first_chunk::<LENGTH>().ok_or(BadFrame)?;
        let length = u32::from_le_bytes(*length);
        let data = data.get(..length as usize).ok_or(FrameError::TooLong(length))?;
        if !data.is_empty() {
            opener.empty_in_a_row = 0;
            return Ok(data);
        }
        opener.empty_in_a_row = opener.empty_in_a_row.saturating_add(1);
        if opener.empty_in_a_row > MAX_EMPTY_FRAMES {
            return Err(FrameError::TooManyEmpty);
        }
        Ok(data)
    }
}

impl<C> fmt::Debug for FrameReader<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("opener", &self.opener).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Opener<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("counter", &self.counter).finish_non_exhaustive()
    }
}

/// Why a received frame ends the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Not sealed by the peer with the count that is due: corrupted, forged, repeated or out of
    /// order.
    #[error(transparent)]
    BadTag(#[from] BadFrame),
    /// The peer sealed a frame that claims more data than fits, in bytes.
    #[error("frame claims {0} bytes of data, more than {FRAME_DATA}")]
    TooLong(u32),
    /// The peer sent more than [`MAX_EMPTY_FRAMES`] frames without data in a row.
    #[error("more than {MAX_EMPTY_FRAMES} empty frames in a row")]
    TooManyEmpty,
    /// Nobody's fault: the peer's nonces are used up.
    #[error(transparent)]
    NonceExhausted(#[from] NonceExhausted),
}

#[cfg(test)]
mod tests {
    use super::{super::cipher::Null, *};

    const KEY: [u8; 32] = [1; 32];

    fn sealer() -> Sealer<Null> {
        Sealer::new(&KEY)
    }

    fn seal(sealer: &mut Sealer<Null>, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = sealer.writer(&mut out, usize::MAX);
        writer.put(data);
        writer.finish().unwrap();
        out
    }

    #[test]
    fn room_counts_down_to_zero_and_follows_the_limit() {
        let (mut sealer, mut out) = (sealer(), Vec::new());
        let mut writer = sealer.writer(&mut out, 2);
        assert_eq!((writer.room(), writer.frames()), (2048, 0));
        writer.put(&[0; 1000]);
        assert_eq!((writer.room(), writer.frames()), (1048, 1));
        writer.set_max_frames(1);
        assert_eq!(writer.room(), 24);
        writer.set_max_frames(0);
        assert_eq!(writer.room(), 24, "a slot that was begun may be filled");
        writer.put(&[0; 24]);
        assert_eq!((writer.room(), writer.frames()), (0, 1));
        writer.set_max_frames(3);
        assert_eq!(writer.room(), 2048);
        writer.put(&[0; 2048]);
        assert_eq!((writer.room(), writer.frames()), (0, 3));
        assert_eq!(writer.finish(), Ok(3));
        assert_eq!(out.len(), 3 * FRAME_SEALED);
        assert_eq!(sealer.writer(&mut out, usize::MAX).room(), usize::MAX);
    }

    #[test]
    fn nothing_put_is_nothing_sent() {
        let (mut sealer, mut out) = (sealer(), vec![9]);
        let mut writer = sealer.writer(&mut out, 1);
        writer.put(&[]);
        assert_eq!(writer.finish(), Ok(0));
        assert_eq!(out, [9]);
        let full = seal(&mut sealer, &[0; FRAME_DATA]);
        assert_eq!(full.len(), FRAME_SEALED, "no empty frame behind a full one");
        assert_eq!(sealer.counter, 1);
    }

    #[test]
    fn padding_is_zero_in_reused_memory() {
        let (mut sealer, mut out) = (sealer(), vec![0xee; 4 * FRAME_SEALED]);
        out.clear();
        let mut writer = sealer.writer(&mut out, 2);
        writer.put(&[0xaa; FRAME_DATA + 3]);
        assert_eq!(writer.finish(), Ok(2));
        let mut expected = [0; FRAME_CLEAR];
        expected[0] = 3;
        expected[LENGTH..LENGTH + 3].fill(0xaa);
        assert_eq!(out[FRAME_SEALED..][..FRAME_CLEAR], expected);
        assert_eq!(out.capacity(), 4 * FRAME_SEALED);
    }

    #[test]
    fn a_dropped_writer_leaves_nothing_in_clear() {
        let (mut sealer, mut out) = (sealer(), vec![1, 2, 3]);
        let mut writer = sealer.writer(&mut out, 2);
        writer.put(&[0xaa; FRAME_DATA + 3]);
        drop(writer);
        assert_eq!(out.len(), 3 + FRAME_SEALED, "the full frame had been sealed");
        assert_eq!(sealer.counter, 1);
    }

    #[test]
    fn the_same_stream_however_it_is_put() {
        let data: Vec<u8> = (0..2500_u32).map(|i| i as u8).collect();
        let whole = seal(&mut sealer(), &data);
        for size in [1, 7, 1000, 1023, 1024, 1025, 2500] {
            let (mut sealer, mut out) = (sealer(), Vec::new());
            let mut writer = sealer.writer(&mut out, 3);
            data.chunks(size).for_each(|piece| writer.put(piece));
            assert_eq!(writer.finish(), Ok(3));
            assert_eq!(out, whole, "pieces of {size}");
        }
    }

    #[test]
    fn empty_frames_are_tolerated_up_to_the_bound() {
        let cipher = Null::new(&KEY);
        let mut opener = Opener::<Null>::new(&KEY);
        let mut counter = 0;
        let mut send = |opener: &mut Opener<Null>, length: u8| {
            let mut frame = vec![0; FRAME_CLEAR];
            frame[0] = length;
            let tag = cipher.seal(counter, &mut frame);
            frame.extend(tag);
            counter += 1;
            opener.open(&mut frame).map(<[u8]>::len)
        };
        for round in 0..3 {
            for _ in 0..MAX_EMPTY_FRAMES {
                assert_eq!(send(&mut opener, 0), Ok(0), "round {round}");
            }
            assert_eq!(send(&mut opener, 1), Ok(1), "data resets the count");
        }
        for _ in 0..MAX_EMPTY_FRAMES {
            assert_eq!(send(&mut opener, 0), Ok(0));
        }
        assert_eq!(send(&mut opener, 0), Err(FrameError::TooManyEmpty));
    }
}
