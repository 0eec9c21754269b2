//! The RPC server: a few of Tendermint's calls, with answers of the same form.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tmp2p::{
    Direction, ListenAddress, NodeInfo, Peer, SwitchHandle,
    crossbeam_channel::{Sender, TrySendError},
};

use crate::{
    cli::Failure,
    consensus,
    console::Console,
    heights::Heights,
    http::{self, Reply},
    mempool,
    relay::Submitted,
};

/// A time that stands for none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// What calls are answered from.
pub(crate) struct Rpc {
    handle: SwitchHandle,
    heights: Arc<Mutex<Heights>>,
    submit: Sender<Submitted>,
    max_tx_bytes: usize,
}

/// JSON-RPC's codes of what is wrong with a call.
struct RpcError {
    status: u16,
    code: i32,
    message: &'static str,
    data: String,
}

impl Rpc {
    pub(crate) fn new(
        handle: SwitchHandle,
        heights: Arc<Mutex<Heights>>,
        submit: Sender<Submitted>,
        max_tx_bytes: usize,
    ) -> Self {
        Self { handle, heights, submit, max_tx_bytes }
    }

    pub(crate) fn serve(self, laddr: &ListenAddress, console: &Console) -> Result<(), Failure> {
        http::serve("rpc", laddr, console, move |path, query| self.reply(path, query))
    }

    fn reply(&self, path: &str, query: &str) -> Reply {
        let result = match path {
            "/health" => Ok(json!({})),
            "/status" => Ok(self.status()),
            "/net_info" => Ok(self.net_info()),
            "/broadcast_tx_async" => self.broadcast(query),
            _ => Err(RpcError {
                status: 404,
                code: -32601,
                message: "Method not found",
                data: "there are /health, /status, /net_info, /broadcast_tx_async?tx=…".to_owned(),
            }),
        };
        // Tendermint's ID for calls that have none.
        match result {
            Ok(result) => {
                Reply::json(200, &json!({ "jsonrpc": "2.0", "id": -1, "result": result }))
            }
            Err(RpcError { status, code, message, data }) => {
                let error = json!({ "code": code, "message": message, "data": data });
                Reply::json(status, &json!({ "jsonrpc": "2.0", "id": -1, "error": error }))
            }
        }
    }

    /// The block before the one that peers work on is the last that there is.
    fn status(&self) -> Value {
        let height = consensus::lock(&self.heights).height();
        json!({
            "node_info": node_info(self.handle.node_info()),
            "sync_info": {
                "latest_block_hash": "",
                "latest_app_hash": "",
                "latest_block_height": (height - 1).max(0).to_string(),
                "latest_block_time": NO_TIME,
                "earliest_block_hash": "",
                "earliest_app_hash": "",
                "earliest_block_height": "0",
                "earliest_block_time": NO_TIME,
                // Without a peer that says where the chain is nobody knows.
                "catching_up": height == 0,
            },
            "validator_info": { "address": "", "pub_key": null, "voting_power": "0" },
        })
    }

    fn net_info(&self) -> Value {
        let peers: Vec<Value> = self.handle.peers().iter().map(peer).collect();
        let listener = self.handle.local_addr().map(|addr| format!("Listener(@{addr})"));
        json!({
            "listening": listener.is_some(),
            "listeners": Vec::from_iter(listener),
            "n_peers": peers.len().to_string(),
            "peers": peers,
        })
    }

    fn broadcast(&self, query: &str) -> Result<Value, RpcError> {
        let wrong = |why: &str| RpcError {
            status: 500,
            code: -32602,
            message: "Invalid params",
            data: format!("tx: {why}; write tx=\"text\" or tx=0xHEX"),
        };
        let tx = http::parameter(query, "tx").ok_or_else(|| wrong("it is missing"))?;
        let tx = transaction(&tx).map_err(wrong)?;
        if tx.len() > self.max_tx_bytes {
            return Err(wrong(&format!(
                "it has {} bytes and max_tx_bytes is {}",
                tx.len(),
                self.max_tx_bytes
            )));
        }
        let hash = mempool::shown(&mempool::hash(&tx));
        let failed = |why: &str| RpcError {
            status: 500,
            code: -32603,
            message: "Internal error",
            data: why.to_owned(),
        };
        match self.submit.try_send(Submitted { tx, from: "rpc" }) {
            Ok(()) => {
                Ok(json!({ "code": 0, "data": "", "log": "", "codespace": "", "hash": hash }))
            }
            Err(TrySendError::Full(_)) => Err(failed("too many transactions wait; try again")),
            Err(TrySendError::Disconnected(_)) => Err(failed("the node is stopping")),
        }
    }
}

/// `"text"` with JSON's escapes, or `0x` and hexadecimal digits.
fn transaction(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    let is_hex = text.starts_with(b"0x") || text.starts_with(b"0X");
    let tx = if is_hex {
        hex::decode(&text[2..]).map_err(|_| "no hexadecimal digits")?
    } else {
        serde_json::from_slice::<String>(text).map_err(|_| "no text in quotes")?.into_bytes()
    };
    if tx.is_empty() { Err("it is empty") } else { Ok(tx) }
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
        "other": { "tx_index": info.tx_index(), "rpc_address": info.rpc_address() },
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
            "SendMonitor": monitor(sum(|channel| channel.sent_bytes)),
            "RecvMonitor": monitor(sum(|channel| channel.received_bytes)),
            "Channels": channels.collect::<Vec<_>>(),
        },
        "remote_ip": peer.remote_addr().ip().to_string(),
    })
}

/// What was transferred. Nobody measures the rest here.
fn monitor(bytes: u64) -> Value {
    json!({
        "Start": NO_TIME,
        "Bytes": bytes.to_string(),
        "Samples": "0",
        "InstRate": "0",
        "CurRate": "0",
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
