//! What `[rpc]` says and this server does otherwise. Nobody is to rely on it unwarned.

use std::net::IpAddr;

use tmp2p::ListenAddress;
use toml::Value;

use crate::{
    cli::Failure,
    http::Answer,
    layers::{Layers, Mistake, switch},
    rpc::Rpc,
};

/// Limits, with what `init` of Tendermint writes for each, which nobody means anything by.
const LIMITS: [(&str, u64); 3] = [
    ("rpc.max_body_bytes", 1_000_000),
    ("rpc.max_header_bytes", 1 << 20),
    ("rpc.max_open_connections", 900),
];

/// Warns of all of it. `laddr`: where it listens.
///
/// # Errors
/// TLS is set up, and everybody could read what it was to hide.
pub(crate) fn tell(layers: &Layers, laddr: &[ListenAddress]) -> Result<(), Failure> {
    for (key, usual) in LIMITS {
        let limit = layers.number(key, None, usual)?;
        if limit != usual {
            log::warn!("{key} is {limit}, which does not count here: {}", here(key));
        }
    }
    if let Some((place, value)) = layers.value("rpc.unsafe")?
        && switch(&value).map_err(|why| Mistake(format!("{place}: {why}")))?
    {
        log::warn!("{place} is true, but there are no unsafe calls here");
    }
    if let Some(place) = set(layers, "rpc.cors_allowed_origins")? {
        log::warn!(
            "{place} does not count here: pages of other origins cannot read the answers, unless a \
             proxy in front of the server sends the headers"
        );
    }
    // As Go has it, one alone is none.
    let (cert, key) = (set(layers, "rpc.tls_cert_file")?, set(layers, "rpc.tls_key_file")?);
    let (Some(cert), Some(_)) = (cert, key) else { return Ok(()) };
    let why = format!("{cert}: this program serves RPC without TLS");
    match laddr.iter().find(|addr| !is_local(addr)) {
        None => log::warn!("{why}, at {}", laddr[0]),
        Some(addr) => {
            return Err(Failure::Usage(format!(
                "{why}, and {addr} is for others than this machine; write rpc.laddr = \
                 \"tcp://127.0.0.1:26657\" with a proxy in front of it that has the certificate, or \
                 \"\" for no server, or leave the certificate out"
            )));
        }
    }
    Ok(())
}

fn here(key: &str) -> String {
    match key {
        "rpc.max_body_bytes" => format!("requests have {} bytes at most", Rpc::MAX_BODY),
        "rpc.max_header_bytes" => {
            "the server has limits of its own for the heads of requests".to_owned()
        }
        _ => {
            "there are 900 connections at most, and whoever comes then takes the place of who was \
              longest without an answer"
                .to_owned()
        }
    }
}

/// Where the key is, if it says something.
fn set(layers: &Layers, key: &str) -> Result<Option<String>, Mistake> {
    let found = layers.value(key)?;
    let is_empty = |value: &Value| match value {
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    Ok(found.filter(|(_, value)| !is_empty(value)).map(|(place, _)| place))
}

/// Whether only this machine reaches it.
fn is_local(addr: &ListenAddress) -> bool {
    match addr.host().ip() {
        Some(IpAddr::V4(ip)) => ip.is_loopback(),
        Some(IpAddr::V6(ip)) => ip.is_loopback(),
        None => addr.host().to_string() == "localhost",
    }
}
