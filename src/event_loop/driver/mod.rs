//! What does: the only files of the event loop that know mio, threads, locks and clocks.

mod mailbox;
mod mio;

pub(crate) use self::mio::{LoopStart, StartedLoop, start};
pub use self::{
    mailbox::{Mailbox, Posts},
    mio::{ListenError, MioSockets, SocketOptions},
};
