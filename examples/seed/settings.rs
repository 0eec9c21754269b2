//! The settings, from the command line, the environment and the home folder: a file of tenderseed,
//! whose keys are in no table, or one of Tendermint, which has a table `[p2p]`.

use std::path::{Path, PathBuf};

use tmp2p::{Config, ListenAddress, NodeInfo};
use toml::{Table, Value};

use crate::{
    Args, Command,
    cli::{self, Failure},
    home::Home,
    layers::Layers,
};

/// The keys of tenderseed that are not keys of `[p2p]`.
const OWN_KEYS: [&str; 6] =
    ["chain_id", "log_format", "log_level", "node_key_file", "moniker", "http"];

pub(crate) struct Settings {
    pub(crate) home: Home,
    pub(crate) node_key_file: PathBuf,
    layers: Layers,
    is_tenderseed: bool,
}

impl Settings {
    /// Reads the file and starts logging.
    pub(crate) fn read(
        args: &Args,
        mut p2p: Vec<(String, Option<String>)>,
    ) -> Result<Self, Failure> {
        let home = Home::find(args.home.clone(), ".tenderseed")?;
        let path = home.file(&args.config);
        let text = home.config(&args.config)?;
        let is_tenderseed = !text.as_deref().is_some_and(has_p2p_table);
        // The flags with names of their own come last: whoever writes both means these.
        let own = [("seeds", &args.seeds), ("laddr", &args.laddr)];
        p2p.extend(
            own.into_iter().filter_map(|(key, value)| {
                value.clone().map(|value| (key.to_owned(), Some(value)))
            }),
        );
        let layers = match text {
            Some(text) if is_tenderseed => Layers::new(path, Some(as_tendermint(&text)), p2p)?,
            text => Layers::new(path, text, p2p)?,
        };
        // Other commands say what they have to say themselves.
        let is_start = matches!(args.command, None | Some(Command::Start));
        let level = match is_start {
            true => layers.text("log_level", args.log_level.as_deref())?,
            false => args.log_level.clone(),
        };
        let default = if is_start { "info" } else { "error" };
        let format = layers.text("log_format", None)?;
        cli::init_log(level.as_deref().unwrap_or(default), format.as_deref().unwrap_or("plain"))?;
        let node_key_file = layers.text("node_key_file", None)?;
        let node_key_file =
            node_key_file.unwrap_or_else(|| "config/node_key.json".to_owned()).into();
        Ok(Self { home, node_key_file, layers, is_tenderseed })
    }

    /// `[p2p]`, always of a seed.
    pub(crate) fn p2p(&self) -> Result<Config, Failure> {
        let mut defaults = Table::new();
        if self.is_tenderseed {
            // tenderseed's own.
            defaults.insert("max_num_inbound_peers".to_owned(), Value::Integer(100));
            defaults.insert("max_num_outbound_peers".to_owned(), Value::Integer(60));
            defaults.insert("addr_book_file".to_owned(), "data/addrbook.json".into());
            defaults.insert("allow_duplicate_ip".to_owned(), Value::Boolean(true));
        }
        let config = Config { seed_mode: true, ..self.layers.p2p(defaults)? };
        config.check().map_err(|error| Failure::Usage(format!("p2p.{error}")))?;
        Ok(config)
    }

    /// Which chain.
    pub(crate) fn chain_id(&self, args: &Args) -> Result<String, Failure> {
        if let Some(id) = self.layers.text("chain_id", args.chain_id.as_deref())? {
            return Ok(id);
        }
        let file = self.layers.text("genesis_file", None)?;
        let file = file.unwrap_or_else(|| "config/genesis.json".to_owned());
        match self.home.chain_id(Path::new(&file))? {
            Some(chain_id) => Ok(chain_id),
            None => Err(Failure::Usage(format!(
                "chain_id is not set; give --chain-id ID or put chain_id into {}",
                self.home.file(&args.config).display()
            ))),
        }
    }

    /// Where the HTTP server listens.
    pub(crate) fn http(&self, args: &Args) -> Result<Option<ListenAddress>, Failure> {
        let Some(text) = self.layers.text("http", args.http.as_deref())? else { return Ok(None) };
        let why = |why| Failure::Usage(format!("http {text:?}: {why}; write tcp://IP:PORT"));
        text.parse().map(Some).map_err(why)
    }

    /// What peers see of this node.
    pub(crate) fn node_info(&self, args: &Args, chain_id: &str) -> Result<NodeInfo, Failure> {
        let moniker = self.layers.text("moniker", args.moniker.as_deref())?;
        let moniker = moniker.unwrap_or_else(|| format!("{chain_id}-seed"));
        let info = NodeInfo::new(chain_id, &moniker)
            .map_err(|why| Failure::Usage(format!("moniker {moniker:?} or chain-id: {why}")))?;
        Ok(info.with_block_protocol(args.block_protocol))
    }

    /// Makes the files of a new seed.
    pub(crate) fn init(&self, args: &Args) -> Result<(), Failure> {
        let chain_id = self.chain_id(args)?;
        // Whatever peers would refuse is refused before it is in a file.
        self.node_info(args, &chain_id)?;
        let seeds = self.p2p()?.seeds;
        let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
        let config = CONFIG
            .replace("CHAIN_ID", &format!("{chain_id:?}"))
            .replace("SEEDS", &format!("{:?}", seeds.join(",")));
        self.home.init(&self.node_key_file, &[(&args.config, config)])
    }
}

fn has_p2p_table(text: &str) -> bool {
    toml::from_str::<Table>(text).is_ok_and(|file| file.get("p2p").is_some_and(Value::is_table))
}

/// The same file with the keys of `[p2p]` in that table, every line where it was: what is wrong in
/// it is told with its line.
fn as_tendermint(text: &str) -> String {
    let in_p2p = |line: &str| match line.split_once('=') {
        Some((key, _)) => {
            let key = key.trim().trim_matches(['"', '\'']);
            !key.starts_with('#') && !OWN_KEYS.contains(&key)
        }
        None => false,
    };
    let lines = text.lines().map(|line| match in_p2p(line) {
        true => format!("p2p.{}\n", line.trim_start()),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// What `init` writes.
const CONFIG: &str = r#"# Which chain; the seed talks to its nodes only.
chain_id = CHAIN_ID
# Where nodes connect to.
laddr = "tcp://0.0.0.0:26656"
# Nodes to begin with, ID@HOST:PORT, separated by commas.
seeds = SEEDS
log_level = "info"
node_key_file = "config/node_key.json"
# Kept beside it as a database, addrbook.sqlite, which begins with this file if there is one.
addr_book_file = "data/addrbook.json"
# Set false for private networks.
addr_book_strict = true
max_num_inbound_peers = 100
max_num_outbound_peers = 60
max_packet_msg_payload_size = 1024
"#;
