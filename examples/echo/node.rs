//! What server and clients have in common: identity, configuration, logs.

use std::path::PathBuf;

use tmp2p::{Config, ListenAddress, NodeInfo, NodeKey, Switch, SwitchBuilder};

use crate::cli::{self, Failure};

/// Said by every `--help`.
pub(crate) const RATES: &str = "Send and receive rates are not limited.";

/// Flags of every command.
#[derive(clap::Args)]
pub(crate) struct Common {
    /// Folder for config/node_key.json; without it the identity is a new one every time and
    /// nothing is kept on disk
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Logs on stderr: none, error, warn, info, debug or trace, or a list like p2p:debug,*:error
    /// [default: info for serve, error for the clients]
    #[arg(long = "log_level", global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// One JSON object a line on stdout for everything that happens
    #[arg(long, global = true)]
    pub(crate) events: bool,
    /// Only nodes of the same chain talk to each other
    #[arg(long, global = true, value_name = "ID", default_value = "test-chain")]
    chain_id: String,
}

impl Common {
    /// Starts logging, and prepares a switch with unlimited rates.
    pub(crate) fn prepare(
        &self,
        default_log_level: &str,
        config: Config,
    ) -> Result<SwitchBuilder, Failure> {
        let level = self.log_level.as_deref().unwrap_or(default_log_level);
        cli::init_log(("--log_level", level), ("", "plain"))?;
        let info = NodeInfo::new(&self.chain_id, "echo").map_err(Failure::usage)?;
        let key = match &self.home {
            Some(home) => cli::node_key(&home.join("config/node_key.json"))?,
            None => NodeKey::generate(),
        };
        Ok(Switch::builder(config, key, info))
    }
}

/// The defaults without limits: an echo is there to measure what the connection can do, by as many
/// clients of one machine as somebody likes to start.
pub(crate) fn config(laddr: Option<ListenAddress>) -> Config {
    let everybody = ["0.0.0.0/0", "::/0"].map(|cidr| cidr.parse().expect("a range"));
    Config {
        laddr,
        send_rate: 0,
        recv_rate: 0,
        max_num_inbound_peers: 10_000,
        allow_duplicate_ip: true,
        exempt_cidrs: everybody.into(),
        ..Config::default()
    }
}

/// A channel number: `0x99` or `153`.
pub(crate) fn channel(text: &str) -> Result<u8, String> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u8::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| "a channel is a number from 0 to 255, like 0x99 or 153".to_owned())
}
