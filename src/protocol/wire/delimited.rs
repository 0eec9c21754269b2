//! Messages with their length in front, read from a stream that comes in arbitrary pieces.

use super::{VarintOverflow, VarintReader, put_varint};

/// Collects one length-delimited message after the other from a byte stream.
///
/// For the cold messages (authentication, node info): the body is copied. It holds at most
/// `limit` bytes, however the stream is cut, and takes not one byte more than the message has.
#[derive(Debug)]
pub struct DelimitedReader {
    limit: usize,
    prefix: VarintReader,
    length: Option<usize>,
    body: Vec<u8>,
}

impl DelimitedReader {
    /// A reader for bodies of at most `limit` bytes, their length prefix not counted (as Go
    /// counts).
    pub const fn new(limit: usize) -> Self {
        Self { limit, prefix: VarintReader::NEW, length: None, body: Vec::new() }
    }

    /// Takes bytes from the front of `input` until a message is complete, and returns its body;
    /// `None` if all of `input` was taken and more is needed.
    ///
    /// # Errors
    /// After an error the stream cannot be understood any more and the reader must be dropped.
    pub fn read(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, DelimitedError> {
        let length = match self.length {
            Some(length) => length,
            None => match self.read_length(input)? {
                Some(length) => *self.length.insert(length),
                None => return Ok(None),
            },
        };
        let missing = length.saturating_sub(self.body.len());
        let (taken, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        if self.body.is_empty() && !taken.is_empty() {
            // Not before the first byte of the body: a bare claim costs us nothing.
            self.body.reserve_exact(length);
        }
        self.body.extend_from_slice(taken);
        *input = rest;
        if self.body.len() < length {
            return Ok(None);
        }
        self.length = None;
        Ok(Some(std::mem::take(&mut self.body)))
    }

    fn read_length(&mut self, input: &mut &[u8]) -> Result<Option<usize>, DelimitedError> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            if let Some(length) = self.prefix.push(byte)? {
                return match usize::try_from(length) {
                    Ok(fitting) if fitting <= self.limit => Ok(Some(fitting)),
                    _ => Err(DelimitedError::TooLong { length, limit: self.limit }),
                };
            }
        }
        Ok(None)
    }
}

/// Why a stream of length-delimited messages cannot be read on. The peer is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DelimitedError {
    /// The length prefix is no 64-bit number.
    #[error("bad length prefix: {0}")]
    Prefix(#[from] VarintOverflow),
    /// The length prefix claims more than is allowed here; nothing of the body was kept.
    #[error("message of {length} bytes where at most {limit} are allowed")]
    TooLong {
        /// Claimed length of the body in bytes.
        length: u64,
        /// What is allowed, in bytes.
        limit: usize,
    },
}

/// Appends `body` with its length in front.
pub fn put_delimited(body: &[u8], out: &mut Vec<u8>) {
    put_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_point_and_nothing_beyond_the_message() {
        let body: Vec<u8> = (0..200).collect();
        let mut stream = Vec::new();
        put_delimited(&body, &mut stream);
        let message = stream.len();
        stream.extend_from_slice(b"next");
        for split in 0..=stream.len() {
            let mut reader = DelimitedReader::new(200);
            let (mut first, mut second) = stream.split_at(split);
            let read = match reader.read(&mut first).unwrap() {
                Some(read) => {
                    assert!(split >= message);
                    read
                }
                None => {
                    assert!(first.is_empty() && split < message, "split at {split}");
                    reader.read(&mut second).unwrap().unwrap()
                }
            };
            assert_eq!(read, body);
            assert_eq!([first, second].concat(), b"next");
        }
    }

    #[test]
    fn messages_follow_each_other_empty_ones_too() {
        let mut stream = Vec::new();
        let bodies: [&[u8]; 4] = [b"", b"one", b"", b"two"];
        for body in bodies {
            put_delimited(body, &mut stream);
        }
        let mut reader = DelimitedReader::new(3);
        let mut input = stream.as_slice();
        for body in bodies {
            assert_eq!(reader.read(&mut input).unwrap().as_deref(), Some(body));
        }
        assert_eq!(reader.read(&mut input), Ok(None));
    }

    #[test]
    fn the_limit_is_exact_and_a_claim_allocates_nothing() {
        for (length, limit, fits) in
            [(10, 10, true), (11, 10, false), (0, 0, true), (1, 0, false), (u64::MAX, 10, false)]
        {
            let mut prefix = Vec::new();
            put_varint(length, &mut prefix);
            let mut reader = DelimitedReader::new(limit);
            let read = reader.read(&mut prefix.as_slice());
            assert_eq!(read.is_ok(), fits, "{length} of {limit}");
            assert_eq!(reader.body.capacity(), 0);
            if !fits {
                assert_eq!(read, Err(DelimitedError::TooLong { length, limit }));
            }
        }
    }

    #[test]
    fn capacity_never_exceeds_the_message() {
        let mut stream = Vec::new();
        put_delimited(&[7; 1000], &mut stream);
        let mut reader = DelimitedReader::new(1000);
        for byte in &stream[..stream.len() - 1] {
            assert_eq!(reader.read(&mut std::slice::from_ref(byte)), Ok(None));
            assert!(reader.body.capacity() <= 1000);
        }
    }

    #[test]
    fn an_endless_prefix_is_refused() {
        let mut reader = DelimitedReader::new(10);
        let mut input = [0xff; 11].as_slice();
        assert_eq!(reader.read(&mut input), Err(VarintOverflow.into()));
    }
}
