#![no_main]
//! Frames, intact and not.

use libfuzzer_sys::fuzz_target;
use tmp2p::internals::protocol::secret::{
    ChaCha, Cipher, FRAME_DATA, FRAME_SEALED, FrameError, MAX_EMPTY_FRAMES, Opener, Sealer, TAG,
};
use tmp2p_fuzz::Script;

const KEY: [u8; 32] = [7; 32];

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    writes_and_reads(&mut Script::new(script.piece()));
    opens(&mut script);
});

/// What is put comes out, however it is put and whatever the batches.
fn writes_and_reads(script: &mut Script) {
    let (mut sealer, mut opener) = (Sealer::<ChaCha>::new(&KEY), Opener::<ChaCha>::new(&KEY));
    let (mut put, mut got, mut next) = (Vec::new(), Vec::new(), 0_u8);
    while !script.is_empty() {
        let mut out = Vec::new();
        let mut writer = sealer.writer(&mut out, script.below(5));
        let batch = put.len();
        for _ in 0..script.below(8) {
            if script.below(8) == 0 {
                writer.set_max_frames(script.below(5));
            }
            let len = (script.word() % 3000).min(writer.room());
            let piece: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
            next = next.wrapping_add(31);
            writer.put(&piece);
            put.extend(piece);
        }
        if script.below(16) == 0 {
            // Given up: the last, unfinished slot is lost, what was sealed is not.
            drop(writer);
            put.truncate(batch + out.len() / FRAME_SEALED * FRAME_DATA);
        } else {
            let frames = writer.finish().expect("far from the last nonce");
            assert_eq!(out.len(), frames * FRAME_SEALED);
        }
        for frame in out.chunks_exact_mut(FRAME_SEALED) {
            let data = opener.open(frame).expect("an intact frame");
            assert!(!data.is_empty(), "an empty frame was sent");
            got.extend_from_slice(data);
        }
    }
    assert_eq!(put, got);
}

/// One frame after the other, each as the script says.
fn opens(script: &mut Script) {
    let start = match script.below(4) {
        0 => u64::MAX - 2,
        _ => 0,
    };
    let cipher = ChaCha::new(&KEY);
    let mut opener = Opener::<ChaCha>::with_counter(&KEY, start);
    let (mut counter, mut empty) = (start, 0);
    while !script.is_empty() {
        let length = match script.below(4) {
            0 => u32::MAX - script.byte() as u32,
            1 => FRAME_DATA as u32 + script.below(3) as u32,
            2 => 0,
            _ => script.word() as u32 % (FRAME_DATA as u32 + 1),
        };
        let mut frame = length.to_le_bytes().to_vec();
        frame.extend_from_slice(script.piece());
        frame.resize(FRAME_SEALED - TAG, script.byte());
        let clear = frame.clone();
        let tag = cipher.seal(counter, &mut frame);
        frame.extend(tag);
        if script.below(8) == 0 {
            frame[script.word() % FRAME_SEALED] ^= 1 << script.below(8);
            let error = opener.open(&mut frame).expect_err("a forged frame");
            assert!(matches!(error, FrameError::BadTag(_) | FrameError::NonceExhausted(_)));
            return;
        }
        empty = if length == 0 { empty + 1 } else { 0 };
        match opener.open(&mut frame) {
            Ok(data) => {
                assert_eq!(data, &clear[4..][..length as usize]);
                assert!(empty <= MAX_EMPTY_FRAMES && counter < u64::MAX);
                counter += 1;
            }
            Err(FrameError::TooLong(found)) => {
                return assert!(found == length && length as usize > FRAME_DATA);
            }
            Err(FrameError::TooManyEmpty) => return assert!(empty > MAX_EMPTY_FRAMES),
            Err(FrameError::NonceExhausted(_)) => return assert_eq!(counter, u64::MAX),
            Err(error) => panic!("{error}"),
        }
    }
}
