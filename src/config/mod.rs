//! How a node behaves: the `[p2p]` table of `config.toml`, and what is this crate's own.
//!
//! Plain data, checked once when a switch starts.

mod bias;
mod check;
mod duration;
mod number;
mod scalar;
mod table;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

pub use bias::PexBias;
pub(crate) use bias::UnfitBias;
pub use check::ConfigError;
pub(crate) use check::MAX_PEERS;

use crate::{Cidr, ListenAddress, NodeId, PeerAddress};

/// How a node behaves. The first fields are named as the keys of `[p2p]` in `config.toml` and have
/// the values of Tendermint v0.34, from [`laddr`](Self::laddr) to
/// [`dial_timeout`](Self::dial_timeout); the others are this crate's own.
///
/// [`Default`] differs from v0.34 in two of them, so that a switch in a test or a tool neither
/// opens a port to the world nor writes into the working directory: `laddr` is `127.0.0.1:0`
/// and `addr_book_file` is `None`.
///
/// ```
/// # use std::time::Duration;
/// let config = tmp2p::Config { dial_timeout: Duration::from_secs(1), ..Default::default() };
/// config.check()?;
/// # Ok::<_, tmp2p::ConfigError>(())
/// ```
///
/// # Reading it from a file
/// [`Deserialize`](serde::Deserialize) reads the `[p2p]` table as Tendermint and CometBFT write it:
/// lists separated by commas in one string, durations as Go writes them (`"1m30s"`), bytes and
/// counts as integers. This crate's own fields can be set in the same form. Keys that are absent
/// take the values that `tendermint init` writes (`laddr` is `tcp://0.0.0.0:26656` then, and
/// `addr_book_file` is `config/addrbook.json`). An empty string stands for `None`. `upnp`, which
/// only v0.34 has, is ignored, with a warning if it is on; any other unknown key is an error.
///
/// Types are as weak as in Go: numbers and booleans may stand in quotes, in every form that
/// `strconv.ParseInt` (base 0: `"0x10"`, `"1_000"`) and `strconv.ParseBool` (`"1"`, `"T"`, …) take, an
/// empty text is 0 or off; a duration without quotes is a number of nanoseconds.
///
/// # Memory
/// With *R* reactors (that of peer exchange included) whose largest message capacity is *M*, peers can
/// make this node hold at most, however many they are and whatever they send,
///
/// ```text
/// delivered     delivered_total + R × M
/// parked        parking_total + M
/// incomplete    reassembly_pool + M
/// sessions      (max_num_inbound_peers + max_num_outbound_peers) × 200 KiB
/// strangers     max_pending_handshakes × 20 KiB + 10 MiB
/// spares        3 MiB
/// ```
///
/// With the defaults and the six reactors of a full node of v0.34, whose largest messages are of
/// 22,020,096 bytes, that is **1.2 GiB**: 1024 MiB of the three totals, 168 MiB of messages that pass
/// a bound, 40 MiB of connections.
///
/// Each bound is looked at before something is added, hence the *M*. A delivered message counts as
/// the memory of its bytes (at most an eighth or 15 bytes more than they are) + 256, and what a reactor took
/// out of its envelope counts no more. Persistent and unconditional peers are sessions beside those limits. A stranger takes 1 KiB while it is silent
/// (464 bytes of state, 200 of the handshake, the rest in tables), and at most 20 KiB if it has
/// authenticated itself and sent half a NodeInfo, or waits for a verdict. The 10 MiB are the accept
/// rates of addresses and networks (6), those of sessions (3), and what the switch is told of
/// strangers and has not read. One peer alone can make a node hold `reactor_budget` + *M* per
/// reactor, `parking_per_peer` + *M* beside, and one incomplete message per channel.
///
/// Spares are the memory of messages of up to 72 KiB that reactors have let go, for the next ones.
///
/// What is to be sent is the application's. Per peer and channel a queue takes `send_queue_bytes`, or the
/// channel's [`send_queue_capacity`](crate::ChannelDescriptor::send_queue_capacity) in messages of whatever size
/// if that is more, and one message beyond; the loop has taken as much again, and broadcasts that wait for a
/// place hold 4 × `send_queue_bytes` at most. What is sent to many peers is held once.
///
/// Beside all that are the address book (20,480 addresses and as many bad ones, 50,000 automatic bans) and what
/// subscribers have not read (4096 events each).
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen for peers. `None` listens nowhere: the node only dials.
    ///
    /// Default `tcp://127.0.0.1:0`.
    pub laddr: Option<ListenAddress>,
    /// The address to announce for others to dial, where that differs from what
    /// [`laddr`](Self::laddr) says. Default none.
    pub external_address: Option<ListenAddress>,
    /// Nodes to ask for addresses: dialed in random order, one after the other until one is
    /// reached. In every round ([`ensure_peers_period`](Self::ensure_peers_period)) that finds the
    /// node without an outbound peer, or after one that reached nobody, whatever the book holds; and
    /// where the book has too few addresses and none to dial. What a seed tells is dialed at
    /// once. A seed dials others while its crawl reaches nobody. Default none.
    pub seeds: Vec<PeerAddress>,
    /// Nodes to be connected to at all times: dialed when the switch starts and again whenever
    /// the connection is lost, at the address given here, which is resolved anew each time. One that
    /// is listed with several addresses is dialed at one after the other.
    /// Admitted however many peers there are. Default none.
    pub persistent_peers: Vec<PeerAddress>,
    /// Where the address book is kept; a relative path is the application's to complete. The
    /// reference keeps it in a file that ends in `.json`: then ours is the SQLite database beside
    /// it that ends in `.sqlite`. What the reference's file holds is taken in when the switch starts,
    /// once for each content of it, and the file is never written: deleting it forgets nothing.
    /// `None` keeps the book in memory, and so does a crate without the feature `sqlite`.
    /// Default `None`.
    pub addr_book_file: Option<PathBuf>,
    /// Whether the address book takes routable addresses only. Off for private networks.
    /// Default on.
    pub addr_book_strict: bool,
    /// Most peers that dialed us, not counting persistent and unconditional ones. While there are
    /// so many, others are closed as soon as they connect, but for a few a second that may
    /// turn out to be persistent or unconditional, which networks share evenly, and for configured
    /// addresses of persistent peers. Default 40.
    pub max_num_inbound_peers: usize,
    /// Up to how many peers are dialed for peer exchange, not counting persistent and
    /// unconditional ones. What the application dials is not limited, but while it is being dialed
    /// it counts, as every attempt does. Default 10.
    pub max_num_outbound_peers: usize,
    /// Nodes that are admitted however many peers there are and whoever shares their address.
    /// Default none.
    pub unconditional_peer_ids: Vec<NodeId>,
    /// Longest pause between two dials of a persistent peer, to which up to a quarter is added at
    /// random; 0 is 60 s. The first pause is 1 s, each further one twice as long. Default 0.
    pub persistent_peers_max_dial_period: Duration,
    /// Without effect: nothing here waits for a timer before it writes. Accepted and checked because
    /// every `config.toml` has it. Default 100 ms.
    pub flush_throttle_timeout: Duration,
    /// Most bytes of a message in one packet. Peers with the default refuse packets that
    /// are larger than theirs. Default 1024.
    pub max_packet_msg_payload_size: usize,
    /// Most bytes a second sent to one peer, counted as [`recv_rate`](Self::recv_rate) counts; 0 is no
    /// limit. Default 5,120,000.
    pub send_rate: u64,
    /// Most bytes a second received from one peer, counting encoded packets, and for each sealed
    /// frame of 1044 bytes on the line 256 on average; 0 is no limit. Default 5,120,000.
    pub recv_rate: u64,
    /// Whether to exchange addresses with peers, on channel 0x00, which is the switch's own then,
    /// and to dial nodes of the address book. Default on.
    pub pex: bool,
    /// Whether this is a seed, which crawls the network, and hands addresses that it has reached
    /// itself to whoever asks, once, and closes the connection. Needs [`pex`](Self::pex).
    /// Default off.
    pub seed_mode: bool,
    /// Nodes whose addresses are told to nobody. Default none.
    pub private_peer_ids: Vec<NodeId>,
    /// Whether several peers may share an IP address, at most
    /// [`max_peers_per_ip`](Self::max_peers_per_ip). Persistent and unconditional peers always
    /// may. Default off.
    pub allow_duplicate_ip: bool,
    /// Time from the connection to the end of the handshake, all its steps together. What peer
    /// exchange dials has 6 s in all at most, this and [`dial_timeout`](Self::dial_timeout) together.
    /// Default 20 s.
    pub handshake_timeout: Duration,
    /// Time for a dial to reach the other side. Default 3 s.
    pub dial_timeout: Duration,

    /// Pause between two pings to a peer. Default 60 s (`p2p/conn/connection.go`).
    pub ping_interval: Duration,
    /// Time for the answer to a ping; shorter than [`ping_interval`](Self::ping_interval). A peer
    /// of which nothing is heard for so long is gone. Default 45 s (`p2p/conn/connection.go`).
    pub pong_timeout: Duration,
    /// While a peer that sends too fast is not read, its pings cannot be seen; one pong after each
    /// such time keeps it from giving us up, also for six such times afterwards, while what it has
    /// written is still under way. Shorter than the 45 s after which it would. Default 20 s, two
    /// chances.
    pub unsolicited_pong_interval: Duration,
    /// Largest packet taken from a peer, bytes of data, so that peers with another
    /// [`max_packet_msg_payload_size`](Self::max_packet_msg_payload_size) are understood. Bounds
    /// what one packet can make this node reserve. Default 1 MiB.
    pub max_recv_packet_size: usize,
    /// Bytes up to which a channel's send queue takes messages beyond its capacity in number; 0
    /// leaves the number alone to decide, as the reference does. Default 256 KiB, so that several
    /// messages of 64 KiB fit: with a capacity of one message each costs two changes of threads.
    pub send_queue_bytes: usize,
    /// How long sending waits for a place in the queue. A peer that takes less than a frame (1 KiB) of
    /// what is queued for it in three times as long is disconnected. Default 10 s
    /// (`p2p/conn/connection.go`).
    pub send_timeout: Duration,
    /// Bytes of messages that one reactor may have received from one peer and not yet dropped.
    /// Beyond it messages are parked. Default 1 MiB.
    pub reactor_budget: usize,
    /// Bytes of messages that all reactors together may have received and not yet dropped, from all
    /// peers. Each has an even share, so that one that is stuck takes nothing from another; beyond it
    /// messages are parked until half of it is free. At least
    /// [`reactor_budget`](Self::reactor_budget) for each reactor, that of peer exchange included.
    /// Bounds what many peers can make one slow reactor hold. Default 256 MiB.
    pub delivered_total: usize,
    /// Bytes of one peer's messages parked until its reactors have room. Beyond it the peer is not
    /// read. Default 4 MiB, so that votes go on while a reactor with 1 MiB works for seconds.
    pub parking_per_peer: usize,
    /// Bytes parked for all peers together, which bounds what many peers can park at once. At least
    /// twice the largest message capacity of a channel. Default 256 MiB: 64 peers with all theirs.
    pub parking_total: usize,
    /// Bytes of incomplete messages of all peers together. Beyond it the peer with most of them is
    /// disconnected, reserved ones last, so that peers who never finish a message cannot exhaust memory. At
    /// least twice the largest message capacity of a channel. Default 512 MiB: 24 messages of v0.34's
    /// 22,020,096 bytes.
    pub reassembly_pool: usize,
    /// Time to write what was accepted and to read the other side's end before a connection is
    /// closed hard. Default 5 s.
    pub close_timeout: Duration,
    /// How long messages that came before the end of a connection wait for their reactor to
    /// make room; 0 gives them up at once. Until then the node is a peer. Default 10 s.
    pub drain_timeout: Duration,

    /// Accepted connections that are no sessions yet, at any time. A new one beyond it takes the place
    /// of the oldest of those that have come least far, so that many silent connections keep nobody
    /// out; so does the oldest of those that authenticated themselves and say no more if they have
    /// over a quarter. Up to half are kept for `exempt_cidrs` and for configured addresses of persistent peers. Default 1024.
    pub max_pending_handshakes: usize,
    /// The same for one IP address; more are closed at once. Default 8.
    pub max_pending_per_ip: usize,
    /// The same for one /24 of IPv4 or /64 of IPv6; twice as many for a /56 and four times for a
    /// /48. Default 32.
    pub max_pending_per_subnet: usize,
    /// Connections a second taken from one IP address; more are closed at once, so that nobody
    /// makes this node compute handshakes all day. 0 is no limit. Default 5.
    pub accept_rate_per_ip: u32,
    /// How many connections of one IP address may come at once before the rate counts. Default 10.
    pub accept_burst_per_ip: u32,
    /// Connections a second taken from one /24 of IPv4 or /64 of IPv6; twice as many from a /56 and
    /// four times from a /48. 0 is no limit. Default 20.
    pub accept_rate_per_subnet: u32,
    /// How many connections of one such network may come at once. Default 40.
    pub accept_burst_per_subnet: u32,
    /// Most peers with one IP address, where [`allow_duplicate_ip`](Self::allow_duplicate_ip) is
    /// on, not counting persistent and unconditional ones; 0 is no limit, as in the reference.
    /// Default 0.
    pub max_peers_per_ip: usize,
    /// Most peers that dialed us from one /24 of IPv4 or /64 of IPv6, and twice as many from one /48;
    /// 0 is no limit. So that who has one network cannot take all places. Counts public addresses
    /// only, no persistent and unconditional peers, and nobody where
    /// [`allow_duplicate_ip`](Self::allow_duplicate_ip) says that many share one. Default 4.
    pub max_inbound_per_subnet: usize,
    /// Addresses to which none of the limits per address or network applies: neither the pending
    /// connections nor the accept rates nor the pace of sessions nor `max_peers_per_ip` nor
    /// `max_inbound_per_subnet`. For one's own machines
    /// behind one address. Default none.
    pub exempt_cidrs: Vec<Cidr>,
    /// How long a connection filter may take to decide; no answer is a refusal. Default 1 s.
    pub connection_filter_timeout: Duration,
    /// How long a peer filter may take to decide; no answer is a refusal. Default 5 s
    /// (`p2p/switch.go`, `defaultFilterTimeout`).
    pub peer_filter_timeout: Duration,
    /// [`SwitchHandle::dial_peers`](crate::SwitchHandle::dial_peers) and the start of
    /// the switch dial each node after a random part of this time, so that a network that
    /// starts at once does not dial at once. Default 3 s (`p2p/switch.go`, `dialRandomizerIntervalMilliseconds`).
    pub dial_spread: Duration,
    /// After how many failed attempts in a row a persistent peer is given up, so that it is one like
    /// others in the book and may be found again by peer exchange; 0 is never. Default 0.
    pub reconnect_give_up: u32,

    /// How often the number of peers is looked at, and more are dialed or asked for if there are
    /// too few; while there is nobody at all, at once and then at pauses that grow up to this. A
    /// third of it is the least time between two requests of a peer that are answered, and a dialed
    /// peer must stay as long to count as reached; a thirtieth is what pauses after failed dials are
    /// doubled from. Default 30 s (`p2p/pex/pex_reactor.go`, `defaultEnsurePeersPeriod`).
    pub ensure_peers_period: Duration,
    /// How much new addresses are preferred to proven ones, by the number of outbound peers. Not
    /// read from a file. Default 10 + 10 × min(outbound, 8) per cent.
    pub pex_bias: PexBias,
    /// Least time between two requests to the same node. Up to v0.38 a node bans whoever asks
    /// again within 10 s for a day. Default 30 s.
    pub pex_request_interval: Duration,
    /// How long a node is banned that sends addresses nobody asked for, or a list that no node
    /// makes. Default 24 h (`p2p/pex/pex_reactor.go`, `defaultBanTime`).
    pub pex_ban_time: Duration,
    /// How long a node is banned that asks for addresses all the time. Default 10 min.
    pub pex_abuse_ban_time: Duration,
    /// How long a peer that we dialed must stay for its address to count as good, unless
    /// [`Peer::mark_good`](crate::Peer::mark_good) says so before: applications with consensus know
    /// better which peers are. What [`Peer::mark_bad`](crate::Peer::mark_bad) says of it stands.
    /// Default 5 min.
    pub good_after: Duration,
    /// How many addresses a seed crawls at a time. Default 64.
    pub crawl_concurrency: usize,
    /// Least time between two crawls of an address. Default 2 min (`p2p/pex/pex_reactor.go`,
    /// `minTimeBetweenCrawls`). A seed that knows more than 600 addresses which answer crawls these so
    /// much less often, so that it is 5 a second with the default, but each within three hours.
    pub crawl_period: Duration,
    /// How long a crawled node may take to answer. Default 15 s.
    pub crawl_timeout: Duration,
    /// How long a peer may stay with a seed. Default 28 h (`p2p/pex/pex_reactor.go`,
    /// `SeedDisconnectWaitPeriod`).
    pub seed_disconnect_wait_period: Duration,
}

impl Config {
    /// Where the database of the address book is: [`addr_book_file`](Self::addr_book_file), or the file
    /// beside it that ends in `.sqlite` if it is the reference's, which ends in `.json` and is not ours
    /// to overwrite. For programs that look at a book beside a switch. `None`: the book is in memory.
    pub fn addr_book_database(&self) -> Option<PathBuf> {
        self.addr_book_file.as_deref().map(database_of)
    }

    /// The values that `tendermint init` of v0.34 writes.
    fn as_init_writes_it() -> Self {
        Self {
            laddr: Some(std::net::SocketAddr::from(([0, 0, 0, 0], 26656)).into()),
            addr_book_file: Some("config/addrbook.json".into()),
            ..Self::default()
        }
    }
}

/// The database of a book that is configured as this file.
pub(crate) fn database_of(file: &Path) -> PathBuf {
    if is_references(file) { file.with_extension("sqlite") } else { file.to_owned() }
}

/// Whether the reference keeps its book in such a file.
pub(crate) fn is_references(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "json")
}

impl Default for Config {
    fn default() -> Self {
        const KIB: usize = 1024;
        const MIB: usize = 1024 * KIB;
        Self {
            laddr: Some(ListenAddress::default()),
            external_address: None,
            seeds: Vec::new(),
            persistent_peers: Vec::new(),
            addr_book_file: None,
            addr_book_strict: true,
            max_num_inbound_peers: 40,
            max_num_outbound_peers: 10,
            unconditional_peer_ids: Vec::new(),
            persistent_peers_max_dial_period: Duration::ZERO,
            flush_throttle_timeout: Duration::from_millis(100),
            max_packet_msg_payload_size: 1024,
            send_rate: 5_120_000,
            recv_rate: 5_120_000,
            pex: true,
            seed_mode: false,
            private_peer_ids: Vec::new(),
            allow_duplicate_ip: false,
            handshake_timeout: Duration::from_secs(20),
            dial_timeout: Duration::from_secs(3),
            ping_interval: Duration::from_secs(60),
            pong_timeout: Duration::from_secs(45),
            unsolicited_pong_interval: Duration::from_secs(20),
            max_recv_packet_size: MIB,
            send_queue_bytes: 256 * KIB,
            send_timeout: Duration::from_secs(10),
            reactor_budget: MIB,
            delivered_total: 256 * MIB,
            parking_per_peer: 4 * MIB,
            parking_total: 256 * MIB,
            reassembly_pool: 512 * MIB,
            close_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
            max_pending_handshakes: 1024,
            max_pending_per_ip: 8,
            max_pending_per_subnet: 32,
            accept_rate_per_ip: 5,
            accept_burst_per_ip: 10,
            accept_rate_per_subnet: 20,
            accept_burst_per_subnet: 40,
            max_peers_per_ip: 0,
            max_inbound_per_subnet: 4,
            exempt_cidrs: Vec::new(),
            connection_filter_timeout: Duration::from_secs(1),
            peer_filter_timeout: Duration::from_secs(5),
            dial_spread: Duration::from_secs(3),
            reconnect_give_up: 0,
            ensure_peers_period: Duration::from_secs(30),
            pex_bias: PexBias::default(),
            pex_request_interval: Duration::from_secs(30),
            pex_ban_time: Duration::from_secs(24 * 3600),
            pex_abuse_ban_time: Duration::from_secs(10 * 60),
            good_after: Duration::from_secs(5 * 60),
            crawl_concurrency: 64,
            crawl_period: Duration::from_secs(2 * 60),
            crawl_timeout: Duration::from_secs(15),
            seed_disconnect_wait_period: Duration::from_secs(28 * 3600),
        }
    }
}
