//! What the fuzz targets share: input as a script, and peers that are the same in every run.

mod net;
mod peers;
mod script;

pub use net::{Net, Socket, address};
pub use peers::{agreement, cheap_agreement, link_settings, node_info, now};
pub use script::Script;
