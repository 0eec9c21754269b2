//! The owner of a running switch.

use std::{
    fmt,
    time::{Duration, Instant},
};

use log::Level;

use super::SwitchHandle;
use crate::{
    addrbook::StoreEnd,
    clock::Clock,
    guard::tell,
    pex::Pex,
    reactor::{DisconnectReason, Revoker},
    refused::WrongThread,
    switch::{Busy, StopReason},
    thread::{self, Joined, Thread},
    time::Mono,
};

/// Time that threads are given to come back from code of the application even if the stop has none
/// left: an init hook that works needs microseconds.
const LAST_WORD: Duration = Duration::from_secs(1);

/// A running switch. Dropping it ends every connection at once and joins its threads; [`stop`]
/// first lets peers take what was accepted for them.
///
/// It may be dropped anywhere. On a thread of the library, such as in an init hook, nobody is
/// waited for: it stops all the same, without the caller. Threads that are stuck in code of the
/// application are left behind, see [`stop`].
///
/// [`stop`]: Self::stop
#[must_use = "dropping a switch stops it"]
pub struct Switch {
    handle: SwitchHandle,
    /// `None`: it is stopped, or somebody else is at it.
    threads: Option<Threads>,
}

/// What has to end.
pub(super) struct Threads {
    /// `p2p-loop`, which runs no code of the application.
    pub(super) event_loop: Thread<bool>,
    pub(super) switch: Thread<bool>,
    /// Ends after the switch, which it publishes to.
    pub(super) pex: Pex,
    pub(super) resolver: Busy,
    /// What the switch's thread tells reactors, so that they hear of the end without it.
    pub(super) inboxes: Revoker,
    pub(super) clock: Clock,
}

/// How a stop went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StopReport {
    /// Sessions there were when it began.
    pub sessions: usize,
    /// From the call until every thread was joined or given up.
    pub elapsed: Duration,
    /// Threads that were in code of the application and did not come back in time: `p2p-switch`
    /// (init hooks, filters, the logger, a `Drop`), `p2p-pex` (the logger, `Config::pex_bias`),
    /// `p2p-store` (the `BookStore`), `p2p-resolver` (the `Resolver`, also the system's). They end by
    /// themselves when that code returns, and nothing waits for them.
    pub left_behind: Vec<&'static str>,
    /// Why the last changes of the address book are not stored, with all causes. `None`: they are, or
    /// the book lives in memory.
    pub unstored: Option<String>,
}

/// How the threads ended.
struct Ends {
    left_behind: Vec<&'static str>,
    panicked: Vec<&'static str>,
    unstored: Option<String>,
}

/// Why a stop was not in order.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// Threads of the switch had panicked: a bug of this library. Everything is stopped all the
    /// same.
    #[error("threads of the switch had panicked: {}", threads.join(", "))]
    Panicked {
        /// Their names.
        threads: Vec<&'static str>,
        /// How the stop went otherwise.
        report: StopReport,
    },
    /// Called on a thread of the library, which would wait for itself. The stop goes on without
    /// the caller.
    #[error("{0}; the stop goes on without the caller")]
    WrongThread(#[from] WrongThread),
}

crate::text::readable_debug!(StopError);

impl Switch {
    pub(super) fn new(handle: SwitchHandle, threads: Threads) -> Self {
        Self { handle, threads: Some(threads) }
    }

    /// The handle for everybody else, who clones it.
    pub fn handle(&self) -> &SwitchHandle {
        &self.handle
    }

    /// Waits until the switch has stopped because somebody called
    /// [`SwitchHandle::request_stop`], a reactor is gone, or a thread failed. However long that
    /// takes: also for an init hook that does not return.
    ///
    /// On a thread of the library, which would wait for itself, it returns
    /// [`StopReason::WrongThread`] at once.
    #[doc(alias = "Wait")]
    pub fn wait(&self) -> StopReason {
        loop {
            if let Some(reason) = self.wait_timeout(Duration::MAX) {
                return reason;
            }
        }
    }

    /// Waits likewise, but no longer than this; `None` if the switch still runs then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<StopReason> {
        if thread::is_ours() {
            return Some(StopReason::WrongThread);
        }
        let shared = &self.handle.inner().shared;
        let mut stop_reason = shared.stop_reason.lock();
        shared.stopped.wait_while_for(&mut stop_reason, |reason| reason.is_none(), timeout);
        stop_reason.clone()
    }

    /// Stops in order: no new connections; every session is flushed and closed, at most for
    /// `timeout`; reactors are told of every end; their receivers end; bans are stored; all
    /// threads are joined.
    ///
    /// Returns within `timeout` and two seconds whatever code of the application does that runs on
    /// threads of the library: hooks, filters, the logger, the resolver, the store. A thread that
    /// does not come back from it within a second is left behind, and the report names it; `timeout`
    /// holds for the event loop, which runs no such code. Nothing is logged on the caller's thread.
    ///
    /// # Errors
    /// See [`StopError`].
    #[doc(alias = "OnStop")]
    #[expect(clippy::unreachable, reason = "`stop` consumes the switch, and `drop` comes after it")]
    pub fn stop(mut self, timeout: Duration) -> Result<StopReport, StopError> {
        let Some(threads) = self.threads.take() else { unreachable!("only the end takes them") };
        end(&self.handle, threads, timeout)
    }
}

/// Ends everything, on this thread or, if that could wait for itself, on one of its own.
fn end(
    handle: &SwitchHandle,
    threads: Threads,
    timeout: Duration,
) -> Result<StopReport, StopError> {
    let started = Instant::now();
    let sessions = handle.num_peers();
    let sessions = sessions.inbound + sessions.outbound;
    let deadline = threads.clock.mono() + timeout;
    // Before anything else, so that it ends even if there is no thread for the rest.
    handle.stop_by(deadline);
    if thread::is_ours() {
        let handle = handle.clone();
        // Without a thread to wait for them, they end by themselves.
        let _ = thread::spawn("p2p-stop", move || threads.join(&handle, deadline));
        return Err(WrongThread.into());
    }
    let Ends { left_behind, panicked, unstored } = threads.join(handle, deadline);
    let report = StopReport { sessions, elapsed: started.elapsed(), left_behind, unstored };
    if panicked.is_empty() {
        Ok(report)
    } else {
        Err(StopError::Panicked { threads: panicked, report })
    }
}

impl Threads {
    /// Waits for the threads in the order in which they end.
    fn join(self, handle: &SwitchHandle, deadline: Mono) -> Ends {
        let clock = self.clock;
        let (mut left_behind, mut panicked) = (Vec::new(), Vec::new());
        // For those that wait for each other; it needs a turn after the deadline.
        let last = deadline.max(clock.mono()) + LAST_WORD;
        let threads = [("p2p-loop", self.event_loop), ("p2p-switch", self.switch)];
        for (name, thread) in threads {
            match thread.join_within(clock.until(last)) {
                Joined::Over(true) => {}
                Joined::Over(false) | Joined::Panicked => panicked.push(name),
                Joined::LeftBehind => left_behind.push(name),
            }
        }
        if !left_behind.is_empty() {
            let peers = handle.peers();
            handle.inner().shared.close(StopReason::Requested);
            self.inboxes.revoke(peers, DisconnectReason::Stopped);
        }
        let pex = self.pex.stop(deadline);
        if pex.had_panicked {
            panicked.push("p2p-pex");
        }
        if pex.is_left_behind {
            left_behind.push("p2p-pex");
        }
        let unstored = match pex.store {
            None | Some(StoreEnd::Written) => None,
            Some(StoreEnd::Failed(why)) => Some(why),
            Some(StoreEnd::LeftBehind) => {
                left_behind.push("p2p-store");
                Some("the store has not come back in time".to_owned())
            }
        };
        if self.resolver.is_any() {
            left_behind.push("p2p-resolver");
        }
        if !left_behind.is_empty() {
            let names = left_behind.join(", ");
            // The logger may be what they are stuck in.
            let _ = thread::spawn("p2p-log", move || {
                tell!(Level::Warn, "left behind, in code that does not return: {names}");
            });
        }
        Ends { left_behind, panicked, unstored }
    }
}

impl fmt::Debug for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Switch({:?})", self.handle)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            // Nobody is left to be told how it went.
            let _ = end(&self.handle, threads, Duration::ZERO);
        }
    }
}
