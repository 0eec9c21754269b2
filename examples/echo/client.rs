//! The side that dials: one session, and what may interrupt it.

use std::time::Duration;

use tmp2p::{
    ChannelDescriptor, ChannelId, Config, Event, Peer, PeerAddress, Reactor, ReactorSpec, Switch,
    SwitchEvent,
    crossbeam_channel::{Receiver, select},
};

use crate::{cli::Failure, console::Console, node::Common, signals};

/// How long the other side gets at the end to take what was accepted for it.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A node that only dials.
pub(crate) struct Client {
    pub(crate) console: Console,
    pub(crate) switch: Switch,
    pub(crate) reactor: Reactor,
    pub(crate) signals: Receiver<&'static str>,
    happenings: Receiver<SwitchEvent>,
}

impl Client {
    /// Starts a switch that has this channel.
    pub(crate) fn start(common: &Common, config: Config, channel: u8) -> Result<Self, Failure> {
        let mut builder = common.prepare("error", config)?;
        let echo = ReactorSpec::new("echo").channel(ChannelDescriptor::new(channel));
        let reactor = builder.reactor(echo).map_err(Failure::usage)?;
        let signals = signals::watch()?;
        let happenings = builder.subscribe();
        let switch = builder.start().map_err(Failure::usage)?;
        let console = Console::new(common.events, 1);
        Ok(Self { console, switch, reactor, signals, happenings })
    }

    /// Dials, and waits until there is a session. `Err(Some(…))` is a signal.
    pub(crate) fn connect(&self, addr: &PeerAddress, channel: u8) -> Result<Peer, Ended> {
        _ = self.switch.handle().dial(addr.clone());
        loop {
            select! {
                recv(self.signals) -> signal => return Err(Ended::signal(signal)),
                recv(self.happenings) -> event => {
                    let Ok(event) = event else { return Err(Ended::stopped()) };
                    self.console.switch_event(&event);
                    if let SwitchEvent::DialFailed { reason, .. } = event {
                        return Err(Ended::Failed(format!("cannot connect to {addr}: {reason}")));
                    }
                }
                recv(self.reactor.events()) -> event => {
                    let Ok(event) = event else { return Err(Ended::stopped()) };
                    self.console.reactor_event(&event);
                    if let Event::PeerUp(peer) = event {
                        if !peer.has_channel(channel) {
                            let channel = ChannelId::new(channel);
                            return Err(Ended::Failed(format!("{addr} has no channel {channel}")));
                        }
                        return Ok(peer);
                    }
                }
            }
        }
    }

    /// Stops the switch and tells what was still to be told. A signal is no failure.
    pub(crate) fn finish(self, ended: Result<(), Ended>) -> Result<(), Failure> {
        let stopped = self.switch.stop(STOP_TIMEOUT);
        self.reactor.events().iter().for_each(|event| self.console.reactor_event(&event));
        let (reason, result) = match ended {
            Ok(()) => ("done", Ok(())),
            Err(Ended::Signal(name)) => (name, Ok(())),
            Err(Ended::Failed(why)) => ("failure", Err(Failure::Failed(why))),
        };
        self.console.event("stopped", serde_json::json!({ "reason": reason }));
        result.and(stopped.map(drop).map_err(Failure::failed))
    }
}

/// Why a client is done before its work is.
pub(crate) enum Ended {
    /// It was asked to end.
    Signal(&'static str),
    /// It cannot go on.
    Failed(String),
}

impl Ended {
    /// What the channel of signals said.
    pub(crate) fn signal<E>(signal: Result<&'static str, E>) -> Self {
        Self::Signal(signal.unwrap_or("signal"))
    }

    pub(crate) fn stopped() -> Self {
        Self::Failed("the switch has stopped".to_owned())
    }
}
