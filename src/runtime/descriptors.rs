//! How many files and sockets the process may have open, and what of it is for strangers.

use log::Level;

use crate::{config::Config, event_loop::GateSettings, guard::tell};

/// Who may connect, and how many inbound peers there may be at most, so that descriptors are left for
/// the application. With `raises` the process may first have as many open as the system lets it. One
/// line of the log tells of what has changed or is short.
pub(super) fn gate(config: &Config, raises: bool) -> (GateSettings, usize) {
    let settings = GateSettings::of(config);
    let wanted = settings.max_pending;
    let Some(before) = system::limit() else { return (settings, usize::MAX) };
    let limit = if raises { system::raise().unwrap_or(before) } else { before };
    let peers = peers(config);
    let gate = settings.within(usize::try_from(limit).unwrap_or(usize::MAX), peers);
    let (pending, inbound) = (gate.max_pending, most_inbound(&gate, config));
    let raised = if limit > before { format!(", raised from {before}") } else { String::new() };
    if inbound < config.max_num_inbound_peers {
        tell!(
            Level::Warn,
            "this process may have {limit} descriptors{raised}: there are at most {inbound} inbound \
             peers instead of the {} of max_num_inbound_peers and {pending} pending handshakes, so \
             that the application has some left; allow it more (ulimit -n)",
            config.max_num_inbound_peers
        );
    } else if pending < wanted {
        tell!(
            Level::Warn,
            "this process may have {limit} descriptors{raised}: with {peers} peers there are at most \
             {pending} pending handshakes instead of the {wanted} of max_pending_handshakes, so that \
             the application has some left; allow it more (ulimit -n)"
        );
    } else if limit > before {
        tell!(
            Level::Info,
            "this process may have {limit} descriptors{raised}: up to {peers} are for peers and \
             {pending} for pending handshakes"
        );
    }
    (gate, inbound)
}

/// Descriptors that the process may have, if there is a limit.
pub(super) fn limit() -> Option<u64> {
    system::limit()
}

/// Beyond it newcomers would be closed because there are too many connections, the reserved ones
/// first of all, and the switch would not know that it is full.
fn most_inbound(gate: &GateSettings, config: &Config) -> usize {
    match gate.max_connections {
        usize::MAX => usize::MAX,
        most => most.saturating_sub(gate.max_pending).saturating_sub(others(config)).max(1),
    }
}

/// Sessions that there may be as it is configured.
fn peers(config: &Config) -> usize {
    others(config).saturating_add(config.max_num_inbound_peers)
}

/// The same without inbound ones.
fn others(config: &Config) -> usize {
    let crawled = if config.seed_mode { config.crawl_concurrency } else { 0 };
    [
        config.max_num_outbound_peers,
        config.persistent_peers.len(),
        config.unconditional_peer_ids.len(),
        crawled,
    ]
    .into_iter()
    .fold(0, usize::saturating_add)
}

#[cfg(unix)]
mod system {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    /// More than this macOS does not take where its hard limit says that there is none
    /// (`OPEN_MAX`, sys/syslimits.h).
    const OPEN_MAX: u64 = 10_240;

    /// Descriptors that the process may have open now; `None` without a limit.
    pub(super) fn limit() -> Option<u64> {
        getrlimit(Resource::Nofile).current
    }

    /// Raises the limit as far as the process may; what it is now. As Go does in each of its programs
    /// (`os/rlimit.go`): the low one is for programs that use `select`.
    pub(super) fn raise() -> Option<u64> {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let before = current?;
        for wanted in [maximum, Some(OPEN_MAX)] {
            if wanted.is_none_or(|wanted| wanted > before)
                && setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).is_ok()
            {
                break;
            }
        }
        limit()
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) fn limit() -> Option<u64> {
        None
    }

    pub(super) fn raise() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_leave_half_of_the_descriptors_to_the_application() {
        let config = Config::default();
        let share = |limit, peers, wanted| {
            let settings = GateSettings { max_pending: wanted, ..GateSettings::of(&config) };
            settings.within(limit, peers).max_pending
        };
        assert_eq!(peers(&config), 50);
        // The limit of most systems, as it is before it is raised.
        assert_eq!(share(1024, 50, 1024), 462);
        assert_eq!(share(256, 50, 1024), 78);
        assert_eq!(share(1 << 20, 50, 1024), 1024, "never more than configured");
        // Peers that there may be and are not keep nobody out.
        assert_eq!(share(1024, 10_000, 1024), 128);
        assert_eq!(share(4, 50, 1024), 1);
        // The rest is for those who have come.
        let many = Config { max_num_inbound_peers: 800, ..Config::default() };
        let settings =
            GateSettings { max_pending: share(1024, 810, 1024), ..GateSettings::of(&many) };
        assert_eq!(most_inbound(&settings, &many), usize::MAX, "without a limit");
        let gate = settings.within(1024, 810);
        assert_eq!((gate.max_pending, most_inbound(&gate, &many)), (128, 768 - 128 - 10));
        assert_eq!(most_inbound(&gate.within(8, 810), &many), 1);
        let seed = Config { seed_mode: true, ..config.clone() };
        assert_eq!(peers(&seed), 50 + 64);
        let reserved = Config {
            unconditional_peer_ids: vec![crate::NodeKey::generate().id()],
            max_num_inbound_peers: usize::MAX,
            ..config.clone()
        };
        assert_eq!(peers(&reserved), usize::MAX);
    }
}
