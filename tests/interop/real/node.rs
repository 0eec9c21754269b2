//! A complete Go node: consensus, mempool and its own peer exchange, as operators run it.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use serde_json::Value;
use tempfile::TempDir;
use tmp2p::{NodeKey, PeerAddress};

use super::{DEADLINE, POLL};
use crate::go::Release;

/// What no log may have: that a peer was banned, why, and that the node is broken.
const TROUBLE: [&str; 5] = ["blacklist", "too soon", "unsolicited", "CONSENSUS FAILURE", "panic: "];

/// A chain whose only validator is the first node that is started.
pub(crate) struct Chain {
    release: Release,
    homes: TempDir,
    pub(crate) id: String,
}

impl Chain {
    pub(crate) fn new(release: Release) -> Self {
        let homes = tempfile::tempdir().unwrap();
        let mut chain = Self { release, homes, id: String::new() };
        chain.init("0");
        let genesis = fs::read(chain.genesis("0")).unwrap();
        let genesis: Value = serde_json::from_slice(&genesis).unwrap();
        chain.id = genesis["chain_id"].as_str().unwrap().to_owned();
        chain
    }

    /// The validator, with these lines in its configuration.
    #[track_caller]
    pub(crate) fn validator(&self, settings: &str) -> Node {
        Node::start(self.release, self.homes.path().join("0"), settings)
    }

    /// Another node, with these lines in its configuration.
    #[track_caller]
    pub(crate) fn node(&self, name: &str, settings: &str) -> Node {
        Node::start(self.release, self.join(name), settings)
    }

    /// Another node, which has this address book and nothing else.
    #[track_caller]
    pub(crate) fn node_with_book(&self, name: &str, book: &[u8]) -> Node {
        let home = self.join(name);
        fs::write(home.join("config/addrbook.json"), book).unwrap();
        Node::start(self.release, home, "")
    }

    /// Makes the home of a node of this chain.
    fn join(&self, name: &str) -> PathBuf {
        self.init(name);
        fs::copy(self.genesis("0"), self.genesis(name)).unwrap();
        self.homes.path().join(name)
    }

    /// Makes the keys and the genesis file of a node.
    fn init(&self, name: &str) {
        let made = command(self.release, &self.homes.path().join(name), "init").output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    fn genesis(&self, name: &str) -> PathBuf {
        self.homes.path().join(name).join("config/genesis.json")
    }
}

/// A running node; dropping it kills it, and a test that fails shows the end of its log.
pub(crate) struct Node {
    release: Release,
    child: Child,
    home: PathBuf,
    rpc: SocketAddr,
    pub(crate) addr: PeerAddress,
}

impl Node {
    #[track_caller]
    fn start(release: Release, home: PathBuf, settings: &str) -> Self {
        let key = NodeKey::load(home.join("config/node_key.json")).unwrap();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let [p2p, rpc] = free_ports();
            configure(&home, p2p, rpc, settings);
            let log = fs::File::create(home.join("log")).unwrap();
            let child = command(release, &home, "start")
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let addr = format!("{}@{p2p}", key.id()).parse().unwrap();
            let mut node = Self { release, child, home: home.clone(), rpc, addr };
            if node.wait_for_start() {
                return node;
            }
            // Somebody else has taken the port between our look and the node's.
            let is_taken = node.log().contains("address already in use");
            assert!(is_taken && Instant::now() < deadline, "the node does not start");
        }
    }

    /// Whether it answers calls; else it has exited.
    #[track_caller]
    fn wait_for_start(&mut self) -> bool {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let id = self.addr.id().to_string();
            // Another node may have taken the port, and answer.
            match self.try_call("/status") {
                Ok(status) if status["result"]["node_info"]["id"] == id => return true,
                answer => assert!(Instant::now() < deadline, "no status: {answer:?}"),
            }
            thread::sleep(POLL);
        }
    }

    /// The whole answer to a call.
    fn try_call(&self, path: &str) -> io::Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.rpc, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        // The old version, in which answers do not come in chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok(serde_json::from_str(body)?)
    }

    /// The `result` of a call; null if it is refused.
    #[track_caller]
    pub(crate) fn call(&self, path: &str) -> Value {
        self.try_call(path).unwrap_or_else(|error| panic!("{path}: {error}"))["result"].take()
    }

    /// Calls until the result fits.
    #[track_caller]
    pub(crate) fn wait(&self, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        super::wait(DEADLINE, || {
            last = self.call(path);
            fits(&last).then(|| last.clone()).ok_or_else(|| format!("{path}: {last}"))
        })
    }

    /// The IDs of the peers that it has now.
    #[track_caller]
    pub(crate) fn peers(&self) -> BTreeSet<String> {
        super::peers(&self.call("/net_info"))
    }

    #[track_caller]
    pub(crate) fn wait_for_peer(&self, id: &str) {
        self.wait("/net_info", |info| super::peers(info).contains(id));
    }

    /// Fails if it has banned somebody or is broken; prints how often it logged an error.
    #[track_caller]
    pub(crate) fn assert_content(&self) {
        let log = self.log();
        let is_trouble = |line: &&str| TROUBLE.iter().any(|trouble| line.contains(trouble));
        let trouble: Vec<&str> = log.lines().filter(is_trouble).collect();
        assert!(trouble.is_empty(), "{trouble:#?}");
        let mut errors: Vec<&str> = log.lines().filter(|line| line.starts_with("E[")).collect();
        // Each once, without its time and its peer.
        errors.iter_mut().for_each(|line| *line = what(line));
        let count = errors.len();
        errors.sort_unstable();
        errors.dedup();
        crate::figure(format_args!("go {:?}: {count} errors logged: {errors:?}", self.release));
    }

    /// Ends it in order; its address book as it left it.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Vec<u8> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        super::wait(DEADLINE, || {
            let status = self.child.try_wait().unwrap();
            status.map(|_| ()).ok_or_else(|| "the node does not end".to_owned())
        });
        fs::read(self.home.join("config/addrbook.json")).unwrap()
    }

    /// How many times its log has this.
    pub(crate) fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.home.join("log")).unwrap()).into_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have exited; a process that was not waited for keeps its number, so this cannot hit
        // another one.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the end of the log of {}:\n{}", self.addr, end.join("\n"));
        }
    }
}

/// The error of a line of the log, which begins with a time and ends with fields.
fn what(line: &str) -> &str {
    let text = line.split_once("] ").map_or(line, |(_, text)| text);
    text.split("  ").next().unwrap_or(text)
}

/// A command, with nothing of this process's environment that the node reads.
fn command(release: Release, home: &Path, name: &str) -> Command {
    let mut command = Command::new(release.node());
    for (variable, _) in std::env::vars_os() {
        if ["TM", "CMT"].iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
            command.env_remove(variable);
        }
    }
    command.args([name, "--home"]).arg(home);
    command
}

/// What is not in the file has its default.
fn configure(home: &Path, p2p: SocketAddr, rpc: SocketAddr, settings: &str) {
    let level = if settings.contains("log_level") { "" } else { "log_level = \"info\"\n" };
    let text = format!(
        "proxy_app = \"kvstore\"\n{level}rpc.laddr = \"tcp://{rpc}\"\n\
         p2p.laddr = \"tcp://{p2p}\"\np2p.addr_book_strict = false\n\
         p2p.allow_duplicate_ip = true\n{settings}\n"
    );
    fs::write(home.join("config/config.toml"), text).unwrap();
}

/// Free a moment ago: the node cannot choose its ports itself, because it tells them to nobody.
fn free_ports() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}
