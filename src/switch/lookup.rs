//! Names that are being resolved: one request per name at a time, however many attempts want it and
//! however long its answer takes.
//!
//! A name server may answer later than an attempt waits. The request is not repeated then, for it
//! would queue behind itself; whoever wants the name next waits for the same answer, or finds it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use crate::time::Mono;

/// How long an attempt waits for its name. The system's resolver gives each name server 5 s and
/// asks up to three (resolv.conf(5)): with two of them dead, the third one's answer is in time.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an answer that came too late is good for the next attempt: there is one within 75 s by
/// default, and an address seldom changes in minutes.
const LATE_IS_GOOD: Duration = Duration::from_secs(5 * 60);

/// Late answers that are kept. More names than these are in nobody's configuration, and a list of
/// names that are dialed once is not to stay in memory.
const LATE_ANSWERS: usize = 64;

/// A host and a port.
pub(super) type Name = (String, u16);

/// What is known of names.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    /// By the ticket of the request.
    under_way: BTreeMap<u64, Lookup>,
    /// **Invariant:** the request that is under way for a name.
    by_name: BTreeMap<Name, u64>,
    /// **Invariant:** the request that an attempt waits for.
    waiting: BTreeMap<u64, u64>,
    /// Answers that nobody waited for any more, the oldest first.
    late: VecDeque<(Mono, Name, Vec<SocketAddr>)>,
}

#[derive(Debug)]
struct Lookup {
    name: Name,
    /// Attempts that wait for the answer, by ticket.
    wanted_by: BTreeSet<u64>,
}

/// What an attempt gets that wants a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its addresses, from an answer that came too late for an earlier attempt.
    Late(Vec<SocketAddr>),
    /// The answer comes; `true`: the request for it is to be made, under the attempt's ticket.
    Awaited(bool),
}

impl Lookups {
    /// The attempt of this ticket wants a name.
    pub(super) fn want(&mut self, ticket: u64, name: Name, now: Mono) -> Found {
        self.late.retain(|(since, ..)| now.since(*since) < LATE_IS_GOOD);
        if let Some(at) = self.late.iter().position(|(_, late, _)| *late == name)
            && let Some((.., addrs)) = self.late.remove(at)
        {
            return Found::Late(addrs);
        }
        if let Some(request) = self.by_name.get(&name)
            && let Some(lookup) = self.under_way.get_mut(request)
        {
            lookup.wanted_by.insert(ticket);
            self.waiting.insert(ticket, *request);
            return Found::Awaited(false);
        }
        self.by_name.insert(name.clone(), ticket);
        self.waiting.insert(ticket, ticket);
        self.under_way.insert(ticket, Lookup { name, wanted_by: [ticket].into() });
        Found::Awaited(true)
    }

    /// The attempt waits no longer.
    pub(super) fn give_up(&mut self, ticket: u64) {
        let request = self.waiting.remove(&ticket);
        if let Some(lookup) = request.and_then(|request| self.under_way.get_mut(&request)) {
            lookup.wanted_by.remove(&ticket);
        }
    }

    /// The answer to a request: which attempts get it. If there are none it is kept for the next.
    pub(super) fn answered(
        &mut self,
        request: u64,
        result: &Result<Vec<SocketAddr>, String>,
        now: Mono,
    ) -> BTreeSet<u64> {
        let Some(lookup) = self.under_way.remove(&request) else { return BTreeSet::new() };
        self.by_name.remove(&lookup.name);
        for ticket in &lookup.wanted_by {
            self.waiting.remove(ticket);
        }
        if let (true, Ok(addrs)) = (lookup.wanted_by.is_empty(), result) {
            if self.late.len() >= LATE_ANSWERS {
                self.late.pop_front();
            }
            self.late.push_back((now, lookup.name, addrs.clone()));
        }
        lookup.wanted_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(host: &str) -> Name {
        (host.to_owned(), 1)
    }

    fn answer() -> Result<Vec<SocketAddr>, String> {
        Ok(vec![([10, 0, 0, 1], 1).into()])
    }

    #[test]
    fn a_name_is_asked_for_once_at_a_time_whoever_wants_it() {
        let mut lookups = Lookups::default();
        assert_eq!(lookups.want(1, name("a"), Mono::ZERO), Found::Awaited(true));
        assert_eq!(lookups.want(2, name("a"), Mono::ZERO), Found::Awaited(false));
        assert_eq!(lookups.want(3, name("b"), Mono::ZERO), Found::Awaited(true));
        lookups.give_up(1);
        assert_eq!(lookups.want(4, name("a"), Mono::ZERO), Found::Awaited(false));
        assert_eq!(lookups.answered(1, &answer(), Mono::ZERO), BTreeSet::from([2, 4]));
        assert_eq!(lookups.answered(1, &answer(), Mono::ZERO), BTreeSet::new(), "once");
        assert_eq!(lookups.want(5, name("a"), Mono::ZERO), Found::Awaited(true), "anew");
    }

    #[test]
    fn a_late_answer_serves_the_next_attempt_once_and_not_for_ever() {
        let mut lookups = Lookups::default();
        let mut ticket = 0;
        let mut late = |lookups: &mut Lookups, host: &str| {
            ticket += 1;
            assert_eq!(lookups.want(ticket, name(host), Mono::ZERO), Found::Awaited(true));
            lookups.give_up(ticket);
            assert_eq!(lookups.answered(ticket, &answer(), Mono::ZERO), BTreeSet::new());
        };
        late(&mut lookups, "a");
        let found = lookups.want(1000, name("a"), Mono::ZERO + Duration::from_secs(60));
        assert_eq!(found, Found::Late(answer().unwrap()));
        assert_eq!(lookups.want(1001, name("a"), Mono::ZERO), Found::Awaited(true));
        // A failure is of no use to anybody.
        lookups.give_up(1001);
        lookups.answered(1001, &Err("no".to_owned()), Mono::ZERO);
        assert_eq!(lookups.want(1002, name("a"), Mono::ZERO), Found::Awaited(true));
        late(&mut lookups, "b");
        let found = lookups.want(1003, name("b"), Mono::ZERO + LATE_IS_GOOD);
        assert_eq!(found, Found::Awaited(true));
        for host in 0..2 * LATE_ANSWERS {
            late(&mut lookups, &format!("once{host}"));
        }
        assert_eq!(lookups.late.len(), LATE_ANSWERS);
    }
}
