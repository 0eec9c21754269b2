//! Golden data recorded from the real Go code, replayed against this crate.
//!
//! Each test takes whatever cases its file holds; the only thing it insists on is that there are
//! some. Where this crate decides otherwise than Go on purpose, `deviations` says so.

mod addrbook;
mod addresses;
mod buckets;
mod config;
mod deviations;
mod node_info;
mod node_key;
mod packets;
mod pex;
mod protocol_version;
mod secret_connection;

use serde_json::Value;

/// The parsed file of this name beside the test.
fn load(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The cases under `key`, of which there must be at least one.
fn cases<'a>(file: &'a Value, key: &str) -> &'a Vec<Value> {
    let cases = file[key].as_array().unwrap_or_else(|| panic!("no list {key:?}"));
    assert!(!cases.is_empty(), "{key} is empty");
    cases
}

/// The text of a field.
fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap_or_else(|| panic!("no text {key:?} in {case}"))
}

/// The bytes of a hex field.
fn bytes(case: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(case, key)).unwrap_or_else(|e| panic!("{key}: {e}"))
}
