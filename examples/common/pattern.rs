//! Bytes that tell whether a message arrived as it was sent.

/// The bytes of message `number` of `stream`: always the same ones, and different ones for every
/// other message, so that a lost, doubled, swapped or damaged message shows.
pub(crate) fn message(stream: u64, number: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fill(stream, number, &mut bytes);
    bytes
}

/// Writes them into a part of a message.
pub(crate) fn fill(stream: u64, number: u64, bytes: &mut [u8]) {
    // SplitMix64: every start gives a sequence of its own.
    let mut state = stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(32);
    for chunk in bytes.chunks_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let word = (word ^ (word >> 31)).to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}
