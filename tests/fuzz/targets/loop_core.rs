#![no_main]
//! An event loop on scripted sockets, with honest nodes, spoiled streams, and a switch and
//! reactors that do what the script says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    sync::Arc,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use tmp2p::{
    Ban, BanOrigin, ChannelDescriptor, Config, ConnId, DisconnectReason, Envelope, Event, NodeKey,
    Peer,
    internals::event_loop::{
        BanTable, Command, Established, GateSettings, LISTENER, LoopCore, LoopSettings, Mailbox,
        Readiness, Report,
    },
    internals::protocol::secret::Null,
    internals::reactor::{Admission, CloseMode, Inbox, Progress, Session, SessionSettings},
    internals::time::{Mono, Now},
};
use tmp2p_fuzz::{Net, Script, address, cheap_agreement, link_settings, now};

/// Of two reactors: small messages, large ones.
const CHANNELS: [(u8, usize); 2] = [(0x20, 300), (0xfe, 20_000)];
const BUDGET: usize = 2000;
const PARKING: usize = 5000;
/// Turns without anything from outside after which the loop must have nothing left to do.
const SETTLED: usize = 3000;
const SHUT_DOWN_MS: u64 = 5000;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    let mut world = World::new(script.flag(), script.flag());
    while !script.is_empty() {
        world.step(&mut script);
        world.check();
    }
    world.end();
});

struct World {
    core: LoopCore<Net, Inboxes, Null>,
    mailbox: Arc<Mailbox>,
    settings: SessionSettings,
    ms: u64,
    tickets: u64,
    dials: BTreeSet<u64>,
    /// Established and not closed.
    conns: BTreeMap<ConnId, State>,
    is_stopped: bool,
    peers: Vec<Peer>,
    /// They wait for the filters' verdict.
    accepted: Vec<ConnId>,
    /// Asked for a sign of life.
    probed: BTreeSet<ConnId>,
}

struct State {
    established: Option<Established>,
    has_delivered: bool,
}

#[derive(Default)]
struct Inboxes {
    held: Vec<Envelope>,
    /// Last counter of a message per connection and channel: none is lost, doubled or overtaken.
    last: BTreeMap<(ConnId, u8), u32>,
    spoiled: BTreeSet<u32>,
}

impl Inbox for Inboxes {
    fn deliver(&mut self, reactor: usize, event: Event) -> bool {
        match event {
            Event::Message(envelope) => {
                let (conn, channel) = (envelope.peer().conn(), envelope.channel().as_u8());
                assert_eq!(channel, CHANNELS[reactor].0);
                assert!(envelope.payload().len() <= CHANNELS[reactor].1);
                if !self.spoiled.contains(&conn.slot()) {
                    let counter = envelope.payload().first_chunk::<4>().expect("ours has 4 bytes");
                    let counter = u32::from_le_bytes(*counter);
                    let last = self.last.entry((conn, channel)).or_default();
                    assert_eq!(counter, *last + 1, "lost, doubled or overtaken");
                    *last = counter;
                }
                self.held.push(envelope);
                let same = self
                    .held
                    .iter()
                    .filter(|held| held.peer().conn() == conn && held.channel().as_u8() == channel);
                let bytes: usize = same.map(|held| held.payload().len()).sum();
                assert!(bytes <= BUDGET + CHANNELS[reactor].1, "over the budget");
            }
            Event::Writable(peer, channel) => {
                assert!(peer.has_channel(channel) && channel.as_u8() == CHANNELS[reactor].0);
            }
            event => panic!("{event:?} is the switch's"),
        }
        true
    }

    fn progress(&self, _reactor: usize) -> Progress {
        Progress::default()
    }
}

impl World {
    fn new(has_rates: bool, has_filter: bool) -> Self {
        let channels = CHANNELS.map(|(id, capacity)| {
            ChannelDescriptor::new(id).recv_message_capacity(capacity).priority(u32::from(id))
        });
        let mut link = link_settings(1, &channels);
        if has_rates {
            (link.mconn.send_rate, link.mconn.recv_rate) = (3000, 3000);
        }
        let settings = LoopSettings {
            event_loop: 0,
            link,
            reactors: 2,
            dial_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(20),
            verdict_timeout: Duration::from_secs(40),
            close_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            parking_per_peer: PARKING,
            parking_total: 2 * PARKING,
            // A few peers' budgets, so that it is reached.
            delivered_total: 2 * 3 * BUDGET,
            reassembly_pool: 40_000,
            gate: GateSettings { max_pending: 3, ..GateSettings::of(&Config::default()) },
            filter_connections: has_filter,
        };
        let mut ephemeral = 0_u32;
        let key_agreement = move || {
            ephemeral += 1;
            let mut public = [0x80; 32];
            public[..4].copy_from_slice(&ephemeral.to_be_bytes());
            Some(cheap_agreement(public))
        };
        let net = Net { channels: channels.to_vec(), ..Net::default() };
        let mut core = LoopCore::new(settings, net, Inboxes::default(), Box::new(key_agreement));
        core.listen(address(1)).expect("the script's listener");
        Self {
            core,
            mailbox: Arc::new(Mailbox::new(|| {}, || Mono::ZERO)),
            settings: SessionSettings {
                channels: Arc::new([(channels[0], 0), (channels[1], 1)]),
                reactors: 2,
                reactor_budget: BUDGET,
                send_queue_bytes: 1000,
                send_timeout: Duration::from_secs(10),
                verdicts: Arc::new(()),
                message_types: Vec::new(),
            },
            ms: 0,
            tickets: 0,
            dials: BTreeSet::new(),
            conns: BTreeMap::new(),
            is_stopped: false,
            peers: Vec::new(),
            accepted: Vec::new(),
            probed: BTreeSet::new(),
        }
    }

    fn now(&self) -> Now {
        now(self.ms)
    }

    fn step(&mut self, script: &mut Script) {
        let now = self.now();
        match script.below(20) {
            0 if self.core.sockets_mut().is_listening => {
                // 1 is our own key.
                self.core.sockets_mut().backlog.push_back(1 + script.byte() % 5);
                self.tell(LISTENER, true, false, false);
            }
            // A switch dials no more once the loop has stopped.
            1 if !self.is_stopped => {
                let seed = 1 + script.byte() % 5;
                self.tickets += 1;
                self.dials.insert(self.tickets);
                let expected = NodeKey::from_seed([seed + script.below(8) as u8 / 7; 32]).id();
                self.core.sockets_mut().refuses = script.below(16) == 0;
                let dial = Command::Dial {
                    ticket: self.tickets,
                    addr: address(seed),
                    expected,
                    within: None,
                };
                self.core.handle_command(dial, now);
            }
            2 | 3 => self.judge(script),
            4..=6 => self.far_side_runs(script),
            7 => self.far_side_sends(script),
            8 => self.spoil(script),
            9 => self.end_of_stream(script),
            10 => {
                let Some(slot) = self.slot(script) else { return };
                self.core.sockets_mut().sockets.get_mut(&slot).expect("chosen").room +=
                    script.word();
                self.tell(slot, false, true, false);
            }
            11..=13 => self.core.run_turn(now),
            14 => {
                self.ms += script.word() as u64;
                self.core.run_turn(self.now());
            }
            15 => {
                let held = &mut self.core.inbox_mut().held;
                let dropped: Vec<_> = held.drain(..script.below(16).min(held.len())).collect();
                drop(dropped);
                self.core.take_posts(&self.mailbox, now);
            }
            16 => self.reactor_acts(script),
            17 => self.core.take_posts(&self.mailbox, now),
            18 => self.odd_command(script),
            _ if script.below(8) == 0 => {
                let kinds = [
                    ErrorKind::ConnectionAborted,
                    ErrorKind::Interrupted,
                    ErrorKind::Other,
                    ErrorKind::OutOfMemory,
                ];
                self.core.sockets_mut().accept_errors.push(kinds[script.below(4)]);
            }
            _ => self.settle(),
        }
    }

    fn slot(&mut self, script: &mut Script) -> Option<u32> {
        let sockets = &self.core.sockets_mut().sockets;
        let at = script.below(sockets.len());
        sockets.keys().nth(at).copied()
    }

    fn tell(&mut self, slot: u32, readable: bool, writable: bool, hung_up: bool) {
        self.core.handle_readiness(slot, Readiness { readable, writable, hung_up });
    }

    /// The switch's verdict on one that waits for it.
    fn judge(&mut self, script: &mut Script) {
        let waiting: Vec<_> =
            self.conns.iter().filter(|(_, s)| s.established.is_some()).map(|(c, _)| *c).collect();
        let Some(conn) = waiting.get(script.below(waiting.len())).copied() else { return };
        let state = self.conns.get_mut(&conn).expect("one of these");
        let Established { id, node_info, direction, remote, .. } =
            state.established.take().expect("one that waits");
        let command = if script.below(8) == 0 {
            Command::Reject { conn, reason: DisconnectReason::DuplicateId(id) }
        } else {
            let admission = Admission {
                conn,
                id,
                node_info,
                direction,
                remote_addr: remote,
                dialed_addr: None,
                origin: None,
                is_persistent: false,
                is_reserved: script.below(4) == 0,
            };
            let session = Session::new(admission, &self.settings, self.mailbox.clone());
            Command::Admit { conn, session: Arc::new(session) }
        };
        self.core.handle_command(command, self.now());
    }

    fn far_side_runs(&mut self, script: &mut Script) {
        let Some(slot) = self.slot(script) else { return };
        let now = self.now().mono;
        let socket = self.core.sockets_mut().sockets.get_mut(&slot).expect("chosen");
        if socket.connected.is_none() {
            let refused = script.below(8) == 0;
            socket.connected =
                Some(if refused { Err(ErrorKind::ConnectionRefused) } else { Ok(()) });
            return self.tell(slot, false, true, refused);
        }
        let output = std::mem::take(&mut socket.output);
        socket.room += output.len();
        let said = socket.far.run(&output, now);
        if !socket.is_ended {
            socket.input.extend(said);
        }
        let messages = std::mem::take(&mut socket.far.got);
        for (channel, message) in messages {
            assert!(message.len() <= CHANNELS[channel].1);
        }
        self.tell(slot, true, true, false);
    }

    fn far_side_sends(&mut self, script: &mut Script) {
        let Some(slot) = self.slot(script) else { return };
        let channel = script.below(2);
        let size = 4 + script.word() % (CHANNELS[channel].1 - 3);
        let socket = self.core.sockets_mut().sockets.get_mut(&slot).expect("chosen");
        let far = &mut socket.far;
        far.sent[channel] += 1;
        let mut message = far.sent[channel].to_le_bytes().to_vec();
        message.resize(size, 0xaa);
        far.queues[channel].push_back(message.into());
    }

    /// Bytes in the stream that the far side did not say.
    fn spoil(&mut self, script: &mut Script) {
        let Some(slot) = self.slot(script) else { return };
        let socket = self.core.sockets_mut().sockets.get_mut(&slot).expect("chosen");
        match script.below(3) {
            0 => socket.interrupts += 1,
            1 if !socket.input.is_empty() => {
                let at = script.word() % socket.input.len();
                socket.input[at] ^= 1 << script.below(8);
            }
            _ if !socket.is_ended => socket.input.extend(script.bytes(64)),
            _ => {}
        }
        self.core.inbox_mut().spoiled.insert(slot);
        self.tell(slot, true, false, false);
    }

    fn end_of_stream(&mut self, script: &mut Script) {
        let Some(slot) = self.slot(script) else { return };
        let socket = self.core.sockets_mut().sockets.get_mut(&slot).expect("chosen");
        socket.is_ended = true;
        match script.below(4) {
            0 => socket.is_reset = true,
            1 => socket.write_fails = true,
            _ => {}
        }
        self.tell(slot, true, true, true);
    }

    /// A reactor sends or ends a session.
    fn reactor_acts(&mut self, script: &mut Script) {
        let held = &self.core.inbox_mut().held;
        let Some(envelope) = held.get(script.below(held.len())) else { return };
        let peer = envelope.peer().clone();
        match script.below(8) {
            0 => peer.stop("the script says so"),
            1 => peer.stop_gracefully(),
            2 => peer.flush_stop(),
            3 => peer.flush_stop_for("the script says so"),
            _ => {
                let (id, capacity) = CHANNELS[script.below(2)];
                let size = script.word() % (capacity + 2);
                let sent = peer.try_send(id, vec![0xbb; size]);
                assert!(sent.is_err() || size <= capacity);
            }
        }
        self.peers.push(peer);
    }

    /// What a switch would say late, twice, or of nobody.
    fn odd_command(&mut self, script: &mut Script) {
        let conn = match script.below(3) {
            0 => ConnId::new(0, script.byte().into(), script.byte().into()),
            1 => ConnId::new(0, ConnId::MAX_SLOT, 0),
            _ => {
                let at = script.below(self.conns.len());
                let Some(conn) = self.conns.keys().nth(at).copied() else { return };
                conn
            }
        };
        let reason = DisconnectReason::Operator("odd".into());
        let now = self.now();
        match script.below(12) {
            8 => {
                self.probed.insert(conn);
                self.core.handle_command(Command::Probe(conn), now);
            }
            9 => {
                let is_full = script.below(2) == 0;
                self.core.handle_command(Command::InboundFull(is_full), now);
            }
            10 => {
                let target = address(1 + script.byte() % 5).ip().into();
                let reason = "the script says so".into();
                let ban = Ban { target, until: None, reason, origin: BanOrigin::Operator };
                let bans: BanTable = (0..script.below(2)).map(|_| ban.clone()).collect();
                self.core.handle_command(Command::Bans(Arc::new(bans)), now);
            }
            11 => {
                let verdict = if script.below(4) == 0 { Err(reason) } else { Ok(()) };
                let last = self.accepted.pop();
                let conn = if script.below(8) == 0 { conn } else { last.unwrap_or(conn) };
                self.core.handle_command(Command::Filtered { conn, verdict }, now);
            }
            0 => self.core.handle_command(Command::Reject { conn, reason }, now),
            1 => {
                let mode = CloseMode::Now(reason);
                self.core.handle_command(Command::Close { conn, mode }, now);
            }
            2 => {
                let mode = CloseMode::Graceful(reason);
                self.core.handle_command(Command::Close { conn, mode }, now);
            }
            3 => {
                let mode = CloseMode::Flush(reason);
                self.core.handle_command(Command::Close { conn, mode }, now);
            }
            4 => self.core.handle_resume(conn),
            5 => self.core.handle_dirty(conn),
            6 => self.tell(script.byte().into(), true, true, false),
            _ if script.below(8) == 0 => self.shut_down(),
            _ => {}
        }
    }

    fn shut_down(&mut self) {
        let deadline = self.now().mono + Duration::from_millis(SHUT_DOWN_MS);
        self.core.handle_command(Command::Shutdown { deadline }, self.now());
    }

    /// Nothing comes from outside: the loop comes to rest.
    fn settle(&mut self) {
        for _ in 0..SETTLED {
            self.core.take_posts(&self.mailbox, self.now());
            if !self.core.has_work() {
                return;
            }
            self.core.run_turn(self.now());
            self.check();
        }
        panic!("the loop does not come to rest");
    }

    /// Reports are paired, and connections are sockets.
    fn check(&mut self) {
        while let Some(report) = self.core.poll_report() {
            assert!(!self.is_stopped, "{report:?} after the last report");
            let taken = match &report {
                Report::Established(_) | Report::Accepted { .. } => Some(Command::Considered),
                Report::HandshakeFailed { .. } | Report::Refused { .. } => Some(Command::Heard),
                _ => None,
            };
            taken.into_iter().for_each(|taken| self.core.handle_command(taken, self.now()));
            match report {
                Report::Established(established) => {
                    if let Some(ticket) = established.ticket {
                        assert!(self.dials.remove(&ticket), "answered twice");
                    }
                    let conn = established.conn;
                    let state = State { established: Some(established), has_delivered: false };
                    assert!(self.conns.insert(conn, state).is_none(), "{conn} twice");
                }
                Report::DialFailed { ticket, .. } => {
                    assert!(self.dials.remove(&ticket), "answered twice");
                }
                Report::FirstMessage(conn) => {
                    let state = self.conns.get_mut(&conn).expect("a session");
                    assert!(!std::mem::replace(&mut state.has_delivered, true), "told twice");
                }
                Report::Closed { conn, .. } => {
                    assert!(self.conns.remove(&conn).is_some(), "{conn} closed twice");
                }
                Report::HandshakeFailed { .. }
                | Report::AcceptFailed(_)
                | Report::Refused { .. }
                | Report::Ending(_) => {}
                Report::Accepted { conn, .. } => self.accepted.push(conn),
                Report::Alive(conn) => assert!(self.probed.remove(&conn), "{conn} was not probed"),
                Report::ReactorGone(reactor) => panic!("reactor {reactor} is there"),
                Report::Stopped => self.is_stopped = true,
            }
        }
        let open = self.core.sockets_mut().open_slots();
        assert_eq!(self.core.num_connections(), open.len(), "connections are not sockets");
        self.core.inbox_mut().spoiled.retain(|slot| open.contains(slot));
        assert!(self.core.num_pending() <= 3, "the pool is over its limit");
        assert!(self.conns.len() <= open.len());
        assert!(self.conns.keys().all(|conn| open.contains(&conn.slot())));
        assert_eq!(self.is_stopped, self.core.is_stopped());
    }

    /// It stops, at the latest at its deadline, and leaves nothing behind.
    fn end(mut self) {
        self.shut_down();
        let deadline = self.ms + SHUT_DOWN_MS;
        self.settle();
        while !self.core.is_stopped() {
            let next = self.core.next_deadline().expect("a deadline while it stops");
            let next = next.as_nanos().div_ceil(1_000_000);
            assert!(next > self.ms, "it wakes for what is past");
            assert!(next <= deadline, "it does not stop");
            self.ms = next;
            self.core.run_turn(self.now());
            self.check();
            self.settle();
        }
        assert!(self.is_stopped);
        assert!(self.conns.is_empty() && self.dials.is_empty(), "something was never answered");
        assert_eq!(self.core.num_connections(), 0);
        // What is let go late reaches nobody, and does no harm.
        self.core.inbox_mut().held.clear();
        for peer in &self.peers {
            assert!(peer.try_send(CHANNELS[0].0, b"late").is_err());
        }
        self.settle();
    }
}
