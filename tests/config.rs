//! The `[p2p]` table of `config.toml`: every key has an effect on the field of its name, and what
//! is wrong is refused with an error that names it.

use std::time::Duration;

use tmp2p::Config;

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
    assert!(read("upnp = 1").is_err());
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    for (table, told) in [
        ("dial_timout = \"3s\"", "dial_timout"),
        ("test_fuzz = true", "test_fuzz"),
        ("dial_timeout = 3", "dial_timeout"),
        ("dial_timeout = \"3\"", "dial_timeout"),
        ("dial_timeout = \"-3s\"", "negative"),
        ("dial_timeout = \"3 s\"", "100ms"),
        ("send_rate = -1", "send_rate"),
        ("send_rate = -1", "0 or more"),
        ("send_rate = 1.5", "send_rate"),
        ("send_rate = \"5120000\"", "send_rate"),
        ("max_num_inbound_peers = -1", "0 or more"),
        ("pex = \"yes\"", "pex"),
        ("laddr = \"tcp://0.0.0.0\"", "laddr"),
        ("laddr = \"tcp://0.0.0.0\"", "the port is missing"),
        ("seeds = \"seed.example.com:26656\"", "id@host:port"),
        ("seeds = [\"x\"]", "seeds"),
        ("private_peer_ids = \"ed99\"", "40 hex digits"),
    ] {
        let error = read(table).unwrap_err();
        assert!(error.contains(told), "{table}: {error}");
    }
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
