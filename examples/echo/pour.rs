//! One way, as much as the connection takes.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ring::digest::{Context, SHA256};
use serde_json::json;
use tmp2p::{
    Config, DEFAULT_RECV_MESSAGE_CAPACITY, DisconnectReason, Event, Peer, PeerAddress,
    SendErrorKind,
    crossbeam_channel::{TryRecvError, select},
};

use crate::{
    cli::{Failure, counted},
    client::{Client, Ended},
    node::{self, Common},
    pattern,
};

/// Longest wait for a place in the queue before looking for signals.
const SEND_TIMEOUT: Duration = Duration::from_millis(500);
/// The flush may wait for a slow server: it ends when the server goes, or by a signal.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Send one way to the server's sink until everything is flushed
#[derive(clap::Args)]
#[command(after_help = node::RATES)]
pub(crate) struct Args {
    /// The server, as it says where it listens: ID@HOST:PORT
    #[arg(value_name = "ID@HOST:PORT")]
    addr: PeerAddress,
    /// How many bytes in all
    #[arg(long, default_value_t = 100_000_000)]
    bytes: u64,
    /// Bytes of each message; the last one is what is left
    #[arg(long, default_value_t = 65_536)]
    size: u64,
    /// The server's sink channel
    #[arg(long, value_parser = node::channel, default_value = "0x9a")]
    sink: u8,
}

pub(crate) fn run(common: &Common, args: Args) -> Result<(), Failure> {
    let most = DEFAULT_RECV_MESSAGE_CAPACITY;
    if args.size == 0 || args.size > most as u64 {
        return Err(Failure::Usage(format!(
            "--size {}: write a number of bytes from 1 to {most}",
            args.size
        )));
    }
    let config =
        Config { send_timeout: SEND_TIMEOUT, close_timeout: FLUSH_TIMEOUT, ..node::config(None) };
    let client = Client::start(common, config, args.sink)?;
    let ended = client.connect(&args.addr, args.sink).and_then(|peer| {
        let mut pour = Pour::new(&args, common.events);
        let ended = pour.run(&client, &peer, &args);
        pour.summarise(&client);
        ended
    });
    client.finish(ended)
}

struct Pour {
    bar: ProgressBar,
    started: Instant,
    messages: u64,
    bytes: u64,
    hash: Context,
    elapsed: Duration,
}

impl Pour {
    fn new(args: &Args, has_events: bool) -> Self {
        let bar = if has_events { ProgressBar::hidden() } else { ProgressBar::new(args.bytes) };
        let style = ProgressStyle::with_template(
            "{msg:8} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        );
        bar.set_style(style.expect("the template is well formed").progress_chars("=> "));
        bar.set_message("pouring");
        let (started, hash) = (Instant::now(), Context::new(&SHA256));
        Self { bar, started, messages: 0, bytes: 0, hash, elapsed: Duration::ZERO }
    }

    fn run(&mut self, client: &Client, peer: &Peer, args: &Args) -> Result<(), Ended> {
        while self.bytes < args.bytes {
            let size = args.size.min(args.bytes - self.bytes) as usize;
            let payload = pattern::message(2, self.messages, size);
            self.hash.update(&payload);
            self.send(client, peer, args.sink, payload)?;
            self.messages += 1;
            self.bytes += size as u64;
            self.bar.set_position(self.bytes);
        }
        self.bar.set_message("flushing");
        peer.flush_stop();
        let reason = self.wait_for_end(client)?;
        self.elapsed = self.started.elapsed();
        let sent: u64 = peer.status().channels.iter().map(|channel| channel.sent_messages).sum();
        let is_ours = matches!(reason, DisconnectReason::Finished);
        if !is_ours || sent < self.messages {
            return Err(Ended::Failed(format!("lost {peer} before everything was sent: {reason}")));
        }
        Ok(())
    }

    fn send(
        &mut self,
        client: &Client,
        peer: &Peer,
        channel: u8,
        payload: Vec<u8>,
    ) -> Result<(), Ended> {
        let mut payload = tmp2p::Payload::from(payload);
        loop {
            match client.signals.try_recv() {
                Err(TryRecvError::Empty) => {}
                signal => return Err(Ended::signal(signal)),
            }
            let Err(error) = peer.send(channel, payload) else { return Ok(()) };
            match error.kind {
                // The server is slow; only its end is an end.
                SendErrorKind::TimedOut => payload = error.payload,
                SendErrorKind::Closed => {
                    let reason = self.wait_for_end(client)?;
                    return Err(Ended::Failed(format!("lost {peer}: {reason}")));
                }
                kind => return Err(Ended::Failed(kind.to_string())),
            }
        }
    }

    /// Why the session is over. The progress bar lives on while the kernel's buffers empty.
    fn wait_for_end(&self, client: &Client) -> Result<DisconnectReason, Ended> {
        self.bar.enable_steady_tick(Duration::from_millis(200));
        loop {
            select! {
                recv(client.reactor.events()) -> event => {
                    let Ok(event) = event else { return Err(Ended::stopped()) };
                    client.console.reactor_event(&event);
                    if let Event::PeerDown(_, reason) = event {
                        return Ok((*reason).clone());
                    }
                }
                recv(client.signals) -> signal => return Err(Ended::signal(signal)),
            }
        }
    }

    fn summarise(&mut self, client: &Client) {
        self.bar.finish_and_clear();
        if self.elapsed.is_zero() {
            self.elapsed = self.started.elapsed();
        }
        let seconds = self.elapsed.as_secs_f64();
        let (messages, megabytes) = (self.messages, self.bytes as f64 / 1e6);
        let rate = megabytes / seconds;
        let sha256 = hex::encode(self.hash.clone().finish());
        client.console.say(format!(
            "{}, {megabytes:.1} MB in {seconds:.2} s: {rate:.1} MB/s\n\
             sha256 {sha256}",
            counted(messages, "message")
        ));
        let fields = json!({
            "messages": messages, "bytes": self.bytes, "elapsed_ms": seconds * 1e3,
            "mb_per_s": rate, "sha256": sha256,
        });
        client.console.event("poured", fields);
    }
}
