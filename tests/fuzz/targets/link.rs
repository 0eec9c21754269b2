#![no_main]
//! Two links with a wire between them that the script may spoil.

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    ChannelDescriptor, Payload,
    internals::protocol::{
        LinkSettings,
        link::{Handshaking, MAX_BATCH_FRAMES, Open, Step},
        mconn::{Flow, Incoming, Outgoing},
        secret::{ChaCha, FRAME_SEALED},
    },
    internals::time::Mono,
};
use tmp2p_fuzz::{Script, cheap_agreement, link_settings, now};

const CHANNELS: [(u8, usize); 2] = [(0x20, 1000), (0xfe, 50_000)];

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let channels =
        CHANNELS.map(|(id, capacity)| ChannelDescriptor::new(id).recv_message_capacity(capacity));
    let mut sides = [Side::new(1, &channels), Side::new(3, &channels)];
    let (mut ms, mut counter) = (0_u64, 0_u32);
    while !script.is_empty() {
        let who = script.below(2);
        let time = now(ms).mono;
        match script.below(10) {
            0 | 1 => {
                counter += 1;
                let channel = script.below(2);
                let mut message = counter.to_le_bytes().to_vec();
                message.resize(4 + script.word() % (CHANNELS[channel].1 - 3), script.byte());
                sides[who].queues[channel].push_back(message.clone().into());
                sides[who].sent[channel].push(message);
            }
            2 => sides[who].fill(time),
            3 | 4 => {
                let most = script.word();
                let wire = std::mem::take(&mut sides[1 - who].out);
                let (now_there, later) = wire.split_at(most.min(wire.len()));
                sides[who].input.extend_from_slice(now_there);
                sides[1 - who].out = later.to_vec();
                sides[who].run(time, script.below(4) == 0);
            }
            5 => ms += script.word() as u64,
            6 => sides[who].timeout(time),
            7 => {
                if let Link::Open(link) = &mut sides[who].link {
                    if script.flag() {
                        link.suspend_reading(time)
                    } else {
                        link.resume_reading(time)
                    }
                }
            }
            8 => sides[who].run(time, false),
            _ if script.below(4) == 0 => spoil(&mut sides[who], &mut script),
            _ => {}
        }
    }
    if sides.iter().all(|side| !side.is_spoiled) {
        settle(&mut sides, now(ms).mono);
    }
    for who in 0..2 {
        let (side, other) = (&sides[who], &sides[1 - who]);
        for (channel, got) in side.got.iter().enumerate() {
            assert!(other.sent[channel].starts_with(got), "what arrived was not sent");
        }
        let is_clean = sides.iter().all(|side| !side.is_spoiled && side.error.is_none());
        if is_clean && side.is_open() && other.is_open() {
            assert_eq!(side.got, other.sent, "something is missing");
        }
        let may_fail = sides.iter().any(|side| side.is_spoiled);
        match &side.error {
            Some(error) if !may_fail => assert!(error.contains("PongTimeout"), "{error}"),
            _ => {}
        }
    }
});

/// Everything that is on its way arrives.
fn settle(sides: &mut [Side; 2], time: Mono) {
    for _ in 0..10_000 {
        let mut moved = false;
        for who in 0..2 {
            sides[who].fill(time);
            let wire = std::mem::take(&mut sides[who].out);
            let there = &mut sides[1 - who];
            moved |= !wire.is_empty() || there.input.len() >= FRAME_SEALED || there.has_rest();
            there.input.extend_from_slice(&wire);
            there.run(time, false);
            moved |= !sides[who].is_idle();
        }
        if !moved || sides.iter().any(|side| side.error.is_some()) {
            return;
        }
    }
    panic!("does not settle");
}

/// Something happens to bytes on the wire.
fn spoil(side: &mut Side, script: &mut Script) {
    if side.out.is_empty() {
        return;
    }
    let at = script.word() % side.out.len();
    match script.below(4) {
        0 => side.out[at] ^= 1 << script.below(8),
        1 => drop(side.out.drain(at..)),
        2 => drop(side.out.splice(at..at, script.bytes(64).iter().copied())),
        _ => side.out.extend_from_within(at..),
    }
    side.is_spoiled = true;
}

/// One end.
struct Side {
    settings: LinkSettings,
    link: Link,
    error: Option<String>,
    input: Vec<u8>,
    out: Vec<u8>,
    is_spoiled: bool,
    more: bool,
    queues: [VecDeque<Payload>; 2],
    sent: [Vec<Vec<u8>>; 2],
    got: [Vec<Vec<u8>>; 2],
}

enum Link {
    Handshaking(Handshaking<ChaCha>),
    Open(Box<Open<ChaCha>>),
    /// After an error.
    Dead,
}

struct Taker<'a> {
    got: &'a mut [Vec<Vec<u8>>; 2],
    stops: bool,
}

impl Incoming for Taker<'_> {
    fn message(&mut self, channel: usize, message: Vec<u8>) -> Flow {
        self.got[channel].push(message);
        if self.stops { Flow::Stop } else { Flow::Continue }
    }
}

struct Giver<'a>(&'a mut [VecDeque<Payload>; 2]);

impl Outgoing for Giver<'_> {
    fn take(&mut self, channel: usize) -> Option<Payload> {
        self.0[channel].pop_front()
    }
}

impl Side {
    fn new(seed: u8, channels: &[ChannelDescriptor]) -> Self {
        let settings = link_settings(seed, channels);
        let mut out = Vec::new();
        let link = Handshaking::start(&settings, cheap_agreement([seed; 32]), None, &mut out);
        Self {
            settings,
            link: Link::Handshaking(link),
            error: None,
            input: Vec::new(),
            out,
            is_spoiled: false,
            more: false,
            queues: Default::default(),
            sent: Default::default(),
            got: Default::default(),
        }
    }

    fn fail(&mut self, error: impl std::fmt::Debug) {
        self.error = Some(format!("{error:?}"));
        self.link = Link::Dead;
    }

    fn is_open(&self) -> bool {
        matches!(self.link, Link::Open(_))
    }

    fn run(&mut self, time: Mono, stops: bool) {
        while matches!(self.link, Link::Handshaking(_)) {
            let Link::Handshaking(link) = std::mem::replace(&mut self.link, Link::Dead) else {
                unreachable!("seen above")
            };
            let mut input = self.input.as_slice();
            let step = link.advance(&self.settings, &mut input, &mut self.out);
            let used = self.input.len() - input.len();
            self.input.drain(..used);
            match step {
                Ok(Step::NeedMore(link)) => {
                    self.link = Link::Handshaking(link);
                    return;
                }
                Ok(Step::Stepped(link)) => self.link = Link::Handshaking(link),
                Ok(Step::Established(link, _)) => {
                    self.link = Link::Open(Box::new(link.admit(&self.settings, time)));
                }
                Err(failed) => return self.fail(failed.error),
            }
        }
        let Link::Open(link) = &mut self.link else { return };
        let mut taker = Taker { got: &mut self.got, stops };
        match link.receive(&mut self.input, time, &mut taker) {
            Ok(received) => {
                assert!(received.stopped || self.input.len() - received.consumed < FRAME_SEALED);
                assert!(link.reassembly_bytes() <= 60_000);
                self.input.drain(..received.consumed);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fill(&mut self, time: Mono) {
        let Link::Open(link) = &mut self.link else { return };
        match link.fill(&mut self.out, MAX_BATCH_FRAMES, &mut Giver(&mut self.queues), time) {
            Ok(filled) => self.more = filled.more,
            Err(error) => self.fail(error),
        }
    }

    fn timeout(&mut self, time: Mono) {
        let Link::Open(link) = &mut self.link else { return };
        if let Err(error) = link.handle_timeout(time) {
            self.fail(error);
        }
    }

    fn has_rest(&self) -> bool {
        matches!(&self.link, Link::Open(link) if link.has_rest())
    }

    fn is_idle(&self) -> bool {
        let Link::Open(link) = &self.link else { return true };
        !self.more && !link.wants_control() && self.queues.iter().all(VecDeque::is_empty)
    }
}
