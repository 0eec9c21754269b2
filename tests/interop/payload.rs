//! The payloads of the `peer` programs (`go/README.md`), made here once more, and their digests.

use ring::digest::{Context, SHA256, digest};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Message `index` of a command with this seed.
pub(crate) fn message(seed: u64, index: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add((index + 1).wrapping_mul(GOLDEN));
    if state == 0 {
        state = GOLDEN;
    }
    let mut payload = vec![0; size];
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        word.copy_from_slice(&next(&mut state));
    }
    let rest = words.into_remainder();
    rest.copy_from_slice(&next(&mut state)[..rest.len()]);
    payload
}

/// Message `index` of a flood: its first eight bytes are the index.
pub(crate) fn numbered(seed: u64, index: u64, size: usize) -> Vec<u8> {
    let mut payload = message(seed, index, size);
    payload[..8].copy_from_slice(&index.to_be_bytes());
    payload
}

/// SHA-256 of all payloads in order, with how many there were.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    digest: Context,
}

impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, bytes: 0, digest: Context::new(&SHA256) }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, payload: &[u8]) {
        self.count += 1;
        self.bytes += payload.len() as u64;
        self.digest.update(payload);
    }

    pub(crate) fn sha256(&self) -> String {
        hex::encode(self.digest.clone().finish())
    }
}

/// SHA-256 in hex, as the `peer` programs print it.
pub(crate) fn sha256(payload: &[u8]) -> String {
    hex::encode(digest(&SHA256, payload))
}

fn next(state: &mut u64) -> [u8; 8] {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
}

#[test]
fn the_table_of_the_readme() {
    for (seed, index, size, expected) in [
        (0, 0, 20, "7a48219ae2b3830d679dfef1794cc454780e7a00"),
        (1, 0, 11, "5d6bb49c2232618010fe39"),
        (42, 3, 16, "df5c67e27dc749f1590e0e84cc464362"),
        (7046029254386353131, 0, 8, "7a48219ae2b3830d"),
    ] {
        assert_eq!(hex::encode(message(seed, index, size)), expected);
    }
    let large = sha256(&message(7, 0, 100_000));
    assert_eq!(large, "d7b01c8492760523d914a564fc249d28dbb622e8f6758a0d612202849164f849");
}
