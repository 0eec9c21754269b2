//! One line of results, as JSON or as a row of the table.

use std::{
    collections::BTreeMap,
    io::{Write, stdout},
    process::ExitCode,
};

use serde::Serialize;

use super::{Args, Outcome, Summary};

/// The result of one case.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    case: String,
    value: Summary,
    unit: &'static str,
    ratio: Option<(Summary, String)>,
    cpu_s_per_gb: Option<Summary>,
    cpu_ratio: Option<Summary>,
    goals: Vec<Goal>,
    also: BTreeMap<&'static str, f64>,
}

/// What a figure should be. Nothing fails if it is not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    of: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    /// Not known of a quick run, whose figures mean nothing.
    met: Option<bool>,
}

impl Goal {
    /// `value` should be so much or more.
    pub(crate) fn at_least(of: &'static str, bound: f64, value: f64) -> Self {
        Self { of, at_least: Some(bound), at_most: None, met: Some(value >= bound) }
    }

    /// `value` should be so much or less.
    pub(crate) fn at_most(of: &'static str, bound: f64, value: f64) -> Self {
        Self { of, at_least: None, at_most: Some(bound), met: Some(value <= bound) }
    }
}

impl Line {
    /// A case's figure: the one that `value` of the JSON object is.
    pub(crate) fn new(case: impl Into<String>, value: Summary, unit: &'static str) -> Self {
        Self {
            case: case.into(),
            value,
            unit,
            ratio: None,
            cpu_s_per_gb: None,
            cpu_ratio: None,
            goals: Vec::new(),
            also: BTreeMap::new(),
        }
    }

    /// The figure as a part or multiple of another one.
    pub(crate) fn ratio(mut self, ratio: Summary, to: impl Into<String>) -> Self {
        self.ratio = Some((ratio, to.into()));
        self
    }

    /// Processor time per GB of payload.
    pub(crate) fn cpu(mut self, seconds_per_gb: Option<Summary>) -> Self {
        self.cpu_s_per_gb = seconds_per_gb;
        self
    }

    /// The same as a multiple of what the ratio is to.
    pub(crate) fn cpu_ratio(mut self, ratio: Option<Summary>) -> Self {
        self.cpu_ratio = ratio;
        self
    }

    /// What the figures should be.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    /// Another figure of the same case; its name says the unit.
    pub(crate) fn also(mut self, name: &'static str, value: f64) -> Self {
        self.also.insert(name, rounded(value));
        self
    }

    /// The ratio's median.
    ///
    /// # Panics
    /// Without a ratio.
    pub(crate) fn ratio_median(&self) -> f64 {
        self.ratio.as_ref().expect("this line has a ratio").0.median
    }

    /// The median of the processor time's ratio.
    pub(crate) fn cpu_ratio_median(&self) -> Option<f64> {
        self.cpu_ratio.map(|ratio| ratio.median)
    }

    fn to_json(&self) -> String {
        let json = Json {
            case: &self.case,
            value: rounded(self.value.median),
            unit: self.unit,
            ratio: self.ratio.as_ref().map(|(ratio, _)| rounded(ratio.median)),
            ratio_to: self.ratio.as_ref().map(|(_, to)| to.as_str()),
            runs: self.value.runs,
            min: rounded(self.value.min),
            max: rounded(self.value.max),
            cpu_s_per_gb: self.cpu_s_per_gb.map(|cpu| rounded(cpu.median)),
            cpu_ratio: self.cpu_ratio.map(|cpu| rounded(cpu.median)),
            goals: &self.goals,
            also: &self.also,
        };
        serde_json::to_string(&json).expect("numbers and texts are always JSON")
    }

    fn to_row(&self) -> String {
        let ratio = self
            .ratio
            .as_ref()
            .map_or_else(String::new, |(ratio, to)| format!("{} of {to}", shown(ratio)));
        let cpu = self.cpu_s_per_gb.map_or_else(String::new, |cpu| {
            let ratio = self.cpu_ratio.map(|ratio| format!(" = {}x", short(ratio.median)));
            format!("{}{}", short(cpu.median), ratio.unwrap_or_default())
        });
        let value = format!("{} {}", shown(&self.value), self.unit);
        let mut row = row(&self.case, &value, &ratio, &cpu, &goals(&self.goals));
        if !self.also.is_empty() {
            let also: Vec<_> =
                self.also.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
            row.push_str(&format!("\n    {}", also.join(", ")));
        }
        row
    }
}

#[derive(Serialize)]
struct Json<'a> {
    case: &'a str,
    value: f64,
    unit: &'a str,
    ratio: Option<f64>,
    ratio_to: Option<&'a str>,
    runs: usize,
    min: f64,
    max: f64,
    cpu_s_per_gb: Option<f64>,
    cpu_ratio: Option<f64>,
    goals: &'a [Goal],
    #[serde(flatten)]
    also: &'a BTreeMap<&'static str, f64>,
}

/// Prints results as they come.
#[derive(Debug)]
pub(crate) struct Reporter {
    json: bool,
    quick: bool,
    has_header: bool,
    has_failed: bool,
}

impl Reporter {
    /// As the caller wants it.
    pub(crate) fn new(args: &Args) -> Self {
        Self { json: args.json, quick: args.quick, has_header: false, has_failed: false }
    }

    /// Prints a result.
    pub(crate) fn line(&mut self, line: &Line) {
        let mut line = line.clone();
        if self.quick {
            line.goals.iter_mut().for_each(|goal| goal.met = None);
        }
        if self.json {
            return say(&line.to_json());
        }
        if !self.has_header {
            self.has_header = true;
            say(&row("case", "median (min–max)", "ratio", "CPU s/GB", "goal"));
        }
        say(&line.to_row());
    }

    /// Prints the result, or that there is none; the bench goes on and ends with code 1.
    pub(crate) fn outcome(&mut self, case: &str, outcome: Outcome<Line>) {
        match outcome {
            Ok(line) => self.line(&line),
            Err(error) => {
                self.has_failed = true;
                eprintln!("{case}: failed: {error}");
            }
        }
    }

    /// Says that a case cannot be measured here. Not a failure.
    pub(crate) fn skip(&self, case: &str, why: &str) {
        eprintln!("{case}: skipped: {why}");
    }

    /// The process's exit code.
    pub(crate) fn finish(self) -> ExitCode {
        ExitCode::from(u8::from(self.has_failed))
    }
}

fn say(line: &str) {
    // Whoever closed the pipe has seen enough.
    let _ = writeln!(stdout().lock(), "{line}");
}

fn row(case: &str, value: &str, ratio: &str, cpu: &str, goals: &str) -> String {
    let row = format!("{case:<52} {value:<32} {ratio:<34} {cpu:<16} {goals}");
    row.trim_end().to_owned()
}

fn goals(goals: &[Goal]) -> String {
    let goal = |goal: &Goal| {
        let (sign, bound) = match (goal.at_least, goal.at_most) {
            (Some(bound), _) => ('≥', bound),
            (None, bound) => ('≤', bound.unwrap_or_default()),
        };
        let met = match goal.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "?",
        };
        format!("{} {sign} {} {met}", goal.of, short(bound))
    };
    goals.iter().map(goal).collect::<Vec<_>>().join(", ")
}

fn shown(summary: &Summary) -> String {
    if summary.runs == 1 {
        return short(summary.median);
    }
    format!("{} ({}–{})", short(summary.median), short(summary.min), short(summary.max))
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        x if x >= 99.95 => format!("{value:.0}"),
        x if x >= 9.995 || x == 0.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        x if x >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.2e}"),
    }
}

/// Six digits are more than any of this is good for.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powi(5 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}
