//! `node_key.json`, byte for byte as the reference writes it (`p2p/key.go`).

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use log::Level;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{NodeKey, PublicKey};
use crate::{folder::sync_name, guard::tell};

/// The name that `libs/json` gives an ed25519 private key.
const KEY_TYPE: &str = "tendermint/PrivKeyEd25519";

/// Largest file read, bytes. A key file has about 150; who names another file by mistake (a log, a
/// device) gets an error instead of having it read into memory.
const MAX_FILE_SIZE: u64 = 16 * 1024;
/// What is read of a file: enough to see that it is too large.
const READ_AT_MOST: u64 = MAX_FILE_SIZE + 1;

/// What makes a finished temporary file the key file.
type Place = fn(temporary: &Path, path: &Path) -> io::Result<()>;

impl NodeKey {
    /// Reads a `node_key.json`, whoever wrote it: this crate, Tendermint v0.34 or CometBFT.
    ///
    /// Warns in the log when others than the owner may read the file.
    ///
    /// # Errors
    /// [`NodeKeyError`] if the file cannot be read, or is no ed25519 key file, or its two halves do
    /// not belong together. The reference loads the latter and then is somebody whose
    /// signatures nobody accepts.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, NodeKeyError> {
        let path = path.as_ref();
        let failed = |source| NodeKeyError::Read { path: path.into(), source };
        // A pipe without a writer would be waited for, at open already.
        let found = fs::metadata(path).map_err(failed)?;
        if found.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        if !found.is_file() {
            return Err(failed(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no regular file",
            )));
        }
        let file = File::open(path).map_err(failed)?;
        if let Some(mode) = mode_open_to_others(&file.metadata().map_err(failed)?) {
            tell!(
                Level::Warn,
                "node key {} has mode {mode:04o}: others can read or change it and be this node; \
                 run chmod 600",
                path.display()
            );
        }
        // Reserved at once: a vector that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(READ_AT_MOST as usize));
        file.take(READ_AT_MOST).read_to_end(&mut text).map_err(failed)?;
        parse(path, &text)
    }

    /// Writes `node_key.json`, mode 0600, replacing what is there. At every moment, also when the
    /// power fails, the path holds either the old file or the whole new one.
    ///
    /// # Errors
    /// [`NodeKeyError::Write`] if the folder does not exist or cannot be written to.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), NodeKeyError> {
        let path = path.as_ref();
        self.write(path, |temporary, path| fs::rename(temporary, path))
            .map_err(|source| NodeKeyError::Write { path: path.into(), source })
    }

    /// Reads `node_key.json`, or generates a key and writes it if there is no such file. Never
    /// replaces a file: one that cannot be used is an error, and if two processes start at the same
    /// time both get the key of the first.
    ///
    /// # Errors
    /// As [`load`](Self::load) and [`save`](Self::save).
    pub fn load_or_generate(path: impl AsRef<Path>) -> Result<Self, NodeKeyError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(NodeKeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            result => return result,
        }
        let key = Self::generate();
        match key.write(path, place_if_free) {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            Err(source) => Err(NodeKeyError::Write { path: path.into(), source }),
        }
    }

    fn write(&self, path: &Path, place: Place) -> io::Result<()> {
        let temporary = temporary_beside(path)?;
        let result = write_private(&temporary, file_text(self).as_bytes())
            .and_then(|()| place(&temporary, path));
        if result.is_err() {
            // What remains would be a secret lying about; the first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        result?;
        sync_name(path)
    }
}

fn file_text(key: &NodeKey) -> Zeroizing<String> {
    let halves = Zeroizing::new([*key.seed(), *key.public_key().as_bytes()]);
    let value = Zeroizing::new(STANDARD.encode(halves.as_flattened()));
    Zeroizing::new(format!(
        r#"{{"priv_key":{{"type":"{KEY_TYPE}","value":"{}"}}}}"#,
        value.as_str()
    ))
}

fn parse(path: &Path, text: &[u8]) -> Result<NodeKey, NodeKeyError> {
    #[derive(Deserialize)]
    struct KeyFile {
        priv_key: Key,
    }
    #[derive(Deserialize)]
    struct Key {
        r#type: String,
        value: String,
    }

    if text.len() as u64 > MAX_FILE_SIZE {
        return Err(NodeKeyError::TooLarge { path: path.into() });
    }
    // serde_json's own message may quote what it found, which may be the secret.
    let file: KeyFile = serde_json::from_slice(text).map_err(|error| NodeKeyError::Malformed {
        path: path.into(),
        line: error.line(),
        column: error.column(),
    })?;
    let Key { r#type, value } = file.priv_key;
    let value = Zeroizing::new(value);
    if r#type != KEY_TYPE {
        return Err(NodeKeyError::KeyType { path: path.into(), found: named_type(&r#type) });
    }
    let halves = Zeroizing::new(
        STANDARD
            .decode(value.as_bytes())
            .map_err(|_| NodeKeyError::NotBase64 { path: path.into() })?,
    );
    let Some((seed, public_key)) = halves
        .split_first_chunk::<{ NodeKey::SEED_LENGTH }>()
        .filter(|(_, public_key)| public_key.len() == PublicKey::LENGTH)
    else {
        return Err(NodeKeyError::Length { path: path.into(), found: halves.len() });
    };
    let key = NodeKey::from_seed(*seed);
    if key.public_key().as_bytes() != public_key {
        return Err(NodeKeyError::Mismatch { path: path.into() });
    }
    Ok(key)
}

/// What a file names as the type of its key, for an error: only if it is a name, for it may be the key
/// itself, in the wrong place.
fn named_type(text: &str) -> String {
    let is_name = text.len() <= 40
        && text.contains("/PrivKey")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    if is_name { text.to_owned() } else { "unknown".to_owned() }
}

/// The permissions, if they give anything to anybody but the owner.
#[cfg(unix)]
fn mode_open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn mode_open_to_others(_: &fs::Metadata) -> Option<u32> {
    None
}

/// A name in the same folder, because only there a rename is atomic.
fn temporary_beside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut random = [0; 8];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.tmp", u64::from_le_bytes(random)));
    Ok(path.with_file_name(temporary))
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    // The umask may have taken away bits of the owner's.
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn place_if_free(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => fs::remove_file(temporary),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // A file system without hard links: look, then rename. Between the two is a moment in which
        // another process could lose its key, on such file systems only.
        Err(_) if fs::symlink_metadata(path).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(temporary, path),
    }
}

/// A node key could not be read or written. No message shows any of the key.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NodeKeyError {
    /// The file cannot be read.
    #[error("cannot read the node key {}: {source}; check the path and who may read it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the node key {}: {source}; check that its folder exists and may be written to", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Not JSON, or not the shape of a key file.
    #[error("{} is no node key file (line {line}, column {column}); restore it from a backup, or move it away to become a new node", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        line: usize,
        /// Where it stops making sense.
        column: usize,
    },
    /// Far more than a key file has.
    #[error("{} has more than {MAX_FILE_SIZE} bytes and is no node key file; check the path", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A key of another kind.
    #[error("{} holds a key whose type is {found}; a node key is a {KEY_TYPE}", .path.display())]
    KeyType {
        /// The file.
        path: PathBuf,
        /// The type that it names, if it is one: what stands there may be the key itself.
        found: String,
    },
    /// The value is not base64.
    #[error("the value in {} is no base64 with padding; restore the file from a backup", .path.display())]
    NotBase64 {
        /// The file.
        path: PathBuf,
    },
    /// The value is not 64 bytes: a seed of 32 and the public key of 32.
    #[error("the key in {} has {found} bytes instead of 64; restore the file from a backup", .path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// How many bytes there are.
        found: usize,
    },
    /// The second half is not the public key of the first.
    #[error("the two halves of the key in {} do not belong together; restore the file from a backup", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
}

crate::text::readable_debug!(NodeKeyError);

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names_in(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_saved_is_loaded_and_leaves_nothing_else_behind() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        let key = NodeKey::generate();
        key.save(&path).unwrap();
        assert_eq!(NodeKey::load(&path).unwrap().id(), key.id());
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
        // Saving replaces.
        let other = NodeKey::generate();
        other.save(&path).unwrap();
        assert_eq!(NodeKey::load(&path).unwrap().id(), other.id());
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn knows_who_else_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let path = folder.path().join("node_key.json");
        NodeKey::generate().save(&path).unwrap();
        assert_eq!(mode_open_to_others(&fs::metadata(&path).unwrap()), None);
        for (mode, open) in
            [(0o400, false), (0o700, false), (0o640, true), (0o604, true), (0o601, true)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = mode_open_to_others(&fs::metadata(&path).unwrap());
            assert_eq!(found, open.then_some(mode), "{mode:o}");
            // It is a warning: the key is usable.
            NodeKey::load(&path).unwrap();
        }
    }

    #[test]
    fn load_or_generate_keeps_the_first_key() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        let key = NodeKey::load_or_generate(&path).unwrap();
        assert_eq!(NodeKey::load_or_generate(&path).unwrap().id(), key.id());
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
    }

    #[test]
    fn load_or_generate_never_replaces_a_file_it_cannot_use() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        for text in ["", "{}", "not json", r#"{"priv_key":null}"#] {
            fs::write(&path, text).unwrap();
            let error = NodeKey::load_or_generate(&path).unwrap_err();
            assert!(matches!(error, NodeKeyError::Malformed { .. }), "{text}: {error}");
            assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
    }

    #[test]
    fn who_starts_at_the_same_time_gets_the_same_key() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        let start = Barrier::new(8);
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        NodeKey::load_or_generate(&path).unwrap().id()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(NodeKey::load(&path).unwrap().id(), ids[0]);
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
    }

    #[test]
    fn a_place_that_is_taken_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        fs::write(&path, "theirs").unwrap();
        let error = NodeKey::generate().write(&path, place_if_free).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(names_in(folder.path()), ["node_key.json"]);
    }

    #[test]
    fn errors_name_the_path_and_what_to_do() {
        let folder = folder();
        let path = folder.path().join("missing").join("node_key.json");
        let error = NodeKey::load(&path).unwrap_err();
        assert!(matches!(error, NodeKeyError::Read { .. }), "{error}");
        for error in [
            error,
            NodeKey::generate().save(&path).unwrap_err(),
            NodeKey::load_or_generate(&path).unwrap_err(),
        ] {
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()) && text.contains("; check"), "{text}");
        }
        assert!(NodeKey::generate().save("/").is_err());
    }

    #[test]
    fn no_error_shows_the_secret() {
        let key = NodeKey::generate();
        let text = file_text(&key);
        let secret = &text.split('"').nth(9).unwrap()[..40];
        let path = Path::new("k");
        for wrong in [
            format!(r#"{{"priv_key":"{secret}"}}"#),
            format!(r#"["{secret}"]"#),
            format!(r#"{{"priv_key":{{"type":"{KEY_TYPE}","value":"{secret}"}}}}"#),
            format!(r#"{{"priv_key":{{"type":"{KEY_TYPE}","value":"{secret}!"}}}}"#),
            format!(r#"{{"priv_key":{{"type":"{KEY_TYPE}","value":["{secret}"]}}}}"#),
            format!(r#"{{"priv_key":{{"type":"{secret}","value":"{KEY_TYPE}"}}}}"#),
        ] {
            let error = parse(path, wrong.as_bytes()).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains(&secret[..12]), "{told}");
        }
        let other = r#"{"priv_key":{"type":"tendermint/PrivKeySecp256k1","value":""}}"#;
        let told = parse(path, other.as_bytes()).unwrap_err().to_string();
        assert!(told.contains("whose type is tendermint/PrivKeySecp256k1;"), "{told}");
    }

    #[test]
    fn every_truncation_is_refused() {
        let key = NodeKey::from_seed([3; 32]);
        let text = file_text(&key);
        for len in 0..text.len() {
            assert!(parse(Path::new("k"), &text.as_bytes()[..len]).is_err(), "{len}");
        }
        assert_eq!(parse(Path::new("k"), text.as_bytes()).unwrap().id(), key.id());
    }

    #[test]
    fn a_huge_file_is_not_read_to_its_end() {
        let folder = folder();
        let path = folder.path().join("node_key.json");
        let text = file_text(&NodeKey::generate());
        fs::write(&path, format!("{:<1$}", *text, MAX_FILE_SIZE as usize)).unwrap();
        NodeKey::load(&path).unwrap();
        fs::write(&path, format!("{:<1$}", *text, MAX_FILE_SIZE as usize + 1)).unwrap();
        assert!(matches!(NodeKey::load(&path), Err(NodeKeyError::TooLarge { .. })));
    }
}
