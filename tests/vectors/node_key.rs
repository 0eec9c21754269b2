//! `node_key.json`: the key files that Go writes, and odd ones.

use std::fs;

use serde_json::Value;
use tmp2p::{NodeId, NodeKey, PublicKey};

use super::{bytes, cases, deviations, load, text};

#[test]
fn vectors_node_key_round_trip() {
    let file = load("node_key.json");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node_key.json");
    for case in cases(&file, "keys") {
        let name = text(case, "name");
        let key = NodeKey::from_seed(bytes(case, "seed").try_into().unwrap());
        assert_eq!(key.public_key().as_bytes().as_slice(), bytes(case, "public_key"), "{name}");
        assert_eq!(key.id().to_string(), text(case, "node_id"), "{name}");
        assert_eq!(NodeId::from_public_key(&key.public_key()), key.id(), "{name}");
        let public_key = PublicKey::from_bytes(bytes(case, "public_key").try_into().unwrap());
        assert_eq!(public_key.verify(b"message", &key.sign(b"message")), Ok(()), "{name}");

        // Ours to Go's.
        key.save(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text(case, "file"), "{name}");
        assert_eq!(mode(&path), text(case, "mode"), "{name}");
        // Go's to ours.
        fs::write(&path, text(case, "file")).unwrap();
        assert_eq!(NodeKey::load(&path).unwrap().public_key(), key.public_key(), "{name}");
    }
}

#[test]
fn vectors_node_key_files() {
    let rules = [deviations::OTHER_KEY_TYPE, deviations::KEY_LENGTH, deviations::KEY_HALVES];
    let file = load("node_key.json");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node_key.json");
    for case in cases(&file, "files") {
        let name = text(case, "name");
        fs::write(&path, text(case, "file")).unwrap();
        let refused = rules.iter().any(|rule| rule.decides(case));
        // A file that Go loads and then panics over has no node_id.
        let expected = if refused { &Value::Null } else { &case["node_id"] };
        match NodeKey::load(&path) {
            Ok(key) => assert_eq!(expected.as_str(), Some(&*key.id().to_string()), "{name}"),
            Err(error) => {
                assert!(expected.is_null(), "{name}: {error}");
                assert!(error.to_string().contains(&path.display().to_string()), "{error}");
            }
        }
    }
    rules.iter().for_each(|rule| rule.must_decide_one_of(cases(&file, "files")));
}

#[cfg(unix)]
fn mode(path: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt;
    format!("{:04o}", fs::metadata(path).expect("the file is there").permissions().mode() & 0o7777)
}
