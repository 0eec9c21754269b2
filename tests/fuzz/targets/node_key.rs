#![no_main]
//! A key file.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tmp2p::NodeKey;

static FOLDER: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

fuzz_target!(|bytes: &[u8]| {
    let path = written(bytes);
    match NodeKey::load(&path) {
        Ok(key) => {
            key.save(&path).expect("the folder can be written to");
            let again = NodeKey::load(&path).expect("what is saved can be loaded");
            assert_eq!(again.id(), key.id());
            let signature = key.sign(b"message");
            assert!(again.public_key().verify(b"message", &signature).is_ok());
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < 4096 && !error.contains(char::is_control), "{error:?}");
        }
    }
});

fn written(bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join("node_key.json");
    fs::write(&path, bytes).expect("the folder can be written to");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}
