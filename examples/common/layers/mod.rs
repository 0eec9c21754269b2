//! Where a setting comes from: flag, else environment, else file, else default. What all of them say
//! is given; nothing here reads anything.

mod environment;
mod file;
mod names;
mod nodes;
mod p2p;
mod value;

use std::fmt;

use toml::{Table, Value};

pub(crate) use environment::Environment;
pub(crate) use file::File;
pub(crate) use names::normal;
pub(crate) use p2p::{P2p, P2pFlag};
pub(crate) use value::{Kind, keys, switch};

use p2p::Reading;

/// What is wrong with a setting, and what to do about it: a line for who wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake(pub(crate) String);

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Mistake {}

/// The settings of all layers.
#[derive(Debug)]
pub(crate) struct Layers {
    file: File,
    environment: Environment,
    flags: Vec<P2pFlag>,
}

impl Layers {
    /// Of several flags with one key the last counts.
    pub(crate) fn new(file: File, environment: Environment, flags: Vec<P2pFlag>) -> Self {
        Self { file, environment, flags }
    }

    /// What is odd about all of them, for the log, which begins when its level is known.
    pub(crate) fn warnings(&self) -> Vec<String> {
        [self.file.warnings(), self.environment.warnings()].concat()
    }

    /// Whether the file is tenderseed's, or there is none.
    pub(crate) fn is_tenderseeds(&self) -> bool {
        self.file.is_tenderseeds()
    }

    /// A text outside of `[p2p]`, like `moniker`. An empty one is none, in any layer: a script may
    /// have had nothing to put there.
    pub(crate) fn text(&self, key: &str, flag: Option<&str>) -> Result<Option<String>, Mistake> {
        let flag = flag.filter(|text| !text.is_empty());
        Ok(self.written(key, flag)?.filter(|text| !text.is_empty()))
    }

    /// What is written for such a key, where an empty text means something: a server is off with
    /// `rpc.laddr = ""` in the file or `--rpc.laddr ""`. An empty variable is none also here.
    pub(crate) fn written(&self, key: &str, flag: Option<&str>) -> Result<Option<String>, Mistake> {
        if let Some(text) = flag {
            return Ok(Some(text.to_owned()));
        }
        if let Some((_, text)) = self.environment.get(key)? {
            return Ok(Some(text));
        }
        let Some(entry) = self.file.get(key) else { return Ok(None) };
        let text = value::text(&entry.value);
        text.map(Some).map_err(|why| Mistake(format!("{}: {why}", self.file.place(entry))))
    }

    /// A count outside of `[p2p]`; not below 0. An empty flag is none.
    pub(crate) fn number(
        &self,
        key: &str,
        flag: Option<&str>,
        default: u64,
    ) -> Result<u64, Mistake> {
        let found = match flag.filter(|text| !text.is_empty()) {
            Some(text) => Some((format!("--{key}"), text.into())),
            None => self.value(key)?,
        };
        let Some((place, value)) = found else { return Ok(default) };
        value::number(&value).map_err(|why| Mistake(format!("{place}: {why}")))
    }

    /// Where such a key is set, for people: the flag, the variable, or the line of the file; else its
    /// name.
    pub(crate) fn place(&self, key: &str, flag: Option<&str>) -> String {
        self.set_at(key, flag).unwrap_or_else(|| key.to_owned())
    }

    /// The same; `None` if nobody sets it.
    pub(crate) fn set_at(&self, key: &str, flag: Option<&str>) -> Option<String> {
        match flag.filter(|text| !text.is_empty()) {
            Some(_) => Some(format!("--{key}")),
            None => self.value(key).ok().flatten().map(|(place, _)| place),
        }
    }

    /// What the file says of such a key, and where.
    pub(crate) fn in_file(&self, key: &str) -> Option<(String, String)> {
        let entry = self.file.get(key)?;
        let text = value::text(&entry.value).ok().filter(|text| !text.is_empty())?;
        Some((self.file.place(entry), text))
    }

    /// What is set outside of `[p2p]` in the environment or in the file, and where.
    pub(crate) fn value(&self, key: &str) -> Result<Option<(String, Value)>, Mistake> {
        if let Some((name, text)) = self.environment.get(key)? {
            return Ok(Some((name, text.into())));
        }
        Ok(self.file.get(key).map(|entry| (self.file.place(entry), entry.value.clone())))
    }

    /// `[p2p]`; `defaults` stand for keys that nobody sets.
    ///
    /// # Errors
    /// All mistakes of all layers.
    pub(crate) fn p2p(&self, defaults: Table) -> Result<P2p, Mistake> {
        let mut reading = Reading::default();
        reading.take_file(&self.file);
        reading.take_environment(&self.environment)?;
        reading.take_flags(&self.flags);
        reading.finish(defaults)
    }
}
