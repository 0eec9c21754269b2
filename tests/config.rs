//! The `[p2p]` table of `config.toml`: every key has an effect on the field of its name, and what
//! is wrong is refused with an error that names it.

use std::{collections::BTreeMap, time::Duration};

use tmp2p::{Config, PexBias};

const ID_A: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";
const ID_B: &str = "bce193b932292944de6d19514d34af5d19eb3998";

fn read(table: &str) -> Result<Config, String> {
    toml::from_str(table).map_err(|error| error.to_string())
}

#[test]
fn absent_keys_are_as_init_writes_them() {
    let config = read("").unwrap();
    let expected = Config {
        laddr: Some("tcp://0.0.0.0:26656".parse().unwrap()),
        addr_book_file: Some("config/addrbook.json".into()),
        ..Config::default()
    };
    assert_eq!(config, expected);
}

#[test]
fn each_key_sets_its_field_and_no_other() {
    let peers = format!("{ID_A}@seed.example.com:1, tcp://{ID_B}@[2a01::1]:2,,");
    let ids = format!("{ID_A},{}", ID_B.to_uppercase());
    let peer = |text: String| text.parse().unwrap();
    let peer_list =
        || vec![peer(format!("{ID_A}@seed.example.com:1")), peer(format!("{ID_B}@[2a01::1]:2"))];
    let id_list = || vec![ID_A.parse().unwrap(), ID_B.parse().unwrap()];
    let time = Duration::from_millis(1500);

    type Set<'a> = Box<dyn Fn(&mut Config) + 'a>;
    let quoted = |text: &str| format!("{text:?}");
    let cases: Vec<(&str, String, Set)> = vec![
        ("laddr", quoted("1.2.3.4:5"), Box::new(|c| c.laddr = "1.2.3.4:5".parse().ok())),
        ("laddr", quoted(""), Box::new(|c| c.laddr = None)),
        (
            "external_address",
            quoted("tcp://a.b:5"),
            Box::new(|c| c.external_address = "a.b:5".parse().ok()),
        ),
        ("seeds", quoted(&peers), Box::new(|c| c.seeds = peer_list())),
        ("persistent_peers", quoted(&peers), Box::new(|c| c.persistent_peers = peer_list())),
        ("addr_book_file", quoted("x/y"), Box::new(|c| c.addr_book_file = Some("x/y".into()))),
        ("addr_book_file", quoted(""), Box::new(|c| c.addr_book_file = None)),
        ("addr_book_strict", "false".into(), Box::new(|c| c.addr_book_strict = false)),
        ("max_num_inbound_peers", "7".into(), Box::new(|c| c.max_num_inbound_peers = 7)),
        ("max_num_outbound_peers", "7".into(), Box::new(|c| c.max_num_outbound_peers = 7)),
        (
            "unconditional_peer_ids",
            quoted(&ids),
            Box::new(|c| c.unconditional_peer_ids = id_list()),
        ),
        (
            "persistent_peers_max_dial_period",
            quoted("1.5s"),
            Box::new(|c| c.persistent_peers_max_dial_period = time),
        ),
        ("flush_throttle_timeout", quoted("1.5s"), Box::new(|c| c.flush_throttle_timeout = time)),
        (
            "max_packet_msg_payload_size",
            "7".into(),
            Box::new(|c| c.max_packet_msg_payload_size = 7),
        ),
        ("send_rate", "0".into(), Box::new(|c| c.send_rate = 0)),
        ("recv_rate", "7".into(), Box::new(|c| c.recv_rate = 7)),
        ("pex", "false".into(), Box::new(|c| c.pex = false)),
        ("seed_mode", "true".into(), Box::new(|c| c.seed_mode = true)),
        ("private_peer_ids", quoted(&ids), Box::new(|c| c.private_peer_ids = id_list())),
        ("allow_duplicate_ip", "true".into(), Box::new(|c| c.allow_duplicate_ip = true)),
        ("handshake_timeout", quoted("1s500ms"), Box::new(|c| c.handshake_timeout = time)),
        ("dial_timeout", quoted("1.5s"), Box::new(|c| c.dial_timeout = time)),
        ("ping_interval", quoted("1.5s"), Box::new(|c| c.ping_interval = time)),
        ("pong_timeout", quoted("1.5s"), Box::new(|c| c.pong_timeout = time)),
        (
            "unsolicited_pong_interval",
            quoted("1.5s"),
            Box::new(|c| c.unsolicited_pong_interval = time),
        ),
        ("max_recv_packet_size", "7".into(), Box::new(|c| c.max_recv_packet_size = 7)),
        ("send_queue_bytes", "0".into(), Box::new(|c| c.send_queue_bytes = 0)),
        ("send_timeout", quoted("1.5s"), Box::new(|c| c.send_timeout = time)),
        ("reactor_budget", "7".into(), Box::new(|c| c.reactor_budget = 7)),
        ("delivered_total", "7".into(), Box::new(|c| c.delivered_total = 7)),
        ("parking_per_peer", "7".into(), Box::new(|c| c.parking_per_peer = 7)),
        ("parking_total", "7".into(), Box::new(|c| c.parking_total = 7)),
        ("reassembly_pool", "7".into(), Box::new(|c| c.reassembly_pool = 7)),
        ("close_timeout", quoted("1.5s"), Box::new(|c| c.close_timeout = time)),
        ("drain_timeout", quoted("1.5s"), Box::new(|c| c.drain_timeout = time)),
        ("max_pending_handshakes", "7".into(), Box::new(|c| c.max_pending_handshakes = 7)),
        ("max_pending_per_ip", "7".into(), Box::new(|c| c.max_pending_per_ip = 7)),
        ("max_pending_per_subnet", "7".into(), Box::new(|c| c.max_pending_per_subnet = 7)),
        ("accept_rate_per_ip", "7".into(), Box::new(|c| c.accept_rate_per_ip = 7)),
        ("accept_burst_per_ip", "7".into(), Box::new(|c| c.accept_burst_per_ip = 7)),
        ("accept_rate_per_subnet", "7".into(), Box::new(|c| c.accept_rate_per_subnet = 7)),
        ("accept_burst_per_subnet", "7".into(), Box::new(|c| c.accept_burst_per_subnet = 7)),
        ("max_peers_per_ip", "7".into(), Box::new(|c| c.max_peers_per_ip = 7)),
        ("max_inbound_per_subnet", "7".into(), Box::new(|c| c.max_inbound_per_subnet = 7)),
        ("reconnect_give_up", "7".into(), Box::new(|c| c.reconnect_give_up = 7)),
        (
            "connection_filter_timeout",
            quoted("1.5s"),
            Box::new(|c| c.connection_filter_timeout = time),
        ),
        ("peer_filter_timeout", quoted("1.5s"), Box::new(|c| c.peer_filter_timeout = time)),
        ("dial_spread", quoted("1.5s"), Box::new(|c| c.dial_spread = time)),
        ("ensure_peers_period", quoted("1.5s"), Box::new(|c| c.ensure_peers_period = time)),
        ("pex_request_interval", quoted("1.5s"), Box::new(|c| c.pex_request_interval = time)),
        ("pex_ban_time", quoted("1.5s"), Box::new(|c| c.pex_ban_time = time)),
        ("pex_abuse_ban_time", quoted("1.5s"), Box::new(|c| c.pex_abuse_ban_time = time)),
        ("good_after", quoted("1.5s"), Box::new(|c| c.good_after = time)),
        ("crawl_period", quoted("1.5s"), Box::new(|c| c.crawl_period = time)),
        ("crawl_timeout", quoted("1.5s"), Box::new(|c| c.crawl_timeout = time)),
        (
            "seed_disconnect_wait_period",
            quoted("1.5s"),
            Box::new(|c| c.seed_disconnect_wait_period = time),
        ),
        ("crawl_concurrency", "7".into(), Box::new(|c| c.crawl_concurrency = 7)),
        (
            "exempt_cidrs",
            quoted("10.0.0.0/8, ::1"),
            Box::new(|c| {
                c.exempt_cidrs = vec!["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
            }),
        ),
    ];
    for (key, value, set) in cases {
        let mut expected = read("").unwrap();
        set(&mut expected);
        assert_ne!(expected, read("").unwrap(), "{key} is the default");
        assert_eq!(read(&format!("{key} = {value}")), Ok(expected), "{key} = {value}");
    }
}

#[test]
fn upnp_is_ignored() {
    for value in ["true", "false"] {
        let table = format!("pex = false\nupnp = {value}\nseed_mode = true");
        assert_eq!(read(&table), read("pex = false\nseed_mode = true"));
    }
    assert!(read("upnp = \"maybe\"").is_err());
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    for (table, told) in [
        ("dial_timout = \"3s\"", "dial_timout"),
        ("test_fuzz = true", "test_fuzz"),
        ("dial_timeout = -3", "negative"),
        ("dial_timeout = []", "dial_timeout"),
        ("dial_timeout = \"3\"", "dial_timeout"),
        ("dial_timeout = \"-3s\"", "negative"),
        ("dial_timeout = \"3 s\"", "100ms"),
        ("send_rate = -1", "send_rate"),
        ("send_rate = -1", "0 or more"),
        ("send_rate = \"fast\"", "write digits"),
        ("send_rate = \"-1\"", "0 or more"),
        ("send_rate = 1e19", "send_rate"),
        ("send_rate = 1979-05-27", "send_rate"),
        ("max_num_inbound_peers = {}", "max_num_inbound_peers"),
        ("max_num_inbound_peers = -1", "0 or more"),
        ("pex = \"yes\"", "pex"),
        ("pex = \"yes\"", "true or false"),
        ("laddr = \"tcp://0.0.0.0\"", "laddr"),
        ("laddr = \"tcp://0.0.0.0\"", "the port is missing"),
        ("seeds = \"seed.example.com:26656\"", "id@host:port"),
        ("seeds = [\"x\"]", "seeds"),
        ("seeds = [\"x\"]", "one text with commas"),
        ("private_peer_ids = \"ed99\"", "40 hex digits"),
    ] {
        let error = read(table).unwrap_err();
        assert!(error.contains(told), "{table}: {error}");
    }
}

/// As Go's reader does (`viper.Unmarshal` of v0.34.24), whose verdicts these are.
#[test]
fn numbers_and_booleans_in_quotes_are_read_and_so_are_other_types() {
    for (table, same) in [
        ("send_rate = \"5120000\"", "send_rate = 5120000"),
        ("send_rate = \"0x10\"", "send_rate = 16"),
        ("send_rate = \"010\"", "send_rate = 8"),
        ("send_rate = \"1_000\"", "send_rate = 1000"),
        ("send_rate = \"+7\"", "send_rate = 7"),
        ("send_rate = \"\"", "send_rate = 0"),
        ("send_rate = 1.9", "send_rate = 1"),
        ("send_rate = 512e4", "send_rate = 5120000"),
        ("max_num_inbound_peers = true", "max_num_inbound_peers = 1"),
        ("pex = \"false\"", "pex = false"),
        ("pex = \"F\"", "pex = false"),
        ("pex = \"0\"", "pex = false"),
        ("pex = \"\"", "pex = false"),
        ("pex = 0", "pex = false"),
        ("seed_mode = \"1\"", "seed_mode = true"),
        ("seed_mode = \"T\"", "seed_mode = true"),
        ("seed_mode = 2", "seed_mode = true"),
        ("upnp = \"0\"", ""),
        ("upnp = 0", ""),
        ("flush_throttle_timeout = 100", "flush_throttle_timeout = \"100ns\""),
        ("flush_throttle_timeout = 1.5", "flush_throttle_timeout = \"1ns\""),
        ("addr_book_file = 5", "addr_book_file = \"5\""),
        ("addr_book_file = true", "addr_book_file = \"1\""),
    ] {
        assert_eq!(read(table), read(same), "{table}");
    }
}

/// Who has sixty peers and two mistakes is to mend both at once.
#[test]
fn all_bad_entries_of_a_list_are_told_at_once() {
    let table =
        format!("persistent_peers = \"{ID_A}@1.2.3.4:1,x,{ID_B}@1.2.3.4:266560, ,{ID_B}0@h:1\"");
    let error = read(&table).unwrap_err();
    for told in ["entry 2 of the list, \"x\"", "entry 3", "65535", "entry 4", "hex digits"] {
        assert!(error.contains(told), "no {told} in {error}");
    }
    assert!(!error.contains("entry 1 "), "{error}");
    let error = read("exempt_cidrs = \"10.0.0.0/8,x,10.0.0.0/99\"").unwrap_err();
    assert!(error.contains("entry 2") && error.contains("entry 3"), "{error}");
}

/// The same table from another format: the reader knows nothing of TOML.
#[test]
fn json_will_do() {
    let config: Config =
        serde_json::from_str(r#"{"upnp": false, "send_rate": 7, "dial_timeout": "1m30s"}"#)
            .unwrap();
    assert_eq!((config.send_rate, config.dial_timeout), (7, Duration::from_secs(90)));
    assert!(serde_json::from_str::<Config>("[]").is_err());
}

/// All of them, so that none can change, or be new, without a look at what is said of it.
#[test]
fn defaults_are_as_documented() {
    let (milli, second, minute, hour) = (
        Duration::from_millis(1),
        Duration::from_secs(1),
        Duration::from_secs(60),
        Duration::from_secs(3600),
    );
    let expected = Config {
        laddr: Some("tcp://127.0.0.1:0".parse().unwrap()),
        external_address: None,
        seeds: Vec::new(),
        persistent_peers: Vec::new(),
        addr_book_file: None,
        addr_book_strict: true,
        max_num_inbound_peers: 40,
        max_num_outbound_peers: 10,
        unconditional_peer_ids: Vec::new(),
        persistent_peers_max_dial_period: Duration::ZERO,
        flush_throttle_timeout: 100 * milli,
        max_packet_msg_payload_size: 1024,
        send_rate: 5_120_000,
        recv_rate: 5_120_000,
        pex: true,
        seed_mode: false,
        private_peer_ids: Vec::new(),
        allow_duplicate_ip: false,
        handshake_timeout: 20 * second,
        dial_timeout: 3 * second,
        ping_interval: 60 * second,
        pong_timeout: 45 * second,
        unsolicited_pong_interval: 20 * second,
        max_recv_packet_size: 1 << 20,
        send_queue_bytes: 256 << 10,
        send_timeout: 10 * second,
        reactor_budget: 1 << 20,
        delivered_total: 256 << 20,
        parking_per_peer: 4 << 20,
        parking_total: 256 << 20,
        reassembly_pool: 512 << 20,
        close_timeout: 5 * second,
        drain_timeout: 10 * second,
        max_pending_handshakes: 1024,
        max_pending_per_ip: 8,
        max_pending_per_subnet: 32,
        accept_rate_per_ip: 5,
        accept_burst_per_ip: 10,
        accept_rate_per_subnet: 20,
        accept_burst_per_subnet: 40,
        max_peers_per_ip: 0,
        max_inbound_per_subnet: 4,
        exempt_cidrs: Vec::new(),
        connection_filter_timeout: second,
        peer_filter_timeout: 5 * second,
        dial_spread: 3 * second,
        reconnect_give_up: 0,
        ensure_peers_period: 30 * second,
        pex_bias: PexBias::default(),
        pex_request_interval: 30 * second,
        pex_ban_time: 24 * hour,
        pex_abuse_ban_time: 10 * minute,
        good_after: 5 * minute,
        crawl_concurrency: 64,
        crawl_period: 2 * minute,
        crawl_timeout: 15 * second,
        seed_disconnect_wait_period: 28 * hour,
    };
    assert_eq!(Config::default(), expected);
    let documented = documented_defaults();
    for (field, default) in [
        ("laddr", "`tcp://127.0.0.1:0`"),
        ("external_address", "none"),
        ("seeds", "none"),
        ("persistent_peers", "none"),
        ("addr_book_file", "`None`"),
        ("addr_book_strict", "on"),
        ("max_num_inbound_peers", "40"),
        ("max_num_outbound_peers", "10"),
        ("unconditional_peer_ids", "none"),
        ("persistent_peers_max_dial_period", "0"),
        ("flush_throttle_timeout", "100 ms"),
        ("max_packet_msg_payload_size", "1024"),
        ("send_rate", "5,120,000"),
        ("recv_rate", "5,120,000"),
        ("pex", "on"),
        ("seed_mode", "off"),
        ("private_peer_ids", "none"),
        ("allow_duplicate_ip", "off"),
        ("handshake_timeout", "20 s"),
        ("dial_timeout", "3 s"),
        ("ping_interval", "60 s"),
        ("pong_timeout", "45 s"),
        ("unsolicited_pong_interval", "20 s"),
        ("max_recv_packet_size", "1 MiB"),
        ("send_queue_bytes", "256 KiB"),
        ("send_timeout", "10 s"),
        ("reactor_budget", "1 MiB"),
        ("delivered_total", "256 MiB"),
        ("parking_per_peer", "4 MiB"),
        ("parking_total", "256 MiB"),
        ("reassembly_pool", "512 MiB"),
        ("close_timeout", "5 s"),
        ("drain_timeout", "10 s"),
        ("max_pending_handshakes", "1024"),
        ("max_pending_per_ip", "8"),
        ("max_pending_per_subnet", "32"),
        ("accept_rate_per_ip", "5"),
        ("accept_burst_per_ip", "10"),
        ("accept_rate_per_subnet", "20"),
        ("accept_burst_per_subnet", "40"),
        ("max_peers_per_ip", "0"),
        ("max_inbound_per_subnet", "4"),
        ("exempt_cidrs", "none"),
        ("connection_filter_timeout", "1 s"),
        ("peer_filter_timeout", "5 s"),
        ("dial_spread", "3 s"),
        ("reconnect_give_up", "0"),
        ("ensure_peers_period", "30 s"),
        ("pex_bias", "10 + 10 × min(outbound, 8) per cent"),
        ("pex_request_interval", "30 s"),
        ("pex_ban_time", "24 h"),
        ("pex_abuse_ban_time", "10 min"),
        ("good_after", "5 min"),
        ("crawl_concurrency", "64"),
        ("crawl_period", "2 min"),
        ("crawl_timeout", "15 s"),
        ("seed_disconnect_wait_period", "28 h"),
    ] {
        let text = documented.get(field).unwrap_or_else(|| panic!("nothing is said of {field}"));
        let is_end = |rest: &str| [".", ",", ":", " ("].iter().any(|end| rest.starts_with(end));
        let says = text.strip_prefix(default).is_some_and(is_end);
        assert!(says, "{field}: documented is \"{text}\", not \"{default}\"");
    }
    assert_eq!(documented.len(), 57, "a field is not in the list");
}

/// What the documentation of each field says behind the last "Default".
fn documented_defaults() -> BTreeMap<&'static str, String> {
    let source = include_str!("../src/config/mod.rs");
    let (_, fields) = source.split_once("pub struct Config {").expect("there is such a struct");
    let (fields, _) = fields.split_once("\n}").expect("it has an end");
    let mut defaults = BTreeMap::new();
    let mut text = String::new();
    for line in fields.lines().map(str::trim) {
        if let Some(line) = line.strip_prefix("///") {
            text += line;
        } else if let Some((field, _)) = line.strip_prefix("pub ").and_then(|l| l.split_once(':')) {
            let (_, default) = text.rsplit_once("Default ").expect(field);
            defaults.insert(field, default.to_owned());
            text.clear();
        }
    }
    defaults
}

#[test]
fn the_database_is_beside_the_references_file() {
    let of = |file: Option<&str>| {
        let config = Config { addr_book_file: file.map(Into::into), ..Config::default() };
        config.addr_book_database().map(|file| file.to_str().unwrap().to_owned())
    };
    assert_eq!(of(Some("data/addrbook.json")).as_deref(), Some("data/addrbook.sqlite"));
    assert_eq!(of(Some("data/book.db")).as_deref(), Some("data/book.db"));
    assert_eq!(of(None), None);
}
