//! Files that are made together: all of them, or none.

use std::{
    ffi::OsString,
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use tempfile::TempPath;
use tmp2p::{NodeKey, NodeKeyError};

use crate::cli::{Failure, cannot_make};

/// Files that are prepared beside their places. Dropped before they are in place, it leaves nothing
/// behind.
#[derive(Default)]
pub(crate) struct NewFiles {
    prepared: Vec<Prepared>,
    /// What was put in its place so far.
    placed: Vec<PathBuf>,
    /// Folders that there were not, the outer ones first.
    folders: Vec<PathBuf>,
}

struct Prepared {
    /// Removed with this.
    temporary: TempPath,
    path: PathBuf,
}

impl NewFiles {
    /// A file with this text.
    pub(crate) fn add_text(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let mut file = self.prepare(path)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.map_err(|error| cannot_write(path, &error))
    }

    /// The file of a node key, which nobody else may read.
    pub(crate) fn add_key(&mut self, path: &Path, key: &NodeKey) -> Result<(), Failure> {
        self.prepare(path)?;
        let Some(Prepared { temporary, .. }) = self.prepared.last() else { return Ok(()) };
        key.save(temporary).map_err(|error| match error {
            NodeKeyError::Write { source, .. } => cannot_write(path, &source),
            error => Failure::usage(error),
        })
    }

    /// Puts all of them in their places; which. What somebody else has put there meanwhile stays.
    pub(crate) fn place(mut self) -> Result<Vec<PathBuf>, Failure> {
        for Prepared { temporary, path } in &self.prepared {
            match place_if_free(temporary, path) {
                Ok(()) => self.placed.push(path.clone()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_write(path, &error)),
            }
        }
        for path in &self.placed {
            // Not every file system can: then it lasts as well as it can.
            let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
        }
        self.folders.clear();
        Ok(std::mem::take(&mut self.placed))
    }

    /// Makes the file's folder, and the file that is written first. Its name is nobody else's: in
    /// containers all processes have the same number, and one that was killed has left its files.
    fn prepare(&mut self, path: &Path) -> Result<File, Failure> {
        let missing = folder_of(path).ancestors().take_while(|folder| {
            !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err()
        });
        let missing: Vec<_> = missing.map(Path::to_owned).collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(&folder) {
                Ok(()) => self.folders.push(folder),
                // Somebody else was faster.
                Err(_) if folder.is_dir() => {}
                Err(error) => return Err(Failure::file(cannot_make(&folder, &error), &error)),
            }
        }
        let name = path.file_name().ok_or_else(|| {
            Failure::Usage(format!("cannot write {}: the path names no file", path.display()))
        })?;
        // In the same folder, because only there it can be put in its place in one step.
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(".");
        let temporary = usual_permissions().and_then(|permissions| {
            let mut builder = tempfile::Builder::new();
            builder.prefix(&hidden).suffix(".tmp").permissions(permissions);
            builder.tempfile_in(folder_of(path))
        });
        let (file, temporary) = temporary.map_err(|error| cannot_write(path, &error))?.into_parts();
        self.prepared.push(Prepared { temporary, path: path.to_owned() });
        Ok(file)
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        // What cannot be removed stays; the error that has led here is the one to tell of.
        // The temporary files first: no folder goes that has something in it.
        self.prepared.clear();
        for file in &self.placed {
            let _ = fs::remove_file(file);
        }
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Those of any new file: what the system makes of them is the umask's business.
#[cfg(unix)]
pub(crate) fn usual_permissions() -> io::Result<Permissions> {
    Ok(std::os::unix::fs::PermissionsExt::from_mode(0o666))
}

/// The only kind there is that can be written.
#[cfg(not(unix))]
pub(crate) fn usual_permissions() -> io::Result<Permissions> {
    tempfile::tempfile()?.metadata().map(|found| found.permissions())
}

/// That a file could not be written, and why.
pub(crate) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    // The file that is written first has a name that says nothing to anybody.
    let why = error.to_string();
    let why = why.split(" at path ").next().unwrap_or_default();
    Failure::file(format!("cannot write {}: {why}", path.display()), error)
}

/// Where there are no hard links it looks and then renames: another process that makes the file in
/// between would lose it.
fn place_if_free(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(temporary, path),
    }
}
