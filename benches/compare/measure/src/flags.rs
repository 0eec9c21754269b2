//! The command line, in the form that Go's programs have.

use std::{collections::BTreeMap, str::FromStr};

use crate::Outcome;

/// `-name value` pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags(BTreeMap<String, String>);

impl Flags {
    pub(crate) fn parse(args: &[String]) -> Outcome<Self> {
        let mut flags = BTreeMap::new();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix('-').ok_or_else(|| format!("unexpected argument {arg}"))?;
            let value = args.next().ok_or_else(|| format!("-{name} wants a value"))?;
            flags.insert(name.to_owned(), value.clone());
        }
        Ok(Self(flags))
    }

    /// Takes a flag's value, or its default.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str, default: T) -> Outcome<T> {
        match self.0.remove(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| format!("-{name} {value}?").into()),
        }
    }

    /// Whether nothing is left.
    pub(crate) fn finish(self) -> Outcome<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("unknown flag -{name}").into()),
        }
    }
}

/// A duration as Go writes it: `20ms`, `0s`.
pub(crate) fn duration(text: &str) -> Outcome<std::time::Duration> {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len()));
    let seconds: f64 = number.parse().map_err(|_| format!("{text} is no duration"))?;
    let unit = match unit {
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        _ => return Err(format!("{text} is no duration").into()),
    };
    Ok(std::time::Duration::from_secs_f64(seconds * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_once_and_none_is_left_over() {
        let args = ["-size", "100", "-rate", "default"].map(str::to_owned);
        let mut flags = Flags::parse(&args).unwrap();
        assert_eq!(flags.take("size", 1).unwrap(), 100);
        assert_eq!(flags.take("size", 1).unwrap(), 1);
        assert!(flags.clone().finish().is_err());
        assert_eq!(flags.take("rate", String::new()).unwrap(), "default");
        flags.finish().unwrap();
        assert!(Flags::parse(&args[..3]).is_err());
        assert!(Flags::parse(&args[1..]).is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ms").unwrap().as_micros(), 250_000);
        assert_eq!(duration("0s").unwrap().as_micros(), 0);
        assert!(duration("20").is_err());
        assert!(duration("ms").is_err());
    }
}
