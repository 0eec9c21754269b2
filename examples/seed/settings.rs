//! The settings, from the command line, the environment and the home folder: a file of tenderseed,
//! whose keys are in no table, or one of Tendermint, which has a table `[p2p]`.

use std::{
    env,
    path::{Path, PathBuf},
};

use tmp2p::{ListenAddress, NodeInfo};
use toml::{Table, Value};

use crate::{
    Args, Command,
    args::Flags,
    cli::Failure,
    home::Home,
    http,
    layers::{Environment, Layers, P2p},
    opening,
};

/// Where variables of the environment begin with, the strongest first. CometBFT prefers its own, too.
const PREFIXES: &[&str] = &["TENDERSEED", "CMT", "TM"];

pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) node_key_file: PathBuf,
    pub(crate) config_file: PathBuf,
    layers: Layers,
}

impl Settings {
    /// Reads the file and starts logging.
    pub(crate) fn read(args: &Args, mut flags: Flags) -> Result<Self, Failure> {
        let environment = Environment::new(PREFIXES, env::vars_os());
        let home = Home::find(args.home.as_deref(), &environment, ".tenderseed")?;
        // What is named must be there, except for `init`, which makes it.
        let is_named = args.config.as_deref().is_some_and(|file| !file.is_empty());
        let must_exist = is_named && !matches!(args.command, Some(Command::Init));
        let file = home.config(config_file(args), must_exist.then_some("--config"))?;
        // The flags with names of their own come last: whoever writes both means these. Empty ones
        // are none, as for tenderseed.
        for (key, value) in [("seeds", &args.seeds), ("laddr", &args.laddr)] {
            let value = value.clone().filter(|value| !value.is_empty());
            flags.p2p.extend(value.map(|value| (key.to_owned(), Some(value))));
        }
        let warning = flags.warning();
        let layers = Layers::new(file.or_tenderseeds(), environment, flags.p2p);
        let is_start = matches!(args.command, None | Some(Command::Start));
        let (level, format) = (args.log_level.as_deref(), args.log_format.as_deref());
        opening::start_log(&layers, level, format, is_start, warning)?;
        let node_key_file = layers.text("node_key_file", args.node_key_file.as_deref())?;
        let node_key_file =
            node_key_file.unwrap_or_else(|| "config/node_key.json".to_owned()).into();
        let config_file = home.file(config_file(args));
        Ok(Self { home, node_key_file, config_file, layers })
    }

    /// `[p2p]`, always of a seed.
    pub(crate) fn p2p(&self) -> Result<P2p, Failure> {
        let mut defaults = Table::new();
        if self.layers.is_tenderseeds() {
            // tenderseed's own.
            defaults.insert("max_num_inbound_peers".to_owned(), Value::Integer(100));
            defaults.insert("max_num_outbound_peers".to_owned(), Value::Integer(60));
            defaults.insert("addr_book_file".to_owned(), "data/addrbook.json".into());
            defaults.insert("allow_duplicate_ip".to_owned(), Value::Boolean(true));
        }
        let mut p2p = opening::p2p(&self.layers, defaults)?;
        for (key, is_on) in [("pex", p2p.config.pex), ("seed_mode", p2p.config.seed_mode)] {
            if let Some(place) = p2p.place(key).filter(|_| !is_on) {
                log::warn!("{place} is false; this program is a seed all the same");
            }
        }
        (p2p.config.pex, p2p.config.seed_mode) = (true, true);
        p2p.config.check().map_err(|error| Failure::Usage(format!("p2p.{error}")))?;
        Ok(p2p)
    }

    /// Which chain.
    pub(crate) fn chain_id(&self, args: &Args) -> Result<String, Failure> {
        if let Some(id) = self.layers.text("chain_id", args.chain_id.as_deref())? {
            if let Some((place, found)) = self.other_chain(&id) {
                let from = self.layers.place("chain_id", args.chain_id.as_deref());
                log::warn!(
                    "{from} is {id:?}, although {place} is {found:?}, and so is this home's book"
                );
            }
            return Ok(id);
        }
        let file = self.layers.text("genesis_file", args.genesis_file.as_deref())?;
        let file = file.unwrap_or_else(|| "config/genesis.json".to_owned());
        match self.home.chain_id(Path::new(&file))? {
            Some(chain_id) => Ok(chain_id),
            None => Err(Failure::Usage(format!(
                "chain_id is not set; give --chain-id ID or put chain_id into {}",
                self.home.file(config_file(args)).display()
            ))),
        }
    }

    /// What the file says of the chain, and where, if it is another one.
    fn other_chain(&self, chain_id: &str) -> Option<(String, String)> {
        self.layers.in_file("chain_id").filter(|(_, found)| found != chain_id)
    }

    /// Where the HTTP server listens; nowhere if nobody says.
    pub(crate) fn http(&self, args: &Args) -> Result<Vec<ListenAddress>, Failure> {
        let text = self.layers.written("http", args.http.as_deref())?.unwrap_or_default();
        let place = self.layers.place("http", args.http.as_deref());
        http::list(&text).map_err(|why| Failure::Usage(format!("{place} {why}")))
    }

    /// What peers see of this node.
    pub(crate) fn node_info(&self, args: &Args, chain_id: &str) -> Result<NodeInfo, Failure> {
        let moniker = self.layers.text("moniker", args.moniker.as_deref())?;
        let moniker = moniker.unwrap_or_else(|| format!("{chain_id}-seed"));
        let info = NodeInfo::new(chain_id, &moniker).map_err(|why| {
            let key = opening::blamed(&why);
            let flag = if key == "moniker" { &args.moniker } else { &args.chain_id };
            Failure::Usage(format!("{}: {why}", self.layers.place(key, flag.as_deref())))
        })?;
        Ok(info.with_block_protocol(args.block_protocol))
    }

    /// Makes the files of a new seed.
    pub(crate) fn init(&self, args: &Args) -> Result<(), Failure> {
        let chain_id = self.chain_id(args)?;
        if let Some((place, found)) = self.other_chain(&chain_id) {
            return Err(Failure::Usage(format!(
                "chain-id {chain_id:?}: {place} is {found:?} and stays; give that one or another --home"
            )));
        }
        // Whatever peers would refuse is refused before it is in a file.
        self.node_info(args, &chain_id)?;
        let seeds = self.p2p()?.config.seeds;
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        let config = CONFIG
            .replace("CHAIN_ID", &format!("{chain_id:?}"))
            .replace("SEEDS", &format!("{:?}", seeds.join(",")));
        self.home.init(&self.node_key_file, &[(config_file(args), config)])
    }
}

fn config_file(args: &Args) -> &Path {
    let file = args.config.as_deref().filter(|file| !file.is_empty());
    Path::new(file.unwrap_or(CONFIG_FILE.as_ref()))
}

const CONFIG_FILE: &str = "config/config.toml";

/// What `init` writes.
const CONFIG: &str = r#"# Which chain; the seed talks to its nodes only.
chain_id = CHAIN_ID
# Where nodes connect to.
laddr = "tcp://0.0.0.0:26656"
# Nodes to begin with, ID@HOST:PORT, separated by commas.
seeds = SEEDS
log_level = "info"
node_key_file = "config/node_key.json"
# The book is kept beside this file as a database, addrbook.sqlite. The .json is read when it is new or
# has changed, and never written; deleting it forgets nothing. `seed export-addrbook -` writes one.
addr_book_file = "data/addrbook.json"
# Set false for private networks.
addr_book_strict = true
max_num_inbound_peers = 100
max_num_outbound_peers = 60
max_packet_msg_payload_size = 1024
"#;
