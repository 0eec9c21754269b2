//! Who is banned: what the address book decides, and the event loop and the switch look up.

use std::{
    collections::BTreeMap, fmt, net::IpAddr, ops::Bound, str::FromStr, sync::Arc, time::SystemTime,
};

use serde::{Deserialize, Serialize};

use crate::{address::Cidr, identity::NodeId, text::shown};

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BanTarget {
    /// One node, wherever it is.
    Id(NodeId),
    /// One address, whoever is there. IPv4-mapped IPv6 addresses are the IPv4 addresses in them.
    Ip(IpAddr),
    /// A range of addresses.
    Cidr(Cidr),
}

/// Who imposed a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(rename_all = "snake_case")]
pub enum BanOrigin {
    /// A person or a program on this side, with [`SwitchHandle::ban`](crate::SwitchHandle::ban).
    Operator,
    /// The library, for misbehaviour that it saw. Always of a node: others would have to pay for one of
    /// an address.
    Automatic,
}

/// A ban: no connection with its target, in either direction, until it ends or is lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom it is for.
    pub target: BanTarget,
    /// When it ends, in the year 2262 at the latest; `None`: not by itself.
    pub until: Option<SystemTime>,
    /// Why, for people.
    pub reason: String,
    /// Who imposed it.
    pub origin: BanOrigin,
}

/// Every ban at one moment. Never changed: a new table is published instead, and readers keep the
/// one they have for as long as they look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BanTable {
    ids: BTreeMap<NodeId, Ban>,
    ips: BTreeMap<IpAddr, Ban>,
    /// Only an operator adds ranges, and may have lists of 50,000 of them: a table that differs in a
    /// node or an address shares them.
    cidrs: Arc<Ranges>,
}

/// Bans of ranges. Two ranges are apart, or one lies within the other: who knows for each the
/// narrowest one around it finds all that cover an address by one search. Behind pointers, so that
/// what is searched is small and a copy of the table copies no texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(BTreeMap<Cidr, Arc<Range>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    ban: Ban,
    /// **Invariant:** the narrowest of the other ranges that this one lies within.
    within: Option<Cidr>,
}

impl Ban {
    /// Whether it holds at this time.
    pub fn is_in_force(&self, wall: SystemTime) -> bool {
        self.until.is_none_or(|until| wall < until)
    }
}

impl BanTable {
    /// The ban in force for this node, if any.
    pub fn find_id(&self, id: &NodeId, wall: SystemTime) -> Option<&Ban> {
        self.ids.get(id).filter(|ban| ban.is_in_force(wall))
    }

    /// The ban in force for this address, if any: its own, or that of the narrowest range. A search
    /// or two, however many bans there are.
    pub fn find_ip(&self, ip: IpAddr, wall: SystemTime) -> Option<&Ban> {
        let ip = ip.to_canonical();
        let own = self.ips.get(&ip).filter(|ban| ban.is_in_force(wall));
        own.or_else(|| self.cidrs.find(ip, wall))
    }

    /// The ban of exactly this target, in force or not.
    pub fn get(&self, target: &BanTarget) -> Option<&Ban> {
        match target {
            BanTarget::Id(id) => self.ids.get(id),
            BanTarget::Ip(ip) => self.ips.get(ip),
            BanTarget::Cidr(cidr) => self.cidrs.0.get(cidr).map(|range| &range.ban),
        }
    }

    /// Every ban, nodes first, then addresses, then ranges.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        let ranges = self.cidrs.0.values().map(|range| &range.ban);
        self.ids.values().chain(self.ips.values()).chain(ranges)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len() + self.ips.len() + self.cidrs.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the ban, in place of an earlier one of the same target.
    pub(crate) fn insert(&mut self, ban: Ban) {
        match ban.target {
            BanTarget::Id(id) => _ = self.ids.insert(id, ban),
            BanTarget::Ip(ip) => _ = self.ips.insert(ip, ban),
            BanTarget::Cidr(cidr) => Arc::make_mut(&mut self.cidrs).insert(cidr, ban),
        }
    }

    /// Takes the ban of exactly this target out.
    pub(crate) fn remove(&mut self, target: &BanTarget) -> Option<Ban> {
        match target {
            BanTarget::Id(id) => self.ids.remove(id),
            BanTarget::Ip(ip) => self.ips.remove(ip),
            BanTarget::Cidr(cidr) => Arc::make_mut(&mut self.cidrs).remove(cidr),
        }
    }
}

impl Ranges {
    /// The narrowest range with a ban in force that this canonical address lies in.
    fn find(&self, ip: IpAddr, wall: SystemTime) -> Option<&Ban> {
        // Whatever covers the address begins before it, and is the last that does or around that.
        let last = self.0.range(..=Cidr::from(ip)).next_back().map(|(cidr, _)| *cidr);
        self.around(last)
            .find(|(cidr, range)| cidr.contains(ip) && range.ban.is_in_force(wall))
            .map(|(_, range)| &range.ban)
    }

    /// This range, then those around it, from the narrowest on.
    fn around(&self, from: Option<Cidr>) -> impl Iterator<Item = (&Cidr, &Range)> {
        let at = |cidr: Cidr| self.0.get_key_value(&cidr).map(|(cidr, range)| (cidr, &**range));
        std::iter::successors(from.and_then(at), move |(_, range)| range.within.and_then(at))
    }

    fn insert(&mut self, cidr: Cidr, ban: Ban) {
        if let Some(range) = self.0.get_mut(&cidr) {
            Arc::make_mut(range).ban = ban;
            return;
        }
        let last = self.0.range(..cidr).next_back().map(|(cidr, _)| *cidr);
        let within = self.around(last).find(|(around, _)| around.covers(&cidr)).map(|(c, _)| *c);
        self.move_inner(cidr, within, Some(cidr));
        self.0.insert(cidr, Arc::new(Range { ban, within }));
    }

    fn remove(&mut self, cidr: &Cidr) -> Option<Ban> {
        let Range { ban, within } = Arc::unwrap_or_clone(self.0.remove(cidr)?);
        self.move_inner(*cidr, Some(*cidr), within);
        Some(ban)
    }

    /// The ranges inside of this one that were next to `from` are next to `to` from now on.
    fn move_inner(&mut self, outer: Cidr, from: Option<Cidr>, to: Option<Cidr>) {
        let behind = self.0.range_mut((Bound::Excluded(outer), Bound::Unbounded));
        for (_, inner) in behind.take_while(|(cidr, _)| outer.covers(cidr)) {
            if inner.within == from {
                Arc::make_mut(inner).within = to;
            }
        }
    }
}

impl FromIterator<Ban> for BanTable {
    /// Of several bans of one target the last one counts.
    fn from_iter<T: IntoIterator<Item = Ban>>(bans: T) -> Self {
        let mut table = Self::default();
        bans.into_iter().for_each(|ban| table.insert(ban));
        table
    }
}

impl From<NodeId> for BanTarget {
    fn from(id: NodeId) -> Self {
        Self::Id(id)
    }
}

impl From<IpAddr> for BanTarget {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl From<Cidr> for BanTarget {
    /// A range of one address is that address.
    fn from(cidr: Cidr) -> Self {
        cidr.as_single().map_or(Self::Cidr(cidr), Self::Ip)
    }
}

/// The text is no ID, IP address or range.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no node ID, IP address or range of addresses; write 40 hex digits, 1.2.3.4 or 1.2.3.0/24"
)]
pub struct BanTargetError(String);

crate::text::readable_debug!(BanTargetError);

impl FromStr for BanTarget {
    type Err = BanTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse::<NodeId>() {
            return Ok(id.into());
        }
        let cidr = text.parse::<Cidr>().map_err(|_| BanTargetError(shown(text)))?;
        Ok(cidr.into())
    }
}

impl fmt::Display for BanTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Cidr(cidr) => cidr.fmt(f),
        }
    }
}

crate::text::as_text!(BanTarget);

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn ban(cidr: Cidr, is_over: bool) -> Ban {
        let until = is_over.then_some(NOW);
        let (reason, origin) = (String::new(), BanOrigin::Operator);
        Ban { target: BanTarget::Cidr(cidr), until, reason, origin }
    }

    /// A range of few addresses, so that many lie within others.
    fn range() -> impl Strategy<Value = Cidr> {
        let v4 = (0u32..64, 24u8..=31).prop_map(|(n, prefix)| (IpAddr::V4((n * 8).into()), prefix));
        let v6 = (0u128..64, 116u8..=127)
            .prop_map(|(n, prefix)| (IpAddr::V6(((0x2001 << 112) + n * 64).into()), prefix));
        prop_oneof![v4, v6].prop_map(|(ip, prefix)| Cidr::new(ip, prefix).unwrap())
    }

    proptest! {
        #[test]
        fn ranges_are_found_as_if_each_was_looked_at(
            steps in vec((range(), any::<bool>(), 0u8..4), 0..60),
        ) {
            let mut table = BanTable::default();
            let mut all: BTreeMap<Cidr, Ban> = BTreeMap::new();
            for (cidr, is_over, kind) in steps {
                if kind == 0 {
                    prop_assert_eq!(table.remove(&BanTarget::Cidr(cidr)), all.remove(&cidr));
                } else {
                    table.insert(ban(cidr, is_over));
                    all.insert(cidr, ban(cidr, is_over));
                }
                prop_assert!(table.iter().eq(all.values()));
            }
            let v4 = (0..600u32).map(|n| IpAddr::V4(n.into()));
            let v6 = (0..5000u128).step_by(7).map(|n| IpAddr::V6(((0x2001 << 112) + n).into()));
            for ip in v4.chain(v6) {
                let covers = |(cidr, ban): &(&Cidr, &Ban)| cidr.contains(ip) && ban.is_in_force(NOW);
                // Of ranges around one address the narrowest is the last.
                let expected = all.iter().rfind(covers).map(|(_, ban)| ban);
                prop_assert_eq!(table.find_ip(ip, NOW), expected, "{}", ip);
            }
        }
    }

    #[test]
    fn a_table_that_differs_in_a_node_shares_its_ranges() {
        let cidr = "1.2.3.0/24".parse().unwrap();
        let first: BanTable = [ban(cidr, false)].into_iter().collect();
        let mut second = first.clone();
        let target = NodeId::from_bytes([1; 20]).into();
        second.insert(Ban { target, ..ban(cidr, false) });
        assert!(Arc::ptr_eq(&first.cidrs, &second.cidrs));
    }
}
