//! What a reactor author sees: events, peers, messages, and why a session ended.
//!
//! Owned by no thread of its own: sessions are shared between the event loop, the switch and the
//! user's threads. Nothing here may touch a socket, or block on the library's threads.

mod broadcast;
mod disconnect;
mod event;
mod peer;
mod send_queue;
mod session;

pub use broadcast::{Broadcast, BroadcastHandle};
pub use disconnect::{DisconnectReason, LocalFault, Room};
pub(crate) use event::Permit;
pub use event::{Envelope, Event};
pub use peer::{ChannelStatus, Peer, PeerStatus, SendError, SendErrorKind};
pub use send_queue::{Pushed, Refused, SendQueue};
pub(crate) use session::Waiter;
pub use session::{
    Admission, CloseMode, Never, Notify, Session, SessionSettings, Verdicts, Vitals,
};
