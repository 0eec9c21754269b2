//! Where our verdict differs from Go's on purpose: one predicate over a case's *data* per rule of
//! ours. Every other case must equal Go, and a predicate that matches no case fails its test.

// ---- addresses, node keys, node infos ----

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use prost::Message as _;
use serde_json::Value;
use tmp2p::NodeKey;

use super::{
    bytes,
    packets::{Answer, body, oracle, packets, prefix},
    text,
};

/// A rule of ours, and which cases it decides.
pub(super) struct OurRule {
    what: &'static str,
    applies: fn(&Value) -> bool,
}

impl OurRule {
    /// Whether this case is decided by the rule instead of by Go.
    pub(super) fn decides(&self, case: &Value) -> bool {
        (self.applies)(case)
    }

    /// Fails the test if there is no such case: then the rule is untested, or no longer needed.
    pub(super) fn must_decide_one_of<'a>(&self, cases: impl IntoIterator<Item = &'a Value>) {
        assert!(cases.into_iter().any(self.applies), "no case for the rule: {}", self.what);
    }
}

/// An address (`addresses.json`) whose ID Go keeps in upper case.
pub(super) const UPPER_CASE_ID: OurRule = OurRule {
    what: "ids are lower-cased when parsed",
    applies: |case| {
        case["id"].as_str().is_some_and(|id| id.bytes().any(|byte| byte.is_ascii_uppercase()))
    },
};

/// A peer (`pex.json`) that asks for addresses too often for Go.
pub(super) const EARLY_REQUEST: OurRule = OurRule {
    what: "an early request is answered with an empty list, not with a ban",
    applies: |case| {
        let messages = case["messages"].as_array().expect("a list of messages");
        messages.len() > 2 && messages.iter().all(|message| message == "0a00")
    },
};

/// An address that peers told (`pex.json`) and nobody can be reached at.
pub(super) const NO_PORT: OurRule = OurRule {
    what: "an address without a port is not booked",
    applies: |case| {
        let mut added = case["added_to_book"].as_array().into_iter().flatten();
        added.any(|entry| text(entry, "addr").ends_with(":0"))
    },
};

/// An address (`addresses.json`) that Go takes for routable though nobody can answer there.
pub(super) const NOBODYS_ADDRESS: OurRule = OurRule {
    what: "multicast, 240.0.0.0/4, what is reserved, and IPv6 that leads there are not routable",
    applies: |case| {
        if case["routable"] != true {
            return false;
        }
        let ip =
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes(case, "ip16")).expect("ip16 has 16 bytes"));
        match (ip.to_ipv4_mapped(), inside(ip)) {
            (Some(ip), _) => is_nobodys(ip),
            (None, Some(inside)) => {
                is_nobodys(inside)
                    || inside.is_private()
                    || inside.is_link_local()
                    || matches!(inside.octets()[0], 0 | 127)
            }
            (None, None) => {
                ip.segments()[0] >> 8 == 0xff
                    || (ip.segments()[0] == 0x3fff && ip.segments()[1] < 0x1000)
            }
        }
    },
};

fn is_nobodys(ip: Ipv4Addr) -> bool {
    ip.is_multicast()
        || ip >= Ipv4Addr::new(240, 0, 0, 0)
        || ip.is_documentation()
        || matches!(ip.octets(), [192, 0, 0, _] | [198, 18 | 19, ..])
}

/// The IPv4 address inside one of the transition schemes.
fn inside(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, .., high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

fn key_of(case: &Value) -> Option<(String, Vec<u8>)> {
    let file: Value = serde_json::from_str(case["file"].as_str()?).ok()?;
    let key = &file["priv_key"];
    let value = STANDARD.decode(key["value"].as_str()?).ok()?;
    Some((key["type"].as_str()?.to_owned(), value))
}

/// A key file (`node_key.json`) that Go can use though its key is not the one kind that
/// authenticates on the network.
pub(super) const OTHER_KEY_TYPE: OurRule = OurRule {
    what: "a node key is an ed25519 key",
    applies: |case| {
        !case["node_id"].is_null()
            && key_of(case).is_some_and(|(kind, _)| kind != "tendermint/PrivKeyEd25519")
    },
};

/// A key file (`node_key.json`) that Go can use though its key is cut off or has something behind.
pub(super) const KEY_LENGTH: OurRule = OurRule {
    what: "a node key has 64 bytes",
    applies: |case| {
        !case["node_id"].is_null()
            && key_of(case).is_some_and(|(kind, value)| {
                kind == "tendermint/PrivKeyEd25519" && value.len() != 64
            })
    },
};

/// A key file (`node_key.json`) that Go can use though nobody accepts its signatures.
pub(super) const KEY_HALVES: OurRule = OurRule {
    what: "mismatched halves are refused",
    applies: |case| {
        !case["node_id"].is_null()
            && key_of(case).is_some_and(|(kind, value)| {
                let seed = *value.first_chunk().unwrap_or(&[0; 32]);
                kind == "tendermint/PrivKeyEd25519"
                    && value.len() == 64
                    && NodeKey::from_seed(seed).public_key().as_bytes() != &value[32..]
            })
    },
};

/// A node info with text that is not UTF-8, which Go does not mind.
pub(super) const NOT_UTF8: OurRule = OurRule {
    what: "text on the wire is UTF-8",
    applies: |info| {
        info.as_object().is_some_and(|fields| fields.values().any(|value| value["hex"].is_string()))
    },
};

/// A node info (`node_info.json`, `validate`) that announces a host name, which Go resolves.
pub(super) const ANNOUNCED_NAME: OurRule = OurRule {
    what: "a name that a peer supplied is never resolved",
    applies: |case| {
        case["verdict"] == "address_lookup"
            && text(&case["info"], "listen_addr")
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte))
    },
};

// ---- secret connection ----

/// Go cuts longer ephemeral keys, pads shorter ones and takes any encoding up to 1 MiB; we take
/// 32 bytes, written in the one shortest way. Our verdict: refused.
pub(crate) fn ephemeral_is_not_the_exact_35_bytes(peer_sends_clear: &[u8]) -> bool {
    peer_sends_clear.len() != 35 || !peer_sends_clear.starts_with(&[34, 0x0a, 32])
}

/// Go takes an authentication message of 1 MiB, we take 256 bytes. Our verdict: refused.
/// `frames` are the data of the frames that carry it.
pub(crate) fn auth_message_is_over_256_bytes(frames: &[Vec<u8>]) -> bool {
    let stream = frames.concat();
    matches!(tmp2p::internals::protocol::wire::decode_varint(&stream), Ok(Some((length, _))) if length > 256)
}

/// Go reads a byte that is not there from a frame without data; to us it carries nothing. Our
/// verdict: that on the same frames without the empty ones.
pub(crate) fn an_empty_frame_precedes_the_auth_message(frames: &[Vec<u8>]) -> bool {
    frames.first().is_some_and(Vec::is_empty)
}

// ---- packets ----

/// Largest data of a packet that we accept by default; Go accepts packets of up to 1034 bytes with
/// its default of 1024.
pub(crate) const MAX_RECV_PACKET_SIZE: usize = 1 << 20;
const GO_LARGEST_PACKET: usize = 1034;

/// Go sends a packet here that is longer than it accepts itself; we leave a byte for another one.
pub(crate) fn full_last_packet_on_a_high_channel(channel: u8, max_data: usize, len: usize) -> bool {
    channel >= 0x80 && len > 0 && len.is_multiple_of(max_data)
}

/// Go loses an empty message when another channel is chosen before it; we never do.
pub(crate) fn empty_message_among_channels(message_sizes: &[&[usize]]) -> bool {
    message_sizes.len() > 1 && message_sizes.iter().any(|sizes| sizes.contains(&0))
}

/// The receive limit is separate from, and larger than, the size that we send.
pub(crate) fn packet_larger_than_go_accepts(wire: &[u8]) -> bool {
    let mut rest = wire;
    while let Some((prefix, len)) = prefix(rest) {
        if (GO_LARGEST_PACKET + 1..=MAX_RECV_PACKET_SIZE).contains(&len) {
            return true;
        }
        let Some(next) = rest.get(prefix.saturating_add(len)..) else { break };
        rest = next;
    }
    false
}

/// Go cuts a channel number down to 32 bits, so that it may become that of a channel.
pub(crate) fn channel_of_more_than_32_bits(wire: &[u8]) -> bool {
    packets(wire).iter().any(|packet| match oracle::Packet::decode(body(packet)) {
        Ok(oracle::Packet { sum: Some(oracle::Sum::Msg(msg)) }) => {
            i32::try_from(msg.channel_id).is_err()
        }
        _ => false,
    })
}

/// Go answers every ping; we answer all that came since the last pong with one.
pub(crate) fn several_pings(wire: &[u8]) -> bool {
    let is_ping = |packet: &&&[u8]| {
        let packet = oracle::Packet::decode(body(packet));
        matches!(packet, Ok(oracle::Packet { sum: Some(oracle::Sum::Ping(_)) }))
    };
    packets(wire).iter().filter(is_ping).count() > 1
}

/// Go holds messages back for the flush throttle; we write at once, so the times are not compared.
pub(crate) fn flush_throttle(written: &[Value]) -> bool {
    written.iter().all(|packet| packet["kind"] == "msg")
}

/// Any byte proves that the peer is alive; for Go only a pong does.
pub(crate) fn data_instead_of_a_pong(answer: Option<Answer>) -> bool {
    answer.is_some_and(|(_, is_pong)| !is_pong)
}

// ---- the address book ----

/// The files (`addrbook/malformed.facts.json`, with their `text`) about which we decide otherwise
/// than Go, and whether we take them.
pub(super) const IMPORT: [(OurRule, bool); 6] = [
    (
        OurRule {
            what: "a file is one JSON value and nothing behind it",
            applies: |case| {
                let mut values = serde_json::Deserializer::from_str(text(case, "text"))
                    .into_iter::<serde_json::Value>();
                matches!(values.next(), Some(Ok(_))) && values.next().is_some()
            },
        },
        false,
    ),
    (
        OurRule {
            what: "a book has a list of addresses, under exactly this name",
            applies: |case| {
                let file = serde_json::from_str::<Value>(text(case, "text"));
                text(case, "outcome") == "loads"
                    && file.is_ok_and(|file| file.get("addrs").is_none())
            },
        },
        false,
    ),
    (
        OurRule {
            what: "an entry has an id and an ip address",
            applies: |case| {
                entries(case).iter().any(|entry| {
                    let addr = &entry["addr"];
                    let is_id = |id: &str| id.parse::<tmp2p::NodeId>().is_ok();
                    case["outcome"] == "loads"
                        && (!addr["id"].as_str().is_some_and(is_id) || addr["ip"] == "")
                })
            },
        },
        false,
    ),
    (
        OurRule {
            what: "an entry is new or old, in buckets or not",
            applies: |case| {
                entries(case).iter().any(|entry| {
                    entry["bucket_type"] == 3
                        && entry["buckets"].as_array().is_none_or(|buckets| buckets.is_empty())
                })
            },
        },
        false,
    ),
    (
        OurRule {
            what: "a leap second is a time",
            applies: |case| text(case, "text").contains(":60Z\""),
        },
        true,
    ),
    (
        OurRule {
            what: "of several entries of one id the last counts, whatever the case of its letters",
            applies: |case| case["outcome"] == "loads" && case["distinct_ids"] != case["size"],
        },
        true,
    ),
];

fn entries(case: &Value) -> Vec<Value> {
    let file: Value = serde_json::from_str(text(case, "text")).unwrap_or_default();
    file["addrs"].as_array().cloned().unwrap_or_default()
}
