//! `init` makes all files or none.

use std::{fs, process::Stdio};

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

/// The fault: the file that is written first was named after the process, whose number is 1 in each
/// container, so that what one that was killed had left kept all later ones from working.
#[cfg(unix)]
#[test]
fn what_a_killed_init_has_left_is_in_nobodys_way() {
    for program in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let mut init = command(program, home.path());
        init.args(["init", "--chain-id", "c"]);
        // `exec` keeps the number.
        let before = r#"mkdir -p "$4/config"; for f in config.toml genesis.json node_key.json; do
            : > "$4/config/.$f.$$.tmp"; done"#;
        let before = before.replace("$4", home.path().to_str().unwrap());
        assert_prints(&mut in_shell(&before, &init));
        assert_eq!(
            fs::read_dir(home.path().join("config")).unwrap().count(),
            match program {
                "seed" => 3 + 2,
                _ => 3 + 3,
            }
        );
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| {
            let found = fs::metadata(home.path().join("config").join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        let umask = in_shell("umask", &std::process::Command::new("true")).output().unwrap();
        let umask = String::from_utf8(umask.stdout).unwrap();
        let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
        assert_eq!((mode("node_key.json"), mode("config.toml")), (0o600, 0o666 & !umask));
    }
}

/// Several scripts at once, on a home that is not there: one key and one set of files, and each is told
/// the ID that is the node's then, and what it has written itself.
#[test]
fn inits_at_once_make_one_node() {
    for program in ["full_node", "seed"] {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("not/there/yet");
        let started = (0..6).map(|_| {
            let mut init = command(program, &home);
            init.args(["init", "--chain-id", "c"]).stdout(Stdio::piped()).stderr(Stdio::piped());
            init.spawn().unwrap()
        });
        let started: Vec<_> = started.collect();
        let said = started.into_iter().map(|init| {
            let output = init.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        });
        let said: Vec<String> = said.collect();
        let id = assert_prints(command(program, &home).arg("show-node-id"));
        for said in &said {
            assert!(said.ends_with(&format!("node ID {id}")), "{said}");
        }
        let files = fs::read_dir(home.join("config")).unwrap();
        for file in files.map(|file| file.unwrap().path()) {
            let wrote = format!("wrote {}\n", file.display());
            assert_eq!(said.iter().filter(|said| said.contains(&wrote)).count(), 1, "{wrote}");
        }
    }
}
