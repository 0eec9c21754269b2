//! Who is banned: what the address book decides, and the event loop and the switch look up.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr, time::Duration};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BanOrigin {
    /// A person or a program on this side, with [`SwitchHandle::ban`](crate::SwitchHandle::ban).
    Operator,
    /// The library, for misbehaviour that it saw. Never for a range of addresses.
    Automatic,
}

/// A ban: no connection with its target, in either direction, until it ends or is lifted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom it is for.
    pub target: BanTarget,
    /// When it ends, since the Unix epoch; `None`: not by itself.
    pub until: Option<Duration>,
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
    /// Looked through one by one: only an operator adds ranges.
    cidrs: BTreeMap<Cidr, Ban>,
}

impl Ban {
    /// Whether it holds at this time since the Unix epoch.
    pub fn is_in_force(&self, wall: Duration) -> bool {
        self.until.is_none_or(|until| wall < until)
    }
}

impl BanTable {
    /// The ban in force for this node, if any.
    pub fn find_id(&self, id: &NodeId, wall: Duration) -> Option<&Ban> {
        self.ids.get(id).filter(|ban| ban.is_in_force(wall))
    }

    /// The ban in force for this address, if any: its own or that of a range.
    pub fn find_ip(&self, ip: IpAddr, wall: Duration) -> Option<&Ban> {
        let ip = ip.to_canonical();
        let own = self.ips.get(&ip).filter(|ban| ban.is_in_force(wall));
        own.or_else(|| {
            let covers = |ban: &&Ban| match &ban.target {
                BanTarget::Cidr(cidr) => cidr.contains(ip) && ban.is_in_force(wall),
                BanTarget::Id(_) | BanTarget::Ip(_) => false,
            };
            self.cidrs.values().find(covers)
        })
    }

    /// The ban of exactly this target, in force or not.
    pub fn get(&self, target: &BanTarget) -> Option<&Ban> {
        match target {
            BanTarget::Id(id) => self.ids.get(id),
            BanTarget::Ip(ip) => self.ips.get(ip),
            BanTarget::Cidr(cidr) => self.cidrs.get(cidr),
        }
    }

    /// Every ban, nodes first, then addresses, then ranges.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.ids.values().chain(self.ips.values()).chain(self.cidrs.values())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len() + self.ips.len() + self.cidrs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the ban, in place of an earlier one of the same target.
    pub(crate) fn insert(&mut self, ban: Ban) {
        match ban.target {
            BanTarget::Id(id) => self.ids.insert(id, ban),
            BanTarget::Ip(ip) => self.ips.insert(ip, ban),
            BanTarget::Cidr(cidr) => self.cidrs.insert(cidr, ban),
        };
    }

    /// Takes the ban of exactly this target out.
    pub(crate) fn remove(&mut self, target: &BanTarget) -> Option<Ban> {
        match target {
            BanTarget::Id(id) => self.ids.remove(id),
            BanTarget::Ip(ip) => self.ips.remove(ip),
            BanTarget::Cidr(cidr) => self.cidrs.remove(cidr),
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no node ID, IP address or range of addresses; write 40 hex digits, 1.2.3.4 or 1.2.3.0/24"
)]
pub struct BanTargetError(String);

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
