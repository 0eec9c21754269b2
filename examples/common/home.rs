//! The home folder of a node: the files that Tendermint, CometBFT and tenderseed keep there.

pub(crate) mod input;
mod new_files;

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::IgnoredAny};
use tmp2p::{NodeKey, NodeKeyError};

use self::new_files::NewFiles;
#[allow(unused_imports, reason = "the seed writes other files, too")]
pub(crate) use self::new_files::{cannot_write, usual_permissions};
use crate::{
    cli::{self, Failure},
    layers::{self, Environment},
};

/// Largest `config.toml` read, bytes; one has about 15,000. Who names another file by mistake gets
/// an error instead of having it read into memory.
const MAX_CONFIG_SIZE: u64 = 1 << 20;

/// The same of a genesis that is no regular file, and so is read whole.
const MAX_PIPED_GENESIS: u64 = 32 << 20;

/// The home folder.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder of the flag, else of the environment, else this one in the user's.
    pub(crate) fn find(
        flag: Option<&OsStr>,
        environment: &Environment,
        default: &str,
    ) -> Result<Self, Failure> {
        let flag = flag.filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let home = flag
            .or_else(|| environment.home())
            .or_else(|| environment.path("HOME").map(|home| home.join(default)))
            .ok_or_else(|| {
                Failure::Usage("home: no HOME in the environment; give --home".into())
            })?;
        // As it is told, without slashes at its end.
        let home: PathBuf = home.components().collect();
        match cli::dangling(&home) {
            Some(why) => Err(Failure::Usage(format!("home: {why}"))),
            None => Ok(Self(home)),
        }
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file in it, unless the path is absolute.
    pub(crate) fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    /// What the configuration file says; nothing if there is no such file, unless this flag names it:
    /// who has mistyped it is not to get a node with defaults.
    pub(crate) fn config(&self, path: &Path, flag: Option<&str>) -> Result<layers::File, Failure> {
        let path = self.file(path);
        let bad = |why: &dyn std::fmt::Display| {
            Failure::Usage(format!("cannot read {}: {why}; correct or remove it", path.display()))
        };
        if let Some(why) = cli::dangling(&path) {
            return Err(Failure::Usage(why));
        }
        let text = match (input::read(&path, MAX_CONFIG_SIZE, input::PATIENCE), flag) {
            (Err(error), None) if error.kind() == ErrorKind::NotFound => {
                return Ok(layers::File::default());
            }
            (Err(error), Some(flag)) if error.kind() == ErrorKind::NotFound => {
                return Err(Failure::Usage(format!(
                    "{flag}: there is no {}; correct the path, or leave the flag out",
                    path.display()
                )));
            }
            (read, _) => read.map_err(|error| bad(&error))?,
        };
        let text = String::from_utf8(text).map_err(|_| bad(&"it is not UTF-8"))?;
        Ok(layers::File::parse(&path, &text)?)
    }

    /// The chain that the genesis file is of; `None` if there is no such file. Chains have files of
    /// hundreds of megabytes: everything else in it is passed over while reading.
    pub(crate) fn chain_id(&self, path: &Path) -> Result<Option<String>, Failure> {
        #[derive(Deserialize)]
        struct Document {
            chain_id: Option<String>,
            /// An answer to the RPC call `/genesis` has the document in it.
            result: Option<IgnoredAny>,
        }
        let path = self.file(path);
        let bad = |why: &dyn std::fmt::Display| {
            let path = path.display();
            Failure::Usage(format!(
                "chain_id: cannot read {path}: {why}; correct it or give --chain-id"
            ))
        };
        if let Some(why) = cli::dangling(&path) {
            return Err(Failure::Usage(format!("chain_id: {why}")));
        }
        let is_file = match path.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.map_err(|error| bad(&error))?.is_file(),
        };
        let document: Result<Document, _> = if is_file {
            let file = File::open(&path).map_err(|error| bad(&error))?;
            serde_json::from_reader(BufReader::new(file))
        } else {
            let text = input::read(&path, MAX_PIPED_GENESIS, input::PATIENCE);
            serde_json::from_slice(&text.map_err(|error| bad(&error))?)
        };
        let document = document.map_err(|error| bad(&error))?;
        match (document.chain_id, document.result) {
            (Some(chain_id), _) => Ok(Some(chain_id)),
            (None, Some(_)) => {
                let why = "it is the answer of a node's /genesis, whose result.genesis is the file";
                Err(bad(&format!("{why} (jq .result.genesis)")))
            }
            (None, None) => Err(bad(&"it has no chain_id")),
        }
    }

    /// The node's key; a new one the first time.
    pub(crate) fn key(&self, path: &Path) -> Result<NodeKey, Failure> {
        cli::node_key(&self.file(path))
    }

    /// Prints the node's ID. Makes the key the first time, as tenderseed does: an ID that is told to
    /// others before the node starts is to be its ID then.
    pub(crate) fn show_node_id(&self, path: &Path) -> Result<(), Failure> {
        cli::print(format!("{}\n", self.key(path)?.id()))
    }

    /// Makes a key and prints its ID. A key that there is, usable or not, is never replaced.
    pub(crate) fn gen_node_key(&self, path: &Path) -> Result<(), Failure> {
        let file = self.file(path);
        if file.symlink_metadata().is_ok() {
            return Err(Failure::Usage(format!(
                "the node key {} exists and is kept; move it away to become a new node",
                file.display()
            )));
        }
        cli::print(format!("{}\n", self.key(path)?.id()))
    }

    /// What `init` does: makes the files that are not there yet, all of them or none, and then tells
    /// of each.
    pub(crate) fn init(&self, key: &Path, files: &[(&Path, String)]) -> Result<(), Failure> {
        let mut new = NewFiles::default();
        let key = self.file(key);
        match NodeKey::load(&key) {
            Ok(_) => {}
            Err(NodeKeyError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {
                new.add_key(&key, &NodeKey::generate())?;
            }
            Err(error) => return Err(Failure::usage(error)),
        }
        let mut paths = vec![key.clone()];
        for (path, text) in files {
            let path = self.file(path);
            if path.symlink_metadata().is_err() {
                new.add_text(&path, text)?;
            }
            paths.push(path);
        }
        let written = new.place()?;
        // The key that is there: another `init` at the same time may have been faster.
        let id = NodeKey::load(&key).map_err(Failure::usage)?.id();
        let told = paths.iter().map(|path| match (written.contains(path), path.display()) {
            (true, path) => format!("wrote {path}\n"),
            (false, path) => format!("kept {path}, which exists: it is never overwritten\n"),
        });
        cli::print(format!("{}node ID {id}\n", told.collect::<String>()))
    }
}
