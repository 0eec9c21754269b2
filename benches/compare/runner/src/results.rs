//! All figures of a run.

use std::collections::BTreeMap;

use crate::{case::Case, run::Outcome, summary::Summary};

/// What one program did in one case, over all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    first: Vec<f64>,
    second: Vec<f64>,
    ratios: Vec<f64>,
    /// Why each round failed that did.
    pub(crate) failed: Vec<String>,
    /// The largest part of its messages that were sent and never received.
    pub(crate) lost: f64,
    pub(crate) cannot: Option<String>,
}

impl Cell {
    pub(crate) fn first(&self) -> Option<Summary> {
        Summary::of(&self.first)
    }

    pub(crate) fn second(&self) -> Option<Summary> {
        Summary::of(&self.second)
    }

    /// Of the first figure to the bare one of the same round.
    pub(crate) fn ratio(&self) -> Option<Summary> {
        Summary::of(&self.ratios)
    }
}

/// By case and program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    cells: BTreeMap<(String, &'static str), Cell>,
}

impl Results {
    pub(crate) fn cell(&self, case: &Case, program: &'static str) -> Option<&Cell> {
        self.cells.get(&(case.name.clone(), program))
    }

    /// Takes a figure of the bare pipe or hop.
    pub(crate) fn bare(&mut self, case: &Case, value: f64) {
        self.cells.entry((case.name.clone(), BARE)).or_default().first.push(value);
    }

    /// A run failed.
    pub(crate) fn fail(&mut self, case: &Case, program: &'static str, why: &str) {
        let cell = self.cells.entry((case.name.clone(), program)).or_default();
        cell.failed.push(why.lines().last().unwrap_or(why).to_owned());
    }

    /// Takes what came of a run; `bare` is the yardstick of the same round.
    pub(crate) fn add(
        &mut self,
        case: &Case,
        program: &'static str,
        outcome: &Outcome,
        bare: Option<f64>,
    ) -> Result<(), String> {
        let cell = self.cells.entry((case.name.clone(), program)).or_default();
        let line = match outcome {
            Outcome::Cannot(reason) => {
                cell.cannot = Some(reason.clone());
                return Ok(());
            }
            Outcome::Line(line) => line,
        };
        let (first, second) = case.kind.figures();
        let value = line[first].as_f64().ok_or_else(|| format!("no {first} in {line}"))?;
        if !value.is_finite() || value < 0.0 || (first == "mb_per_s" && value == 0.0) {
            return Err(format!("{first} is {value} in {line}"));
        }
        cell.first.push(value);
        let of = |key: &str| line[key].as_f64().unwrap_or_default();
        let lost = of("lost");
        if lost > 0.0 {
            cell.lost = cell.lost.max(lost / (lost + of("messages")));
        }
        if let Some(second) = second {
            match line[second].as_f64() {
                Some(value) => cell.second.push(value),
                // Not every system tells it.
                None if second.contains("cpu") => {}
                None => return Err(format!("no {second} in {line}")),
            }
        }
        cell.ratios.extend(bare.map(|bare| value / bare));
        Ok(())
    }
}

/// The column of the yardsticks.
pub(crate) const BARE: &str = "bare";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::case::cases;

    #[test]
    fn a_cell_has_the_median_of_the_rounds_and_of_their_ratios() {
        let cases = cases(false);
        let mut results = Results::default();
        for (mb, bare) in [(400.0, 1000.0), (600.0, 800.0), (500.0, 1000.0)] {
            results.bare(&cases[0], bare);
            let line = Outcome::Line(json!({ "mb_per_s": mb, "cpu_s_per_gb": 3.0 }));
            results.add(&cases[0], "tmp2p", &line, Some(bare)).unwrap();
        }
        let cell = results.cell(&cases[0], "tmp2p").unwrap();
        assert_eq!(cell.first().unwrap().median, 500.0);
        assert_eq!(cell.ratio().unwrap().median, 0.5);
        assert_eq!(cell.second().unwrap().median, 3.0);
        let line = json!({ "mb_per_s": 1.0, "cpu_s_per_gb": 3.0, "messages": 99, "lost": 1 });
        results.add(&cases[0], "third", &Outcome::Line(line), None).unwrap();
        let lost = ["tmp2p", "third"].map(|who| results.cell(&cases[0], who).unwrap().lost);
        assert_eq!(lost, [0.0, 0.01]);
        let line = Outcome::Line(json!({ "other": 1.0 }));
        assert!(results.add(&cases[0], "tmp2p", &line, None).is_err());
        results.add(&cases[0], "other", &Outcome::Cannot("no".to_owned()), None).unwrap();
        assert_eq!(results.cell(&cases[0], "other").unwrap().cannot.as_deref(), Some("no"));
    }
}
