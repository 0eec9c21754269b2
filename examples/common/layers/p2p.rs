//! The table `[p2p]` of all layers together.

use std::collections::BTreeMap;

use serde::Deserialize;
use tmp2p::{Config, NodeId};
use toml::{Table, Value};

use super::{
    Mistake,
    environment::{Environment, Variable},
    file::File,
    names, nodes,
    value::{self, Kind, UPNP, Unfit},
};

/// A flag `--p2p.KEY` with the normal form of the key, and its value; `None`: it has none.
pub(crate) type P2pFlag = (String, Option<String>);

/// CometBFT's table for another network than ours.
const LIBP2P: &str = "libp2p";

/// What all layers say. Not yet checked: a program may have a word in it.
#[derive(Debug)]
pub(crate) struct P2p {
    pub(crate) config: Config,
    /// For the log.
    pub(crate) warnings: Vec<String>,
    /// Where each key is set that is.
    places: BTreeMap<String, String>,
}

impl P2p {
    /// Where this key is set, for people; `None`: it has its default.
    pub(crate) fn place(&self, key: &str) -> Option<&str> {
        self.places.get(key).map(String::as_str)
    }

    /// Takes the node itself out of the lists of those to dial: nobody connects to himself.
    pub(crate) fn leave_out(&mut self, own: &NodeId) {
        let Config { seeds, persistent_peers, .. } = &mut self.config;
        for (key, list) in [("seeds", seeds), ("persistent_peers", persistent_peers)] {
            let before = list.len();
            list.retain(|addr| addr.id() != *own);
            if list.len() < before {
                let place = self.places.get(key).map_or(key, String::as_str);
                self.warnings.push(format!("{place}: left out, {own} is this node itself"));
            }
        }
    }
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Reading {
    settings: BTreeMap<String, Setting>,
    warnings: Vec<String>,
    mistakes: Vec<String>,
}

/// What the strongest layer says of a key.
struct Setting {
    value: Value,
    place: String,
}

impl Reading {
    /// Keys that are not known are told with all others of the file.
    pub(super) fn take_file(&mut self, file: &File) {
        for (key, entry) in file.p2p().filter(|(key, _)| is_known(key)) {
            let (value, place) = (entry.value.clone(), file.place(entry));
            if let Some(oddity) = oddity(key, &value) {
                self.warnings.push(format!("{place}: {oddity}"));
            }
            self.settings.insert(key.to_owned(), Setting { value, place });
        }
    }

    pub(super) fn take_environment(&mut self, environment: &Environment) -> Result<(), Mistake> {
        for Variable { name, key, text } in environment.p2p()? {
            self.settings.insert(key, Setting { value: text.into(), place: name });
        }
        Ok(())
    }

    pub(super) fn take_flags(&mut self, flags: &[P2pFlag]) {
        for (key, text) in flags {
            let (place, key) = (format!("--p2p.{key}"), names::ours_in_p2p(key));
            match text {
                _ if !is_known(key) => self.unknown(&place, key),
                None => self.mistakes.push(format!("{place}: the value is missing")),
                // An empty text is a text, but neither a number nor on or off.
                Some(text) if text.is_empty() && Kind::of(key) != Some(Kind::Text) => {
                    self.warnings.push(format!("{place} is empty and does not count"));
                }
                Some(text) => {
                    let value = text.clone().into();
                    self.settings.insert(key.to_owned(), Setting { value, place });
                }
            }
        }
    }

    /// Nobody but the operator writes flags; it may be one of another version.
    fn unknown(&mut self, place: &str, key: &str) {
        match names::instead_of(key) {
            Some(instead) => self.warnings.push(format!("{place}: ignored ({instead})")),
            None => self.mistakes.push(format!("{place}: [p2p] has no such key; see --help")),
        }
    }

    /// All together; `defaults` stand for keys that nobody sets.
    ///
    /// # Errors
    /// All mistakes of all layers.
    pub(super) fn finish(mut self, mut defaults: Table) -> Result<P2p, Mistake> {
        self.take_other_versions();
        self.read_schemes();
        self.read_lists();
        for (key, Setting { value, place }) in &self.settings {
            if let Err(Unfit::Value(why)) = value::read(key, value.clone()) {
                self.mistakes.push(format!("{place}: {why}"));
            }
        }
        if !self.mistakes.is_empty() {
            return Err(Mistake(self.mistakes.join("; ")));
        }
        let mut places = BTreeMap::new();
        for (key, Setting { value, place }) in self.settings {
            places.insert(key.clone(), place);
            defaults.insert(key, value);
        }
        let config = Config::deserialize(defaults)
            .map_err(|error| Mistake(format!("[p2p]: {}", error.message())))?;
        Ok(P2p { config, warnings: self.warnings, places })
    }

    /// What `Config` has not.
    fn take_other_versions(&mut self) {
        if let Some((true, place)) = self.take_switch("libp2p.enabled") {
            self.mistakes.push(format!(
                "{place} is true: this program speaks CometBFT's own protocol, which nodes with \
                 libp2p do not; make it false"
            ));
        }
        self.settings.retain(|key, _| !is_libp2p(key));
        if let Some((true, place)) = self.take_switch(UPNP) {
            self.warnings.push(format!("{place} is true, but there is no UPnP here"));
        }
    }

    fn take_switch(&mut self, key: &str) -> Option<(bool, String)> {
        let Setting { value, place } = self.settings.remove(key)?;
        match value::switch(&value) {
            Ok(is_on) => Some((is_on, place)),
            Err(why) => {
                self.mistakes.push(format!("{place}: {why}"));
                None
            }
        }
    }

    /// Go drops whatever is before `://`. Where it listens, somebody means another protocol by it, or a
    /// Unix socket; what peers are told is the same with and without.
    fn read_schemes(&mut self) {
        for key in ["laddr", "external_address"] {
            let Some(Setting { value, place }) = self.settings.get(key) else { continue };
            let Ok(text) = value::text(value) else { continue };
            let (scheme, addr) = text.split_once("://").unwrap_or(("tcp", &text));
            if scheme.eq_ignore_ascii_case("tcp") {
                continue;
            }
            let what = format!("{place} {text:?}: peers connect by TCP only");
            if key == "laddr" {
                self.mistakes.push(format!("{what}, not by {scheme}; write tcp://IP:PORT"));
                self.settings.remove(key);
            } else {
                self.warnings.push(format!("{what}, and are told tcp://{addr}"));
            }
        }
    }

    fn read_lists(&mut self) {
        for (key, setting) in &mut self.settings {
            let read: fn(&str) -> nodes::List = match key.as_str() {
                "seeds" | "persistent_peers" => nodes::peers,
                "unconditional_peer_ids" => |text| nodes::ids(text, true),
                "private_peer_ids" => |text| nodes::ids(text, false),
                _ => continue,
            };
            // What is no text is told with all other values.
            let Ok(text) = value::text(&setting.value) else { continue };
            let list = read(&text);
            let place = &setting.place;
            self.warnings.extend(list.warnings.iter().map(|why| format!("{place}: {why}")));
            if !list.faults.is_empty() {
                self.mistakes.push(format!("{place}: {}", list.faults.join("; ")));
            }
            setting.value = list.kept.join(",").into();
        }
    }
}

fn is_libp2p(key: &str) -> bool {
    key.split('.').next() == Some(LIBP2P)
}

/// Whether there is such a key of `[p2p]`.
pub(super) fn is_known(key: &str) -> bool {
    is_libp2p(key) || Kind::of(key).is_some()
}

/// The file says something that Go takes, too, but hardly as it was meant.
fn oddity(key: &str, value: &Value) -> Option<String> {
    match (Kind::of(key)?, value) {
        (Kind::Duration, Value::Integer(number)) if *number != 0 => {
            Some(format!("{number} is {number} ns; write a unit, as in \"3s\""))
        }
        (Kind::Number, Value::Float(number)) if number.fract() != 0.0 => {
            Some(format!("{number} is no whole number; it is read as {}", number.trunc()))
        }
        (Kind::Number, Value::String(text)) if text.is_empty() => {
            Some("it is empty, which is read as 0".to_owned())
        }
        (Kind::Switch, Value::String(text)) if text.is_empty() => {
            Some("it is empty, which is read as false".to_owned())
        }
        _ => None,
    }
}
