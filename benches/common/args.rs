//! The command line that every bench has.

use std::process::exit;

/// How a bench was called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Args {
    /// Short runs that only show that each case works.
    pub(crate) quick: bool,
    /// One JSON object a line instead of the table.
    pub(crate) json: bool,
    runs: Option<usize>,
    filters: Vec<String>,
}

impl Args {
    /// Parses the process's arguments; prints the usage and ends the process where that is asked
    /// for or nothing else makes sense.
    pub(crate) fn parse(bench: &str) -> Self {
        let mut parsed = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = true,
                // Cargo says so to every bench.
                "--bench" => {}
                "--runs" => match args.next().and_then(|runs| runs.parse().ok()) {
                    Some(runs) if runs > 0 => parsed.runs = Some(runs),
                    _ => Self::refuse(bench, "--runs wants a number above 0"),
                },
                "-h" | "--help" => {
                    println!("{}", usage(bench));
                    exit(0);
                }
                option if option.starts_with('-') => {
                    Self::refuse(bench, &format!("unknown option {option}"))
                }
                filter => parsed.filters.push(filter.to_owned()),
            }
        }
        parsed
    }

    /// How often each case is measured: 3 times, or once in a quick run, unless the caller says.
    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(self.pick(3, 1))
    }

    /// One value for real runs, another for quick ones.
    pub(crate) fn pick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Which of these cases are wanted. A filter is part of a name; if it is the whole name of a
    /// case it means only that one.
    pub(crate) fn select<'a>(&self, names: &[&'a str]) -> Vec<&'a str> {
        let is_wanted = |name: &str| {
            self.filters.is_empty()
                || self.filters.iter().any(|filter| {
                    if names.contains(&filter.as_str()) {
                        name == filter
                    } else {
                        name.contains(filter.as_str())
                    }
                })
        };
        names.iter().copied().filter(|name| is_wanted(name)).collect()
    }

    /// Ends the process because nothing matches.
    pub(crate) fn nothing_matches(&self, bench: &str, names: &[&str]) -> ! {
        let names = names.join("\n  ");
        Self::refuse(bench, &format!("no case matches {:?}; there are\n  {names}", self.filters))
    }

    fn refuse(bench: &str, why: &str) -> ! {
        eprintln!("{why}\n\n{}", usage(bench));
        exit(2);
    }
}

fn usage(bench: &str) -> String {
    format!(
        "usage: cargo bench --bench {bench} -- [--quick] [--json] [--runs N] [FILTER…]\n\
         \n  --quick    one short run each: shows that everything works, says nothing about speed\
         \n  --json     one JSON object a line\
         \n  --runs N   runs of each case, default 3\
         \n  FILTER     part of a case's name, or all of it"
    )
}
