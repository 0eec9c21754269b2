//! Numbers of variable length: seven bits a byte, lowest first.

/// Longest encoding of a 64-bit number, in bytes.
pub const MAX_VARINT: usize = 10;

/// The encoding goes on after ten bytes, or its tenth byte does not fit into 64 bits.
///
/// The bound stops a peer from sending one number for ever; it is the one of Go's
/// `binary.ReadUvarint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("number does not fit into 64 bits")]
pub struct VarintOverflow;

/// Reads one number from bytes that arrive one by one.
#[derive(Clone, Copy, Debug, Default)]
pub struct VarintReader {
    value: u64,
    len: u8,
}

impl VarintReader {
    /// A reader at the start of a number.
    pub const NEW: Self = Self { value: 0, len: 0 };

    /// Takes the next byte; `Some` once the number is complete, after which the reader is ready
    /// for another one.
    ///
    /// Encodings longer than necessary are accepted, as Go accepts them.
    ///
    /// # Errors
    /// [`VarintOverflow`] on the tenth byte at the latest.
    #[inline]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "`len` is 9 at most: a tenth byte is the last"
    )]
    pub fn push(&mut self, byte: u8) -> Result<Option<u64>, VarintOverflow> {
        let is_tenth = usize::from(self.len) == MAX_VARINT - 1;
        if is_tenth && byte > 1 {
            return Err(VarintOverflow);
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.len);
        self.len += 1;
        if byte >= 0x80 {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).value))
    }
}

/// The number at the start of `bytes` and the length of its encoding; `None` if it is cut off.
///
/// # Errors
/// [`VarintOverflow`] as soon as the bytes at hand show it.
#[inline]
pub fn decode_varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, VarintOverflow> {
    let mut reader = VarintReader::default();
    for (len, &byte) in (1..).zip(bytes) {
        if let Some(value) = reader.push(byte)? {
            return Ok(Some((value, len)));
        }
    }
    Ok(None)
}

/// Appends the shortest encoding of `value`.
#[inline]
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Length of the shortest encoding of `value`: 1 to 10 bytes.
pub const fn varint_len(value: u64) -> usize {
    let bits = u64::BITS.saturating_sub((value | 1).leading_zeros());
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_length_around_every_power_of_two() {
        let edges = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + 1]
        });
        for value in edges.chain([u64::MAX - 1, u64::MAX]) {
            let mut out = Vec::new();
            put_varint(value, &mut out);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(decode_varint(&out), Ok(Some((value, out.len()))));
            for cut in 0..out.len() {
                assert_eq!(decode_varint(&out[..cut]), Ok(None), "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn longer_than_necessary_is_read() {
        assert_eq!(decode_varint(&[0x81, 0x80, 0x00, 0xff]), Ok(Some((1, 3))));
        assert_eq!(decode_varint(&[0x80; 9]), Ok(None));
        let mut zero = [0x80; 10];
        zero[9] = 0;
        assert_eq!(decode_varint(&zero), Ok(Some((0, 10))));
    }

    #[test]
    fn more_than_64_bits_is_refused_at_the_tenth_byte() {
        let mut bytes = [0xff; 10];
        bytes[9] = 1;
        assert_eq!(decode_varint(&bytes), Ok(Some((u64::MAX, 10))));
        for tenth in 2..=255 {
            bytes[9] = tenth;
            assert_eq!(decode_varint(&bytes), Err(VarintOverflow), "{tenth:#x}");
        }
    }
}
