//! Numbers as Go reads them from texts: `"5120000"`, `"5_120_000"`, `"0x4e2000"`.

/// Parses what Go's `strconv.ParseInt` takes where the base is told by the text (base 0), which is
/// how its configuration reader takes a number in quotes. As in Go, a leading 0 makes it octal.
pub(super) fn parse(text: &str) -> Result<i64, &'static str> {
    const SYNTAX: &str = "is no number; write digits, as in 5120000";

    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = |at: usize| unsigned.as_bytes().get(at).map(u8::to_ascii_lowercase);
    let (radix, is_prefixed) = match (lower(0), lower(1)) {
        (Some(b'0'), Some(b'b')) => (2, true),
        (Some(b'0'), Some(b'o')) => (8, true),
        (Some(b'0'), Some(b'x')) => (16, true),
        (Some(b'0'), _) => (8, false),
        _ => (10, false),
    };
    let digits = unsigned.get(if is_prefixed { 2.. } else { 0.. }).unwrap_or_default();
    let mut number: i128 = 0;
    // An underscore stands between two digits, or behind the prefix.
    let mut may_pause = is_prefixed;
    let mut is_complete = false;
    for character in digits.chars() {
        if character == '_' {
            if !may_pause {
                return Err(SYNTAX);
            }
            (may_pause, is_complete) = (false, false);
            continue;
        }
        let digit = character.to_digit(radix).ok_or(SYNTAX)?;
        number = number.saturating_mul(radix.into()).saturating_add(digit.into());
        (may_pause, is_complete) = (true, true);
    }
    if !is_complete {
        return Err(SYNTAX);
    }
    i64::try_from(if is_negative { -number } else { number }).map_err(|_| "is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("00", 0),
            ("7", 7),
            ("+7", 7),
            ("-7", -7),
            ("010", 8),
            ("0o10", 8),
            ("0O10", 8),
            ("0x10", 16),
            ("0XfF", 255),
            ("-0x10", -16),
            ("0b101", 5),
            ("5_120_000", 5_120_000),
            ("0x_1_0", 16),
            ("0_7", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        let long = "9".repeat(200);
        for text in [
            "",
            "-",
            "+",
            "--7",
            "+-7",
            " 7",
            "7 ",
            "7.0",
            "7e3",
            "1,000",
            "08",
            "0x",
            "0b2",
            "0o8",
            "0x_",
            "_7",
            "7_",
            "7__0",
            "0_x7",
            "x7",
            "\u{663}",
            "9223372036854775808",
            "-9223372036854775809",
            &long,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r"[-+]?(0[box])?[0-9a-g_é]{0,80}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_number_survives(number: i64) {
            proptest::prop_assert_eq!(parse(&number.to_string()), Ok(number));
        }
    }
}
