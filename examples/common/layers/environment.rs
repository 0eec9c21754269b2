//! Variables of the environment. An empty one is none, as for Go's reader, which asks for those of its
//! keys and knows of no others: one that names no key may be a script's or a container's, and never
//! keeps a program from starting.

use std::{collections::BTreeMap, ffi::OsString, iter, path::PathBuf};

use super::{Mistake, names, p2p};

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
        let others = names::ALIASES.iter().filter(|(_, ours)| *ours == key);
        let keys = iter::once(key).chain(others.map(|(theirs, _)| *theirs));
        let keys: Vec<_> = keys.map(|key| key.replace('.', "_").to_uppercase()).collect();
        let in_all = |prefix| keys.iter().map(move |key| format!("{prefix}_{key}"));
        let mut names = self.prefixes.iter().flat_map(in_all);
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
            for (name, rest) in self.of(prefix) {
                if let Some(key) = p2p_key(prefix, &rest) {
                    found.push(Variable { text: self.text(name)?, name: name.clone(), key });
                }
            }
        }
        Ok(found)
    }

    /// What is odd about them, in one sentence: those that name no key.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut unknown = Vec::new();
        for prefix in self.prefixes {
            for (name, rest) in self.of(prefix) {
                let is_key = names::is_variable(&rest) || p2p_key(prefix, &rest).is_some();
                if is_key || is_service(&rest, &self.variables[name].to_string_lossy()) {
                    continue;
                }
                unknown.push(match names::instead_of(rest.strip_prefix("p2p_").unwrap_or(&rest)) {
                    Some(instead) => format!("{name} ({instead})"),
                    None => name.clone(),
                });
            }
        }
        if unknown.is_empty() {
            return Vec::new();
        }
        let all = unknown.join(", ");
        vec![format!("variables ignored, because this program does not know them: {all}")]
    }

    /// The variables with this prefix, and the normal forms of what is behind it.
    fn of(&self, prefix: &str) -> impl Iterator<Item = (&String, String)> {
        self.variables.keys().filter_map(move |name| {
            let rest = name.strip_prefix(prefix)?.strip_prefix('_')?;
            Some((name, names::normal(rest)))
        })
    }

    fn text(&self, name: &str) -> Result<String, Mistake> {
        let text = self.variables[name].to_str().map(str::to_owned);
        text.ok_or_else(|| Mistake(format!("{name}: it is not UTF-8; correct or remove it")))
    }
}

/// The key of `[p2p]` that is called so behind the prefix.
fn p2p_key(prefix: &str, rest: &str) -> Option<String> {
    let key = match rest.strip_prefix("p2p_") {
        Some(key) => key,
        None if prefix == FLAT => rest,
        None => return None,
    };
    let key = names::ours_in_p2p(&key.replace("libp2p_", "libp2p.")).to_owned();
    p2p::is_known(&key).then_some(key)
}

/// Kubernetes, and Docker with links, tell each container of the services that there are, some of which
/// may be called `tm` or `tm-p2p-0`: `TM_P2P_0_SERVICE_HOST`, `TM_P2P_0_PORT_26656_TCP_ADDR` and others.
fn is_service(rest: &str, value: &str) -> bool {
    let is_protocol = |behind: &str| {
        let behind = behind.trim_start_matches(|c: char| c.is_ascii_digit());
        ["_tcp", "_udp", "_sctp"].iter().any(|protocol| behind.starts_with(protocol))
    };
    rest.ends_with("service_host")
        || rest.contains("service_port")
        || rest.split("port_").skip(1).any(is_protocol)
        || (rest.ends_with("port") && value.contains("://"))
}
