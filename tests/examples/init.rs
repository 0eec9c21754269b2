//! `init` makes all files or none.

use std::fs;

use crate::{
    program::{assert_prints, assert_refused, command},
    stderr::in_shell,
};

/// A disk that takes the key and not the configuration: the key was there afterwards.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_leaves_none_behind() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let mut init = command(program, home.path());
        init.args(["init", "--chain-id", "c"]);
        // No file may have more than 512 bytes.
        let mut limited = in_shell("trap '' XFSZ; ulimit -f 1", &init);
        assert_refused(&mut limited, &["cannot write", "config.toml", "File too large"]);
        let left: Vec<_> = fs::read_dir(&home).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(left, <[std::path::PathBuf; 0]>::default(), "{program}");
        // What there is stays, whatever becomes of the rest.
        let file = home.path().join("config/node_key.json");
        let id = assert_prints(command(program, home.path()).arg("gen-node-key"));
        let mut limited = in_shell("trap '' XFSZ; ulimit -f 1", &init);
        assert_refused(&mut limited, &["cannot write", "config.toml"]);
        assert!(file.exists());
        let left: Vec<_> = fs::read_dir(home.path().join("config")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        let said = assert_prints(&mut init);
        assert!(said.contains("kept") && said.ends_with(&format!("node ID {id}")), "{said}");
        // Nothing is left of how they were made.
        let mut left: Vec<_> = fs::read_dir(home.path().join("config"))
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let expected: &[&str] = match program {
            "seed" => &["config.toml", "node_key.json"],
            _ => &["config.toml", "genesis.json", "node_key.json"],
        };
        assert_eq!(left, expected);
    }
}
