#![no_main]
//! Everything that parses an address or an ID.

use std::{fmt::Display, str::FromStr};

use libfuzzer_sys::fuzz_target;
use tmp2p::{Host, ListenAddress, NetAddress, NodeId, PeerAddress};

/// Longest text of an error: it quotes at most 96 characters, escaped.
const MAX_ERROR: usize = 2048;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    parse::<NodeId>(&text);
    let listen = parse::<ListenAddress>(&text);
    let peer = parse::<PeerAddress>(&text);
    let net = parse::<NetAddress>(&text);
    if let Some(net) = net {
        assert_eq!(net.ip(), net.ip().to_canonical());
        let peer = peer.expect("an address for the book can be dialed");
        assert_eq!(peer.net_address(), Some(net));
        assert_eq!((peer.id(), peer.port()), (net.id(), net.port()));
        assert_eq!(PeerAddress::from(net), peer);
        assert!(!net.is_routable() || net.is_valid(), "{net}");
        assert!(!net.is_routable() || !net.is_local(), "{net}");
        for strict in [false, true] {
            assert!(net.group_key(strict).to_string().len() < 64);
        }
    }
    if let Some(listen) = listen {
        match listen.host() {
            Host::Ip(ip) => assert_eq!(*ip, ip.to_canonical()),
            name => assert!(name.to_string().len() <= 253),
        }
    }
});

fn parse<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + PartialEq + std::fmt::Debug,
    T::Err: Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let shown = value.to_string();
            assert_eq!(shown.parse::<T>().ok().as_ref(), Some(&value), "{text:?} → {shown:?}");
            Some(value)
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < MAX_ERROR, "{} bytes", error.len());
            assert!(!error.contains(char::is_control), "{error:?}");
            None
        }
    }
}
