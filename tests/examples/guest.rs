//! A peer of a program, played by a test.

use tmp2p::{
    ChannelDescriptor, Config, Event, NodeInfo, NodeKey, PeerAddress, Reactor, ReactorSpec, Switch,
};

use crate::program::DEADLINE;

/// It plays peer exchange and asks for nothing, so that a seed does not let it go for being answered.
pub(crate) struct Guest {
    switch: Switch,
    reactor: Reactor,
}

impl Guest {
    /// One that nobody can dial, once it is connected with the program at this address.
    #[track_caller]
    pub(crate) fn of(addr: PeerAddress) -> Self {
        Self::with(Config { laddr: None, ..Config::default() }, addr)
    }

    /// The same with this configuration.
    #[track_caller]
    pub(crate) fn with(config: Config, addr: PeerAddress) -> Self {
        let info = NodeInfo::new("c", "guest").unwrap();
        let config = Config { pex: false, ..config };
        let mut builder = Switch::builder(config, NodeKey::generate(), info);
        let reactor = builder
            .reactor(ReactorSpec::new("guest").channel(ChannelDescriptor::new(0x00)))
            .unwrap();
        let switch = builder.start().unwrap();
        _ = switch.handle().dial(addr);
        let up = reactor.events().recv_timeout(DEADLINE).unwrap();
        assert!(matches!(up, Event::PeerUp(_)), "{up:?}");
        Self { switch, reactor }
    }

    pub(crate) fn id(&self) -> String {
        self.switch.handle().id().to_string()
    }

    /// The session has gone on all the time.
    #[track_caller]
    pub(crate) fn assert_undisturbed(self) {
        for event in self.reactor.events().try_iter() {
            assert!(!matches!(event, Event::PeerDown(..)), "{event:?}");
        }
        assert_eq!(self.switch.handle().peers().len(), 1);
        self.leave();
    }

    pub(crate) fn leave(self) {
        self.switch.stop(DEADLINE).unwrap();
    }
}
