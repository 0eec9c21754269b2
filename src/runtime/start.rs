//! From what was registered to running threads: check, book, loop, switch, peer exchange, handle.
//!
//! Who hears of what is said by the ends that each of them is given: `ToSwitch`, which takes the loop's
//! `Reports`, `ToPex`, which takes the switch's `Notices`, `Mailbox` of the loop, `Inboxes` of the
//! reactors. So of a failed dial the loop tells the switch; that tells peer exchange in a notice,
//! subscribers in an event, and whoever asked in a reply.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use log::Level;

use super::{
    ReactorSpec, Switch, SwitchBuilder, SwitchHandle, book,
    builder::{Registered, Unstarted},
    descriptors,
    handle::Started,
    spec::PEX,
    switch::Threads,
};
use crate::{
    addrbook::{BookLimits, BookSettings, StoreError},
    address::{ListenAddress, PeerAddress},
    channel::ChannelDescriptor,
    clock::Clock,
    config::{Config, ConfigError},
    event_loop::{
        self, Command, GateSettings, ListenError, LoopSettings, LoopStart, SocketOptions,
        StartedLoop,
    },
    guard::tell,
    identity::NodeId,
    node_info::{NodeInfo, NodeInfoError},
    pex::{self, Pex, PexSettings, Prepared, Start, ToPex},
    protocol::{LinkSettings, mconn::MConnSettings},
    reactor::{Inboxes, MessageTypes, Reactor, Revocable, Revoker, SessionSettings},
    switch::{
        Hook, Lineup, Log, ReactorSettings, ResolverPool, SwitchCore, SwitchSettings, SwitchThread,
        ToSwitch, verdict_timeout,
    },
    thread::{self, Thread},
};

/// Why a switch did not start.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A configuration value is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Peers would refuse what this node says of itself.
    #[error("node info: {0}")]
    NodeInfo(#[from] NodeInfoError),
    /// `laddr` names no address of this machine.
    #[error("laddr {laddr}: {error}; give an address of this machine")]
    Laddr {
        /// The configured address.
        laddr: String,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// The listener or the loop's thread could not be started.
    #[error(transparent)]
    EventLoop(#[from] ListenError),
    /// The store of bans and addresses could not be read.
    #[error(transparent)]
    Book(#[from] StoreError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Randomness,
    /// A thread of the switch could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

crate::text::readable_debug!(StartError);

/// What was found to be in order.
struct Plan {
    own: NodeId,
    /// Of this node, without its address.
    node_info: NodeInfo,
    /// Each with the number of its reactor.
    channels: Vec<(ChannelDescriptor, usize)>,
    /// Of the reactors, by number.
    names: Vec<String>,
    settings: SwitchSettings,
    /// Of the switch's chances.
    seed: [u8; 32],
    /// Each with the number of its reactor.
    hooks: Vec<(usize, Hook)>,
    /// Of peer exchange, if there is any.
    pex: Option<Reactor>,
}

/// Where random bytes come from.
type Chance<'a> = &'a mut dyn FnMut() -> Result<[u8; 32], StartError>;

/// On what a switch is started.
pub(crate) struct Ground<'a> {
    pub(crate) clock: Clock,
    pub(crate) chance: Chance<'a>,
    /// Who may connect and how many inbound peers there may be, as descriptors are left. With `true` their
    /// limit may be raised.
    pub(crate) gate: fn(&Config, bool) -> (GateSettings, usize),
}

/// A switch whose parts know of each other, and whose loop runs.
pub(crate) struct Assembled<L> {
    pub(crate) handle: SwitchHandle,
    pub(crate) unstarted: Unstarted,
    pub(crate) event_loop: L,
    pub(crate) switch: SwitchThread<Revocable, ToPex>,
    pub(crate) book: Prepared,
    /// Of peer exchange, if there is any.
    pub(crate) pex: Option<Reactor>,
    pub(crate) inboxes: Revoker,
}

impl SwitchBuilder {
    /// Checks everything once, opens the listener and starts the threads.
    ///
    /// # Errors
    /// See [`StartError`]; nothing was started.
    pub fn start(self) -> Result<Switch, StartError> {
        let chance = &mut random_seed;
        let ground = Ground { clock: Clock::start(), chance, gate: descriptors::gate };
        let assembled = self.assemble(ground, event_loop::start)?;
        let Assembled { handle, mut unstarted, event_loop, switch, book, pex, inboxes } = assembled;
        let (clock, mailbox) = (book.clock(), switch.mailbox.clone());
        let resolver = switch.resolver.busy();
        match start_deciders(switch, book, pex) {
            Ok((switch, pex)) => {
                unstarted.0 = None;
                let threads = Threads { event_loop, switch, pex, resolver, inboxes, clock };
                Ok(Switch::new(handle, threads))
            }
            Err(error) => {
                // What has started ends with the loop.
                mailbox.command(Command::Shutdown { deadline: clock.mono() });
                let _ = event_loop.join_within(Duration::MAX);
                Err(StartError::Thread(error))
            }
        }
    }

    /// Checks everything once, reads the book and has the loop started; nobody decides anything yet.
    pub(crate) fn assemble<L>(
        mut self,
        ground: Ground<'_>,
        start_loop: impl FnOnce(LoopStart<'_, Inboxes, ToSwitch>) -> Result<StartedLoop<L>, ListenError>,
    ) -> Result<Assembled<L>, StartError> {
        let mut plan = self.check_all(ground.chance)?;
        let mut book = self.load_book(plan.own, ground.clock, ground.chance)?;
        let mut inboxes = Vec::new();
        for (number, Registered { spec, inbox }) in self.reactors.drain(..).enumerate() {
            inboxes.push(inbox);
            if let Some(mut hook) = spec.on_init {
                let handle = self.handle.clone();
                plan.hooks.push((number, Box::new(move |peer| hook(peer, &handle))));
            }
        }
        let inboxes = Inboxes::new(inboxes);
        let (gate, inbound) = (ground.gate)(&self.config, self.raises_descriptor_limit);
        plan.settings.most_inbound = inbound;
        let (begun, node_info) =
            self.start_loop(&plan, gate, &book, inboxes.clone(), start_loop)?;
        let StartedLoop { mailbox, local_addr, counters, runs } = begun;
        let external = self.config.external_address.as_ref().and_then(|addr| addr.socket_addr());
        local_addr.into_iter().chain(external).for_each(|own| book.add_own(own));
        let started = Started {
            clock: book.clock(),
            mailbox,
            pex: book.handle(),
            node_info,
            local_addr,
            counters,
            message_types: plan.channels.iter().filter_map(|(c, _)| MessageTypes::of(c)).collect(),
        };
        let (handle, unstarted) = (self.handle.clone(), std::mem::take(&mut self.unstarted));
        // Before there is a thread that could run a hook.
        let started = handle.inner().started.get_or_init(|| started);
        let to_reactors = Revocable::new(inboxes);
        let (inboxes, pex) = (to_reactors.revoker(), plan.pex.take());
        let switch = self.switch(plan, &book, started, to_reactors);
        Ok(Assembled { handle, unstarted, event_loop: runs, switch, book, pex, inboxes })
    }

    /// Whether all of it goes together.
    fn check_all(&mut self, chance: Chance<'_>) -> Result<Plan, StartError> {
        self.config.check()?;
        let pex = self.config.pex.then(|| ReactorSpec::new(PEX).channel(pex::channel()));
        let pex = pex.map(|spec| self.register(spec));
        let config = &self.config;
        config.check_reactors(self.reactors.len())?;
        let channels = self.reactors.iter().enumerate();
        let channels: Vec<(ChannelDescriptor, usize)> =
            channels.flat_map(|(n, r)| r.spec.channels.iter().map(move |c| (*c, n))).collect();
        let (own, ids) = (self.key.id(), channels.iter().map(|(c, _)| c.id));
        let node_info = self.node_info.clone().with_id(own).with_channels(ids);
        // Checked with an address that every node may announce; the real one is known later.
        node_info.clone().with_listen_addr(&announce(config, None)).validate()?;
        if config.persistent_peers.iter().any(|peer| peer.id() == own) {
            tell!(Level::Warn, "persistent_peers has this node's own ID, {own}: it is left out");
        }
        let specs = self.reactors.iter().map(|reactor| &reactor.spec);
        let names: Vec<_> = specs.clone().map(|spec| spec.name.clone()).collect();
        let reactors =
            specs.map(|spec| ReactorSettings { name: spec.name.clone(), may_end: spec.may_end });
        let settings = SwitchSettings {
            connection_filters: self.connection_filters.len(),
            peer_filters: self.peer_filters.len(),
            ..SwitchSettings::of(own, config, reactors.collect())
        };
        let (seed, hooks) = (chance()?, Vec::new());
        Ok(Plan { own, node_info, channels, names, settings, seed, hooks, pex })
    }

    /// Opens the book, and takes in what lies beside it.
    fn load_book(
        &mut self,
        own: NodeId,
        clock: Clock,
        chance: Chance<'_>,
    ) -> Result<Prepared, StartError> {
        let config = &self.config;
        let is_ours = self.store.is_none();
        let store =
            self.store.take().map_or_else(|| book::open(config), |store| Ok(Some(store)))?;
        let (is_strict, limits) = (config.addr_book_strict, BookLimits::of(config));
        let file = config.addr_book_file.clone();
        let begin = Start {
            settings: PexSettings::of(config),
            book: BookSettings { own, is_strict, limits },
            private: config.private_peer_ids.clone(),
            find: Box::new(move |taken| book::find_json(file.as_deref(), taken)),
            seed: chance()?,
            book_seed: chance()?,
        };
        // Stores of ours name the book themselves, with its file.
        let pex = Prepared::load(begin, store, clock).map_err(|error| {
            let text = "cannot read the address book";
            if is_ours { error } else { StoreError::with_source(text, error) }
        })?;
        if let (Some(file), Some(report)) = (&config.addr_book_file, pex.imported()) {
            book::tell_of_import(file, report, cfg!(feature = "sqlite") && is_ours);
        }
        Ok(pex)
    }

    /// Has the loop started. With what the node announces, now that it is known where it listens.
    fn start_loop<L>(
        &self,
        plan: &Plan,
        gate: GateSettings,
        book: &Prepared,
        inboxes: Inboxes,
        start: impl FnOnce(LoopStart<'_, Inboxes, ToSwitch>) -> Result<StartedLoop<L>, ListenError>,
    ) -> Result<(StartedLoop<L>, NodeInfo), StartError> {
        let config = &self.config;
        let mut announced = plan.node_info.clone();
        let prepare = |bound| {
            announced = announced.clone().with_listen_addr(&announce(config, bound));
            let link = LinkSettings {
                key: self.key.clone(),
                node_info: announced.clone(),
                channels: plan.channels.iter().map(|(c, _)| *c).collect(),
                mconn: MConnSettings::of(config),
            };
            LoopSettings {
                gate,
                filter_connections: plan.settings.connection_filters > 0,
                ..LoopSettings::of(config, link, plan.names.len(), verdict_timeout(config))
            }
        };
        let begun = start(LoopStart {
            listen: listen_addr(config)?,
            prepare: Box::new(prepare),
            options: SocketOptions::for_send_rate(config.send_rate),
            inbox: inboxes,
            bans: book.bans(),
            clock: book.clock(),
            reports: self.handle.inner().to_switch.clone(),
        })?;
        Ok((begun, announced))
    }

    /// What the switch's thread owns.
    fn switch(
        self,
        plan: Plan,
        book: &Prepared,
        started: &Started,
        to_reactors: Revocable,
    ) -> SwitchThread<Revocable, ToPex> {
        let (config, common) = (&self.config, self.handle.inner());
        let session = SessionSettings {
            channels: plan.channels.into(),
            reactors: plan.names.len(),
            reactor_budget: config.reactor_budget,
            send_queue_bytes: config.send_queue_bytes,
            send_timeout: config.send_timeout,
            verdicts: Arc::new(started.pex.clone()),
            message_types: started.message_types.clone(),
        };
        let lineup = Lineup::new(session, plan.names, to_reactors, started.mailbox.clone());
        SwitchThread {
            core: SwitchCore::new(plan.settings, book.bans(), plan.seed),
            inputs: self.inputs,
            to_switch: common.to_switch.clone(),
            lineup: lineup.with_hooks(plan.hooks),
            mailbox: started.mailbox.clone(),
            resolver: ResolverPool::new(self.resolver),
            shared: common.shared.clone(),
            clock: started.clock.clone(),
            sessions: Default::default(),
            connection_filters: self.connection_filters,
            peer_filters: self.peer_filters,
            log: Log::new(config.seeds.iter().map(PeerAddress::id), descriptors::limit()),
            notices: started.pex.notices(),
        }
    }
}

/// Starts the threads that decide. `Err`: those that there are end with the loop.
fn start_deciders(
    switch: SwitchThread<Revocable, ToPex>,
    book: Prepared,
    reactor: Option<Reactor>,
) -> io::Result<(Thread<bool>, Pex)> {
    let (to_switch, mailbox) = (switch.to_switch.clone(), switch.mailbox.clone());
    let switch = thread::spawn("p2p-switch", move || switch.run_to_end())?;
    let pex = book.start(reactor, to_switch, mailbox)?;
    Ok((switch, pex))
}

fn random_seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    let random = ring::rand::SystemRandom::new();
    ring::rand::SecureRandom::fill(&random, &mut seed).map_err(|_| StartError::Randomness)?;
    Ok(seed)
}

/// What the node announces as its address.
fn announce(config: &Config, bound: Option<SocketAddr>) -> ListenAddress {
    match (&config.external_address, bound) {
        (Some(external), _) => external.clone(),
        (None, Some(addr)) => addr.into(),
        // Go refuses an empty address; this one parses, and nobody books it.
        (None, None) => SocketAddr::from(([0, 0, 0, 0], 0)).into(),
    }
}

fn listen_addr(config: &Config) -> Result<Option<SocketAddr>, StartError> {
    let Some(laddr) = &config.laddr else { return Ok(None) };
    if let Some(addr) = laddr.socket_addr() {
        return Ok(Some(addr));
    }
    let error = |error| StartError::Laddr { laddr: laddr.to_string(), error };
    let mut addrs = (laddr.host().to_string(), laddr.port()).to_socket_addrs().map_err(error)?;
    let addr = addrs.next().ok_or_else(|| error(std::io::ErrorKind::NotFound.into()))?;
    Ok(Some(addr))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeKey;

    #[test]
    fn a_node_announces_what_it_was_told_or_where_it_listens_or_else_what_nobody_dials() {
        let bound = Some(SocketAddr::from(([127, 0, 0, 1], 4711)));
        let mut config = Config::default();
        assert_eq!(announce(&config, bound).to_string(), "tcp://127.0.0.1:4711");
        // It only dials. The reference refuses a NodeInfo with an empty address, and takes this one.
        let nowhere = announce(&config, None);
        assert_eq!(nowhere.to_string(), "tcp://0.0.0.0:0");
        let info = NodeInfo::new("chain", "moniker").unwrap();
        let info = info.with_id(NodeKey::from_seed([1; 32]).id()).with_listen_addr(&nowhere);
        assert_eq!(info.validate(), Ok(()));
        config.external_address = Some("a.example:5".parse().unwrap());
        for bound in [bound, None] {
            assert_eq!(announce(&config, bound).to_string(), "tcp://a.example:5");
        }
    }
}
