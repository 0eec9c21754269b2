//! Whole nodes in virtual time: the real cores (`LoopCore`, `SwitchCore`) of several nodes in one
//! thread, over simulated sockets that give and take what they like, with the delivery of
//! everything between them in random order. Only drivers are simulated; every decision is made by
//! the code that makes it in production.
//!
//! A failed test prints its seed; `TMP2P_SEED=<seed>` runs that one alone.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod churn;
// What the programs' news need of it.
#[path = "../../examples/common/text.rs"]
#[allow(dead_code, reason = "the programs use the rest")]
mod cli;
mod discovery;
mod document;
mod door;
mod endings;
mod guests;
mod internet;
mod invariants;
mod lifecycle;
mod liveness;
mod malformed;
mod meetings;
mod model;
mod node;
mod options;
mod parking;
mod pending;
mod persistent;
mod pex;
mod places;
mod pool;
mod quiet;
mod rates;
mod raw;
mod reactor;
mod reference;
mod refusals;
mod run;
mod schedule;
mod sending;
mod trouble;
mod turns;
mod world;

// Parts of the test kit, which applications have as `tmp2p::testing`.
use tmp2p::internals::testing::{dice, mangle, net, sockets, weather};
