//! `full_node` beside peers.

use std::{collections::BTreeSet, fs};

use prost::Message as _;
use serde_json::Value;
use tmp2p::{
    ChannelDescriptor, Config, Envelope, Event, NodeInfo, NodeKey, Peer, PeerAddress, Reactor,
    ReactorSpec, Switch,
};

use crate::{
    heights::program::NewRoundStep,
    program::{DEADLINE, Program, assert_prints, command},
};

/// Starts a node that dials these.
fn node(home: &tempfile::TempDir, peers: &[PeerAddress], more: &[&str]) -> Program {
    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let mut command = command("full_node", home.path());
    command.args(["--chain-id", "c", "--rpc.laddr", "tcp://127.0.0.1:0", "--tx-stdin"]).args(more);
    command.args(["--p2p.persistent_peers", &peers.join(",")]);
    Program::start(command)
}

/// A peer with the channels of a real one, played by this test.
struct Played {
    switch: Switch,
    reactor: Reactor,
    peer: Peer,
}

impl Played {
    fn dial(node: &Program) -> Self {
        Self::dial_as(node, Config { laddr: None, ..Config::default() })
    }

    /// One that tells where it listens, so that the node can book its address.
    fn dial_listening(node: &Program) -> Self {
        Self::dial_as(node, Config::default())
    }

    fn dial_as(node: &Program, config: Config) -> Self {
        let info = NodeInfo::new("c", "played").unwrap();
        let mut builder = Switch::builder(config, NodeKey::generate(), info);
        let file = channels();
        let ids = file["descriptors"].as_array().unwrap().iter();
        let ids = ids.map(|channel| channel["id"].as_u64().unwrap() as u8).filter(|id| *id != 0);
        let spec = ids.map(ChannelDescriptor::new);
        let spec = spec.fold(ReactorSpec::new("played"), ReactorSpec::channel);
        let reactor = builder.reactor(spec).unwrap();
        let switch = builder.start().unwrap();
        _ = switch.handle().dial(node.addr());
        let Event::PeerUp(peer) = reactor.events().recv_timeout(DEADLINE).unwrap() else {
            panic!("no session")
        };
        Self { switch, reactor, peer }
    }

    /// The next message on this channel; others are passed over.
    #[track_caller]
    fn message(&self, channel: u8) -> Envelope {
        loop {
            match self.reactor.events().recv_timeout(DEADLINE).unwrap() {
                Event::Message(message) if message.channel() == channel => return message,
                Event::PeerDown(_, why) => panic!("the session ended: {why}"),
                _ => {}
            }
        }
    }

    fn send(&self, channel: u8, message: &[u8]) {
        self.peer.send(channel, message).unwrap();
    }

    /// Waits for the end of the session.
    #[track_caller]
    fn down(&self) {
        let is_down = |event| matches!(event, Event::PeerDown(..));
        while !is_down(self.reactor.events().recv_timeout(DEADLINE).unwrap()) {}
    }
}

fn channels() -> Value {
    let path = format!("{}/tests/vectors/channels.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// `Message { txs: Txs { txs: [tx] } }`, of less than 100 bytes.
fn txs(tx: &str) -> Vec<u8> {
    let len = tx.len() as u8;
    [&[0x0a, len + 2, 0x0a, len], tx.as_bytes()].concat()
}

/// What it serves, in the order of a real node, and nothing else: a channel that is announced is a
/// promise. (A node that catches up took our answer without blocks for the end of the chain.)
#[test]
fn vectors_channels_of_what_is_served_are_announced_in_order() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let played = Played::dial(&node);
    let announced = played.peer.node_info().channels().iter().map(|channel| channel.as_u8());
    let real = hex::decode(channels()["announced_channels"].as_str().unwrap()).unwrap();
    // Peer exchange belongs to the switch, not to the program.
    let served: Vec<u8> = real.into_iter().filter(|id| [0x20, 0x30].contains(id)).collect();
    assert_eq!(announced.filter(|id| *id != 0).collect::<Vec<_>>(), served);
    assert_eq!(played.peer.node_info().block_protocol(), 11);
    node.stop();
}

/// Whatever a real node sends is taken, and the session goes on.
#[test]
fn vectors_messages_of_its_reactors_are_taken() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let played = Played::dial(&node);
    let file = channels();
    let messages = file["messages"].as_array().unwrap();
    assert!(!messages.is_empty());
    let mut sent = BTreeSet::new();
    for message in messages {
        let channel = message["channel"].as_u64().unwrap() as u8;
        let bytes = hex::decode(message["bytes"].as_str().unwrap()).unwrap();
        if !played.peer.has_channel(channel) {
            continue;
        }
        played.send(channel, &bytes);
        sent.insert(channel);
        let height = &message["fields"]["new_round_step"]["height"];
        if let Some(height) = height.as_str() {
            let height: u64 = height.parse().unwrap();
            let id = played.switch.handle().id().to_string();
            let event = node.event("height", |event| event["height"] == height);
            assert_eq!(event["from"], id);
            // The next height comes back, so that transactions are sent to us, and nothing else.
            let told = NewRoundStep::decode(&played.message(0x20).payload()[2..]).unwrap();
            assert_eq!(told.height, height as i64 + 1);
            let status = node.call("/status");
            assert_eq!(status["sync_info"]["latest_block_height"], (height - 1).to_string());
        }
    }
    for channel in sent {
        node.event("message", |event| event["channel"] == channel);
    }
    assert!(!played.switch.handle().peers().is_empty());
    let events = node.stop();
    let down = events.iter().filter(|event| event["event"] == "peer_down");
    assert_eq!(down.map(|event| &event["kind"]).collect::<Vec<_>>(), ["stopped"]);
}

#[test]
fn a_transaction_goes_through_a_chain_of_nodes_once() {
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let c = node(&homes[2], &[], &[]);
    let b = node(&homes[1], &[c.addr()], &[]);
    let mut a = node(&homes[0], &[b.addr()], &[]);
    let ids = [&a, &b, &c].map(|program| program.addr().id().to_string());
    // Also before there are any peers.
    a.write_line("first");
    let hash = |text: &str| {
        hex::encode_upper(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
    };
    for (program, from) in [(&a, "stdin"), (&b, &ids[0]), (&c, &ids[1])] {
        let event = program.event("tx", |event| event["hash"] == hash("first"));
        assert_eq!((&event["from"], &event["bytes"]), (&from.into(), &5.into()));
    }
    // The other way round, over RPC, in both forms.
    let quoted = c.call("/broadcast_tx_async?tx=%22sec%6fnd+one%22");
    assert_eq!(quoted["hash"], hash("second one"));
    assert_eq!(c.call("/broadcast_tx_async?tx=0x6162")["hash"], hash("ab"));
    assert_eq!(c.call("/broadcast_tx_async?tx=0x6162")["code"], 0);
    for (program, from) in [(&c, "rpc"), (&b, &ids[2]), (&a, &ids[1])] {
        for text in ["second one", "ab"] {
            let event = program.event("tx", |event| event["hash"] == hash(text));
            assert_eq!(event["from"], from);
        }
    }
    for (program, expected) in [(a, 2), (b, 3), (c, 1)] {
        let events = program.stop();
        let is_tx = |event: &&Value| event["event"] == "message" && event["channel"] == 0x30;
        assert_eq!(events.iter().filter(is_tx).count(), expected, "{events:#?}");
    }
}

#[test]
fn the_sender_of_a_transaction_does_not_get_it_back() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let (one, two) = (Played::dial(&node), Played::dial(&node));
    one.send(0x30, &txs("from one"));
    assert_eq!(two.message(0x30).payload()[..], txs("from one"));
    two.send(0x30, &txs("from one"));
    two.send(0x30, &txs("from two"));
    // The first that comes is the second that there was.
    assert_eq!(one.message(0x30).payload()[..], txs("from two"));
    one.send(0x30, &txs("end"));
    assert_eq!(two.message(0x30).payload()[..], txs("end"));
    node.stop();
}

/// A peer lies about the height; nobody else has to bear the consequences, neither while it is there
/// nor when it is gone.
#[test]
fn heights_are_those_of_the_peers_that_there_are() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let [liar, honest, other] = [(); 3].map(|()| Played::dial(&node));
    // The greatest there is.
    let lie = hex::decode("0a0c08ffffffffffffffff7f1801").unwrap();
    let round_step = |height: u8| vec![0x0a, 4, 0x08, height, 0x18, 1];
    liar.send(0x20, &lie);
    // He is told what he has said.
    assert_eq!(liar.message(0x20).payload()[2..12], lie[2..12]);
    honest.send(0x20, &round_step(50));
    other.send(0x20, &round_step(50));
    for played in [&honest, &other] {
        assert_eq!(played.message(0x20).payload()[2..4], [0x08, 51]);
    }
    let latest = |height: &str| {
        let shown = node.call("/status")["sync_info"]["latest_block_height"].clone();
        assert_eq!(shown, height);
    };
    latest("49");
    for (played, height) in [(liar, "49"), (honest, "49"), (other, "0")] {
        let Played { switch, reactor: _reactor, .. } = played;
        let id = switch.handle().id().to_string();
        switch.stop(DEADLINE).unwrap();
        node.event("peer_down", |event| event["id"] == id);
        // Its reactors were told before.
        latest(height);
    }
    assert_eq!(node.call("/status")["sync_info"]["catching_up"], true, "nobody says where it is");
    node.stop();
}

/// `[mempool] max_tx_bytes` of the file: 8 MiB are found in the field.
#[test]
fn a_transaction_as_large_as_the_file_allows_is_relayed() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    fs::create_dir(&config).unwrap();
    fs::write(config.join("config.toml"), "[mempool]\nmax_tx_bytes = 8388608\n").unwrap();
    let node = node(&home, &[], &["--p2p.recv_rate", "0", "--p2p.send_rate", "0"]);
    let (one, two) = (Played::dial(&node), Played::dial(&node));
    let len = [0x80, 0x80, 0x80, 0x04]; // 8 MiB
    let outer = [0x85, 0x80, 0x80, 0x04];
    let tx = [&[0x0a][..], &outer, &[0x0a], &len, &vec![b'x'; 8 << 20]].concat();
    one.send(0x30, &tx);
    assert_eq!(two.message(0x30).payload()[..], tx);
    assert_eq!(node.event("tx", |_| true)["bytes"], 8 << 20);
    node.stop();
}

#[test]
fn nonsense_ends_the_session_of_who_sent_it_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let other = Played::dial(&node);
    let cases: [(u8, &[u8]); 5] = [
        (0x20, &[0xff]),
        (0x20, &[0x0a, 2, 0x08, 0]),          // height 0
        (0x20, &[0x0a, 2, 0x08, 5]),          // step 0
        (0x20, &[0x0a, 4, 0x08, 5, 0x18, 9]), // step 9
        (0x30, &[0x0a, 0xff, 1]),
    ];
    for (channel, message) in cases {
        let played = Played::dial(&node);
        played.send(channel, message);
        played.down();
        let id = played.switch.handle().id().to_string();
        assert_eq!(node.event("peer_down", |event| event["id"] == id)["kind"], "reactor");
    }
    other.send(0x20, &[0x0a, 4, 0x08, 5, 0x18, 1]);
    other.message(0x20);
    node.stop();
}

/// What the node keeps of the only address in its book: the state and the bucket.
fn kept(home: &tempfile::TempDir) -> (String, Option<String>) {
    let mut command = command("seed", home.path());
    command.args(["peers", "--json", "--p2p.addr_book_file", "config/addrbook.json"]);
    let row: Value = serde_json::from_str(&assert_prints(&mut command)).unwrap();
    (row["state"].as_str().unwrap().to_owned(), row["bucket"].as_str().map(str::to_owned))
}

#[test]
fn who_sends_what_cannot_be_decoded_is_bad_and_stopped() {
    let cases: [(u8, &[u8]); 3] =
        [(0x20, &[0xff]), (0x20, &[0x0a, 2, 0x08, 0]), (0x30, &[0x0a, 0xff, 1])];
    for (channel, garbage) in cases {
        let home = tempfile::tempdir().unwrap();
        let node = node(&home, &[], &[]);
        let played = Played::dial_listening(&node);
        node.event("book", |event| event["addresses"] == 1 && event["bad"] == 0);
        played.send(channel, garbage);
        played.down();
        assert_eq!(node.event("peer_down", |_| true)["kind"], "reactor");
        node.event("book", |event| event["addresses"] == 1 && event["bad"] == 1);
        node.stop();
        assert_eq!(kept(&home), ("bad".to_owned(), None), "{channel:#x}");
    }
}

/// Not dialed by us and connected for a moment: only a reactor can have said so.
#[test]
fn who_tells_its_height_or_a_new_transaction_is_good() {
    for (channel, message) in [(0x20, vec![0x0a, 4, 0x08, 5, 0x18, 1]), (0x30, txs("new"))] {
        let home = tempfile::tempdir().unwrap();
        let node = node(&home, &[], &[]);
        let played = Played::dial_listening(&node);
        node.event("book", |event| event["addresses"] == 1 && event["new"] == 1);
        played.send(channel, &message);
        node.event("book", |event| event["addresses"] == 1 && event["old"] == 1);
        node.stop();
        assert_eq!(kept(&home), ("unverified".to_owned(), Some("old".to_owned())), "{channel:#x}");
    }
}

/// A height that others have left behind and a transaction that is known are no merit.
#[test]
fn who_sends_what_is_known_is_as_before() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &[]);
    let other = Played::dial(&node);
    other.send(0x20, &[0x0a, 4, 0x08, 9, 0x18, 1]);
    other.send(0x30, &txs("known"));
    node.event("tx", |_| true);
    node.event("height", |_| true);
    let played = Played::dial_listening(&node);
    played.send(0x20, &[0x0a, 4, 0x08, 5, 0x18, 1]);
    played.send(0x30, &txs("known"));
    let id = played.switch.handle().id().to_string();
    for channel in [0x20, 0x30] {
        node.event("message", |event| event["id"] == id && event["channel"] == channel);
    }
    // Both reactors are through with it when they have taken what comes next.
    other.send(0x30, &txs("next"));
    other.send(0x20, &[0x0a, 4, 0x08, 10, 0x18, 1]);
    while played.message(0x30).payload()[..] != txs("next") {}
    while other.message(0x20).payload()[2..4] != [0x08, 10] {}
    node.stop();
    assert_eq!(kept(&home), ("unverified".to_owned(), Some("new".to_owned())));
}

#[test]
fn rpc_answers_have_the_form_of_tendermint() {
    let home = tempfile::tempdir().unwrap();
    let node = node(&home, &[], &["--moniker", "rpc node", "--block-protocol", "11"]);
    let played = Played::dial(&node);
    node.event("peer_up", |_| true);
    assert_eq!(node.call("/health"), serde_json::json!({}));

    let info = node.call("/net_info");
    assert_eq!((&info["listening"], &info["n_peers"]), (&true.into(), &"1".into()));
    let peer = &info["peers"][0];
    assert_eq!(peer["node_info"]["id"], played.switch.handle().id().to_string());
    assert_eq!(peer["node_info"]["moniker"], "played");
    assert_eq!(peer["node_info"]["protocol_version"]["p2p"], "8");
    assert_eq!((&peer["is_outbound"], &peer["remote_ip"]), (&false.into(), &"127.0.0.1".into()));
    assert!(peer["connection_status"]["Channels"].is_array());

    let status = node.call("/status");
    assert_eq!(status["node_info"]["id"], node.addr().id().to_string());
    assert_eq!(status["node_info"]["moniker"], "rpc node");
    assert_eq!(status["sync_info"]["latest_block_height"], "0");
    assert!(status["validator_info"].is_object());

    for (path, http, code) in [
        ("/broadcast_tx_async", 500, -32602),
        ("/broadcast_tx_async?tx=", 500, -32602),
        ("/broadcast_tx_async?tx=bare", 500, -32602),
        ("/broadcast_tx_async?tx=0xa", 500, -32602),
        ("/broadcast_tx_async?tx=%22%22", 500, -32602),
        ("/genesis", 404, -32601),
    ] {
        let (status, body) = node.get("rpc", path);
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (status, answer["error"]["code"].as_i64()),
            (http, Some(code)),
            "{path}: {body}"
        );
    }
    node.stop();
}
