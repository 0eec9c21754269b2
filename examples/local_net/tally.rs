//! What one node has received, and whether it is what was sent.

use std::time::{Duration, Instant};

use tmp2p::NodeId;

use crate::{latency::Latency, pattern};

/// Sender, round, number, time of sending; then the pattern.
pub(crate) const HEADER_BYTES: usize = 24;

/// A message of the network.
pub(crate) struct Header {
    pub(crate) sender: u32,
    pub(crate) round: u32,
    pub(crate) number: u64,
    /// Since the network's clock started.
    pub(crate) sent_at: Duration,
}

impl Header {
    /// The message: this, and bytes that belong to it alone.
    pub(crate) fn message(&self, size: usize) -> Vec<u8> {
        let mut bytes = vec![0; size];
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        header[..4].copy_from_slice(&self.sender.to_le_bytes());
        header[4..8].copy_from_slice(&self.round.to_le_bytes());
        header[8..16].copy_from_slice(&self.number.to_le_bytes());
        header[16..].copy_from_slice(&(self.sent_at.as_nanos() as u64).to_le_bytes());
        pattern::fill(self.stream(), self.number, body);
        bytes
    }

    fn read(message: &[u8]) -> Option<(Self, &[u8])> {
        let (header, body) = message.split_at_checked(HEADER_BYTES)?;
        let header = Self {
            sender: u32::from_le_bytes(header[..4].try_into().ok()?),
            round: u32::from_le_bytes(header[4..8].try_into().ok()?),
            number: u64::from_le_bytes(header[8..16].try_into().ok()?),
            sent_at: Duration::from_nanos(u64::from_le_bytes(header[16..].try_into().ok()?)),
        };
        Some((header, body))
    }

    fn stream(&self) -> u64 {
        u64::from(self.sender) << 32 | u64::from(self.round)
    }
}

/// What one node has received.
pub(crate) struct Tally {
    clock: Instant,
    round: u32,
    /// Per sender: the number of the next message.
    next: Vec<u64>,
    /// In this round.
    pub(crate) received: u64,
    pub(crate) bytes: u64,
    pub(crate) latency: Latency,
    /// The first thing that was not as it should be.
    pub(crate) wrong: Option<String>,
    pub(crate) left: Vec<Left>,
}

/// Somebody who is a peer no more.
pub(crate) struct Left {
    pub(crate) id: NodeId,
    /// Why, in one word and in more.
    pub(crate) kind: &'static str,
    pub(crate) why: String,
}

impl Tally {
    pub(crate) fn new(nodes: usize, clock: Instant) -> Self {
        Self {
            clock,
            round: 0,
            next: vec![0; nodes],
            received: 0,
            bytes: 0,
            latency: Latency::new(),
            wrong: None,
            left: Vec::new(),
        }
    }

    /// A new round: every sender counts from zero.
    pub(crate) fn begin(&mut self, round: u32) {
        self.round = round;
        self.next.fill(0);
        (self.received, self.bytes, self.latency) = (0, 0, Latency::new());
    }

    /// Checks a message of this sender.
    pub(crate) fn take(&mut self, sender: usize, message: &[u8], at: Instant) {
        let check = self.check(sender, message);
        match check {
            Ok(sent_at) => {
                self.received += 1;
                self.bytes += message.len() as u64;
                self.latency.add(at.duration_since(self.clock).saturating_sub(sent_at));
            }
            Err(why) => {
                self.wrong.get_or_insert_with(|| format!("from node {sender}: {why}"));
            }
        }
    }

    fn check(&mut self, sender: usize, message: &[u8]) -> Result<Duration, String> {
        let (header, body) = Header::read(message).ok_or("a message without a header")?;
        if (header.sender as usize, header.round) != (sender, self.round) {
            return Err(format!(
                "a message of node {} in round {}, expected round {}",
                header.sender, header.round, self.round
            ));
        }
        let expected = &mut self.next[sender];
        if header.number != *expected {
            return Err(format!("message {} where {expected} was due", header.number));
        }
        *expected += 1;
        if body != pattern::message(header.stream(), header.number, body.len()) {
            return Err(format!("message {} was damaged", header.number));
        }
        Ok(header.sent_at)
    }
}
