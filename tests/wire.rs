//! The reader of Protocol Buffers against another implementation, `prost`: what that takes we take, with
//! the same contents; beyond it we take what Go's generated code takes, and nothing else.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

#[path = "vectors/protocol_version.rs"]
mod protocol_version;

use proptest::prelude::*;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use protocol_version::ProtocolVersion;
use tmp2p::{
    NodeInfo,
    internals::protocol::wire::{DecodeError, Fields, Value},
};

/// `proto/tendermint/p2p/types.proto`.
#[derive(Clone, PartialEq, Message)]
struct DefaultNodeInfo {
    #[prost(message, required, tag = "1")]
    protocol_version: ProtocolVersion,
    #[prost(string, tag = "2")]
    default_node_id: String,
    #[prost(string, tag = "3")]
    listen_addr: String,
    #[prost(string, tag = "4")]
    network: String,
    #[prost(string, tag = "5")]
    version: String,
    #[prost(bytes = "vec", tag = "6")]
    channels: Vec<u8>,
    #[prost(string, tag = "7")]
    moniker: String,
    #[prost(message, required, tag = "8")]
    other: DefaultNodeInfoOther,
}

#[derive(Clone, PartialEq, Message)]
struct DefaultNodeInfoOther {
    #[prost(string, tag = "1")]
    tx_index: String,
    #[prost(string, tag = "2")]
    rpc_address: String,
}

/// What prost says where Go's generated code says nothing: it looks at the number of a field with all
/// its bits, at the bits of a number above the 64th, at the numbers in groups, and at the depth of them.
const STRICTER: [&str; 5] = [
    "invalid key value",
    "invalid varint",
    "invalid tag value",
    "unexpected end group tag",
    "recursion limit reached",
];

/// The same bytes by both.
fn judge(bytes: &[u8]) {
    let (ours, prost) = (NodeInfo::decode(bytes), DefaultNodeInfo::decode(bytes));
    match (ours, prost) {
        (Ok(ours), Ok(prost)) => assert_eq!(ours.encode(), prost.encode_to_vec(), "{bytes:02x?}"),
        (Err(_), Err(_)) => {}
        (Ok(_), Err(why)) => {
            let why = why.to_string();
            assert!(STRICTER.iter().any(|stricter| why.contains(stricter)), "{why}: {bytes:02x?}");
        }
        (Err(why), Ok(_)) => panic!("{why}: {bytes:02x?}"),
    }
}

/// A field as it is meant, and in which of the forms that a reader must know it is written.
#[derive(Clone, Debug)]
struct Written {
    number: u32,
    value: Meant,
    /// Bytes of the key beyond those it needs, up to ten; with the last of ten the bits that have no
    /// place.
    longer: usize,
}

#[derive(Clone, Debug)]
enum Meant {
    Varint(u64),
    Fixed64(u64),
    Bytes(Vec<u8>),
    Group(Vec<Written>),
    Fixed32(u32),
}

fn field() -> impl Strategy<Value = Written> {
    let value = prop_oneof![
        any::<u64>().prop_map(Meant::Varint),
        any::<u64>().prop_map(Meant::Fixed64),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Meant::Bytes),
        any::<u32>().prop_map(Meant::Fixed32),
    ];
    let number = prop_oneof![1..20_u32, 1..1_u32 << 29];
    let leaf = (number.clone(), value, 0..10_usize).prop_map(|(number, value, longer)| Written {
        number,
        value,
        longer,
    });
    leaf.prop_recursive(4, 20, 5, move |inner| {
        let group = proptest::collection::vec(inner, 0..5).prop_map(Meant::Group);
        (number.clone(), group, 0..10_usize).prop_map(|(number, value, longer)| Written {
            number,
            value,
            longer,
        })
    })
}

/// With as many bytes more as there may be, and with bits where there is no place for any.
fn longer_varint(value: u64, longer: usize, out: &mut Vec<u8>) {
    let start = out.len();
    encode_varint(value, out);
    let len = (out.len() - start + longer).min(10);
    while out.len() - start < len {
        *out.last_mut().unwrap() |= 0x80;
        out.push(0);
    }
    if len == 10 {
        *out.last_mut().unwrap() |= 0x7e;
    }
}

impl Written {
    /// As only Go reads it.
    fn oddly(&self, out: &mut Vec<u8>) {
        let key = |kind: u64| u64::from(self.number) << 3 | kind;
        match &self.value {
            Meant::Varint(value) => {
                longer_varint(key(0), self.longer, out);
                longer_varint(*value, self.longer, out);
            }
            Meant::Fixed64(value) => {
                longer_varint(key(1), self.longer, out);
                out.extend(value.to_le_bytes());
            }
            Meant::Bytes(bytes) => {
                longer_varint(key(2), self.longer, out);
                // A length is a number like any other.
                longer_varint(bytes.len() as u64, self.longer, out);
                out.extend(bytes);
            }
            Meant::Group(fields) => {
                longer_varint(key(3), self.longer, out);
                fields.iter().for_each(|field| field.oddly(out));
                // The number at the end is nobody's business.
                longer_varint((self.longer as u64) << 3 | 4, self.longer, out);
            }
            Meant::Fixed32(value) => {
                longer_varint(key(5), self.longer, out);
                out.extend(value.to_le_bytes());
            }
        }
    }

    fn is_read_as(&self, value: Value<'_>) -> bool {
        match (&self.value, value) {
            (Meant::Varint(meant), Value::Varint(read) | Value::Cut(read)) => *meant == read,
            (Meant::Fixed64(meant), Value::Fixed64(read)) => *meant == read,
            (Meant::Bytes(meant), Value::Bytes(read)) => meant == read,
            (Meant::Group(_), Value::Group) => true,
            (Meant::Fixed32(meant), Value::Fixed32(read)) => *meant == read,
            _ => false,
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_judged_as_prost_does(bytes: Vec<u8>) {
        judge(&bytes);
    }

    /// Bytes that are nearly a NodeInfo: cut, with a byte changed, another message behind it.
    #[test]
    fn damaged_messages_are_judged_as_prost_does(
        texts in proptest::array::uniform6("[ -~]{0,12}"),
        channels: Vec<u8>,
        numbers: [u64; 3],
        twice: bool,
        damage in proptest::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let [default_node_id, listen_addr, network, version, moniker, rpc_address] = texts;
        let [p2p, block, app] = numbers;
        let info = DefaultNodeInfo {
            protocol_version: ProtocolVersion { p2p, block, app },
            default_node_id, listen_addr, network, version, channels, moniker,
            other: DefaultNodeInfoOther { tx_index: "on".into(), rpc_address },
        };
        let mut bytes = info.encode_to_vec();
        judge(&bytes);
        if twice {
            bytes.extend(DefaultNodeInfo::default().encode_to_vec());
            bytes.extend([0x0a, 2, 0x08, 7, 0x42, 2, 0x0a, 0]);
        }
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        judge(&bytes);
    }

    /// Every form of a field has one meaning, whoever reads the usual form.
    #[test]
    fn odd_forms_mean_what_the_usual_ones_do(fields in proptest::collection::vec(field(), 0..10)) {
        let mut odd = Vec::new();
        fields.iter().for_each(|field| field.oddly(&mut odd));
        let read: Result<Vec<_>, DecodeError> = Fields::new(&odd).collect();
        let read = read.unwrap();
        prop_assert_eq!(read.len(), fields.len());
        for (meant, read) in fields.iter().zip(read) {
            prop_assert_eq!(meant.number, read.number);
            prop_assert!(meant.is_read_as(read.value), "{:?} as {:?}", meant, read);
        }
    }
}

/// The rules beyond prost's one by one, so that each is known to be met.
#[test]
fn prost_is_stricter_in_five_ways() {
    let mut far = Vec::new();
    encode_varint((1 << 35) | (16 << 3), &mut far);
    far.push(1);
    let mut deep = vec![0x83, 0x01];
    deep.extend([0x0b; 200]);
    deep.extend([0x0c; 200]);
    deep.extend([0x84, 0x01]);
    let mut mismatch = Vec::new();
    encode_key(16, WireType::StartGroup, &mut mismatch);
    encode_key(17, WireType::EndGroup, &mut mismatch);
    for (bytes, why) in [
        (far, STRICTER[0]),
        (vec![0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], STRICTER[1]),
        (vec![0x83, 0x01, 0x00, 0x01, 0x84, 0x01], STRICTER[2]),
        (mismatch, STRICTER[3]),
        (deep, STRICTER[4]),
    ] {
        let error = DefaultNodeInfo::decode(bytes.as_slice()).unwrap_err().to_string();
        assert!(error.contains(why), "{error}: {bytes:02x?}");
        NodeInfo::decode(&bytes).unwrap();
    }
}
