//! The peers, and how it stands with other nodes, for the log.

use std::{fmt::Write, sync::Mutex};

use tmp2p::SwitchHandle;

use crate::{consensus, heights::Heights, states};

/// A table with a line per peer and per node that is to be one or not to be one.
pub(crate) fn peers(handle: &SwitchHandle, heights: &Mutex<Heights>) -> String {
    let peers = handle.peers();
    let heights = consensus::lock(heights);
    let mut table = format!("height {}, {} peers", heights.height(), peers.len());
    for peer in peers {
        let status = peer.status();
        let sum =
            |of: fn(&tmp2p::ChannelStatus) -> u64| status.channels.iter().map(of).sum::<u64>();
        let rtt =
            status.rtt.map_or("-".to_owned(), |rtt| format!("{:.1} ms", rtt.as_secs_f64() * 1e3));
        // Writing into a string cannot fail.
        let _ = write!(
            table,
            "\n  {} {:8} {:21} height {} rtt {} sent {} received {} {}",
            peer.id(),
            peer.direction().to_string(),
            peer.remote_addr().to_string(),
            heights.of(peer.conn()),
            rtt,
            sum(|channel| channel.sent_bytes),
            sum(|channel| channel.received_bytes),
            peer.node_info().moniker(),
        );
    }
    drop(heights);
    // Who has no answer any more is stopping.
    if let Ok(states) = states::table(handle) {
        let _ = write!(table, "\n{states}");
    }
    table
}
