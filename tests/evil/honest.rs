//! Two honest nodes that talk through the victim, one that has dialed it and one that it has dialed, and how
//! long their messages take.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{
    Config, Event, NodeKey, Reactor, Switch,
    crossbeam_channel::{self, RecvTimeoutError, Sender},
};

use crate::{
    figure,
    support::{DEADLINE, at, built, dial, listening, up},
    victim::{Settings, TALK, Victim, lock},
};

/// Between an answer and the next question.
const PACE: Duration = Duration::from_millis(1);

/// Nobody waits so long for an answer: there and back again, through the victim each time.
const LONGEST: Duration = Duration::from_secs(5);

/// What 99 of 100 round trips are to stay below, whoever attacks.
const GOAL: Duration = Duration::from_millis(10);

/// Of fewer round trips the 99th of 100 is the longest, and says nothing of the others.
const FEW: usize = 50;

/// The two, and their conversation.
pub(crate) struct Pair {
    /// Each has its reactor, without which its node would stop, and gives it back.
    talker: Option<JoinHandle<Reactor>>,
    echo: Option<JoinHandle<Reactor>>,
    over: Option<Sender<()>>,
    trips: Arc<Mutex<Vec<Duration>>>,
    lost: Arc<AtomicU64>,
    switches: Vec<Switch>,
}

/// What the conversation was like for a while.
pub(crate) struct Lap {
    trips: Vec<Duration>,
}

impl Pair {
    /// They meet at a victim with these settings, which is settled then.
    pub(crate) fn at(mut settings: Settings) -> (Victim, Self) {
        // As configured by default: 127.0.0.1 is the guest, 127.0.0.2 the persistent peer.
        let plain = Config { pex: false, ..Config::default() };
        let (a_key, b_key) = (NodeKey::generate(), NodeKey::generate());
        settings.honest = [&a_key, &b_key].map(|key| key.id().to_string()).into();
        let node = |config, key| built(config, key, |_, _| {});
        let b = node(listening(plain.clone(), ([127, 0, 0, 2], 0)), b_key);
        let a = node(Config { laddr: None, ..plain }, a_key);
        settings.p2p["persistent_peers"] = json!(b.0.handle().peer_address().unwrap().to_string());
        settings.p2p["dial_spread"] = json!("0s");
        let mut victim = Victim::start(&settings);
        dial(&a.0, at(victim.id, victim.addr)).unwrap();
        up(&a.1);
        up(&b.1);
        // Its reactor knows both before one of them speaks.
        victim.settled(2);
        let pair = Self::talk([a, b]);
        pair.goes_on(100);
        pair.lap();
        victim.settled(2);
        (victim, pair)
    }

    fn talk([a, b]: [(Switch, Reactor); 2]) -> Self {
        let (over, is_over) = crossbeam_channel::bounded::<()>(0);
        let (trips, lost) = (Arc::<Mutex<Vec<Duration>>>::default(), Arc::<AtomicU64>::default());
        let (victim_of_a, victim_of_b) = (a.0.handle().peers(), b.0.handle().peers());
        let (kept, missed) = (trips.clone(), lost.clone());
        let talker = move || {
            let victim = &victim_of_a[0];
            for number in 0_u64.. {
                let begun = Instant::now();
                let question = number.to_be_bytes();
                let is_sent = victim.try_send(TALK, question.to_vec()).is_ok();
                let answer = a.1.events().recv_timeout(LONGEST);
                let is_it = |envelope: &tmp2p::Envelope| envelope.payload()[..] == question;
                match answer {
                    Ok(Event::Message(envelope)) if is_sent && is_it(&envelope) => {
                        lock(&kept).push(begun.elapsed());
                    }
                    other => {
                        figure(format_args!("round trip {number} is lost: {other:?}"));
                        missed.fetch_add(1, SeqCst);
                        break;
                    }
                }
                // Not a wait for anything: the rate of the messages.
                if is_over.recv_timeout(PACE) == Err(RecvTimeoutError::Disconnected) {
                    break;
                }
            }
            a.1
        };
        let echo = move || {
            let victim = &victim_of_b[0];
            for event in b.1.events() {
                if let Event::Message(envelope) = event {
                    // One who asks waits in vain, and says so.
                    let _ = victim.try_send(TALK, envelope.into_payload());
                }
            }
            b.1
        };
        let (talker, echo) = (Some(thread::spawn(talker)), Some(thread::spawn(echo)));
        Self { talker, echo, over: Some(over), trips, lost, switches: vec![a.0, b.0] }
    }

    /// So many round trips more are made.
    #[track_caller]
    pub(crate) fn goes_on(&self, more: usize) {
        let count = || lock(&self.trips).len();
        let (before, deadline) = (count(), Instant::now() + DEADLINE);
        while count() < before + more {
            self.assert_unharmed();
            assert!(Instant::now() < deadline, "the conversation does not go on");
            thread::park_timeout(PACE);
        }
    }

    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        assert_eq!(self.lost.load(SeqCst), 0, "a message of honest nodes was lost, or late");
    }

    /// The conversation since it was last asked for.
    #[track_caller]
    pub(crate) fn lap(&self) -> Lap {
        self.assert_unharmed();
        let mut trips = std::mem::take(&mut *lock(&self.trips));
        trips.sort();
        Lap { trips }
    }

    /// It is over. Both are still what they were.
    #[track_caller]
    pub(crate) fn end(mut self) {
        self.goes_on(10);
        drop(self.over.take());
        let _reactor = self.talker.take().unwrap().join().unwrap();
        self.assert_unharmed();
        for switch in self.switches.drain(..) {
            assert_eq!(switch.handle().peers().len(), 1, "the session is the first one still");
            switch.stop(DEADLINE).unwrap();
        }
        drop(self.echo.take().unwrap().join().unwrap());
    }
}

impl Lap {
    pub(crate) fn p99(&self) -> Duration {
        let at = self.trips.len() * 99 / 100;
        self.trips.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Lap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (half, p99) = (self.trips.get(self.trips.len() / 2), self.p99());
        let verdict = match self.trips.len() {
            0..FEW => "too few round trips for it",
            _ if p99 <= GOAL => "reached",
            _ => "MISSED",
        };
        write!(
            f,
            "p99 {:.2} ms, goal {} ms, {verdict} (p50 {:.2} ms, longest {:.2} ms, {} round trips)",
            ms(p99),
            GOAL.as_millis(),
            ms(half.copied().unwrap_or_default()),
            ms(self.trips.last().copied().unwrap_or_default()),
            self.trips.len(),
        )
    }
}
