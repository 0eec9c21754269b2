//! How the programs read their settings: files, variables and flags as arguments, nothing is started.

mod every;
mod files;
mod flags;
mod lists;
mod variables;

use std::{ffi::OsString, path::Path};

use toml::Table;

use crate::layers::{Environment, File, Layers, Mistake, P2p, P2pFlag};

/// A file that another program has left, or an operator.
pub(crate) fn case(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples/cases");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// The layers of `full_node`, or of `seed`, whose file may be tenderseed's.
struct Sources<'a> {
    program: &'a str,
    file: &'a str,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
}

impl Default for Sources<'_> {
    fn default() -> Self {
        Self { program: "full_node", file: "", variables: &[], flags: &[] }
    }
}

impl<'a> Sources<'a> {
    fn file(file: &'a str) -> Self {
        Self { file, ..Self::default() }
    }

    fn variables(variables: &'a [(&'a str, &'a str)]) -> Self {
        Self { variables, ..Self::default() }
    }

    fn of_seed(self) -> Self {
        Self { program: "seed", ..self }
    }

    fn layers(&self) -> Result<Layers, Mistake> {
        let file = File::parse(Path::new("config.toml"), self.file)?;
        let is_seed = self.program == "seed";
        let prefixes: &'static [&'static str] =
            if is_seed { &["TENDERSEED", "CMT", "TM"] } else { &["CMT", "TM"] };
        let owned = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        let environment = Environment::new(prefixes, self.variables.iter().map(owned));
        let flags = self.flags.iter();
        let flags: Vec<P2pFlag> =
            flags.map(|(key, text)| ((*key).to_owned(), Some((*text).to_owned()))).collect();
        let file = if is_seed { file.or_tenderseeds() } else { file };
        Ok(Layers::new(file, environment, flags))
    }

    fn p2p(&self) -> Result<P2p, Mistake> {
        self.layers()?.p2p(Table::new())
    }

    /// What the log has at the start.
    #[track_caller]
    fn warnings(&self) -> Vec<String> {
        let layers = self.layers().unwrap();
        [layers.warnings(), layers.p2p(Table::new()).unwrap().warnings].concat()
    }
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
