//! What is registered before a switch starts.

use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender};

use super::{ReactorSpec, Switch, SwitchHandle, handle::Inner};
use crate::{
    addrbook::BookStore,
    config::Config,
    identity::NodeKey,
    node_info::NodeInfo,
    reactor::{Event, Reactor, RegisterError},
    switch::{
        Candidate, Filter, Input, Limits, Resolver, Shared, StopReason, SwitchEvent,
        SystemResolver, ToSwitch, Verdict,
    },
};

/// Prepares a switch: reactors and hooks first, then [`start`](Self::start).
#[must_use = "nothing runs before it is started"]
pub struct SwitchBuilder {
    pub(super) config: Config,
    pub(super) key: NodeKey,
    pub(super) node_info: NodeInfo,
    /// For everybody else, from now on.
    pub(super) handle: SwitchHandle,
    pub(super) inputs: Receiver<Input>,
    pub(super) reactors: Vec<Registered>,
    pub(super) resolver: Arc<dyn Resolver>,
    pub(super) connection_filters: Vec<Filter>,
    pub(super) peer_filters: Vec<Filter>,
    pub(super) store: Option<Box<dyn BookStore>>,
    pub(super) raises_descriptor_limit: bool,
    pub(super) unstarted: Unstarted,
}

/// A reactor that wants this, and where it gets it.
pub(super) struct Registered {
    pub(super) spec: ReactorSpec,
    pub(super) inbox: Sender<Event>,
}

/// Dropped if the switch is not started: then nobody waits for it for ever.
#[derive(Default)]
pub(crate) struct Unstarted(pub(crate) Option<Arc<Shared>>);

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.close(StopReason::NotStarted);
        }
    }
}

impl Switch {
    /// Prepares a switch with this configuration and identity.
    pub fn builder(config: Config, key: NodeKey, node_info: NodeInfo) -> SwitchBuilder {
        let (to_switch, inputs) = ToSwitch::new();
        let shared = Arc::new(Shared::default());
        *shared.limits.lock() = Limits::of(&config);
        let handle = SwitchHandle::new(Inner {
            shared: shared.clone(),
            to_switch,
            id: key.id(),
            node_info: node_info.clone().with_id(key.id()),
            send_timeout: config.send_timeout,
            close_timeout: config.close_timeout,
            started: OnceLock::new(),
        });
        SwitchBuilder {
            config,
            key,
            node_info,
            handle,
            inputs,
            reactors: Vec::new(),
            resolver: Arc::new(SystemResolver),
            connection_filters: Vec::new(),
            peer_filters: Vec::new(),
            store: None,
            raises_descriptor_limit: true,
            unstarted: Unstarted(Some(shared)),
        }
    }
}

impl SwitchBuilder {
    #[cfg(feature = "testing")]
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A handle of the switch to be, for who needs one before the start. What it can do until then is
    /// said [there](SwitchHandle).
    pub fn handle(&self) -> &SwitchHandle {
        &self.handle
    }

    /// What happens from the start on, see [`SwitchHandle::subscribe`].
    pub fn subscribe(&self) -> Receiver<SwitchEvent> {
        self.handle.subscribe()
    }

    /// Registers a reactor. It gets its events once the switch runs.
    ///
    /// # Errors
    /// See [`RegisterError`]; the builder is as before.
    #[doc(alias = "AddReactor")]
    pub fn reactor(&mut self, spec: ReactorSpec) -> Result<Reactor, RegisterError> {
        spec.check(&self.config, self.reactors.iter().map(|reactor| &reactor.spec))?;
        Ok(self.register(spec))
    }

    pub(super) fn register(&mut self, spec: ReactorSpec) -> Reactor {
        let (inbox, events) = crossbeam_channel::unbounded();
        let (number, name) = (self.reactors.len(), spec.name.clone());
        self.reactors.push(Registered { spec, inbox });
        let to_switch = self.handle.inner().to_switch.clone();
        Reactor::new(name, events, move |has_panicked| {
            // After the switch it is nobody's business.
            to_switch.tell(Input::ReactorGone { reactor: number, has_panicked });
        })
    }

    /// Asks this filter about every address, before a byte is exchanged with it: an accepted
    /// connection's, and one that is about to be dialed. All filters must accept.
    ///
    /// On the switch's thread, `p2p-switch`: it must not block, see [`Verdict::later`]. Calls that would
    /// wait for the switch are refused in it.
    #[doc(alias = "MultiplexTransportConnFilters")]
    pub fn connection_filter(
        &mut self,
        filter: impl Fn(&Candidate) -> Verdict + Send + Sync + 'static,
    ) {
        self.connection_filters.push(Arc::new(filter));
    }

    /// Asks this filter about every authenticated node that would be admitted otherwise. All
    /// filters must accept. Where and how it is called: as a
    /// [`connection_filter`](Self::connection_filter).
    #[doc(alias = "SwitchPeerFilters")]
    pub fn peer_filter(&mut self, filter: impl Fn(&Candidate) -> Verdict + Send + Sync + 'static) {
        self.peer_filters.push(Arc::new(filter));
    }

    /// Keeps the address book here, with bans and bad addresses, so that it survives a restart.
    /// Without it, and without [`Config::addr_book_file`], it lives in memory.
    #[doc(alias = "SetAddrBook")]
    pub fn book_store(&mut self, store: impl BookStore + 'static) {
        self.store = Some(Box::new(store));
    }

    /// Resolves host names with this instead of the system's resolver.
    pub fn resolver(&mut self, resolver: impl Resolver + 'static) {
        self.resolver = Arc::new(resolver);
    }

    /// Leaves the process's limit on open descriptors as it is. Without this, [`start`](Self::start)
    /// raises the soft limit (`RLIMIT_NOFILE`, often 1024) to the hard one, as each Go program does by
    /// itself: every connection is a descriptor, and those of strangers may be a thousand. For
    /// programs that use `select`, which cannot cope with more than 1024, also in what they start:
    /// children inherit the limit.
    ///
    /// Either way there are no more pending handshakes than leave half of the descriptors to the
    /// application, whatever [`Config::max_pending_handshakes`] says; that is logged.
    pub fn keep_descriptor_limit(&mut self) {
        self.raises_descriptor_limit = false;
    }
}
