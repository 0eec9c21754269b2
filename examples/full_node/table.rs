//! The peers, and how it stands with other nodes, for the log.

use std::sync::Mutex;

use tmp2p::{ChannelStatus, Peer, SwitchHandle};

use crate::{cli, consensus, heights::Heights, states};

/// A line per peer and per node that is to be one or not to be one.
pub(crate) fn peers(handle: &SwitchHandle, heights: &Mutex<Heights>) -> Vec<String> {
    let peers = handle.peers();
    let heights = consensus::lock(heights);
    let mut table =
        vec![format!("height {}, {}", heights.height(), cli::counted(peers.len(), "peer"))];
    table.extend(peers.iter().map(|peer| line(peer, heights.of(peer.conn()))));
    drop(heights);
    // Who has no answer any more is stopping.
    table.extend(states::table(handle).unwrap_or_default());
    table
}

fn line(peer: &Peer, height: i64) -> String {
    let status = peer.status();
    let sum = |of: fn(&ChannelStatus) -> u64| status.channels.iter().map(of).sum::<u64>();
    let rtt = status.rtt.map_or("-".to_owned(), |rtt| format!("{:.1} ms", rtt.as_secs_f64() * 1e3));
    format!(
        "{} {:8} {:21} height {height} rtt {rtt} sent {} B received {} B {:?}",
        peer.id(),
        peer.direction().to_string(),
        peer.remote_addr().to_string(),
        sum(|channel| channel.sent_bytes),
        sum(|channel| channel.received_bytes),
        peer.node_info().moniker(),
    )
}
