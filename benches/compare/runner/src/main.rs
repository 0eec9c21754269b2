//! Runs all comparison programs, ours and the bare pipe in turns; writes a table and a chart.

mod args;
mod case;
mod chart;
mod program;
mod readme;
mod results;
mod run;
mod summary;
mod table;

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::{
    args::Args,
    case::{Case, cases},
    program::{Program, build_all},
    results::{BARE, Results},
    run::Outcome,
};

fn main() -> ExitCode {
    let args = match Args::parse(env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut cases = cases(args.quick);
    cases.retain(|case| args.wants(&case.name));
    if args.list {
        cases.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    match compare(&args, &cases) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went well.
fn compare(args: &Args, cases: &[Case]) -> Result<bool, String> {
    // benches/compare/runner
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(3).ok_or("no folder above")?;
    if cases.is_empty() {
        return Err("no case matches; --list prints them all".to_owned());
    }
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let target = target.join("compare");
    let programs = build_all(root, &target, |what| eprintln!("{what}"));
    let mut is_well = true;
    for program in &programs {
        if let Err(why) = &program.path {
            is_well = false;
            eprintln!("without {}: {why}", program.title);
        }
    }
    let log = target.join("results.jsonl");
    let results = measure(args, cases, &programs, &log, &mut is_well)?;
    let table = format!("{}\n{}", head(args), table::table(cases, &programs, &results));
    println!("{table}");
    eprintln!("all lines: {}", log.display());
    if args.writes() && programs.iter().all(|program| program.path.is_ok()) {
        let (readme, chart) =
            (root.join("benches/README.md"), root.join("benches/compare/chart.svg"));
        let text = fs::read_to_string(&readme).map_err(|error| error.to_string())?;
        let text = readme::replace(&text, &format!("![chart](compare/chart.svg)\n\n{table}"))?;
        fs::write(&chart, chart::chart(cases, &programs, &results))
            .and_then(|()| fs::write(&readme, text))
            .map_err(|error| error.to_string())?;
        eprintln!("written: {}, {}", readme.display(), chart.display());
    } else {
        let chart = target.join("chart.svg");
        fs::write(&chart, chart::chart(cases, &programs, &results))
            .map_err(|error| error.to_string())?;
        eprintln!("not written to benches/README.md; the chart: {}", chart.display());
    }
    Ok(is_well)
}

/// What was measured, and where.
fn head(args: &Args) -> String {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output().ok();
        let said = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        said.unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!(
        "{}, {cpus} × {model}, {}, {}. Medians of {} rounds, smallest–largest behind them; × is the \
         median of the quotients by the bare pipe or hop of the same round.\n",
        said("date", &["-u", "+%F"]),
        said("rustc", &["--version"]),
        said("go", &["version"]),
        args.rounds(),
    )
}

/// Each round has all cases, each case all programs, beginning with another one each time.
fn measure(
    args: &Args,
    cases: &[Case],
    programs: &[Program],
    log: &PathBuf,
    is_well: &mut bool,
) -> Result<Results, String> {
    let built: Vec<&Program> = programs.iter().filter(|program| program.path.is_ok()).collect();
    let ours = programs.iter().find(|program| program.is_ours).ok_or("ours is not among them")?;
    let mut log = File::create(log).map_err(|error| error.to_string())?;
    let total = args.rounds() * cases.len() * built.len();
    let progress = ProgressBar::new(total as u64);
    let style = "{elapsed_precise} {wide_bar} {pos}/{len}, {eta} left\n{msg}";
    progress.set_style(ProgressStyle::with_template(style).map_err(|error| error.to_string())?);
    progress.enable_steady_tick(Duration::from_secs(1));
    let mut results = Results::default();
    for round in 0..args.rounds() {
        for (at, case) in cases.iter().enumerate() {
            let mut failures = Vec::new();
            let mut failed = |who: &'static str, why: &str| {
                *is_well = false;
                progress.suspend(|| eprintln!("{}, {who}: {why}", case.name));
                failures.push((who, why.to_owned()));
            };
            let bare = |failed: &mut dyn FnMut(&'static str, &str)| {
                let name = case.kind.bare()?;
                run::bare(ours, name, args.quick).map_err(|why| failed(BARE, &why)).ok()
            };
            // Nobody sees the bar where there is no terminal.
            if progress.is_hidden() {
                eprintln!("round {}: {}", round + 1, case.name);
            }
            let before = bare(&mut failed);
            let mut outcomes = Vec::new();
            for n in 0..built.len() {
                let program = built[(round + at + n) % built.len()];
                progress.set_message(format!(
                    "round {}: {}, {}",
                    round + 1,
                    case.name,
                    program.title
                ));
                match run::run(program, case, args.quick) {
                    Ok(outcome) => outcomes.push((program.title, outcome)),
                    Err(why) => failed(program.title, &why),
                }
                progress.inc(1);
            }
            let bares: Vec<f64> = before.into_iter().chain(bare(&mut failed)).collect();
            let bare = (!bares.is_empty()).then(|| bares.iter().sum::<f64>() / bares.len() as f64);
            if let Some(bare) = bare {
                results.bare(case, bare);
            }
            for (title, outcome) in outcomes {
                let line = match &outcome {
                    Outcome::Line(line) => line.clone(),
                    Outcome::Cannot(reason) => json!({ "cannot": reason }),
                };
                let line = json!({ "round": round + 1, "case": case.name, "who": title, "bare": bare, "line": line });
                writeln!(log, "{line}").map_err(|error| error.to_string())?;
                results.add(case, title, &outcome, bare).unwrap_or_else(|why| failed(title, &why));
            }
            failures.iter().for_each(|(who, why)| results.fail(case, who, why));
        }
    }
    progress.finish_and_clear();
    Ok(results)
}
