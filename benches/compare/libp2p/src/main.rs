//! The comparison program built on rust-libp2p: TCP, noise, yamux, a stream for each channel. See
//! `../README.md`.

mod node;
mod wire;

use std::{env, process::ExitCode, sync::Arc};

use measure::{Lacks, Outcome, Setup, Sink, Stack};

use crate::node::Libp2pNode;

/// rust-libp2p, with its writes buffered or not.
struct Libp2p {
    is_buffered: bool,
}

impl Stack for Libp2p {
    type Node = Libp2pNode;

    fn version(&self) -> String {
        format!("0.57.1{}", if self.is_buffered { " buffered" } else { "" })
    }

    fn lacks(&self) -> Lacks {
        Lacks {
            packets: "yamux cuts what is written into frames of its own: there are no packets whose size could be set",
            queues: "the queue before a stream is the application's own",
            rates: "it has no limits on the rate",
            throttle: "it has no flush throttle",
            note: "streams of a connection have no priorities",
        }
    }

    async fn node(self: &Arc<Self>, _: u64, setup: Setup, sink: Sink) -> Outcome<Libp2pNode> {
        Libp2pNode::start(self.is_buffered, setup, sink).await
    }
}

/// `compare-libp2p [--buffered] SUBCOMMAND …`
#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let is_buffered = args.first().is_some_and(|arg| arg == "--buffered");
    measure::run(Libp2p { is_buffered }, &args[usize::from(is_buffered)..]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn measured(is_buffered: bool, args: &str) -> String {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let stack = Arc::new(Libp2p { is_buffered });
        measure::measure(stack, &args[0], &args[1..]).await.unwrap().to_string()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_measurement_has_a_figure_or_says_why_not() {
        for is_buffered in [false, true] {
            for (args, figure) in measure::EACH {
                let line = measured(is_buffered, args).await;
                assert!(line.contains(&format!("\"{figure}\":")), "{args}: {line}");
            }
        }
    }
}
