//! Nodes, the lines between them, and the time that passes.

use std::{
    any::Any,
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::{
    dice::Dice,
    net::{Net, Wire},
    node::Node,
    sockets::SimSockets,
    weather::Weather,
};
use crate::{
    clock::Clock,
    config::Config,
    reactor::{Event, Peer, Reactor},
    runtime::{StartError, SwitchBuilder, SwitchHandle},
    switch::{DialError, Resolver},
    thread::{self, Guest},
    time::Mono,
};

/// How long [`Network::call`] waits for an answer, in the time of the machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// A node of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(usize);

/// What time it is in a [`Network`].
#[derive(Clone, Debug)]
pub struct NetworkClock(Arc<AtomicU64>);

impl NetworkClock {
    /// Time that has passed since the beginning.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Relaxed))
    }
}

/// A network of nodes in memory, in virtual time, on the thread that holds it. See the
/// [module](super).
///
/// Nothing happens but in [`run_for`](Self::run_for), [`run_until`](Self::run_until),
/// [`connect`](Self::connect) and [`call`](Self::call). The same seed and the same calls make the same
/// things happen.
pub struct Network {
    nanos: Arc<AtomicU64>,
    clock: Clock,
    net: Wire,
    dice: Dice,
    /// `None`: it was killed.
    nodes: Vec<Option<Node>>,
    /// Where each is, also one that was killed.
    places: Vec<Place>,
    /// Whose host is whose: each node's, also those that were; `None`: one that is driven by hand.
    hosts: Vec<Option<usize>>,
    /// When each node has something to do by itself, and the same in order; what is no longer so stays
    /// there until its time has come.
    turns: Vec<Option<Mono>>,
    alarms: BinaryHeap<Reverse<(Mono, usize)>>,
    /// Nodes that may have something to do now.
    ready: VecDeque<usize>,
    names: Arc<Names>,
    _guest: Guest,
}

/// Where a node is.
struct Place {
    addr: SocketAddr,
    part: usize,
    delay: Duration,
}

impl Network {
    /// An empty network. What is left to chance in it follows from the seed.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let latency = (Duration::from_millis(1), Duration::from_millis(5));
        let mut net = Net::new(Weather { latency, ..Weather::fair() }, dice.fork());
        (net.forgets, net.is_silent) = (true, true);
        let nanos = Arc::new(AtomicU64::new(0));
        Self {
            clock: Clock::of(nanos.clone()),
            nanos,
            net: Rc::new(net.into()),
            dice,
            nodes: Vec::new(),
            places: Vec::new(),
            hosts: Vec::new(),
            turns: Vec::new(),
            alarms: BinaryHeap::new(),
            ready: VecDeque::new(),
            names: Arc::default(),
            _guest: thread::guest(),
        }
    }

    /// Starts a switch here, instead of [`SwitchBuilder::start`]. It listens where
    /// [`Config::laddr`] says if that is an address that others can dial, at an address of its own if that is
    /// one of this machine (`127.0.0.1:0`, the default, or `0.0.0.0:26656`), and nowhere without it.
    ///
    /// Names that are dialed are resolved as [`name`](Self::name) was told; a resolver and a limit on
    /// descriptors of the builder's count for nothing, and `laddr` is to be no name. What a
    /// [`BookStore`](crate::BookStore) is given is written at once, and what it fails with is logged and no
    /// more. The node is in no group of a [partition](Self::partition).
    ///
    /// # Errors
    /// As [`SwitchBuilder::start`]'s.
    pub fn add(&mut self, builder: SwitchBuilder) -> Result<NodeIndex, StartError> {
        let number = self.nodes.len();
        let addr = wanted(builder.config()).unwrap_or_else(|| own(number));
        let node = self.start(number, builder, addr)?;
        self.nodes.push(Some(node));
        self.places.push(Place { addr, part: 0, delay: Duration::ZERO });
        self.turns.push(None);
        self.ready.push_back(number);
        Ok(NodeIndex(number))
    }

    fn start(
        &mut self,
        number: usize,
        mut builder: SwitchBuilder,
        addr: SocketAddr,
    ) -> Result<Node, StartError> {
        // A start makes a host even if it fails.
        self.hosts.push(Some(number));
        builder.resolver(self.names.clone());
        Node::start(builder, &self.net, self.clock.clone(), addr, &mut self.dice)
    }

    /// Ends the node as a killed process ends: its connections are reset, and what it had accepted and not
    /// sent is lost. Whoever in the test still holds something of it is told: reactors of all ends,
    /// subscribers that it has stopped.
    pub fn kill(&mut self, node: NodeIndex) {
        if let Some(killed) = self.nodes[node.0].take() {
            killed.kill(&self.net);
            self.turns[node.0] = None;
        }
    }

    /// Starts a switch in the place of one, which is [killed](Self::kill) if it still runs: at its address
    /// unless [`Config::laddr`] is another that others can dial, in its part of a
    /// [partitioned](Self::partition) network, with its [delay](Self::delay).
    ///
    /// # Errors
    /// As [`SwitchBuilder::start`]'s; then nobody is there.
    pub fn restart(&mut self, node: NodeIndex, builder: SwitchBuilder) -> Result<(), StartError> {
        self.kill(node);
        let addr = wanted(builder.config()).unwrap_or(self.places[node.0].addr);
        let started = self.start(node.0, builder, addr)?;
        let place = &mut self.places[node.0];
        place.addr = addr;
        let mut net = self.net.borrow_mut();
        net.set_parts(&[(started.host, place.part)]);
        net.set_delay(started.host, place.delay);
        drop(net);
        self.nodes[node.0] = Some(started);
        self.ready.push_back(node.0);
        Ok(())
    }

    /// The node's switch: for all calls that do not wait. Those that would answer
    /// [`WrongThread`](crate::WrongThread) on this thread, since it is the one that would have to answer
    /// them: [`call`](Self::call) does.
    ///
    /// # Panics
    /// The node was killed.
    pub fn switch(&self, node: NodeIndex) -> &SwitchHandle {
        &self.nodes[node.0].as_ref().expect("a node that was not killed").handle
    }

    /// Whether it was not killed, and has not stopped.
    pub fn is_running(&self, node: NodeIndex) -> bool {
        self.nodes[node.0].as_ref().is_some_and(Node::is_running)
    }

    /// Every node that was not killed.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> {
        let is_there = |number: &usize| self.nodes[*number].is_some();
        (0..self.nodes.len()).filter(is_there).map(NodeIndex)
    }

    /// How many sockets the node has open, its listener aside.
    pub fn num_sockets(&self, node: NodeIndex) -> usize {
        let host = self.nodes[node.0].as_ref().map(|node| node.host);
        host.map_or(0, |host| self.net.borrow().num_open(host))
    }

    /// Gives the events of a reactor of this node to `handler`, one by one, when they come. Without it they
    /// wait in [`Reactor::events`] until the test takes them. What the handler does with handles of other
    /// nodes is noticed there when they have something to do anyway.
    ///
    /// # Panics
    /// The node was killed.
    pub fn drive(
        &mut self,
        node: NodeIndex,
        reactor: Reactor,
        handler: impl FnMut(Event) + 'static,
    ) {
        let driven = self.nodes[node.0].as_mut().expect("a node that was not killed");
        driven.drive(reactor, Box::new(handler));
    }

    /// Makes a call of the switch that waits for an answer, such as
    /// [`peer_states`](SwitchHandle::peer_states) or [`ban`](SwitchHandle::ban). No time passes meanwhile.
    ///
    /// # Panics
    /// The node was killed; there is no answer, because it needs time to pass, as that of
    /// [`DialTicket::wait`](crate::DialTicket::wait).
    pub fn call<T: Send>(
        &mut self,
        node: NodeIndex,
        call: impl FnOnce(&SwitchHandle) -> T + Send,
    ) -> T {
        self.run_for(Duration::ZERO);
        let handle = self.switch(node).clone();
        let (sender, answer) = crossbeam_channel::bounded(1);
        std::thread::scope(|scope| {
            scope.spawn(move || _ = sender.send(call(&handle)));
            let begun = std::time::Instant::now();
            // A panic of the test's code, or that it takes too long.
            let mut failed: Option<Option<Box<dyn Any + Send>>> = None;
            loop {
                match answer.recv_timeout(Duration::from_micros(50)) {
                    Ok(answer) if failed.is_none() => return answer,
                    // The call has panicked, or what it waited for has: the scope passes it on.
                    Ok(_) | Err(RecvTimeoutError::Disconnected) => match failed {
                        Some(Some(panic)) => resume_unwind(panic),
                        Some(None) => panic!("a call has no answer as long as no time passes"),
                        None => panic!("a call of a switch panicked"),
                    },
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if failed.is_none() && begun.elapsed() > ANSWERED_WITHIN {
                    failed = Some(None);
                }
                if failed.is_some() {
                    // Whoever waits for something is told that nobody is there.
                    (0..self.nodes.len()).for_each(|node| self.kill(NodeIndex(node)));
                    continue;
                }
                self.ready.extend(self.nodes[node.0].is_some().then_some(node.0));
                // Code of the test runs here, too.
                failed = catch_unwind(AssertUnwindSafe(|| self.run_ready())).err().map(Some);
            }
        })
    }

    /// Dials from one node to another, and lets time pass until it is known how that went, which is when
    /// every reactor of the one that dials was told. The other node has its session a moment later.
    ///
    /// # Errors
    /// There is no session.
    ///
    /// # Panics
    /// One of the nodes was killed, or the other one does not listen.
    pub fn connect(&mut self, from: NodeIndex, to: NodeIndex) -> Result<Peer, DialError> {
        let addr = self.switch(to).peer_address().expect("a node that listens");
        let ticket = self.switch(from).dial(addr);
        let outcome = ticket.outcome().clone();
        self.run_until(Duration::from_secs(3600), |_| !outcome.is_empty());
        outcome.try_recv().expect("a dial ends within an hour")
    }

    /// Something between the two resets their connection; whether there was one.
    pub fn disconnect(&mut self, a: NodeIndex, b: NodeIndex) -> bool {
        let (Some(a), Some(b)) = (&self.nodes[a.0], &self.nodes[b.0]) else { return false };
        let mut net = self.net.borrow_mut();
        let sock = net.sock_between(a.host, b.host);
        sock.map(|sock| net.cut(sock)).is_some()
    }

    /// Parts the network: nodes of different groups do not reach each other until [`heal`](Self::heal). Who
    /// is in no group is in one with all others of whom that is true. Connections stand, and what is sent on
    /// them waits; who connects into another group gets no answer, also if the network heals meanwhile.
    /// Sessions end when a ping has had no answer: after
    /// [`ping_interval`](Config::ping_interval) and [`pong_timeout`](Config::pong_timeout), 105 s at most.
    pub fn partition(&mut self, groups: &[&[NodeIndex]]) {
        self.places.iter_mut().for_each(|place| place.part = 0);
        for (part, group) in (1..).zip(groups) {
            group.iter().for_each(|node| self.places[node.0].part = part);
        }
        // Also of those that are gone: somebody may still send to them.
        let parts = self.hosts.iter().enumerate();
        let parts = parts.filter_map(|(host, node)| Some((host, self.places.get((*node)?)?.part)));
        self.net.borrow_mut().set_parts(&parts.collect::<Vec<_>>());
    }

    /// Everybody reaches everybody again, and what waits is sent. Sessions that have ended come back as on the
    /// internet: those of persistent peers, and by peer exchange, when the next attempt is due, which has
    /// waited the longer the more have failed. [`connect`](Self::connect) does not wait.
    pub fn heal(&mut self) {
        self.partition(&[]);
    }

    /// How long it takes from one node to another, each time something in this range; 1 to 5 ms if nobody
    /// says otherwise.
    pub fn latency(&mut self, range: RangeInclusive<Duration>) {
        self.net.borrow_mut().weather.latency = range.into_inner();
    }

    /// What this node sends and gets takes so much longer.
    pub fn delay(&mut self, node: NodeIndex, delay: Duration) {
        self.places[node.0].delay = delay;
        if let Some(node) = &self.nodes[node.0] {
            self.net.borrow_mut().set_delay(node.host, delay);
        }
    }

    /// Nobody reaches the node's address any more, as if it were behind a translator of addresses; it reaches
    /// others. That lasts.
    pub fn hide(&mut self, node: NodeIndex) {
        self.net.borrow_mut().black_holes.insert(self.places[node.0].addr);
    }

    /// This name resolves to this address, for everybody.
    pub fn name(&mut self, host: &str, ip: IpAddr) {
        self.names.0.lock().insert(host.to_owned(), ip);
    }

    /// Time that has passed since the beginning.
    pub fn now(&self) -> Duration {
        self.clock().now()
    }

    /// The same for the test's own code, wherever that is.
    pub fn clock(&self) -> NetworkClock {
        NetworkClock(self.nanos.clone())
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = Mono::ZERO + self.now() + time;
        self.look_at_all();
        while self.run_moment(end) {}
        self.set(end);
    }

    /// Lets time pass until it is so, or has passed; whether it is so. Asked whenever all has happened that
    /// happens at one moment; what `is_so` itself does, such as to take events or to send, happens then.
    pub fn run_until(&mut self, limit: Duration, mut is_so: impl FnMut(&Self) -> bool) -> bool {
        let end = Mono::ZERO + self.now() + limit;
        loop {
            self.look_at_all();
            self.run_ready();
            if is_so(self) {
                return true;
            }
            self.look_at_all();
            if !self.run_moment(end) {
                self.set(end);
                return is_so(self);
            }
        }
    }

    /// Whoever holds a handle may have done anything meanwhile.
    fn look_at_all(&mut self) {
        let now = self.clock.mono();
        let has_work = |(_, node): &(usize, &Option<Node>)| {
            node.as_ref().is_some_and(|node| node.has_work(now))
        };
        self.ready.extend(self.nodes.iter().enumerate().filter(has_work).map(|(i, _)| i));
    }

    /// All that happens now, and then all that happens at the next moment; `false`: none is before the end.
    fn run_moment(&mut self, end: Mono) -> bool {
        self.run_ready();
        let alarm = self.alarms.peek().map(|Reverse((at, _))| *at);
        let next = crate::time::earliest(alarm, self.net.borrow().next_deadline());
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.pass_to(next);
        self.run_ready();
        true
    }

    fn set(&mut self, now: Mono) {
        self.nanos.store(now.as_nanos(), Relaxed);
        self.net.borrow_mut().now = now;
    }

    fn pass_to(&mut self, now: Mono) {
        self.set(now);
        while self.net.borrow().next_deadline().is_some_and(|at| at <= now) {
            self.net.borrow_mut().happen();
        }
        while let Some(Reverse((at, number))) = self.alarms.peek().copied()
            && at <= now
        {
            self.alarms.pop();
            if self.turns[number] == Some(at) {
                self.turns[number] = None;
                self.ready.push_back(number);
            }
        }
    }

    fn run_ready(&mut self) {
        let now = self.clock.now();
        loop {
            while let Some(host) = self.net.borrow_mut().next_stirred() {
                self.ready.extend(self.hosts.get(host).copied().flatten());
            }
            let Some(number) = self.ready.pop_front() else { return };
            let Some(node) = &mut self.nodes[number] else { continue };
            let turn = node.run(&self.net, now);
            if turn != self.turns[number] {
                self.turns[number] = turn;
                self.alarms.extend(turn.map(|at| Reverse((at, number))));
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Who holds something of a node outside is told that nobody is there.
        (0..self.nodes.len()).for_each(|node| self.kill(NodeIndex(node)));
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({} nodes at {:?})", self.nodes().count(), self.now())
    }
}

/// Sockets of one more host, for somebody who does what a test wants, byte by byte, instead of what a node would
/// do. Nobody looks after them: [`SimSockets::take_ready`] says what there is to do.
pub fn by_hand(network: &mut Network, ip: IpAddr) -> SimSockets {
    network.hosts.push(None);
    SimSockets::new(network.net.clone(), ip)
}

/// Where the node wants to listen, if others can dial that.
fn wanted(config: &Config) -> Option<SocketAddr> {
    let addr = config.laddr.as_ref()?.socket_addr()?;
    let is_its_own = addr.ip().is_loopback() || addr.ip().is_unspecified() || addr.port() == 0;
    (!is_its_own).then_some(addr)
}

/// An address for the node with this number: as far as possible each in a /16 of its own.
fn own(number: usize) -> SocketAddr {
    let [.., a, b, c] = number.to_be_bytes();
    // Neither private nor reserved: from 20 to 99.
    SocketAddr::from(([20 + b % 80, c, a.wrapping_mul(4).wrapping_add(b / 80), 1], 26656))
}

/// What names resolve to.
#[derive(Default)]
struct Names(Mutex<BTreeMap<String, IpAddr>>);

impl Resolver for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let ip = self.0.lock().get(host).copied();
        let ip = ip.ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no such name"))?;
        Ok(vec![SocketAddr::new(ip, port)])
    }
}
