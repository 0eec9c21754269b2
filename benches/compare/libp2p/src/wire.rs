//! Messages on a stream: a length of four bytes and as many bytes.

use std::io;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, io::BufWriter};
use libp2p::Stream;
use measure::{Bytes, Outcome};
use tokio::sync::mpsc;

/// Messages that wait for a stream: enough that its task never waits for one that sends.
const QUEUE: usize = 16;

/// As much as the buffered form writes at once: four yamux frames.
const BUFFER: usize = 64 * 1024;

/// Where messages for one stream go.
pub(crate) type Queue = mpsc::Sender<Bytes>;

/// A queue and the task that writes what comes from it.
pub(crate) fn writer(stream: futures::io::WriteHalf<Stream>, is_buffered: bool) -> Queue {
    let (queue, messages) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        // It ends with the connection; whoever sends then is told so by the queue.
        let _ = if is_buffered {
            buffered(stream, messages).await
        } else {
            plain(stream, messages).await
        };
    });
    queue
}

/// As one writes at first: each message is written and flushed.
async fn plain(
    mut stream: futures::io::WriteHalf<Stream>,
    mut messages: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        let mut framed = Vec::with_capacity(4 + message.len());
        framed.extend((message.len() as u32).to_be_bytes());
        framed.extend(&message);
        stream.write_all(&framed).await?;
        stream.flush().await?;
    }
    stream.close().await
}

/// As one writes when it matters: through a buffer that is flushed when nothing waits.
async fn buffered(
    stream: futures::io::WriteHalf<Stream>,
    mut messages: mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let mut stream = BufWriter::with_capacity(BUFFER, stream);
    while let Some(message) = messages.recv().await {
        stream.write_all(&(message.len() as u32).to_be_bytes()).await?;
        stream.write_all(&message).await?;
        if messages.is_empty() {
            stream.flush().await?;
        }
    }
    stream.close().await
}

/// Reads the first message, which is known, and nothing behind it. Nothing is written before a
/// stream is negotiated, so a flush.
pub(crate) async fn hello(stream: &mut Stream, expected: &[u8]) -> Outcome<()> {
    stream.flush().await?;
    let mut framed = vec![0; 4 + expected.len()];
    stream.read_exact(&mut framed).await?;
    if &framed[4..] == expected { Ok(()) } else { Err("another first message".into()) }
}

/// Reads messages.
pub(crate) struct Reader {
    stream: futures::io::BufReader<futures::io::ReadHalf<Stream>>,
    max: usize,
}

impl Reader {
    pub(crate) fn new(stream: futures::io::ReadHalf<Stream>, max: usize) -> Self {
        Self { stream: futures::io::BufReader::new(stream), max }
    }

    pub(crate) async fn next(&mut self) -> Outcome<Vec<u8>> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.max {
            return Err("a message is too large".into());
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).await?;
        Ok(message)
    }
}
