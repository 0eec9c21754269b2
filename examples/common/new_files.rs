//! Files that are made together: all of them, or none.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use tmp2p::{NodeKey, NodeKeyError};

use crate::cli::Failure;

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
    temporary: PathBuf,
    path: PathBuf,
}

impl NewFiles {
    /// A file with this text.
    pub(crate) fn add_text(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let temporary = self.prepare(path)?;
        let mut options = OpenOptions::new();
        let written = options.write(true).create_new(true).open(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| cannot_write(path, &error))
    }

    /// The file of a node key, which nobody else may read.
    pub(crate) fn add_key(&mut self, path: &Path, key: &NodeKey) -> Result<(), Failure> {
        let temporary = self.prepare(path)?;
        key.save(temporary).map_err(|error| match error {
            NodeKeyError::Write { source, .. } => cannot_write(path, &source),
            error => Failure::usage(error),
        })
    }

    /// Puts all of them in their places. What somebody else has put there meanwhile stays.
    pub(crate) fn place(mut self) -> Result<(), Failure> {
        for Prepared { temporary, path } in &self.prepared {
            match place_if_free(temporary, path) {
                Ok(()) => self.placed.push(path.clone()),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_write(path, &error)),
            }
        }
        for path in self.placed.drain(..) {
            // Not every file system can: then it lasts as well as it can.
            let _ = File::open(folder_of(&path)).and_then(|folder| folder.sync_all());
        }
        self.folders.clear();
        Ok(())
    }

    /// Makes the file's folder; where to write it first.
    fn prepare(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        let missing = folder_of(path).ancestors().take_while(|folder| {
            !folder.as_os_str().is_empty() && fs::symlink_metadata(folder).is_err()
        });
        let missing: Vec<_> = missing.map(Path::to_owned).collect();
        for folder in missing.into_iter().rev() {
            fs::create_dir(&folder).map_err(|error| {
                Failure::Usage(format!("cannot make {}: {error}", folder.display()))
            })?;
            self.folders.push(folder);
        }
        let name = path.file_name().ok_or_else(|| {
            Failure::Usage(format!("cannot write {}: the path names no file", path.display()))
        })?;
        // In the same folder, because only there it can be put in its place in one step.
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        self.prepared.push(Prepared { temporary: temporary.clone(), path: path.to_owned() });
        Ok(temporary)
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        // What cannot be removed stays; the error that has led here is the one to tell of.
        for file in self.prepared.iter().map(|prepared| &prepared.temporary).chain(&self.placed) {
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

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(format!("cannot write {}: {error}", path.display()))
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
