//! Virtual time, and whose turn it is.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tmp2p::{
    Ban, BanOrigin, ChannelId, ConnId, DisconnectReason, MemoryStore, NodeId, Payload, Peer,
    PeerAddress, PeerState, SendErrorKind,
    internals::drive::Core,
    internals::event_loop::{BanTable, Command},
    internals::pex::{PexInput, PexRequest},
    internals::protocol::secret::{Cipher, Null},
    internals::switch::{
        Control, ControlError, Dialed, Input, Kept, Origin, Reply, Request, Resolved,
    },
    internals::time::{Mono, Now, Wall},
};

pub(crate) use crate::schedule::Actor;
use crate::{
    dice::Dice,
    net::{Net, SockId, Wire},
    node::{SimNode, Surroundings, start},
    options::Options,
    reactor::{LEAST, Ledger, Mode, SessionKey, message},
    schedule::{Schedule, Turn},
    weather::Weather,
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
    schedule: Schedule,
    /// Whose host is whose.
    hosts: BTreeMap<usize, usize>,
    /// One step in so many is followed by a pause of the one who did it; 0 = never.
    pub(crate) pauses: usize,
    steps_at_once: usize,
    trace: u64,
    /// What a name resolves to, if not to what every name does; `None`: to nothing.
    pub(crate) names: BTreeMap<String, Option<Vec<SocketAddr>>>,
}

/// For a request whose answer nobody looks at.
pub(crate) fn unheard<T: 'static>() -> Reply<T> {
    Reply::new(drop)
}

/// The seeds of a test: that of `TMP2P_SEED` alone, if it is set; `TMP2P_SEEDS` times as many, if
/// that is, or of `m..n` times as many those that `m` times would not have.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    if let Ok(seed) = std::env::var("TMP2P_SEED") {
        return number(&seed)..=number(&seed);
    }
    let times = std::env::var("TMP2P_SEEDS").unwrap_or_else(|_| "1".to_owned());
    let (without, times) = times.split_once("..").unwrap_or(("0", &times));
    count * number(without) + 1..=count * number(times)
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
            schedule: Schedule::default(),
            hosts: BTreeMap::new(),
            pauses: 0,
            steps_at_once: 0,
            trace: 0,
            names: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, options: Options) -> usize {
        let number = self.nodes.len();
        let node = self.new_node(number, options, MemoryStore::new(), start());
        self.nodes.push(node);
        number
    }

    /// The node's process ends without a word and a new one begins, with the same book. Those who
    /// were connected to it hear nothing of that, unless they are told.
    pub(crate) fn restart(&mut self, number: usize, options: Options, are_told: bool) {
        if are_told {
            self.take_away(number);
        }
        self.net.borrow_mut().stop_listening(self.nodes[number].host);
        let (store, wall) = (self.nodes[number].pex.store.clone(), self.nodes[number].wall);
        self.nodes[number] = self.new_node(number, options, store, wall);
    }

    fn new_node(
        &mut self,
        number: usize,
        options: Options,
        store: MemoryStore,
        wall: SystemTime,
    ) -> SimNode<C> {
        let (net, ledger, now) = (self.net.clone(), self.ledger.clone(), self.now);
        let dice = self.dice.fork();
        let around = Surroundings { net, ledger, dice, store, now, wall };
        let node = SimNode::new(number, options, around);
        self.hosts.insert(node.host, number);
        node
    }

    /// The node's process and its host are gone; its connections are reset.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].is_dead = true;
        self.net.borrow_mut().take_down(self.nodes[number].host);
    }

    /// A killed node is started again with what its store holds.
    pub(crate) fn revive(&mut self, number: usize) {
        let options = self.nodes[number].options.clone();
        self.restart(number, options, false);
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
        let (reply, dialed) = Reply::kept();
        node.dialed.insert(ticket, dialed);
        node.inputs.push_back(Input::Request(Request::Dial { addr, origin, reply: Some(reply) }));
        ticket
    }

    /// How a dial ended: "up", the kind of its reason, or "" as long as it has not.
    pub(crate) fn answer(&self, at: usize, ticket: u64) -> &'static str {
        match self.nodes[at].answer(ticket) {
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
        let added = targets.iter().map(ban).collect();
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

    /// Somebody wants something of the node's peer exchange.
    pub(crate) fn request(&mut self, at: usize, request: PexRequest) {
        self.nodes[at].pex.inputs.push_back(PexInput::Request(request));
    }

    /// The same, for an answer.
    pub(crate) fn ask_pex<T: Clone + Send + Sync + 'static>(
        &mut self,
        at: usize,
        request: impl FnOnce(Reply<T>) -> PexRequest,
    ) -> T {
        let (reply, answer) = Reply::kept();
        self.request(at, request(reply));
        self.answered(&answer)
    }

    /// Somebody sets the node's wall clock forward, or back.
    pub(crate) fn jump(&mut self, at: usize, by: Duration, is_forward: bool) {
        let wall = &mut self.nodes[at].wall;
        *wall = if is_forward { wall.after(by) } else { wall.before(by) };
    }

    /// Asks for a change at run time, and waits until it is done.
    pub(crate) fn control(&mut self, at: usize, control: Control) {
        assert_eq!(self.try_control(at, control), Ok(()));
    }

    /// Asks for one; the answer once it is there.
    pub(crate) fn try_control(&mut self, at: usize, control: Control) -> Result<(), ControlError> {
        self.ask(at, |reply| Request::Control { control, reply })
    }

    /// What the switch knows of every node.
    pub(crate) fn states(&mut self, at: usize) -> Vec<PeerState> {
        self.ask(at, Request::States)
    }

    fn ask<T: Clone + Send + Sync + 'static>(
        &mut self,
        at: usize,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> T {
        let (reply, answer) = Reply::kept();
        self.nodes[at].inputs.push_back(Input::Request(request(reply)));
        self.answered(&answer)
    }

    fn answered<T: Clone>(&mut self, answer: &Kept<T>) -> T {
        let is_answered = |_: &Self| answer.get().is_some();
        assert!(self.run_until(Duration::from_secs(1), is_answered), "no answer");
        answer.get().cloned().flatten().expect("somebody is there")
    }

    /// Dials, and waits until every reactor of both knows.
    pub(crate) fn connect(&mut self, from: usize, to: usize) -> (Peer, Peer) {
        self.dial(from, to);
        let (a, b) = (self.nodes[from].id, self.nodes[to].id);
        let is_up =
            |w: &Self, at: usize, id| w.nodes[at].reactors.iter().all(|r| r.peer(id).is_some());
        let done =
            self.run_until(Duration::from_secs(30), |w| is_up(w, from, b) && is_up(w, to, a));
        assert!(done, "no session: {:?} {:?}", self.nodes[from].dialed, self.nodes[to].events);
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
        // The test may have done anything meanwhile.
        self.look_at_all();
        loop {
            if is_done(self) {
                return true;
            }
            let Some(actor) = self.schedule.pick(&mut self.dice) else {
                match self.schedule.next() {
                    Some(next) if next <= end => self.pass_to(next),
                    _ => return false,
                }
                continue;
            };
            self.steps_at_once += 1;
            let is_moving = self.steps_at_once < MAX_STEPS_AT_ONCE;
            assert!(is_moving, "no time passes: {:?}", self.schedule.ready());
            let what = self.run(actor);
            self.note(actor, what);
            if self.pauses > 0 && self.dice.one_in(self.pauses) {
                let pause = Duration::from_micros(self.dice.range(1..=3000) as u64);
                self.hold(actor, pause);
            }
            self.look_after(actor);
        }
    }

    fn pass_to(&mut self, next: Mono) {
        assert!(next > self.now, "due and not ready");
        self.now = next;
        self.net.borrow_mut().now = next;
        self.steps_at_once = 0;
        for actor in self.schedule.due(next) {
            self.look_at(actor);
        }
    }

    /// Stops everybody and checks that nothing is left of anything.
    pub(crate) fn stop_all(&mut self) {
        self.net.borrow_mut().faults.out_of_files.clear();
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
                for reactor in 0..node.lineup_len() {
                    assert_eq!(node.budget_used(*conn, reactor), 0, "budget of {conn}");
                }
            }
            assert_eq!(node.switch.num_dialing(), 0);
            let is_answered = |dialed: &Kept<Dialed>| dialed.get().is_some();
            assert!(node.dialed.values().all(is_answered), "dials without an answer");
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

    /// What the node's clocks show.
    pub(crate) fn at(&self, node: usize) -> Now {
        self.nodes[node].at(self.now)
    }

    /// When the actor can do something.
    fn turn(&self, actor: Actor) -> Turn {
        let now = self.now;
        let is_any = |has_some: bool| if has_some { Turn::Now } else { Turn::Never };
        let node = |i: usize| Some(&self.nodes[i]).filter(|node| !node.is_dead);
        let turn = match actor {
            Actor::Net => Some(Turn::at(self.net.borrow().next_deadline(), now)),
            Actor::Loop(i) => node(i).map(|node| {
                let has_edges = self.net.borrow().has_edges(node.host);
                node.loop_turn(now, has_edges)
            }),
            Actor::Switch(i) => node(i).map(|node| node.switch_turn(now)),
            Actor::Commands(i) => node(i).map(|node| is_any(!node.commands.is_empty())),
            Actor::Resolver(i) => node(i).map(|node| is_any(!node.lookups.is_empty())),
            Actor::Pex(i) => node(i).map(|node| node.pex.turn(now)),
            Actor::Reactor(i, r) => node(i).map(|node| is_any(node.reactors[r].wants_to_run())),
        };
        let turn = turn.unwrap_or(Turn::Never);
        match self.held.get(&actor) {
            Some(until) if *until > now => turn.held(*until),
            _ => turn,
        }
    }

    fn look_at(&mut self, actor: Actor) {
        let turn = self.turn(actor);
        self.schedule.set(actor, turn);
    }

    fn look_at_node(&mut self, i: usize) {
        let actors = [Actor::Loop, Actor::Switch, Actor::Commands, Actor::Resolver, Actor::Pex];
        for actor in actors {
            self.look_at(actor(i));
        }
        for reactor in 0..self.nodes[i].reactors.len() {
            self.look_at(Actor::Reactor(i, reactor));
        }
    }

    fn look_at_all(&mut self) {
        while self.net.borrow_mut().next_stirred().is_some() {}
        self.look_at(Actor::Net);
        (0..self.nodes.len()).for_each(|node| self.look_at_node(node));
    }

    /// Looks at everybody who may have got work by what this one has done.
    fn look_after(&mut self, actor: Actor) {
        match actor {
            Actor::Net => {}
            Actor::Loop(i)
            | Actor::Switch(i)
            | Actor::Commands(i)
            | Actor::Resolver(i)
            | Actor::Pex(i)
            | Actor::Reactor(i, _) => self.look_at_node(i),
        }
        self.look_at(Actor::Net);
        loop {
            let Some(host) = self.net.borrow_mut().next_stirred() else { return };
            // Others are no nodes.
            if let Some(node) = self.hosts.get(&host) {
                self.look_at(Actor::Loop(*node));
            }
        }
    }

    fn run(&mut self, actor: Actor) -> u64 {
        match actor {
            Actor::Net => {
                self.net.borrow_mut().happen();
                0
            }
            Actor::Loop(i) => {
                let now = self.at(i);
                let node = &mut self.nodes[i];
                let edges = self.net.borrow_mut().take_edges(node.host);
                let before = node.inputs.len();
                node.run_loop(edges, now);
                (node.inputs.len() - before) as u64
            }
            Actor::Switch(i) => {
                let now = self.at(i);
                self.nodes[i].run_switch(now);
                self.nodes[i].events.len() as u64
            }
            Actor::Commands(i) => {
                let node = &mut self.nodes[i];
                let command = node.commands.pop_front().expect("looked at above");
                node.mailbox.command(command);
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
            Actor::Pex(i) => {
                let now = self.at(i);
                self.nodes[i].run_pex(now, &mut self.dice);
                self.nodes[i].pex.dials.len() as u64
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
            Actor::Pex(i) => 7 + i * 8,
        };
        for word in [self.now.as_nanos(), who as u64, what] {
            self.trace = (self.trace ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
        }
    }
}

/// `node7.example` is the node with this number; other names do not exist.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let number = host.strip_prefix("node").and_then(|h| h.strip_suffix(".example"));
    let number: u8 = number.and_then(|n| n.parse().ok()).ok_or("no such name")?;
    // The first address is dead, as it may be.
    let dead = SocketAddr::from(([10, 9, 9, 9], port));
    Ok(vec![dead, ([10, 0, 0, number + 1], port).into()])
}
