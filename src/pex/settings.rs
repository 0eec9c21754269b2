//! What peer exchange has to know.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    address::PeerAddress,
    config::{Config, PexBias},
    identity::NodeId,
};

/// The configuration of peer exchange.
#[derive(Clone, Debug)]
pub struct PexSettings {
    /// See `Config::pex`: without it only the book is kept.
    pub is_enabled: bool,
    /// See `Config::seed_mode`.
    pub is_seed: bool,
    /// See `Config::seeds`.
    pub seeds: Vec<PeerAddress>,
    /// Whose standing the configuration says.
    pub standings: Standings,
    /// See `Config::pex_bias`.
    pub bias: PexBias,
    /// See `Config::max_num_outbound_peers`.
    pub max_num_outbound_peers: usize,
    /// See `Config::ensure_peers_period`.
    pub ensure_peers_period: Duration,
    /// See `Config::pex_request_interval`.
    pub request_interval: Duration,
    /// See `Config::pex_ban_time`.
    pub ban_time: Duration,
    /// See `Config::pex_abuse_ban_time`.
    pub abuse_ban_time: Duration,
    /// See `Config::good_after`.
    pub good_after: Duration,
    /// See `Config::crawl_concurrency`.
    pub crawl_concurrency: usize,
    /// See `Config::crawl_period`.
    pub crawl_period: Duration,
    /// See `Config::crawl_timeout`.
    pub crawl_timeout: Duration,
    /// See `Config::seed_disconnect_wait_period`.
    pub seed_disconnect_wait_period: Duration,
}

#[expect(clippy::arithmetic_side_effects, reason = "what times are divided by stands here")]
impl PexSettings {
    /// What of the configuration concerns it.
    pub fn of(config: &Config) -> Self {
        Self {
            is_enabled: config.pex,
            is_seed: config.seed_mode,
            seeds: without_doubles(&config.seeds),
            standings: Standings {
                persistent: config.persistent_peers.iter().map(PeerAddress::id).collect(),
                unconditional: config.unconditional_peer_ids.iter().copied().collect(),
            },
            bias: config.pex_bias.clone(),
            max_num_outbound_peers: config.max_num_outbound_peers,
            ensure_peers_period: config.ensure_peers_period,
            request_interval: config.pex_request_interval,
            ban_time: config.pex_ban_time,
            abuse_ban_time: config.pex_abuse_ban_time,
            good_after: config.good_after,
            crawl_concurrency: config.crawl_concurrency,
            crawl_period: config.crawl_period,
            crawl_timeout: config.crawl_timeout,
            seed_disconnect_wait_period: config.seed_disconnect_wait_period,
        }
    }

    /// Least time between two requests of a peer that are answered (`p2p/pex/pex_reactor.go`,
    /// `minReceiveRequestInterval`).
    pub(super) fn receive_interval(&self) -> Duration {
        self.ensure_peers_period / 3
    }

    /// What the pause after a failed dial is doubled from: 1 s where peers are ensured every 30 s
    /// (`p2p/pex/pex_reactor.go`, `dialPeer`).
    pub(super) fn backoff_unit(&self) -> Duration {
        self.ensure_peers_period / 30
    }

    /// How long a dialed peer must stay, unless it sends something before, to count as reached: a
    /// node without room refuses after the handshake.
    pub(super) fn proven_after(&self) -> Duration {
        self.ensure_peers_period / 3
    }
}

/// Persistent and unconditional nodes, as configured and as changed since.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// The switch dials them; their addresses are never bad.
    pub persistent: BTreeSet<NodeId>,
    /// They are admitted whatever the limits.
    pub unconditional: BTreeSet<NodeId>,
}

impl Standings {
    /// Whether the switch dials the node.
    pub(super) fn is_persistent(&self, id: &NodeId) -> bool {
        self.persistent.contains(id)
    }

    /// Whether the node has a place of its own: no decision of a machine ends its session or keeps
    /// it out.
    pub(super) fn is_reserved(&self, id: &NodeId) -> bool {
        self.persistent.contains(id) || self.unconditional.contains(id)
    }
}

/// Each once: who is listed twice is not to be dialed twice.
fn without_doubles(list: &[PeerAddress]) -> Vec<PeerAddress> {
    let mut seeds: Vec<PeerAddress> = Vec::new();
    for seed in list {
        if !seeds.contains(seed) {
            seeds.push(seed.clone());
        }
    }
    seeds
}
