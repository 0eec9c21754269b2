//! Messages flow.

use std::time::Duration;

use super::{Established, LinkError, LinkSettings};
use crate::{
    protocol::{
        mconn::{Filled, Flow, Incoming, MConn, Meter, Outgoing, Sink},
        secret::{Cipher, FRAME_SEALED, FrameWriter, Opener, Sealer},
    },
    time::Mono,
};

/// Frames of one write while a single channel is pending; `mconn` lowers it while several are.
/// Measured: throughput is flat above 16, and 64 frames fill the 64 KiB that a read takes.
pub const MAX_BATCH_FRAMES: usize = 64;

/// A connection on which messages flow. After an error it keeps that error: everything that can fail
/// fails with it.
pub struct Open<C: Cipher> {
    sealer: Sealer<C>,
    opener: Opener<C>,
    mconn: MConn,
    /// Opened bytes that came after the message at which the receiver said stop: less than a frame,
    /// or what followed the NodeInfo.
    rest: Vec<u8>,
    error: Option<LinkError>,
}

/// How far [`Open::receive`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Sealed bytes that were consumed: whole frames.
    pub consumed: usize,
    /// The receiver said stop: no further frame was opened.
    pub stopped: bool,
}

impl<C: Cipher> Established<C> {
    /// From now on messages flow.
    pub fn admit(self, settings: &LinkSettings, now: Mono) -> Open<C> {
        let Self { sealer, opener, rest, .. } = self;
        let mconn = MConn::new(&settings.mconn, &settings.channels, now);
        Open { sealer, opener, mconn, rest, error: None }
    }
}

impl<C: Cipher> Open<C> {
    /// Opens whole frames in place and hands complete messages to `incoming`, until the frames
    /// are used up or it says stop. With an empty `sealed` only what is left of an earlier frame
    /// is looked at.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub fn receive(
        &mut self,
        sealed: &mut [u8],
        now: Mono,
        incoming: &mut impl Incoming,
    ) -> Result<Received, LinkError> {
        self.check()?;
        let received = self.receive_frames(sealed, now, incoming);
        self.keep(received)
    }

    fn receive_frames(
        &mut self,
        sealed: &mut [u8],
        now: Mono,
        incoming: &mut impl Incoming,
    ) -> Result<Received, LinkError> {
        let mut incoming = Stoppable { incoming, stopped: false };
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            let used = self.mconn.receive(&rest, now, &mut incoming).map_err(LinkError::MConn)?;
            self.rest = rest.get(used..).unwrap_or_default().to_vec();
        }
        let mut consumed = 0;
        // Most turns of a session have nothing to open, and a cipher costs something to make.
        if incoming.stopped || sealed.len() < FRAME_SEALED {
            return Ok(Received { consumed, stopped: incoming.stopped });
        }
        let mut reader = self.opener.reader();
        for frame in sealed.chunks_exact_mut(FRAME_SEALED) {
            if incoming.stopped {
                break;
            }
            consumed = FRAME_SEALED.saturating_add(consumed);
            let plain = reader.open(frame).map_err(LinkError::Frame)?;
            let used = self.mconn.receive(plain, now, &mut incoming).map_err(LinkError::MConn)?;
            self.mconn.end_frame(plain.len());
            self.rest = plain.get(used..).unwrap_or_default().to_vec();
        }
        Ok(Received { consumed, stopped: incoming.stopped })
    }

    /// Seals what is pending into `out`, up to so many frames; see [`MAX_BATCH_FRAMES`].
    ///
    /// # Errors
    /// Only those of before, and that the nonces are used up.
    pub fn fill(
        &mut self,
        out: &mut Vec<u8>,
        max_frames: usize,
        outgoing: &mut impl Outgoing,
        now: Mono,
    ) -> Result<Filled, LinkError> {
        self.check()?;
        let mut writer = self.sealer.writer(out, max_frames);
        let filled = self.mconn.fill(&mut writer, outgoing, now);
        // What was sealed before the last nonce may still go out; the next call ends the session.
        self.error = writer.finish().err().map(LinkError::Nonce);
        Ok(filled)
    }

    /// Time has passed: keep-alive.
    ///
    /// # Errors
    /// The peer did not answer in time.
    pub fn handle_timeout(&mut self, now: Mono) -> Result<(), LinkError> {
        self.check()?;
        let judged = self.mconn.handle_timeout(now).map_err(LinkError::MConn);
        self.keep(judged)
    }

    /// Asks for a sign of life: sends a ping now, unless one is unanswered.
    pub fn probe(&mut self, now: Mono) {
        self.mconn.probe(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.mconn.next_deadline()
    }

    /// Whether a ping or pong waits to be written.
    pub fn wants_control(&self) -> bool {
        self.mconn.wants_control()
    }

    /// Whether opened bytes wait for the receiver.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Plain bytes that the receive rate allows now; 0 means not before
    /// [`recv_deadline`](Self::recv_deadline).
    pub fn recv_allowance(&mut self, now: Mono) -> usize {
        self.mconn.recv_allowance(now)
    }

    /// When the receive rate allows more.
    pub fn recv_deadline(&self) -> Option<Mono> {
        self.mconn.recv_deadline()
    }

    /// There are bytes to read that we do not read: the peer's pongs may be among them.
    pub fn suspend_reading(&mut self, now: Mono) {
        self.mconn.suspend_reading(now);
    }

    /// We have read up to the end of what there is.
    pub fn resume_reading(&mut self, now: Mono) {
        self.mconn.resume_reading(now);
    }

    /// Bytes held by unfinished messages.
    pub fn reassembly_bytes(&self) -> usize {
        self.mconn.reassembly_bytes()
    }

    /// Last measured round trip of a ping.
    pub fn rtt(&self) -> Option<Duration> {
        self.mconn.rtt()
    }

    /// Of what is sent and what is received.
    pub(crate) fn meters(&self) -> (Meter, Meter) {
        self.mconn.meters()
    }

    fn check(&self) -> Result<(), LinkError> {
        match &self.error {
            None => Ok(()),
            Some(error) => Err(error.clone()),
        }
    }

    fn keep<T>(&mut self, result: Result<T, LinkError>) -> Result<T, LinkError> {
        if let Err(error) = &result {
            self.error = Some(error.clone());
        }
        result
    }
}

/// Remembers that the receiver said stop, also when it said so at the very end of a frame.
struct Stoppable<'a, I> {
    incoming: &'a mut I,
    stopped: bool,
}

impl<I: Incoming> Incoming for Stoppable<'_, I> {
    fn buffer(&mut self, size: usize) -> Vec<u8> {
        self.incoming.buffer(size)
    }

    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        let flow = self.incoming.message(channel, message);
        self.stopped = flow == Flow::Stop;
        flow
    }
}

/// What a connection cuts is sealed.
impl<C: Cipher> Sink for FrameWriter<'_, C> {
    fn room(&self) -> usize {
        self.room()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    fn limit_frames(&mut self, frames: usize) {
        self.set_max_frames(frames.min(self.max_frames()));
    }
}
