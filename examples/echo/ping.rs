//! Round trips.

use std::time::{Duration, Instant};

use serde_json::json;
use tmp2p::{
    DEFAULT_RECV_MESSAGE_CAPACITY, Event, Peer, PeerAddress,
    crossbeam_channel::{at, select},
};

use crate::{
    cli::{Failure, counted},
    client::{Client, Ended},
    node::{self, Common},
    pattern,
};

/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Measure round trips, one after the other, and compare every byte
#[derive(clap::Args)]
#[command(after_help = node::RATES)]
pub(crate) struct Args {
    /// The server, as it says where it listens: ID@HOST:PORT
    #[arg(value_name = "ID@HOST:PORT")]
    addr: PeerAddress,
    /// How many
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Bytes of each message
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// The server's echo channel
    #[arg(long, value_parser = node::channel, default_value = "0x99")]
    channel: u8,
    /// One JSON object at the end instead of lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(common: &Common, args: Args) -> Result<(), Failure> {
    if args.size > DEFAULT_RECV_MESSAGE_CAPACITY {
        let most = DEFAULT_RECV_MESSAGE_CAPACITY;
        return Err(Failure::Usage(format!(
            "--size {}: write a number of bytes from 0 to {most}",
            args.size
        )));
    }
    let client = Client::start(common, node::config(None), args.channel)?;
    let mut pings = Pings::default();
    let ended = client.connect(&args.addr, args.channel).and_then(|peer| {
        if !args.json {
            let (size, addr) = (args.size, &args.addr);
            client.console.say(format!(
                "PING {addr}: {} on channel {:#04x}",
                counted(size, "byte"),
                args.channel
            ));
        }
        let ended = pings.run(&client, &peer, &args);
        pings.summarise(&client, &args);
        ended
    });
    let ended = match ended {
        Ok(()) if pings.corrupt > 0 => {
            Err(Ended::Failed(format!("not what was sent: {}", counted(pings.corrupt, "answer"))))
        }
        ended => ended,
    };
    client.finish(ended)
}

#[derive(Default)]
struct Pings {
    sent: u64,
    corrupt: u64,
    round_trips: Vec<Duration>,
    elapsed: Duration,
}

impl Pings {
    fn run(&mut self, client: &Client, peer: &Peer, args: &Args) -> Result<(), Ended> {
        let started = Instant::now();
        for number in 1..=args.count {
            let payload = pattern::message(1, number, args.size);
            let sent_at = Instant::now();
            self.sent += 1;
            peer.send(args.channel, payload.clone())
                .map_err(|error| Ended::Failed(error.to_string()))?;
            let (answer, round_trip) = wait(client, sent_at)?;
            self.elapsed = started.elapsed();
            let is_same = answer[..] == payload[..];
            self.corrupt += u64::from(!is_same);
            self.round_trips.push(round_trip);
            if !args.json {
                client.console.say(format!(
                    "{} from {}: seq={number} time={} ms{}",
                    counted(answer.len(), "byte"),
                    peer.remote_addr(),
                    millis(round_trip),
                    if is_same { "" } else { " NOT WHAT WAS SENT" },
                ));
            }
        }
        Ok(())
    }

    fn summarise(&mut self, client: &Client, args: &Args) {
        self.round_trips.sort_unstable();
        let (sent, received, corrupt) = (self.sent, self.round_trips.len(), self.corrupt);
        let [min, p50, p90, p99, max] =
            [0.0, 0.5, 0.9, 0.99, 1.0].map(|share| percentile(&self.round_trips, share));
        if args.json {
            let ms = |time: Option<Duration>| time.map(|time| time.as_secs_f64() * 1e3);
            let fields = json!({
                "addr": args.addr.to_string(), "size": args.size,
                "sent": sent, "received": received, "corrupt": corrupt,
                "min_ms": ms(min), "p50_ms": ms(p50), "p90_ms": ms(p90),
                "p99_ms": ms(p99), "max_ms": ms(max),
            });
            client.console.report("ping", fields);
            return;
        }
        client.console.say(format!("--- {} ping statistics ---", args.addr));
        let elapsed = self.elapsed.as_millis();
        client.console.say(format!(
            "{sent} sent, {received} received, {corrupt} not what was sent, time {elapsed} ms"
        ));
        if let [Some(min), Some(p50), Some(p90), Some(p99), Some(max)] = [min, p50, p90, p99, max] {
            let times = [min, p50, p90, p99, max].map(millis).join("/");
            client.console.say(format!("rtt min/p50/p90/p99/max = {times} ms"));
        }
    }
}

/// The next message and the time since `sent_at`.
fn wait(client: &Client, sent_at: Instant) -> Result<(tmp2p::Payload, Duration), Ended> {
    let timeout = at(sent_at + ANSWER_TIMEOUT);
    loop {
        select! {
            recv(client.reactor.events()) -> event => {
                let round_trip = sent_at.elapsed();
                let Ok(event) = event else { return Err(Ended::stopped()) };
                client.console.reactor_event(&event);
                match event {
                    Event::Message(envelope) => return Ok((envelope.into_payload(), round_trip)),
                    Event::PeerDown(peer, reason) => {
                        return Err(Ended::Failed(format!("lost {peer}: {reason}")));
                    }
                    _ => {}
                }
            }
            recv(client.signals) -> signal => return Err(Ended::signal(signal)),
            recv(timeout) -> _ => {
                return Err(Ended::Failed(format!("no answer within {ANSWER_TIMEOUT:?}")));
            }
        }
    }
}

/// The smallest that is not below this share of all.
fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}
