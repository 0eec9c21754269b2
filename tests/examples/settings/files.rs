//! Configuration files as they are found.

use std::{fs, path::Path, time::Duration};

use super::{Sources, assert_says, case};

const ID: &str = "8dbde4f350f8767f8dd7f0161c53ec87a7188a31";

/// What `init` writes has nothing that is odd, whatever the version; keys that only other versions
/// have are told in one sentence.
#[test]
fn files_of_all_versions_are_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let in_folder = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect::<Vec<_>>()
    };
    let files =
        [in_folder("tests/vectors/config"), in_folder("tests/examples/cases/homes")].concat();
    assert!(files.len() > 8, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let (name, sources) = (path.file_stem().unwrap().to_string_lossy(), Sources::file(&text));
        let only_here = match &*name {
            "tendermint-v0.35.9" => {
                &["use-legacy", "queue-type", "max-connections", "max-outgoing-connections"][..]
            }
            "sei-tendermint" => &["queue-type", "max-connections", "blocksync-peers"],
            _ => &[],
        };
        let warnings = sources.warnings();
        assert_eq!(warnings.len(), usize::from(!only_here.is_empty()), "{name}: {warnings:?}");
        only_here.iter().for_each(|key| assert_says(&warnings[0], &[&format!("p2p.{key} (line ")]));
        let config = sources.p2p().unwrap().config;
        assert_eq!(config.dial_timeout, Duration::from_secs(3), "{name}");
        assert_eq!(config.max_packet_msg_payload_size, 1024, "{name}");
        let layers = sources.layers().unwrap();
        let text = |key| layers.text(key, None).unwrap();
        assert_eq!(text("moniker").as_deref(), Some("vector-node"), "{name}");
        assert_eq!(text("node_key_file").as_deref(), Some("config/node_key.json"), "{name}");
        assert_eq!(text("rpc.laddr").as_deref(), Some("tcp://127.0.0.1:26657"), "{name}");
    }
}

/// Go ignores them; an operator who has written `persistant_peers` is to hear of it.
#[test]
fn unknown_keys_of_a_file_are_one_warning_with_lines_and_keys() {
    let file = "moniker = \"a\"\nmonicker = \"b\"\n[rpc]\nladdr = \"\"\nlader = \"x\"\n[p2p]\n\
                lader = \"tcp://127.0.0.1:0\"\nmax_num_peers = 50\n[p2p.more]\na = 1\nb = 2\n\
                [consensus]\nwhatever = 1\n[pp2p]\nladdr = \"x\"\n";
    let warnings = Sources::file(file).warnings();
    assert_eq!(
        warnings,
        ["config.toml: ignored, because this program does not know it: monicker (line 2), \
          rpc.lader (line 5), p2p.lader (line 7), p2p.max_num_peers (line 8; here \
          max_num_inbound_peers and max_num_outbound_peers), [p2p.more] (line 9), [pp2p] (line 14)"]
    );
    // tenderseed's file has no tables.
    let file = "chain_id = \"c\"\nmax_num_peers = 3\nlader = \"x\"\n";
    let warnings = Sources::file(file).of_seed().warnings();
    assert_says(&warnings[0], &["max_num_peers (line 2;", ", lader (line 3)"]);
}

#[test]
fn an_old_home_is_one_sentence_for_all_keys() {
    let text = case("config-tm025.toml");
    let sources = Sources::file(&text);
    let warnings = sources.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_says(
        &warnings[0],
        &["max_num_peers (line 10;", "max_packet_msg_size (line 11;", "auth_enc"],
    );
    assert_says(&warnings[1], &["line 9, p2p.flush_throttle_timeout: 100 is 100 ns"]);
    let config = sources.p2p().unwrap().config;
    assert_eq!((config.send_rate, config.persistent_peers.len()), (512_000, 1));
}

/// Go's reader knows no capitals, so `[P2P] Laddr` is what it says.
#[test]
fn capitals_and_hyphens_in_names_count() {
    let file = "Moniker = \"a\"\nLOG-LEVEL = \"debug\"\n[RPC]\nLaddr = \"tcp://1.2.3.4:5\"\n[P2P]\n\
                LADDR = \"tcp://1.2.3.4:6\"\nMax-Num_Inbound-peers = 7\nPEX = false\n";
    let sources = Sources::file(file);
    assert_eq!(sources.warnings(), [""; 0]);
    let layers = sources.layers().unwrap();
    for (key, text) in [("moniker", "a"), ("log_level", "debug"), ("rpc.laddr", "tcp://1.2.3.4:5")]
    {
        assert_eq!(layers.text(key, None).unwrap().as_deref(), Some(text));
    }
    let config = sources.p2p().unwrap().config;
    assert_eq!(config.laddr, "tcp://1.2.3.4:6".parse().ok());
    assert_eq!((config.max_num_inbound_peers, config.pex), (7, false));
    // tenderseed's, too; and one with such a table is not tenderseed's.
    let sources =
        Sources::file("CHAIN_ID = \"c\"\nSeed_Disconnect-Wait_Period = \"5m\"\n").of_seed();
    assert_eq!(sources.warnings(), [""; 0]);
    let period = sources.p2p().unwrap().config.seed_disconnect_wait_period;
    assert_eq!(period, Duration::from_secs(300));
    assert!(!Sources::file("[P2P]\n").of_seed().layers().unwrap().is_tenderseeds());
}

#[test]
fn a_key_in_two_spellings_counts_once_and_is_told() {
    for (file, mode) in [
        ("[p2p]\nmax_num_inbound_peers = 1\nmax-num-inbound-peers = 2\n", 1),
        ("[P2P]\nmax_num_inbound_peers = 1\n[p2p]\nmax_num_inbound_peers = 2\n", 2),
        ("[p2p]\nMax_num_inbound_peers = 1\nmax-num-inbound-peers = 2\n", 2),
    ] {
        let sources = Sources::file(file);
        assert_eq!(sources.p2p().unwrap().config.max_num_inbound_peers, mode, "{file}");
        let warnings = sources.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_says(&warnings[0], &["left out", "the same key", "line "]);
    }
}

/// Tables go to the end of a file, so that is where somebody adds one.
#[test]
fn a_table_in_a_file_of_tenderseed_takes_nothing_away() {
    let text = "laddr = \"tcp://1.2.3.4:1\"\nmax_num_inbound_peers = 7\nchain_id = \"c\"\nmoniker = \"m\"\n\
                [p2p]\nmax_num_inbound_peers = 8\nallow_duplicate_ip = true\n";
    let sources = Sources::file(text).of_seed();
    let config = sources.p2p().unwrap().config;
    let laddr = config.laddr.unwrap().to_string();
    assert_eq!((&*laddr, config.max_num_inbound_peers), ("tcp://1.2.3.4:1", 8));
    assert!(config.allow_duplicate_ip && sources.layers().unwrap().is_tenderseeds());
    let warnings = sources.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_says(&warnings[0], &["line 2, max_num_inbound_peers", "left out", "line 6"]);
    // One of Tendermint has keys of its own there.
    let sources = Sources::file("moniker = \"m\"\nproxy_app = \"x\"\n[p2p]\nseeds = \"\"\n");
    assert!(!sources.of_seed().layers().unwrap().is_tenderseeds());
}

#[test]
fn hyphens_of_v0_35_are_read_and_bootstrap_peers_are_seeds() {
    let text = case("config-hyphen.toml");
    let sources = Sources::file(&text);
    let config = sources.p2p().unwrap().config;
    assert_eq!(config.persistent_peers.len(), 1);
    assert_eq!((config.send_rate, config.allow_duplicate_ip), (20_480_000, true));
    assert_eq!(sources.warnings().len(), 1);
    let file = format!("[p2p]\nbootstrap-peers = \"{ID}@1.2.3.4:5\"\n");
    assert_eq!(Sources::file(&file).p2p().unwrap().config.seeds.len(), 1);
    assert_eq!(Sources::file(&file).warnings(), [""; 0]);
    let file = format!("{file}seeds = \"{ID}@1.2.3.4:6\"\n");
    let seeds = Sources::file(&file).p2p().unwrap().config.seeds;
    assert_eq!(seeds, [format!("{ID}@1.2.3.4:6").parse().unwrap()]);
    assert_says(&Sources::file(&file).warnings()[0], &["p2p.bootstrap-peers (line 2; here seeds)"]);
}

/// CometBFT's other network: who has it off has none.
#[test]
fn libp2p_off_passes_and_on_is_refused_with_the_reason() {
    let off = case("config-libp2p.toml");
    assert_eq!(Sources::file(&off).warnings(), [""; 0]);
    for on in ["true", "\"true\"", "1"] {
        let on = off.replace("enabled = false", &format!("enabled = {on}"));
        let mistake = Sources::file(&on).p2p().unwrap_err();
        assert_says(&mistake.0, &["line 6", "libp2p.enabled", "protocol", "make it false"]);
    }
    let sources = Sources { flags: &[("libp2p.enabled", "true")], ..Sources::default() };
    assert_says(&sources.p2p().unwrap_err().0, &["--p2p.libp2p.enabled", "make it false"]);
    let sources = Sources::variables(&[("CMT_P2P_LIBP2P_ENABLED", "true")]);
    assert_says(&sources.p2p().unwrap_err().0, &["CMT_P2P_LIBP2P_ENABLED", "make it false"]);
    // The strongest layer decides.
    let sources = Sources {
        file: "[p2p.libp2p]\nenabled = true\n",
        variables: &[("CMT_P2P_LIBP2P_ENABLED", "false")],
        ..Sources::default()
    };
    sources.p2p().unwrap();
}

/// Half the field's scripts write numbers and booleans so.
#[test]
fn values_in_quotes_are_read_in_file_environment_and_flags() {
    let text = case("config-quoted.toml");
    let sources = Sources::file(&text);
    assert_eq!(sources.warnings(), [""; 0]);
    let config = sources.p2p().unwrap().config;
    assert_eq!((config.max_num_inbound_peers, config.max_num_outbound_peers), (300, 80));
    assert_eq!((config.pex, config.seed_mode, config.addr_book_strict), (true, false, false));
    assert!(config.allow_duplicate_ip);

    for (text, is_on) in [("T", true), ("1", true), ("TRUE", true), ("f", false), ("False", false)]
    {
        let file = format!("[p2p]\nallow_duplicate_ip = {text:?}\n");
        let variables = [("TM_P2P_ALLOW_DUPLICATE_IP", text)];
        let flags = [("allow_duplicate_ip", text)];
        for sources in [
            Sources::file(&file),
            Sources::variables(&variables),
            Sources { flags: &flags, ..Sources::default() },
        ] {
            assert_eq!(sources.p2p().unwrap().config.allow_duplicate_ip, is_on, "{text}");
        }
    }
    for (variables, flags) in
        [(&[("TM_P2P_SEND_RATE", "0x10")][..], &[][..]), (&[], &[("send_rate", "16")])]
    {
        let sources = Sources { variables, flags, ..Sources::default() };
        assert_eq!(sources.p2p().unwrap().config.send_rate, 16);
    }
    // Outside of [p2p].
    for text in ["8388608", "\"8388608\"", "\"0x800000\"", "8388608.0"] {
        let file = format!("moniker = 7\n[mempool]\nmax_tx_bytes = {text}\n");
        let layers = Sources::file(&file).layers().unwrap();
        assert_eq!(layers.number("mempool.max_tx_bytes", None, 1), Ok(8_388_608));
        assert_eq!(layers.text("moniker", None).unwrap().as_deref(), Some("7"));
    }
    let layers = Sources::file("[mempool]\nmax_tx_bytes = \"much\"\n").layers().unwrap();
    let mistake = layers.number("mempool.max_tx_bytes", None, 1).unwrap_err();
    assert_says(&mistake.0, &["config.toml line 2, mempool.max_tx_bytes", "\"much\" is no number"]);
}

#[test]
fn what_go_reads_and_nobody_means_is_told() {
    for (line, told) in [
        ("dial_timeout = 3", "line 2, p2p.dial_timeout: 3 is 3 ns"),
        ("send_rate = 1.5", "is read as 1"),
        ("send_rate = \"\"", "read as 0"),
        ("pex = \"\"", "read as false"),
        ("upnp = true", "line 2, p2p.upnp is true, but there is no UPnP"),
        ("upnp = \"1\"", "no UPnP"),
    ] {
        let file = format!("[p2p]\n{line}\n");
        let warnings = Sources::file(&file).warnings();
        assert_eq!(warnings.len(), 1, "{line}: {warnings:?}");
        assert_says(&warnings[0], &[told]);
    }
    for line in ["dial_timeout = 0", "send_rate = 5120000.0", "upnp = false", "laddr = \"\""] {
        let file = format!("[p2p]\n{line}\n");
        assert_eq!(Sources::file(&file).warnings(), [""; 0], "{line}");
    }
}

/// All that must be corrected is told at once, each with its line.
#[test]
fn all_mistakes_are_told_at_once() {
    let file = "[p2p]\nsend_rate = \"fast\"\npex = \"yes\"\nseeds = [\"x\"]\nupnp = \"maybe\"\n\
                dial_timeout = \"3\"\n";
    let mistake = Sources::file(file).p2p().unwrap_err();
    assert_says(
        &mistake.0,
        &[
            "line 2, p2p.send_rate: \"fast\" is no number",
            "line 3, p2p.pex: \"yes\" is no boolean",
            "line 4, p2p.seeds:",
            "one text with commas",
            "line 5, p2p.upnp: \"maybe\"",
            "line 6, p2p.dial_timeout: \"3\" is no duration",
        ],
    );
    assert!(!mistake.0.contains('\n'));
    for (file, line) in
        [("[p2p\n", "line 1"), ("a = 1\nb\n", "line 2"), ("a = 1\na = 2\n", "line 2")]
    {
        let mistake = Sources::file(file).layers().unwrap_err();
        assert_says(&mistake.0, &["config.toml", line]);
    }
}

#[test]
fn odd_texts_are_files_all_the_same() {
    let crlf = case("config-crlf.toml");
    assert!(crlf.contains("\r\n"));
    let with_mark = format!("\u{feff}{crlf}");
    let wide = "moniker = \"hunt\" # ünï \u{1f600}\r\n\r\n[p2p]\r\nunknown = \"链\"\r\n";
    for file in [&crlf, &with_mark, wide] {
        let layers = Sources::file(file).layers().unwrap();
        assert_eq!(layers.text("moniker", None).unwrap().as_deref(), Some("hunt"));
    }
    assert_says(&Sources::file(wide).warnings()[0], &["p2p.unknown (line 4)"]);
    for file in ["", "\n", "# nothing\n"] {
        assert_eq!(Sources::file(file).warnings(), [""; 0]);
        assert!(Sources::file(file).of_seed().layers().unwrap().is_tenderseeds());
    }
}

/// `rpc.laddr = ""` is a server that is off, which no line at all is not.
#[test]
fn an_empty_address_of_a_server_is_told_from_none() {
    let file = case("config-rpc-empty.toml");
    let written =
        |sources: &Sources<'_>, flag| sources.layers().unwrap().written("rpc.laddr", flag).unwrap();
    assert_eq!(written(&Sources::file(&file), None).as_deref(), Some(""));
    assert_eq!(written(&Sources::file(&file), Some("x")).as_deref(), Some("x"));
    assert_eq!(written(&Sources::default(), None), None);
    assert_eq!(written(&Sources::default(), Some("")).as_deref(), Some(""));
    let variables = [("TM_RPC_LADDR", "y")];
    let sources = Sources { file: &file, variables: &variables, ..Sources::default() };
    assert_eq!(written(&sources, None).as_deref(), Some("y"));
    assert_eq!(written(&sources, Some("")).as_deref(), Some(""));
    let variables = [("TM_RPC_LADDR", "")];
    let sources = Sources { file: "[rpc]\nladdr = \"z\"\n", variables: &variables, ..sources };
    assert_eq!(written(&sources, None).as_deref(), Some("z"));
    // Other texts that are empty are none.
    let layers = Sources::file("moniker = \"a\"\n").layers().unwrap();
    assert_eq!(layers.text("moniker", Some("")).unwrap().as_deref(), Some("a"));
    let layers = Sources::file("moniker = \"\"\n").layers().unwrap();
    assert_eq!(layers.text("moniker", None).unwrap(), None);
}

/// The keys of the tenderseed that is maintained: what it has and we have not is told.
#[test]
fn keys_of_newer_tenderseeds_count_or_are_told() {
    let text = case("tenderseed-v2.toml");
    let sources = Sources::file(&text).of_seed();
    let layers = sources.layers().unwrap();
    assert!(layers.is_tenderseeds());
    let http = layers.written("http", None).unwrap();
    assert_eq!(http.as_deref(), Some(":9100"));
    let config = sources.p2p().unwrap().config;
    assert_eq!(config.seed_disconnect_wait_period, Duration::from_secs(300));
    assert_eq!((config.max_num_inbound_peers, config.addr_book_strict), (1000, false));
    let warnings = sources.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert_says(
        &warnings[0],
        &[
            "peer_check_period (line 13; here crawl_period)",
            "peer_check_workers (line 14; here crawl_concurrency)",
            "metrics_namespace (line 16; the metrics have Tendermint's names)",
        ],
    );
    // Ours counts before theirs, and an empty one is off.
    let both = format!("http = \"tcp://127.0.0.1:1\"\n{text}");
    let sources = Sources::file(&both).of_seed();
    let http = sources.layers().unwrap().written("http", None).unwrap();
    assert_eq!(http.as_deref(), Some("tcp://127.0.0.1:1"));
    assert_says(&sources.warnings()[0], &["metrics_listen_addr (line 16; here http)"]);
    let off = text.replace(":9100", "");
    let sources = Sources::file(&off).of_seed();
    assert_eq!(sources.layers().unwrap().written("http", None).unwrap(), None);
}
