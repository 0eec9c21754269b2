//! Command lines as Tendermint's programs take them, for clap.

use std::ffi::OsString;

use serde::{Deserialize, de::value::MapDeserializer};
use tmp2p::Config;

/// A command line in two parts.
pub(crate) struct CommandLine {
    /// What clap reads: the program's name, flags with two dashes, commands.
    pub(crate) rest: Vec<OsString>,
    /// The `--p2p.KEY` flags: every key of `[p2p]` is one. `None`: the value is missing.
    pub(crate) p2p: Vec<(String, Option<String>)>,
}

impl CommandLine {
    /// Takes the command line of this process apart. Long flags may have one dash, as Go's flag
    /// package has them.
    pub(crate) fn of_process() -> Self {
        Self::split(std::env::args_os())
    }

    fn split(args: impl IntoIterator<Item = OsString>) -> Self {
        let mut args = args.into_iter().peekable();
        let (mut rest, mut p2p) = (Vec::from_iter(args.next()), Vec::new());
        while let Some(arg) = args.next() {
            let Some(text) = arg.to_str().map(with_two_dashes) else {
                rest.push(arg);
                continue;
            };
            let Some(flag) = text.strip_prefix("--p2p.") else {
                rest.push(text.into());
                continue;
            };
            let (key, value) = match flag.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (flag, None),
            };
            let key = key.replace('-', "_");
            let value = match value {
                // Like Go's: `--p2p.pex` alone turns it on.
                None if is_switch(&key) => {
                    let next = args.next_if(|next| next == "true" || next == "false");
                    Some(next.map_or("true".to_owned(), |next| next.to_string_lossy().into_owned()))
                }
                None => args.next().map(|next| next.to_string_lossy().into_owned()),
                value => value,
            };
            p2p.push((key, value));
        }
        Self { rest, p2p }
    }
}

fn with_two_dashes(arg: &str) -> String {
    let is_long = arg.len() > 2 && arg.starts_with('-') && !arg.starts_with("--");
    let has_name = arg[1.min(arg.len())..].starts_with(|c: char| c.is_ascii_alphabetic());
    if is_long && has_name { format!("-{arg}") } else { arg.to_owned() }
}

/// Whether the key of `[p2p]` is either on or off.
fn is_switch(key: &str) -> bool {
    let table = MapDeserializer::<_, serde::de::value::Error>::new([(key, true)].into_iter());
    Config::deserialize(table).is_ok()
}
