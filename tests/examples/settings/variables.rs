//! Variables of the environment: which count, which do not.

use std::{ffi::OsString, path::Path};

use super::{Sources, assert_says};
use crate::layers::Environment;

/// A script that had nothing to put there must not hide what the file says.
#[test]
fn an_empty_variable_is_none() {
    let file = "moniker = \"a\"\n[p2p]\nladdr = \"tcp://127.0.0.1:7\"\npex = false\nsend_rate = 7\n\
                dial_timeout = \"7s\"\n";
    let plain = Sources::file(file).p2p().unwrap().config;
    let variables = [
        ("TM_MONIKER", ""),
        ("TM_P2P_LADDR", ""),
        ("TM_P2P_PEX", ""),
        ("TM_P2P_SEND_RATE", ""),
        ("CMT_P2P_DIAL_TIMEOUT", ""),
        ("TM_P2P_PERSISTENT_PEERS", ""),
        ("TM_P2P_NO_SUCH_KEY", ""),
    ];
    let sources = Sources { file, variables: &variables, ..Sources::default() };
    assert_eq!(sources.p2p().unwrap().config, plain);
    let moniker = sources.layers().unwrap().text("moniker", None).unwrap();
    assert_eq!(moniker.as_deref(), Some("a"));
}

/// An empty flag of a text is a text, as for Go; where Go would stop, it does not count.
#[test]
fn an_empty_flag_of_a_list_is_an_empty_list() {
    let id = "8dbde4f350f8767f8dd7f0161c53ec87a7188a31";
    let file = format!("[p2p]\nseeds = \"{id}@1.2.3.4:1\"\npex = false\nsend_rate = 7\n");
    let flags =
        [("seeds", ""), ("pex", ""), ("send_rate", ""), ("dial_timeout", ""), ("laddr", "")];
    let p2p = Sources { file: &file, flags: &flags, ..Sources::default() }.p2p().unwrap();
    let config = p2p.config;
    assert_eq!((config.seeds.len(), config.pex, config.send_rate), (0, false, 7));
    assert_eq!(config.laddr, None);
    assert_eq!(p2p.warnings.len(), 3, "{:?}", p2p.warnings);
    assert_says(&p2p.warnings[0], &["--p2p.pex is empty and does not count"]);
}

#[test]
fn the_last_of_repeated_flags_counts() {
    let flags = [("send_rate", "1"), ("pex", "true"), ("send_rate", "2"), ("pex", "F")];
    let config = Sources { flags: &flags, ..Sources::default() }.p2p().unwrap().config;
    assert_eq!((config.send_rate, config.pex), (2, false));
}

/// Of the flag, `TENDERSEED_`, `CMT_`, `TM_`, file and default the first that there is.
#[test]
fn layers_in_the_order_that_help_tells() {
    let all = [
        ("TENDERSEED_MAX_NUM_INBOUND_PEERS", "4"),
        ("CMT_P2P_MAX_NUM_INBOUND_PEERS", "3"),
        ("TM_P2P_MAX_NUM_INBOUND_PEERS", "2"),
        ("TENDERSEED_MONIKER", "4"),
        ("CMT_MONIKER", "3"),
        ("TM_MONIKER", "2"),
    ];
    let file = "moniker = \"1\"\n[p2p]\nmax_num_inbound_peers = 1\n";
    for (strongest, expected) in [(0, 4), (1, 3), (2, 2), (3, 1)] {
        let variables = [&all[strongest..3], &all[3 + strongest..]].concat();
        let sources = Sources { file, variables: &variables, ..Sources::default() }.of_seed();
        assert_eq!(sources.p2p().unwrap().config.max_num_inbound_peers, expected);
        let moniker = sources.layers().unwrap().text("moniker", None).unwrap();
        assert_eq!(moniker, Some(expected.to_string()));
        assert_eq!(sources.warnings(), [""; 0]);
        let flags = [("max_num_inbound_peers", "5")];
        let sources = Sources { flags: &flags, ..sources };
        assert_eq!(sources.p2p().unwrap().config.max_num_inbound_peers, 5);
        let moniker = sources.layers().unwrap().text("moniker", Some("5")).unwrap();
        assert_eq!(moniker.as_deref(), Some("5"));
    }
    // Those of tenderseed are the seed's alone.
    let sources = Sources::variables(&all[..1]);
    assert_eq!(sources.p2p().unwrap().config.max_num_inbound_peers, 40);
    let sources = Sources::default();
    assert_eq!(sources.layers().unwrap().text("moniker", None).unwrap(), None);
}

#[test]
fn tenderseeds_variables_count() {
    let variables = [
        ("TENDERSEED_CHAIN_ID", "c"),
        ("TENDERSEED_SEEDS", "8dbde4f350f8767f8dd7f0161c53ec87a7188a31@1.2.3.4:5"),
        ("TENDERSEED_LOG_LEVEL", "debug"),
        ("TENDERSEED_P2P_SEND_RATE", "7"),
        ("TENDERSEED_SERVICE_HOST", "10.0.0.1"),
        ("TENDERSEED_PORT_26656_TCP", "tcp://10.0.0.1:26656"),
        ("TENDERSEED_SEADS", "x"),
    ];
    let sources = Sources::variables(&variables).of_seed();
    let layers = sources.layers().unwrap();
    assert_eq!(layers.text("chain_id", None).unwrap().as_deref(), Some("c"));
    assert_eq!(layers.text("chain_id", Some("")).unwrap().as_deref(), Some("c"));
    assert_eq!(layers.text("log_level", None).unwrap().as_deref(), Some("debug"));
    let config = sources.p2p().unwrap().config;
    assert_eq!((config.seeds.len(), config.send_rate), (1, 7));
    let told = "variables ignored, because this program does not know them: TENDERSEED_SEADS";
    assert_eq!(sources.warnings(), [told]);
}

/// Go asks for the variables of its keys and never sees the others, which may be anybody's: they are
/// told and stop nothing. Only the operator writes flags.
#[test]
fn an_unknown_variable_is_a_warning_and_an_unknown_flag_is_a_mistake() {
    let others = [
        ("TM_P2P_LADER", "x"),
        ("CMT_P2P_PEKS", "y"),
        ("TM_P2P_QUEUE_TYPE", "fifo"),
        ("TM_P2P_UPNP", "true"),
        ("TM_CONSENSUS_TIMEOUT_COMMIT", "5s"),
        ("TM_MEMPOOL_SIZE", "5"),
        ("TM_PROXY_APP", "kvstore"),
        ("TM_MEMPOOL_SIZES", "5"),
        ("TM_FROBNICATE", "1"),
        ("TMPDIR", "/tmp"),
    ];
    let warnings = Sources::variables(&others).warnings();
    let expected = [
        "variables ignored, because this program does not know them: CMT_P2P_PEKS, TM_FROBNICATE, \
         TM_MEMPOOL_SIZES, TM_P2P_LADER, TM_P2P_QUEUE_TYPE (the queues are those of v0.34)",
        "TM_P2P_UPNP is true, but there is no UPnP here",
    ];
    assert_eq!(warnings, expected);
    let sources = Sources { flags: &[("lader", "x")], ..Sources::default() };
    assert_says(&sources.p2p().unwrap_err().0, &["--p2p.lader: [p2p] has no such key"]);
}

/// The fault: `TM_P2P_0_PORT` of a service that is called `tm-p2p-0` was an unknown key and an error.
#[test]
fn what_kubernetes_sets_for_services_is_passed_over() {
    for service in
        ["TM", "TM_P2P", "TM_P2P_0", "CMT_P2P_SEED", "CMT_NODE", "TENDERSEED", "TENDERSEED_0"]
    {
        let of_it = [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "26656"),
            ("SERVICE_PORT_P2P", "26656"),
            ("PORT", "tcp://10.0.0.1:26656"),
            ("PORT_26656_TCP", "tcp://10.0.0.1:26656"),
            ("PORT_26656_TCP_PROTO", "tcp"),
            ("PORT_26656_TCP_PORT", "26656"),
            ("PORT_26656_TCP_ADDR", "10.0.0.1"),
            ("PORT_53_UDP_ADDR", "10.0.0.1"),
        ];
        let names = of_it.map(|(name, value)| (format!("{service}_{name}"), value));
        let variables: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let sources = Sources::variables(&variables).of_seed();
        assert_eq!(sources.warnings(), [""; 0], "{service}");
        assert_eq!(
            sources.p2p().unwrap().config,
            Sources::default().of_seed().p2p().unwrap().config
        );
        assert_eq!(Sources::variables(&variables).warnings(), [""; 0], "{service}");
    }
    // An operator's own port is none.
    let warnings = Sources::variables(&[("TM_P2P_PORT", "26656")]).warnings();
    assert_says(&warnings[0], &["TM_P2P_PORT"]);
}

/// The fault: they counted in the file and not in the environment.
#[test]
fn keys_of_newer_tenderseeds_count_or_are_told_as_variables_as_well() {
    let seed = "8dbde4f350f8767f8dd7f0161c53ec87a7188a31@1.2.3.4:5";
    let variables = [
        ("TENDERSEED_METRICS_LISTEN_ADDR", ":9100"),
        ("TENDERSEED_PEER_CHECK_PERIOD", "1m"),
        ("TENDERSEED_SEED_DISCONNECT_WAIT_PERIOD", "5m"),
        ("TM_P2P_BOOTSTRAP_PEERS", seed),
    ];
    let sources = Sources::variables(&variables).of_seed();
    let http = |sources: &Sources<'_>| sources.layers().unwrap().written("http", None).unwrap();
    assert_eq!(http(&sources).as_deref(), Some(":9100"));
    let config = sources.p2p().unwrap().config;
    assert_eq!(config.seed_disconnect_wait_period.as_secs(), 300);
    assert_eq!(config.seeds, [seed.parse().unwrap()]);
    let warnings = sources.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_says(&warnings[0], &["TENDERSEED_PEER_CHECK_PERIOD (here crawl_period)"]);
    // Ours counts before theirs.
    let both = [variables[0], ("TENDERSEED_HTTP", ":1")];
    assert_eq!(http(&Sources::variables(&both).of_seed()).as_deref(), Some(":1"));
    let flags = [("bootstrap_peers", seed)];
    let p2p = Sources { flags: &flags, ..Sources::default() }.p2p().unwrap();
    assert_eq!((p2p.config.seeds.len(), p2p.warnings.len()), (1, 0));
}

#[test]
fn the_home_is_the_strongest_prefixs() {
    let home = |variables: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
        Environment::new(&["TENDERSEED", "CMT", "TM"], variables.iter().map(owned)).home()
    };
    let all = [("TENDERSEED_HOME", "/1"), ("CMTHOME", "/2"), ("TMHOME", "/3"), ("TM_HOME", "/4")];
    for (at, (_, folder)) in all.iter().enumerate() {
        assert_eq!(home(&all[at..]).as_deref(), Some(Path::new(folder)));
    }
    assert_eq!(home(&[("CMTHOME", ""), ("TMHOME", "/链")]).as_deref(), Some(Path::new("/链")));
    assert_eq!(home(&[("TMHOME", "")]), None);
}

/// The fault: another program's variable that is no UTF-8 was a panic.
#[cfg(unix)]
#[test]
fn variables_that_are_no_utf8_are_others_unless_they_are_ours() {
    use std::os::unix::ffi::OsStringExt;

    use crate::layers::{File, Layers};

    let raw = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let layers = |name: &[u8], value: &[u8]| {
        let environment = Environment::new(&["CMT", "TM"], [(raw(name), raw(value))]);
        Layers::new(File::default(), environment, Vec::new())
    };
    for (name, value) in
        [(&b"OTHER"[..], &b"\xff"[..]), (b"\xff", b"x"), (b"TM_\xff", b"x"), (b"TM_OTHER", b"\xff")]
    {
        let layers = layers(name, value);
        layers.p2p(toml::Table::new()).unwrap();
        assert_eq!(layers.text("moniker", None).unwrap(), None);
        assert_eq!(layers.warnings().len(), usize::from(name == b"TM_OTHER"));
    }
    let mistake = layers(b"TM_P2P_LADDR", b"\xff").p2p(toml::Table::new()).unwrap_err();
    assert_says(&mistake.0, &["TM_P2P_LADDR", "UTF-8"]);
    let mistake = layers(b"CMT_MONIKER", b"\xff").text("moniker", None).unwrap_err();
    assert_says(&mistake.0, &["CMT_MONIKER", "UTF-8"]);
}
