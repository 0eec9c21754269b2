//! The HTTP servers of the programs, as clients of Tendermint use them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Stdio,
};

use serde_json::{Value, json};
use tmp2p::{ChannelDescriptor, Config, Event, NodeInfo, NodeKey, ReactorSpec, Switch};

use crate::program::{DEADLINE, Program, assert_refused, command};

/// What comes back for these bytes until the server closes, after which it never comes.
pub(crate) fn raw(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // It may have refused them before it has read them.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The code of an answer, its head in small letters, and its body.
fn parts(answer: &str) -> (u16, String, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body)
}

fn post(addr: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let answer =
        raw(addr, format!("{head}{kind}\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes());
    let (code, _, body) = parts(&answer);
    (code, body.to_owned())
}

fn node(home: &tempfile::TempDir, laddr: &str) -> Program {
    let mut command = command("full_node", home.path());
    command.args(["--chain-id", "c", "--rpc.laddr", laddr]);
    Program::start(command)
}

/// The code of the HTTP answer and each error: what Tendermint v0.34.24 answers (`rpc/jsonrpc`).
#[test]
fn json_rpc_answers_as_tendermint_does() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, "tcp://127.0.0.1:0");
    let addr = node.service("rpc");
    let call =
        |id: &str, method: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    let answer = |body: &str| -> (u16, Value) {
        let (code, text) = post(addr, "/", body);
        (code, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    };

    // The ID comes back; numbers are whole ones.
    for (id, same) in [("1", json!(1)), ("\"a\"", json!("a")), ("-1", json!(-1)), ("1.7", json!(1))]
    {
        let (code, answer) = answer(&call(id, "health"));
        assert_eq!(code, 200);
        assert_eq!(answer, json!({ "jsonrpc": "2.0", "id": same, "result": {} }));
    }
    // Who has none wants no answer; null is none in Go.
    for body in [r#"{"method":"health"}"#, &call("null", "health"), "[]", "null", "[null]"] {
        assert_eq!(answer(body), (200, Value::Null), "{body}");
    }
    for (body, status, code) in [
        ("{", 500, -32700),
        ("nonsense", 500, -32700),
        ("5", 500, -32700),
        ("[5]", 500, -32700),
        (&format!("[{}{{]", "null,".repeat(100)), 500, -32700),
        (&"[".repeat(100_000), 500, -32700),
        (r#"{"id":{},"method":"health"}"#, 500, -32700),
        (r#"{"id":[],"method":"health"}"#, 500, -32700),
        (r#"{"id":1,"method":5}"#, 500, -32700),
        (&" ".repeat(1_000_001), 400, -32600),
        (&format!("[{}]", vec![call("1", "health"); 11].join(",")), 500, -32600),
        (r#"{"id":1}"#, 200, -32601),
        (&call("1", "genesis"), 200, -32601),
        (r#"{"id":1,"method":"health","params":"x"}"#, 200, -32602),
        (r#"{"id":1,"method":"status","params":["x"]}"#, 200, -32602),
        (r#"{"id":1,"method":"broadcast_tx_sync","params":[]}"#, 200, -32602),
        (r#"{"id":1,"method":"broadcast_tx_sync","params":{"tx":"%%%"}}"#, 200, -32602),
        (r#"{"id":1,"method":"broadcast_tx_async","params":{"tx":5}}"#, 200, -32602),
        (r#"{"id":1,"method":"broadcast_tx_async"}"#, 200, -32602),
    ] {
        let (got, answer) = answer(body);
        let error = &answer["error"];
        assert_eq!((got, error["code"].as_i64()), (status, Some(code)), "{body:.80}: {answer}");
        assert!(error["message"].is_string() && error["data"].is_string(), "{answer}");
        assert_eq!(answer["id"], if status == 200 { json!(1) } else { Value::Null }, "{answer}");
    }

    // Several at once: the others are not disturbed, and a single answer is no list.
    let several = [
        call("1", "health"),
        call("\"x\"", "no"),
        r#"{"method":"health"}"#.into(),
        call("3", "net_info"),
    ];
    let (code, answers) = answer(&format!("[{}]", several.join(",")));
    let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!((code, ids), (200, vec![&json!(1), &json!("x"), &json!(3)]));
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["result"]["n_peers"], "0");
    assert_eq!(answer(&format!("[{}]", call("7", "health"))).1["id"], 7);

    // Transactions: by name, in a list, as forms have them; the answer says what it is worth.
    let hash =
        |tx: &str| hex::encode_upper(ring::digest::digest(&ring::digest::SHA256, tx.as_bytes()));
    for (method, params, tx) in
        [("broadcast_tx_async", r#"{"tx":"YQ=="}"#, "a"), ("broadcast_tx_sync", r#"["Yg=="]"#, "b")]
    {
        let body = format!(r#"{{"id":0,"method":"{method}","params":{params}}}"#);
        let result = answer(&body).1["result"].clone();
        assert_eq!((&result["code"], &result["hash"]), (&json!(0), &hash(tx).into()), "{result}");
        let is_sync = method == "broadcast_tx_sync";
        assert_eq!(result["log"].as_str().unwrap().contains("not checked"), is_sync);
        node.event("tx", |event| event["hash"] == hash(tx));
    }
    // As Go reads it: lines of any length, and bits at the end that mean nothing.
    for text in [r"Z\nQ\r\n==\n", "ZR=="] {
        let body = format!(r#"{{"id":0,"method":"broadcast_tx_async","params":["{text}"]}}"#);
        assert_eq!(answer(&body).1["result"]["hash"], hash("e"), "{text}");
    }
    let (code, body) = post(addr, "/broadcast_tx_async", "tx=%22c%22");
    assert!(code == 200 && body.contains(&hash("c")), "{body}");
    // As curl sends it.
    let (code, body) = node.get("rpc", "/broadcast_tx_sync?tx=\"d\"");
    assert!(code == 200 && body.contains(&hash("d")) && body.contains("not checked"), "{body}");
    for tx in ["%zz", "%22a%2%22", "%22a%22%"] {
        let (code, body) = node.get("rpc", &format!("/broadcast_tx_async?tx={tx}"));
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((code, &answer["error"]["code"]), (500, &json!(-32602)), "{tx}: {body}");
    }
    node.stop();
}

#[test]
fn browsers_see_what_can_be_called_and_head_has_no_body() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, "tcp://127.0.0.1:0");
    let addr = node.service("rpc");
    let ask = |method: &str, path: &str| {
        raw(
            addr,
            format!("{method} {path} HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )
    };
    let page = ask("GET", "/");
    let (code, head, body) = parts(&page);
    assert!(code == 200 && head.contains("content-type: text/html"), "{page}");
    for link in
        ["//a:1/status\"", "//a:1/health\"", "//a:1/net_info\"", "//a:1/broadcast_tx_sync?tx=_\""]
    {
        assert!(body.contains(link), "{link}: {body}");
    }
    let without_date = |head: &str| -> Vec<String> {
        head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect()
    };
    for path in ["/", "/health", "/status", "/no"] {
        let (get, head) = (ask("GET", path), ask("HEAD", path));
        let ((code, get, _), (same, head, body)) = (parts(&get), parts(&head));
        assert_eq!((code, without_date(&get), ""), (same, without_date(&head), body), "{path}");
    }
    let refused = ask("DELETE", "/status");
    let (code, head, _) = parts(&refused);
    assert!(code == 405 && head.contains("allow: get, head, post"), "{refused}");
    // Several on one connection, the last of which ends it.
    let one = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    let last = "GET /health HTTP/1.0\r\n\r\n";
    assert_eq!(raw(addr, (one + last).as_bytes()).matches("HTTP/1.1 200").count(), 4);
    node.stop();
}

/// The fields that the crate `tendermint-rpc` demands, in the form that it reads, where nothing is
/// known as well as where something is.
#[test]
fn status_and_net_info_have_what_tendermint_rpc_reads() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, "tcp://127.0.0.1:0");
    // It says nothing of an index of transactions.
    let info = NodeInfo::new("c", "played").unwrap();
    let mut builder = Switch::builder(Config::default(), NodeKey::generate(), info);
    let channels = [0x20, 0x30].map(ChannelDescriptor::new);
    let reactor = builder
        .reactor(channels.into_iter().fold(ReactorSpec::new("played"), ReactorSpec::channel))
        .unwrap();
    let switch = builder.start().unwrap();

    let status = node.call("/status");
    assert_node_info(&status["node_info"]);
    let sync = &status["sync_info"];
    for hash in ["latest_block_hash", "latest_app_hash", "earliest_block_hash", "earliest_app_hash"]
    {
        assert_eq!(sync[hash], "", "{sync}");
    }
    for height in ["latest_block_height", "earliest_block_height"] {
        assert_eq!(sync[height], "0", "{sync}");
    }
    for time in ["latest_block_time", "earliest_block_time"] {
        assert_time(&sync[time]);
    }
    assert_eq!((&sync["catching_up"], &status["n_peers"]), (&json!(true), &json!("0")));
    let validator = &status["validator_info"];
    let address = hex::decode(validator["address"].as_str().unwrap()).unwrap();
    assert_eq!((address.len(), &validator["voting_power"]), (20, &json!("0")));
    assert_eq!(validator["pub_key"]["type"], "tendermint/PubKeyEd25519");
    let key = validator["pub_key"]["value"].as_str().unwrap();
    let key = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, key).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &key);
    assert_eq!((key.len(), &digest.as_ref()[..20]), (32, &address[..]));

    _ = switch.handle().dial(node.addr());
    assert!(matches!(reactor.events().recv_timeout(DEADLINE).unwrap(), Event::PeerUp(_)));
    node.event("peer_up", |_| true);
    let net_info = node.call("/net_info");
    assert_eq!((&net_info["listening"], &net_info["n_peers"]), (&json!(true), &json!("1")));
    assert!(net_info["listeners"][0].is_string());
    let peer = &net_info["peers"][0];
    assert_node_info(&peer["node_info"]);
    assert!(peer["is_outbound"].is_boolean());
    peer["remote_ip"].as_str().unwrap().parse::<std::net::IpAddr>().unwrap();
    let connection = &peer["connection_status"];
    assert_number(&connection["Duration"]);
    for monitor in [&connection["SendMonitor"], &connection["RecvMonitor"]] {
        assert!(monitor["Active"].is_boolean() && monitor["Progress"].is_u64(), "{monitor}");
        assert_time(&monitor["Start"]);
        for number in [
            "Duration", "Idle", "Bytes", "Samples", "InstRate", "CurRate", "AvgRate", "PeakRate",
            "BytesRem", "TimeRem",
        ] {
            assert_number(&monitor[number]);
        }
    }
    let channels = connection["Channels"].as_array().unwrap();
    assert!(!channels.is_empty());
    for channel in channels {
        assert!(channel["ID"].is_u64(), "{channel}");
        for number in ["SendQueueCapacity", "SendQueueSize", "Priority", "RecentlySent"] {
            assert_number(&channel[number]);
        }
    }
    assert_eq!(node.call("/status")["n_peers"], "1");
    node.stop();
}

#[track_caller]
fn assert_node_info(info: &Value) {
    for version in ["p2p", "block", "app"] {
        assert_number(&info["protocol_version"][version]);
    }
    assert_eq!(hex::decode(info["id"].as_str().unwrap()).unwrap().len(), 20, "{info}");
    for text in ["listen_addr", "network", "version", "channels", "moniker"] {
        assert!(info[text].is_string(), "{info}");
    }
    assert!(["on", "off"].contains(&info["other"]["tx_index"].as_str().unwrap()), "{info}");
    assert!(info["other"]["rpc_address"].is_string(), "{info}");
}

#[track_caller]
fn assert_number(value: &Value) {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse::<u64>().unwrap();
}

#[track_caller]
fn assert_time(value: &Value) {
    let text = value.as_str().unwrap();
    assert!(text.len() == 20 && text.ends_with("T00:00:00Z"), "{text}");
    let year: u32 = text[..4].parse().unwrap();
    assert!((1..=9999).contains(&year), "{text}");
}

#[test]
fn names_empty_hosts_and_lists_are_listened_at() {
    for (laddr, ips) in [
        ("tcp://localhost:0", vec!["127.0.0.1"]),
        ("tcp://:0", vec!["[::]"]),
        (":0", vec!["[::]"]),
        ("TCP://127.0.0.1:0", vec!["127.0.0.1"]),
        ("tcp://127.0.0.1:0, tcp://127.0.0.2:0,", vec!["127.0.0.1", "127.0.0.2"]),
    ] {
        for (program, flag, service) in
            [("full_node", "--rpc.laddr", "rpc"), ("seed", "--http", "http")]
        {
            let home = tempfile::tempdir().unwrap();
            let mut command = command(program, home.path());
            command.args(["--chain-id", "c", flag, laddr]);
            let running = Program::start(command);
            for ip in ips.iter() {
                let event = running.event("listening", |event| {
                    let addr = event["addr"].as_str().unwrap();
                    event["service"] == service && addr.starts_with(&format!("{ip}:"))
                });
                let addr: SocketAddr = event["addr"].as_str().unwrap().parse().unwrap();
                let to = SocketAddr::new([127, 0, 0, 1].into(), addr.port());
                let to = if *ip == "127.0.0.2" { addr } else { to };
                let text = raw(to, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                assert!(text.starts_with("HTTP/1.1 200 "), "{laddr}: {text}");
            }
            running.stop();
        }
    }
}

#[test]
fn an_empty_address_in_a_flag_or_in_the_file_is_no_server() {
    let file = tempfile::tempdir().unwrap();
    std::fs::create_dir(file.path().join("config")).unwrap();
    let text = "[rpc]\nladdr = \"\"\n";
    std::fs::write(file.path().join("config/config.toml"), text).unwrap();
    let flag = tempfile::tempdir().unwrap();
    let seed = tempfile::tempdir().unwrap();
    let cases: [(&str, &tempfile::TempDir, &[&str]); 3] = [
        ("full_node", &file, &[]),
        ("full_node", &flag, &["--rpc.laddr", ""]),
        ("seed", &seed, &["--http", ""]),
    ];
    for (program, home, args) in cases {
        let mut command = command(program, home.path());
        command.args(["--chain-id", "c"]).args(args);
        let running = Program::start(command);
        running.addr();
        let events = running.stop();
        let listening: Vec<_> =
            events.iter().filter(|event| event["event"] == "listening").collect();
        assert_eq!(listening.len(), 1, "{listening:?}");
        assert_eq!(listening[0]["service"], "p2p");
    }
}

/// Nothing was said, made or begun by then.
#[test]
fn a_port_in_use_is_found_before_anything_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("tcp://{}", taken.local_addr().unwrap());
    for (program, flag, service) in
        [("full_node", "--rpc.laddr", "rpc"), ("seed", "--http", "http")]
    {
        let home = tempfile::tempdir().unwrap();
        let mut command = command(program, home.path());
        command.args(["--chain-id", "c", "--p2p.laddr", "tcp://127.0.0.1:0"]);
        command.args([flag, &format!("tcp://127.0.0.1:0,{addr}")]).stdout(Stdio::piped());
        assert_refused(&mut command, &[service, &addr, "in use", "free address", flag]);
        assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    }
}

#[test]
fn a_wrong_address_in_a_list_is_named() {
    let home = tempfile::tempdir().unwrap();
    for (program, flag, key) in
        [("full_node", "--rpc.laddr", "rpc.laddr"), ("seed", "--http", "http")]
    {
        for wrong in ["tcp://127.0.0.1", "unix:///tmp/x", "tcp://127.0.0.1:65536", "tcp://a b:1"] {
            // Tendermint has those, and its homes may say so.
            if program == "full_node" && wrong.starts_with("unix") {
                continue;
            }
            let list = format!("tcp://127.0.0.1:0,{wrong}");
            let mut command = command(program, home.path());
            command.args(["--chain-id", "c", flag, &list]);
            assert_refused(&mut command, &[key, wrong, "tcp://IP:PORT"]);
        }
    }
}
