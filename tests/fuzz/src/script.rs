//! The fuzzer's bytes, read as decisions. Runs dry instead of failing: then all answers are 0.

/// What is left of the input.
#[derive(Clone)]
pub struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// Two bytes.
    pub fn word(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// One of so many; small numbers only.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end.max(1)
    }

    /// At most so many of the next bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes with their length in front.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = self.word();
        self.bytes(len)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Cuts a stream as the script says; what is left when it runs dry is the last piece.
    pub fn cut<'b>(&mut self, mut stream: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        while !self.is_empty() && !stream.is_empty() {
            // Small pieces mostly, now and then a large one.
            let len = match self.byte() {
                large @ 0xf0.. => usize::from(large & 0xf) * 512 + 1,
                small => usize::from(small),
            };
            let (piece, rest) = stream.split_at(len.min(stream.len()));
            pieces.push(piece);
            stream = rest;
        }
        pieces.push(stream);
        pieces
    }
}
