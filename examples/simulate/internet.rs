//! Where nodes are: many of them in the networks of few providers, the others all over.

use std::{collections::BTreeSet, net::SocketAddr};

use rand::{RngExt, rngs::StdRng};

/// Networks (/16) of providers, in which so many of a hundred nodes are.
const PROVIDERS: u32 = 20;
const OF_PROVIDERS: u32 = 40;

/// Addresses that are taken.
#[derive(Default)]
pub(crate) struct Internet(BTreeSet<[u8; 4]>);

impl Internet {
    /// An address of nobody else's, as likely in the network of a provider as a node is.
    pub(crate) fn somewhere(&mut self, rng: &mut StdRng) -> SocketAddr {
        let is_provider = rng.random_range(0..100) < OF_PROVIDERS;
        self.in_network(rng, |rng| match is_provider {
            true => [40, rng.random_range(0..PROVIDERS) as u8],
            // Neither private nor reserved.
            false => [rng.random_range(50..90), rng.random()],
        })
    }

    /// One in any network, no two of a small number in the same.
    pub(crate) fn anywhere(&mut self, rng: &mut StdRng) -> SocketAddr {
        self.in_network(rng, |rng| [rng.random_range(90..100), rng.random()])
    }

    /// One in this network (/16).
    pub(crate) fn within(&mut self, network: [u8; 2], rng: &mut StdRng) -> SocketAddr {
        self.in_network(rng, |_| network)
    }

    fn in_network(
        &mut self,
        rng: &mut StdRng,
        network: impl Fn(&mut StdRng) -> [u8; 2],
    ) -> SocketAddr {
        loop {
            let [a, b] = network(rng);
            let ip = [a, b, rng.random(), rng.random_range(1..255)];
            if self.0.insert(ip) {
                return SocketAddr::from((ip, 26656));
            }
        }
    }
}
