//! Each setting counts in each layer.

use super::Sources;
use crate::layers::{Kind, keys};

/// Something that is not the default.
fn other_than_default(key: &str) -> String {
    let id = "8dbde4f350f8767f8dd7f0161c53ec87a7188a31";
    match (Kind::of(key).unwrap(), key) {
        (Kind::Switch, "pex" | "addr_book_strict") => "false".to_owned(),
        (Kind::Switch, _) => "true".to_owned(),
        (Kind::Number, _) => "77".to_owned(),
        (Kind::Duration, _) => "77s".to_owned(),
        (Kind::Text, "laddr" | "external_address") => "tcp://1.2.3.4:5".to_owned(),
        (Kind::Text, "seeds" | "persistent_peers") => format!("{id}@1.2.3.4:5"),
        (Kind::Text, "exempt_cidrs") => "10.0.0.0/8".to_owned(),
        (Kind::Text, "addr_book_file") => "other.json".to_owned(),
        (Kind::Text, _) => id.to_owned(),
    }
}

#[test]
fn every_key_of_p2p_counts_in_file_variable_and_flag() {
    let (keys, default) = (keys(), Sources::default().p2p().unwrap().config);
    assert!(keys.len() > 50, "{keys:?}");
    for key in &keys {
        let text = other_than_default(key);
        let file = format!("[p2p]\n{key} = {text:?}\n");
        let written = Sources::file(&file).p2p().unwrap();
        assert_ne!(written.config, default, "{key}");
        let name = format!("TM_P2P_{}", key.to_uppercase());
        let variables = [(&*name, &*text)];
        let flags = [(&**key, &*text)];
        for sources in
            [Sources::variables(&variables), Sources { flags: &flags, ..Sources::default() }]
        {
            let p2p = sources.p2p().unwrap();
            assert_eq!(p2p.config, written.config, "{key}");
            assert!(p2p.place(key).is_some(), "{key}");
            assert_eq!(sources.warnings(), [""; 0], "{key}");
        }
    }
}
