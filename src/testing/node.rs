//! One whole node without threads: the cores and the drivers that ship, over simulated sockets.

use std::{
    cell::RefCell,
    net::SocketAddr,
    ops::ControlFlow::{self, Break, Continue},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{dice::Dice, net::Wire, sockets::SimSockets};
use crate::{
    clock::Clock,
    config::Config,
    drive::{Core, Driver},
    event_loop::{
        Command, GateSettings, ListenError, LoopCore, LoopStart, Mailbox, Reports, StartedLoop,
    },
    pex::{PexCore, PexInput, PexThread, ToPex},
    protocol::secret::{KeyAgreement, Null},
    reactor::{Event, Inboxes, Reactor, Revocable},
    runtime::{Assembled, Ground, StartError, SwitchBuilder, SwitchHandle},
    switch::{SwitchCore, SwitchThread, ToSwitch},
    time::{Mono, Now, earliest},
};

/// Turns without any time passing after which something must be running in circles.
const MAX_TURNS_AT_ONCE: usize = 1_000_000;

/// The application's code for a reactor.
pub(super) type Handler = Box<dyn FnMut(Event)>;

/// What the threads of a node are, where there are none.
pub(super) struct Node {
    pub(super) handle: SwitchHandle,
    pub(super) host: usize,
    event_loop: SimLoop,
    /// `None`: it has stopped.
    switch: Option<SwitchThread<Revocable, ToPex>>,
    pex: Option<PexThread>,
    handlers: Vec<(Reactor, Handler)>,
}

/// What the thread `p2p-loop` is elsewhere.
struct SimLoop {
    core: LoopCore<SimSockets, Inboxes, Null>,
    mailbox: Arc<Mailbox>,
    reports: ToSwitch,
    woken: Arc<AtomicBool>,
    /// It sits in its poll until then.
    asleep: Option<Option<Mono>>,
    is_over: bool,
}

impl Node {
    /// Starts what was prepared, on this network, where it listens at `addr` if it is to listen anywhere.
    pub(super) fn start(
        builder: SwitchBuilder,
        net: &Wire,
        clock: Clock,
        addr: SocketAddr,
        dice: &mut Dice,
    ) -> Result<Self, StartError> {
        let sockets = SimSockets::new(net.clone(), addr.ip());
        let host = sockets.host;
        let dice = Rc::new(RefCell::new(dice.fork()));
        let mut keys = dice.borrow_mut().fork();
        let ground = Ground {
            clock,
            chance: &mut || Ok(dice.borrow_mut().bytes()),
            gate: |config: &Config, _| (GateSettings::of(config), usize::MAX),
        };
        let agreement = Box::new(move || Some(agreement(keys.bytes())));
        let assembled =
            builder.assemble(ground, |start| SimLoop::start(start, sockets, addr, agreement))?;
        let Assembled { handle, mut unstarted, event_loop, mut switch, book, pex, .. } = assembled;
        unstarted.0 = None;
        switch.resolver = switch.resolver.inline();
        let (to_switch, mailbox) = (switch.to_switch.clone(), switch.mailbox.clone());
        let mut pex = book.without_threads(pex, to_switch, mailbox);
        switch.step(SwitchCore::START);
        pex.step(PexCore::START);
        Ok(Self {
            handle,
            host,
            event_loop,
            switch: Some(switch),
            pex: Some(pex),
            handlers: Vec::new(),
        })
    }

    /// From now on the reactor's events are given to this.
    pub(super) fn drive(&mut self, reactor: Reactor, handler: Handler) {
        self.handlers.push((reactor, handler));
    }

    /// Whether the switch has not stopped.
    pub(super) fn is_running(&self) -> bool {
        self.switch.is_some()
    }

    /// Whether something is there that was not there when it ran last.
    pub(super) fn has_work(&self, now: Mono) -> bool {
        self.event_loop.woken.load(Relaxed) || self.next_turn().is_some_and(|at| at <= now)
    }

    /// Does all that can be done now; when there is something to do by itself.
    pub(super) fn run(&mut self, net: &Wire, now: Now) -> Option<Mono> {
        for _ in 0..MAX_TURNS_AT_ONCE {
            if let Break(next) = self.run_once(net, now) {
                return next;
            }
        }
        panic!("{:?} has something to do and no time passes", self.handle);
    }

    /// Its process is gone.
    pub(super) fn kill(mut self, net: &Wire) {
        net.borrow_mut().take_down(self.host);
        if let Some(switch) = self.switch.take() {
            switch.kill();
        }
        self.event_loop.mailbox.shut();
    }

    fn next_turn(&self) -> Option<Mono> {
        let is_due = |has_some: bool| has_some.then_some(Mono::ZERO);
        let handlers = self.handlers.iter().any(|(reactor, _)| !reactor.events().is_empty());
        let pex = self.pex.as_ref().and_then(PexThread::next_turn);
        let switch = self.switch.as_ref().and_then(SwitchThread::next_turn);
        earliest(earliest(switch, pex), is_due(handlers))
    }

    /// Everybody once, if there is something to do for him. If there was nothing, that is all, until then.
    fn run_once(&mut self, net: &Wire, now: Now) -> ControlFlow<Option<Mono>> {
        let is_due = |at: Option<Mono>| at.is_some_and(|at| at <= now.mono);
        let mut has_run = self.event_loop.run(net, self.host, now);
        let mut next = self.event_loop.next_turn();
        if let Some(switch) = &mut self.switch {
            let mut turn = switch.next_turn();
            while !switch.core().is_stopped() && is_due(turn) {
                switch.take_turn();
                has_run = true;
                turn = switch.next_turn();
            }
            next = earliest(next, turn);
        }
        if let Some(switch) = self.switch.take_if(|switch| switch.core().is_stopped()) {
            switch.end(true);
            has_run = true;
        }
        if let Some(pex) = &mut self.pex {
            let mut turn = pex.next_turn();
            while is_due(turn) {
                pex.take_turn();
                has_run = true;
                turn = pex.next_turn();
            }
            next = earliest(next, turn);
        }
        // It ends after the switch.
        if self.switch.is_none()
            && let Some(mut pex) = self.pex.take()
        {
            pex.step(PexInput::Stop);
            has_run = true;
        }
        for (reactor, handler) in &mut self.handlers {
            while let Ok(event) = reactor.events().try_recv() {
                handler(event);
                has_run = true;
            }
        }
        if has_run { Continue(()) } else { Break(next) }
    }
}

impl SimLoop {
    fn start(
        start: LoopStart<'_, Inboxes, ToSwitch>,
        sockets: SimSockets,
        addr: SocketAddr,
        agreement: Box<dyn FnMut() -> Option<KeyAgreement> + Send>,
    ) -> Result<StartedLoop<Self>, ListenError> {
        let LoopStart { listen, prepare, inbox, bans, clock, reports, .. } = start;
        let woken = Arc::new(AtomicBool::new(true));
        let wake = woken.clone();
        let mailbox =
            Arc::new(Mailbox::new(move || wake.store(true, Relaxed), move || clock.mono()));
        let local_addr = listen.map(|_| addr);
        let mut core = LoopCore::new(prepare(local_addr), sockets, inbox, agreement);
        if let Some(addr) = local_addr {
            let listening = core.listen(addr);
            listening.map_err(|error| ListenError::Listen { addr, error })?;
        }
        mailbox.command(Command::Bans(bans));
        let counters = core.counters();
        let runs =
            Self { core, mailbox: mailbox.clone(), reports, woken, asleep: None, is_over: false };
        Ok(StartedLoop { mailbox, local_addr, counters, runs })
    }

    /// When its poll returns by itself.
    fn next_turn(&self) -> Option<Mono> {
        match self.asleep {
            _ if self.is_over => None,
            Some(until) => until,
            None => Some(Mono::ZERO),
        }
    }

    /// Once around, as the thread does it, if there is something to do; whether there was.
    fn run(&mut self, net: &Wire, host: usize, now: Now) -> bool {
        let edges = net.borrow_mut().take_edges(host);
        let is_woken = self.woken.swap(false, Relaxed);
        let is_due = self.next_turn().is_some_and(|at| at <= now.mono);
        if self.is_over || !is_due && !is_woken && edges.is_empty() {
            return false;
        }
        self.mailbox.awake();
        self.asleep = None;
        for (slot, readiness) in edges {
            self.core.handle_readiness(slot, readiness);
        }
        self.core.take_posts(&self.mailbox, now);
        self.core.run_turn(now);
        while let Some(report) = self.core.poll_report() {
            self.reports.report(report);
        }
        self.core.end_turn(now.mono);
        if self.core.is_stopped() {
            self.is_over = true;
            self.mailbox.shut();
        } else if !self.core.has_work() && self.mailbox.may_sleep() {
            self.asleep = Some(self.core.next_deadline());
        }
        true
    }
}

/// A key agreement that is none: both sides get the same bytes, and nothing is computed.
pub fn agreement(public: [u8; 32]) -> KeyAgreement {
    let agree = move |theirs: [u8; 32]| {
        let mut secret = [1; 32];
        for (i, byte) in secret.iter_mut().enumerate() {
            *byte |= public[i] ^ theirs[i];
        }
        Some(secret)
    };
    KeyAgreement { public, agree: Box::new(agree) }
}
