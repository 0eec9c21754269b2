//! `config/`: the files that `init` of each version writes.

use std::{fmt::Display, fs, path::Path, time::Duration};

use serde_json::Value;
use tmp2p::Config;

#[test]
fn vectors_config() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/config");
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        files += 1;
        let name = path.display();
        let mut table: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let facts: Value =
            serde_json::from_slice(&fs::read(path.with_extension("facts.json")).unwrap()).unwrap();
        let facts = facts["p2p"].as_object().unwrap();

        let config: Config = table.remove("p2p").unwrap().try_into().unwrap();
        config.check().unwrap();
        for (key, fact) in facts {
            let Some(ours) = value_of(&config, key) else { continue };
            let fact = fact.get("ms").unwrap_or(fact);
            assert_eq!(ours, *fact, "{name}: {key}");
        }
        // Every key may be absent: the file holds the defaults.
        assert_eq!(toml::from_str::<Config>("").unwrap(), config, "{name}");
    }
    assert!(files > 0);
}

/// A field in the form of the facts; `None` for what there is no field for.
fn value_of(config: &Config, key: &str) -> Option<Value> {
    Some(match key {
        "laddr" => text(&config.laddr),
        "external_address" => text(&config.external_address),
        "seeds" => list(&config.seeds),
        "persistent_peers" => list(&config.persistent_peers),
        "upnp" => return None,
        "addr_book_file" => text(&config.addr_book_file.as_ref().map(|path| path.display())),
        "addr_book_strict" => config.addr_book_strict.into(),
        "max_num_inbound_peers" => config.max_num_inbound_peers.into(),
        "max_num_outbound_peers" => config.max_num_outbound_peers.into(),
        "unconditional_peer_ids" => list(&config.unconditional_peer_ids),
        "persistent_peers_max_dial_period" => millis(config.persistent_peers_max_dial_period),
        "flush_throttle_timeout" => millis(config.flush_throttle_timeout),
        "max_packet_msg_payload_size" => config.max_packet_msg_payload_size.into(),
        "send_rate" => config.send_rate.into(),
        "recv_rate" => config.recv_rate.into(),
        "pex" => config.pex.into(),
        "seed_mode" => config.seed_mode.into(),
        "private_peer_ids" => list(&config.private_peer_ids),
        "allow_duplicate_ip" => config.allow_duplicate_ip.into(),
        "handshake_timeout" => millis(config.handshake_timeout),
        "dial_timeout" => millis(config.dial_timeout),
        _ => panic!("there is no field for {key}"),
    })
}

fn text(value: &Option<impl Display>) -> Value {
    value.as_ref().map_or(String::new(), ToString::to_string).into()
}

fn list(values: &[impl Display]) -> Value {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",").into()
}

fn millis(duration: Duration) -> Value {
    (duration.as_millis() as u64).into()
}
