//! Names of keys and tables: those of all versions of Tendermint, CometBFT and tenderseed, so that
//! what none of them knows can be told from what this program has no use for.

/// Keys in no table, ours among them: `chain_id` and `http`.
const TOP: [&str; 26] = [
    "abci",
    "block_sync",
    "chain_id",
    "db_backend",
    "db_dir",
    "db_path",
    "event_bus_buffer_capacity",
    "fast_sync",
    "filter_peers",
    "genesis_file",
    "home",
    "http",
    "log_colors",
    "log_format",
    "log_level",
    "mode",
    "moniker",
    "node_key_file",
    "priv_validator_file",
    "priv_validator_key_file",
    "priv_validator_laddr",
    "priv_validator_state_file",
    "prof_laddr",
    "proxy_app",
    "trace",
    "version",
];

/// Keys of tenderseed's file that are none of `[p2p]`, and ours beside them.
pub(crate) const TENDERSEED: [&str; 8] = [
    "chain_id",
    "genesis_file",
    "home",
    "http",
    "log_format",
    "log_level",
    "moniker",
    "node_key_file",
];

/// Tables, and their keys where this program reads one of them.
const TABLES: [(&str, &[&str]); 15] = [
    ("blocksync", &[]),
    ("consensus", &[]),
    ("db_sync", &[]),
    ("fastsync", &[]),
    ("grpc", &[]),
    ("instrumentation", &[]),
    ("mempool", &MEMPOOL),
    ("p2p", &[]),
    ("priv_validator", &[]),
    ("rpc", &RPC),
    ("self_remediation", &[]),
    ("state_sync", &[]),
    ("statesync", &[]),
    ("storage", &[]),
    ("tx_index", &[]),
];

const MEMPOOL: [&str; 34] = [
    "broadcast",
    "cache_size",
    "check_tx_error_blacklist_enabled",
    "check_tx_error_threshold",
    "check_tx_retry_delay",
    "drop_priority_reservoir_size",
    "drop_priority_threshold",
    "drop_utilisation_threshold",
    "duplicate_txs_cache_size",
    "experimental_max_gossip_connections_to_non_persistent_peers",
    "experimental_max_gossip_connections_to_persistent_peers",
    "keep_invalid_txs_in_cache",
    "max_batch_bytes",
    "max_gossip_delay",
    "max_pending_txs_bytes",
    "max_tx_bytes",
    "max_txs_bytes",
    "pending_size",
    "pending_ttl_duration",
    "pending_ttl_num_blocks",
    "reap_interval",
    "reap_max_bytes",
    "reap_max_gas",
    "recheck",
    "recheck_empty",
    "recheck_timeout",
    "seen_cache_size",
    "size",
    "ttl_duration",
    "ttl_num_blocks",
    "tx_notify_threshold",
    "type",
    "version",
    "wal_dir",
];

const RPC: [&str; 28] = [
    "cors_allowed_headers",
    "cors_allowed_methods",
    "cors_allowed_origins",
    "event_log_max_items",
    "event_log_window_size",
    "experimental_close_on_slow_client",
    "experimental_disable_websocket",
    "experimental_subscription_buffer_size",
    "experimental_websocket_write_buffer_size",
    "grpc_laddr",
    "grpc_max_open_connections",
    "laddr",
    "lag_threshold",
    "max_body_bytes",
    "max_header_bytes",
    "max_open_connections",
    "max_request_batch_size",
    "max_subscription_clients",
    "max_subscriptions_per_client",
    "pprof_laddr",
    "subscription_buffer_size",
    "timeout_broadcast_tx_commit",
    "timeout_read",
    "timeout_read_header",
    "timeout_write",
    "tls_cert_file",
    "tls_key_file",
    "unsafe",
];

/// Keys of a table `[p2p]`, or of tenderseed's file, that other versions have and this program has
/// not, with what to write here.
const OTHERS: [(&str, &str); 20] = [
    ("app_version", "of Gno's chains only"),
    ("auth_enc", "connections are always encrypted"),
    ("blocksync_peers", "no blocks are fetched"),
    ("bootstrap_peers", "here seeds"),
    ("max_connections", "here max_num_inbound_peers and max_num_outbound_peers"),
    ("max_incoming_connection_attempts", "here accept_rate_per_ip"),
    ("max_num_peers", "here max_num_inbound_peers and max_num_outbound_peers"),
    ("max_outgoing_connections", "here max_num_outbound_peers"),
    ("max_packet_msg_size", "here max_packet_msg_payload_size"),
    ("metrics_listen_addr", "here http"),
    ("metrics_namespace", "the metrics have Tendermint's names"),
    ("peer_check_period", "here crawl_period"),
    ("peer_check_workers", "here crawl_concurrency"),
    ("queue_type", "the queues are those of v0.34"),
    ("skip_upnp", "there is no UPnP"),
    ("stack", "of Gno's chains only"),
    ("test_dial_fail", "of Tendermint's tests"),
    ("test_fuzz", "of Tendermint's tests"),
    ("test_fuzz_config", "of Tendermint's tests"),
    ("use_legacy", "there is one implementation"),
];

/// Keys that other programs call by another name: theirs, and ours.
pub(crate) const ALIASES: [(&str, &str); 2] =
    [("metrics_listen_addr", "http"), ("p2p.bootstrap_peers", "p2p.seeds")];

/// What a key of `[p2p]` is called here, if other programs call it so.
pub(crate) fn ours_in_p2p(key: &str) -> &str {
    let is_it = |theirs: &str| theirs.strip_prefix("p2p.") == Some(key);
    let alias = ALIASES.iter().find(|(theirs, _)| is_it(theirs));
    alias.and_then(|(_, ours)| ours.strip_prefix("p2p.")).unwrap_or(key)
}

/// Whether some version has a key outside of `[p2p]` whose variable is called so behind the prefix.
pub(crate) fn is_variable(rest: &str) -> bool {
    let is_in = |table: &str| {
        let key = rest.strip_prefix(table).and_then(|rest| rest.strip_prefix('_'));
        table != "p2p" && key.is_some_and(|key| is_in_table(table, key))
    };
    is_top(rest)
        || ALIASES.iter().any(|(theirs, _)| *theirs == rest)
        || TABLES.iter().any(|(table, _)| is_in(table))
}

/// The form in which names are compared. Go's reader knows no capitals (`spf13/viper`), and v0.35 has
/// hyphens where the others have underscores.
pub(crate) fn normal(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// What to write instead of this key of other versions, `[p2p]`'s or tenderseed's.
pub(crate) fn instead_of(key: &str) -> Option<&'static str> {
    OTHERS.iter().find(|(name, _)| *name == key).map(|(_, instead)| *instead)
}

/// Whether some version has this key in no table.
pub(crate) fn is_top(key: &str) -> bool {
    TOP.contains(&key)
}

/// Whether some version has such a table.
pub(crate) fn is_table(table: &str) -> bool {
    TABLES.iter().any(|(name, _)| *name == table)
}

/// Whether some version has this key in the table, as far as that is known.
pub(crate) fn is_in_table(table: &str, key: &str) -> bool {
    let keys = TABLES.iter().find(|(name, _)| *name == table).map_or(&[][..], |(_, keys)| *keys);
    keys.is_empty() || keys.contains(&key)
}
