//! `addresses.json`: what Go makes of the text of an address, and which part of the internet it
//! takes it for.

use serde_json::Value;
use tmp2p::{AddressError, ListenAddress, NetAddress, PeerAddress};

use super::{bytes, cases, deviations, load, text};

#[test]
fn vectors_addresses() {
    let (upper_case_id, nobodys) = (deviations::UPPER_CASE_ID, deviations::NOBODYS_ADDRESS);
    let file = load("addresses.json");
    for case in cases(&file, "cases") {
        let name = text(case, "name");
        let input = text(case, "input");
        let parsed = input.parse::<NetAddress>();
        assert_eq!(outcome(&parsed), text(case, "outcome"), "{name}: {parsed:?}");
        let Ok(address) = parsed else {
            check_peer_address(case, input);
            continue;
        };

        let (mut canonical, mut id) =
            (text(case, "canonical").to_owned(), text(case, "id").to_owned());
        if upper_case_id.decides(case) {
            canonical.make_ascii_lowercase();
            id.make_ascii_lowercase();
        }
        assert_eq!(address.to_string(), canonical, "{name}");
        assert_eq!(address.id().to_string(), id, "{name}");
        assert_eq!(address.ip().to_string(), text(case, "ip"), "{name}");
        let ip16 = match address.ip() {
            std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            std::net::IpAddr::V6(ip) => ip,
        };
        assert_eq!(ip16.octets().as_slice(), bytes(case, "ip16"), "{name}");
        assert_eq!(address.ip().is_ipv4(), case["is_ipv4"], "{name}");
        assert_eq!(u64::from(address.port()), case["port"], "{name}");
        assert_eq!(address.is_valid(), case["valid"], "{name}");
        assert_eq!(address.is_local(), case["local"], "{name}");
        let routable = if nobodys.decides(case) { &Value::Bool(false) } else { &case["routable"] };
        assert_eq!(address.is_routable(), *routable, "{name}");
        assert_eq!(address.group_key(true).to_string(), text(case, "group_strict"), "{name}");
        assert_eq!(address.group_key(false).to_string(), text(case, "group_loose"), "{name}");

        assert_eq!(canonical.parse(), Ok(address), "{name}");
        let peer_address: PeerAddress = input.parse().unwrap();
        assert_eq!(peer_address.net_address(), Some(address), "{name}");
        assert_eq!(peer_address, address.into(), "{name}");
        let location = canonical.split_once('@').unwrap().1;
        let listen_address: ListenAddress = location.parse().unwrap();
        assert_eq!(listen_address, address.socket_addr().into(), "{name}");
    }
    upper_case_id.must_decide_one_of(cases(&file, "cases"));
    nobodys.must_decide_one_of(cases(&file, "cases"));
}

/// An operator's address differs in one thing: a name will do, if it can be one.
fn check_peer_address(case: &Value, input: &str) {
    let name = text(case, "name");
    match (text(case, "outcome"), input.parse::<PeerAddress>()) {
        ("lookup", Ok(address)) => assert_eq!(address.net_address(), None, "{name}"),
        ("lookup", Err(AddressError::Invalid { .. })) => {}
        ("no_id", Err(AddressError::NoId { .. })) => {}
        ("invalid", Err(AddressError::Invalid { .. })) => {}
        (expected, result) => panic!("{name}: {expected}, but {result:?}"),
    }
}

fn outcome(parsed: &Result<NetAddress, AddressError>) -> &'static str {
    match parsed {
        Ok(_) => "ok",
        Err(AddressError::NoId { .. }) => "no_id",
        Err(AddressError::Invalid { .. }) => "invalid",
        Err(AddressError::LookupNeeded { .. }) => "lookup",
        Err(error) => panic!("{error}"),
    }
}
