//! The switch: which connections become sessions, what reactors are told of them, what is dialed.
//!
//! [`SwitchCore`] decides; the thread `p2p-switch` performs what it decides and logs it. It never
//! touches a socket, and never waits for anything but its own inputs.

mod admission;
mod attempt;
mod backoff;
mod control;
mod core;
mod decision;
mod dialing;
mod event;
pub mod evicting;
mod filter;
mod inbound_eviction;
mod lineup;
mod log;
mod lookup;
mod message;
mod metrics;
mod network;
mod pacing;
mod peer_set;
mod persistent;
mod reconnect;
mod resolver;
mod state;
mod subscribers;
mod thread;
mod timer;

pub use self::log::{Line, Log};
pub use crate::{
    origin::{Origin, Purpose},
    reply::{Answer, Kept, Reply},
};
pub use admission::verdict_timeout;
pub use core::{ReactorSettings, SwitchCore, SwitchSettings};
pub use decision::{Decision, Filter, Later, Verdict};
pub use event::{StopReason, SwitchEvent};
pub use filter::Candidate;
pub use lineup::{Hook, Lineup};
pub use message::{
    Control, ControlError, DialError, Dialed, Input, Notice, Output, Request, ResolveRequest,
    Resolved,
};
pub use metrics::Metrics;
pub(crate) use resolver::{Busy, ResolverPool};
pub use resolver::{Resolver, SystemResolver};
pub use state::{ConnectionState, Limits, PeerState, StateCounts};
pub(crate) use thread::{Notices, Shared, SwitchThread, ToSwitch};
