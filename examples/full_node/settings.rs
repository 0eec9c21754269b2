//! The settings, from the command line, the environment and the home folder.

use std::{
    env,
    path::{Path, PathBuf},
};

use tmp2p::{ListenAddress, NodeInfo};
use toml::Table;

use crate::{
    Args, Command,
    args::Flags,
    cli::Failure,
    home::Home,
    http,
    layers::{Environment, Layers, P2p},
    mempool::DEFAULT_MAX_TX_BYTES,
    opening, unserved,
};

const CONFIG_FILE: &str = "config/config.toml";

/// The largest block that Tendermint allows, which a transaction must fit into
/// (`types.MaxBlockSizeBytes`).
const MAX_TX_BYTES: usize = 100 << 20;

/// Where variables of the environment begin with, the strongest first. CometBFT prefers its own, too.
const PREFIXES: &[&str] = &["CMT", "TM"];

pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) node_key_file: PathBuf,
    genesis_file: PathBuf,
    layers: Layers,
}

impl Settings {
    /// Reads the file and starts logging.
    pub(crate) fn read(args: &Args, flags: Flags) -> Result<Self, Failure> {
        let environment = Environment::new(PREFIXES, env::vars_os());
        let home = Home::find(args.home.as_deref(), &environment, ".full_node")?;
        let file = home.config(Path::new(CONFIG_FILE), None)?;
        let warning = flags.warning();
        let layers = Layers::new(file, environment, flags.p2p);
        let is_start = matches!(args.command, None | Some(Command::Start));
        let (level, format) = (args.log_level.as_deref(), args.log_format.as_deref());
        opening::start_log(&layers, level, format, is_start, warning)?;
        let node_key_file = layers.text("node_key_file", args.node_key_file.as_deref())?;
        let node_key_file =
            node_key_file.unwrap_or_else(|| "config/node_key.json".to_owned()).into();
        let genesis_file = layers.text("genesis_file", args.genesis_file.as_deref())?;
        let genesis_file = genesis_file.unwrap_or_else(|| "config/genesis.json".to_owned()).into();
        Ok(Self { home, node_key_file, genesis_file, layers })
    }

    /// `[p2p]`.
    pub(crate) fn p2p(&self) -> Result<P2p, Failure> {
        let mut p2p = opening::p2p(&self.layers, Table::new())?;
        let place = |key: &'static str| p2p.place(key).unwrap_or(key);
        if p2p.config.seed_mode && !p2p.config.pex {
            let (seed_mode, pex) = (place("seed_mode"), place("pex"));
            log::warn!("{seed_mode} has no effect, because {pex} is false");
            p2p.config.seed_mode = false;
        }
        p2p.config.check().map_err(|error| Failure::Usage(format!("p2p.{error}")))?;
        Ok(p2p)
    }

    /// Which chain.
    pub(crate) fn chain_id(&self, args: &Args) -> Result<String, Failure> {
        let file = self.home.file(&self.genesis_file);
        let wanted = self.layers.text("chain_id", args.chain_id.as_deref())?;
        match (wanted, self.home.chain_id(&self.genesis_file)?) {
            (None, Some(found)) => Ok(found),
            (None, None) => Err(Failure::Usage(format!(
                "chain_id: there is no {}; give --chain-id ID",
                file.display()
            ))),
            (Some(chain_id), Some(found)) => {
                if chain_id != found {
                    let file = file.display();
                    log::warn!("chain-id is {chain_id:?}, although {file} is of {found:?}");
                }
                Ok(chain_id)
            }
            (Some(chain_id), None) => Ok(chain_id),
        }
    }

    /// Largest transaction that is taken and relayed, bytes: `[mempool] max_tx_bytes`. Go starts with
    /// any; with 0 it then ends the session of whoever sends a transaction.
    pub(crate) fn max_tx_bytes(&self, args: &Args) -> Result<usize, Failure> {
        let (key, flag) = ("mempool.max_tx_bytes", args.max_tx_bytes.as_deref());
        let bytes = self.layers.number(key, flag, DEFAULT_MAX_TX_BYTES as u64)?;
        match usize::try_from(bytes).unwrap_or(usize::MAX) {
            0 => Err(Failure::Usage(format!(
                "{key} is 0: no transaction would pass; write 1 or more, or leave it out for \
                 {DEFAULT_MAX_TX_BYTES}"
            ))),
            bytes if bytes > MAX_TX_BYTES => {
                log::warn!("{key} is {bytes}; it is {MAX_TX_BYTES} here, more fits into no block");
                Ok(MAX_TX_BYTES)
            }
            bytes => Ok(bytes),
        }
    }

    /// Where the RPC server listens; nowhere with an empty text in a flag or in the file.
    pub(crate) fn rpc_laddr(&self, args: &Args) -> Result<Vec<ListenAddress>, Failure> {
        let text = self.layers.written("rpc.laddr", args.rpc_laddr.as_deref())?;
        let text = text.unwrap_or_else(|| "tcp://127.0.0.1:26657".to_owned());
        let (sockets, others): (Vec<&str>, Vec<&str>) =
            text.split(',').partition(|addr| addr.trim().to_lowercase().starts_with("unix:"));
        let addrs = http::list(&others.join(",")).map_err(|why| {
            let place = self.layers.place("rpc.laddr", args.rpc_laddr.as_deref());
            Failure::Usage(format!("{place} {why}"))
        })?;
        for socket in sockets {
            log::warn!(
                "rpc.laddr {:?}: left out, this program serves no Unix sockets; write \
                 tcp://127.0.0.1:26657",
                socket.trim()
            );
        }
        if !addrs.is_empty() {
            unserved::tell(&self.layers, &addrs)?;
        }
        Ok(addrs)
    }

    /// The node's name for people.
    fn moniker(&self, args: &Args) -> Result<String, Failure> {
        let moniker = self.layers.text("moniker", args.moniker.as_deref())?;
        Ok(moniker.unwrap_or_else(|| "full-node".to_owned()))
    }

    /// What peers see of this node.
    pub(crate) fn node_info(&self, args: &Args, chain_id: &str) -> Result<NodeInfo, Failure> {
        let moniker = self.moniker(args)?;
        let info = NodeInfo::new(chain_id, &moniker).map_err(|why| {
            let place = match opening::blamed(&why) {
                "moniker" => self.layers.place("moniker", args.moniker.as_deref()),
                key => self.layers.set_at(key, args.chain_id.as_deref()).unwrap_or_else(|| {
                    format!("{}, {key}", self.home.file(&self.genesis_file).display())
                }),
            };
            Failure::Usage(format!("{place}: {why}"))
        })?;
        Ok(info
            .with_block_protocol(args.block_protocol)
            .with_app_protocol(args.app_protocol)
            .with_tx_index(false))
    }

    /// Makes the files of a new node.
    pub(crate) fn init(&self, args: &Args) -> Result<(), Failure> {
        let wanted = self.layers.text("chain_id", args.chain_id.as_deref())?;
        if let Some(found) = self.home.chain_id(&self.genesis_file)?
            && let Some(wanted) = wanted.filter(|id| *id != found)
        {
            return Err(Failure::Usage(format!(
                "chain-id {wanted:?}: {} is of {:?} and stays; give that one or another --home",
                self.home.file(&self.genesis_file).display(),
                found
            )));
        }
        let chain_id = self.chain_id(args)?;
        // Whatever peers would refuse is refused before it is in a file.
        self.node_info(args, &chain_id)?;
        let genesis = serde_json::json!({ "chain_id": chain_id, "initial_height": "1" });
        let config = CONFIG.replace("MONIKER", &format!("{:?}", self.moniker(args)?));
        let files =
            [(Path::new(CONFIG_FILE), config), (&self.genesis_file, format!("{genesis:#}\n"))];
        self.home.init(&self.node_key_file, &files)
    }
}

/// What `init` writes. Everything that is not said here has its default.
const CONFIG: &str = r#"# The node's name for people.
moniker = MONIKER
log_level = "info"

[rpc]
# /net_info, /status, /health, /broadcast_tx_async and /broadcast_tx_sync; empty: no server.
laddr = "tcp://127.0.0.1:26657"

[p2p]
# Where peers connect to.
laddr = "tcp://0.0.0.0:26656"
# What peers are told to dial, where that is another address.
external_address = ""
# Nodes that are asked for addresses, ID@HOST:PORT, separated by commas.
seeds = ""
# Nodes to be connected to at all times.
persistent_peers = ""
# The book is kept beside this file as a database, addrbook.sqlite. The .json is read when it is new or
# has changed, and never written; deleting it forgets nothing.
addr_book_file = "config/addrbook.json"
# Set false for private networks.
addr_book_strict = true
max_num_inbound_peers = 40
max_num_outbound_peers = 10
pex = true
"#;
