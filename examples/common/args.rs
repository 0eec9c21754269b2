//! Command lines as Tendermint's programs and tenderseed take them, for clap.

use std::{env, ffi::OsString, iter::Peekable};

use clap::Command;

use crate::{
    cli::{WIDTH, filled},
    layers::{self, Kind, P2pFlag},
};

/// A command line in two parts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// What clap reads: the program's name, flags with two dashes, commands.
    pub(crate) rest: Vec<OsString>,
    pub(crate) flags: Flags,
}

/// What clap does not read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// The `--p2p.KEY` flags: every key of `[p2p]` is one.
    pub(crate) p2p: Vec<P2pFlag>,
    /// Flags of Tendermint that mean nothing here: the scripts that start it have them.
    foreign: Vec<String>,
}

impl Flags {
    /// What is odd about them, for the log.
    pub(crate) fn warning(&self) -> Option<String> {
        let all = self.foreign.join(", ");
        (!all.is_empty()).then(|| format!("ignored, because they mean nothing here: {all}"))
    }
}

/// Flags of `tendermint start` and `cometbft start` that are not of `[p2p]`, and whether each is on or
/// off, and so needs no value.
const FOREIGN: [(&str, bool); 18] = [
    ("abci", false),
    ("block_sync", true),
    ("consensus.create_empty_blocks", true),
    ("consensus.create_empty_blocks_interval", false),
    ("consensus.double_sign_check_height", false),
    ("db_backend", false),
    ("db_dir", false),
    ("fast_sync", true),
    ("genesis_hash", false),
    ("mode", false),
    ("priv_validator_laddr", false),
    ("proxy_app", false),
    ("rpc.grpc_laddr", false),
    ("rpc.laddr", false),
    ("rpc.pprof_laddr", false),
    ("rpc.unsafe", true),
    ("statesync.enable", true),
    ("trace", true),
];

/// Tables of the configuration that flags of other versions, and of the programs built on them, are
/// named after.
const FOREIGN_TABLES: [&str; 11] = [
    "api",
    "blocksync",
    "consensus",
    "fastsync",
    "grpc",
    "instrumentation",
    "mempool",
    "rpc",
    "state_sync",
    "statesync",
    "storage",
];

impl CommandLine {
    /// That of this process, for a program with these flags of its own.
    pub(crate) fn of_process(command: &Command) -> Self {
        let own = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned));
        Self::split(env::args_os(), &own.collect::<Vec<_>>())
    }

    /// Takes a command line apart; `own` are the long flags that clap knows. Long flags may have one
    /// dash, as Go's flag package has them, and hyphens where others write underscores.
    pub(crate) fn split(args: impl IntoIterator<Item = OsString>, own: &[String]) -> Self {
        let mut args = args.into_iter().peekable();
        let (mut rest, mut flags) = (Vec::from_iter(args.next()), Flags::default());
        while let Some(arg) = args.next() {
            if arg == "--" {
                rest.push(arg);
                rest.extend(args);
                break;
            }
            let arg = with_two_dashes(arg);
            let Some(flag) = arg.to_str().and_then(|text| text.strip_prefix("--")) else {
                rest.push(arg);
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some(key) = name.strip_prefix("p2p.") {
                let key = layers::normal(key);
                let is_switch = Kind::of(&key) == Some(Kind::Switch);
                let value = value.or_else(|| value_of(&mut args, is_switch));
                flags.p2p.push((key, value));
            } else if let Some(own) =
                own.iter().find(|own| layers::normal(own) == layers::normal(name))
            {
                rest.push(match value {
                    Some(value) => format!("--{own}={value}").into(),
                    None => format!("--{own}").into(),
                });
            } else if let Some(is_switch) = is_foreign_switch(name) {
                flags.foreign.push(format!("--{name}"));
                if value.is_none() {
                    value_of(&mut args, is_switch);
                }
            } else {
                rest.push(arg);
            }
        }
        Self { rest, flags }
    }
}

/// The options that help shows of some commands; all others take all that the program has.
pub(crate) type Shown<'a> = (&'a [&'a str], &'a [&'a str]);

/// Hides in the help of these commands the program's options that mean nothing to them. They may be
/// there all the same, as a script has them that runs several commands.
pub(crate) fn only_useful(mut command: Command, commands: &[Shown<'_>]) -> Command {
    let global: Vec<_> =
        command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    for (names, shown) in commands {
        let others = global.iter().filter(|arg| !shown.contains(&arg.get_id().as_str()));
        let others: Vec<_> = others.map(|arg| arg.clone().hide(true)).collect();
        for name in *names {
            command = command.mut_subcommand(name, |command| command.args(&others));
        }
    }
    command
}

/// `help`, and behind it all keys of `[p2p]` by what is written there.
pub(crate) fn with_keys(help: &str) -> String {
    let of = |kind| {
        let keys = layers::keys().into_iter().filter(move |key| Kind::of(key) == Some(kind));
        filled(keys, "  ", WIDTH)
    };
    let mut text = format!("{help}\n\nThe keys of [p2p]:");
    for (what, kind) in [
        ("on or off", Kind::Switch),
        ("numbers: how many, bytes, or so much a second", Kind::Number),
        ("times, like 500ms, 3s or 1h30m", Kind::Duration),
        ("addresses, files, and lists separated by commas", Kind::Text),
    ] {
        text += &format!("\n {what}:\n{}", of(kind));
    }
    text
}

/// What to write in place of an argument that nobody knows: keys of `[p2p]` have a flag each.
pub(crate) fn instead(arg: &str) -> Option<String> {
    let key = layers::normal(arg.strip_prefix("--")?);
    Kind::of(&key).map(|_| format!("--p2p.{key}"))
}

/// The value behind a flag. A switch needs none: like Go's, `--p2p.pex` alone turns it on.
fn value_of(
    args: &mut Peekable<impl Iterator<Item = OsString>>,
    is_switch: bool,
) -> Option<String> {
    let is_boolean = |next: &OsString| next.to_str().is_some_and(|next| is_on(next).is_ok());
    let value = match is_switch {
        true => Some(args.next_if(is_boolean).unwrap_or_else(|| "true".into())),
        // A value that looks like a flag is one: this one has none.
        false => args.next_if(|next| !next.as_encoded_bytes().starts_with(b"--")),
    };
    value.map(|value| value.to_string_lossy().into_owned())
}

/// A boolean in a form that Go takes.
pub(crate) fn is_on(text: &str) -> Result<bool, String> {
    match text {
        "" => Err("write true or false".to_owned()),
        text => layers::switch(&text.into()),
    }
}

/// Whether it is a flag of others: with a value (false) or on and off (true).
fn is_foreign_switch(name: &str) -> Option<bool> {
    let name = layers::normal(name);
    let listed = FOREIGN.iter().find(|(foreign, _)| *foreign == name);
    listed.map(|(_, is_switch)| *is_switch).or_else(|| {
        let (table, _) = name.split_once('.')?;
        FOREIGN_TABLES.contains(&table).then_some(false)
    })
}

fn with_two_dashes(arg: OsString) -> OsString {
    match arg.as_encoded_bytes() {
        [b'-', first, _, ..] if first.is_ascii_alphabetic() => {
            let mut two = OsString::from("-");
            two.push(&arg);
            two
        }
        _ => arg,
    }
}
