//! What the switch has counted, for Prometheus.

use std::fmt::{Display, Write};

use tmp2p::{ChannelStatus, Metrics};

use crate::book::Counts;

/// The text that Prometheus reads. Names that Tendermint has are as in Tendermint.
pub(crate) fn text(chain_id: &str, metrics: &Metrics, book: Option<Counts>) -> String {
    let mut page = Page { text: String::new(), chain: escaped(chain_id) };
    let peers = metrics.outbound_peers + metrics.inbound_peers;
    page.one("peers", "gauge", "Number of peers.", peers);
    page.one("peers_outbound", "gauge", "Peers that this node dialed.", metrics.outbound_peers);
    page.one("peers_inbound", "gauge", "Peers that dialed this node.", metrics.inbound_peers);
    page.one("dialing", "gauge", "Attempts to connect under way.", metrics.dialing);
    page.one("bans", "gauge", "Bans in force.", metrics.bans);
    page.one("sessions_total", "counter", "Sessions that began.", metrics.sessions);
    let help = "Times that the system refused to accept connections.";
    page.one("accept_failures_total", "counter", help, metrics.accept_failures);
    let event_loop = &metrics.event_loop;
    let counted = [
        ("accepted_total", "Connections accepted.", event_loop.accepted),
        ("socket_read_bytes_total", "Bytes read from all sockets.", event_loop.read_bytes),
        ("socket_written_bytes_total", "Bytes written to all sockets.", event_loop.written_bytes),
        ("loop_turns_total", "Turns of the event loop.", event_loop.turns),
        ("loop_long_turns_total", "Turns that lasted longer than 2 ms.", event_loop.long_turns),
    ];
    for (name, help, count) in counted {
        page.one(name, "counter", help, count);
    }
    let longest = event_loop.longest_turn.as_secs_f64();
    page.one("loop_longest_turn_seconds", "gauge", "The longest turn since the start.", longest);

    type Of = fn(&ChannelStatus) -> u64;
    let per_channel: [(&str, &str, &str, Of); 6] = [
        ("peer_receive_bytes_total", "counter", "Bytes of messages received.", |c| {
            c.received_bytes
        }),
        ("peer_send_bytes_total", "counter", "Bytes of messages sent.", |c| c.sent_bytes),
        ("receive_messages_total", "counter", "Messages received.", |c| c.received_messages),
        ("send_messages_total", "counter", "Messages sent.", |c| c.sent_messages),
        ("dropped_messages_total", "counter", "Messages not sent.", |c| c.dropped),
        ("queued_messages", "gauge", "Messages in send queues.", |c| c.queued as u64),
    ];
    for (name, kind, help, of) in per_channel {
        let channels = metrics.channels.values();
        // As Go's %#x writes it.
        let series = channels.map(|c| (format!("{:#x}", c.channel.as_u8()), of(c)));
        page.many(name, kind, help, "chID", series);
    }
    let by_kind = [
        ("dials_failed_total", "Attempts to connect that failed.", &metrics.dials_failed),
        ("rejected_total", "Connections that did not become sessions.", &metrics.rejected),
        ("disconnects_total", "Sessions that ended.", &metrics.disconnects),
    ];
    for (name, help, counts) in by_kind {
        let series = counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count));
        page.many(name, "counter", help, "kind", series);
    }
    if let Some(Counts { new, old, bad, .. }) = book {
        let series = [("new", new), ("old", old), ("bad", bad)];
        let series = series.map(|(state, count)| (state.to_owned(), count as u64));
        page.many("addresses", "gauge", "Addresses in the book.", "state", series);
    }
    page.text
}

struct Page {
    text: String,
    chain: String,
}

impl Page {
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(format_args!(
            "tendermint_p2p_{name}{{chain_id=\"{}\"}} {value}",
            self.chain.clone()
        ));
    }

    fn many(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        series: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.head(name, kind, help);
        let chain = self.chain.clone();
        for (label_value, value) in series {
            self.line(format_args!(
                "tendermint_p2p_{name}{{chain_id=\"{chain}\",{label}=\"{label_value}\"}} {value}"
            ));
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP tendermint_p2p_{name} {help}"));
        self.line(format_args!("# TYPE tendermint_p2p_{name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
