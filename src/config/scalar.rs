//! Single values of `config.toml`, as Go's reader takes them (`spf13/viper` with
//! `mitchellh/mapstructure`, weakly typed): a number or a boolean may stand in quotes.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

use super::{duration, number};
use crate::text::shown;

/// A value of whatever type the file has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// On or off: what `strconv.ParseBool` takes; a number is on unless it is 0, an empty text off.
    pub(super) fn switch(&self) -> Result<bool, String> {
        match self {
            Self::Boolean(is_on) => Ok(*is_on),
            Self::Integer(number) => Ok(*number != 0),
            Self::Float(number) => Ok(*number != 0.0),
            Self::Text(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                text => Err(format!("\"{}\" is no boolean; write true or false", shown(text))),
            },
        }
    }

    /// A whole number. An empty text is 0, what stands behind the point of a fraction is dropped.
    pub(super) fn number(&self) -> Result<i64, String> {
        // The first number beyond those of 64 bits.
        const END: f64 = 9_223_372_036_854_775_808.0;
        match self {
            Self::Boolean(is_on) => Ok((*is_on).into()),
            Self::Integer(number) => Ok(*number),
            Self::Float(number) if (-END..END).contains(number) => Ok(*number as i64),
            Self::Float(number) => Err(format!("{number} is out of range")),
            Self::Text(text) if text.is_empty() => Ok(0),
            Self::Text(text) => {
                number::parse(text).map_err(|why| format!("\"{}\" {why}", shown(text)))
            }
        }
    }

    /// A time, not below 0. A text has units, and what is no text is nanoseconds.
    pub(super) fn time(&self) -> Result<Duration, String> {
        if let Self::Text(text) = self {
            return duration::parse(text).map_err(|why| format!("\"{}\" {why}", shown(text)));
        }
        let nanos = self.number()?;
        let nanos =
            u64::try_from(nanos).map_err(|_| format!("{nanos} is negative; write 0s or more"));
        nanos.map(Duration::from_nanos)
    }

    /// A text; a number is its digits, and a boolean 1 or 0.
    pub(super) fn text(self) -> String {
        match self {
            Self::Boolean(is_on) => u8::from(is_on).to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyScalar)
    }
}

struct AnyScalar;

impl Visitor<'_> for AnyScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "one text, number or boolean; a list is one text with commas between its entries",
        )
    }

    fn visit_bool<E: Error>(self, is_on: bool) -> Result<Scalar, E> {
        Ok(Scalar::Boolean(is_on))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
        let number = i64::try_from(number);
        number.map(Scalar::Integer).map_err(|_| E::custom("the number is out of range"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.to_owned())
    }

    /// Go's verdicts, of `viper.Unmarshal` into the reference's configuration.
    #[test]
    fn switches_are_read_as_go_reads_them() {
        for on in ["1", "t", "T", "true", "TRUE", "True"] {
            assert_eq!(text(on).switch(), Ok(true), "{on}");
        }
        for off in ["", "0", "f", "F", "false", "FALSE", "False"] {
            assert_eq!(text(off).switch(), Ok(false), "{off:?}");
        }
        for bad in ["yes", "no", "on", "off", "tRUE", "2", "y", " true", "true "] {
            assert!(text(bad).switch().unwrap_err().contains("true or false"), "{bad}");
        }
        for (number, is_on) in [(0, false), (1, true), (2, true), (-1, true)] {
            assert_eq!(Scalar::Integer(number).switch(), Ok(is_on));
        }
        assert_eq!(Scalar::Float(0.0).switch(), Ok(false));
        assert_eq!(Scalar::Float(0.5).switch(), Ok(true));
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(text("").number(), Ok(0));
        assert_eq!(text("0x10").number(), Ok(16));
        assert_eq!(Scalar::Boolean(true).number(), Ok(1));
        for (float, number) in
            [(5_120_000.0, 5_120_000), (1.9, 1), (-1.9, -1), (1e18, 10_i64.pow(18))]
        {
            assert_eq!(Scalar::Float(float).number(), Ok(number));
        }
        for float in [f64::NAN, f64::INFINITY, 1e19, -1e19] {
            assert!(Scalar::Float(float).number().is_err(), "{float}");
        }
        let error = text("5120000.0").number().unwrap_err();
        assert_eq!(error, "\"5120000.0\" is no number; write digits, as in 5120000");
    }

    #[test]
    fn times_without_a_unit_are_nanoseconds_unless_they_are_in_quotes() {
        assert_eq!(Scalar::Integer(100).time(), Ok(Duration::from_nanos(100)));
        assert_eq!(text("100ms").time(), Ok(Duration::from_millis(100)));
        assert!(text("100").time().is_err());
        assert!(text("").time().is_err());
        assert!(Scalar::Integer(-1).time().unwrap_err().contains("negative"));
    }

    #[test]
    fn texts_without_quotes_are_read_as_go_reads_them() {
        for (scalar, expected) in [
            (Scalar::Integer(7), "7"),
            (Scalar::Boolean(true), "1"),
            (Scalar::Boolean(false), "0"),
            (Scalar::Float(1.5), "1.5"),
        ] {
            assert_eq!(scalar.text(), expected);
        }
    }
}
