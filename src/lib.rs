//! The peer-to-peer layer of Tendermint v0.34 and CometBFT: authenticated, encrypted connections
//! between the nodes of a chain, on which *reactors* exchange messages over prioritised channels.
//! Same bytes on the wire as the original; ordinary threads and blocking calls, no async runtime.
//!
//! # Quick start
//! Two nodes in one process, one dials the other. A node has an identity (a key), tells others what
//! it is ([`NodeInfo`]), and gives each of its reactors a receiver of [`Event`]s.
//!
//! ```
//! use std::time::Duration;
//! use tmp2p::{
//!     ChannelDescriptor, Config, Event, NodeInfo, NodeKey, Reactor, ReactorSpec, Switch,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = |moniker: &str| -> Result<(Switch, Reactor), Box<dyn std::error::Error>> {
//!     let info = NodeInfo::new("test-chain", moniker)?;
//!     let mut builder = Switch::builder(Config::default(), NodeKey::generate(), info);
//!     let echo = builder.reactor(ReactorSpec::new("echo").channel(ChannelDescriptor::new(0x70).priority(5)))?;
//!     Ok((builder.start()?, echo))
//! };
//! let (alice, a) = node("alice")?;
//! let (bob, b) = node("bob")?;
//! alice.handle().dial(bob.handle().peer_address().expect("it listens")).wait()?;
//! for event in b.events() { // also ends when the switch stops
//!     if let Event::PeerUp(peer) = event { peer.try_send(0x70, b"hello".to_vec())?; break; }
//! }
//! for event in a.events() {
//!     if let Event::Message(m) = event { println!("{}: {} bytes", m.peer().id(), m.payload().len()); break; }
//! }
//! alice.stop(Duration::from_secs(5))?;
//! bob.stop(Duration::from_secs(5))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! Three per switch, however many peers there are. Up to four more resolve host names if any are dialed,
//! and one, `p2p-store`, writes if the book is stored. What they tell reactors comes on a plain
//! [`crossbeam_channel::Receiver`], so that a reactor is a loop on a thread of its own and `select!` works.
//!
//! ```text
//!   your threads                      p2p-switch                    p2p-loop
//!  ┌──────────────┐  dial, stop    ┌────────────────┐  commands   ┌──────────────────┐
//!  │ SwitchHandle ├───────────────►│ who may be a   ├────────────►│ every socket,    │
//!  │              │                │ peer, what is  │◄────────────┤ cipher and timer │◄──► peers
//!  └──────────────┘                │ dialed, init   │   reports   │ (mio)            │
//!  ┌──────────────┐ PeerUp,        │ hooks          │             │                  │
//!  │   Reactor    │◄───PeerDown────┤                │             │                  │
//!  │  (a receiver │                └─┬─────┬────▲───┘             │                  │
//!  │  of events)  │   p2p-resolver ◄─┘     │    │ dials, bans     │                  │
//!  │              │   (≤ 4: names)         ▼    │                 │                  │
//!  │              │                ┌────────────┴───┐    bans     │                  │
//!  │    Peer      ├── good, bad ──►│ p2p-pex: book, ├────────────►│                  │
//!  │              │                │ peer exchange  │             │                  │
//!  │              │                └───────┬────────┘             │                  │
//!  │              │                        ▼ changes              │                  │
//!  │              │                    p2p-store ──► disk         │                  │
//!  │              │◄────────────────── Message, Writable ─────────┤                  │
//!  │              ├──────────────────── send queues ─────────────►│                  │
//!  └──────────────┘                                               └──────────────────┘
//! ```
//!
//! The thread `p2p-loop` never waits for anything but its sockets, and `p2p-switch` never touches
//! one. Calls that may block answer `WrongThread` on these threads (in an init hook or a filter).
//!
//! # The path of a message
//! ```text
//! Peer::send ► send queue of (peer, channel) ► packet of the channel whose turn it is ► sealed frame ► socket
//! socket ► opened frame ► packets ► message, reassembled ► budget of (peer, reactor) ► Envelope
//! ```
//!
//! *Out:* [`Peer::send`] waits for a place in the queue, [`Peer::try_send`] says
//! [`Full`](SendErrorKind::Full) and [`Event::Writable`] follows,
//! [`broadcast`](SwitchHandle::broadcast) queues with everybody and tells each outcome. Channels
//! share a connection packet by packet, by priority; what is sealed can no longer be overtaken, so
//! sealing comes last.
//!
//! *In:* an [`Envelope`] holds its bytes against what this peer may have delivered to this reactor
//! ([`Config::reactor_budget`]) until it is dropped or its payload taken. When that is spent,
//! messages wait in order, up to [`Config::parking_per_peer`]; then this peer, and only this one,
//! is not read. Nothing is dropped, and memory is bounded, see [`Config`].
//!
//! Each reactor sees, per session, exactly: its init hook, [`Event::PeerUp`], messages,
//! [`Event::PeerDown`] with the [reason](DisconnectReason).
//!
//! # Who may connect
//! [`Config`] limits how many peers there are, how many share an address, and how fast strangers
//! may come; [`Config::persistent_peers`] and [`Config::unconditional_peer_ids`] have places of
//! their own. [`SwitchBuilder::connection_filter`] and [`SwitchBuilder::peer_filter`] ask the
//! application. [`SwitchHandle::ban`] keeps a node, an address or a range out.
//!
//! # Finding peers
//! With [`Config::pex`] the switch keeps [`Config::max_num_outbound_peers`] peers by itself, from
//! its address book, its peers and [`Config::seeds`]; [`Config::pex_bias`] says how much it prefers
//! addresses that nobody has vetted. Without peers a seed is dialed in every round, however many
//! addresses the book holds that nobody is at any more. The book is in memory, in a database
//! ([`Config::addr_book_file`]) or in a [`BookStore`] of the application. A seed
//! ([`Config::seed_mode`]) crawls the network instead and hands out what it has reached.
//!
//! # What reactors say of peers
//! The switch sees connections; what a peer is worth only reactors know, and they say so:
//! - [`Peer::mark_good`]: it is of use. Its address has a place among the proven ones, and is bad no
//!   more. Without a word a peer that was dialed is good after [`Config::good_after`].
//! - [`Peer::mark_bad`]: its address is not dialed and not told to others for so long, however long
//!   the session goes on. [`Peer::stop`] ends that, and [`SwitchHandle::ban`] keeps the node out.
//! - [`SwitchHandle::request_more_peers`]: the peers that there are get the application nowhere.
//!   Others are looked for at once; where there are as many as may be, one more takes the place of
//!   the one that is needed least, which is nobody called good while there is another.
//!
//! The last verdict counts. A persistent peer is never bad.
//!
//! # States and events
//! A node is a *candidate* (known and not connected), *dialing*, *connected*, *reconnecting*
//! (persistent, between two attempts), *bad* or *banned*, see [`ConnectionState`].
//! [`SwitchHandle::peer_states`] tells what is known of each, [`SwitchHandle::state_counts`] how many
//! there are, and [`SwitchHandle::candidates`] gives all candidates, page by page. Each change but
//! that of who is in the book is a [`SwitchEvent`], to be had from [`SwitchHandle::subscribe`].
//!
//! # Logging
//! Lines go to the [`log`](https://docs.rs/log) crate with one of two targets, which stay the same
//! wherever the code is: `p2p`, and `pex` for what peer exchange has to say. A logger that filters by
//! target takes these two, as in `RUST_LOG=p2p=debug,pex=info`. At `info` and above are lines for an
//! operator, some a minute at most whatever strangers do; at `debug` each dial and refusal; at `trace`
//! each message.
//!
//! # Parts by themselves
//! [`secret`] is the secret connection and [`mconn`] the multiplexed one, as machines without sockets
//! and threads, for who needs nothing else of a node.
#![forbid(unsafe_code)]
// A panic of ours is a node that is gone. Where code could panic all the same, an `expect` of the lint says
// why it does not. Sums are looked at where peers have a say in the numbers, by a line in those modules.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

mod addrbook;
mod address;
mod ban;
mod channel;
mod clock;
mod config;
mod deadlines;
mod drive;
mod event_loop;
mod folder;
mod guard;
mod identity;
mod ids;
pub mod mconn;
mod node_info;
mod origin;
mod payload;
mod pex;
mod protocol;
mod reactor;
mod refused;
mod reply;
mod runtime;
pub mod secret;
mod switch;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod thread;
mod time;
mod wake;

#[cfg(feature = "sqlite")]
pub use addrbook::SqliteStore;
pub use addrbook::json::{ImportError, MAX_FILE as MAX_ADDRBOOK_SIZE};
pub use addrbook::{
    AddError, BadAddress, BadCause, BanError, BookKey, BookStore, History, ImportReport,
    KnownAddress, MemoryStore, NewBuckets, Placement, StoreBatch, StoreError, StoredBook,
    UnbanError, Unstored,
};
pub use address::{AddressError, Cidr, CidrError, Host, ListenAddress, NetAddress, PeerAddress};
pub use ban::{Ban, BanOrigin, BanTarget, BanTargetError};
pub use channel::{ChannelDescriptor, DEFAULT_RECV_MESSAGE_CAPACITY};
pub use config::{Config, ConfigError, PexBias};
pub use crossbeam_channel;
pub use event_loop::{EventLoopStatus, ListenError};
pub use identity::{BadSignature, NodeId, NodeIdError, NodeKey, NodeKeyError, PublicKey};
pub use ids::{ChannelId, ConnId, Direction};
pub use node_info::{Incompatible, MAX_NODE_INFO_SIZE, NodeInfo, NodeInfoError};
pub use origin::{Origin, Purpose};
pub use payload::Payload;
pub use pex::{BookEntry, BookState, BookView, Candidates};
pub use protocol::LinkError;
pub use reactor::{
    Blame, BroadcastHandle, ChannelStatus, DisconnectReason, Envelope, Event, LocalFault,
    MessageTypeStatus, Peer, PeerStatus, Reactor, RegisterError, Room, SendError, SendErrorKind,
    SendOutcomes,
};
pub use refused::{Stopped, WrongThread};
pub use runtime::{
    BanManyError, DialPeersError, DialTicket, ImportBookError, NumPeers, ReactorSpec, StartError,
    StopError, StopReport, Switch, SwitchBuilder, SwitchHandle,
};
#[doc(inline)]
pub use switch::evicting;
pub use switch::{
    Candidate, ConnectionState, ControlError, Decision, DialError, Later, Limits, Metrics,
    PeerState, Resolver, StateCounts, StopReason, SwitchEvent, SystemResolver, Verdict,
};

/// What the crate's own tests, benches and fuzz targets drive: cores, links, parsers. No part of the
/// public face, and changed without notice.
#[doc(hidden)]
pub mod internals {
    pub mod addrbook {
        pub use crate::addrbook::*;
    }
    pub mod drive {
        pub use crate::drive::*;
    }
    pub mod event_loop {
        pub use crate::event_loop::*;
    }
    pub mod pex {
        pub use crate::pex::*;
    }
    pub mod protocol {
        pub use crate::protocol::*;
    }
    pub mod reactor {
        pub use crate::reactor::*;
    }
    pub mod switch {
        pub use crate::switch::*;
    }
    #[cfg(feature = "testing")]
    pub mod testing {
        pub mod dice {
            pub use crate::testing::dice::*;
        }
        pub mod mangle {
            pub use crate::testing::mangle::*;
        }
        pub mod net {
            pub use crate::testing::{net::*, sock::SockId};
        }
        pub mod sockets {
            pub use crate::testing::sockets::*;
        }
        pub mod weather {
            pub use crate::testing::weather::*;
        }
        pub use crate::testing::{network::by_hand, node::agreement};
    }
    pub mod time {
        pub use crate::time::*;
    }
    pub mod wake {
        pub use crate::wake::*;
    }
}

// The README's examples are run as tests, too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
