//! Why a call gets nowhere, whatever it asks for: the two errors that the errors of all calls have in
//! common.

/// The switch does not run: it has stopped or is about to, or it was not started yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the switch does not run: it has stopped, or was not started yet")]
pub struct Stopped;

crate::text::readable_debug!(Stopped);

/// A call that waits, made on one of the library's own threads, which would wait for itself: in an init
/// hook, a filter, a resolver, a store, a logger, or the `Drop` of what was left with a session. Leave
/// it to a thread of yours.
#[derive(Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("a call that waits, made on a thread of the switch; make it on a thread of your own")]
pub struct WrongThread;

crate::text::readable_debug!(WrongThread);
