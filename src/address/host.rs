//! The host and port of an address.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

/// The host of an address: an IP address, or a name that a resolver has to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Host {
    /// An IP address, never an IPv4-mapped IPv6 one.
    Ip(IpAddr),
    /// A name, as it was written.
    Name(String),
}

impl Host {
    /// The IP address, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(*ip),
            Self::Name(_) => None,
        }
    }

    /// Whether this is an IP address or could be a name in the DNS. Says nothing about whether the
    /// name exists.
    pub(super) fn is_plausible(&self) -> bool {
        match self {
            Self::Ip(_) => true,
            // RFC 1035 bounds a name at 255 bytes on the wire, which are 253 of text. Underscores
            // are no letters of a host name, but in use.
            Self::Name(name) => {
                name.len() <= 253
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
            }
        }
    }

    /// With brackets around an IPv6 address, as it stands in front of a port.
    pub(super) fn fmt_with_port(&self, port: u16, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            _ => write!(f, "{self}:{port}"),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip.to_canonical())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

pub(super) const IMPLAUSIBLE_NAME: &str =
    "the host is neither an IP address nor a name of letters, digits, dots and dashes";

/// Splits `host:port`, with brackets around an IPv6 host, as Go's `net.SplitHostPort` does.
pub(super) fn split_host_port(text: &str) -> Result<(Host, u16), &'static str> {
    const MISSING_PORT: &str = "the port is missing";
    const TOO_MANY_COLONS: &str = "too many colons; an IPv6 address needs [ ] around it";

    let (before, port) = text.rsplit_once(':').ok_or(MISSING_PORT)?;
    let host = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, behind) = bracketed.split_once(']').ok_or("the ] is missing")?;
        match behind.strip_prefix(':') {
            Some(rest) if rest == port => host,
            Some(_) => return Err(TOO_MANY_COLONS),
            None => return Err(MISSING_PORT),
        }
    } else if before.contains(':') {
        return Err(TOO_MANY_COLONS);
    } else {
        before
    };
    if host.contains(['[', ']']) || port.contains(['[', ']']) {
        return Err("there is a [ or ] in the wrong place");
    }
    if host.is_empty() {
        return Err("the host is missing");
    }
    Ok((parse_host(host), parse_port(port)?))
}

fn parse_host(text: &str) -> Host {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return ip.into();
    }
    // The zone of an IPv6 address means something on its own machine only.
    match text.split_once('%') {
        Some((ip, zone)) if !zone.is_empty() => match ip.parse::<Ipv6Addr>() {
            Ok(ip) => IpAddr::V6(ip).into(),
            Err(_) => Host::Name(text.to_owned()),
        },
        _ => Host::Name(text.to_owned()),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    // `parse` alone would take a sign.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("the port is not a number");
    }
    text.parse().map_err(|_| "the port is above 65535")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Go's algorithm (`net/ipsock.go`) retold with indices, to be compared with.
    fn split_as_go(text: &str) -> Option<(&str, &str)> {
        let last_colon = text.rfind(':')?;
        let (host, open_from, close_from);
        if text.starts_with('[') {
            let end = text.find(']')?;
            if end + 1 != last_colon {
                return None;
            }
            (host, open_from, close_from) = (&text[1..end], 1, end + 1);
        } else {
            host = &text[..last_colon];
            if host.contains(':') {
                return None;
            }
            (open_from, close_from) = (0, 0);
        }
        if text[open_from..].contains('[') || text[close_from..].contains(']') {
            return None;
        }
        Some((host, &text[last_colon + 1..]))
    }

    proptest! {
        #[test]
        fn splits_where_go_splits(text in r"[\[\]:%a1.é]{0,12}(:1|:|])?") {
            let expected = split_as_go(&text)
                .filter(|(host, _)| !host.is_empty())
                .and_then(|(host, port)| Some((parse_host(host), parse_port(port).ok()?)));
            prop_assert_eq!(split_host_port(&text).ok(), expected);
        }

        #[test]
        fn every_ip_survives(bytes: [u8; 16], port: u16) {
            for ip in [IpAddr::from(bytes), IpAddr::from(*bytes.first_chunk::<4>().unwrap())] {
                let text = std::net::SocketAddr::new(ip, port).to_string();
                prop_assert_eq!(split_host_port(&text), Ok((Host::from(ip), port)));
            }
        }
    }

    #[test]
    fn zones_are_dropped_from_ipv6_only() {
        let ip = |text: &str| Host::Ip(text.parse().unwrap());
        assert_eq!(parse_host("fe80::1%eth0"), ip("fe80::1"));
        assert_eq!(parse_host("::ffff:1.2.3.4%1"), ip("1.2.3.4"));
        for name in ["fe80::1%", "1.2.3.4%eth0", "%eth0", "%"] {
            assert_eq!(parse_host(name), Host::Name(name.to_owned()));
        }
    }

    #[test]
    fn a_port_is_digits() {
        for (text, port) in [("0", 0), ("65535", 65535), ("000000000000080", 80)] {
            assert_eq!(parse_port(text), Ok(port));
        }
        for text in ["", "+1", "-1", "65536", " 1", "1 ", "0x1", "1_0", "٣", "99999999999999999999"]
        {
            assert!(parse_port(text).is_err(), "{text:?}");
        }
    }
}
