//! The decisions about the book, without a thread, a clock or a disk.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    PexInput, PexNotice, PexOutput, PexSettings, Standings,
    alone::Alone,
    dials::{Dials, Round},
    neighbour::{Neighbour, Opinion},
    outage::Outage,
    queue::Queue,
    timer::Timer,
    unroutable::Unroutable,
};
use crate::{
    addrbook::Book,
    address::PeerAddress,
    ban::Ban,
    deadlines::Deadlines,
    drive::Core,
    identity::NodeId,
    ids::ConnId,
    reactor::DisconnectReason,
    switch::{Notice, SwitchEvent},
    time::{Mono, Now, earliest},
};

/// Least time between two tables that no operator asked for. The next change after a publication
/// copies the whole table: peers who get themselves banned one by one must not make us do that
/// for each of them. Their connections are closed anyway.
const PUBLISH_PAUSE: Duration = Duration::from_millis(200);

/// The decisions of peer exchange: [`PexInput`] in, [`PexOutput`] out, and what can be asked changes
/// nothing.
///
/// # The drive loop
/// Is [`Driver::run`](crate::drive::Driver::run), for the thread `p2p-pex` and for everybody else. A
/// driver brings the inputs and does what the outputs say:
///
/// ```
/// use std::{collections::VecDeque, time::SystemTime};
/// use tmp2p::{
///     BookKey, Config, NodeId,
///     internals::addrbook::{Book, BookLimits, BookSettings},
///     internals::drive::{Core, Driver},
///     internals::pex::{PexCore, PexInput, PexOutput, PexRequest, PexSettings},
///     internals::switch::Reply,
///     internals::time::{Mono, Now},
/// };
///
/// /// A node whose switch finds nobody, and whose book is kept nowhere.
/// struct Alone {
///     core: PexCore,
///     now: Now,
///     inputs: VecDeque<PexInput>,
/// }
///
/// impl Driver for Alone {
///     type Core = PexCore;
///
///     fn core(&mut self) -> &mut PexCore {
///         &mut self.core
///     }
///
///     fn now(&self) -> Now {
///         self.now
///     }
///
///     fn next_input(&mut self) -> PexInput {
///         self.inputs.pop_front().unwrap_or(PexInput::Timeout)
///     }
///
///     fn perform(&mut self, output: PexOutput) {
///         if let PexOutput::Answer(answer) = output {
///             answer.give();
///         }
///     }
/// }
///
/// let now = Now { mono: Mono::ZERO, wall: SystemTime::UNIX_EPOCH };
/// let own = NodeId::from_bytes([1; 20]);
/// let settings = BookSettings { own, is_strict: true, limits: BookLimits::default() };
/// let key = BookKey { text: "0123456789abcdef01234567".to_owned(), hash: [7; 32] };
/// let book = Book::new(settings, key);
/// let (reply, banned) = Reply::kept();
/// let (target, reason) = ("6.6.6.0/24".parse().unwrap(), "spam".to_owned());
/// let ban = PexRequest::Ban { target, duration: None, reason, reply };
/// let mut driver = Alone {
///     core: PexCore::new(PexSettings::of(&Config::default()), book, [7; 32], now),
///     now,
///     inputs: [PexInput::Request(ban), PexInput::Stop].into(),
/// };
/// driver.run();
/// assert_eq!(driver.core.book().bans().len(), 1);
/// assert!(matches!(banned.get(), Some(Some(Ok(_)))), "it was answered before the stop");
/// ```
#[derive(Debug)]
pub struct PexCore {
    pub(super) settings: PexSettings,
    pub(super) book: Book,
    pub(super) rng: StdRng,
    pub(super) now: Now,
    pub(super) outputs: VecDeque<PexOutput>,
    pub(super) timers: Deadlines<Timer>,
    pub(super) neighbours: BTreeMap<ConnId, Neighbour>,
    /// **Invariant:** those of them that we dialed: a few, where guests of a seed may be many.
    pub(super) outbound: BTreeSet<ConnId>,
    /// **Invariant:** the newest session of each node among `neighbours`.
    pub(super) by_id: BTreeMap<NodeId, ConnId>,
    pub(super) standings: Standings,
    pub(super) dials: Dials,
    pub(super) outage: Outage,
    /// When a large book may be looked through again for somebody to dial.
    pub(super) walk_at: Mono,
    /// When each node was asked last, for as long as it is not to be asked again.
    pub(super) asked: BTreeMap<NodeId, Mono>,
    pub(super) ensure_at: Option<Mono>,
    /// When to dial others in place of those that were not reached.
    pub(super) refill_at: Option<Mono>,
    pub(super) round: Round,
    pub(super) alone: Alone,
    /// What a seed has told last and nobody has dialed since: dialed before others.
    pub(super) newcomers: VecDeque<NodeId>,
    /// Until when a reactor wants another peer although there are enough.
    pub(super) exchange_until: Option<Mono>,
    /// When it may be looked for.
    pub(super) exchange_at: Mono,
    pub(super) is_bias_reported: bool,
    pub(super) unroutable: Unroutable,
    /// When a node was last reached.
    pub(super) reached_at: Option<Mono>,
    /// Seeds of the current round.
    pub(super) untried_seeds: Vec<PeerAddress>,
    /// The next of them is to be dialed, before anybody else.
    pub(super) is_seed_due: bool,
    /// When the next round may begin.
    pub(super) seeds_at: Mono,
    /// When more than one seed that answers may be asked in a round.
    pub(super) all_seeds_at: Mono,
    pub(super) crawl: Queue,
    /// Automatic bans that are in the book and in no published table yet.
    pub(super) unpublished: Vec<Ban>,
    published_at: Option<Mono>,
    /// When to publish what has changed since.
    publish_at: Option<Mono>,
    is_stopped: bool,
}

impl PexCore {
    /// Decides with this book, whose bans are known to everybody. What it decides by chance
    /// depends on the seed alone.
    pub fn new(settings: PexSettings, book: Book, seed: [u8; 32], now: Now) -> Self {
        let mut core = Self {
            standings: settings.standings.clone(),
            settings,
            book,
            rng: StdRng::from_seed(seed),
            now,
            outputs: VecDeque::new(),
            timers: Deadlines::default(),
            neighbours: BTreeMap::new(),
            outbound: BTreeSet::new(),
            by_id: BTreeMap::new(),
            dials: Dials::default(),
            outage: Outage::default(),
            walk_at: Mono::ZERO,
            asked: BTreeMap::new(),
            ensure_at: None,
            refill_at: None,
            round: Round::default(),
            alone: Alone::default(),
            newcomers: VecDeque::new(),
            exchange_until: None,
            exchange_at: Mono::ZERO,
            is_bias_reported: false,
            unroutable: Unroutable::default(),
            reached_at: None,
            untried_seeds: Vec::new(),
            is_seed_due: false,
            seeds_at: Mono::ZERO,
            all_seeds_at: Mono::ZERO,
            crawl: Queue::default(),
            unpublished: Vec::new(),
            published_at: None,
            publish_at: None,
            is_stopped: false,
        };
        core.clear_names(now);
        // What loading found unfit leaves the store.
        core.store(false);
        core
    }

    fn start(&mut self, now: Now) {
        self.now = now;
        if self.settings.is_enabled {
            self.book.forget_incompatible(now.wall, &mut self.rng);
            self.start_ensuring(now);
            self.do_what_is_due(now);
        }
    }

    /// The book.
    pub fn book(&self) -> &Book {
        &self.book
    }

    fn do_what_is_due(&mut self, now: Now) {
        self.now = now;
        let lifted = self.book.expire(now.wall, &mut self.rng);
        if !lifted.is_empty() {
            self.publish_in_time();
        }
        self.outputs.extend(lifted.into_iter().map(|b| PexOutput::Event(SwitchEvent::Unbanned(b))));
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.due(timer, now);
        }
        if self.ensure_at.is_some_and(|at| at <= now.mono) {
            self.ensure(now);
        }
        if self.refill_at.is_some_and(|at| at <= now.mono) {
            self.fill(now);
        }
        self.crawl_on(now);
        if self.publish_at.is_some_and(|at| at <= now.mono) {
            self.publish();
        }
        self.store(false);
    }

    /// Sessions that we dialed and that count against the limit.
    pub fn num_outbound(&self) -> usize {
        self.dialed().filter(|n| !self.standings.is_reserved(&n.facts.id)).count()
    }

    /// Sessions that we dialed.
    pub(super) fn dialed(&self) -> impl Iterator<Item = &Neighbour> {
        self.outbound.iter().filter_map(|conn| self.neighbours.get(conn))
    }

    /// Sessions, by connection.
    pub fn sessions(&self) -> impl Iterator<Item = (ConnId, NodeId)> {
        self.neighbours.iter().map(|(conn, neighbour)| (*conn, neighbour.facts.id))
    }

    /// How many nodes are being dialed, whoever asked for it.
    pub fn num_dialing(&self) -> usize {
        self.dials.len()
    }

    /// Whether the node is being dialed, whoever asked for it.
    pub fn is_dialing(&self, id: &NodeId) -> bool {
        self.dials.contains(id)
    }

    /// Who is persistent or unconditional.
    pub fn standings(&self) -> &Standings {
        &self.standings
    }

    fn due(&mut self, timer: Timer, now: Now) {
        match timer {
            Timer::Proven(conn) => {
                self.prove(conn);
                self.give_up_mute_seed(conn, now);
            }
            Timer::Good(conn) => {
                let Some(neighbour) = self.neighbours.get(&conn) else { return };
                let id = neighbour.facts.id;
                let is_bad = neighbour.opinion == Some(Opinion::Bad) || self.book.is_bad(&id);
                // An inbound peer proves nothing about its address, and what a reactor has found
                // counts for more than that the peer has stayed.
                if neighbour.is_outbound() && !neighbour.is_over && !is_bad {
                    self.book.mark_good(&id, now.wall, &mut self.rng);
                }
            }
            Timer::Crawled(conn) => {
                let Some(neighbour) = self.neighbours.get(&conn) else { return };
                let is_reserved = self.standings.is_reserved(&neighbour.facts.id);
                if neighbour.is_outbound() && !is_reserved && !neighbour.is_over {
                    self.evict(conn, DisconnectReason::Finished);
                }
            }
            Timer::Overstayed(conn) => {
                let Some(neighbour) = self.neighbours.get(&conn) else { return };
                let is_reserved = self.standings.is_reserved(&neighbour.facts.id);
                if !is_reserved && !neighbour.is_over {
                    self.evict(conn, DisconnectReason::Finished);
                }
            }
            Timer::Asked(id) => {
                self.asked.remove(&id);
                self.ask_seed_again(&id, now);
            }
        }
    }

    fn notice(&mut self, notice: Notice, now: Now) {
        match notice {
            // Without peer exchange nobody tells of sessions, and nothing is to be counted.
            Notice::DialBegun { .. } if !self.settings.is_enabled => {}
            Notice::DialBegun { id, .. } => self.dials.begun(id),
            Notice::DialFailed { addr, origin, reason } => {
                self.dial_failed(addr, origin, &reason, now);
            }
            Notice::Authenticated { id, direction } => self.authenticated(id, direction, now),
            Notice::Listed(addr) => _ = self.add_to_book(addr, self.book.own_addr(), now),
            Notice::Standing { id, is_persistent, is_unconditional } => {
                self.stands(id, is_persistent, is_unconditional, now);
            }
        }
    }

    /// The library's own ban, which everybody learns of.
    pub(super) fn ban_automatically(
        &mut self,
        id: NodeId,
        duration: Duration,
        reason: &str,
        now: Now,
    ) {
        if let Some(ban) = self.book.ban_automatically(id, duration, reason, now.wall) {
            self.unpublished.push(ban);
            self.publish_in_time();
            self.store(true);
        }
    }

    /// Publishes now, or once [`PUBLISH_PAUSE`] is over.
    pub(super) fn publish_in_time(&mut self) {
        match self.published_at {
            Some(at) if self.now.mono < at + PUBLISH_PAUSE => {
                self.publish_at = Some(at + PUBLISH_PAUSE);
            }
            _ => self.publish(),
        }
    }

    pub(super) fn publish(&mut self) {
        self.published_at = Some(self.now.mono);
        self.publish_at = None;
        let (table, added) = (self.book.bans().clone(), std::mem::take(&mut self.unpublished));
        self.outputs.push_back(PexOutput::Publish { table, added });
    }

    pub(super) fn store(&mut self, is_urgent: bool) {
        if let Some(batch) = self.book.take_batch() {
            self.outputs.push_back(PexOutput::Store { batch, is_urgent });
        }
    }
}

impl Core for PexCore {
    type Input = PexInput;
    type Output = PexOutput;
    const START: PexInput = PexInput::Start;

    /// Nothing any more after `Stop`.
    fn handle_input(&mut self, input: PexInput, now: Now) {
        if self.is_stopped {
            return;
        }
        if matches!(input, PexInput::Start) {
            return self.start(now);
        }
        self.do_what_is_due(now);
        match input {
            PexInput::Start | PexInput::Timeout => return,
            PexInput::Request(request) => self.request(request),
            PexInput::PeerUp(facts) => self.peer_up(facts, now),
            PexInput::Message { conn, payload } => self.message(conn, &payload, now),
            PexInput::PeerDown { conn, reason } => self.peer_down(conn, &reason, now),
            PexInput::NotSent(conn) => self.request_not_sent(conn, now),
            PexInput::Notice(notice) => self.notice(notice, now),
            PexInput::StoreFailed(error) => {
                self.outputs.push_back(PexOutput::Notice(PexNotice::StoreFailed(error)));
            }
            PexInput::Stop => {
                self.is_stopped = true;
                self.timers.clear();
                self.store(true);
                return;
            }
        }
        // What has become free or due by it.
        self.do_what_is_due(now);
    }

    fn poll_output(&mut self) -> Option<PexOutput> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Mono> {
        if self.is_stopped {
            return None;
        }
        [
            self.book.next_deadline(self.now),
            self.timers.next(),
            self.ensure_at,
            self.refill_at,
            self.next_crawl_deadline(),
        ]
        .into_iter()
        .fold(self.publish_at, earliest)
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, OnceLock};
    use std::time::SystemTime;

    use super::*;
    use crate::{
        addrbook::{BanError, BookKey, BookLimits, BookSettings},
        ban::BanTarget,
        config::Config,
        identity::NodeId,
        pex::PexRequest,
        reply::Reply,
    };

    pub(in crate::pex) const OWN: NodeId = id(0);

    pub(in crate::pex) const fn id(n: u8) -> NodeId {
        NodeId::from_bytes([n; 20])
    }

    /// So long after the start, which is some day in 2023.
    pub(in crate::pex) fn at(millis: u64) -> Now {
        let (start, millis) = (Duration::from_secs(1_700_000_000), Duration::from_millis(millis));
        Now { mono: Mono::ZERO + millis, wall: SystemTime::UNIX_EPOCH + start + millis }
    }

    fn new(config: &Config) -> PexCore {
        let limits = BookLimits::default();
        let settings = BookSettings { own: OWN, is_strict: true, limits };
        let key = BookKey::random(&mut StdRng::seed_from_u64(1));
        let book = Book::new(settings, key);
        PexCore::new(PexSettings::of(config), book, [1; 32], at(0))
    }

    /// One with an empty, strict book that runs.
    pub(in crate::pex) fn started(config: &Config) -> PexCore {
        let mut core = new(config);
        core.handle_input(PexInput::Start, at(0));
        core
    }

    pub(in crate::pex) fn core() -> PexCore {
        let mut core = new(&Config { pex: false, ..Config::default() });
        // The key of a new book is stored.
        assert!(matches!(outputs(&mut core)[..], [PexOutput::Store { .. }]));
        core
    }

    /// What comes out of a request, and what it was answered with once that was done.
    pub(in crate::pex) fn ask<T: Send + Sync + 'static>(
        core: &mut PexCore,
        request: impl FnOnce(Reply<T>) -> PexRequest,
    ) -> (Vec<PexOutput>, T) {
        let (reply, answer) = Reply::kept();
        core.handle_input(PexInput::Request(request(reply)), at(0));
        let mut outputs = outputs(core);
        assert!(answer.get().is_none(), "it is answered in its turn");
        let Some(PexOutput::Answer(told)) = outputs.pop() else { panic!("{outputs:?}") };
        told.give();
        let answer = Arc::into_inner(answer).and_then(OnceLock::into_inner);
        (outputs, answer.flatten().expect("it is answered"))
    }

    pub(in crate::pex) fn ban(
        core: &mut PexCore,
        target: BanTarget,
        duration: Option<Duration>,
    ) -> (Vec<PexOutput>, Result<Ban, BanError>) {
        let reason = "test".to_owned();
        ask(core, |reply| PexRequest::Ban { target, duration, reason, reply })
    }

    fn misbehaves(core: &mut PexCore, n: u8, now: Now) {
        core.handle_input(PexInput::Timeout, now);
        core.ban_automatically(id(n), Duration::from_secs(3600), "spam", now);
    }

    pub(in crate::pex) fn outputs(core: &mut PexCore) -> Vec<PexOutput> {
        std::iter::from_fn(|| core.poll_output()).collect()
    }

    fn num_published(outputs: &[PexOutput]) -> usize {
        outputs.iter().filter(|o| matches!(o, PexOutput::Publish { .. })).count()
    }

    #[test]
    fn a_table_without_the_ban_is_published_at_its_end() {
        let mut core = core();
        ban(&mut core, id(1).into(), Some(Duration::from_secs(30))).1.unwrap();
        assert_eq!(core.next_deadline(), Some(at(30_000).mono));
        core.handle_input(PexInput::Timeout, at(29_999));
        assert_eq!(num_published(&outputs(&mut core)), 0);
        core.handle_input(PexInput::Timeout, at(30_000));
        let outputs = outputs(&mut core);
        let [
            PexOutput::Publish { table, added },
            PexOutput::Event(SwitchEvent::Unbanned(over)),
            PexOutput::Store { batch, .. },
        ] = &outputs[..]
        else {
            panic!("{outputs:?}");
        };
        assert!(table.is_empty() && added.is_empty());
        assert_eq!(over.target, id(1).into());
        assert_eq!(batch.bans[&id(1).into()], None);
        assert_eq!(core.next_deadline(), None);
    }

    #[test]
    fn what_the_library_saw_is_published_and_stored_at_once() {
        let mut core = core();
        misbehaves(&mut core, 1, at(0));
        let outputs = outputs(&mut core);
        let [PexOutput::Publish { added, .. }, PexOutput::Store { batch, is_urgent: true }] =
            &outputs[..]
        else {
            panic!("{outputs:?}")
        };
        assert_eq!((added.len(), batch.bans.len()), (1, 1));
    }

    #[test]
    fn automatic_bans_are_published_together_after_a_pause() {
        let mut core = core();
        misbehaves(&mut core, 1, at(0));
        assert_eq!(num_published(&outputs(&mut core)), 1);
        for n in 2..=4 {
            misbehaves(&mut core, n, at(u64::from(n)));
        }
        assert_eq!(num_published(&outputs(&mut core)), 0);
        assert_eq!(core.next_deadline(), Some(at(200).mono));
        core.handle_input(PexInput::Timeout, at(200));
        let outputs = outputs(&mut core);
        let [PexOutput::Publish { table, added }] = &outputs[..] else { panic!("{outputs:?}") };
        let added: Vec<BanTarget> = added.iter().map(|ban| ban.target).collect();
        assert_eq!((table.len(), added), (4, (2..=4).map(|n| id(n).into()).collect()));
    }

    #[test]
    fn a_wall_clock_that_jumps_neither_loses_a_ban_nor_spins() {
        let mut core = core();
        ban(&mut core, id(1).into(), Some(Duration::from_secs(3600))).1.unwrap();
        // Forward: found at the next look, a minute later at most.
        let deadline = core.next_deadline().unwrap();
        assert_eq!(deadline, at(60_000).mono);
        // Back, to before the epoch's first second: the ban stands, and the next look is later.
        core.handle_input(PexInput::Timeout, Now { mono: deadline, wall: SystemTime::UNIX_EPOCH });
        assert!(outputs(&mut core).is_empty());
        assert_eq!(core.next_deadline(), Some(at(120_000).mono));
        // It stands still just before the end, by the coarsest of the clocks.
        let end = at(3_600_000).wall;
        let now = Now { mono: deadline, wall: end - Duration::from_nanos(100) };
        core.handle_input(PexInput::Timeout, now);
        assert!(core.next_deadline().unwrap().since(now.mono) >= Duration::from_millis(10));
        core.handle_input(PexInput::Timeout, Now { mono: deadline, wall: end });
        assert_eq!(num_published(&outputs(&mut core)), 1);
        assert!(core.book().bans().is_empty());
    }

    #[test]
    fn nothing_happens_after_a_stop() {
        let mut core = core();
        core.handle_input(PexInput::Stop, at(0));
        let (reply, book) = Reply::kept();
        core.handle_input(PexInput::Request(PexRequest::Book(reply)), at(1));
        core.handle_input(PexInput::Timeout, at(2));
        assert!(core.is_stopped() && outputs(&mut core).is_empty());
        assert_eq!(book.get(), Some(&None), "whoever asks too late is told so");
        assert_eq!(core.next_deadline(), None);
    }
}
