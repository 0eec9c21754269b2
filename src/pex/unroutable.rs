//! Addresses of a private network, which a strict book does not take.

use std::time::Duration;

use crate::time::Mono;

/// Time until it is said again that nothing of what was told is routable.
const PERIOD: Duration = Duration::from_secs(3600);

/// How many addresses the book did not take because they are not routable, of those that say something of
/// the network that we are in. An operator who has a strict book on a private network finds nobody, and
/// is to be told why.
#[derive(Debug, Default)]
pub(super) struct Unroutable {
    count: u64,
    /// When it may be said again.
    next: Mono,
}

impl Unroutable {
    /// One was told.
    pub(super) fn heard(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// A round of looking for peers. How many it were, if that is to be said: since it was said last, or
    /// since the book had somebody. Then what it has not taken before is no matter.
    pub(super) fn look(&mut self, is_book_empty: bool, now: Mono) -> Option<u64> {
        if !is_book_empty {
            self.count = 0;
        }
        if self.count == 0 || now < self.next {
            return None;
        }
        self.next = now + PERIOD;
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        address::NetAddress,
        config::Config,
        drive::Core,
        identity::NodeId,
        ids::ConnId,
        origin::Purpose,
        pex::{
            PeerFacts, PexCore, PexInput, PexMessage, PexNotice, PexOutput, PexRequest,
            core::tests::{at, outputs, started},
        },
        time::Now,
    };
    use std::time::Duration;

    /// A peer that comes from one address and announces another one; we have dialed it for this.
    fn up(
        core: &mut PexCore,
        remote: NetAddress,
        announced: NetAddress,
        purpose: Option<Purpose>,
    ) -> ConnId {
        let facts =
            PeerFacts { announced: Some(announced), ..PeerFacts::for_test(remote, purpose) };
        let conn = facts.conn;
        core.handle_input(PexInput::PeerUp(facts), at(0));
        conn
    }

    fn dialed(core: &mut PexCore, purpose: Purpose) -> ConnId {
        let addr = NetAddress::new(NodeId::from_bytes([1; 20]), [50, 1, 1, 1].into(), 26656);
        up(core, addr, addr, Some(purpose))
    }

    /// The others of a private network, as this peer tells of them.
    fn tell_private(core: &mut PexCore, conn: ConnId, now: Now) {
        let private =
            |n: u8| NetAddress::new(NodeId::from_bytes([n + 100; 20]), [10, 0, 0, n].into(), 26656);
        let payload = PexMessage::Addrs((1..=27).map(private).collect()).encode().into();
        core.handle_input(PexInput::Message { conn, payload }, now);
    }

    /// What is said in this minute and the ones after it that nothing told is routable.
    fn none_routable(
        core: &mut PexCore,
        minutes: std::ops::RangeInclusive<u32>,
    ) -> Vec<(u32, u64)> {
        let look = |minutes| {
            let after = Duration::from_secs(60) * minutes;
            core.handle_input(
                PexInput::Timeout,
                Now { mono: at(0).mono + after, wall: at(0).wall + after },
            );
            let told = outputs(core).into_iter().filter_map(|output| match output {
                PexOutput::Notice(PexNotice::NoneRoutable(count)) => Some((minutes, count)),
                _ => None,
            });
            told.collect::<Vec<_>>()
        };
        minutes.flat_map(look).collect()
    }

    /// Nobody whom it has dialed is in the book any more.
    fn forget_all(core: &mut PexCore) {
        for id in core.book().iter().map(|known| known.addr.id()).collect::<Vec<_>>() {
            let (duration, reason) = (Duration::from_secs(1 << 30), "gone".to_owned());
            let request = PexRequest::MarkBad { id, addr: None, duration, reason };
            core.handle_input(PexInput::Request(request), at(0));
        }
        outputs(core);
    }

    /// A private network in which nobody has set `addr_book_strict = false`: nobody was found, and
    /// nothing was said.
    #[test]
    fn a_strict_book_on_a_private_network_is_told_once_an_hour() {
        let seed = format!("{}@50.1.1.1:26656", NodeId::from_bytes([1; 20])).parse().unwrap();
        let config = Config { seeds: vec![seed], ..Config::default() };
        let mut core = started(&config);
        let conn = dialed(&mut core, Purpose::Seed);
        forget_all(&mut core);
        tell_private(&mut core, conn, at(0));
        assert_eq!(none_routable(&mut core, 1..=1), [(1, 27)]);
        (0..5).for_each(|_| core.unroutable.heard());
        assert_eq!(none_routable(&mut core, 2..=130), [(61, 5)]);
    }

    /// The fault: strangers could have an operator switch off what protects the book, and what they had
    /// said was counted for ever.
    #[test]
    fn strangers_do_not_make_a_network_private() {
        for is_forgotten in [false, true] {
            let mut core = started(&Config::default());
            let conn = dialed(&mut core, Purpose::Peers);
            if is_forgotten {
                forget_all(&mut core);
            }
            tell_private(&mut core, conn, at(0));
            for (n, remote) in [(2, [50, 2, 1, 1]), (3, [10, 0, 0, 3])] {
                let id = NodeId::from_bytes([n; 20]);
                let addr = |ip: [u8; 4]| NetAddress::new(id, ip.into(), 26656);
                up(&mut core, addr(remote), addr([10, 0, 0, n]), None);
                outputs(&mut core);
            }
            // One who comes from such an address is of such a network.
            let expected: &[(u32, u64)] = if is_forgotten { &[(1, 1)] } else { &[] };
            assert_eq!(none_routable(&mut core, 1..=1), expected);
            // Nor what was told while the book had somebody.
            forget_all(&mut core);
            assert_eq!(none_routable(&mut core, 2..=130), []);
        }
    }
}
