//! A configuration file, key by key.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{
    Value,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::{Mistake, names, value::Kind};

/// What a file says, in Tendermint's form: keys of `[p2p]` begin with `p2p.`, also where the file is
/// tenderseed's and has no tables.
#[derive(Debug, Default)]
pub(crate) struct File {
    path: PathBuf,
    /// By the normal forms of their names.
    entries: BTreeMap<String, Entry>,
    /// The tables that there are, in the same way.
    tables: BTreeMap<String, Spot>,
    is_tenderseeds: bool,
    warnings: Vec<String>,
}

/// A value, and where it is.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    spot: Spot,
}

/// Where a name is.
#[derive(Debug)]
struct Spot {
    line: usize,
    /// The name as it is written, with its tables.
    written: String,
}

impl File {
    /// Takes a text apart.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Mistake> {
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        let parsed = DeTable::parse(text).map(toml::Spanned::into_inner);
        parsed.and_then(|table| file.take(text, ("", ""), table)).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let (path, why) = (path.display(), error.message().replace('\n', " "));
            Mistake(format!("{path} line {}: {why}", line_of(text, start)))
        })?;
        file.rename();
        Ok(file)
    }

    /// A file without a table `[p2p]` is tenderseed's: most of its keys are those of that table. So
    /// is one with both, to which somebody has added such a table.
    pub(crate) fn or_tenderseeds(mut self) -> Self {
        let has_table = self.tables.contains_key("p2p");
        let is_of_table = |name: &&String| {
            let is_own = name.contains('.') || names::TENDERSEED.contains(&name.as_str());
            !is_own && (!has_table || Kind::of(name).is_some())
        };
        let at_top: Vec<String> = self.entries.keys().filter(is_of_table).cloned().collect();
        self.is_tenderseeds = !has_table || !at_top.is_empty();
        for name in at_top {
            let Some(entry) = self.entries.remove(&name) else { continue };
            self.set(format!("p2p.{name}"), entry);
        }
        self
    }

    /// Whether its defaults are tenderseed's.
    pub(crate) fn is_tenderseeds(&self) -> bool {
        self.is_tenderseeds
    }

    fn take(
        &mut self,
        text: &str,
        (above, above_written): (&str, &str),
        table: DeTable<'_>,
    ) -> Result<(), toml::de::Error> {
        let within = |above: &str, name: &str| match above {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        for (key, value) in table {
            let name = within(above, &names::normal(key.get_ref()));
            let written = within(above_written, key.get_ref());
            let spot = Spot { line: line_of(text, key.span().start), written: written.clone() };
            if value.get_ref().is_table() {
                let DeValue::Table(table) = value.into_inner() else { continue };
                self.tables.entry(name.clone()).or_insert(spot);
                self.take(text, (&name, &written), table)?;
            } else {
                let value = Value::deserialize(ValueDeserializer::from(value))?;
                self.set(name, Entry { value, spot });
            }
        }
        Ok(())
    }

    /// One key may be there in several spellings. The usual one counts, or else the last one.
    fn set(&mut self, name: String, entry: Entry) {
        let Some(other) = self.entries.remove(&name) else {
            self.entries.insert(name, entry);
            return;
        };
        let rank = |entry: &Entry| (entry.spot.written == name, entry.spot.line);
        let (counts, left) =
            if rank(&entry) > rank(&other) { (entry, other) } else { (other, entry) };
        let (place, Spot { line, written }) = (self.place(&left), &counts.spot);
        let warning =
            format!("{place}: left out, because {written} in line {line} is the same key");
        self.warnings.push(warning);
        self.entries.insert(name, counts);
    }

    /// What other programs call otherwise counts unless it is there under our name as well.
    fn rename(&mut self) {
        let is_empty = |entry: &Entry| entry.value.as_str() == Some("");
        for (theirs, ours) in names::ALIASES {
            if self.entries.get(ours).is_some_and(|entry| !is_empty(entry)) {
                continue;
            }
            let Some(entry) = self.entries.remove(theirs) else { continue };
            if !is_empty(&entry) {
                self.entries.insert(ours.to_owned(), entry);
            }
        }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// The values of `[p2p]`, by key; those of its own tables have a point in it.
    pub(crate) fn p2p(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().filter_map(|(name, entry)| Some((name.strip_prefix("p2p.")?, entry)))
    }

    /// Where an entry is, for people.
    pub(crate) fn place(&self, entry: &Entry) -> String {
        let Spot { line, written } = &entry.spot;
        format!("{} line {line}, {written}", self.path.display())
    }

    /// What is odd about the file: doubled keys, and in one sentence all that this program does not
    /// know. Go ignores them; here they are ignored and told.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let keys = self.entries.iter().filter(|(name, _)| !is_known(name));
        let keys = keys.map(|(name, entry)| (name, &entry.spot, entry.spot.written.clone()));
        let tables = self.tables.iter().filter(|(name, _)| is_foreign_table(name));
        let tables = tables.map(|(name, spot)| (name, spot, format!("[{}]", spot.written)));
        let mut unknown: Vec<_> = keys.chain(tables).collect();
        unknown.sort_by_key(|(_, spot, _)| spot.line);
        let tell = |(name, spot, shown): (&String, &Spot, String)| match names::instead_of(
            name.strip_prefix("p2p.").unwrap_or(name),
        ) {
            Some(instead) => format!("{shown} (line {}; {instead})", spot.line),
            None => format!("{shown} (line {})", spot.line),
        };
        let unknown: Vec<_> = unknown.into_iter().map(tell).collect();
        let mut warnings = self.warnings.clone();
        if !unknown.is_empty() {
            let (path, all) = (self.path.display(), unknown.join(", "));
            warnings.push(format!("{path}: ignored, because this program does not know it: {all}"));
        }
        warnings
    }
}

/// Whether this program reads the key, or another program does whose file it may be. What is in a
/// foreign table is told with that table.
fn is_known(name: &str) -> bool {
    match name.split_once('.') {
        None => names::is_top(name),
        Some(("p2p", key)) => key.contains('.') || Kind::of(key).is_some(),
        Some((table, key)) => !names::is_table(table) || names::is_in_table(table, key),
    }
}

fn is_foreign_table(name: &str) -> bool {
    match name.split_once('.') {
        None => !names::is_table(name),
        Some(("p2p", table)) => !table.contains('.') && table != "libp2p",
        Some(_) => false,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}
