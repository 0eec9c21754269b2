//! The switch's decisions, without a thread, a clock or a reactor.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{Input, Output, Request, ResolveRequest, Resolved, SwitchEvent};
use crate::{
    address::PeerAddress,
    event_loop::{Command, Established, Report},
    identity::NodeId,
    ids::{ConnId, Direction},
    reactor::{Admission, DisconnectReason},
    time::{Mono, Now},
};

/// What the switch has to know.
#[derive(Clone, Debug)]
pub struct SwitchSettings {
    /// Our own ID.
    pub id: NodeId,
    /// How long a name may take to resolve: as long as a connection may take to be established.
    pub lookup_timeout: Duration,
}

/// Why a switch stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// Somebody asked for it.
    Requested,
    /// A thread of the switch ended by itself: the system took the poll away, or a bug.
    Failed,
}

/// The switch's decisions. A driver feeds it with [`handle`](Self::handle) and
/// [`handle_timeout`](Self::handle_timeout), and performs every [`poll_output`](Self::poll_output)
/// in order before the next input.
#[derive(Debug)]
pub struct SwitchCore {
    settings: SwitchSettings,
    /// Every connection that was reported as established and not as closed.
    conns: BTreeMap<ConnId, Conn>,
    /// **Invariant:** holds exactly the connections of `conns` that were introduced and not
    /// refused; one per ID.
    sessions: BTreeMap<NodeId, ConnId>,
    dials: BTreeMap<u64, Dial>,
    outputs: VecDeque<Output>,
    is_stopping: bool,
    stopped: Option<StopReason>,
}

#[derive(Debug)]
struct Conn {
    id: NodeId,
    remote: SocketAddr,
    moniker: String,
    direction: Direction,
    dial: Option<(u64, PeerAddress)>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The reactors are being told.
    Introducing,
    /// It is a session.
    Up,
    /// It was refused and is about to be closed.
    Refused,
}

#[derive(Debug)]
struct Dial {
    addr: PeerAddress,
    /// Addresses of the name that were not tried.
    untried: VecDeque<SocketAddr>,
    /// While the name is being resolved.
    lookup_deadline: Option<Mono>,
}

impl SwitchCore {
    /// A switch without connections.
    pub fn new(settings: SwitchSettings) -> Self {
        Self {
            settings,
            conns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            dials: BTreeMap::new(),
            outputs: VecDeque::new(),
            is_stopping: false,
            stopped: None,
        }
    }

    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Report(report) => self.handle_report(report),
            Input::Request(Request::Dial { ticket, addr }) => self.dial(ticket, addr, now),
            Input::Request(Request::Stop { deadline }) => self.stop(deadline),
            Input::Resolved(resolved) => self.handle_resolved(resolved),
        }
    }

    /// The reactors were told of a connection, or `Err`: an init hook failed and none will be.
    pub fn handle_introduced(&mut self, id: ConnId, result: Result<(), String>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        match result {
            Ok(()) => {
                conn.stage = Stage::Up;
                let up = SwitchEvent::PeerUp {
                    id: conn.id,
                    addr: conn.remote,
                    direction: conn.direction,
                    moniker: conn.moniker.clone(),
                };
                let answer = conn.dial.as_ref().map(|(ticket, _)| (*ticket, conn.id));
                self.outputs.push_back(Output::Event(up));
                if let Some((ticket, id)) = answer {
                    self.outputs.push_back(Output::Answer { ticket, result: Ok(id) });
                }
            }
            Err(why) => {
                self.sessions.remove(&conn.id);
                self.refuse(id, DisconnectReason::Reactor(why));
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let is_late = |dial: &Dial| dial.lookup_deadline.is_some_and(|d| d <= now.mono);
        let late: Vec<u64> =
            self.dials.iter().filter(|(_, dial)| is_late(dial)).map(|(t, _)| *t).collect();
        for ticket in late {
            self.handle_resolved(Resolved { ticket, result: Err("no answer in time".into()) });
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.dials.values().filter_map(|dial| dial.lookup_deadline).min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether the event loop has stopped and every session was reported down.
    pub fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Why the switch has stopped, once it has.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.stopped
    }

    /// Dials that were asked for and are not established, and sessions.
    pub fn num_dialing(&self) -> usize {
        self.dials.len()
    }

    fn handle_report(&mut self, report: Report) {
        match report {
            Report::Established(established) => self.judge(established),
            Report::Closed { conn, reason } => self.closed(conn, reason),
            Report::DialFailed { ticket, reason } => self.try_next_address(ticket, reason),
            Report::HandshakeFailed { remote, id, reason } => {
                self.event(SwitchEvent::Rejected { addr: remote, id, reason });
            }
            // A session that delivers is a success for dialing, once there is a back-off.
            Report::FirstMessage(_) => {}
            Report::AcceptFailed(kind) => self.event(SwitchEvent::AcceptFailed(kind)),
            Report::Stopped => self.stopped(),
        }
    }

    /// Whether an authenticated connection becomes a session.
    fn judge(&mut self, established: Established) {
        let Established { conn, ticket, id, node_info, direction, remote } = established;
        let dial = ticket.and_then(|t| self.dials.remove(&t).map(|dial| (t, dial.addr)));
        let dialed = dial.as_ref().map(|(_, addr)| addr.clone());
        let moniker = node_info.moniker().to_owned();
        let stage = Stage::Introducing;
        self.conns.insert(conn, Conn { id, remote, moniker, direction, dial, stage });
        let refusal = if self.is_stopping {
            Some(DisconnectReason::Stopped)
        } else if self.sessions.contains_key(&id) {
            Some(DisconnectReason::DuplicateId(id))
        } else {
            None
        };
        if let Some(reason) = refusal {
            self.refuse(conn, reason);
        } else {
            self.sessions.insert(id, conn);
            let admission = Admission {
                conn,
                id,
                node_info,
                direction,
                remote_addr: remote,
                dialed_addr: dialed,
            };
            self.outputs.push_back(Output::Introduce(admission));
        }
    }

    fn refuse(&mut self, id: ConnId, reason: DisconnectReason) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.stage = Stage::Refused;
        let (dial, addr, node) = (conn.dial.take(), conn.remote, conn.id);
        let command = Command::Reject { conn: id, reason: reason.clone() };
        self.outputs.push_back(Output::Command(command));
        match dial {
            Some((ticket, addr)) => self.dial_failed(ticket, addr, reason),
            None => self.event(SwitchEvent::Rejected { addr, id: Some(node), reason }),
        }
    }

    fn closed(&mut self, id: ConnId, reason: DisconnectReason) {
        let Some(conn) = self.conns.remove(&id) else { return };
        if conn.stage == Stage::Refused {
            return;
        }
        self.sessions.remove(&conn.id);
        self.outputs.push_back(Output::Down { conn: id, reason: reason.clone() });
        self.event(SwitchEvent::PeerDown { id: conn.id, addr: conn.remote, reason });
    }

    // ---- dialing ----

    fn dial(&mut self, ticket: u64, addr: PeerAddress, now: Now) {
        let id = addr.id();
        let refusal = if self.is_stopping {
            Some(DisconnectReason::Stopped)
        } else if id == self.settings.id {
            Some(DisconnectReason::SelfConnection)
        } else if self.sessions.contains_key(&id) {
            Some(DisconnectReason::DuplicateId(id))
        } else if self.dials.values().any(|dial| dial.addr.id() == id) {
            Some(DisconnectReason::AlreadyDialing(id))
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.dial_failed(ticket, addr, reason);
        }
        let mut dial = Dial { addr, untried: VecDeque::new(), lookup_deadline: None };
        match dial.addr.net_address() {
            Some(net) => {
                let target = net.socket_addr();
                self.dials.insert(ticket, dial);
                self.connect(ticket, target, id);
            }
            None => {
                dial.lookup_deadline = Some(now.mono + self.settings.lookup_timeout);
                let (host, port) = (dial.addr.host().to_string(), dial.addr.port());
                self.dials.insert(ticket, dial);
                let request = ResolveRequest { ticket, host, port };
                self.outputs.push_back(Output::Resolve(request));
            }
        }
    }

    fn handle_resolved(&mut self, resolved: Resolved) {
        let ticket = resolved.ticket;
        // A late answer finds no dial, or one that waits for nothing.
        let Some(dial) = self.dials.get_mut(&ticket) else { return };
        if dial.lookup_deadline.take().is_none() {
            return;
        }
        let host = dial.addr.host().to_string();
        let error = match resolved.result {
            Ok(addrs) => {
                dial.untried = addrs.into();
                "the name has no address".to_owned()
            }
            Err(error) => error,
        };
        self.try_next_address(ticket, DisconnectReason::Lookup { host, error });
    }

    /// Tries the next address of the dialed name; without one the dial has failed for `reason`.
    fn try_next_address(&mut self, ticket: u64, reason: DisconnectReason) {
        let Some(dial) = self.dials.get_mut(&ticket) else { return };
        let next = if self.is_stopping { None } else { dial.untried.pop_front() };
        match next {
            Some(target) => {
                let id = dial.addr.id();
                self.connect(ticket, target, id);
            }
            None => {
                let addr = self.dials.remove(&ticket).expect("found above").addr;
                self.dial_failed(ticket, addr, reason);
            }
        }
    }

    fn connect(&mut self, ticket: u64, addr: SocketAddr, expected: NodeId) {
        self.outputs.push_back(Output::Command(Command::Dial { ticket, addr, expected }));
    }

    fn dial_failed(&mut self, ticket: u64, addr: PeerAddress, reason: DisconnectReason) {
        self.event(SwitchEvent::DialFailed { addr, reason: reason.clone() });
        self.outputs.push_back(Output::Answer { ticket, result: Err(reason) });
    }

    // ---- stopping ----

    fn stop(&mut self, deadline: Mono) {
        self.is_stopping = true;
        self.outputs.push_back(Output::Command(Command::Shutdown { deadline }));
        let looking: Vec<u64> = self
            .dials
            .iter()
            .filter(|(_, dial)| dial.lookup_deadline.is_some())
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in looking {
            self.try_next_address(ticket, DisconnectReason::Stopped);
        }
    }

    fn stopped(&mut self) {
        if self.stopped.is_some() {
            return;
        }
        let asked = std::mem::replace(&mut self.is_stopping, true);
        self.stopped = Some(if asked { StopReason::Requested } else { StopReason::Failed });
        // Empty unless the loop died: it reports each end before its own.
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for conn in conns {
            self.closed(conn, DisconnectReason::Stopped);
        }
        let dials: Vec<u64> = self.dials.keys().copied().collect();
        for ticket in dials {
            self.try_next_address(ticket, DisconnectReason::Stopped);
        }
        self.event(SwitchEvent::Stopped);
    }

    fn event(&mut self, event: SwitchEvent) {
        self.outputs.push_back(Output::Event(event));
    }
}
