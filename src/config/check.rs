//! Whether a configuration makes sense.

use std::{fmt, time::Duration};

use super::Config;
use crate::{ConnId, PeerAddress};

/// Longest time that can be configured. Nobody waits for a year; what is meant by more is a mistake,
/// and far below what clocks can add.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// After how long a Go peer gives up a connection whose pongs are missing (`p2p/conn/connection.go`,
/// `defaultPongTimeout`).
const PEERS_PONG_TIMEOUT: Duration = Duration::from_secs(45);

/// Smallest payload of a packet, bytes: a channel from 0x80 up has a byte less (its number is two
/// bytes long), and with a payload of 1 nothing would be left.
const MIN_PACKET_PAYLOAD: usize = 2;

/// Most pending handshakes that can be configured: as many connections as a process may have
/// descriptors where it may have many, 64 MiB while they are silent.
const MAX_PENDING: usize = 1 << 16;

/// Most peers of a direction: half of the connections that an event loop can number.
pub(crate) const MAX_PEERS: usize = ConnId::MAX_SLOT as usize / 2;

impl Config {
    /// Whether all values make sense, each and together. A switch does this when it starts.
    ///
    /// # Errors
    /// The first that does not, with its key and what to write instead.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_times()?;
        self.check_sizes()?;
        self.check_accepting()?;
        self.check_discovery()?;
        self.check_peers()
    }

    fn check_times(&self) -> Result<(), ConfigError> {
        // Whether 0 has a meaning.
        for (key, value, may_be_zero) in [
            ("persistent_peers_max_dial_period", self.persistent_peers_max_dial_period, true),
            ("flush_throttle_timeout", self.flush_throttle_timeout, true),
            ("handshake_timeout", self.handshake_timeout, false),
            ("dial_timeout", self.dial_timeout, false),
            ("ping_interval", self.ping_interval, false),
            ("pong_timeout", self.pong_timeout, false),
            ("unsolicited_pong_interval", self.unsolicited_pong_interval, false),
            ("send_timeout", self.send_timeout, false),
            ("close_timeout", self.close_timeout, false),
            ("drain_timeout", self.drain_timeout, true),
            ("connection_filter_timeout", self.connection_filter_timeout, false),
            ("peer_filter_timeout", self.peer_filter_timeout, false),
            ("dial_spread", self.dial_spread, true),
            ("ensure_peers_period", self.ensure_peers_period, false),
            ("pex_request_interval", self.pex_request_interval, false),
            ("pex_ban_time", self.pex_ban_time, false),
            ("pex_abuse_ban_time", self.pex_abuse_ban_time, false),
            ("good_after", self.good_after, false),
            ("crawl_period", self.crawl_period, false),
            ("crawl_timeout", self.crawl_timeout, false),
            ("seed_disconnect_wait_period", self.seed_disconnect_wait_period, false),
        ] {
            if value.is_zero() && !may_be_zero {
                return Err(out_of_range(key, Shown(value), "more than 0s"));
            }
            if value > MAX_DURATION {
                return Err(out_of_range(key, Shown(value), "at most 8760h, a year"));
            }
        }
        if self.pong_timeout >= self.ping_interval {
            return Err(ConfigError::Conflict {
                key: "pong_timeout",
                value: Shown(self.pong_timeout).to_string(),
                remedy: format!("less than ping_interval, which is {}", Shown(self.ping_interval)),
            });
        }
        if self.unsolicited_pong_interval >= PEERS_PONG_TIMEOUT {
            return Err(out_of_range(
                "unsolicited_pong_interval",
                Shown(self.unsolicited_pong_interval),
                "less than 45s, after which peers without a pong disconnect",
            ));
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("max_recv_packet_size", self.max_recv_packet_size),
            ("reactor_budget", self.reactor_budget),
            ("parking_per_peer", self.parking_per_peer),
        ] {
            if value == 0 {
                return Err(out_of_range(key, value, "more than 0"));
            }
        }
        // The length of a packet has to fit into its protobuf encoding with room to spare.
        const MAX_PACKET: usize = 1 << 30;
        if self.max_recv_packet_size > MAX_PACKET {
            return Err(out_of_range(
                "max_recv_packet_size",
                self.max_recv_packet_size,
                "at most 1073741824",
            ));
        }
        let payload = self.max_packet_msg_payload_size;
        if payload < MIN_PACKET_PAYLOAD {
            return Err(out_of_range("max_packet_msg_payload_size", payload, "2 or more"));
        }
        self.check_order(
            ("max_packet_msg_payload_size", payload),
            ("max_recv_packet_size", self.max_recv_packet_size),
        )?;
        self.check_order(
            ("reactor_budget", self.reactor_budget),
            ("delivered_total", self.delivered_total),
        )?;
        self.check_order(
            ("parking_per_peer", self.parking_per_peer),
            ("parking_total", self.parking_total),
        )?;
        self.check_order(
            ("max_recv_packet_size", self.max_recv_packet_size),
            ("reassembly_pool", self.reassembly_pool),
        )
    }

    fn check_discovery(&self) -> Result<(), ConfigError> {
        if self.seed_mode && !self.pex {
            return Err(ConfigError::Conflict {
                key: "seed_mode",
                value: "true".to_owned(),
                remedy: "pex = true beside it, a seed does nothing else".to_owned(),
            });
        }
        Ok(())
    }

    fn check_accepting(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("max_pending_handshakes", self.max_pending_handshakes),
            ("max_pending_per_ip", self.max_pending_per_ip),
            ("crawl_concurrency", self.crawl_concurrency),
        ] {
            if value == 0 {
                return Err(out_of_range(key, value, "more than 0"));
            }
        }
        if self.max_pending_handshakes > MAX_PENDING {
            let remedy = format!("at most {MAX_PENDING}");
            return Err(out_of_range(
                "max_pending_handshakes",
                self.max_pending_handshakes,
                &remedy,
            ));
        }
        self.check_order(
            ("max_pending_per_ip", self.max_pending_per_ip),
            ("max_pending_per_subnet", self.max_pending_per_subnet),
        )?;
        self.check_order(
            ("max_pending_per_subnet", self.max_pending_per_subnet),
            ("max_pending_handshakes", self.max_pending_handshakes),
        )?;
        for (key, burst, rate_key, rate) in [
            (
                "accept_burst_per_ip",
                self.accept_burst_per_ip,
                "accept_rate_per_ip",
                self.accept_rate_per_ip,
            ),
            (
                "accept_burst_per_subnet",
                self.accept_burst_per_subnet,
                "accept_rate_per_subnet",
                self.accept_rate_per_subnet,
            ),
        ] {
            if burst == 0 && rate > 0 {
                let remedy = format!("1 or more, or set {rate_key} to 0 for no limit");
                return Err(ConfigError::Conflict { key, value: burst.to_string(), remedy });
            }
        }
        Ok(())
    }

    /// Whether each of so many reactors can have what it may from one peer.
    pub(crate) fn check_reactors(&self, reactors: usize) -> Result<(), ConfigError> {
        let (budget, total) = (self.reactor_budget, self.delivered_total);
        if budget <= total / reactors.max(1) {
            return Ok(());
        }
        Err(ConfigError::Conflict {
            key: "delivered_total",
            value: total.to_string(),
            remedy: format!(
                "at least {reactors} × reactor_budget, which is {budget}, or that less: there are \
                 {reactors} reactors"
            ),
        })
    }

    fn check_order(
        &self,
        (key, value): (&'static str, usize),
        (other, most): (&str, usize),
    ) -> Result<(), ConfigError> {
        if value <= most {
            return Ok(());
        }
        Err(ConfigError::Conflict {
            key,
            value: value.to_string(),
            remedy: format!("at most {other}, which is {most}"),
        })
    }

    fn check_peers(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("max_num_inbound_peers", self.max_num_inbound_peers),
            ("max_num_outbound_peers", self.max_num_outbound_peers),
        ] {
            if value > MAX_PEERS {
                return Err(out_of_range(key, value, &format!("at most {MAX_PEERS}")));
            }
        }
        if let Some(address) = self.external_address.as_ref().filter(|a| a.port() == 0) {
            return Err(undialable("external_address", address));
        }
        let unreachable = |list: &[PeerAddress]| list.iter().find(|a| !can_be_dialed(a)).cloned();
        if let Some(address) = unreachable(&self.seeds) {
            return Err(undialable("seeds", address));
        }
        match unreachable(&self.persistent_peers) {
            Some(address) => Err(undialable("persistent_peers", address)),
            None => Ok(()),
        }
    }
}

fn can_be_dialed(address: &PeerAddress) -> bool {
    address.port() != 0 && address.net_address().is_none_or(|address| address.is_valid())
}

fn out_of_range(key: &'static str, value: impl fmt::Display, remedy: &str) -> ConfigError {
    ConfigError::OutOfRange { key, value: value.to_string(), remedy: remedy.to_owned() }
}

fn undialable(key: &'static str, address: impl fmt::Display) -> ConfigError {
    ConfigError::Undialable { key, value: address.to_string() }
}

/// A duration in a form that can be written into the file.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A configuration makes no sense.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that makes no sense whatever the others are.
    #[error("{key} is {value}; make it {remedy}")]
    OutOfRange {
        /// The key in `[p2p]`, which is the name of the field.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        remedy: String,
    },
    /// A value that makes no sense beside another one.
    #[error("{key} is {value}; make it {remedy}")]
    Conflict {
        /// The key in `[p2p]`, which is the name of the field.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        remedy: String,
    },
    /// An address to dial at which nobody can be.
    #[error(
        "{key} has the address {value}; give it an IP address or a host and a port above 0 that can be dialed"
    )]
    Undialable {
        /// The key in `[p2p]`, which is the name of the field.
        key: &'static str,
        /// The address.
        value: String,
    },
}

crate::text::readable_debug!(ConfigError);

impl ConfigError {
    /// The key in `[p2p]` that is to be changed, which is the name of the field.
    pub fn key(&self) -> &'static str {
        match self {
            Self::OutOfRange { key, .. }
            | Self::Conflict { key, .. }
            | Self::Undialable { key, .. } => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong value and the key that has to be named.
    type Case = (fn(&mut Config), &'static str);

    #[test]
    fn the_default_is_fine() {
        Config::default().check().unwrap();
        Config::as_init_writes_it().check().unwrap();
    }

    #[test]
    fn each_wrong_value_is_named() {
        const ID: &str = "ed99ea2d90b79612618deaed7cdde9e9786223b7";
        let peer = |location: &str| vec![format!("{ID}@{location}").parse().unwrap()];
        let cases: &[Case] = &[
            (
                |c| c.persistent_peers_max_dial_period = Duration::MAX,
                "persistent_peers_max_dial_period",
            ),
            (|c| c.flush_throttle_timeout = Duration::MAX, "flush_throttle_timeout"),
            (|c| c.handshake_timeout = Duration::ZERO, "handshake_timeout"),
            (|c| c.handshake_timeout = MAX_DURATION + Duration::from_nanos(1), "handshake_timeout"),
            (|c| c.dial_timeout = Duration::ZERO, "dial_timeout"),
            (|c| c.ping_interval = Duration::ZERO, "ping_interval"),
            (|c| c.ping_interval = c.pong_timeout, "pong_timeout"),
            (|c| c.pong_timeout = Duration::ZERO, "pong_timeout"),
            (|c| c.pong_timeout = c.ping_interval, "pong_timeout"),
            (|c| c.unsolicited_pong_interval = Duration::ZERO, "unsolicited_pong_interval"),
            (|c| c.unsolicited_pong_interval = PEERS_PONG_TIMEOUT, "unsolicited_pong_interval"),
            (|c| c.send_timeout = Duration::ZERO, "send_timeout"),
            (|c| c.close_timeout = Duration::ZERO, "close_timeout"),
            (|c| c.drain_timeout = Duration::MAX, "drain_timeout"),
            (|c| c.max_packet_msg_payload_size = 0, "max_packet_msg_payload_size"),
            (|c| c.max_packet_msg_payload_size = 1, "max_packet_msg_payload_size"),
            (|c| c.max_recv_packet_size = 1023, "max_packet_msg_payload_size"),
            (|c| c.max_recv_packet_size = 0, "max_recv_packet_size"),
            (|c| c.max_recv_packet_size = usize::MAX, "max_recv_packet_size"),
            (|c| c.reactor_budget = 0, "reactor_budget"),
            (|c| c.delivered_total = c.reactor_budget - 1, "reactor_budget"),
            (|c| c.parking_per_peer = 0, "parking_per_peer"),
            (|c| c.parking_total = c.parking_per_peer - 1, "parking_per_peer"),
            (|c| c.reassembly_pool = c.max_recv_packet_size - 1, "max_recv_packet_size"),
            (|c| c.max_num_inbound_peers = usize::MAX, "max_num_inbound_peers"),
            (|c| c.max_num_outbound_peers = usize::MAX, "max_num_outbound_peers"),
            (|c| (c.seed_mode, c.pex) = (true, false), "seed_mode"),
            (|c| c.connection_filter_timeout = Duration::ZERO, "connection_filter_timeout"),
            (|c| c.peer_filter_timeout = Duration::ZERO, "peer_filter_timeout"),
            (|c| c.dial_spread = Duration::MAX, "dial_spread"),
            (|c| c.ensure_peers_period = Duration::ZERO, "ensure_peers_period"),
            (|c| c.pex_request_interval = Duration::ZERO, "pex_request_interval"),
            (|c| c.pex_ban_time = Duration::ZERO, "pex_ban_time"),
            (|c| c.pex_abuse_ban_time = Duration::ZERO, "pex_abuse_ban_time"),
            (|c| c.good_after = Duration::ZERO, "good_after"),
            (|c| c.crawl_period = Duration::ZERO, "crawl_period"),
            (|c| c.crawl_timeout = Duration::ZERO, "crawl_timeout"),
            (|c| c.seed_disconnect_wait_period = Duration::ZERO, "seed_disconnect_wait_period"),
            (|c| c.crawl_concurrency = 0, "crawl_concurrency"),
            (|c| (c.pex, c.seed_mode) = (false, true), "seed_mode"),
            (|c| c.max_pending_handshakes = 0, "max_pending_handshakes"),
            (|c| c.max_pending_handshakes = MAX_PENDING + 1, "max_pending_handshakes"),
            (|c| c.max_pending_per_ip = 0, "max_pending_per_ip"),
            (|c| c.max_pending_per_ip = c.max_pending_per_subnet + 1, "max_pending_per_ip"),
            (|c| c.max_pending_per_subnet = 1025, "max_pending_per_subnet"),
            (|c| c.accept_burst_per_ip = 0, "accept_burst_per_ip"),
            (|c| c.accept_burst_per_subnet = 0, "accept_burst_per_subnet"),
            (|c| c.external_address = "1.2.3.4:0".parse().ok(), "external_address"),
        ];
        for (at, (spoil, key)) in cases.iter().enumerate() {
            let mut config = Config::default();
            spoil(&mut config);
            let error = config.check().expect_err(key);
            assert_eq!(error.key(), *key, "case {at}: {error}");
            assert!(error.to_string().starts_with(key), "{error}");
        }
        for location in ["1.2.3.4:0", "seed.example.com:0", "0.0.0.0:1", "[::]:1"] {
            let config = Config { seeds: peer(location), ..Config::default() };
            assert_eq!(config.check().unwrap_err().key(), "seeds");
            let config = Config { persistent_peers: peer(location), ..Config::default() };
            assert_eq!(config.check().unwrap_err().key(), "persistent_peers");
        }
    }

    #[test]
    fn the_edges_are_allowed() {
        let cases: &[fn(&mut Config)] = &[
            |c| c.drain_timeout = Duration::ZERO,
            |c| c.flush_throttle_timeout = Duration::ZERO,
            |c| c.dial_timeout = MAX_DURATION,
            |c| (c.send_rate, c.recv_rate) = (0, 0),
            |c| c.send_queue_bytes = 0,
            |c| (c.max_num_inbound_peers, c.max_num_outbound_peers) = (0, 0),
            |c| c.max_packet_msg_payload_size = c.max_recv_packet_size,
            |c| c.max_packet_msg_payload_size = 2,
            |c| c.delivered_total = c.reactor_budget,
            |c| c.parking_total = c.parking_per_peer,
            |c| (c.accept_rate_per_ip, c.accept_burst_per_ip) = (0, 0),
            |c| c.max_pending_per_ip = c.max_pending_per_subnet,
            |c| c.max_pending_per_subnet = c.max_pending_handshakes,
            |c| c.max_pending_handshakes = MAX_PENDING,
            |c| c.dial_spread = Duration::ZERO,
            |c| c.laddr = None,
            |c| c.pex = false,
        ];
        for (at, change) in cases.iter().enumerate() {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.check(), Ok(()), "case {at}");
        }
    }

    #[test]
    fn errors_say_what_to_write() {
        let config = Config { pong_timeout: Duration::from_secs(90), ..Config::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "pong_timeout is 90s; make it less than ping_interval, which is 60s"
        );
        let config = Config { dial_timeout: Duration::ZERO, ..Config::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "dial_timeout is 0ns; make it more than 0s"
        );
        let config = Config { max_pending_per_ip: 40, ..Config::default() };
        assert_eq!(
            config.check().unwrap_err().to_string(),
            "max_pending_per_ip is 40; make it at most max_pending_per_subnet, which is 32"
        );
    }
}
