//! The table, as Markdown.

use crate::{
    case::{Case, Kind},
    program::Program,
    results::{BARE, Cell, Results},
    summary::{Summary, short},
};

/// One part for each kind, and below it what a program cannot do.
pub(crate) fn table(cases: &[Case], programs: &[Program], results: &Results) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let cases: Vec<&Case> = cases.iter().filter(|case| case.kind == kind).collect();
        if !cases.is_empty() {
            text.push_str(&part(kind, &cases, programs, results));
        }
    }
    text
}

fn part(kind: Kind, cases: &[&Case], programs: &[Program], results: &Results) -> String {
    let mut text = format!("### {}\n\n|", kind.title());
    let mut columns: Vec<&'static str> = programs.iter().map(|program| program.title).collect();
    if kind.bare().is_some() {
        columns.push(BARE);
    }
    for column in &columns {
        text.push_str(&format!(
            " | {}",
            if *column == BARE { kind.bare().unwrap_or(BARE) } else { column }
        ));
    }
    text.push_str(&format!(" |\n|---|{}\n", "---|".repeat(columns.len())));
    let mut reasons: Vec<(&str, String)> = Vec::new();
    for case in cases {
        text.push_str(&format!("| `{}`", case.name));
        for column in &columns {
            let cell = results.cell(case, column);
            let shown = match cell {
                Some(cell) if cell.cannot.is_some() => {
                    let reason = (*column, cell.cannot.clone().unwrap_or_default());
                    let at =
                        reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                            reasons.push(reason);
                            reasons.len() - 1
                        });
                    format!("cannot ({})", at + 1)
                }
                Some(cell) => match cell.failed.last() {
                    None => figures(cell),
                    Some(why) => {
                        let why = format!("failed in {} of the rounds: {why}", cell.failed.len());
                        reasons.push((*column, why));
                        format!("{} ({})", figures(cell), reasons.len())
                    }
                },
                None => "–".to_owned(),
            };
            text.push_str(&format!(" | {shown}"));
        }
        text.push_str(" |\n");
    }
    text.push('\n');
    for (n, (program, reason)) in reasons.iter().enumerate() {
        text.push_str(&format!("({}) {program}: {reason}.  \n", n + 1));
    }
    if !reasons.is_empty() {
        text.push('\n');
    }
    text
}

fn figures(cell: &Cell) -> String {
    let Some(first) = cell.first() else {
        return "failed".to_owned();
    };
    let mut shown = spread(&first);
    if let Some(second) = cell.second() {
        shown.push_str(&format!(" ({})", short(second.median)));
    }
    if let Some(ratio) = cell.ratio() {
        shown.push_str(&format!(" = {}×", short(ratio.median)));
    }
    if cell.lost > 0.0 {
        shown.push_str(&format!(", up to {} % lost", short(cell.lost * 100.0)));
    }
    shown
}

/// The median, and where they lie.
fn spread(summary: &Summary) -> String {
    let Summary { median, min, max } = *summary;
    let median = short(median);
    if min == max {
        format!("**{median}**")
    } else {
        format!("**{median}** {}–{}", short(min), short(max))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{case::cases, run::Outcome};

    #[test]
    fn a_row_has_medians_spreads_ratios_and_reasons() {
        let cases = cases(false);
        let program =
            |title| Program { title, is_ours: false, flags: &[], path: Err(String::new()) };
        let programs = [program("ours"), program("theirs"), program("absent")];
        let mut results = Results::default();
        for mb in [400.0, 500.0] {
            let line = Outcome::Line(json!({ "mb_per_s": mb, "cpu_s_per_gb": 3.0 }));
            results.add(&cases[0], "ours", &line, Some(1000.0)).unwrap();
            results.bare(&cases[0], 1000.0);
        }
        results.add(&cases[0], "theirs", &Outcome::Cannot("no packets".to_owned()), None).unwrap();
        let text = table(&cases[..1], &programs, &results);
        let row = "| `drain/size=1024/senders=1/packet=1024` | **450** 400–500 (3.00) = 0.450× | cannot (1) | – | **1000** |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| ours | theirs | absent | pipe |"), "{text}");
        assert!(text.contains("(1) theirs: no packets."), "{text}");
    }
}
