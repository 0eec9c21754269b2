//! Text that somebody else wrote, made fit to be looked at; and what is written too often for `Display`.

use std::{error::Error, net::Ipv4Addr};

/// Most characters of a foreign text that an error or a log line quotes. Longer than any address or
/// moniker in use, short enough that a peer cannot fill a log with one bad NodeInfo of 10 KiB.
const MAX_SHOWN: usize = 96;

/// A foreign text for an error or a log: cut to 96 characters, everything but printable ASCII
/// escaped, so that it can neither forge a log line nor steer a terminal.
pub(crate) fn shown(text: &str) -> String {
    shown_up_to(text, MAX_SHOWN)
}

/// The same, cut to so many characters.
pub(crate) fn shown_up_to(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == most {
            shown.push_str("...");
            break;
        }
        match character {
            ' '..='~' => shown.push(character),
            _ => shown.extend(character.escape_default()),
        }
    }
    shown
}

/// Whether a text is printable ASCII without tabs and has more than blanks in it. The reference
/// judges so (`libs/strings`, `IsASCIIText` and `ASCIITrim`).
pub(crate) fn is_printable_and_not_blank(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.bytes().any(|byte| byte != b' ')
}

/// What an error says, with each of its causes that it does not tell of itself, as many errors do.
pub(crate) fn with_causes(mut text: String, mut cause: Option<&(dyn Error + 'static)>) -> String {
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}

/// What `Display` gives for an IPv4 address. It is needed twice for each address that somebody tells, for
/// the hashes of the book, and once for each that is passed on; the standard library takes four calls of
/// its formatter for it.
pub(crate) struct Ipv4Text {
    text: [u8; 15],
    len: usize,
}

impl Ipv4Text {
    pub(crate) fn of(ip: Ipv4Addr) -> Self {
        let mut text = Self { text: [0; 15], len: 0 };
        for (n, octet) in ip.octets().into_iter().enumerate() {
            if n > 0 {
                text.put(b'.');
            }
            if octet >= 100 {
                text.put(b'0' + octet / 100);
            }
            if octet >= 10 {
                text.put(b'0' + octet / 10 % 10);
            }
            text.put(b'0' + octet % 10);
        }
        text
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        let text = self.text.get(..self.len).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// A `Debug` that reads: it is what a program prints whose `main` returns the error.
macro_rules! readable_debug {
    ($error:ty) => {
        impl std::fmt::Debug for $error {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let text =
                    $crate::text::with_causes(self.to_string(), std::error::Error::source(self));
                f.write_str(&text)
            }
        }
    };
}

pub(crate) use readable_debug;

/// Serialised as the text that it is shown as, and read from it.
macro_rules! as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

pub(crate) use as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_text_is_short_and_printable() {
        assert_eq!(shown("tcp://1.2.3.4:1"), "tcp://1.2.3.4:1");
        assert_eq!(shown("a\nb\u{1b}[2J\u{202e}é\u{7f}"), r"a\nb\u{1b}[2J\u{202e}\u{e9}\u{7f}");
        assert_eq!(shown(&"x".repeat(96)), "x".repeat(96));
        assert_eq!(shown(&"é".repeat(5000)), r"\u{e9}".repeat(96) + "...");
    }

    #[test]
    fn an_ipv4_address_reads_as_the_standard_library_writes_it() {
        for octet in 0..=u8::MAX {
            for octets in [[octet, 0, 10, 255], [7, octet, 99, octet], [200, 100, 9, octet]] {
                let ip = Ipv4Addr::from(octets);
                assert_eq!(Ipv4Text::of(ip).as_str(), ip.to_string());
            }
        }
    }

    #[test]
    fn every_byte_is_judged() {
        for character in '\0'..='\u{ff}' {
            let expected = matches!(character, ' '..='~');
            assert_eq!(is_printable_and_not_blank(&format!("a{character}")), expected);
        }
        assert!(!is_printable_and_not_blank(""));
        assert!(!is_printable_and_not_blank("  "));
    }
}
