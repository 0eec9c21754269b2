//! A wall clock that can be set, for one process: libfaketime between it and the system.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where Debian and its relatives have it; for processes with threads.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The wall clock of whoever was [started](Self::prepare) with it.
pub(crate) struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    /// `None`: there is no libfaketime here.
    pub(crate) fn new(file: PathBuf) -> Option<Self> {
        let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|folder| Some(folder.ok()?.path()));
        let folders = folders.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/local/lib")]);
        let library =
            folders.map(|folder| folder.join(LIBRARY)).find(|library| library.exists())?;
        let clock = Self { library, file };
        clock.set(0);
        Some(clock)
    }

    /// From within a second on it is so many seconds off.
    pub(crate) fn set(&self, seconds: i64) {
        // Renamed, so that nobody reads half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}s\n")).unwrap();
        fs::rename(&new, &self.file).unwrap();
    }

    pub(crate) fn prepare(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", Path::new(&self.file))
            .env("FAKETIME_CACHE_DURATION", "1")
            // What intervals are measured with goes on as it does.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
