//! The switch's decisions alone, under random schedules of everything that the event loop, users,
//! filters, resolvers and time can do, against the reference.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tmp2p::{
    Ban, BanOrigin, ConnId, ConnectionState, Direction, DisconnectReason, Limits, NodeId,
    PeerAddress, Purpose, StopReason,
    internals::drive::{Core, Driver},
    internals::event_loop::{Command, Report},
    internals::switch::{Control, Dialed, Input, Kept, Origin, Reply, Request, Resolved},
};

use crate::{
    reference::{Conn, Verdict},
    run::{IDS, NODES, Run, SECOND, addr, place},
    world::seeds,
};

const DISCOVERY: Origin =
    Origin::Discovery { purpose: Purpose::Peers, failures: 0, is_limited: true };

impl Run {
    // ---- everybody else ----

    fn resolve(&mut self, is_known: bool) {
        let Some(ticket) = self.lookups.pop() else { return };
        let addrs = vec![([20, 9, 9, 9], 1).into(), place(1)];
        let result = if is_known { Ok(addrs) } else { Err("no such name".to_owned()) };
        self.happen(Some(Input::Resolved(Resolved { ticket, result })));
    }

    fn decide(&mut self, is_welcome: bool) {
        if self.asked.is_empty() {
            return;
        }
        let at = self.dice.below(self.asked.len());
        // The last of two answers may never come.
        let ticket = self.asked[at];
        if self.dice.one_in(2) {
            self.asked.swap_remove(at);
        }
        let result = if is_welcome { Ok(()) } else { Err("no".to_owned()) };
        self.happen(Some(Input::Decided { ticket, result }));
    }

    fn ask_to_dial(&mut self, addr: PeerAddress, origin: Origin) {
        let (reply, dialed) = Reply::kept();
        self.dialed.push(dialed);
        self.happen(Some(Input::Request(Request::Dial { addr, origin, reply: Some(reply) })));
    }

    fn dial(&mut self) {
        let node = self.dice.range(0..=NODES);
        let origin = *self.dice.pick(&[Origin::Operator, DISCOVERY]);
        let before = self.commands.len();
        let addr = addr(node, node == 1);
        let is_connected = self.model.sessions.contains_key(&addr.id());
        // Whoever asked for them.
        let taken = self.model.limited(Direction::Outbound) + self.core.num_dialing();
        if origin.is_discovery() {
            self.is_under_way(addr.id(), origin);
        }
        self.ask_to_dial(addr, origin);
        let dials = |c: &Command| matches!(c, Command::Dial { .. });
        let has_dialed = self.commands.iter().skip(before).any(dials);
        assert!(!(is_connected && has_dialed), "dials who is connected");
        let is_limited = origin == DISCOVERY
            && !self.model.is_reserved(&IDS[node])
            && taken >= self.model.limits.max_num_outbound_peers;
        assert!(!(is_limited && has_dialed), "dials beyond the limit");
    }

    fn control(&mut self) {
        let node = self.dice.below(NODES);
        let id = IDS[node];
        let control = match self.dice.below(6) {
            // Nothing changes any more.
            _ if self.model.is_stopping => Control::AddUnconditional(id),
            0 => {
                self.model.persistent.insert(id);
                Control::AddPersistent(addr(node, node == 1))
            }
            1 => {
                self.model.persistent.remove(&id);
                Control::RemovePersistent(id)
            }
            2 => {
                self.model.unconditional.insert(id);
                Control::AddUnconditional(id)
            }
            3 => {
                let (inbound, outbound) = (self.dice.below(5), self.dice.below(5));
                let limits =
                    Limits { max_num_inbound_peers: inbound, max_num_outbound_peers: outbound };
                self.model.limits = limits;
                Control::SetLimits(limits)
            }
            4 => Control::DialPeers((0..NODES).map(|n| addr(n, false)).collect()),
            _ => return self.check_states(),
        };
        _ = self.request(|reply| Request::Control { control, reply });
    }

    fn check_states(&mut self) {
        if self.model.is_stopping {
            return;
        }
        let states = self.request(Request::States);
        let with = |id: &NodeId| states.iter().find(|s| s.id == Some(*id));
        for id in self.model.sessions.keys() {
            assert_eq!(with(id).map(|s| s.state), Some(ConnectionState::Connected));
        }
        for id in &self.model.persistent {
            let state = with(id).expect("a persistent peer that nobody knows");
            assert!(state.is_persistent);
            match state.state {
                ConnectionState::Connected => assert!(self.model.sessions.contains_key(id)),
                ConnectionState::Dialing => {}
                _ => {
                    let left =
                        state.remaining.expect("neither a session nor an attempt nor a time");
                    // Candidates wait for a part of the dial spread.
                    assert!(left <= self.cap.mul_f64(1.25).max(3 * SECOND), "{left:?}");
                }
            }
        }
    }

    fn ban(&mut self) {
        let node = self.dice.below(NODES);
        let target = match self.dice.below(6) {
            0 => IDS[node].to_string(),
            1 => place(node).ip().to_string(),
            2 => "20.0.0.0/31".to_owned(),
            _ => {
                self.model.bans.clear();
                "9.9.9.9".to_owned()
            }
        };
        let until = (!self.dice.one_in(5)).then(|| self.now().wall + 20 * SECOND);
        let (reason, origin) = ("a test".to_owned(), BanOrigin::Operator);
        let ban = Ban { target: target.parse().unwrap(), until, reason, origin };
        self.model.bans.retain(|other| other.target != ban.target);
        self.model.bans.push(ban.clone());
        let table = self.model.ban_table();
        self.happen(Some(Input::Bans { table, added: vec![ban] }));
        let wall = self.now().wall;
        for (id, conn) in &self.model.conns {
            let is_banned = self.model.is_banned(&conn.id, conn.remote, wall);
            assert!(!is_banned || conn.is_unwanted, "{id} is banned and stays");
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
            self.now = at;
            self.happen(None);
        }
        self.now = end;
        self.happen(None);
    }

    fn some_conn(&mut self) -> Option<ConnId> {
        let conns: Vec<ConnId> = self.open.keys().copied().collect();
        (!conns.is_empty()).then(|| *self.dice.pick(&conns))
    }

    fn act(&mut self) {
        match self.dice.below(100) {
            0..=19 => {
                let node = self.dice.below(NODES);
                let at = SocketAddr::new(place(node).ip(), 40_000 + self.next_conn as u16);
                self.establish(IDS[node], at, None);
            }
            20..=32 => {
                let is_reached = self.dice.one_in(2);
                self.answer_dial(is_reached);
            }
            33..=50 => self.apply_command(),
            51..=57 => {
                if let Some(conn) = self.some_conn() {
                    if self.dice.one_in(2) {
                        self.ending(conn);
                    }
                    let how = [DisconnectReason::Eof, DisconnectReason::Reset];
                    let how = self.dice.pick(&how).clone();
                    self.close(conn, how);
                }
            }
            58..=60 => {
                if let Some(conn) = self.some_conn() {
                    self.ending(conn);
                }
            }
            61..=64 => {
                let up = self
                    .some_conn()
                    .filter(|conn| self.model.conns[conn].verdict == Some(Verdict::Up));
                if let Some(conn) = up.filter(|conn| self.has_spoken.insert(*conn)) {
                    self.happen(Some(Input::Report(Report::FirstMessage(conn))));
                }
            }
            65..=72 => {
                let times = [1, 50, 500, 1000, 2000, 3000, 5000, 30_000];
                let time = Duration::from_millis(*self.dice.pick(&times));
                self.pass(time);
            }
            73..=79 => {
                let is_welcome = !self.dice.one_in(4);
                self.decide(is_welcome);
            }
            80..=82 => {
                let is_known = !self.dice.one_in(3);
                self.resolve(is_known);
            }
            83..=87 => self.dial(),
            88..=92 => self.control(),
            93..=94 => self.ban(),
            95 => {
                let unread = [(0, 0), (0, 0), (1, 0), (1, 0), (0, 1), (1, 1), (1, 2)];
                self.unread = *self.dice.pick(&unread);
                self.model.stalled = self.unread.1;
                self.hooks_fail = self.dice.one_in(3);
            }
            96 => self.happen(Some(Input::ReactorGone { reactor: 0, has_panicked: false })),
            _ => {
                if let Some(conn) = self.probed.pop() {
                    self.happen(Some(Input::Report(Report::Alive(conn))));
                }
            }
        }
    }

    /// From now on everybody can be reached and nothing goes wrong.
    fn calm(&mut self) {
        self.model.bans.clear();
        (self.unread, self.hooks_fail, self.model.stalled) = ((0, 0), false, 0);
        self.happen(Some(Input::Bans { table: Arc::default(), added: Vec::new() }));
        let end = self.now + self.cap.mul_f64(1.25) + 15 * SECOND;
        loop {
            let closing: Vec<ConnId> =
                self.open.iter().filter(|(_, why)| why.is_some()).map(|(conn, _)| *conn).collect();
            let ending = self.open.keys().find(|conn| self.model.conns[conn].is_ending).copied();
            if !self.commands.is_empty() {
                self.apply_command();
            } else if !self.dials.is_empty() {
                self.answer_dial(true);
            } else if !self.lookups.is_empty() {
                self.resolve(true);
            } else if let Some(ticket) = self.asked.pop() {
                // Once for each of two filters.
                self.happen(Some(Input::Decided { ticket, result: Ok(()) }));
                self.happen(Some(Input::Decided { ticket, result: Ok(()) }));
            } else if let Some(conn) = closing.first().copied().or(ending) {
                self.close(conn, DisconnectReason::Eof);
            } else if let Some(conn) = self.probed.pop() {
                self.happen(Some(Input::Report(Report::Alive(conn))));
            } else if let Some(at) = self.core.next_deadline().filter(|at| *at <= end) {
                self.now = at;
                self.happen(None);
            } else {
                break;
            }
        }
        for id in &self.model.persistent {
            assert!(self.model.sessions.contains_key(id), "{id} could be connected and is not");
        }
    }

    fn stop(&mut self) {
        let reason = match self.dice.below(4) {
            0 => {
                self.model.is_stopping = true;
                self.happen(Some(Input::ReactorGone { reactor: 1, has_panicked: true }));
                StopReason::ReactorGone("false".into())
            }
            // The loop dies of itself.
            1 => StopReason::Failed,
            _ => {
                self.model.is_stopping = true;
                let deadline = self.now + SECOND;
                self.happen(Some(Input::Request(Request::Stop { deadline })));
                StopReason::Requested
            }
        };
        let has_died = reason == StopReason::Failed;
        if !has_died {
            let is_shutdown = |c: &Command| matches!(c, Command::Shutdown { .. });
            assert!(self.commands.iter().any(is_shutdown));
            (0..self.dice.below(20)).for_each(|_| self.act());
            while !self.commands.is_empty() {
                self.apply_command();
            }
            while !self.dials.is_empty() {
                self.answer_dial(false);
            }
            while let Some(conn) = self.some_conn() {
                self.close(conn, DisconnectReason::Stopped);
            }
        }
        self.model.is_stopping = true;
        self.model.over.extend(self.open.keys());
        self.happen(Some(Input::Report(Report::Stopped)));
        assert!(self.core.is_stopped());
        assert_eq!(self.core.stop_reason(), Some(reason));
        let is_answered = |dialed: &Kept<Dialed>| matches!(dialed.get(), Some(Some(_)));
        assert!(self.dialed.iter().all(is_answered), "not answered");
        assert!(self.under_way.is_empty(), "attempts without an outcome: {:?}", self.under_way);
        for (id, is_reserved) in &self.standings {
            assert_eq!(*is_reserved, self.model.is_reserved(id), "peer exchange is told otherwise");
        }
        assert_eq!((self.core.num_dialing(), self.ups), (0, self.downs));
        assert!(self.model.sessions.is_empty());
        assert_eq!(self.core.next_deadline(), None);
        // Requests that come too late are answered all the same.
        self.ask_to_dial(addr(0, false), Origin::Operator);
        assert!(self.dialed.iter().all(is_answered));
        let control = Control::AddUnconditional(IDS[0]);
        let done = self.request(|reply| Request::Control { control, reply });
        assert_eq!(done, Err(tmp2p::Stopped.into()));
    }
}

/// The faults: zombies, duplicates and half-open connections in the peer set, peers announced twice
/// or never again, persistent peers forgotten.
#[test]
fn zombie_and_duplicate_peers_against_a_model() {
    let (mut ups, mut steps) = (0, 0);
    for seed in seeds(3000) {
        let mut run = Run::new(seed);
        for _ in 0..300 {
            run.act();
            steps += 1;
        }
        if !seed.is_multiple_of(4) {
            run.calm();
        }
        run.stop();
        ups += run.ups;
    }
    assert!(ups * 40 > steps, "{ups} sessions in {steps} steps: nothing happens");
}

#[test]
fn the_first_refusal_decides_and_so_does_the_last_consent() {
    let settings = seeds(300).map(Run::new);
    let mut checked = 0;
    for mut run in settings.filter(|run| run.peer_filters == 2) {
        let asked = |run: &mut Run| {
            run.establish(IDS[4], place(4), None);
            run.asked.pop().expect("the filters are asked")
        };
        let decide = |run: &mut Run, ticket, result| {
            run.happen(Some(Input::Decided { ticket, result }));
            (run.introduced.len(), run.rejected.values().copied().collect::<Vec<_>>())
        };
        let no = || Err("no".to_owned());
        let ticket = asked(&mut run);
        assert_eq!(decide(&mut run, ticket, no()), (0, vec!["filtered"]));
        assert_eq!(decide(&mut run, ticket, Ok(())), (0, vec![]), "it is over");
        let ticket = asked(&mut run);
        assert_eq!(decide(&mut run, ticket, Ok(())), (0, vec![]));
        assert_eq!(decide(&mut run, ticket, no()), (0, vec!["filtered"]));
        let ticket = asked(&mut run);
        assert_eq!(decide(&mut run, ticket, Ok(())), (0, vec![]));
        run.pass(5 * SECOND);
        let is_refused = |conn: &Conn| conn.verdict == Some(Verdict::Refused);
        assert!(run.model.conns.values().all(is_refused), "nobody answered in time");
        assert_eq!(decide(&mut run, ticket, Ok(())), (0, vec![]), "too late");
        let ticket = asked(&mut run);
        assert_eq!(decide(&mut run, ticket, Ok(())), (0, vec![]));
        assert_eq!(decide(&mut run, ticket, Ok(())), (1, vec![]));
        checked += 1;
    }
    assert!(checked > 10 || std::env::var("TMP2P_SEED").is_ok());
}
