//! Hostile HTTP against every HTTP port of both programs: peers notice nothing, everybody else is
//! answered meanwhile, and the process takes little memory and few threads for it. What a deadline
//! ends is in `http_session.rs`, in virtual time.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    guest::Guest,
    http::raw,
    program::{DEADLINE, Program, command},
};

/// Somebody else has an answer by then. A second is what is promised; machines that test are busy.
const ANSWERED: Duration = Duration::from_secs(5);

/// What the whole server may hold, and something for the allocator.
const MAX_GROWTH: usize = 64 << 20;

/// A program with an HTTP server, and what it is asked for.
struct Target {
    program: Program,
    addr: SocketAddr,
    path: &'static str,
    _home: tempfile::TempDir,
}

impl Target {
    fn start(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self::with(name, command(name, home.path()), home)
    }

    fn with(name: &str, mut command: Command, home: tempfile::TempDir) -> Self {
        let (flag, service, path) = match name {
            "seed" => ("--http", "http", "/metrics"),
            _ => ("--rpc.laddr", "rpc", "/net_info"),
        };
        command.args(["--chain-id", "c", flag, "tcp://127.0.0.1:0"]);
        // Guests of the seed may stay.
        command.args(["--p2p.seed_disconnect_wait_period", "1h", "--p2p.crawl_period", "1h"]);
        let program = Program::start(command);
        let addr = program.service(service);
        Self { program, addr, path, _home: home }
    }

    fn both(test: impl Fn(&Target)) {
        for name in ["full_node", "seed"] {
            let target = Self::start(name);
            test(&target);
            target.program.stop();
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addr, ANSWERED).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// A connection that has sent this.
    fn sent(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        stream
    }

    /// What somebody else who asks for something gets.
    fn answer(&self) -> String {
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", self.path);
        raw(self.addr, request.as_bytes())
    }

    /// Somebody else asks for something and gets it.
    #[track_caller]
    fn assert_answers(&self) {
        let begun = Instant::now();
        let answer = self.answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        assert!(begun.elapsed() < ANSWERED, "after {:?}", begun.elapsed());
    }

    /// The program has two sessions by its own account, now or soon: a guest is up before the
    /// program has decided whether it may stay.
    #[track_caller]
    fn assert_shows_two_peers(&self) {
        let begun = Instant::now();
        loop {
            let answer = self.answer();
            let shown = |text| answer.contains(text);
            if shown("\"n_peers\":\"2\"") || shown("_p2p_peers{chain_id=\"c\"} 2\n") {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{answer}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// How many the process has open; 0 where the system does not tell.
    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.program.pid())).map_or(0, Iterator::count)
    }

    /// What it has, bytes.
    fn memory(&self) -> usize {
        self.status("VmRSS:")
    }

    /// It has not taken much more memory than this.
    #[track_caller]
    fn assert_frugal(&self, before: usize) {
        let grown = self.memory().saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{grown} bytes");
    }

    /// The kernel's number of this name, of memory in bytes; 0 where it does not tell.
    fn status(&self, name: &str) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.program.pid()));
        let text = text.unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        let unit = if line.is_some_and(|line| line.ends_with("kB")) { 1024 } else { 1 };
        number.map_or(0, |number| number.parse::<usize>().unwrap() * unit)
    }
}

/// Writes until nobody has taken any more for so long; true if the other side has closed.
fn pour(stream: &mut TcpStream, bytes: &[u8], times: usize, patience: Duration) -> bool {
    stream.set_write_timeout(Some(patience)).unwrap();
    for _ in 0..times {
        match stream.write_all(bytes) {
            Ok(()) => {}
            Err(error) => {
                use std::io::ErrorKind::{TimedOut, WouldBlock};
                return !matches!(error.kind(), WouldBlock | TimedOut);
            }
        }
    }
    false
}

#[test]
fn requests_that_cannot_be_are_refused_and_nobody_notices() {
    Target::both(|target| {
        let guest = Guest::of(target.program.addr());
        target.assert_answers();
        let before = target.memory();
        let mut requests = Vec::new();
        let nines = "9".repeat(400);
        for length in [
            "1000000000",
            "1000000000000000",
            "18446744073709551615",
            "18446744073709551616",
            &nines,
        ] {
            for (method, path) in [("GET", "/health"), ("GET", "/metrics"), ("POST", "/")] {
                let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n");
                requests.push(format!("{head}Content-Length: {length}\r\n\r\n").into_bytes());
            }
        }
        let chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for size in ["ffffffffffffffff", "7fffffffffffffff", "10000000000000000", "-1", "x"] {
            requests.push([chunked, size.as_bytes(), b"\r\n"].concat());
        }
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        requests.push(format!("POST / HTTP/1.1\r\nHost: x\r\n{both}\r\n0\r\n\r\n").into_bytes());
        requests.push(b"\x16\x03\x01\x02\x00\r\n\r\n".to_vec());
        requests.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
        requests.push([0; 100_000].to_vec());
        requests.push(b"GET / HTTP/1.1\r\n\r\n".to_vec());
        for request in requests {
            let answer = raw(target.addr, &request);
            let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
            let code = answer.split(' ').nth(1).unwrap_or_default().to_owned();
            assert!(code.starts_with('4') || code.starts_with('5'), "{shown:?}: {answer:?}");
            target.assert_answers();
        }
        target.assert_frugal(before);
        guest.assert_undisturbed();
    });
}

/// Heads and bodies that never end, in large pieces.
#[test]
fn floods_end_early_and_take_little_memory() {
    Target::both(|target| {
        let guest = Guest::of(target.program.addr());
        target.assert_answers();
        let before = target.memory();
        let mebibyte = vec![b'a'; 1 << 20];
        let fields = b"A: b\r\n".repeat(1 << 17);
        let chunks = b"1;a=b\r\nx\r\n".repeat(1 << 17);
        let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let cases: [(&str, &[u8]); 6] = [
            ("GET /", &mebibyte),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: ", &mebibyte),
            ("GET / HTTP/1.1\r\nHost: x\r\n", &fields),
            (chunked, &chunks),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", &mebibyte),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000001\r\n\r\n", &mebibyte),
        ];
        for (beginning, more) in cases {
            let mut stream = target.sent(beginning);
            assert!(pour(&mut stream, more, 64, DEADLINE), "{beginning:?} was taken");
            target.assert_answers();
        }
        target.assert_frugal(before);
        guest.assert_undisturbed();
    });
}

/// They say nothing, or half of something, or do not read: no threads, no waiting for the others.
#[test]
fn hundreds_who_keep_the_server_waiting_keep_nobody_else_waiting() {
    Target::both(|target| {
        let guest = Guest::of(target.program.addr());
        target.assert_answers();
        let (memory, threads) = (target.memory(), target.status("Threads:"));
        let mut held = Vec::new();
        let get = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target.path);
        for round in 0..75 {
            held.push(target.connect());
            held.push(target.sent("GET /health HTTP/1.1\r\nHost: x\r\nA"));
            held.push(target.sent("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{"));
            held.push(target.sent(get.repeat(100)));
            if round % 15 == 0 {
                target.assert_answers();
            }
        }
        // They read nothing; most of them have more to say.
        for stream in held.iter_mut().skip(3).step_by(4).take(5) {
            pour(stream, get.repeat(1000).as_bytes(), 1000, Duration::from_millis(200));
            target.assert_answers();
        }
        // A byte now and then.
        for round in 0..20 {
            for stream in held.iter_mut().skip(round % 4).step_by(4) {
                let _ = stream.write_all(b" ");
            }
            target.assert_answers();
        }
        let now = target.status("Threads:");
        assert!(now <= threads + 4, "{threads} threads, now {now}");
        target.assert_frugal(memory);
        drop(held);
        target.assert_answers();
        guest.assert_undisturbed();
    });
}

/// Each takes as much as it may.
#[test]
fn many_large_bodies_at_once_take_no_more_memory_than_there_is_for_all() {
    let target = Target::start("full_node");
    target.assert_answers();
    let before = target.memory();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    let most = [head.as_bytes(), &vec![b' '; 999_000]].concat();
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..150 {
        let mut stream = target.connect();
        // Who was here longest has to go.
        let _ = stream.write_all(&most);
        held.push(stream);
    }
    // What was sent is not read at once: look for a while how much there is at most.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        target.assert_answers();
        target.assert_frugal(before);
    }
    // A large one is taken all the same.
    let body = format!("{}{{\"id\":1,\"method\":\"health\"}}", " ".repeat(900_000));
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let answer = raw(target.addr, request.as_bytes());
    assert!(answer.ends_with("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"), "{answer}");
    target.program.stop();
}

/// As many as there may be, each in the middle of a body. Who comes then takes the place of one of them.
#[cfg(target_os = "linux")]
#[test]
fn all_connections_at_once_take_no_more_memory_than_there_is_for_all() {
    const ALL: usize = 900;
    // A quarter of the descriptors is for HTTP, and those of this process are another 900.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if limit.is_some_and(|limit| limit < 4 * ALL as u64) {
        return println!("SKIPPED: ulimit -n is {limit:?}, {} are needed", 4 * ALL);
    }
    Target::both(|target| {
        let guest = Guest::of(target.program.addr());
        target.assert_answers();
        let (memory, descriptors) = (target.memory(), target.descriptors());
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n";
        let half = [head.as_bytes(), &[b' '; 12_000]].concat();
        let held: Vec<TcpStream> = (0..ALL).map(|_| target.sent(&half)).collect();
        let begun = Instant::now();
        let mut most = 0;
        while most + 10 < descriptors + ALL {
            most = most.max(target.descriptors());
            assert!(begun.elapsed() < Duration::from_secs(8), "{most} were open at once");
            std::thread::sleep(Duration::from_millis(10));
        }
        for _ in 0..20 {
            target.assert_answers();
            assert!(target.descriptors() <= descriptors + ALL);
        }
        let grown = target.memory().saturating_sub(memory);
        println!("{ALL} connections with half a body each: {} KiB more memory", grown >> 10);
        assert!(grown >= ALL * 12_000, "nothing was measured: {grown} bytes");
        target.assert_frugal(memory);
        drop(held);
        target.assert_answers();
        guest.assert_undisturbed();
    });
}

/// The fault: a tree was made of every body, thirty times as large as the body, and what a tree had
/// taken stayed with the process.
#[test]
fn nothing_is_made_of_what_nobody_asks_for() {
    let target = Target::start("full_node");
    target.assert_answers();
    let before = target.status("VmHWM:");
    let objects = vec![r#"{"":0}"#; 140_000].join(",");
    for (body, telling) in [
        (format!(r#"{{"params":[{objects}],"id":1,"method":"health"}}"#), "got 140000"),
        (format!(r#"{{"x":[{objects}],"id":1,"method":"health"}}"#), r#""result":{}}"#),
        (
            format!(r#"{{"params":{{"x":[{objects}]}},"id":1,"method":"health"}}"#),
            r#""result":{}}"#,
        ),
        (format!(r#"{{"id":[{objects}],"method":"health"}}"#), "unknown type"),
        (format!(r#"[{objects}]"#), "exceeds maximum"),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let answer = raw(target.addr, request.as_bytes());
        let end = &answer[answer.len().saturating_sub(200)..];
        assert!(end.contains(telling), "{end}");
    }
    // Body, buffer and answer, with room: the trees were 30 MB each.
    let grown = target.status("VmHWM:").saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes");
    target.program.stop();
}

/// The deadlines themselves are tested in virtual time; this one is ten seconds.
#[test]
fn who_is_late_is_let_go() {
    Target::both(|target| {
        let drips = target.sent("GET /");
        for mut late in [target.connect(), drips] {
            let mut rest = Vec::new();
            // An error would be the deadline of this test.
            late.read_to_end(&mut rest).unwrap();
            assert!(rest.is_empty(), "{rest:?}");
        }
        target.assert_answers();
    });
}

#[test]
fn who_has_closed_one_side_or_has_gone_is_no_trouble() {
    Target::both(|target| {
        let request = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target.path);
        for _ in 0..50 {
            let mut half = target.sent(&request);
            half.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            half.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            // In the middle of a request, and of an answer.
            drop(target.sent("GET /health"));
            drop(target.sent(request.repeat(1000)));
        }
        for _ in 0..2000 {
            drop(target.connect());
        }
        target.assert_answers();
    });
}

/// What a process without descriptors cannot do it does as soon as it has some.
#[cfg(unix)]
#[test]
fn a_spell_without_descriptors_is_survived() {
    for name in ["full_node", "seed"] {
        let home = tempfile::tempdir().unwrap();
        let plain = command(name, home.path());
        let mut command = Command::new("sh");
        // With fewer a seed, which keeps some for its crawl, has a place for one peer alone.
        command.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]);
        command.arg(plain.get_program()).args(plain.get_args());
        for (variable, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
        }
        let target = Target::with(name, command, home);
        let guest = Guest::of(target.program.addr());
        target.assert_answers();
        let before = target.descriptors();
        let held: Vec<TcpStream> = (0..200).map(|_| target.connect()).collect();
        target.assert_answers();
        // A quarter is for HTTP.
        let now = target.descriptors();
        assert!(now <= before + 256 / 4, "{before} descriptors, now {now}");
        // Peers have not lost theirs to those who look.
        let newcomer = Guest::of(target.program.addr());
        target.assert_shows_two_peers();
        drop(held);
        target.assert_answers();
        newcomer.assert_undisturbed();
        guest.assert_undisturbed();
        target.program.stop();
    }
}

/// Accept fails because there is nothing to accept with: whoever waits for nothing gives back his
/// place, and with nobody there to do so who has come is answered as soon as that can be.
#[cfg(target_os = "linux")]
#[test]
fn accept_that_fails_is_tried_again_and_takes_the_place_of_who_is_idle() {
    use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
    let own = getrlimit(Resource::Nofile);
    Target::both(|target| {
        let pid = Pid::from_raw(target.program.pid() as i32);
        let set = |limit| prlimit(pid, Resource::Nofile, limit).unwrap();
        let file = |fd| format!("/proc/{}/fd/{fd}", target.program.pid());
        let get = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", target.path);
        let mut idle = target.sent("GET /");
        // Its turn was before this one's.
        target.assert_answers();
        // One more can be opened than is open now, and what others are just giving back.
        let free = (0..).find(|fd| fs::symlink_metadata(file(*fd)).is_err());
        let before = set(Rlimit { current: free.map(|fd| fd + 1), maximum: own.maximum });
        let begun = Instant::now();
        let answered = |_| {
            let mut other = target.sent(&get);
            assert_eq!(other.read(&mut [0]).unwrap(), 1);
            other
        };
        let first = answered(0);
        idle.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let kind = idle.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(kind, Err(std::io::ErrorKind::WouldBlock), "nobody waited for its place");
        idle.set_read_timeout(Some(DEADLINE)).unwrap();
        let others: Vec<TcpStream> = (0..4).map(answered).chain([first]).collect();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "somebody had to go");
        assert!(begun.elapsed() < ANSWERED, "after {:?}: nobody went for them", begun.elapsed());
        drop(others);

        set(Rlimit { current: Some(3), maximum: own.maximum });
        let mut alone = target.sent(&get);
        alone.set_read_timeout(Some(Duration::from_millis(600))).unwrap();
        let unanswered = alone.read(&mut [0]).unwrap_err();
        assert_eq!(unanswered.kind(), std::io::ErrorKind::WouldBlock);
        set(before);
        alone.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(alone.read(&mut [0]).unwrap(), 1);
    });
}
