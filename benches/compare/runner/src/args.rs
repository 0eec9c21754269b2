//! The command line.

const USAGE: &str = "usage: benches/compare/run [--quick] [--rounds N] [--dry] [FILTER…]

  --quick     each program runs few cases for a moment: shows that everything works; writes nothing
  --rounds N  rounds, default 5 (quick: 1)
  --dry       leaves benches/README.md and the chart as they are
  FILTER      part of a case's name: drain/, size=65536, mixed
  --list      prints the names of the cases";

/// What the caller wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) quick: bool,
    pub(crate) dry: bool,
    pub(crate) list: bool,
    rounds: Option<usize>,
    filters: Vec<String>,
}

impl Args {
    /// The usage, or what is wrong, is the error.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => parsed.quick = true,
                "--dry" => parsed.dry = true,
                "--list" => parsed.list = true,
                "--rounds" => match args.next().and_then(|rounds| rounds.parse().ok()) {
                    Some(rounds) if rounds > 0 => parsed.rounds = Some(rounds),
                    _ => return Err(format!("--rounds wants a number above 0\n\n{USAGE}")),
                },
                "-h" | "--help" => return Err(USAGE.to_owned()),
                option if option.starts_with('-') => {
                    return Err(format!("unknown option {option}\n\n{USAGE}"));
                }
                filter => parsed.filters.push(filter.to_owned()),
            }
        }
        Ok(parsed)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    pub(crate) fn wants(&self, case: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| case.contains(filter.as_str()))
    }

    /// Only a whole run may take the place of the last one.
    pub(crate) fn writes(&self) -> bool {
        !self.quick && !self.dry && self.filters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Args, String> {
        Args::parse(args.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_filter_is_part_of_a_name() {
        let args = parse("drain/ --rounds 2 rtt").unwrap();
        assert_eq!(args.rounds(), 2);
        assert!(
            args.wants("drain/size=1024") && args.wants("rtt/size=100") && !args.wants("mixed")
        );
        assert!(parse("").unwrap().wants("mixed"));
    }

    #[test]
    fn only_a_whole_run_is_written() {
        assert!(parse("").unwrap().writes() && parse("--rounds 7").unwrap().writes());
        for args in ["--quick", "--dry", "drain/"] {
            assert!(!parse(args).unwrap().writes(), "{args}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for args in ["--rounds", "--rounds 0", "--rounds many", "--fast"] {
            assert!(parse(args).is_err(), "{args}");
        }
    }
}
