//! The event loop: one thread that owns every socket from `connect` or `accept` to close, the
//! ciphers, the MConnections and their timers.
//!
//! [`LoopCore`] decides, `driver/` does. The loop never blocks but in its one poll: no name
//! resolution, no disk, no user code, no lock that slow code holds, no logging above trace (it
//! reports, the switch logs).

mod busy_poll;
mod command;
mod conn;
mod core;
mod counters;
mod delivered;
mod door;
mod driver;
mod inbox;
mod listener;
mod ports;
mod settings;
mod spares;
mod table;

pub use crate::ban::BanTable;
use busy_poll::BusyPoll;
pub use command::{Command, Established, Report};
pub use core::LoopCore;
pub use counters::{Counters, EventLoopStatus};
pub use door::GateSettings;
pub(crate) use door::{Buckets, Counts, Pace, around, networks};
pub use driver::{ListenError, Mailbox, MioSockets, Posts, SocketOptions};
pub(crate) use driver::{LoopStart, StartedLoop, start};
pub use ports::{LISTENER, Readiness, Reports, Sockets};
pub use settings::LoopSettings;
