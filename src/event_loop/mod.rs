//! The event loop: one thread that owns every socket from `connect` or `accept` to close, the
//! ciphers, the MConnections and their timers.
//!
//! [`LoopCore`] decides; `mio.rs` does. The loop never blocks but in its one poll: no name
//! resolution, no disk, no user code, no lock that slow code holds, no logging above trace (it
//! reports, the switch logs).

mod closing;
mod command;
mod conn;
mod core;
mod counts;
mod delivered;
mod gate;
mod handshaking;
mod inflow;
mod listener;
mod mailbox;
mod mio;
mod networks;
mod open;
mod outflow;
mod pending;
mod pool;
mod probe;
mod rates;
mod settings;
mod share;
#[cfg(test)]
mod siege;
mod sockets;
mod stall;
mod table;
mod telling;

pub(crate) use self::mio::start;
pub use self::mio::{ListenError, MioSockets, SocketOptions};
pub use command::{Command, Established, Report};
pub use core::LoopCore;
pub(crate) use counts::Counts;
pub use gate::GateSettings;
pub use mailbox::{Mailbox, Posts};
pub(crate) use networks::{around, networks};
pub(crate) use rates::{Buckets, Pace};
pub use settings::LoopSettings;
pub use sockets::{Inbox, LISTENER, Progress, Readiness, Sockets};
