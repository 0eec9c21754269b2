//! Where a setting comes from: flag, else environment, else file, else default.

use std::{
    env,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use tmp2p::Config;
use toml::{Table, Value};

use crate::cli::Failure;

/// The settings of all layers.
pub(crate) struct Layers {
    file: Table,
    p2p_flags: Vec<(String, Option<String>)>,
}

/// A configuration file as far as its mistakes are to be found with their lines.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "p2p")]
    _p2p: Option<Config>,
}

impl Layers {
    /// `text` is what the file at `path` says, in Tendermint's form.
    pub(crate) fn new(
        path: PathBuf,
        text: Option<String>,
        p2p_flags: Vec<(String, Option<String>)>,
    ) -> Result<Self, Failure> {
        let text = text.unwrap_or_default();
        let parsed = toml::from_str::<Shape>(&text).and_then(|_| toml::from_str(&text));
        let file = parsed.map_err(|error| in_file(&path, &text, &error))?;
        Ok(Self { file, p2p_flags })
    }

    /// A text outside of `[p2p]`, like `moniker` or `rpc.laddr`. An empty one is none.
    pub(crate) fn text(&self, key: &str, flag: Option<&str>) -> Result<Option<String>, Failure> {
        if let Some(text) = flag.map(str::to_owned).or_else(|| env::var(variable(key)).ok()) {
            return Ok(Some(text).filter(|text| !text.is_empty()));
        }
        match self.in_file(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(Failure::Usage(format!("{key} in config.toml: write a text in quotes"))),
        }
    }

    /// A number outside of `[p2p]`, of the environment or the file.
    pub(crate) fn number(&self, key: &str, default: i64) -> Result<i64, Failure> {
        let wrong = |place: &str| Failure::Usage(format!("{place}: write a whole number"));
        if let Some(text) = env::var(variable(key)).ok().filter(|text| !text.is_empty()) {
            return text.parse().map_err(|_| wrong(&format!("{} {text:?}", variable(key))));
        }
        match self.in_file(key) {
            None => Ok(default),
            Some(Value::Integer(number)) => Ok(*number),
            Some(_) => Err(wrong(&format!("{key} in config.toml"))),
        }
    }

    /// The file's value of a key, like `moniker` or `rpc.laddr`.
    pub(crate) fn in_file(&self, key: &str) -> Option<&Value> {
        match key.split_once('.') {
            Some((table, key)) => self.file.get(table).and_then(|table| table.get(key)),
            None => self.file.get(key),
        }
    }

    /// `[p2p]` of all layers; `defaults` stand for keys that nobody sets.
    pub(crate) fn p2p(&self, defaults: Table) -> Result<Config, Failure> {
        let mut table = defaults;
        if let Some(Value::Table(file)) = self.file.get("p2p") {
            table.extend(file.clone());
        }
        for (name, text) in env::vars().filter(|(name, _)| name.starts_with("TM_P2P_")) {
            let key = name["TM_P2P_".len()..].to_lowercase();
            match value(&key, &text) {
                Err(why) if why.is_unknown => log::warn!("{name}: [p2p] has no key {key}"),
                value => drop(table.insert(key, value.map_err(|why| why.of(&name, &text))?)),
            }
        }
        for (key, text) in &self.p2p_flags {
            let flag = format!("--p2p.{key}");
            let text = text.as_deref();
            let text =
                text.ok_or_else(|| Failure::Usage(format!("{flag}: the value is missing")))?;
            table.insert(key.clone(), value(key, text).map_err(|why| why.of(&flag, text))?);
        }
        let config = Config::deserialize(table)
            .map_err(|error| Failure::Usage(format!("[p2p]: {}", error.message())))?;
        config.check().map_err(|error| Failure::Usage(format!("p2p.{error}")))?;
        Ok(config)
    }
}

/// The environment's name of a key.
fn variable(key: &str) -> String {
    format!("TM_{}", key.replace('.', "_").to_uppercase())
}

/// Why a text is no value of a key.
struct BadValue {
    is_unknown: bool,
    why: String,
}

impl BadValue {
    fn of(self, source: &str, text: &str) -> Failure {
        Failure::Usage(match self.is_unknown {
            true => format!("{source}: [p2p] has no such key; see --help"),
            false => format!("{source} {text:?}: {}", self.why),
        })
    }
}

/// Flags and the environment have no types: the first that fits the key.
fn value(key: &str, text: &str) -> Result<Value, BadValue> {
    let number = text.parse().map(Value::Integer).ok();
    let switch = text.parse().map(Value::Boolean).ok();
    let mut last = BadValue { is_unknown: false, why: String::new() };
    for value in [Some(Value::String(text.to_owned())), switch, number].into_iter().flatten() {
        match Config::deserialize(Table::from_iter([(key.to_owned(), value.clone())])) {
            Ok(_) => return Ok(value),
            Err(error) => {
                let is_unknown = error.message().starts_with("unknown field");
                last = BadValue { is_unknown, why: plain(error.message()) };
            }
        }
    }
    Err(last)
}

/// A mistake in the file: where, and what.
fn in_file(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let key_of = |line: &str| Some(line.split_once('=')?.0.trim().to_owned());
    // The place of an unknown key is not told, but its name is.
    let unknown = error.message().strip_prefix("unknown field `");
    let unknown = unknown.and_then(|message| message.split('`').next());
    let is_it =
        |line| key_of(line).is_some_and(|key| Some(key.trim_start_matches("p2p.")) == unknown);
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.lines().position(is_it).unwrap_or_else(|| text[..start].matches('\n').count());
    let key = text.lines().nth(line).and_then(key_of);
    let key = key.map_or(String::new(), |key| format!(", {}", key.trim_start_matches("p2p.")));
    let why = plain(error.message());
    Failure::Usage(format!("{} line {}{key}: {why}", path.display(), line + 1))
}

/// What a person can do about it.
fn plain(message: &str) -> String {
    match message.split_once(", expected one of") {
        Some((what, _)) => format!("{what}; correct its name or remove it"),
        None => message.replace("expected i64", "expected a number").replace('\n', " "),
    }
}
