//! The chart: one panel for each of some cases, a bar for each program.

use crate::{
    case::{Better, Case},
    program::Program,
    results::{Cell, Results},
    summary::{Summary, short},
};

/// What stands in the chart, and over its panel.
const PANELS: [(&str, &str); 8] = [
    ("drain/size=65536/senders=1/packet=1024", "One way, 64 KiB messages, MB/s"),
    ("drain/size=1024/senders=8/packet=1024", "One way, 1 KiB messages of 8 senders, MB/s"),
    ("broadcast/peers=7/size=65536", "64 KiB messages to 7 peers, MB/s in all"),
    ("rtt/size=100", "Round trip of 100 bytes, p50, µs"),
    ("mixed/rate=unlimited", "Small message beside bulk, p99, ms"),
    ("slow/delay=100", "The same, receiver of bulk takes 100 ms each, p99, ms"),
    ("handshakes/concurrent=16", "Inbound connection, listener's CPU, µs"),
    ("idle/peers=1000", "Idle peer, memory, KiB"),
];

const WIDTH: f64 = 920.0;
const COLUMNS: usize = 2;
const PANEL: f64 = WIDTH / COLUMNS as f64;
const LABELS: f64 = 160.0;
const ROW: f64 = 19.0;
const HEAD: f64 = 44.0;
const FIGURES: f64 = 84.0;

/// Colours that are changed where the reader's screen is dark.
const STYLE: &str = "
    text { font: 12px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600 }
    .quiet { fill: #57606a }
    .bar { fill: #8c959f }
    .ours { fill: #0969da }
    .spread { stroke: #24292f; stroke-width: 1.2 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .quiet { fill: #9198a1 }
      .bar { fill: #656c76 }
      .ours { fill: #4493f8 }
      .spread { stroke: #e6edf3 }
    }
";

/// The chart as SVG.
pub(crate) fn chart(cases: &[Case], programs: &[Program], results: &Results) -> String {
    let panels: Vec<(&Case, &str)> = PANELS
        .iter()
        .filter_map(|(name, title)| Some((cases.iter().find(|case| case.name == *name)?, *title)))
        .collect();
    let height = HEAD + programs.len() as f64 * ROW + 16.0;
    let rows = panels.len().div_ceil(COLUMNS) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" \
         aria-label=\"Comparison of peer-to-peer libraries\">\n  <style>{STYLE}  </style>\n",
        rows * height
    );
    for (n, (case, title)) in panels.iter().enumerate() {
        let (x, y) = ((n % COLUMNS) as f64 * PANEL, (n / COLUMNS) as f64 * height);
        svg.push_str(&panel(case, title, programs, results, x, y));
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(
    case: &Case,
    title: &str,
    programs: &[Program],
    results: &Results,
    x: f64,
    y: f64,
) -> String {
    let direction = match case.kind.better() {
        Better::Higher => "longer is better",
        Better::Lower => "shorter is better",
    };
    let mut svg = format!(
        "  <text class=\"title\" x=\"{}\" y=\"{}\">{title}</text>\n  <text class=\"quiet\" x=\"{}\" y=\"{}\">{direction}</text>\n",
        x + 8.0,
        y + 18.0,
        x + 8.0,
        y + 34.0,
    );
    let cells: Vec<Option<&Cell>> =
        programs.iter().map(|program| results.cell(case, program.title)).collect();
    let summaries: Vec<Option<Summary>> =
        cells.iter().map(|cell| cell.and_then(Cell::first)).collect();
    let most =
        summaries.iter().flatten().map(|summary| summary.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (PANEL - LABELS - FIGURES) / most;
    for (row, (program, summary)) in programs.iter().zip(&summaries).enumerate() {
        let top = y + HEAD + row as f64 * ROW;
        let (left, text) = (x + LABELS, top + 12.0);
        svg.push_str(&format!(
            "  <text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\n",
            left - 8.0,
            program.title
        ));
        let Some(Summary { median, min, max }) = *summary else {
            let why =
                if cells[row].is_some_and(|cell| cell.cannot.is_some()) { "cannot" } else { "–" };
            svg.push_str(&format!(
                "  <text class=\"quiet\" x=\"{left}\" y=\"{text}\">{why}</text>\n"
            ));
            continue;
        };
        let class = if program.is_ours { "ours" } else { "bar" };
        let length = |value: f64| (value * scale).max(0.0);
        svg.push_str(&format!(
            "  <rect class=\"{class}\" x=\"{left}\" y=\"{}\" width=\"{:.1}\" height=\"12\" rx=\"2\"/>\n",
            top + 2.0,
            length(median).max(1.0)
        ));
        svg.push_str(&format!(
            "  <line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{}\" y2=\"{}\"/>\n",
            left + length(min),
            left + length(max),
            top + 8.0,
            top + 8.0
        ));
        svg.push_str(&format!(
            "  <text class=\"quiet\" x=\"{:.1}\" y=\"{text}\">{}</text>\n",
            left + length(max) + 6.0,
            short(median)
        ));
    }
    svg
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{case::cases, run::Outcome};

    #[test]
    fn each_panel_is_a_case_and_has_all_programs() {
        let cases = cases(false);
        for (name, _) in PANELS {
            assert!(cases.iter().any(|case| case.name == name), "{name}");
        }
        let program =
            |title, is_ours| Program { title, is_ours, flags: &[], path: Err(String::new()) };
        let programs = [program("ours", true), program("theirs", false), program("third", false)];
        let drain = cases.iter().find(|case| case.name == PANELS[0].0).unwrap();
        let mut results = Results::default();
        let line = |mb: f64| Outcome::Line(json!({ "mb_per_s": mb }));
        results.add(drain, "ours", &line(400.0), None).unwrap();
        results.add(drain, "theirs", &line(100.0), None).unwrap();
        results.add(drain, "third", &Outcome::Cannot(String::new()), None).unwrap();
        let svg = chart(&cases, &programs, &results);
        assert!(svg.contains("class=\"ours\" x=\"160\"") && svg.contains(">cannot<"));
        assert!(svg.contains(">400<") && svg.contains("prefers-color-scheme: dark"));
        assert_eq!(svg.matches(">theirs<").count(), PANELS.len());
        // The longest bar fills its place, another is as much shorter as its figure is smaller.
        let full = PANEL - LABELS - FIGURES;
        assert!(
            svg.contains(&format!("width=\"{full:.1}\""))
                && svg.contains(&format!("width=\"{:.1}\"", full / 4.0))
        );
    }
}
