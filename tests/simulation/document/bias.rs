//! How much new addresses are preferred to good ones.

use tmp2p::{Config, PexBias, internals::pex::PexRequest};

use crate::internet::{SECOND, addr, internet, quiet};

/// Addresses of each kind: as many, so that their weights depend on the bias alone.
const EACH: u64 = 300;

/// The share of new ones among what a node dials that has so many outbound peers, in per cent.
fn share_of_new(bias: &PexBias, peers: usize) -> f64 {
    shares(bias, peers, 0)
}

/// The same; people are told so often that the function is not as it should be.
fn shares(bias: &PexBias, peers: usize, notices: usize) -> f64 {
    let (mut new, mut all) = (0, 0);
    for seed in 0..12 {
        let mut world = internet(200 + seed);
        let config = Config {
            max_num_outbound_peers: peers + 60,
            pex_bias: bias.clone(),
            ..Config::default()
        };
        let node = world.join(config);
        for _ in 0..peers {
            let peer = world.join(quiet());
            world.dial(node, peer);
        }
        world.run_for(2 * SECOND);
        let is_new = |number| number < 1000 + EACH;
        let (told, good) = (1000..1000 + EACH, 1000 + EACH..1000 + 2 * EACH);
        world.tell_good(node, good.map(addr));
        world.tell(node, told.map(addr));
        let before = world.nodes[node].pex.dials.len();
        world.request(node, PexRequest::MorePeers);
        world.run_for(SECOND / 10);
        assert_eq!(world.nodes[node].pex.notices.len(), notices, "once");
        assert_eq!(world.nodes[node].switch.num_limited(tmp2p::Direction::Outbound), peers);
        for (_, dialed) in &world.nodes[node].pex.dials[before..] {
            let number = (1000..1000 + 2 * EACH).find(|n| addr(*n).id() == dialed.id());
            new += usize::from(is_new(number.expect("one of these")));
            all += 1;
        }
    }
    assert!(all > 500, "{all} dials tell little");
    100.0 * new as f64 / all as f64
}

#[test]
fn the_share_of_new_addresses_grows_with_the_number_of_outbound_peers() {
    let other = PexBias::new(|outbound| if outbound < 4 { 70 } else { 25 });
    for (bias, expected) in [
        (PexBias::default(), [10.0, 20.0, 30.0, 50.0, 90.0]),
        (other, [70.0, 70.0, 70.0, 25.0, 25.0]),
    ] {
        for (peers, expected) in [0, 1, 2, 4, 8].into_iter().zip(expected) {
            let share = share_of_new(&bias, peers);
            assert!((share - expected).abs() < 6.0, "{share:.1} % with {peers}, not {expected}");
        }
    }
}

#[test]
fn a_bias_that_is_no_percentage_is_clamped_and_one_that_panics_replaced() {
    let share = shares(&PexBias::new(|_| 180), 0, 1);
    assert_eq!(share, 100.0);
    let share = shares(&PexBias::new(|_| std::panic::resume_unwind(Box::new("no"))), 1, 1);
    assert!((share - 20.0).abs() < 6.0, "{share:.1} %");
}
