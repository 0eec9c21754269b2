//! What a comparison program does whatever library it is built on: the subcommands and the JSON
//! lines of `../harness`, which does the same for Go. What they mean is told in `../README.md`.

mod connections;
mod flags;
mod mixed;
mod process;
mod rtt;
mod throughput;

use std::{future::Future, process::ExitCode, sync::Arc, time::Duration};

use serde_json::{Value, json};

pub use bytes::Bytes;
pub use flags::Flags;

/// What went wrong, for a human.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The channel of most measurements.
pub const BULK: usize = 0;

/// The one of small important messages.
pub const IMPORTANT: usize = 1;

/// Each measurement in short, and a field that its line must have: what every program tests itself with.
pub const EACH: [(&str, &str); 8] = [
    ("drain -seconds 0.1 -size 1024 -senders 4", "mb_per_s"),
    ("drain -seconds 0.1 -packet 4194304", "cannot"),
    ("broadcast -seconds 0.1 -peers 3", "mb_per_s"),
    ("rtt -seconds 0.1", "p50_us"),
    ("rtt -seconds 0.1 -throttle 0s", "cannot"),
    ("mixed -seconds 0.3", "p99_ms"),
    ("mixed -seconds 0.3 -delay 20ms", "held_kib"),
    ("mixed -seconds 0.3 -rate default", "cannot"),
];

/// A library that is measured.
pub trait Stack: Sized + Send + Sync + 'static {
    /// A running node.
    type Node: Node;

    /// The library's version, as each line has it.
    fn version(&self) -> String;

    /// Why something cannot be measured of it.
    fn lacks(&self) -> Lacks;

    /// Starts a node that listens on a free port of 127.0.0.1. Nodes of one measurement have
    /// different numbers; those that dial a listener in another process count from 1, it is 0.
    fn node(
        self: &Arc<Self>,
        number: u64,
        setup: Setup,
        sink: Sink,
    ) -> impl Future<Output = Outcome<Self::Node>> + Send;
}

/// What a node is to have.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many channels: [`BULK`], or that and [`IMPORTANT`].
    pub channels: usize,
    /// How many peers it may have.
    pub max_peers: usize,
    /// Bytes of the largest message.
    pub max_message: usize,
}

/// Told of each message; says what the receiver does next.
pub type Sink = Arc<dyn Fn(usize, &[u8]) -> Then + Send + Sync>;

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Takes the next one.
    Next,
    /// Takes the next one of this channel after some time.
    Wait(Duration),
    /// Sends it back.
    Echo,
}

/// A running node; ends when dropped.
pub trait Node: Send + 'static {
    /// The other end of a connection.
    type Peer: Peer;

    /// What others dial: no blanks.
    fn address(&self) -> String;

    /// How many are connected.
    fn peers(&self) -> usize;

    /// How many have connected so far.
    fn added(&self) -> u64;

    /// Connects; ready to send when it returns.
    fn dial(&mut self, address: &str) -> impl Future<Output = Outcome<Self::Peer>> + Send;
}

/// The other end of a connection, one for each task that sends.
pub trait Peer: Clone + Send + Sync + 'static {
    /// Returns when the message was taken.
    fn send(&self, channel: usize, payload: Bytes) -> impl Future<Output = Outcome<()>> + Send;
}

/// Why something cannot be measured; empty where it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lacks {
    /// A size of packets.
    pub packets: &'static str,
    /// A send queue whose length can be set.
    pub queues: &'static str,
    /// Limits on the rate.
    pub rates: &'static str,
    /// A flush throttle.
    pub throttle: &'static str,
    /// What to know beside a figure of `mixed`.
    pub note: &'static str,
}

const USAGE: &str =
    "usage: compare listen | dial | hold | drain | broadcast | rtt | mixed [-flag value]…";

/// Runs the program on its arguments but for its own flags.
pub async fn run<S: Stack>(stack: S, args: &[String]) -> ExitCode {
    let Some((program, args)) = args.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match measure(Arc::new(stack), program, args).await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One subcommand; its line.
pub async fn measure<S: Stack>(stack: Arc<S>, program: &str, args: &[String]) -> Outcome<Value> {
    let flags = Flags::parse(args)?;
    let version = stack.version();
    let figures = match program {
        "listen" => connections::listen(stack, flags).await,
        "dial" => connections::dial(stack, flags).await,
        "hold" => connections::hold(stack, flags).await,
        "drain" => throughput::drain(stack, flags).await,
        "broadcast" => throughput::broadcast(stack, flags).await,
        "rtt" => rtt::rtt(stack, flags).await,
        "mixed" => mixed::mixed(stack, flags).await,
        _ => return Err(USAGE.into()),
    };
    let mut line = json!({ "program": program, "version": version });
    let fields = line.as_object_mut().expect("made above");
    match figures {
        Ok(Value::Object(figures)) => fields.extend(figures),
        Ok(_) => {}
        Err(error) => match error.downcast::<Cannot>() {
            Ok(reason) => {
                fields.insert("cannot".to_owned(), reason.0.into());
            }
            Err(error) => return Err(error),
        },
    }
    Ok(line)
}

/// Why there is no such figure: a result, not a failure.
#[derive(Debug)]
struct Cannot(&'static str);

impl std::fmt::Display for Cannot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Cannot {}

/// Refuses what is asked for and lacking.
fn unless(asked: bool, lack: &'static str) -> Outcome<()> {
    if asked && !lack.is_empty() { Err(Cannot(lack).into()) } else { Ok(()) }
}

/// One node connected with others: as it sees them, and all of them.
async fn star<S: Stack>(
    stack: &Arc<S>,
    setup: Setup,
    receivers: usize,
    received: Sink,
    answered: Sink,
) -> Outcome<(Vec<<S::Node as Node>::Peer>, Vec<S::Node>)> {
    let (warm, mut warmed) = tokio::sync::mpsc::unbounded_channel();
    let mut source = stack.node(0, setup, answered).await?;
    let (mut peers, mut nodes) = (Vec::new(), Vec::new());
    for number in 1..=receivers as u64 {
        let (warm, received) = (warm.clone(), received.clone());
        // The first message of each channel, of one byte, is not told of.
        let sink: Sink = Arc::new(move |channel, payload| {
            if payload.len() == 1 {
                let _ = warm.send(());
                return Then::Next;
            }
            received(channel, payload)
        });
        let node = stack.node(number, setup, sink).await?;
        let peer = within(source.dial(&node.address())).await?;
        for channel in 0..setup.channels {
            within(peer.send(channel, Bytes::from_static(&[0]))).await?;
            within(async { warmed.recv().await.ok_or_else(|| "nobody is left".into()) }).await?;
        }
        peers.push(peer);
        nodes.push(node);
    }
    nodes.push(source);
    Ok((peers, nodes))
}

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err("nothing happened for a minute".into()),
    }
}
