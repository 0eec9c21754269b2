//! What a connection's owner provides: where messages go and come from, and what bytes are put into.

use crate::payload::Payload;

/// Where received messages go.
pub trait Incoming {
    /// An empty buffer for a message that begins, of about this size as far as is known.
    fn buffer(&mut self, size: usize) -> Vec<u8> {
        Vec::with_capacity(size)
    }

    /// Takes a message of the channel at this position, in the buffer that it began in unless that
    /// was too small. [`Flow::Stop`] ends the call to [`MConn::receive`](super::MConn::receive); the
    /// message is taken all the same.
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow;
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More is welcome.
    Continue,
    /// Nothing more for now.
    Stop,
}

/// Where messages to send come from.
pub trait Outgoing {
    /// The next message of the channel at this position. Asked often: must be cheap when there is
    /// none.
    fn take(&mut self, channel: usize) -> Option<Payload>;

    /// The last byte of a message of so many bytes was put into the sink.
    fn sent(&mut self, channel: usize, payload_bytes: usize) {
        let _ = (channel, payload_bytes);
    }
}

/// A byte stream cut into frames, of which a batch may have a limited number.
pub trait Sink {
    /// Bytes that [`Sink::put`] takes now; 0 = the batch is full.
    fn room(&self) -> usize;

    /// Appends bytes, at most as many as there is room for.
    fn put(&mut self, bytes: &[u8]);

    /// Limits the batch to this many frames in all.
    fn limit_frames(&mut self, frames: usize);
}
