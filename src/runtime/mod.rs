//! The public face: building a switch, its owner, and the handle that everybody else holds. The
//! only module that knows all others; it starts the threads and joins them.

mod book;
mod builder;
mod control;
mod descriptors;
mod handle;
mod spec;
mod start;
mod switch;

pub use book::ImportBookError;
pub use builder::SwitchBuilder;
pub use control::{BanManyError, DialPeersError};
pub use handle::{DialTicket, NumPeers, SwitchHandle};
pub use spec::ReactorSpec;
pub use start::StartError;
#[cfg(feature = "testing")]
pub(crate) use start::{Assembled, Ground};
pub use switch::{StopError, StopReport, Switch};
