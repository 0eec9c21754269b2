//! What is measured.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A kind of measurement: all of its cases have the same figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Drain,
    Broadcast,
    Rtt,
    Mixed,
    Slow,
    Handshakes,
    Idle,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Drain,
        Self::Broadcast,
        Self::Rtt,
        Self::Mixed,
        Self::Slow,
        Self::Handshakes,
        Self::Idle,
    ];

    /// What a cell of the table says, and whether more or less of its first figure is better.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Drain => "One way: MB/s (CPU s/GB)",
            Self::Broadcast => "One to seven: MB/s delivered in all (CPU s/GB)",
            Self::Rtt => "Round trip of 100 bytes: p50, µs",
            Self::Mixed => "200 bytes every 5 ms beside saturated bulk: p99, ms (bulk, MB/s)",
            Self::Slow => {
                "The same with a slow receiver of bulk: p99 of the small ones, ms (bulk held, KiB)"
            }
            Self::Handshakes => "Inbound connections: listener's CPU, µs each (per second)",
            Self::Idle => "Idle inbound peers: memory, KiB each",
        }
    }

    pub(crate) fn better(self) -> Better {
        match self {
            Self::Drain | Self::Broadcast => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// The figure that stands first, and the one in brackets: by their names in the lines.
    pub(crate) fn figures(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Drain | Self::Broadcast => ("mb_per_s", Some("cpu_s_per_gb")),
            Self::Rtt => ("p50_us", None),
            Self::Mixed => ("p99_ms", Some("bulk_mb_per_s")),
            Self::Slow => ("p99_ms", Some("held_kib")),
            Self::Handshakes => ("listener_cpu_us_each", Some("per_second")),
            Self::Idle => ("kib_per_peer", None),
        }
    }

    /// The yardstick beside it, a case of `benches/switch`.
    pub(crate) fn bare(self) -> Option<&'static str> {
        match self {
            Self::Drain | Self::Broadcast => Some("pipe"),
            Self::Rtt => Some("hop"),
            _ => None,
        }
    }
}

/// One case.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    /// As `benches/switch` calls it.
    pub(crate) name: String,
    /// The subcommand and flags of a comparison program; of `listen` and its dialers for
    /// connections.
    pub(crate) args: Vec<String>,
    /// Why ours has no such case.
    pub(crate) ours_cannot: Option<&'static str>,
}

impl Case {
    fn new(kind: Kind, name: String, args: &str) -> Self {
        let args = args.split_whitespace().map(str::to_owned).collect();
        Self { kind, name, args, ours_cannot: None }
    }
}

/// All cases; a quick run has fewer and shorter ones.
pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let pick = |full: f64, short: f64| if quick { short } else { full };
    let mut cases = Vec::new();
    let sizes: &[usize] = if quick { &[1024, 65_536] } else { &[1024, 8192, 65_536, 524_288] };
    let senders: &[usize] = if quick { &[1, 16] } else { &[1, 8, 16] };
    for size in sizes {
        for senders in senders {
            for (word, packet) in [("1024", 1024), ("max", 4 << 20)] {
                let name = format!("drain/size={size}/senders={senders}/packet={word}");
                let seconds = pick(1.5, 0.3);
                let args = format!(
                    "drain -size {size} -senders {senders} -packet {packet} -seconds {seconds}"
                );
                cases.push(Case::new(Kind::Drain, name, &args));
            }
        }
    }
    for size in [1024, 65_536] {
        let args = format!("broadcast -peers 7 -size {size} -seconds {}", pick(1.5, 0.3));
        cases.push(Case::new(Kind::Broadcast, format!("broadcast/peers=7/size={size}"), &args));
    }
    let rtt = format!("rtt -size 100 -seconds {}", pick(1.5, 0.3));
    cases.push(Case::new(Kind::Rtt, "rtt/size=100".to_owned(), &rtt));
    let mut throttled =
        Case::new(Kind::Rtt, "rtt/size=100/throttle=0".to_owned(), &format!("{rtt} -throttle 0s"));
    throttled.ours_cannot = Some("it has no flush throttle");
    cases.push(throttled);
    let seconds = pick(3.0, 0.5);
    for rate in ["default", "unlimited"] {
        let args = format!("mixed -rate {rate} -seconds {seconds}");
        cases.push(Case::new(Kind::Mixed, format!("mixed/rate={rate}"), &args));
    }
    for delay in [0, 20, 100, 250] {
        let args = format!("mixed -delay {delay}ms -seconds {seconds}");
        cases.push(Case::new(Kind::Slow, format!("slow/delay={delay}"), &args));
    }
    let n = if quick { 64 } else { 1000 };
    let concurrent: &[usize] = if quick { &[16] } else { &[1, 16] };
    for concurrent in concurrent {
        let args = format!("-n {n} -concurrent {concurrent}");
        let name = format!("handshakes/concurrent={concurrent}");
        cases.push(Case::new(Kind::Handshakes, name, &args));
    }
    let peers = if quick { 100 } else { 1000 };
    cases.push(Case::new(Kind::Idle, format!("idle/peers={peers}"), &format!("-n {peers}")));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_the_quick_ones_are_among_all_but_for_the_idle() {
        let all: Vec<_> = cases(false).into_iter().map(|case| case.name).collect();
        assert!(all.iter().enumerate().all(|(n, name)| !all[..n].contains(name)));
        for case in cases(true).iter().filter(|case| case.kind != Kind::Idle) {
            assert!(all.contains(&case.name), "{}", case.name);
        }
        assert_eq!(cases(false).iter().filter(|case| case.kind == Kind::Drain).count(), 24);
    }
}
