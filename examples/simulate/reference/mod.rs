//! What the reference does where this crate decides otherwise, to compare both on the same networks: its
//! address book and its peer exchange, and its transport where handshakes matter. Otherwise its switch admits
//! strangers up to a number and asks nothing more, which ours does with a configuration: see
//! [`Rules`](crate::world::Rules).

mod book;
mod node;
mod transport;

pub(crate) use book::Book;
pub(crate) use node::Pex;
pub(crate) use transport::Transport;
