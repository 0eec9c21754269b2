//! Whole switches over loopback TCP, against a bare sealed pipe and a bare sealed ping-pong in the
//! same process. What each case means is told in benches/README.md.

mod allocations;
mod attack;
mod attacker;
mod broadcast;
mod child;
mod crowd;
mod dialer;
mod drain;
mod fanout;
mod gossip;
mod handshakes;
mod hop;
mod idle;
mod latency;
mod listener;
mod mixed;
mod node;
mod pipe;
mod rtt;
#[cfg_attr(not(target_os = "linux"), path = "shaped/elsewhere.rs")]
mod shaped;
mod slow;
mod yardstick;

#[path = "../common/mod.rs"]
mod common;

use std::process::ExitCode;

use common::{Args, Outcome, Reporter};

use crate::{
    attacker::Attack, broadcast::Broadcast, drain::Drain, handshakes::Handshakes, idle::Idle,
    mixed::Mixed, node::Packet, slow::Slow, yardstick::Yardstick,
};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

fn main() -> ExitCode {
    if let Some(outcome) = child_role() {
        if let Err(error) = outcome {
            eprintln!("child: {error}");
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    let args = Args::parse("switch");
    let cases = cases();
    let names: Vec<String> = cases.iter().map(Case::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = args.select(&names);
    if wanted.is_empty() {
        args.nothing_matches("switch", &names);
    }
    let mut reporter = Reporter::new(&args);
    let mut yardstick = Yardstick::new(&args);
    for (case, name) in cases.iter().zip(&names).filter(|(_, name)| wanted.contains(name)) {
        if case.is_measured_by_pipe() {
            yardstick.announce(&mut reporter);
        } else {
            yardstick.forget();
        }
        case.run(name, &args, &mut yardstick, &mut reporter);
    }
    reporter.finish()
}

/// What this process is if it was started by a bench and not by a user.
fn child_role() -> Option<Outcome<()>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args.as_slice() {
        [child::LISTEN] => Some(listener::run()),
        [child::IDLE] => Some(idle::listen()),
        [child::HEAP] => Some(idle::listen_counted()),
        [child::DIALERS, addr, n, concurrent] => Some(dialer::run(addr, n, concurrent)),
        [child::HOLD, addr, n] => Some(crowd::hold(addr, n)),
        [child::CROWD, addr, n, per_second] => Some(crowd::run(addr, n, per_second)),
        [child::FANOUT] => Some(fanout::run_child()),
        [child::GOSSIP] => Some(gossip::run_child()),
        [child::RTT, samples] => Some(rtt::run_child(samples)),
        [child::STAND, places, unconditional, persistent] => {
            Some(attacker::stand(places, unconditional, persistent))
        }
        [child::ATTACK, name, addr] => Some(attacker::attack(name, addr)),
        _ => shaped::child_role(&args),
    }
}

enum Case {
    Pipe,
    Hop,
    Drain(Drain),
    Rtt,
    RttOneCore,
    Mixed(Mixed),
    Slow(Slow),
    Shaped,
    Broadcast(Broadcast),
    Fanout,
    Gossip,
    Handshakes(Handshakes),
    Idle(Idle),
    Allocations(Packet),
    Attack(Attack),
}

/// Every case, yardsticks first.
fn cases() -> Vec<Case> {
    let mut cases = vec![Case::Pipe, Case::Hop];
    for size in [1024, 8192, 65_536, 524_288] {
        for senders in [1, 8, 16] {
            for packet in [Packet::Default, Packet::Max] {
                cases.push(Case::Drain(Drain { size, senders, packet, queue: None }));
            }
        }
    }
    for senders in [1, 8] {
        let (packet, queue) = (Packet::Default, Some(1000));
        cases.push(Case::Drain(Drain { size: 1024, senders, packet, queue }));
    }
    cases.extend([Case::Rtt, Case::RttOneCore]);
    cases.extend([Mixed::DefaultRate, Mixed::Unlimited].map(Case::Mixed));
    cases.extend([0, 20, 100, 250].map(|delay_ms| Case::Slow(Slow { delay_ms })));
    cases.push(Case::Shaped);
    cases.extend([1024, 65_536].map(|size| Case::Broadcast(Broadcast { size })));
    cases.extend([Case::Fanout, Case::Gossip]);
    cases.extend([1, 16].map(|concurrent| Case::Handshakes(Handshakes { concurrent })));
    cases.extend([10, 100, 500, 1000, 10_000].map(|peers| Case::Idle(Idle { peers })));
    cases.extend([Packet::Default, Packet::Max].map(Case::Allocations));
    cases.extend(Attack::ALL.map(Case::Attack));
    cases
}

impl Case {
    fn name(&self) -> String {
        match self {
            Self::Pipe => "pipe".to_owned(),
            Self::Hop => "hop".to_owned(),
            Self::Drain(drain) => drain.name(),
            Self::Rtt => rtt::NAME.to_owned(),
            Self::RttOneCore => rtt::NAME_ONE_CORE.to_owned(),
            Self::Mixed(mixed) => mixed.name().to_owned(),
            Self::Slow(slow) => slow.name(),
            Self::Shaped => shaped::NAME.to_owned(),
            Self::Broadcast(broadcast) => broadcast.name(),
            Self::Fanout => fanout::name(),
            Self::Gossip => gossip::name(),
            Self::Handshakes(handshakes) => handshakes.name(),
            Self::Idle(idle) => idle.name(),
            Self::Allocations(packet) => allocations::name(*packet),
            Self::Attack(attack) => attack::name(*attack),
        }
    }

    fn is_measured_by_pipe(&self) -> bool {
        matches!(self, Self::Pipe | Self::Drain(_) | Self::Broadcast(_) | Self::Fanout)
    }

    fn run(&self, name: &str, args: &Args, yardstick: &mut Yardstick, reporter: &mut Reporter) {
        match self {
            // Announced by now.
            Self::Pipe => {}
            Self::Hop => reporter.outcome(name, hop::line(args)),
            Self::Drain(drain) => reporter.outcome(name, drain.line(args, yardstick)),
            Self::Rtt => rtt::report(args, reporter),
            Self::RttOneCore => rtt::report_one_core(args, reporter),
            Self::Mixed(mixed) => mixed.report(args, reporter),
            Self::Slow(slow) => slow.report(args, reporter),
            Self::Shaped => shaped::report(args, reporter),
            Self::Broadcast(broadcast) => reporter.outcome(name, broadcast.line(args, yardstick)),
            Self::Fanout => fanout::report(args, yardstick, reporter),
            Self::Gossip => gossip::report(args, reporter),
            Self::Handshakes(handshakes) => handshakes.report(args, reporter),
            Self::Idle(idle) => idle.report(args, reporter),
            Self::Allocations(packet) => {
                reporter.outcome(name, allocations::line(*packet, args));
            }
            Self::Attack(attack) => attack::report(*attack, args, reporter),
        }
    }
}
