//! Protocol Buffers by hand: numbers, fields, and length-delimited messages in a byte stream.
//!
//! Every message that a peer sends is read here, with Go's tolerance, no more and no less: unknown
//! fields are skipped, numbers may be longer than necessary, a repeated field is the reader's business.
//! Two kinds of numbers, as in Go: lengths in front of a message (`binary.ReadUvarint`, [`VarintReader`])
//! must fit into 64 bits, in those inside of one ([`Fields`]) what does not fit is dropped.
//! Nothing in here allocates more than the caller allowed, and every step consumes input, so that
//! work is linear in the bytes received. Pure: runs on whatever thread holds the bytes.

mod delimited;
mod field;
mod varint;

pub use delimited::{DelimitedError, DelimitedReader, put_delimited};
pub use field::{
    DecodeError, Field, Fields, Value, put_bytes_field, put_message_field, put_varint_field,
};
pub use varint::{MAX_VARINT, VarintOverflow, VarintReader, decode_varint, put_varint, varint_len};
