//! Networks of whole nodes in memory and in virtual time, for the tests of applications. With feature
//! `testing`.
//!
//! An application's reactor meets peers that come and go, messages that are late, networks that fall
//! apart. With real sockets each such test takes as long as the time that it is about, and finds what it is
//! to find now and then. Here a [`Network`] runs everything on the thread of the test: the switches decide
//! and behave as those that ship, for they are those that ship, with their event loops, peer exchange and
//! address books; only sockets, clocks and threads are simulated. An hour passes in milliseconds, and the
//! same seed makes the same things happen.
//!
//! What is different:
//! - A node is started with [`Network::add`] instead of [`SwitchBuilder::start`](crate::SwitchBuilder::start).
//! - Nothing happens unless the test lets time pass: [`Network::run_for`], [`Network::run_until`].
//! - Reactors' events wait in [`Reactor::events`](crate::Reactor::events), or are given to a function of the
//!   test, see [`Network::drive`].
//! - Calls that wait for the switch or for room answer [`WrongThread`](crate::WrongThread) on the thread
//!   that holds the network, for it would wait for itself; [`Network::call`] makes them.
//! - Nothing is encrypted, though both ends sign who they are. The lines carry what
//!   [`Network::latency`] and [`Network::delay`] say, and lose nothing, as TCP. Where nobody listens nobody
//!   answers either: a dial fails in [`dial_timeout`](crate::Config::dial_timeout).
//! - Peer exchange is on unless the configuration says otherwise, as everywhere: nodes that know of each other
//!   dial each other by themselves. A test about who is connected with whom sets
//!   [`pex`](crate::Config::pex) to `false`, and one that is to use it
//!   [`addr_book_strict`](crate::Config::addr_book_strict), where nodes have private addresses.
//! - The same things happen again only with the same keys ([`NodeKey::from_seed`](crate::NodeKey::from_seed)), and
//!   as long as no other thread has a say in it.
//! - A real [`Switch`](crate::Switch) on the same thread cannot be waited for as long as there is a network.
//!
//! ```
//! use std::time::Duration;
//! use tmp2p::{
//!     ChannelDescriptor, Config, Event, NodeInfo, NodeKey, ReactorSpec, Switch, testing::Network,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut network = Network::new(7);
//! let mut node = |name: &str, seed: u8| -> Result<_, Box<dyn std::error::Error>> {
//!     let info = NodeInfo::new("test-chain", name)?;
//!     let key = NodeKey::from_seed([seed; 32]);
//!     let mut builder = Switch::builder(Config::default(), key, info);
//!     let votes = builder.reactor(ReactorSpec::new("votes").channel(ChannelDescriptor::new(0x22)))?;
//!     Ok((network.add(builder)?, votes))
//! };
//! let (alice, from_alice) = node("alice", 1)?;
//! let (bob, at_bob) = node("bob", 2)?;
//! let peer = network.connect(alice, bob)?;
//!
//! // The network falls apart, and what is sent meanwhile waits.
//! network.partition(&[&[alice], &[bob]]);
//! peer.try_send(0x22, b"yes".to_vec())?;
//! let has_message = || at_bob.events().try_iter().any(|event| matches!(event, Event::Message(_)));
//! assert!(!network.run_until(Duration::from_secs(30), |_| has_message()));
//! network.heal();
//! assert!(network.run_until(Duration::from_secs(1), |_| has_message()));
//!
//! // A partition that lasts ends the session at both ends: nobody answers.
//! network.partition(&[&[alice], &[bob]]);
//! network.run_for(Duration::from_secs(3600));
//! assert!(network.switch(alice).peers().is_empty() && network.switch(bob).peers().is_empty());
//! # drop(from_alice);
//! # Ok(())
//! # }
//! ```

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "no byte of a network gets here, and a test that is wrong is to fail at once"
)]

pub(crate) mod dice;
pub(crate) mod faults;
mod kernel;
pub(crate) mod mangle;
pub(crate) mod net;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod sock;
pub(crate) mod sockets;
pub(crate) mod weather;

pub use network::{Network, NetworkClock, NodeIndex};
