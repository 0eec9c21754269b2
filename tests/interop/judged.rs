//! Bytes made up by dice, judged by us and by the released Go code: what Go refuses we refuse, what it takes
//! we take, with the same contents. Where we differ on purpose is said at each kind, and counted.
//!
//! `TMP2P_JUDGED=<n>` is the number of cases of each kind (5000), `TMP2P_SEED` the dice.

use std::{
    collections::BTreeMap,
    io::Write,
    net::IpAddr,
    process::{Command, Stdio},
    thread,
    time::SystemTime,
};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tmp2p::{
    AddressError, NetAddress, NodeInfo,
    internals::{pex::PexMessage, protocol::mconn::packet::Packet},
};

use crate::{figure, go::Release};

for_each_release! {
    node_infos,
    packets,
    messages_of_peer_exchange,
    addresses,
}

/// In how many of a hundred cases we may differ on purpose: more would hide what is not meant.
const MOST_ON_PURPOSE: usize = 25;

/// What a case comes to: the same, or other on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    BothRefuse,
    BothTake,
    OnPurpose(&'static str),
}

fn node_infos(release: Release) {
    judge(release, "node_info", node_info, |bytes, theirs| {
        let ours = NodeInfo::decode(bytes);
        let (verdict, again) = theirs.split_once(' ').unwrap_or((theirs, ""));
        match (ours, verdict) {
            (Err(_), "no" | "invalid") => Some(Ending::BothRefuse),
            // Go does not mind it in the network, or where another text has taken its place.
            (Err(error), _) => error
                .to_string()
                .contains("utf-8")
                .then_some(Ending::OnPurpose("text that is not UTF-8")),
            (Ok(_), "no") => None,
            (Ok(info), _) if hex::encode(info.encode()) != again => None,
            (Ok(info), verdict) => match (info.validate().is_ok(), verdict == "valid") {
                (true, true) => Some(Ending::BothTake),
                (false, false) => Some(Ending::BothRefuse),
                // Go looks it up.
                (true, false) if info.listen_net_address().is_none() => {
                    Some(Ending::OnPurpose("a name in the place of an address"))
                }
                _ => None,
            },
        }
    });
}

fn packets(release: Release) {
    judge(release, "packet", packet, |bytes, theirs| match Packet::decode(bytes) {
        Err(_) if theirs == "no" => Some(Ending::BothRefuse),
        Err(error) => {
            let is_known = error.to_string().contains("64 bits");
            is_known.then_some(Ending::OnPurpose("a channel of more than 64 bits"))
        }
        Ok(Packet::Ping) => (theirs == "ping").then_some(Ending::BothTake),
        Ok(Packet::Pong) => (theirs == "pong").then_some(Ending::BothTake),
        Ok(Packet::Msg { channel_id, eof, data }) => {
            let told = |channel| format!("msg {channel} {eof} {}", hex::encode(data));
            if theirs != told(i64::from(channel_id as i32)) {
                None
            } else if channel_id == i64::from(channel_id as i32) {
                Some(Ending::BothTake)
            } else {
                Some(Ending::OnPurpose("a channel of more than 32 bits"))
            }
        }
    });
}

fn messages_of_peer_exchange(release: Release) {
    judge(release, "pex", message, |bytes, theirs| match PexMessage::decode(bytes) {
        Err(_) if theirs == "no" => Some(Ending::BothRefuse),
        Err(_) => {
            let count = theirs.split(',').count();
            (count > 250).then_some(Ending::OnPurpose("more than 250 addresses"))
        }
        Ok(PexMessage::Request) => (theirs == "request").then_some(Ending::BothTake),
        Ok(PexMessage::Addrs(ours)) => {
            let theirs = theirs.strip_prefix("addrs ")?;
            let theirs: Vec<&str> = theirs.split(',').filter(|text| !text.is_empty()).collect();
            let ids = theirs.iter().map(|text| hex::decode(text.split('@').next().unwrap()));
            let ids: Vec<String> =
                ids.map(|id| String::from_utf8_lossy(&id.unwrap()).into_owned()).collect();
            // An entry with an ID that is none is left out, which Go's book does later.
            let theirs = theirs.iter().zip(&ids).filter(|(_, id)| {
                let is_hex = id.bytes().all(|byte| byte.is_ascii_hexdigit());
                id.len() == 40 && is_hex
            });
            let theirs: Vec<String> = theirs
                .map(|(text, id)| {
                    format!("{}@{}", id.to_ascii_lowercase(), text.split_once('@').unwrap().1)
                })
                .collect();
            let ours: Vec<String> = ours
                .iter()
                .map(|addr| {
                    let ip = match addr.ip() {
                        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                        IpAddr::V6(ip) => ip,
                    };
                    format!("{}@{}:{}", addr.id(), hex::encode(ip.octets()), addr.port())
                })
                .collect();
            (ours == theirs).then_some(Ending::BothTake)
        }
    });
}

fn addresses(release: Release) {
    judge(release, "address", address, |bytes, theirs| {
        let text = std::str::from_utf8(bytes).unwrap();
        let ours = match text.parse::<NetAddress>() {
            Ok(addr) => format!("ok {addr}"),
            Err(AddressError::NoId { .. }) => "no_id".to_owned(),
            Err(AddressError::LookupNeeded { .. }) => "lookup".to_owned(),
            Err(_) => "invalid".to_owned(),
        };
        let is_taken = ours.starts_with("ok ");
        if ours == theirs {
            return Some(if is_taken { Ending::BothTake } else { Ending::BothRefuse });
        }
        // Go looks the host up before it looks at the port.
        if [ours.as_str(), theirs].iter().all(|said| ["lookup", "invalid"].contains(said)) {
            return Some(Ending::BothRefuse);
        }
        let is_lower = is_taken && ours == theirs.to_ascii_lowercase();
        is_lower.then_some(Ending::OnPurpose("an ID in capitals"))
    });
}

/// Makes cases, has both judge them, and fails with the first on which they differ without a reason.
fn judge(
    release: Release,
    kind: &str,
    make: fn(&mut StdRng) -> Vec<u8>,
    compare: fn(&[u8], &str) -> Option<Ending>,
) {
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = given("TMP2P_SEED").unwrap_or(since.as_millis() as u64 % 1_000_000);
    let count = given("TMP2P_JUDGED").unwrap_or(5000) as usize;
    let mut dice = StdRng::seed_from_u64(seed);
    let cases: Vec<Vec<u8>> = (0..count).map(|_| make(&mut dice)).collect();
    let mut go = Command::new(release.program())
        .arg("judge")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = go.stdin.take().unwrap();
    let lines: Vec<String> =
        cases.iter().map(|case| format!("{kind} {}\n", hex::encode(case))).collect();
    // On a thread: neither side waits for the other with full pipes.
    let writing = thread::spawn(move || input.write_all(lines.concat().as_bytes()).unwrap());
    let output = go.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success());
    let theirs = String::from_utf8(output.stdout).unwrap();
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(theirs.len(), count);
    let mut endings: BTreeMap<Ending, usize> = BTreeMap::new();
    for (case, theirs) in cases.iter().zip(theirs) {
        let Some(ending) = compare(case, theirs) else {
            let text = String::from_utf8_lossy(case);
            panic!(
                "TMP2P_SEED={seed} {kind} {}: Go says {theirs:?} of {text:?}",
                hex::encode(case)
            );
        };
        *endings.entry(ending).or_default() += 1;
    }
    figure(format_args!("go {release:?}: {kind}, TMP2P_SEED={seed}: {endings:?}"));
    let of = |ending| endings.get(&ending).copied().unwrap_or(0);
    assert!(of(Ending::BothTake) > count / 20, "nearly all is refused");
    assert!(of(Ending::BothRefuse) > count / 20, "nearly all is taken");
    let taken = of(Ending::BothTake) + of(Ending::BothRefuse);
    assert!((count - taken) * 100 <= MOST_ON_PURPOSE * count, "{endings:?}");
}

// ---- made-up cases ----

/// One of them.
fn one<'a, T: ?Sized>(dice: &mut StdRng, of: &[&'a T]) -> &'a T {
    of[dice.random_range(0..of.len())]
}

fn chance(dice: &mut StdRng, percent: u32) -> bool {
    dice.random_range(0..100) < percent
}

/// A number, now and then in more bytes than it needs.
fn varint(dice: &mut StdRng, mut value: u64, out: &mut Vec<u8>) {
    let longer = if chance(dice, 5) { dice.random_range(0..4) } else { 0 };
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 | if longer > 0 { 0x80 } else { 0 });
    for left in (0..longer).rev() {
        out.push(if left > 0 { 0x80 } else { 0 });
    }
}

/// A number as peers might write one.
fn number(dice: &mut StdRng) -> u64 {
    match dice.random_range(0..6) {
        0 => 0,
        1 => dice.random_range(0..0x100),
        2 => dice.random_range(0..0x2_0000),
        3 => 1 << dice.random_range(0..64),
        4 => u64::MAX,
        _ => dice.random(),
    }
}

#[derive(Clone)]
enum Meant {
    Number(u64),
    Bytes(Vec<u8>),
}

/// A message of these fields: in another order, twice, missing, with others among them, of other types, damaged.
fn written(dice: &mut StdRng, mut fields: Vec<(u64, Meant)>) -> Vec<u8> {
    if chance(dice, 20) {
        fields.shuffle(dice);
    }
    if chance(dice, 20) && !fields.is_empty() {
        let at = dice.random_range(0..fields.len());
        if dice.random() {
            fields.remove(at);
        } else {
            let again = fields[at].clone();
            fields.push(again);
        }
    }
    if chance(dice, 10) {
        let at = dice.random_range(0..=fields.len());
        let value = if dice.random() {
            Meant::Number(number(dice))
        } else {
            Meant::Bytes(vec![0x61; dice.random_range(0..5)])
        };
        fields.insert(at, (dice.random_range(0..20), value));
    }
    let mut out = Vec::new();
    for (field, value) in fields {
        let kind = match value {
            _ if chance(dice, 1) => dice.random_range(0..8),
            Meant::Number(_) => 0,
            Meant::Bytes(_) => 2,
        };
        varint(dice, field << 3 | kind, &mut out);
        match value {
            Meant::Number(value) => varint(dice, value, &mut out),
            Meant::Bytes(bytes) => {
                varint(dice, bytes.len() as u64, &mut out);
                out.extend(bytes);
            }
        }
    }
    out
}

/// Now and then a byte is another one, missing or too many.
fn damaged(dice: &mut StdRng, mut bytes: Vec<u8>) -> Vec<u8> {
    if chance(dice, 15) && !bytes.is_empty() {
        let at = dice.random_range(0..bytes.len());
        match dice.random_range(0..4) {
            0 => bytes.truncate(at),
            1 => _ = bytes.remove(at),
            2 => bytes.insert(at, dice.random()),
            _ => bytes[at] = dice.random(),
        }
    }
    bytes
}

const IDS: [&str; 6] = [
    "0123456789abcdef0123456789abcdef01234567",
    "ABCDEF0123456789abcdef0123456789abcdef01",
    "0123456789abcdef0123456789abcdef0123456",
    "0123456789abcdef0123456789abcdef012345678",
    "0123456789abcdef0123456789abcdef0123456g",
    "",
];

const HOSTS: [&str; 22] = [
    "1.2.3.4",
    "127.0.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "10.0.0.1",
    "[::1]",
    "[2001:db8::1]",
    "[::ffff:1.2.3.4]",
    "[fe80::1%eth0]",
    "::1",
    "1.2.3",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4.5",
    "0x7f.0.0.1",
    "",
    "no-such-name",
    "no such name",
    "[1.2.3.4]",
    "[]",
    "[::1",
    "a.b.c.invalid",
];

const PORTS: [&str; 12] =
    ["26656", "0", "1", "65535", "65536", "-1", "+1", "", "00080", "a", "26656 ", "99999999999"];

fn location(dice: &mut StdRng) -> String {
    let (host, port) = if chance(dice, 60) {
        (one(dice, &["1.2.3.4", "[2001:db8::1]", "9.8.7.6"]), one(dice, &["26656", "1", "65535"]))
    } else {
        (one(dice, &HOSTS), one(dice, &PORTS))
    };
    let colon = if chance(dice, 3) { "" } else { ":" };
    format!("{host}{colon}{port}")
}

fn id(dice: &mut StdRng) -> String {
    if chance(dice, 70) { IDS[0].to_owned() } else { one(dice, &IDS).to_owned() }
}

fn text(dice: &mut StdRng) -> Vec<u8> {
    match dice.random_range(0..12) {
        0 => Vec::new(),
        1 => b" ".to_vec(),
        2 => b"\t".to_vec(),
        3 => "\u{fc}\u{3bb}".as_bytes().to_vec(),
        4 => vec![0xff, 0x41],
        5 => b"a\x00b".to_vec(),
        6 => b" padded ".to_vec(),
        _ => {
            let len = dice.random_range(1..20);
            (0..len).map(|_| dice.random_range(b'a'..=b'z')).collect()
        }
    }
}

fn node_info(dice: &mut StdRng) -> Vec<u8> {
    let text = |dice: &mut StdRng| {
        if chance(dice, 75) { b"a-name".to_vec() } else { text(dice) }
    };
    let version = (1..=3).map(|field| (field, Meant::Number(number(dice)))).collect();
    let version = written(dice, version);
    let on = one(dice, &["on", "off", "", "On", "x"]).as_bytes().to_vec();
    let other = vec![(1, Meant::Bytes(on)), (2, Meant::Bytes(text(dice)))];
    let other = written(dice, other);
    let scheme = if chance(dice, 70) { "tcp://" } else { one(dice, &["", "udp://", "://"]) };
    let listen = format!("{scheme}{}", location(dice));
    let channels = match dice.random_range(0..5) {
        0 => Vec::new(),
        1 => vec![0x20, 0x20],
        2 => (0..dice.random_range(14..19)).collect(),
        _ => vec![0x20, 0x21],
    };
    let fields = vec![
        (1, Meant::Bytes(version)),
        (2, Meant::Bytes(id(dice).into_bytes())),
        (3, Meant::Bytes(listen.into_bytes())),
        (4, Meant::Bytes(text(dice))),
        (5, Meant::Bytes(text(dice))),
        (6, Meant::Bytes(channels)),
        (7, Meant::Bytes(text(dice))),
        (8, Meant::Bytes(other)),
    ];
    let bytes = written(dice, fields);
    damaged(dice, bytes)
}

fn packet(dice: &mut StdRng) -> Vec<u8> {
    let data = text(dice);
    let message = vec![
        (1, Meant::Number(number(dice))),
        (2, Meant::Number(number(dice))),
        (3, Meant::Bytes(data)),
    ];
    let message = written(dice, message);
    let empty = written(dice, Vec::new());
    let count = if chance(dice, 80) { 1 } else { dice.random_range(0..4) };
    let parts = (0..count)
        .map(|_| match dice.random_range(0..5) {
            0 => (1, Meant::Bytes(empty.clone())),
            1 => (2, Meant::Bytes(empty.clone())),
            _ => (3, Meant::Bytes(message.clone())),
        })
        .collect();
    let bytes = written(dice, parts);
    damaged(dice, bytes)
}

fn message(dice: &mut StdRng) -> Vec<u8> {
    let count = if chance(dice, 2) { dice.random_range(245..256) } else { dice.random_range(0..4) };
    let is_plain = count > 10;
    let entries = (0..count)
        .map(|_| {
            let ip = if is_plain || chance(dice, 85) {
                one(dice, &["1.2.3.4", "2001:db8::1", "::ffff:9.8.7.6"])
            } else {
                one(dice, &HOSTS)
            };
            let port = if is_plain || chance(dice, 80) { 26656 } else { number(dice) };
            let fields = vec![
                (1, Meant::Bytes(id(dice).into_bytes())),
                (2, Meant::Bytes(ip.as_bytes().to_vec())),
                (3, Meant::Number(port)),
            ];
            (1, Meant::Bytes(written(dice, fields)))
        })
        .collect();
    let list = written(dice, entries);
    let request = written(dice, Vec::new());
    let parts = match dice.random_range(0..10) {
        0 => vec![(1, Meant::Bytes(request))],
        1 => vec![(1, Meant::Bytes(request)), (2, Meant::Bytes(list))],
        2 => vec![(2, Meant::Bytes(list)), (1, Meant::Bytes(request))],
        // The last one counts; those before it have to be messages.
        3 => vec![(2, Meant::Bytes(damaged(dice, list.clone()))), (2, Meant::Bytes(list))],
        _ => vec![(2, Meant::Bytes(list))],
    };
    let bytes = written(dice, parts);
    damaged(dice, bytes)
}

fn address(dice: &mut StdRng) -> Vec<u8> {
    let scheme = one(dice, &["", "", "", "tcp://", "udp://", "//", "tcp:", "a://b://"]);
    let at = one(dice, &["@", "@", "@", "@", "@", "@", "@", "@", "", "@@", " @", "@ "]);
    let mut text = format!("{scheme}{}{at}{}", id(dice), location(dice));
    if chance(dice, 10) {
        let place = dice.random_range(0..=text.len());
        text.insert_str(
            place,
            one(dice, &["@", ":", "/", " ", "%", "[", "]", "\u{fc}", "\n", "."]),
        );
    }
    text.into_bytes()
}
