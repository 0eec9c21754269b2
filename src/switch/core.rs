//! The switch's decisions, without a thread, a clock or a reactor.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    Input, Limits, Notice, Output, Request, StopReason, SwitchEvent,
    attempt::Dialing,
    filter::{Filters, Subject},
    lookup::Lookups,
    pacing::SessionPaces,
    peer_set::PeerSet,
    persistent::PersistentPeers,
    timer::Timer,
};
use crate::{
    address::{Cidr, PeerAddress},
    ban::BanTable,
    config::Config,
    deadlines::Deadlines,
    drive::Core,
    event_loop::{Command, Report},
    identity::NodeId,
    ids::{ConnId, Direction},
    reactor::DisconnectReason,
    reply::Reply,
    time::{Mono, Now},
};

/// What the switch has to know.
#[derive(Clone, Debug)]
pub struct SwitchSettings {
    /// Our own ID.
    pub id: NodeId,
    /// Its reactors, by number.
    pub reactors: Vec<ReactorSettings>,
    /// How long the peers may take what was accepted for them, if the switch stops by itself.
    pub close_timeout: Duration,
    /// How many peers there may be.
    pub limits: Limits,
    /// Inbound peers that the process has descriptors for, whatever the limits say.
    pub most_inbound: usize,
    /// See `Config::allow_duplicate_ip`.
    pub allow_duplicate_ip: bool,
    /// See `Config::max_peers_per_ip`.
    pub max_peers_per_ip: usize,
    /// See `Config::max_inbound_per_subnet`.
    pub max_inbound_per_subnet: usize,
    /// See `Config::seed_mode`.
    pub is_seed: bool,
    /// See `Config::exempt_cidrs`.
    pub exempt: Vec<Cidr>,
    /// See `Config::persistent_peers`.
    pub persistent_peers: Vec<PeerAddress>,
    /// See `Config::persistent_peers_max_dial_period`.
    pub persistent_peers_max_dial_period: Duration,
    /// See `Config::reconnect_give_up`.
    pub reconnect_give_up: u32,
    /// See `Config::unconditional_peer_ids`.
    pub unconditional_peer_ids: Vec<NodeId>,
    /// See `Config::dial_spread`.
    pub dial_spread: Duration,
    /// How many connection filters there are.
    pub connection_filters: usize,
    /// How many peer filters there are.
    pub peer_filters: usize,
    /// See `Config::connection_filter_timeout`.
    pub connection_filter_timeout: Duration,
    /// See `Config::peer_filter_timeout`.
    pub peer_filter_timeout: Duration,
}

/// What the switch has to know of a reactor.
#[derive(Clone, Debug)]
pub struct ReactorSettings {
    /// Its name, for people.
    pub name: String,
    /// Whether the switch goes on without it.
    pub may_end: bool,
}

/// The switch's decisions: [`Input`] in, [`Output`] out, and what can be asked changes nothing.
///
/// # The drive loop
/// Is [`Driver::run`](crate::drive::Driver::run), for the thread `p2p-switch` and for everybody else. A
/// driver brings the inputs and does what the outputs say:
///
/// ```
/// use std::collections::VecDeque;
/// use tmp2p::{
///     Config, NodeKey, Origin, StopReason,
///     internals::drive::{Core, Driver},
///     internals::event_loop::{Command, Report},
///     internals::switch::{Input, Output, Reply, Request, SwitchCore, SwitchSettings},
///     internals::time::{Mono, Now},
/// };
///
/// /// Nobody can be reached.
/// struct Nowhere {
///     core: SwitchCore,
///     now: Now,
///     inputs: VecDeque<Input>,
/// }
///
/// impl Driver for Nowhere {
///     type Core = SwitchCore;
///
///     fn core(&mut self) -> &mut SwitchCore {
///         &mut self.core
///     }
///
///     fn now(&self) -> Now {
///         self.now
///     }
///
///     fn next_input(&mut self) -> Input {
///         let Some(input) = self.inputs.pop_front() else {
///             self.now.mono = self.core.next_deadline().expect("somebody has to stop it");
///             return Input::Timeout;
///         };
///         input
///     }
///
///     fn perform(&mut self, output: Output) {
///         match output {
///             Output::Command(Command::Dial { ticket, .. }) => {
///                 let reason = tmp2p::DisconnectReason::Refused;
///                 self.inputs.push_front(Input::Report(Report::DialFailed { ticket, reason }));
///             }
///             Output::Command(Command::Shutdown { .. }) => {
///                 self.inputs.push_back(Input::Report(Report::Stopped));
///             }
///             Output::Answer(answer) => answer.give(),
///             // A node that is alone has no sessions, and here nobody listens to events.
///             _ => {}
///         }
///     }
/// }
///
/// let id = |seed| NodeKey::from_seed([seed; 32]).id();
/// let settings = SwitchSettings::of(id(1), &Config::default(), Vec::new());
/// let now = Now { mono: Mono::ZERO, wall: std::time::SystemTime::UNIX_EPOCH };
/// let (reply, dialed) = Reply::kept();
/// let addr = format!("{}@1.2.3.4:26656", id(2)).parse().unwrap();
/// let dial = Request::Dial { addr, origin: Origin::Operator, reply: Some(reply) };
/// let stop = Request::Stop { deadline: now.mono };
/// let mut driver = Nowhere {
///     core: SwitchCore::new(settings, Default::default(), [7; 32]),
///     now,
///     inputs: [dial, stop].map(Input::Request).into(),
/// };
/// driver.run();
/// assert_eq!(driver.core.stop_reason(), Some(StopReason::Requested));
/// let answer = dialed.get().expect("it was answered before the stop");
/// assert_eq!(*answer, Some(Err(tmp2p::DisconnectReason::Refused)));
/// ```
#[derive(Debug)]
pub struct SwitchCore {
    pub(super) settings: SwitchSettings,
    pub(super) rng: StdRng,
    pub(super) peers: PeerSet,
    pub(super) dialing: Dialing,
    pub(super) lookups: Lookups,
    pub(super) persistent: PersistentPeers,
    pub(super) unconditional: BTreeSet<NodeId>,
    pub(super) filters: Filters,
    pub(super) bans: Arc<BanTable>,
    pub(super) timers: Deadlines<Timer>,
    pub(super) outputs: VecDeque<Output>,
    /// What the loop was told last.
    pub(super) is_told_full: bool,
    /// Decides whom nobody can foresee, see [`evicting`](super::evicting).
    pub(super) salt: u64,
    /// When a newcomer may take somebody's place again.
    pub(super) weigh_at: Mono,
    pub(super) told_known: Arc<BTreeSet<IpAddr>>,
    /// The reactor that does not take its events.
    pub(super) stalled: Option<String>,
    /// It has left so many unread that reserved nodes are not admitted either.
    pub(super) is_stalled_for_all: bool,
    /// How often strangers begin sessions.
    pub(super) paces: SessionPaces,
    pub(super) is_stopping: bool,
    /// Why it stops, if nobody asked for it.
    cause: Option<StopReason>,
    stopped: Option<StopReason>,
}

impl SwitchSettings {
    /// What of it is configured; no filters.
    pub fn of(id: NodeId, config: &Config, reactors: Vec<ReactorSettings>) -> Self {
        Self {
            id,
            reactors,
            close_timeout: config.close_timeout,
            limits: Limits::of(config),
            most_inbound: usize::MAX,
            allow_duplicate_ip: config.allow_duplicate_ip,
            max_peers_per_ip: config.max_peers_per_ip,
            max_inbound_per_subnet: config.max_inbound_per_subnet,
            is_seed: config.seed_mode,
            exempt: config.exempt_cidrs.clone(),
            persistent_peers: config.persistent_peers.clone(),
            persistent_peers_max_dial_period: config.persistent_peers_max_dial_period,
            reconnect_give_up: config.reconnect_give_up,
            unconditional_peer_ids: config.unconditional_peer_ids.clone(),
            dial_spread: config.dial_spread,
            connection_filters: 0,
            peer_filters: 0,
            connection_filter_timeout: config.connection_filter_timeout,
            peer_filter_timeout: config.peer_filter_timeout,
        }
    }
}

impl SwitchCore {
    /// A switch without connections. What it decides by chance depends on the seed alone.
    pub fn new(settings: SwitchSettings, bans: Arc<BanTable>, seed: [u8; 32]) -> Self {
        Self {
            unconditional: settings.unconditional_peer_ids.iter().copied().collect(),
            salt: seed.iter().fold(0, |salt: u64, byte| salt.rotate_left(8) ^ u64::from(*byte)),
            weigh_at: Mono::ZERO,
            rng: StdRng::from_seed(seed),
            settings,
            peers: PeerSet::default(),
            dialing: Dialing::default(),
            lookups: Lookups::default(),
            persistent: PersistentPeers::default(),
            filters: Filters::default(),
            bans,
            timers: Deadlines::default(),
            outputs: VecDeque::new(),
            is_told_full: false,
            told_known: Arc::default(),
            stalled: None,
            is_stalled_for_all: false,
            paces: SessionPaces::default(),
            is_stopping: false,
            cause: None,
            stopped: None,
        }
    }

    fn start(&mut self, now: Now) {
        let mut addrs = std::mem::take(&mut self.settings.persistent_peers);
        addrs.retain(|addr| addr.id() != self.settings.id);
        self.start_persistent(addrs, now);
        self.tell_known();
        self.tell_whether_full();
    }

    fn request(&mut self, request: Request, now: Now) {
        match request {
            Request::Dial { addr, origin, reply } => self.dial(addr, origin, reply, now),
            Request::Evict { conn, reason } => self.evict(conn, reason),
            Request::Control { control, reply } => {
                let result = self.control(control, now);
                self.answer(reply, result);
            }
            Request::States(reply) => {
                let states = self.states(now);
                self.answer(reply, states);
            }
            Request::Stop { deadline } => self.stop(deadline, now),
        }
    }

    fn do_what_is_due(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::Attempt(ticket) => self.attempt_due(ticket, now),
                Timer::Persistent(id) => self.persistent_due(&id, now),
                Timer::Parked(conn) => self.parked_due(conn, now),
                Timer::Proven(conn) => self.proven(conn, true, now),
                Timer::Filter(ticket) => self.filters_due(ticket, now),
            }
        }
    }

    /// The reactor that has left most sessions unread, and how many.
    fn unread(&mut self, reactor: usize, sessions: usize) {
        let most = self.max_unread_sessions();
        self.is_stalled_for_all = sessions > most.saturating_mul(2);
        let name = (sessions > most).then(|| self.reactor_name(reactor));
        if name == self.stalled {
            return;
        }
        if let Some(name) = std::mem::replace(&mut self.stalled, name) {
            self.event(SwitchEvent::ReactorRecovered(name));
        }
        if let Some(name) = self.stalled.clone() {
            self.event(SwitchEvent::ReactorStalled(name));
        }
    }

    /// How many sessions a reactor may leave unread before no stranger is admitted: four times as
    /// many as there can be at once, so that peers that come and go cannot fill memory with events.
    /// Reserved nodes are admitted up to twice as many: who has filled it was not one of them.
    pub fn max_unread_sessions(&self) -> usize {
        let limits = &self.settings.limits;
        let peers = limits.max_num_inbound_peers.saturating_add(limits.max_num_outbound_peers);
        peers.saturating_mul(4).max(4)
    }

    /// Why the switch has stopped, once it has.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stopped.clone()
    }

    /// Attempts from the moment when they are scheduled until they have brought a connection.
    pub fn num_dialing(&self) -> usize {
        self.dialing.len()
    }

    /// How many peers there may be.
    pub fn limits(&self) -> Limits {
        self.settings.limits
    }

    /// Sessions by direction, without those that count against no limit.
    pub fn num_limited(&self, direction: Direction) -> usize {
        self.peers.count(direction)
    }

    /// Whether there is to be a connection with this node at all times.
    pub fn is_persistent(&self, id: &NodeId) -> bool {
        self.persistent.contains(id)
    }

    /// Whether limits do not apply to this node.
    pub(super) fn is_reserved(&self, id: &NodeId) -> bool {
        self.unconditional.contains(id) || self.persistent.contains(id)
    }

    pub(super) fn event(&mut self, event: SwitchEvent) {
        self.outputs.push_back(Output::Event(event));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }

    pub(super) fn answer<T: Send + 'static>(&mut self, reply: Reply<T>, answer: T) {
        self.outputs.push_back(Output::Answer(reply.with(answer)));
    }

    fn report(&mut self, report: Report, now: Now) {
        match report {
            Report::Accepted { conn, remote } => {
                self.outputs.push_back(Output::Command(Command::Considered));
                let subject = Subject::Accepted(conn, remote);
                self.ask_filters(subject, Direction::Inbound, None, now);
            }
            Report::Established(established) => {
                self.outputs.push_back(Output::Command(Command::Considered));
                self.established(established, now);
            }
            Report::Closed { conn, reason, has_sent } => {
                self.closed(conn, reason, has_sent, now);
            }
            Report::DialFailed { ticket, reason } => self.try_next_address(ticket, reason, now),
            Report::HandshakeFailed { remote: addr, id, reason, others } => {
                self.outputs.push_back(Output::Command(Command::Heard));
                self.event(SwitchEvent::Rejected { addr, id, reason, others });
            }
            Report::Refused { remote: addr, reason, others } => {
                self.outputs.push_back(Output::Command(Command::Heard));
                self.event(SwitchEvent::Rejected { addr, id: None, reason, others });
            }
            Report::FirstMessage(conn) => self.proven(conn, false, now),
            Report::Alive(conn) => self.alive(conn, now),
            Report::Ending(conn) => self.ending(conn, now),
            Report::ReactorGone(reactor) => self.reactor_gone(reactor, false, now),
            Report::AcceptFailed(why) => self.event(SwitchEvent::AcceptFailed(why)),
            Report::Stopped => self.stopped(now),
        }
    }

    // ---- stopping ----

    fn reactor_gone(&mut self, reactor: usize, has_panicked: bool, now: Now) {
        let may_end = self.settings.reactors.get(reactor).is_none_or(|reactor| reactor.may_end);
        // While stopping, reactors go as they like; and one that may end, unless something is wrong.
        if self.is_stopping || (may_end && !has_panicked) {
            return;
        }
        let name = self.reactor_name(reactor);
        if may_end {
            return self.event(SwitchEvent::ReactorGone { name, has_panicked });
        }
        self.cause = Some(StopReason::ReactorGone(name.clone()));
        self.event(SwitchEvent::ReactorGone { name, has_panicked });
        self.stop(now.mono + self.settings.close_timeout, now);
    }

    fn stop(&mut self, deadline: Mono, now: Now) {
        self.is_stopping = true;
        self.outputs.push_back(Output::Command(Command::Shutdown { deadline }));
        self.stop_dialing(false, now);
    }

    fn stopped(&mut self, now: Now) {
        if self.stopped.is_some() {
            return;
        }
        let asked = std::mem::replace(&mut self.is_stopping, true);
        let failed = if asked { StopReason::Requested } else { StopReason::Failed };
        let reason = self.cause.take().unwrap_or(failed);
        self.stopped = Some(reason.clone());
        // Empty unless the loop died: it reports each end before its own.
        let conns: Vec<ConnId> = self.peers.iter().map(|(conn, _)| conn).collect();
        for conn in conns {
            self.closed(conn, DisconnectReason::Stopped, true, now);
        }
        self.stop_dialing(true, now);
        self.timers.clear();
        self.event(SwitchEvent::Stopped(reason));
    }

    fn reactor_name(&self, reactor: usize) -> String {
        self.settings.reactors.get(reactor).map_or_else(String::new, |r| r.name.clone())
    }
}

impl Core for SwitchCore {
    type Input = Input;
    type Output = Output;
    const START: Input = Input::Start;

    fn handle_input(&mut self, input: Input, now: Now) {
        match input {
            Input::Start => return self.start(now),
            // What is due comes after what happened, and these are told beside that.
            Input::Unread { reactor, sessions } => return self.unread(reactor, sessions),
            Input::Introduced { conn, result } => return self.introduced(conn, result, now),
            Input::Weighed { newcomer, sessions } => return self.weighed(newcomer, &sessions, now),
            Input::Timeout => {}
            Input::Report(report) => self.report(report, now),
            Input::Request(request) => self.request(request, now),
            Input::Resolved(resolved) => self.resolved(resolved, now),
            Input::Decided { ticket, result } => self.decided(ticket, result, now),
            Input::Bans { table, added } => self.set_bans(table, added, now),
            Input::Event(event) => self.event(event),
            Input::ReactorGone { reactor, has_panicked } => {
                self.reactor_gone(reactor, has_panicked, now);
            }
        }
        self.do_what_is_due(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// The event loop has stopped and every session was reported down.
    fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}
