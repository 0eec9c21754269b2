//! `addrbook.json`: the one that lies beside the book, and those that the seed's commands read and
//! write.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::program::{assert_prints, assert_refused, command, run};

/// Only loopback is dialed in tests.
const LOOSE: &str = "--p2p.addr_book_strict=false";

const NEVER: &str = "0001-01-01T00:00:00Z";

/// One address where nobody listens.
const ONE: &str = include_str!("cases/addrbook-stale-1.json");

/// A book of nodes at these addresses, each with an ID of its own.
fn book(addrs: &[&str]) -> String {
    let known = |(n, addr): (usize, &&str)| {
        let (ip, port) = addr.rsplit_once(':').unwrap();
        let port: u32 = port.parse().unwrap();
        let addr = json!({ "id": format!("{:040x}", n + 1), "ip": ip, "port": port });
        json!({
            "addr": addr, "src": addr, "buckets": [0], "attempts": 0, "bucket_type": 1,
            "last_attempt": NEVER, "last_success": NEVER, "last_ban_time": NEVER,
        })
    };
    let addrs: Value = addrs.iter().enumerate().map(known).collect();
    json!({ "key": "0123456789abcdef01234567", "addrs": addrs }).to_string()
}

/// Starts the program, has it stop once it listens, and gives what it said at this level.
#[track_caller]
fn said(program: &str, home: &Path, level: &str, more: &[&str]) -> String {
    let mut command = command(program, home);
    command.args(["--chain-id", "c", "--log_level", level, "--p2p.laddr", "tcp://127.0.0.1:0"]);
    if program == "full_node" {
        command.args(["--rpc.laddr", ""]);
    }
    command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    // Nobody waits for somebody to read it.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_up = lines.any(|line| line.unwrap().starts_with("listening p2p "));
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    lines.for_each(|line| _ = line.unwrap());
    let status = child.wait().unwrap();
    let said = reader.join().unwrap();
    assert!(is_up && status.success(), "{status}: {said}");
    said
}

/// The line about the file, if there is one.
fn line<'a>(said: &'a str, words: &str) -> Option<&'a str> {
    said.lines().find(|line| line.contains(words))
}

/// The fault: what was put there after the first start, or in the place of a broken file, was ignored.
#[test]
fn an_addrbook_json_is_taken_in_once_whenever_it_is_put_there() {
    for first in [None, Some("<html>404 Not Found</html>")] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("config/addrbook.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        if let Some(first) = first {
            fs::write(&file, first).unwrap();
        }
        let start = || said("full_node", home.path(), "info", &[LOOSE]);
        let text = start();
        assert_eq!(line(&text, "took in"), None);
        assert_eq!(line(&text, "line 1").is_some(), first.is_some(), "{text}");

        fs::write(&file, ONE).unwrap();
        let text = start();
        let told = line(&text, "took in").unwrap();
        for part in
            ["addrbook.json", "1 added, 0 known, 0 refused", "never written", "addrbook.sqlite"]
        {
            assert!(told.contains(part), "no {part:?} in {told}");
        }
        assert!(told.contains("deleting the .json forgets nothing"), "{told}");
        assert_eq!(line(&start(), "took in"), None, "once");

        // A longer one, with the time of an old one.
        let mut longer: Value = serde_json::from_str(ONE).unwrap();
        let mut another = longer["addrs"][0].clone();
        another["addr"]["id"] = json!("77".repeat(20));
        longer["addrs"].as_array_mut().unwrap().push(another);
        fs::write(&file, longer.to_string()).unwrap();
        File::options()
            .append(true)
            .open(&file)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        assert!(line(&start(), "1 added, 1 known, 0 refused").is_some());
        assert_eq!(fs::read_to_string(&file).unwrap(), longer.to_string(), "it is ours to read");

        // Who deletes it to be rid of the addresses is told at the next start.
        fs::remove_file(&file).unwrap();
        let text = start();
        let told = line(&text, "is gone").unwrap();
        assert!(told.contains("addrbook.json") && told.contains("addrbook.sqlite"), "{told}");
        assert_eq!(line(&text, "took in"), None);
    }
}

/// Strict is for the internet: the log says how many are left out, why, and with what they are not.
#[test]
fn what_is_not_taken_of_an_addrbook_json_is_told_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("data")).unwrap();
    let addrs = ["10.0.0.1:1", "10.0.0.2:1", "8.8.8.8:0", "0.0.0.0:1"];
    fs::write(home.path().join("data/addrbook.json"), book(&addrs)).unwrap();
    let text = said("seed", home.path(), "warn", &[]);
    let told = line(&text, "took in").unwrap();
    assert!(told.contains("0 added, 0 known, 4 refused ("), "{told}");
    assert!(told.contains("2: ") && told.contains("addr_book_strict is on"), "{told}");
    assert!(told.contains("1: nobody can be reached at port 0"), "{told}");
}

/// A command of the seed.
fn seed(home: &Path, args: &[&str]) -> Command {
    let mut command = command("seed", home);
    command.arg(LOOSE).args(args);
    command
}

/// With an input; what it printed.
#[track_caller]
fn fed(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_import_counts_added_known_and_refused_and_reads_standard_input() {
    let home = tempfile::tempdir().unwrap();
    let addrs = ["8.8.8.8:1", "8.8.4.4:1", "10.0.0.1:1", "192.168.0.1:1", "8.8.8.8:0"];
    let import_of = |file: &str| {
        let mut import = command("seed", home.path());
        import.args(["import-addrbook", file]);
        import
    };
    let import = || import_of("-");
    assert_eq!(fed(import(), &book(&addrs[..1])), "added 1 address\n");
    let text = fed(import(), &book(&addrs));
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines[..2], ["added 1 address", "known 1"]);
    assert!(lines[2].starts_with("refused 1: ") && lines[2].contains("port 0"), "{text}");
    assert!(lines[3].starts_with("refused 2: ") && lines[3].contains("addr_book_strict"), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    #[cfg(target_os = "linux")]
    {
        let mut import = import_of("/dev/stdin");
        import.stdin(File::open(file_of(home.path(), &book(&addrs[..2]))).unwrap());
        assert_eq!(assert_prints(&mut import), "added 0 addresses\nknown 2\n");
        // What never ends is no book.
        assert_refused(&mut import_of("/dev/zero"), &["/dev/zero", "bytes"]);
    }
    assert_refused(&mut import_of(home.path().to_str().unwrap()), &["cannot take"]);
}

/// The fault: code 0, and no word of the flag that helps.
#[test]
fn an_import_that_takes_nothing_is_code_1_and_names_the_flag_that_helps() {
    let home = tempfile::tempdir().unwrap();
    let file = file_of(home.path(), &book(&["10.0.0.1:1", "10.0.0.2:1"]));
    let import = |more: &[&str]| {
        let mut import = command("seed", home.path());
        run(import.arg("import-addrbook").arg(&file).args(more))
    };
    let output = import(&[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("added 0 addresses\nrefused 2: "), "{said}");
    assert!(said.contains("--p2p.addr_book_strict=false"), "{said}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() == 1 && stderr.contains("in.json"), "{stderr}");
    // Some are taken, or known; and a book of nobody is one.
    assert!(import(&[LOOSE]).status.success());
    assert!(import(&[LOOSE]).status.success());
    file_of(home.path(), &book(&[]));
    assert!(import(&[LOOSE]).status.success());
}

/// The fault: whoever looked at the book was not told that a file beside it is not in it.
#[test]
fn who_looks_at_the_book_is_told_of_a_file_that_waits_beside_it() {
    let home = home_with_two();
    let beside = home.path().join("data/addrbook.json");
    let notes = || {
        let of = |args: &[&str]| {
            let output = run(&mut seed(home.path(), args));
            assert!(output.status.success(), "{args:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        [of(&["peers"]), of(&["peers", "--json"]), of(&["export-addrbook", "-"])]
    };
    assert_eq!(notes(), ["", "", ""]);
    fs::write(&beside, ONE).unwrap();
    for note in notes() {
        let is_one = note.starts_with("note: ") && note.lines().count() == 1;
        assert!(is_one && note.contains("data/addrbook.json is not in the book yet"), "{note}");
    }
    said("seed", home.path(), "warn", &[LOOSE]);
    assert_eq!(notes(), ["", "", ""], "it was taken in");
    fs::write(&beside, book(&["127.8.8.1:1"])).unwrap();
    assert!(notes().iter().all(|note| note.starts_with("note: ")), "another one");
}

/// The seed may get its flag from a unit file, and the command from nobody.
#[test]
fn a_strict_import_does_not_empty_the_book_of_a_private_network() {
    let home = home_with_two();
    let strict = || {
        let mut import = command("seed", home.path());
        import.args(["import-addrbook", "in.json"]).current_dir(home.path());
        import
    };
    file_of(home.path(), &book(&["127.8.8.8:1", "127.8.4.4:1", "8.8.8.8:1"]));
    // What a strict book does not take stays in its file, for the day on which it is not strict.
    assert!(assert_prints(&mut strict()).starts_with("added 1 address\nrefused 2: "));
    let peers = assert_prints(&mut seed(home.path(), &["peers"]));
    assert!(peers.contains("3 addresses: "), "{peers}");
}

fn file_of(home: &Path, text: &str) -> PathBuf {
    let file = home.join("in.json");
    fs::write(&file, text).unwrap();
    file
}

/// A home with a book of two.
fn home_with_two() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let two = book(&["127.8.8.8:1", "127.8.4.4:1"]);
    assert_eq!(fed(seed(home.path(), &["import-addrbook", "-"]), &two), "added 2 addresses\n");
    home
}

#[track_caller]
fn assert_two(text: &[u8]) {
    let book: Value = serde_json::from_slice(text).unwrap();
    assert_eq!(book["addrs"].as_array().unwrap().len(), 2, "{book}");
}

/// Scripts put it into a pipe: there is the book and nothing else.
#[test]
fn an_export_to_standard_output_is_the_book_alone() {
    let home = home_with_two();
    assert_two(&run(&mut seed(home.path(), &["export-addrbook", "-"])).stdout);
    // Whatever standard output is: that a file exists is no reason not to write into it.
    let file = home.path().join("out.json");
    for to in ["-", "/dev/stdout"] {
        let mut export = seed(home.path(), &["export-addrbook", to]);
        export.stdout(File::create(&file).unwrap());
        assert!(run(&mut export).status.success(), "{to}");
        assert_two(&fs::read(&file).unwrap());
    }
    #[cfg(target_os = "linux")]
    {
        let mut full = seed(home.path(), &["export-addrbook", "-"]);
        let output = run(full.stdout(File::options().write(true).open("/dev/full").unwrap()));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains("standard output"), "{stderr}");
        assert_prints(&mut seed(home.path(), &["export-addrbook", "/dev/null"]));
        // It is the machine that has not enough, and nothing that was written wrongly.
        let output = run(&mut seed(home.path(), &["export-addrbook", "/dev/full"]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
        assert!(stderr.contains("cannot write /dev/full: No space left"), "{stderr}");
    }
}

/// The fault: an export with `--force` took the place of the book that it is of, or of the key.
#[test]
fn an_export_never_replaces_what_the_seed_lives_on() {
    let home = home_with_two();
    let of = |name: &str| home.path().join(name);
    assert_prints(&mut seed(home.path(), &["show-node-id"]));
    fs::write(of("config/config.toml"), "").unwrap();
    let key = fs::read(of("config/node_key.json")).unwrap();
    let mut files = vec![
        (of("data/addrbook.sqlite"), "the address book itself"),
        (of("data/../data/addrbook.sqlite"), "the address book itself"),
        (of("data/addrbook.sqlite-wal"), "the address book itself"),
        (of("data/addrbook.sqlite-shm"), "the address book itself"),
        (of("data/addrbook.sqlite-journal"), "the address book itself"),
        (of("data/addrbook.sqlite.lock"), "the address book itself"),
        (of("config/node_key.json"), "the node's key"),
        (of("config/config.toml"), "the configuration"),
    ];
    #[cfg(unix)]
    {
        let link = of("link");
        std::os::unix::fs::symlink(of("data/addrbook.sqlite"), &link).unwrap();
        files.push((link, "the address book itself"));
    }
    for (file, what) in &files {
        let mut export = seed(home.path(), &["export-addrbook", "--force"]);
        assert_refused(export.arg(file), &[what, "name another file"]);
    }
    assert_eq!(fs::read(of("config/node_key.json")).unwrap(), key);
    assert_two(&run(&mut seed(home.path(), &["export-addrbook", "-"])).stdout);
    // The one beside the book is what scripts read.
    assert_prints(seed(home.path(), &["export-addrbook", "--force"]).arg(of("data/addrbook.json")));
    assert_two(&fs::read(of("data/addrbook.json")).unwrap());
}

/// Whoever reads the file meanwhile has the whole of the old one or of the new one.
#[cfg(unix)]
#[test]
fn a_forced_export_replaces_the_file_at_one_blow() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let home = home_with_two();
    let folder = home.path().join("out");
    fs::create_dir(&folder).unwrap();
    let (file, link) = (folder.join("x.json"), folder.join("link.json"));
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let before = fs::metadata(&file).unwrap().ino();
    let export = |file: &Path, force: &[&str]| {
        let mut export = seed(home.path(), &["export-addrbook"]);
        export.arg(file).args(force);
        export
    };
    for file in [&file, &link] {
        assert_refused(&mut export(file, &[]), &["exists", "kept", "--force"]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"old");

    let mut reader = File::open(&file).unwrap();
    assert_prints(&mut export(&link, &["--force"]));
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!(old, "old");
    assert_two(&fs::read(&file).unwrap());
    let after = fs::metadata(&file).unwrap();
    assert_ne!(after.ino(), before);
    assert_eq!(after.permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    // A new one may be forced, too, and nothing else is left.
    assert_prints(&mut export(&folder.join("new.json"), &["--force"]));
    assert_prints(&mut export(&folder.join("newer.json"), &[]));
    assert_refused(&mut export(&folder, &["--force"]), &["cannot write"]);
    let nowhere = folder.join("no/x.json");
    assert_refused(&mut export(&nowhere, &[]), &["cannot write", "folder"]);
    // The file that is written first is nobody's business.
    let told = String::from_utf8(run(&mut export(&nowhere, &[])).stderr).unwrap();
    assert!(!told.contains("at path") && !told.contains(".addrbook-"), "{told}");
    let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["link.json", "new.json", "newer.json", "x.json"]);
}

/// A book that is looked at is not changed: what lies beside it is the running seed's to take in.
#[test]
fn an_export_takes_nothing_in() {
    let home = home_with_two();
    fs::write(home.path().join("data/addrbook.json"), book(&["127.1.1.1:1"; 5])).unwrap();
    assert_two(&run(&mut seed(home.path(), &["export-addrbook", "-"])).stdout);
    assert!(line(&said("seed", home.path(), "info", &[LOOSE]), "took in").is_some());
}

#[test]
fn where_operators_look_it_says_that_the_json_is_never_written() {
    let home = tempfile::tempdir().unwrap();
    let says = |text: &str, parts: &[&str]| {
        let text =
            text.split_whitespace().filter(|word| *word != "#").collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    };
    let parts = ["addrbook.sqlite", "never written", "deleting it forgets nothing"];
    says(&assert_prints(&mut seed(home.path(), &["--help"])), &parts);
    let help = assert_prints(&mut seed(home.path(), &["export-addrbook", "--help"]));
    says(&help, &["never writes one", "deleting it forgets nothing", "/addrbook.json"]);
    for program in ["seed", "full_node"] {
        let home = tempfile::tempdir().unwrap();
        assert_prints(command(program, home.path()).args(["init", "--chain-id", "c"]));
        says(&fs::read_to_string(home.path().join("config/config.toml")).unwrap(), &parts);
    }
}
