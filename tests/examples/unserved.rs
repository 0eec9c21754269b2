//! What a home says of RPC and `full_node` does otherwise.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    process::Command,
};

use crate::{
    program::{DEADLINE, Program, assert_refused, command},
    stderr::Log,
};

/// A node whose file has this in `[rpc]`.
fn node(home: &tempfile::TempDir, rpc: &str) -> Command {
    fs::create_dir_all(home.path().join("config")).unwrap();
    fs::write(home.path().join("config/config.toml"), format!("[rpc]\n{rpc}\n")).unwrap();
    let mut node = command("full_node", home.path());
    node.args(["--chain-id", "c"]);
    node
}

/// What it says at `warn` from its start to its stop.
fn warnings(mut node: Command) -> Vec<String> {
    let log = Log::of_command(&mut node);
    let node = Program::start(node);
    node.addr();
    node.stop();
    // That it knows nobody.
    log.all().into_iter().filter(|line| !line.contains("nobody to connect to")).collect()
}

#[test]
fn keys_of_rpc_that_are_not_followed_are_told_by_name() {
    let laddr = "laddr = \"tcp://127.0.0.1:0\"\n";
    let cases = [
        ("max_body_bytes = 5000000", "rpc.max_body_bytes is 5000000", "1000000 bytes"),
        ("max_header_bytes = 10", "rpc.max_header_bytes is 10", "limits of its own"),
        ("max_open_connections = 3", "rpc.max_open_connections is 3", "900 connections"),
        ("unsafe = true", "line 3, rpc.unsafe is true", "no unsafe calls"),
        ("cors_allowed_origins = [\"*\"]", "line 3, rpc.cors_allowed_origins", "proxy"),
        ("tls_cert_file = \"c\"\ntls_key_file = \"k\"", "rpc.tls_cert_file", "without TLS"),
    ];
    for (line, place, instead) in cases {
        let home = tempfile::tempdir().unwrap();
        let told = warnings(node(&home, &format!("{laddr}{line}")));
        assert_eq!(told.len(), 1, "{line}: {told:?}");
        for part in [place, instead] {
            assert!(told[0].contains(part), "{line}: no {part:?} in {told:?}");
        }
        // Without a server nobody is misled.
        let told = warnings(node(&home, &format!("laddr = \"\"\n{line}")));
        assert_eq!(told, [""; 0], "{line}");
    }
    // As Tendermint writes them.
    let home = tempfile::tempdir().unwrap();
    let usual = "max_body_bytes = 1000000\nmax_header_bytes = 1048576\nmax_open_connections = 900\n\
                 unsafe = false\ncors_allowed_origins = []\ntls_cert_file = \"\"\ntls_key_file = \"\"";
    assert_eq!(warnings(node(&home, &format!("{laddr}{usual}"))), [""; 0]);
    let told = warnings({
        let mut node = node(&home, laddr);
        node.env("CMT_RPC_UNSAFE", "true");
        node
    });
    assert!(told.len() == 1 && told[0].contains("CMT_RPC_UNSAFE is true"), "{told:?}");
}

/// Everybody could read what was to be hidden.
#[test]
fn tls_on_an_address_for_others_is_refused() {
    let tls = "tls_cert_file = \"c\"\ntls_key_file = \"k\"";
    for laddr in ["tcp://0.0.0.0:0", "tcp://:0", "tcp://127.0.0.1:0,tcp://[::]:0"] {
        let home = tempfile::tempdir().unwrap();
        let mut node = node(&home, &format!("laddr = {laddr:?}\n{tls}"));
        let told =
            ["line 3, rpc.tls_cert_file", "without TLS", "proxy", "\"tcp://127.0.0.1:26657\""];
        assert_refused(&mut node, &told);
    }
    // As in Go, one of them alone is no TLS.
    let home = tempfile::tempdir().unwrap();
    let half = node(&home, "laddr = \"tcp://0.0.0.0:0\"\ntls_key_file = \"k\"");
    assert_eq!(warnings(half), [""; 0]);
}

/// Go serves them; a node without one is better than none.
#[test]
fn a_unix_socket_is_left_out_with_a_warning() {
    for (laddr, serves) in [("unix:///tmp/x.sock", false), ("unix:///x, tcp://127.0.0.1:0", true)] {
        let home = tempfile::tempdir().unwrap();
        let mut node = node(&home, &format!("laddr = {laddr:?}"));
        let mut log = Log::of_command(&mut node);
        let node = Program::start(node);
        let line = log.line("unix://");
        assert!(line.contains("WARN") && line.contains("tcp://127.0.0.1:26657"), "{line}");
        if serves {
            node.call("/health");
        }
        node.addr();
        let listening = node.stop();
        let rpc = listening.iter().filter(|event| event["service"] == "rpc").count();
        assert_eq!(rpc, usize::from(serves), "{listening:?}");
    }
}

/// The fault: Go's `tcp://:26657` is for both families, and ours was for IPv4.
#[test]
fn a_port_alone_is_served_at_both_families() {
    let home = tempfile::tempdir().unwrap();
    let node = Program::start(node(&home, "laddr = \"tcp://:0\""));
    let port = node.service("rpc").port();
    let mut addrs: Vec<SocketAddr> = vec![(Ipv4Addr::LOCALHOST, port).into()];
    // Not every machine has it.
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addrs.push((Ipv6Addr::LOCALHOST, port).into());
    }
    for addr in addrs {
        let mut stream = TcpStream::connect_timeout(&addr, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{addr}: {answer}");
    }
    node.stop();
    // Where peers connect to it is a mistake, as for Go: it is announced to them.
    let mut p2p = command("full_node", home.path());
    p2p.args(["--chain-id", "c", "--rpc.laddr", "", "--p2p.laddr", "tcp://:26656"]);
    assert_refused(&mut p2p, &["p2p.laddr", "host is missing"]);
}
