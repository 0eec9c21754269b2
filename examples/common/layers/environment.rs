//! Variables of the environment. An empty one is none, as for Go's reader.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use super::{Mistake, names, value::Kind};

/// tenderseed's variables are named after the keys of its file, which has no tables.
const FLAT: &str = "TENDERSEED";

/// The variables of a process.
#[derive(Debug)]
pub(crate) struct Environment {
    prefixes: &'static [&'static str],
    /// Those that are not empty.
    variables: BTreeMap<String, OsString>,
}

/// What a variable says of a key of `[p2p]`.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    /// In its normal form.
    pub(crate) key: String,
    pub(crate) text: String,
}

impl Environment {
    /// Settings are in `PREFIX_KEY`; where several prefixes have one, that of the first counts.
    pub(crate) fn new(
        prefixes: &'static [&'static str],
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        // One whose name is no text is another program's.
        let named = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty());
        Self { prefixes, variables: variables.filter_map(named).collect() }
    }

    /// The home folder: that of the first prefix that has one, as `PREFIXHOME` or `PREFIX_HOME`.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        let names = self.prefixes.iter().flat_map(|p| [format!("{p}HOME"), format!("{p}_HOME")]);
        names.into_iter().find_map(|name| self.path(&name))
    }

    /// A variable of the system.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }

    /// The variable of a key outside of `[p2p]`, like `moniker` or `rpc.laddr`, and what it says.
    pub(crate) fn get(&self, key: &str) -> Result<Option<(String, String)>, Mistake> {
        let key = key.replace('.', "_").to_uppercase();
        let mut names = self.prefixes.iter().map(|prefix| format!("{prefix}_{key}"));
        let Some(name) = names.find(|name| self.variables.contains_key(name)) else {
            return Ok(None);
        };
        let text = self.text(&name)?;
        Ok(Some((name, text)))
    }

    /// The variables of `[p2p]`, of several with one key the one that counts last.
    pub(crate) fn p2p(&self) -> Result<Vec<Variable>, Mistake> {
        let mut found = Vec::new();
        for prefix in self.prefixes.iter().rev() {
            for name in self.variables.keys() {
                let Some(rest) = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'))
                else {
                    continue;
                };
                let rest = names::normal(rest);
                let key = match rest.strip_prefix("p2p_") {
                    Some(key) => key.to_owned(),
                    None if *prefix == FLAT && Kind::of(&rest).is_some() => rest,
                    None => continue,
                };
                if !is_kubernetes(&key) {
                    found.push(Variable { text: self.text(name)?, name: name.clone(), key });
                }
            }
        }
        Ok(found)
    }

    /// What is odd about them: tenderseed's that name no key.
    pub(crate) fn warnings(&self) -> Vec<String> {
        if !self.prefixes.contains(&FLAT) {
            return Vec::new();
        }
        let names = self.variables.keys().filter(|name| {
            name.strip_prefix(FLAT).and_then(|rest| rest.strip_prefix('_')).is_some_and(|rest| {
                let key = names::normal(rest);
                !names::TENDERSEED.contains(&key.as_str())
                    && !key.starts_with("p2p_")
                    && !is_kubernetes(&key)
                    && Kind::of(&key).is_none()
            })
        });
        names.map(|name| format!("{name}: ignored, because there is no such key")).collect()
    }

    fn text(&self, name: &str) -> Result<String, Mistake> {
        let text = self.variables[name].to_str().map(str::to_owned);
        text.ok_or_else(|| Mistake(format!("{name}: it is not UTF-8; correct or remove it")))
    }
}

/// Kubernetes tells each container of the services that there are; one may be called `tm-p2p`.
fn is_kubernetes(key: &str) -> bool {
    key == "port" || key.starts_with("port_") || key.starts_with("service_")
}
