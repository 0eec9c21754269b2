//! What a program does with its settings before anything else: it starts the log as they say, and
//! tells what is odd about them.

use tmp2p::{Config, NodeInfoError, NodeKey, SwitchHandle};
use toml::Table;

use crate::{
    cli::{self, Failure},
    layers::{Layers, Mistake, P2p},
};

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        Self::usage(mistake)
    }
}

/// Starts the log and tells what is odd about the settings, after `warning` about the flags. `level` and
/// `format` are those of the flags. Other commands than the program's run say what they have to say
/// themselves.
pub(crate) fn start_log(
    layers: &Layers,
    level: Option<&str>,
    format: Option<&str>,
    is_run: bool,
    warning: Option<String>,
) -> Result<(), Failure> {
    let (level_at, format_at) =
        (layers.place("log_level", level), layers.place("log_format", format));
    let level = match is_run {
        true => layers.text("log_level", level)?,
        false => level.map(str::to_owned),
    };
    let default = if is_run { "info" } else { "error" };
    let format = layers.text("log_format", format)?;
    cli::init_log(
        (&level_at, level.as_deref().unwrap_or(default)),
        (&format_at, format.as_deref().unwrap_or("plain")),
    )?;
    tell(warning.iter().chain(&layers.warnings()));
    Ok(())
}

/// The configuration of the node with this key, which dials everybody but itself.
pub(crate) fn of_node(mut p2p: P2p, key: &NodeKey) -> Config {
    let told = p2p.warnings.len();
    p2p.leave_out(&key.id());
    tell(&p2p.warnings[told..]);
    p2p.config
}

/// `[p2p]` of all layers, not yet checked; `defaults` stand for keys that nobody sets.
pub(crate) fn p2p(layers: &Layers, defaults: Table) -> Result<P2p, Failure> {
    let p2p = layers.p2p(defaults)?;
    tell(&p2p.warnings);
    Ok(p2p)
}

fn tell<'a>(warnings: impl IntoIterator<Item = &'a String>) {
    warnings.into_iter().for_each(|warning| log::warn!("{warning}"));
}

/// Where a node can be dialed from this machine; of one that only dials who it is.
pub(crate) fn address(handle: &SwitchHandle) -> String {
    handle.peer_address().map_or_else(|| handle.id().to_string(), |addr| addr.to_string())
}

/// Whose fault it is that there can be no such node info.
pub(crate) fn blamed(why: &NodeInfoError) -> &'static str {
    match why {
        NodeInfoError::Moniker { .. } => "moniker",
        _ => "chain_id",
    }
}
