//! Text that somebody else wrote, made fit to be looked at.

use std::error::Error;

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
    fn every_byte_is_judged() {
        for character in '\0'..='\u{ff}' {
            let expected = matches!(character, ' '..='~');
            assert_eq!(is_printable_and_not_blank(&format!("a{character}")), expected);
        }
        assert!(!is_printable_and_not_blank(""));
        assert!(!is_printable_and_not_blank("  "));
    }
}
