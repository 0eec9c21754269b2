//! What the reference does where this crate decides otherwise, to compare both on the same networks: its
//! address book and its peer exchange. Its switch admits strangers up to a number and asks nothing more, which
//! ours does with a configuration: see [`Rules`](crate::world::Rules).

mod book;
mod node;

pub(crate) use book::Book;
pub(crate) use node::Pex;
