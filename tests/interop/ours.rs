//! Our side: a switch with one reactor on all its channels.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use serde_json::json;
use tmp2p::{
    ChannelDescriptor, Config, DialError, Direction, DisconnectReason, Envelope, Event, NodeInfo,
    NodeKey, Peer, PeerAddress, PeerState, Reactor, ReactorSpec, Switch, SwitchBuilder,
    SwitchEvent, SwitchHandle,
};

use crate::{DEADLINE, go::Go};

/// The channel that both sides have unless a test says otherwise.
pub(crate) const CHANNEL: u8 = 0x70;

/// What a test may change before the switch starts. Rates are unlimited.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) key: NodeKey,
    pub(crate) node_info: NodeInfo,
    pub(crate) channels: Vec<ChannelDescriptor>,
    /// For filters and the like.
    pub(crate) prepare: Box<dyn FnOnce(&mut SwitchBuilder)>,
}

pub(crate) struct Ours {
    pub(crate) switch: Switch,
    pub(crate) handle: SwitchHandle,
    pub(crate) reactor: Reactor,
    pub(crate) news: Receiver<SwitchEvent>,
}

impl Ours {
    pub(crate) fn start(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            config: Config {
                send_rate: 0,
                recv_rate: 0,
                // All nodes share an address.
                allow_duplicate_ip: true,
                exempt_cidrs: vec![std::net::IpAddr::from([127, 0, 0, 1]).into()],
                // Finding each other is for complete nodes.
                pex: false,
                ..Config::default()
            },
            key: NodeKey::generate(),
            node_info: NodeInfo::new("interop", "ours").unwrap(),
            channels: vec![ChannelDescriptor::new(CHANNEL)],
            prepare: Box::new(|_| {}),
        };
        change(&mut setup);
        let mut builder = Switch::builder(setup.config, setup.key, setup.node_info);
        let reactor = builder
            .reactor(
                setup.channels.into_iter().fold(ReactorSpec::new("test"), ReactorSpec::channel),
            )
            .unwrap();
        (setup.prepare)(&mut builder);
        let switch = builder.start().unwrap();
        let handle = switch.handle().clone();
        let news = handle.subscribe();
        Self { switch, handle, reactor, news }
    }

    /// Connects the two, with whichever side dialing, and waits until both have the peer.
    #[track_caller]
    pub(crate) fn connect(&self, go: &mut Go, direction: Direction) -> Peer {
        // One of an earlier session would pass for this one's, before Go can send to it.
        go.assert_none("peer_up");
        match direction {
            Direction::Outbound => {
                let ticket = self.handle.dial(go.address());
                let peer = ticket.wait_timeout(DEADLINE).expect("an answer to the dial").unwrap();
                assert_eq!(peer.id(), go.id);
            }
            Direction::Inbound => {
                let addr = self.handle.peer_address().unwrap().to_string();
                go.ask("dial", json!({ "addr": addr }), "dialed");
            }
        }
        go.wait("peer_up", json!({ "id": self.handle.id().to_string() }));
        let peer = self.up();
        assert_eq!((peer.id(), peer.direction()), (go.id, direction));
        peer
    }

    /// The reactor's next event.
    #[track_caller]
    pub(crate) fn event(&self) -> Event {
        self.reactor.events().recv_timeout(DEADLINE).expect("an event in time")
    }

    /// The reactor's next event, which is a peer that came.
    #[track_caller]
    pub(crate) fn up(&self) -> Peer {
        match self.event() {
            Event::PeerUp(peer) => peer,
            event => panic!("{event:?} instead of a peer"),
        }
    }

    /// The reactor's next event, which is a message.
    #[track_caller]
    pub(crate) fn message(&self) -> Envelope {
        match self.event() {
            Event::Message(envelope) => envelope,
            event => panic!("{event:?} instead of a message"),
        }
    }

    /// The reactor's next event, which is a peer that went.
    #[track_caller]
    pub(crate) fn down(&self) -> Arc<DisconnectReason> {
        match self.event() {
            Event::PeerDown(_, reason) => reason,
            event => panic!("{event:?} instead of the end of the session"),
        }
    }

    /// Fails if the reactor has got anything more by now.
    #[track_caller]
    pub(crate) fn assert_quiet(&self) {
        let event = self.reactor.events().try_recv();
        assert!(event.is_err(), "{event:?}");
    }

    /// The next event of the switch that `pick` wants.
    #[track_caller]
    pub(crate) fn news<T>(&self, pick: impl Fn(SwitchEvent) -> Option<T>) -> T {
        loop {
            let event = self.news.recv_timeout(DEADLINE).expect("an event of the switch in time");
            if let Some(picked) = pick(event) {
                return picked;
            }
        }
    }

    /// What the switch knows of the node.
    #[track_caller]
    pub(crate) fn state(&self, go: &Go) -> PeerState {
        let states = self.handle.peer_states().unwrap();
        let state = states.into_iter().find(|state| state.id == Some(go.id));
        state.expect("the switch knows the node")
    }

    /// Why our dial brought no session.
    #[track_caller]
    pub(crate) fn dial_fails(&self, addr: PeerAddress) -> DisconnectReason {
        match self.handle.dial(addr).wait_timeout(DEADLINE).expect("an answer in time") {
            Err(DialError::Failed(reason)) => reason,
            other => panic!("{other:?} instead of a failed dial"),
        }
    }

    /// Why the next inbound connection was not kept.
    #[track_caller]
    pub(crate) fn rejected(&self) -> DisconnectReason {
        self.news(|event| match event {
            SwitchEvent::Rejected { reason, .. } => Some(reason),
            _ => None,
        })
    }
}
