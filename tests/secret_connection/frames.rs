//! Frames, corrupted and out of order.

use tmp2p::internals::protocol::secret::{ChaCha, FRAME_DATA, FrameError, Opener, Sealer};

use super::{frame, raw_frame};

#[test]
fn bit_flips_at_every_byte_of_a_frame() {
    let mut sealer = Sealer::<ChaCha>::new(&[5; 32]);
    let sealed = frame(&mut sealer, b"data");
    let mut opener = Opener::<ChaCha>::new(&[5; 32]);
    for index in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[index] ^= 1 << (index % 8);
        assert!(matches!(opener.open(&mut flipped), Err(FrameError::BadTag(_))), "byte {index}");
    }
    assert_eq!(opener.open(&mut sealed.clone()), Ok(&b"data"[..]));
}

#[test]
fn replayed_reordered_dropped_and_foreign_frames() {
    let mut sealer = Sealer::<ChaCha>::new(&[5; 32]);
    let frames: Vec<Vec<u8>> = (0..4).map(|i| frame(&mut sealer, &[i])).collect();
    let mut foreign = frame(&mut Sealer::<ChaCha>::new(&[6; 32]), &[0]);
    let opens = |opener: &mut Opener<ChaCha>, i: usize| opener.open(&mut frames[i].clone()).is_ok();
    let fresh = || Opener::<ChaCha>::new(&[5; 32]);

    let mut opener = fresh();
    assert!((0..4).all(|i| opens(&mut opener, i)), "in order");
    let mut opener = fresh();
    assert!(opens(&mut opener, 0) && !opens(&mut opener, 0), "replay");
    let mut opener = fresh();
    assert!(!opens(&mut opener, 1), "reordered");
    let mut opener = fresh();
    assert!(opens(&mut opener, 0) && !opens(&mut opener, 2), "dropped");
    assert!(fresh().open(&mut foreign).is_err(), "another session");
}

#[test]
fn lengths_beyond_the_frame() {
    for length in [FRAME_DATA as u32 + 1, 1 << 16, 1 << 24, 1 << 31, u32::MAX] {
        let mut sealed = raw_frame::<ChaCha>(&[5; 32], 0, length);
        let mut opener = Opener::<ChaCha>::new(&[5; 32]);
        assert_eq!(opener.open(&mut sealed), Err(FrameError::TooLong(length)));
    }
    for length in [0, 1, FRAME_DATA] {
        let mut sealed = raw_frame::<ChaCha>(&[5; 32], 0, length as u32);
        let mut opener = Opener::<ChaCha>::new(&[5; 32]);
        assert_eq!(opener.open(&mut sealed), Ok([0x55; FRAME_DATA][..length].as_ref()));
    }
}
