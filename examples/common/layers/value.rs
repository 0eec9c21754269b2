//! Single values. The reader of `[p2p]` reads all of them, so that a boolean is the same everywhere:
//! each is read as a key of its type.

use serde::Deserialize;
use tmp2p::Config;
use toml::{Table, Value};

/// What kind of value a key of `[p2p]` has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On or off.
    Switch,
    Number,
    Duration,
    /// An address, a path, or a list of such.
    Text,
}

impl Kind {
    /// Of this key; `None` if there is no such key.
    pub(crate) fn of(key: &str) -> Option<Self> {
        if key == UPNP {
            return Some(Self::Switch);
        }
        let takes = |text: &str| match read(key, text.into()) {
            Ok(_) => Some(true),
            Err(Unfit::UnknownKey) => None,
            Err(Unfit::Value(_)) => Some(false),
        };
        Some(match (takes("true")?, takes("1h")?, takes("7")?) {
            (true, false, _) => Self::Switch,
            (false, true, _) => Self::Duration,
            (false, false, true) => Self::Number,
            _ => Self::Text,
        })
    }
}

/// All keys of `[p2p]` that there are, as their reader lists them.
pub(crate) fn keys() -> Vec<String> {
    let no_key = Table::from_iter([("?".to_owned(), Value::Boolean(true))]);
    let error = Config::deserialize(no_key).expect_err("no key is called so");
    let known = error.message().split_once("expected one of").map_or("", |(_, known)| known);
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A key that only v0.34 has. `Config` warns of it whenever it reads it.
pub(crate) const UPNP: &str = "upnp";

/// Why a value cannot be that of a key.
#[derive(Debug)]
pub(crate) enum Unfit {
    UnknownKey,
    Value(String),
}

/// Reads one key of `[p2p]`; all others have their defaults.
pub(crate) fn read(key: &str, value: Value) -> Result<Config, Unfit> {
    Config::deserialize(Table::from_iter([(key.to_owned(), value)])).map_err(|error| {
        match error.message() {
            message if message.starts_with("unknown field") => Unfit::UnknownKey,
            message => Unfit::Value(message.replace('\n', " ")),
        }
    })
}

/// On or off.
pub(crate) fn switch(value: &Value) -> Result<bool, String> {
    read("pex", value.clone()).map(|config| config.pex).map_err(why)
}

/// A count that is not below 0.
pub(crate) fn number(value: &Value) -> Result<u64, String> {
    read("send_rate", value.clone()).map(|config| config.send_rate).map_err(why)
}

/// A text, which may be empty.
pub(crate) fn text(value: &Value) -> Result<String, String> {
    let config = read("addr_book_file", value.clone()).map_err(why)?;
    Ok(config.addr_book_file.map_or(String::new(), |path| path.to_string_lossy().into_owned()))
}

fn why(unfit: Unfit) -> String {
    match unfit {
        Unfit::UnknownKey => unreachable!("these keys are there"),
        Unfit::Value(why) => why,
    }
}
