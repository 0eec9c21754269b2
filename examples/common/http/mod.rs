//! A small HTTP server for looking at a node, which strangers may use: one thread, whoever and how
//! many they are. `http-net` knows HTTP and reads no sockets; here are the sockets, the deadlines and
//! the limits. Each limit names what it is against.
//!
//! Why no server that there is: `tiny_http`, `touche`, `oxhttp` and `rouille` have no limit on bodies
//! or on the time of a request, and make a vector of `Content-Length` bytes, read a refused body to its
//! end, or stop at an error of accept; so does `astra`. The server of `http-net` itself has every limit
//! but gives up for good after ten seconds without descriptors, has a thread for each connection and
//! one megabyte for each of their bodies.

mod kept;
mod laddr;
mod message;
mod query;
mod server;
mod session;

pub(crate) use http_net::Method;
pub(crate) use kept::Kept;
pub(crate) use laddr::list;
pub(crate) use message::{Reply, Request, escaped};
pub(crate) use query::parameter;
pub(crate) use server::{Answer, Listening};
