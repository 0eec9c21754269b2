//! A person or the system wants the program to end.

use std::cell::Cell;

use tmp2p::crossbeam_channel::Receiver;

use crate::{cli::Failure, signals};

/// SIGINT and SIGTERM: what goes on is given up at the next look, so that what it has started ends in
/// order and its folders go.
pub(crate) struct Interrupt {
    signals: Receiver<&'static str>,
    came: Cell<Option<&'static str>>,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self { signals: signals::watch()?, came: Cell::new(None) })
    }

    /// An error once a signal has come.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Ok(signal) = self.signals.try_recv() {
            self.came.set(Some(signal));
        }
        self.signal().map_or(Ok(()), |signal| Err(format!("stopped by {signal}")))
    }

    /// The signal that has been seen, if one has.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        self.came.get()
    }
}
