//! `node_info.json`: what Go writes, reads, accepts and gets along with.

use prost::Message;
use serde_json::Value;
use tmp2p::{AddressError, ChannelId, Incompatible, MAX_NODE_INFO_SIZE, NodeInfo, NodeInfoError};

use super::{bytes, cases, deviations, load, protocol_version::ProtocolVersion, text};

#[test]
fn vectors_node_info_encode() {
    let file = load("node_info.json");
    let mut built = 0;
    for case in cases(&file, "encode") {
        let name = text(case, "name");
        let wire = bytes(case, "wire");
        let info = &case["info"];
        let ours = NodeInfo::decode(&message(info)).unwrap();
        assert_eq!(hex::encode(ours.encode_delimited()), hex::encode(&wire), "{name}");
        assert_eq!(wire[wire.len() - ours.encode().len()..], ours.encode(), "{name}");
        if let Some(info) = build(info) {
            assert_eq!(hex::encode(info.encode_delimited()), hex::encode(&wire), "{name}: built");
            built += 1;
        }
    }
    assert!(built > 0, "no case could be made with the builder");
}

#[test]
fn vectors_node_info_decode() {
    let not_utf8 = deviations::NOT_UTF8;
    let file = load("node_info.json");
    for case in cases(&file, "decode") {
        let name = text(case, "name");
        let wire = bytes(case, "wire");
        let decoded = unprefixed(&wire).map(NodeInfo::decode);
        let refused = case["ok"] != true || not_utf8.decides(&case["info"]);
        let Some(Ok(info)) = decoded else {
            assert!(refused, "{name}: {decoded:?}");
            continue;
        };
        assert!(!refused, "{name}");
        assert_same(name, &info, &case["info"]);
        assert_eq!(verdict(&info.validate()), text(case, "validate"), "{name}");
    }
    not_utf8.must_decide_one_of(cases(&file, "decode").iter().map(|case| &case["info"]));
}

#[test]
fn vectors_node_info_validate() {
    let (not_utf8, announced_name) = (deviations::NOT_UTF8, deviations::ANNOUNCED_NAME);
    let file = load("node_info.json");
    for case in cases(&file, "validate") {
        let name = text(case, "name");
        let decoded = NodeInfo::decode(&message(&case["info"]));
        if not_utf8.decides(&case["info"]) {
            assert!(matches!(decoded, Err(NodeInfoError::Malformed { .. })), "{name}");
            continue;
        }
        let info = decoded.unwrap();
        assert_same(name, &info, &case["info"]);
        let by_name = announced_name.decides(case);
        let expected = match text(case, "verdict") {
            "address_lookup" if by_name => "ok",
            // What Go's resolver finds out is seen without one.
            "address_lookup" => "address_invalid",
            verdict => verdict,
        };
        assert_eq!(verdict(&info.validate()), expected, "{name}");
        if by_name {
            assert_eq!(info.listen_net_address(), None, "{name}");
        }
    }
    not_utf8.must_decide_one_of(cases(&file, "validate").iter().map(|case| &case["info"]));
    announced_name.must_decide_one_of(cases(&file, "validate"));
}

#[test]
fn vectors_node_info_compatible() {
    let file = load("node_info.json");
    for case in cases(&file, "compatible") {
        let name = text(case, "name");
        let ours = NodeInfo::decode(&message(&case["ours"])).unwrap();
        let theirs = NodeInfo::decode(&message(&case["theirs"])).unwrap();
        let verdict = match ours.compatible_with(&theirs) {
            Ok(()) => "ok",
            Err(Incompatible::BlockProtocol { .. }) => "block_version",
            Err(Incompatible::Network { .. }) => "network",
            Err(Incompatible::NoCommonChannel { .. }) => "no_common_channel",
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(verdict, text(case, "verdict"), "{name}");
    }
}

/// The NodeInfos that real nodes sent.
#[test]
fn vectors_node_info_of_real_nodes() {
    for file in ["channels.json", "channels.v0.38.json"] {
        let file = load(file);
        let wire = bytes(&file, "node_info_wire");
        let info = NodeInfo::decode(unprefixed(&wire).unwrap()).unwrap();
        info.validate().unwrap();
        assert_eq!(hex::encode(info.encode_delimited()), hex::encode(&wire));
        assert!(info.channels().len() > 1);
    }
}

fn verdict(result: &Result<(), NodeInfoError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(NodeInfoError::ListenAddress(AddressError::NoId { .. })) => "address_no_id",
        Err(NodeInfoError::ListenAddress(AddressError::Invalid { .. })) => "address_invalid",
        Err(NodeInfoError::Version { .. }) => "version",
        Err(NodeInfoError::TooManyChannels { .. }) => "too_many_channels",
        Err(NodeInfoError::DuplicateChannel(_)) => "duplicate_channel",
        Err(NodeInfoError::Moniker { .. }) => "moniker",
        Err(NodeInfoError::TxIndex { .. }) => "tx_index",
        Err(NodeInfoError::RpcAddress { .. }) => "rpc_address",
        Err(error) => panic!("{error}"),
    }
}

fn assert_same(name: &str, info: &NodeInfo, expected: &Value) {
    let number = |key| text(expected, key).parse::<u64>().expect("a u64");
    assert_eq!(info.p2p_protocol(), number("p2p"), "{name}");
    assert_eq!(info.block_protocol(), number("block"), "{name}");
    assert_eq!(info.app_protocol(), number("app"), "{name}");
    assert_eq!(info.id(), text(expected, "id").parse().ok(), "{name}");
    assert_eq!(info.listen_addr(), text(expected, "listen_addr"), "{name}");
    assert_eq!(info.network(), text(expected, "network"), "{name}");
    assert_eq!(info.version(), text(expected, "version"), "{name}");
    let channels: Vec<u8> = info.channels().iter().map(|channel| channel.as_u8()).collect();
    assert_eq!(channels, bytes(expected, "channels"), "{name}");
    assert_eq!(info.moniker(), text(expected, "moniker"), "{name}");
    assert_eq!(info.tx_index(), text(expected, "tx_index"), "{name}");
    assert_eq!(info.rpc_address(), text(expected, "rpc_address"), "{name}");
}

/// The info made as an application and the switch would make it, if they could.
fn build(info: &Value) -> Option<NodeInfo> {
    let ours = NodeInfo::new(text(info, "network"), text(info, "moniker")).ok()?;
    if ours.p2p_protocol().to_string() != text(info, "p2p") {
        return None;
    }
    let ours = ours
        .with_block_protocol(text(info, "block").parse().expect("a u64"))
        .with_app_protocol(text(info, "app").parse().expect("a u64"))
        .with_version(text(info, "version"))
        .with_id(text(info, "id").parse().ok()?)
        .with_listen_addr(&text(info, "listen_addr").parse().ok()?)
        .with_channels(bytes(info, "channels").into_iter().map(ChannelId::new))
        .with_rpc_address(text(info, "rpc_address"));
    Some(match text(info, "tx_index") {
        "" => ours,
        on_or_off => ours.with_tx_index(on_or_off == "on"),
    })
}

/// What follows the length, if exactly as much follows. A reader of the stream refuses a length
/// above the limit before it waits for the rest.
fn unprefixed(mut wire: &[u8]) -> Option<&[u8]> {
    let len = prost::decode_length_delimiter(&mut wire).ok()?;
    (len <= MAX_NODE_INFO_SIZE + 1 && len <= wire.len()).then(|| &wire[..len])
}

/// The info as a message, encoded by other code than the crate's. Text is bytes here.
fn message(info: &Value) -> Vec<u8> {
    let number = |key| text(info, key).parse().expect("a u64");
    let text = |key: &str| match &info[key]["hex"] {
        Value::String(hex) => hex::decode(hex).expect("hex"),
        _ => text(info, key).as_bytes().to_vec(),
    };
    RawNodeInfo {
        protocol_version: Some(ProtocolVersion {
            p2p: number("p2p"),
            block: number("block"),
            app: number("app"),
        }),
        id: text("id"),
        listen_addr: text("listen_addr"),
        network: text("network"),
        version: text("version"),
        channels: bytes(info, "channels"),
        moniker: text("moniker"),
        other: Some(RawOther { tx_index: text("tx_index"), rpc_address: text("rpc_address") }),
    }
    .encode_to_vec()
}

#[derive(Clone, PartialEq, Message)]
struct RawNodeInfo {
    #[prost(message, optional, tag = "1")]
    protocol_version: Option<ProtocolVersion>,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    listen_addr: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    network: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    version: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    channels: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    moniker: Vec<u8>,
    #[prost(message, optional, tag = "8")]
    other: Option<RawOther>,
}

#[derive(Clone, PartialEq, Message)]
struct RawOther {
    #[prost(bytes = "vec", tag = "1")]
    tx_index: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    rpc_address: Vec<u8>,
}
