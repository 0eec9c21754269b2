//! The comparison program built on commonware-p2p, its authenticated network among peers whose
//! addresses are known. See `../README.md`.

mod node;

use std::{env, process::ExitCode};

use commonware_runtime::{
    Runner as _,
    tokio::{Config, Runner},
};

use crate::node::Commonware;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    Runner::new(Config::new().with_tcp_nodelay(Some(true)))
        .start(|context| async move { measure::run(Commonware::new(context), &args).await })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_measurement_has_a_figure_or_says_why_not() {
        Runner::new(Config::new()).start(|context| async move {
            let stack = Arc::new(Commonware::new(context));
            for (args, figure) in measure::EACH {
                let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
                let line = measure::measure(stack.clone(), &args[0], &args[1..]).await;
                let line = line.unwrap_or_else(|error| panic!("{args:?}: {error}")).to_string();
                assert!(line.contains(&format!("\"{figure}\":")), "{args:?}: {line}");
            }
        });
    }
}
