//! The public face: building a switch, its owner, and the handle that everybody else holds. The
//! only module that knows all others; it starts the threads and joins them.

mod book;
mod builder;
mod control;
mod descriptors;
mod handle;
mod start;
mod switch;

pub use book::ImportBookError;
pub use builder::{Reactor, RegisterError, SwitchBuilder};
pub use control::{BanManyError, DialPeersError};
pub use handle::{DialError, DialTicket, NumPeers, Stopped, SwitchHandle};
pub use start::StartError;
pub use switch::{StopError, StopReport, Switch};
