//! Durations as Go writes them: `"1m30s"`, `"100ms"`, `"0"`.

use std::time::Duration;

/// Longest text read. The longest that Go writes, `"2562047h47m16.854775807s"`, has 24 characters.
const MAX_LENGTH: usize = 64;

/// Parses what Go's `time.ParseDuration` takes, up to its largest duration (292 years), but not
/// below zero.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    const SYNTAX: &str = "is no duration; write a number and a unit, as in 100ms, 20s or 1m30s";

    let unsigned = match text.strip_prefix('-') {
        Some(rest) => {
            return Err(if parse(rest).is_ok() { "is negative; write 0s or more" } else { SYNTAX });
        }
        None => text.strip_prefix('+').unwrap_or(text),
    };
    if unsigned == "0" {
        return Ok(Duration::ZERO);
    }
    if unsigned.is_empty() || unsigned.len() > MAX_LENGTH {
        return Err(SYNTAX);
    }
    let mut total: u128 = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let (whole, behind) = split_digits(rest);
        let (fraction, behind) = behind.strip_prefix('.').map_or(("", behind), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(SYNTAX);
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(end);
        let unit = nanos_per(unit).ok_or(SYNTAX)?;
        // At most 64 digits were read, of which no more than 38 fit: the rest saturates.
        let whole = whole
            .bytes()
            .fold(0_u128, |n, digit| n.saturating_mul(10).saturating_add(u128::from(digit - b'0')));
        total = total.saturating_add(whole.saturating_mul(unit));
        let mut place = unit;
        for digit in fraction.bytes() {
            // Truncated digit by digit at the nanosecond; a unit is 10^n ns, or 60 or 3600 s.
            total = total.saturating_add(place * u128::from(digit - b'0') / 10);
            place /= 10;
        }
        rest = next;
    }
    match i64::try_from(total) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err("is longer than a Go duration can be (292 years)"),
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn nanos_per(unit: &str) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3600 * SECOND,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("100ms", 100_000_000),
            ("20s", 20_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1m0s", 60_000_000_000),
            ("168h0m0s", 168 * 3_600_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1s1s", 2_000_000_000),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s", 3_000),
            ("7ns", 7),
            ("1.000000001s", 1_000_000_001),
            ("0.0000000009s", 0),
            ("0.1m", 6_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
            ("2562047h47m16.854775807s", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses_and_the_negative() {
        let long = "1".repeat(65) + "s";
        let many = "9".repeat(60) + "h";
        for text in [
            "",
            "1",
            "-",
            "+",
            "s",
            ".s",
            ".",
            "1 s",
            " 1s",
            "1s ",
            "1d",
            "1S",
            "1..s",
            "1s.",
            "--1s",
            "-+1s",
            "-1s",
            "-5ms",
            "9223372036854775808ns",
            "2562048h",
            "\u{663}s",
            "1é",
            &long,
            &many,
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!(parse("-1s"), Err("is negative; write 0s or more"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in r"[-+]?([0-9.]{0,40}(ns|us|ms|s|m|h|é)?){0,4}") {
            let _ = parse(&text);
        }
    }
}
