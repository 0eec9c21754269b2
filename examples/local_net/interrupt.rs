//! A person or the system wants the program to end.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use tmp2p::crossbeam_channel::Receiver;

use crate::{cli::Failure, signals};

/// How often it is tried to remove the folder while nodes may still write there.
const TRIES: usize = 20;

/// SIGINT, SIGTERM and SIGHUP: what goes on is given up at the next look, so that what it has started
/// ends in order and its folders go. A second one ends the program at once, and the folders go as well.
pub(crate) struct Interrupt {
    /// What is removed then, once there is something.
    folder: Arc<OnceLock<PathBuf>>,
    signals: Receiver<&'static str>,
    came: Cell<Option<&'static str>>,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = Arc::<OnceLock<PathBuf>>::default();
        let of_second = Arc::clone(&folder);
        let signals = signals::watch_and(move || {
            if let Some(folder) = of_second.get() {
                let _ = (0..TRIES).any(|_| fs::remove_dir_all(folder).is_ok() || !folder.exists());
            }
        })?;
        Ok(Self { folder, signals, came: Cell::new(None) })
    }

    /// This folder goes, however the program is ended.
    pub(crate) fn removes(&self, folder: &Path) {
        self.folder.get_or_init(|| folder.to_owned());
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
