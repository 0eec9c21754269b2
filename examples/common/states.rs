//! Where nodes stand with this one, for people.

use tmp2p::{ConnectionState, ControlError, PeerState, SwitchHandle};

use crate::cli;

/// Lines of the table: an address book can hold thousands of bad addresses.
const MAX_LINES: usize = 20;

/// What the state is called.
pub(crate) fn name(state: ConnectionState) -> &'static str {
    match state {
        ConnectionState::Candidate => "candidate",
        ConnectionState::Dialing => "dialing",
        ConnectionState::Connected => "connected",
        ConnectionState::Reconnecting => "reconnecting",
        ConnectionState::Bad => "bad",
        ConnectionState::Banned => "banned",
        _ => "unknown",
    }
}

/// A line with how many nodes are in which state, and one for each that is to be a peer and is none, or is
/// not to be one.
pub(crate) fn table(handle: &SwitchHandle) -> Result<Vec<String>, ControlError> {
    let counts = handle.state_counts()?;
    let counted = format!(
        "{}, {} dialing, {} connected, {} reconnecting, {} bad, {} banned",
        cli::counted(counts.candidate, "candidate"),
        counts.dialing,
        counts.connected,
        counts.reconnecting,
        counts.bad,
        counts.banned,
    );
    let is_shown = |state: &PeerState| {
        !matches!(state.state, ConnectionState::Candidate | ConnectionState::Connected)
    };
    let mut states = handle.peer_states()?;
    states.retain(is_shown);
    // Those that are few and change come first.
    states.sort_by_key(|state| state.state);
    let mut table = vec![counted];
    table.extend(states.iter().take(MAX_LINES).map(line));
    if states.len() > MAX_LINES {
        table.push(format!("and {} more", states.len() - MAX_LINES));
    }
    Ok(table)
}

fn line(state: &PeerState) -> String {
    let mut line = format!("{:12}", name(state.state));
    match (&state.dial_addr, state.id) {
        (Some(addr), _) => line += &format!(" {addr}"),
        (None, Some(id)) => line += &format!(" {id}"),
        // A ban of addresses says in its reason of which.
        (None, None) => {}
    }
    if state.failures > 0 {
        line += &format!(", {}", cli::counted(state.failures, "failed attempt"));
    }
    if let Some(remaining) = state.remaining {
        let ends = match state.state {
            ConnectionState::Dialing | ConnectionState::Reconnecting => "next attempt in",
            _ => "for another",
        };
        line += &format!(", {ends} {} s", remaining.as_secs());
    }
    if let Some(reason) = &state.reason {
        line += &format!(": {reason}");
    }
    line
}
