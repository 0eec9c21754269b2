//! Files of a home that are no files, or not there.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    home_input::read,
    program::{assert_prints, assert_refused, command},
};

/// The fault: a mistyped path was a seed with defaults, on another port and with another key.
#[test]
fn a_configuration_that_is_named_must_be_there() {
    let home = tempfile::tempdir().unwrap();
    for verb in ["start", "show-node-id", "peers"] {
        let mut seed = command("seed", home.path());
        seed.args([verb, "--chain-id", "c", "--config", "config/confg.toml"]);
        let path = home.path().join("config/confg.toml");
        assert_refused(&mut seed, &["--config", path.to_str().unwrap(), "correct the path"]);
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    // `init` makes it, and then it is there.
    let with = |verb: &str| {
        let mut seed = command("seed", home.path());
        seed.args([verb, "--config", "other.toml"]);
        seed
    };
    let said = assert_prints(with("init").args(["--chain-id", "c"]));
    assert!(said.contains("other.toml"), "{said}");
    assert_prints(&mut with("show-node-id"));
    // The usual one need not be there.
    let bare = tempfile::tempdir().unwrap();
    assert_prints(command("seed", bare.path()).arg("show-node-id"));
}

#[cfg(unix)]
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// The fault: opening a pipe without a writer waits for ever, and `/dev/zero` never ends.
#[cfg(unix)]
#[test]
fn what_is_no_file_or_too_large_is_an_error_and_waits_for_nobody_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let (fifo, large) = (folder.path().join("fifo"), folder.path().join("large"));
    pipe(&fifo);
    fs::File::create(&large).unwrap().set_len(10 << 30).unwrap();
    let patience = Duration::from_millis(50);
    let why = |path: &Path| read(path, 1 << 20, patience).unwrap_err().to_string();
    for path in [Path::new("/dev/zero"), &large] {
        assert!(why(path).contains("more than the 1048576 bytes"), "{}", why(path));
    }
    assert!(why(&fifo).contains("nothing for 50ms"), "{}", why(&fifo));
    assert!(why(folder.path()).contains("directory"), "{}", why(folder.path()));
    assert!(read(Path::new("/dev/null"), 1, patience).unwrap().is_empty());
    let text = folder.path().join("text");
    fs::write(&text, "four").unwrap();
    assert_eq!(read(&text, 4, patience).unwrap(), b"four");
    assert!(read(&text, 3, patience).is_err());
}

/// `seed --config <(…)`: what ends is read, also in pieces and by who is not quick.
#[cfg(unix)]
#[test]
fn a_pipe_that_somebody_writes_into_is_read_to_its_end() {
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    pipe(&fifo);
    let text = "x".repeat(300_000);
    let (path, sent) = (fifo.clone(), text.clone());
    let writer = std::thread::spawn(move || {
        let mut pipe = fs::OpenOptions::new().write(true).open(path).unwrap();
        sent.as_bytes().chunks(70_000).for_each(|piece| pipe.write_all(piece).unwrap());
    });
    assert_eq!(read(&fifo, 1 << 20, crate::program::DEADLINE).unwrap(), text.as_bytes());
    writer.join().unwrap();
}

/// All files of the home at once: each program ends and names the file.
#[cfg(unix)]
#[test]
fn pipes_devices_and_folders_in_a_home_stop_the_programs_with_the_files_name() {
    let cases = [
        ("config.toml", "zero", "bytes"),
        ("config.toml", "folder", "directory"),
        ("config.toml", "pipe", "says nothing"),
        ("genesis.json", "zero", "bytes"),
        ("genesis.json", "folder", "directory"),
        ("genesis.json", "pipe", "says nothing"),
        ("node_key.json", "zero", "regular file"),
        ("node_key.json", "folder", "directory"),
        ("node_key.json", "pipe", "regular file"),
    ];
    std::thread::scope(|scope| {
        for (name, what, why) in cases {
            for program in ["full_node", "seed"] {
                scope.spawn(move || {
                    let home = tempfile::tempdir().unwrap();
                    fs::create_dir(home.path().join("config")).unwrap();
                    let file = home.path().join("config").join(name);
                    match what {
                        "zero" => std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
                        "folder" => fs::create_dir(&file).unwrap(),
                        _ => pipe(&file),
                    }
                    let mut start = command(program, home.path());
                    start.args(["--p2p.laddr", "tcp://127.0.0.1:0"]);
                    if name != "genesis.json" {
                        start.args(["--chain-id", "c"]);
                    }
                    if program == "full_node" {
                        start.args(["--rpc.laddr", ""]);
                    }
                    assert_refused(&mut start, &[name, why]);
                });
            }
        }
    });
}

/// A book of others that is no file is done without, and nobody waits for it.
#[cfg(unix)]
#[test]
fn an_addrbook_that_is_a_pipe_holds_up_neither_the_start_nor_an_import() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("data")).unwrap();
    let file = home.path().join("data/addrbook.json");
    pipe(&file);
    let seed = || crate::program::bare("seed", home.path());
    crate::program::assert_runs(seed());
    assert_refused(seed().arg("import-addrbook").arg(&file), &["addrbook.json", "says nothing"]);
}

/// A pipe in the place of the book held up the seed and each of its commands for ever, and a folder got
/// a lock beside it, which may be outside of the home.
#[cfg(unix)]
#[test]
fn a_book_that_is_a_pipe_or_a_folder_is_an_error_and_nothing_is_made_beside_it() {
    for (what, why) in [("pipe", "no regular file"), ("folder", "is a folder")] {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir_all(&data).unwrap();
        crate::program::assert_prints(command("seed", home.path()).arg("show-node-id"));
        let file = data.join("addrbook.sqlite");
        if what == "pipe" {
            pipe(&file)
        } else {
            fs::create_dir(&file).unwrap()
        }
        let given = home.path().join("given.json");
        fs::write(&given, r#"{"key":"","addrs":[]}"#).unwrap();
        for arguments in [
            vec!["--chain-id", "c", "--p2p.laddr", "tcp://127.0.0.1:0"],
            vec!["peers"],
            vec!["export-addrbook", "-"],
            vec!["import-addrbook", given.to_str().unwrap()],
            vec!["unban", "1.2.3.4"],
            vec!["unmark-bad", "0"],
        ] {
            let mut seed = command("seed", home.path());
            assert_refused(seed.args(&arguments), &["addrbook.sqlite", why]);
        }
        let left: Vec<_> =
            fs::read_dir(&data).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["addrbook.sqlite"], "{what}");
    }
}

/// Which descriptor is the last one, and for what, is another thing each time.
#[cfg(target_os = "linux")]
#[test]
fn too_few_descriptors_are_no_mistake_in_the_configuration() {
    let mut told = 0;
    for most in 6..20 {
        let home = tempfile::tempdir().unwrap();
        let given = home.path().join("given.json");
        fs::write(&given, r#"{"key":"","addrs":[]}"#).unwrap();
        let mut import = command("seed", home.path());
        import.arg("import-addrbook").arg(&given);
        let script = format!("ulimit -n {most}");
        let output = crate::stderr::in_shell(&script, &import).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        // SQLite does not say why it cannot open a file.
        if stderr.contains("Too many open files") {
            assert_eq!(output.status.code(), Some(1), "{most}: {stderr}");
            assert!(!stderr.contains("laddr"), "{most}: {stderr}");
            told += 1;
        }
    }
    assert!(told > 2, "{told}");
}
