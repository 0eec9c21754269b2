//! The `[p2p]` table of `config.toml`, as Go writes it.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use log::Level;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IntoDeserializer, MapAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{Config, PexBias, scalar::Scalar};
use crate::{Cidr, ListenAddress, NodeId, PeerAddress, guard::tell, text::shown};

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Table::deserialize(WithoutUpnp(deserializer))
    }
}

/// How each key is read.
#[derive(Deserialize)]
#[serde(remote = "Config", default = "Config::as_init_writes_it", deny_unknown_fields)]
struct Table {
    #[serde(deserialize_with = "optional")]
    laddr: Option<ListenAddress>,
    #[serde(deserialize_with = "optional")]
    external_address: Option<ListenAddress>,
    #[serde(deserialize_with = "list")]
    seeds: Vec<PeerAddress>,
    #[serde(deserialize_with = "list")]
    persistent_peers: Vec<PeerAddress>,
    #[serde(deserialize_with = "optional")]
    addr_book_file: Option<PathBuf>,
    #[serde(deserialize_with = "switch")]
    addr_book_strict: bool,
    #[serde(deserialize_with = "number")]
    max_num_inbound_peers: usize,
    #[serde(deserialize_with = "number")]
    max_num_outbound_peers: usize,
    #[serde(deserialize_with = "list")]
    unconditional_peer_ids: Vec<NodeId>,
    #[serde(deserialize_with = "time")]
    persistent_peers_max_dial_period: Duration,
    #[serde(deserialize_with = "time")]
    flush_throttle_timeout: Duration,
    #[serde(deserialize_with = "number")]
    max_packet_msg_payload_size: usize,
    #[serde(deserialize_with = "number")]
    send_rate: u64,
    #[serde(deserialize_with = "number")]
    recv_rate: u64,
    #[serde(deserialize_with = "switch")]
    pex: bool,
    #[serde(deserialize_with = "switch")]
    seed_mode: bool,
    #[serde(deserialize_with = "list")]
    private_peer_ids: Vec<NodeId>,
    #[serde(deserialize_with = "switch")]
    allow_duplicate_ip: bool,
    #[serde(deserialize_with = "time")]
    handshake_timeout: Duration,
    #[serde(deserialize_with = "time")]
    dial_timeout: Duration,

    #[serde(deserialize_with = "time")]
    ping_interval: Duration,
    #[serde(deserialize_with = "time")]
    pong_timeout: Duration,
    #[serde(deserialize_with = "time")]
    unsolicited_pong_interval: Duration,
    #[serde(deserialize_with = "number")]
    max_recv_packet_size: usize,
    #[serde(deserialize_with = "number")]
    send_queue_bytes: usize,
    #[serde(deserialize_with = "time")]
    send_timeout: Duration,
    #[serde(deserialize_with = "number")]
    reactor_budget: usize,
    #[serde(deserialize_with = "number")]
    delivered_total: usize,
    #[serde(deserialize_with = "number")]
    parking_per_peer: usize,
    #[serde(deserialize_with = "number")]
    parking_total: usize,
    #[serde(deserialize_with = "number")]
    reassembly_pool: usize,
    #[serde(deserialize_with = "time")]
    close_timeout: Duration,
    #[serde(deserialize_with = "time")]
    drain_timeout: Duration,

    #[serde(deserialize_with = "number")]
    max_pending_handshakes: usize,
    #[serde(deserialize_with = "number")]
    max_pending_per_ip: usize,
    #[serde(deserialize_with = "number")]
    max_pending_per_subnet: usize,
    #[serde(deserialize_with = "number")]
    accept_rate_per_ip: u32,
    #[serde(deserialize_with = "number")]
    accept_burst_per_ip: u32,
    #[serde(deserialize_with = "number")]
    accept_rate_per_subnet: u32,
    #[serde(deserialize_with = "number")]
    accept_burst_per_subnet: u32,
    #[serde(deserialize_with = "number")]
    max_peers_per_ip: usize,
    #[serde(deserialize_with = "number")]
    max_inbound_per_subnet: usize,
    #[serde(deserialize_with = "list")]
    exempt_cidrs: Vec<Cidr>,
    #[serde(deserialize_with = "time")]
    connection_filter_timeout: Duration,
    #[serde(deserialize_with = "time")]
    peer_filter_timeout: Duration,
    #[serde(deserialize_with = "time")]
    dial_spread: Duration,
    #[serde(deserialize_with = "number")]
    reconnect_give_up: u32,

    #[serde(deserialize_with = "time")]
    ensure_peers_period: Duration,
    #[serde(deserialize_with = "time")]
    pex_request_interval: Duration,
    #[serde(skip)]
    pex_bias: PexBias,
    #[serde(deserialize_with = "time")]
    pex_ban_time: Duration,
    #[serde(deserialize_with = "time")]
    pex_abuse_ban_time: Duration,
    #[serde(deserialize_with = "time")]
    good_after: Duration,
    #[serde(deserialize_with = "number")]
    crawl_concurrency: usize,
    #[serde(deserialize_with = "time")]
    crawl_period: Duration,
    #[serde(deserialize_with = "time")]
    crawl_timeout: Duration,
    #[serde(deserialize_with = "time")]
    seed_disconnect_wait_period: Duration,
}

/// On or off.
fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Scalar::deserialize(deserializer)?.switch().map_err(Error::custom)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Scalar::deserialize(deserializer)?.time().map_err(Error::custom)
}

/// A count, a size in bytes or a rate in bytes a second.
fn number<'de, D: Deserializer<'de>, N: TryFrom<i64>>(deserializer: D) -> Result<N, D::Error> {
    let number = Scalar::deserialize(deserializer)?.number().map_err(D::Error::custom)?;
    N::try_from(number)
        .map_err(|_| Error::custom(format_args!("{number} is out of range; write 0 or more")))
}

/// Like Go's `SplitAndTrimEmpty`: "a, b,,c" has three entries. All that are wrong are told.
fn list<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let text = Scalar::deserialize(deserializer)?.text();
    let (mut list, mut faults) = (Vec::new(), Vec::new());
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    for (at, entry) in entries.enumerate() {
        match entry.parse() {
            Ok(entry) => list.push(entry),
            Err(why) => {
                faults.push(format!("entry {} of the list, \"{}\": {why}", at + 1, shown(entry)));
            }
        }
    }
    if faults.is_empty() { Ok(list) } else { Err(Error::custom(faults.join("; "))) }
}

fn optional<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = Scalar::deserialize(deserializer)?.text();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(Error::custom)
}

/// Takes `upnp` out of the table: v0.34 writes it into every file and it means nothing here.
struct WithoutUpnp<T>(T);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for WithoutUpnp<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(WithoutUpnp(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for WithoutUpnp<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the [p2p] table of config.toml")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(WithoutUpnp(map))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutUpnp<A> {
    type Error = A::Error;

    fn next_key_seed<K: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(key) = self.0.next_key::<String>()? {
            if key != "upnp" {
                return seed.deserialize(key.into_deserializer()).map(Some);
            }
            if self.0.next_value::<Scalar>()?.switch().map_err(A::Error::custom)? {
                tell!(
                    Level::Warn,
                    "upnp is on in the configuration, but not supported: it is ignored"
                );
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: serde::de::DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(seed)
    }
}
