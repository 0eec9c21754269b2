//! Virtual time, and whose turn it is.

use std::{
    cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, sync::Arc, time::Duration,
};

use tmp2p::{
    Ban, BanOrigin, BanTable, ChannelId, ConnId, DisconnectReason, Mono, NodeId, Now, Payload,
    Peer, PeerAddress, SendErrorKind,
    event_loop::{Command, Mailbox},
    protocol::secret::{Cipher, Null},
    switch::{Answer, Control, Input, Origin, Request, Resolved},
};

use crate::{
    dice::Dice,
    net::{Net, SockId, Weather, Wire},
    node::{Options, SimNode},
    reactor::{LEAST, Ledger, Mode, SessionKey, message},
};

/// Steps without any time passing after which something must be running in circles.
const MAX_STEPS_AT_ONCE: usize = 400_000;

/// Nodes on a network, all in one thread. The same seed makes the same trace.
pub(crate) struct World<C: Cipher = Null> {
    seed: u64,
    pub(crate) dice: Dice,
    pub(crate) now: Mono,
    pub(crate) net: Wire,
    pub(crate) nodes: Vec<SimNode<C>>,
    pub(crate) ledger: Ledger,
    /// Whoever is in here does nothing before that time.
    held: BTreeMap<Actor, Mono>,
    /// One step in so many is followed by a pause of the one who did it; 0 = never.
    pub(crate) pauses: usize,
    steps_at_once: usize,
    trace: u64,
    /// What a name resolves to, if not to what every name does; `None`: to nothing.
    pub(crate) names: BTreeMap<String, Option<Vec<SocketAddr>>>,
}

/// Whoever can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Actor {
    Net,
    Loop(usize),
    Switch(usize),
    /// What the switch posts for the loop.
    Commands(usize),
    Resolver(usize),
    Reactor(usize, usize),
}

/// The seeds of a test: that of `TMP2P_SEED` alone, if it is set; `TMP2P_SEEDS` times as many, if
/// that is.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    match number("TMP2P_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=count * number("TMP2P_SEEDS").unwrap_or(1),
    }
}

impl<C: Cipher> Drop for World<C> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at {:?}; again with TMP2P_SEED={}", self.now, self.seed);
        }
    }
}

impl<C: Cipher> World<C> {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, Weather::fair())
    }

    pub(crate) fn with(seed: u64, weather: Weather) -> Self {
        let mut dice = Dice::new(seed);
        let net = Net::new(weather, dice.fork());
        Self {
            seed,
            dice,
            now: Mono::ZERO,
            net: Rc::new(RefCell::new(net)),
            nodes: Vec::new(),
            ledger: Ledger::default(),
            held: BTreeMap::new(),
            pauses: 0,
            steps_at_once: 0,
            trace: 0,
            names: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, options: Options) -> usize {
        let number = self.nodes.len();
        let (net, ledger) = (self.net.clone(), self.ledger.clone());
        let node = SimNode::new(number, options, net, ledger, self.dice.fork());
        self.nodes.push(node);
        number
    }

    /// The node's process ends without a word and a new one begins. Those who were connected to it
    /// hear nothing of that, unless they are told.
    pub(crate) fn restart(&mut self, number: usize, options: Options, are_told: bool) {
        let old = self.nodes[number].host;
        if are_told {
            self.take_away(number);
        }
        self.net.borrow_mut().stop_listening(old);
        let (net, ledger) = (self.net.clone(), self.ledger.clone());
        self.nodes[number] = SimNode::new(number, options, net, ledger, self.dice.fork());
    }

    /// Something different for everything different that has happened.
    pub(crate) fn trace(&self) -> u64 {
        self.trace
    }

    // ---- what users do ----

    pub(crate) fn dial(&mut self, from: usize, to: usize) -> u64 {
        let (id, addr) = (self.nodes[to].id, self.nodes[to].addr);
        self.dial_at(from, id, &addr.to_string())
    }

    pub(crate) fn dial_at(&mut self, from: usize, id: NodeId, at: &str) -> u64 {
        let addr: PeerAddress = format!("{id}@{at}").parse().unwrap();
        self.dial_for(from, addr, Origin::Operator)
    }

    pub(crate) fn dial_for(&mut self, from: usize, addr: PeerAddress, origin: Origin) -> u64 {
        let node = &mut self.nodes[from];
        node.next_ticket += 1;
        let ticket = node.next_ticket;
        node.inputs.push_back(Input::Request(Request::Dial { ticket, addr, origin }));
        ticket
    }

    /// How a dial ended: "up", the kind of its reason, or "" as long as it has not.
    pub(crate) fn answer(&self, at: usize, ticket: u64) -> &'static str {
        match self.nodes[at].answers.get(&ticket) {
            Some(Ok(_)) => "up",
            Some(Err(reason)) => reason.kind(),
            None => "",
        }
    }

    /// From now on these are banned at this node, and nobody else.
    pub(crate) fn ban(&mut self, at: usize, targets: &[&str]) {
        let ban = |target: &&str| Ban {
            target: target.parse().unwrap(),
            until: None,
            reason: "a test".to_owned(),
            origin: BanOrigin::Operator,
        };
        let table: Arc<BanTable> = Arc::new(targets.iter().map(ban).collect());
        let node = &mut self.nodes[at];
        node.commands.push_back(Command::Bans(table.clone()));
        let added = targets.last().map(ban);
        node.inputs.push_back(Input::Bans { table, added });
    }

    /// Nobody reaches the node any more, and its connections are reset.
    pub(crate) fn take_away(&mut self, node: usize) {
        let host = self.nodes[node].host;
        let mut net = self.net.borrow_mut();
        net.stop_listening(host);
        net.cut_all(host);
    }

    pub(crate) fn bring_back(&mut self, node: usize) {
        let (host, addr) = (self.nodes[node].host, self.nodes[node].addr);
        self.net.borrow_mut().listen(host, addr);
    }

    /// Asks for a change at run time; the answer once it is there.
    pub(crate) fn control(&mut self, at: usize, control: Control) -> Answer {
        let ticket = (1 << 40) + self.nodes[at].controls.len() as u64;
        self.nodes[at].inputs.push_back(Input::Request(Request::Control { ticket, control }));
        let is_answered = |w: &Self| w.nodes[at].controls.contains_key(&ticket);
        assert!(self.run_until(Duration::from_secs(1), is_answered), "no answer");
        let answer = self.nodes[at].controls.insert(ticket, Answer::Done(Ok(())));
        answer.expect("looked at above")
    }

    /// Dials, and waits until every reactor of both knows.
    pub(crate) fn connect(&mut self, from: usize, to: usize) -> (Peer, Peer) {
        self.dial(from, to);
        let (a, b) = (self.nodes[from].id, self.nodes[to].id);
        let is_up =
            |w: &Self, at: usize, id| w.nodes[at].reactors.iter().all(|r| r.peer(id).is_some());
        let done =
            self.run_until(Duration::from_secs(30), |w| is_up(w, from, b) && is_up(w, to, a));
        assert!(done, "no session: {:?} {:?}", self.nodes[from].answers, self.nodes[to].events);
        (self.peer(from, to).unwrap(), self.peer(to, from).unwrap())
    }

    /// The session of `at` with `with`.
    pub(crate) fn peer(&self, at: usize, with: usize) -> Option<Peer> {
        self.nodes[at].peer(0, self.nodes[with].id)
    }

    /// Sends a message that the other end's reactor can check.
    pub(crate) fn send(
        &mut self,
        from: usize,
        peer: &Peer,
        channel: u8,
        len: usize,
    ) -> Result<(), SendErrorKind> {
        let key = (self.nodes[from].host, peer.conn());
        let payload = self.next_message(key, channel, len);
        peer.try_send(channel, payload).map_err(|error| error.kind)?;
        self.accepted(key, channel);
        Ok(())
    }

    pub(crate) fn next_message(&self, key: SessionKey, channel: u8, len: usize) -> Payload {
        let ledger = self.ledger.borrow();
        let sent = ledger.get(&key).and_then(|s| s.accepted.get(&ChannelId::new(channel)));
        message(key, sent.copied().unwrap_or(0), len.max(LEAST))
    }

    pub(crate) fn accepted(&self, key: SessionKey, channel: u8) {
        let mut ledger = self.ledger.borrow_mut();
        let sent = ledger.entry(key).or_default();
        *sent.accepted.entry(channel.into()).or_default() += 1;
    }

    /// Messages of this end of a session: accepted, and delivered at the other end.
    pub(crate) fn counts(&self, from: usize, conn: ConnId) -> (u64, u64) {
        let ledger = self.ledger.borrow();
        ledger
            .get(&(self.nodes[from].host, conn))
            .map_or((0, 0), |sent| (sent.accepted.values().sum(), sent.delivered.values().sum()))
    }

    pub(crate) fn stop(&mut self, node: usize, within: Duration) {
        let deadline = self.now + within;
        self.nodes[node].inputs.push_back(Input::Request(Request::Stop { deadline }));
    }

    /// The node's socket to the other node.
    pub(crate) fn sock(&self, at: usize, to: usize) -> SockId {
        let (at, to) = (self.nodes[at].host, self.nodes[to].host);
        self.net.borrow().sock_between(at, to).expect("an open connection")
    }

    /// Something between the two resets their newest connection.
    pub(crate) fn cut(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.nodes[a].host, self.nodes[b].host);
        let mut net = self.net.borrow_mut();
        let sock = net.sock_between(a, b);
        sock.map(|sock| net.cut(sock)).is_some()
    }

    /// Whoever this is does nothing for so long.
    pub(crate) fn hold(&mut self, actor: Actor, time: Duration) {
        self.held.insert(actor, self.now + time);
    }

    pub(crate) fn release(&mut self, actor: Actor) {
        self.held.remove(&actor);
    }

    pub(crate) fn set_mode(&mut self, node: usize, reactor: usize, mode: Mode) {
        self.nodes[node].reactors[reactor].mode = mode;
    }

    // ---- time ----

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(time, |_| false);
        self.now = end;
        self.net.borrow_mut().now = end;
    }

    /// Runs until the condition holds; false if it did not within the limit.
    pub(crate) fn run_until(&mut self, limit: Duration, is_done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if is_done(self) {
                return true;
            }
            let ready = self.ready();
            if ready.is_empty() {
                match self.next_time() {
                    Some(next) if next <= end => {
                        assert!(next > self.now, "due and not ready");
                        self.now = next;
                        self.net.borrow_mut().now = next;
                        self.steps_at_once = 0;
                    }
                    _ => return false,
                }
                continue;
            }
            self.steps_at_once += 1;
            assert!(self.steps_at_once < MAX_STEPS_AT_ONCE, "no time passes: {ready:?}");
            let actor = *self.dice.pick(&ready);
            let what = self.run(actor);
            self.note(actor, what);
            if self.pauses > 0 && self.dice.one_in(self.pauses) {
                let pause = Duration::from_micros(self.dice.range(1..=3000) as u64);
                self.hold(actor, pause);
            }
        }
    }

    /// Stops everybody and checks that nothing is left of anything.
    pub(crate) fn stop_all(&mut self) {
        self.net.borrow_mut().out_of_files.clear();
        for node in 0..self.nodes.len() {
            for reactor in 0..self.nodes[node].reactors.len() {
                self.set_mode(node, reactor, Mode::Reads);
            }
            self.stop(node, Duration::from_secs(600));
        }
        let limit = Duration::from_secs(1000);
        self.run_until(limit, |w| w.nodes.iter().all(|n| n.switch.is_stopped()));
        self.run_for(Duration::from_secs(1));
        for node in &mut self.nodes {
            assert!(node.is_loop_over && node.switch.is_stopped(), "did not stop");
            assert_eq!(node.core.num_connections(), 0);
            assert_eq!(node.num_sockets(), 0, "sockets left open");
            assert_eq!((node.core.parked_bytes(), node.core.unfinished_bytes()), (0, 0));
            assert!(node.is_alone());
            for conn in node.introduced.keys() {
                for reactor in 0..node.reactors.len() {
                    assert_eq!(node.budget_used(*conn, reactor), 0, "budget of {conn}");
                }
            }
            assert_eq!(node.switch.num_dialing(), 0);
            assert_eq!(node.answers.len() as u64, node.next_ticket, "dials without an answer");
            let reactors = node.reactors.len();
            for (number, reactor) in node.reactors.iter().enumerate() {
                assert!(!reactor.wants_to_run());
                for seen in reactor.sessions.values() {
                    assert!(seen.down.is_some(), "no down of {}", seen.peer);
                }
                let same = reactor.sessions.keys().eq(node.reactors[0].sessions.keys());
                assert!(same, "reactor {number} of {reactors} saw other sessions");
            }
        }
    }

    /// The reason that a reactor was told for the session's end.
    pub(crate) fn down(&self, at: usize, reactor: usize, conn: ConnId) -> Option<DisconnectReason> {
        let seen = self.nodes[at].reactors[reactor].sessions.get(&conn)?;
        seen.down.as_deref().cloned()
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: Duration::from_nanos(self.now.as_nanos()) }
    }

    fn is_held(&self, actor: Actor) -> bool {
        self.held.get(&actor).is_some_and(|until| *until > self.now)
    }

    /// Everybody who has something to do, held or not.
    fn busy(&self) -> Vec<Actor> {
        let net = self.net.borrow();
        let mut busy = Vec::new();
        if net.next_deadline().is_some_and(|at| at <= self.now) {
            busy.push(Actor::Net);
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if node.is_loop_ready(self.now, net.has_edges(node.host)) {
                busy.push(Actor::Loop(i));
            }
            let is_due = node.switch.next_deadline().is_some_and(|at| at <= self.now);
            let has_input = !node.inputs.is_empty() || !node.is_started();
            if !node.switch.is_stopped() && (is_due || has_input) {
                busy.push(Actor::Switch(i));
            }
            if !node.commands.is_empty() {
                busy.push(Actor::Commands(i));
            }
            if !node.lookups.is_empty() {
                busy.push(Actor::Resolver(i));
            }
            for (r, reactor) in node.reactors.iter().enumerate() {
                if reactor.wants_to_run() {
                    busy.push(Actor::Reactor(i, r));
                }
            }
        }
        busy
    }

    fn ready(&self) -> Vec<Actor> {
        let mut ready = self.busy();
        ready.retain(|actor| !self.is_held(*actor));
        ready
    }

    /// When somebody will have something to do.
    fn next_time(&self) -> Option<Mono> {
        let mut times: Vec<Mono> = self.net.borrow().next_deadline().into_iter().collect();
        for node in &self.nodes {
            times.extend(node.asleep.flatten().filter(|_| !node.is_loop_over));
            times.extend(node.switch.next_deadline());
        }
        let holds = self.busy().into_iter().filter_map(|actor| self.held.get(&actor).copied());
        times.extend(holds);
        times.into_iter().filter(|at| *at > self.now).min()
    }

    fn run(&mut self, actor: Actor) -> u64 {
        let now = self.now();
        match actor {
            Actor::Net => {
                self.net.borrow_mut().happen();
                0
            }
            Actor::Loop(i) => {
                let node = &mut self.nodes[i];
                let edges = self.net.borrow_mut().take_edges(node.host);
                let before = node.inputs.len();
                node.run_loop(edges, now);
                (node.inputs.len() - before) as u64
            }
            Actor::Switch(i) => {
                self.nodes[i].run_switch(now);
                self.nodes[i].events.len() as u64
            }
            Actor::Commands(i) => {
                let node = &mut self.nodes[i];
                let command = node.commands.pop_front().expect("looked at above");
                post(&node.mailbox, command);
                0
            }
            Actor::Resolver(i) => {
                let node = &mut self.nodes[i];
                let request = node.lookups.pop_front().expect("looked at above");
                let result = match self.names.get(&request.host) {
                    Some(addrs) => addrs.clone().ok_or_else(|| "no such name".to_owned()),
                    None => resolve(&request.host, request.port),
                };
                let ticket = request.ticket;
                node.inputs.push_back(Input::Resolved(Resolved { ticket, result }));
                ticket
            }
            Actor::Reactor(i, r) => self.nodes[i].reactors[r].run(r),
        }
    }

    fn note(&mut self, actor: Actor, what: u64) {
        let who = match actor {
            Actor::Net => 1,
            Actor::Loop(i) => 2 + i * 8,
            Actor::Switch(i) => 3 + i * 8,
            Actor::Commands(i) => 4 + i * 8,
            Actor::Resolver(i) => 5 + i * 8,
            Actor::Reactor(i, r) => 6 + i * 8 + r * 4096,
        };
        for word in [self.now.as_nanos(), who as u64, what] {
            self.trace = (self.trace ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        }
    }
}

fn post(mailbox: &Mailbox, command: Command) {
    mailbox.command(command);
}

/// `node7.example` is the node with this number; other names do not exist.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let number = host.strip_prefix("node").and_then(|h| h.strip_suffix(".example"));
    let number: u8 = number.and_then(|n| n.parse().ok()).ok_or("no such name")?;
    // The first address is dead, as it may be.
    let dead = SocketAddr::from(([10, 9, 9, 9], port));
    Ok(vec![dead, ([10, 0, 0, number + 1], port).into()])
}
