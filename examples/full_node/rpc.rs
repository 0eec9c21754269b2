//! The calls of the RPC server: a few of Tendermint's, with answers of the same form. What this node
//! does not know is empty, null or 0, as Tendermint's own nodes have it where there is nothing:
//! clients demand every field.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use base64::{
    Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use serde_json::{Value, json, value::RawValue};
use tmp2p::{
    Direction, NodeInfo, Peer, PublicKey, SwitchHandle,
    crossbeam_channel::{Sender, TrySendError},
};

use crate::{
    consensus,
    heights::Heights,
    http::{self, Answer, Kept, Reply, Request},
    jsonrpc::{self, Outcome, Params, RpcError},
    mempool,
    relay::Submitted,
};

/// A time that stands for none, of blocks and of the rest, as Tendermint writes it.
const NO_BLOCK_TIME: &str = "1970-01-01T00:00:00Z";
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The calls that there are, and the names of their parameters.
const CALLS: [(&str, &[&str]); 5] = [
    ("health", &[]),
    ("net_info", &[]),
    ("status", &[]),
    ("broadcast_tx_async", &["tx"]),
    ("broadcast_tx_sync", &["tx"]),
];

/// How many of them are answered from what was made before: net_info, which is long.
const KEPT: u32 = 1;

/// What `broadcast_tx_sync` says of a transaction, so that nobody takes its code for a judgement.
const NOT_CHECKED: &str = "not checked: this node has no application, it relays what it is given";

/// What calls are answered from.
pub(crate) struct Rpc {
    handle: SwitchHandle,
    key: PublicKey,
    heights: Arc<Mutex<Heights>>,
    submit: Sender<Submitted>,
    max_tx_bytes: usize,
    kept: Kept<Arc<str>>,
    started: Instant,
}

impl Answer for Rpc {
    /// Tendermint's default of `max_body_bytes`.
    const MAX_BODY: usize = 1_000_000;

    fn answer(&mut self, request: &Request<'_>) -> Reply {
        match request.path {
            "/" if request.body.is_empty() => list(request.host),
            "/" => jsonrpc::body(request.body, |method, params| self.call(method, params)),
            path => {
                let method = path.strip_prefix('/').unwrap_or(path);
                jsonrpc::uri(self.by_uri(method, request))
            }
        }
    }

    fn too_large(&mut self) -> Reply {
        RpcError::invalid_request("error reading request body: http: request body too large")
            .reply(400)
    }
}

impl Rpc {
    /// `key` is the node's.
    pub(crate) fn new(
        handle: SwitchHandle,
        key: PublicKey,
        heights: Arc<Mutex<Heights>>,
        submit: Sender<Submitted>,
        max_tx_bytes: usize,
    ) -> Self {
        let (kept, started) = (Kept::new(KEPT), Instant::now());
        Self { handle, key, heights, submit, max_tx_bytes, kept, started }
    }

    fn by_uri(&mut self, method: &str, request: &Request<'_>) -> Outcome {
        if !matches!(method, "broadcast_tx_async" | "broadcast_tx_sync") {
            return self.call(method, Params::NONE);
        }
        let is_form = request.content_type.starts_with("application/x-www-form-urlencoded");
        let form = if is_form { request.body } else { &[] };
        let tx = http::parameter(request.query, "tx").or_else(|| http::parameter(form, "tx"));
        let tx = tx.unwrap_or(Ok(Vec::new())).map_err(|_| bad_tx("a % without two digits"))?;
        self.broadcast(method, in_quotes(&tx).map_err(bad_tx)?)
    }

    fn call(&mut self, method: &str, params: Params<'_>) -> Outcome {
        match method {
            "health" => params.take([]).map(|[]| shared(json!({}))),
            "status" => {
                let [] = params.take([])?;
                Ok(shared(status(&self.handle, &self.key, &self.heights)))
            }
            "net_info" => {
                let [] = params.take([])?;
                let (handle, clock) = (&self.handle, || self.started.elapsed());
                Ok(self.kept.get("net_info", clock, || shared(net_info(handle))))
            }
            "broadcast_tx_async" | "broadcast_tx_sync" => {
                let [tx] = params.take(["tx"])?;
                self.broadcast(method, in_base64(tx).map_err(bad_tx)?)
            }
            _ => Err(RpcError::no_such_method(&CALLS.map(|(name, _)| name).join(", "))),
        }
    }

    /// Hands a transaction to the relay. There is no application that could check it: also the
    /// answer of `broadcast_tx_sync` means no more than that it will be told to peers, unless it was
    /// before.
    fn broadcast(&self, method: &str, tx: Vec<u8>) -> Outcome {
        if tx.len() > self.max_tx_bytes {
            let (max, len) = (self.max_tx_bytes, tx.len());
            let why = format_args!("Tx too large. Max size is {max}, but got {len}");
            return Err(RpcError::internal(why));
        }
        let hash = mempool::shown(&mempool::hash(&tx));
        let log = if method == "broadcast_tx_sync" { NOT_CHECKED } else { "" };
        match self.submit.try_send(Submitted { tx, from: "rpc" }) {
            Ok(()) => {
                let told =
                    json!({ "code": 0, "data": "", "log": log, "codespace": "", "hash": hash });
                Ok(shared(told))
            }
            Err(TrySendError::Full(_)) => {
                Err(RpcError::internal("too many transactions wait; try again"))
            }
            Err(TrySendError::Disconnected(_)) => Err(RpcError::internal("the node is stopping")),
        }
    }
}

/// The block before the one that peers work on is the last that there is. A node without
/// validators names its own key where Tendermint's names that of its validator, which also has
/// no power in most nodes.
fn status(handle: &SwitchHandle, key: &PublicKey, heights: &Mutex<Heights>) -> Value {
    let height = consensus::lock(heights).height();
    json!({
        "node_info": node_info(handle.node_info()),
        "sync_info": {
            "latest_block_hash": "",
            "latest_app_hash": "",
            "latest_block_height": (height - 1).max(0).to_string(),
            "latest_block_time": NO_BLOCK_TIME,
            "earliest_block_hash": "",
            "earliest_app_hash": "",
            "earliest_block_height": "0",
            "earliest_block_time": NO_BLOCK_TIME,
            // Without a peer that says where the chain is nobody knows.
            "catching_up": height == 0,
        },
        "validator_info": {
            "address": handle.id().to_string().to_uppercase(),
            "pub_key": {
                "type": "tendermint/PubKeyEd25519",
                "value": STANDARD.encode(key.as_bytes()),
            },
            "voting_power": "0",
        },
        // Tendermint's has none: whoever looks at the height should see from how many it is.
        "n_peers": handle.peers().len().to_string(),
    })
}

fn net_info(handle: &SwitchHandle) -> Value {
    let peers: Vec<Value> = handle.peers().iter().map(peer).collect();
    let listener = handle.local_addr().map(|addr| format!("Listener(@{addr})"));
    json!({
        "listening": listener.is_some(),
        "listeners": Vec::from_iter(listener),
        "n_peers": peers.len().to_string(),
        "peers": peers,
    })
}

fn shared(value: Value) -> Arc<str> {
    value.to_string().into()
}

/// What can be called, as Tendermint shows it to browsers.
fn list(host: &str) -> Reply {
    // No quotes are in the name of a host.
    let host = http::escaped(host);
    let links = |has_params: bool| {
        let calls = CALLS.iter().filter(|(_, params)| params.is_empty() != has_params);
        let links = calls.map(|(name, params)| {
            let params: Vec<String> = params.iter().map(|param| format!("{param}=_")).collect();
            let query = if has_params { "?" } else { "" };
            let link = format!("//{host}/{name}{query}{}", params.join("&"));
            format!("<a href=\"{link}\">{link}</a></br>")
        });
        links.collect::<String>()
    };
    Reply::html(format!(
        "<html><body><br>Available endpoints:<br>{}<br>Endpoints that require arguments:<br>{}\
         </body></html>",
        links(false),
        links(true)
    ))
}

fn bad_tx(why: &str) -> RpcError {
    RpcError::invalid_params(format_args!(
        "tx: {why}; write tx=\"text\" or tx=0xHEX, or base64 in a body"
    ))
}

/// `"text"` with JSON's escapes, or `0x` and hexadecimal digits.
fn in_quotes(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let is_hex = text.starts_with(b"0x") || text.starts_with(b"0X");
    let tx = match text {
        [] => Vec::new(),
        _ if is_hex => hex::decode(&text[2..]).map_err(|_| "no pairs of hexadecimal digits")?,
        _ => serde_json::from_slice::<String>(text).map_err(|_| "no text in quotes")?.into_bytes(),
    };
    some(tx)
}

/// Whatever the bits say that are over.
const AS_GO: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// As Go reads bytes in JSON: with line ends anywhere, and whatever the bits say that are over.
fn in_base64(value: Option<&RawValue>) -> Result<Vec<u8>, &'static str> {
    match value.map(RawValue::get) {
        None | Some("null") => some(Vec::new()),
        Some(text) => {
            let text: String = serde_json::from_str(text).map_err(|_| "no text")?;
            let text = text.replace(['\r', '\n'], "");
            some(AS_GO.decode(text).map_err(|_| "no base64")?)
        }
    }
}

fn some(tx: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if tx.is_empty() { Err("it is missing or empty") } else { Ok(tx) }
}

fn node_info(info: &NodeInfo) -> Value {
    let channels: Vec<u8> = info.channels().iter().map(|channel| channel.as_u8()).collect();
    json!({
        "protocol_version": {
            "p2p": info.p2p_protocol().to_string(),
            "block": info.block_protocol().to_string(),
            "app": info.app_protocol().to_string(),
        },
        "id": info.id().map_or_else(String::new, |id| id.to_string()),
        "listen_addr": info.listen_addr(),
        "network": info.network(),
        "version": info.version(),
        "channels": hex::encode_upper(channels),
        "moniker": info.moniker(),
        // Who does not say it has none.
        "other": {
            "tx_index": if info.tx_index() == "on" { "on" } else { "off" },
            "rpc_address": info.rpc_address(),
        },
    })
}

fn peer(peer: &Peer) -> Value {
    let status = peer.status();
    let sum = |of: fn(&tmp2p::ChannelStatus) -> u64| status.channels.iter().map(of).sum::<u64>();
    let channels = status.channels.iter().map(|channel| {
        json!({
            "ID": channel.channel.as_u8(),
            "SendQueueCapacity": "0",
            "SendQueueSize": channel.queued.to_string(),
            "Priority": "0",
            "RecentlySent": "0",
        })
    });
    json!({
        "node_info": node_info(peer.node_info()),
        "is_outbound": peer.direction() == Direction::Outbound,
        "connection_status": {
            "Duration": "0",
            "SendMonitor": monitor(sum(|channel| channel.sent_bytes), status.send_rate),
            "RecvMonitor": monitor(sum(|channel| channel.received_bytes), status.recv_rate),
            "Channels": channels.collect::<Vec<_>>(),
        },
        "remote_ip": peer.remote_addr().ip().to_string(),
    })
}

/// What was transferred, and how much is now. Nobody measures the rest here.
fn monitor(bytes: u64, rate: u64) -> Value {
    json!({
        "Start": NO_TIME,
        "Bytes": bytes.to_string(),
        "Samples": "0",
        "InstRate": "0",
        "CurRate": rate.to_string(),
        "AvgRate": "0",
        "PeakRate": "0",
        "BytesRem": "0",
        "Duration": "0",
        "Idle": "0",
        "TimeRem": "0",
        "Progress": 0,
        "Active": true,
    })
}
