//! The owner of a running switch.

use std::{
    fmt,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{SwitchBuilder, SwitchHandle};
use crate::{config::Config, identity::NodeKey, node_info::NodeInfo, pex::Pex, switch::StopReason};

/// A running switch. Dropping it ends every connection at once and joins its threads; [`stop`]
/// first lets peers take what was accepted for them.
///
/// [`stop`]: Self::stop
pub struct Switch {
    handle: SwitchHandle,
    threads: Vec<JoinHandle<()>>,
    /// Ends after the switch, which it publishes to.
    pex: Option<Pex>,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopReport {
    /// Sessions there were when it began.
    pub sessions: usize,
    /// From the call until every thread was joined.
    pub elapsed: Duration,
}

/// A thread of the switch had panicked: a bug of this library, or of an allocator hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of the switch had panicked")]
pub struct StopError;

impl Switch {
    /// Prepares a switch with this configuration and identity.
    pub fn builder(config: Config, key: NodeKey, node_info: NodeInfo) -> SwitchBuilder {
        SwitchBuilder::new(config, key, node_info)
    }

    pub(super) fn new(handle: SwitchHandle, threads: Vec<JoinHandle<()>>, pex: Pex) -> Self {
        Self { handle, threads, pex: Some(pex) }
    }

    /// A handle for everybody else.
    pub fn handle(&self) -> SwitchHandle {
        self.handle.clone()
    }

    /// Waits until the switch has stopped because somebody called
    /// [`SwitchHandle::request_stop`], a reactor is gone, or a thread failed.
    pub fn wait(&self) -> StopReason {
        let shared = &self.handle.inner().shared;
        let mut stop_reason = shared.stop_reason.lock();
        loop {
            match &*stop_reason {
                Some(reason) => return reason.clone(),
                None => shared.stopped.wait(&mut stop_reason),
            }
        }
    }

    /// Stops in order: no new connections; every session is flushed and closed, at most for
    /// `timeout`; reactors are told of every end; their receivers end; bans are stored; all
    /// threads are joined. A [`BookStore`](crate::BookStore) that hangs is given a second more,
    /// then its thread is left behind.
    ///
    /// # Errors
    /// A thread had panicked. Everything is stopped all the same.
    pub fn stop(mut self, timeout: Duration) -> Result<StopReport, StopError> {
        let started = Instant::now();
        let sessions = self.handle.peers().len();
        self.join(timeout)?;
        Ok(StopReport { sessions, elapsed: started.elapsed() })
    }

    fn join(&mut self, timeout: Duration) -> Result<(), StopError> {
        let deadline = self.handle.inner().clock.mono() + timeout;
        self.handle.stop_by(timeout);
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                result = Err(StopError);
            }
        }
        if self.pex.take().is_some_and(|pex| pex.stop(deadline).had_panicked) {
            result = Err(StopError);
        }
        result
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Switch({:?})", self.handle)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            // Nobody is left to be told of a panic.
            let _ = self.join(Duration::ZERO);
        }
    }
}
