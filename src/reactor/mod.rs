//! What a reactor author sees: events, peers, messages, and why a session ended.
//!
//! Owned by no thread of its own: sessions are shared between the event loop, the switch and the
//! user's threads. Nothing here may touch a socket, or block on the library's threads.

mod broadcast;
mod counters;
mod disconnect;
mod event;
mod inbox;
mod inboxes;
mod message_types;
mod peer;
mod registration;
mod send_error;
mod send_queue;
mod session;
mod waiter;

#[cfg(test)]
pub(crate) use broadcast::tests::{
    Asleep, peer as peer_without_connection, session as session_without_connection,
};
pub use broadcast::{BroadcastHandle, SendOutcomes, start_broadcast};
pub use counters::ChannelStatus;
pub(crate) use counters::bump;
pub use disconnect::{Blame, DisconnectReason, LocalFault, Room};
pub use event::{Envelope, Event};
pub use inbox::{Inbox, Progress};
pub(crate) use inboxes::{Inboxes, Revocable, Revoker};
pub use message_types::{MessageTypeStatus, MessageTypes};
pub use peer::{Peer, PeerStatus};
pub(crate) use registration::MAX_CHANNELS;
pub use registration::{Reactor, RegisterError};
pub use send_error::{SendError, SendErrorKind};
pub use send_queue::{Pushed, Refused, SendQueue};
pub use session::{Admission, CloseMode, Notify, Session, SessionSettings, Verdicts, Vitals};
pub(crate) use waiter::Waiter;
