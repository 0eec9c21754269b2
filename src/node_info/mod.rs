//! What a node says of itself after the handshake.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

mod error;
mod limits;
mod wire;

pub use error::{Incompatible, NodeInfoError};
pub use limits::MAX_NODE_INFO_SIZE;

use self::limits::MAX_CHANNELS;
use crate::{
    AddressError, ChannelId, ListenAddress, NetAddress, NodeId, PeerAddress,
    address::without_scheme,
    text::{is_printable_and_not_blank, shown},
};

/// The p2p protocol that this crate speaks (`version/version.go`, `P2PProtocol`).
const P2P_PROTOCOL: u64 = 8;

/// The block protocol of Tendermint v0.34 and all of CometBFT.
const BLOCK_PROTOCOL: u64 = 11;

/// What a node says of itself: which chain, which channels, where it listens.
///
/// The switch fills in ID, channels and listen address of our own. A peer's is foreign text: it may
/// be shown only once [`validate`](Self::validate) has passed, and even then the network is
/// whatever the peer wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    p2p_protocol: u64,
    block_protocol: u64,
    app_protocol: u64,
    id: String,
    listen_addr: String,
    network: String,
    version: String,
    channels: Vec<ChannelId>,
    moniker: String,
    tx_index: String,
    rpc_address: String,
}

impl NodeInfo {
    /// A node of this chain (the chain ID, which peers must have as well) with a name for people
    /// to recognise it by. Block protocol 11, app protocol 0, and this crate as version.
    ///
    /// # Errors
    /// [`NodeInfoError::Network`] if the network is empty: it would match every node that forgot
    /// to set one. [`NodeInfoError::Moniker`] if peers would refuse the moniker.
    pub fn new(
        network: impl Into<String>,
        moniker: impl Into<String>,
    ) -> Result<Self, NodeInfoError> {
        let (network, moniker) = (network.into(), moniker.into());
        if network.is_empty() {
            return Err(NodeInfoError::Network);
        }
        check_moniker(&moniker)?;
        Ok(Self {
            p2p_protocol: P2P_PROTOCOL,
            block_protocol: BLOCK_PROTOCOL,
            app_protocol: 0,
            id: String::new(),
            listen_addr: String::new(),
            network,
            version: concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")).to_owned(),
            channels: Vec::new(),
            moniker,
            tx_index: String::new(),
            rpc_address: String::new(),
        })
    }

    /// With the application's own version, printable ASCII. Peers show it and do nothing with it.
    #[must_use]
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// With this block protocol; only nodes with the same one talk to each other.
    #[must_use]
    pub fn with_block_protocol(mut self, version: u64) -> Self {
        self.block_protocol = version;
        self
    }

    /// With the application's protocol version. Peers do nothing with it.
    #[must_use]
    pub fn with_app_protocol(mut self, version: u64) -> Self {
        self.app_protocol = version;
        self
    }

    /// Saying whether this node indexes transactions; without a call it says neither.
    #[must_use]
    pub fn with_tx_index(mut self, on: bool) -> Self {
        self.tx_index = if on { "on" } else { "off" }.to_owned();
        self
    }

    /// With the address of its RPC server, printable ASCII. Peers show it and do nothing with it.
    #[must_use]
    pub fn with_rpc_address(mut self, address: impl Into<String>) -> Self {
        self.rpc_address = address.into();
        self
    }

    /// With this ID. Peers refuse any but the one that the node authenticates as; the switch sets it.
    #[must_use]
    pub fn with_id(mut self, id: NodeId) -> Self {
        self.id = id.to_string();
        self
    }

    /// Announcing this address for others to dial. The switch sets it.
    #[must_use]
    pub fn with_listen_addr(mut self, address: &ListenAddress) -> Self {
        self.listen_addr = address.to_string();
        self
    }

    /// With these channels, in this order, at most 16, none twice. The switch sets them.
    #[must_use]
    pub fn with_channels(mut self, channels: impl IntoIterator<Item = ChannelId>) -> Self {
        self.channels = channels.into_iter().collect();
        self
    }

    /// Version of the p2p protocol; 8 in all that this crate can talk to, which nobody checks.
    pub fn p2p_protocol(&self) -> u64 {
        self.p2p_protocol
    }

    /// Version of the block protocol.
    pub fn block_protocol(&self) -> u64 {
        self.block_protocol
    }

    /// Version of the application's protocol.
    pub fn app_protocol(&self) -> u64 {
        self.app_protocol
    }

    /// The ID that the node claims; `None` if there is none or it is not one. What counts is the ID
    /// that it authenticated as.
    pub fn id(&self) -> Option<NodeId> {
        self.id.parse().ok()
    }

    /// The address that the node announces, as it wrote it.
    pub fn listen_addr(&self) -> &str {
        &self.listen_addr
    }

    /// The announced address, if it can be dialed without a look-up: a name that a peer made up is
    /// never resolved. It may still be one that is not valid or not routable.
    pub fn listen_net_address(&self) -> Option<NetAddress> {
        self.listen_peer_address().ok()?.net_address()
    }

    /// The chain ID.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Version of the node's program.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The node's channels, in its order.
    pub fn channels(&self) -> &[ChannelId] {
        &self.channels
    }

    /// Whether the node has this channel. Nothing may be sent on any other.
    pub fn has_channel(&self, channel: ChannelId) -> bool {
        self.channels.contains(&channel)
    }

    /// The node's name for people.
    pub fn moniker(&self) -> &str {
        &self.moniker
    }

    /// `"on"`, `"off"` or empty.
    pub fn tx_index(&self) -> &str {
        &self.tx_index
    }

    /// Address of the node's RPC server, in whatever form.
    pub fn rpc_address(&self) -> &str {
        &self.rpc_address
    }

    /// Whether this is a NodeInfo that nodes accept from each other, judged as the reference does
    /// and in its order (`p2p/node_info.go`, `Validate`), but without resolving anything: an
    /// announced host name is fine, it just cannot be dialed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), NodeInfoError> {
        self.listen_peer_address().map_err(NodeInfoError::ListenAddress)?;
        if !self.version.is_empty() && !is_printable_and_not_blank(&self.version) {
            return Err(NodeInfoError::Version { found: shown(&self.version) });
        }
        if self.channels.len() > MAX_CHANNELS {
            return Err(NodeInfoError::TooManyChannels { found: self.channels.len() });
        }
        let is_again = |(at, channel): &(usize, &ChannelId)| {
            self.channels.iter().take(*at).any(|earlier| earlier == *channel)
        };
        if let Some((_, channel)) = self.channels.iter().enumerate().find(is_again) {
            return Err(NodeInfoError::DuplicateChannel(*channel));
        }
        check_moniker(&self.moniker)?;
        if !matches!(self.tx_index.as_str(), "" | "on" | "off") {
            return Err(NodeInfoError::TxIndex { found: shown(&self.tx_index) });
        }
        if !self.rpc_address.is_empty() && !is_printable_and_not_blank(&self.rpc_address) {
            return Err(NodeInfoError::RpcAddress { found: shown(&self.rpc_address) });
        }
        // Last, because only our own can get here with too much in it.
        match self.encode().len() {
            found if found > MAX_NODE_INFO_SIZE => Err(NodeInfoError::TooLarge { found }),
            _ => Ok(()),
        }
    }

    /// Whether this node can do anything with that one: same block protocol, same network, and a
    /// channel in common. A node without channels takes anybody.
    ///
    /// # Errors
    /// The first difference.
    pub fn compatible_with(&self, theirs: &Self) -> Result<(), Incompatible> {
        if self.block_protocol != theirs.block_protocol {
            return Err(Incompatible::BlockProtocol {
                ours: self.block_protocol,
                theirs: theirs.block_protocol,
            });
        }
        if self.network != theirs.network {
            return Err(Incompatible::Network {
                ours: shown(&self.network),
                theirs: shown(&theirs.network),
            });
        }
        if !self.channels.is_empty()
            && !self.channels.iter().any(|channel| theirs.has_channel(*channel))
        {
            return Err(Incompatible::NoCommonChannel {
                ours: self.channels.iter().take(MAX_CHANNELS).copied().collect(),
                theirs: theirs.channels.iter().take(MAX_CHANNELS).copied().collect(),
            });
        }
        Ok(())
    }

    fn listen_peer_address(&self) -> Result<PeerAddress, AddressError> {
        format!("{}@{}", self.id, without_scheme(&self.listen_addr)).parse()
    }
}

fn check_moniker(moniker: &str) -> Result<(), NodeInfoError> {
    if is_printable_and_not_blank(moniker) {
        Ok(())
    } else {
        Err(NodeInfoError::Moniker { found: shown(moniker) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info() -> NodeInfo {
        NodeInfo::new("test-chain", "node")
            .unwrap()
            .with_id(NodeId::from_bytes([0xab; 20]))
            .with_listen_addr(&"tcp://1.2.3.4:26656".parse().unwrap())
            .with_channels([0x20, 0x30, 0].map(ChannelId::new))
            .with_tx_index(true)
            .with_rpc_address("tcp://127.0.0.1:26657")
    }

    #[test]
    fn a_complete_one_is_valid_and_dialable() {
        let info = info();
        info.validate().unwrap();
        assert_eq!(info.id(), Some(NodeId::from_bytes([0xab; 20])));
        let address = info.listen_net_address().unwrap();
        assert_eq!(address.to_string(), format!("{}@1.2.3.4:26656", "ab".repeat(20)));
        assert!(info.has_channel(ChannelId::new(0)) && !info.has_channel(ChannelId::new(1)));
        assert!(info.version().starts_with("tmp2p/"));
    }

    #[test]
    fn a_host_name_is_valid_and_never_dialable() {
        let info = info().with_listen_addr(&"tcp://node.example.com:1".parse().unwrap());
        info.validate().unwrap();
        assert_eq!(info.listen_net_address(), None);
    }

    #[test]
    fn refuses_to_be_nobody() {
        assert_eq!(NodeInfo::new("", "node"), Err(NodeInfoError::Network));
        for moniker in ["", "  ", "a\tb", "naïve"] {
            let error = NodeInfo::new("test-chain", moniker).unwrap_err();
            assert!(matches!(error, NodeInfoError::Moniker { .. }), "{error}");
        }
        let huge = info().with_version("9".repeat(MAX_NODE_INFO_SIZE));
        let found = huge.encode().len();
        assert_eq!(huge.validate(), Err(NodeInfoError::TooLarge { found }));
        assert_eq!(NodeInfo::decode(&huge.encode()), Err(NodeInfoError::TooLarge { found }));
    }

    #[test]
    fn truncations_are_refused_or_lose_whole_fields() {
        let (info, bytes) = (info(), info().encode());
        assert_eq!(NodeInfo::decode(&bytes), Ok(info.clone()));
        // Protobuf fields of a message may end anywhere between two: those prefixes decode.
        let mut decodable = 0;
        for len in 0..bytes.len() {
            if let Ok(part) = NodeInfo::decode(&bytes[..len]) {
                decodable += 1;
                assert_ne!(part, info);
            }
        }
        assert_eq!(decodable, 8);
    }

    #[test]
    fn bit_flips_never_panic_and_never_pass_as_the_same() {
        let (info, bytes) = (info(), info().encode());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = NodeInfo::decode(&flipped) {
                assert_ne!(other, info, "bit {bit}");
                let _ = (other.validate(), info.compatible_with(&other));
            }
        }
    }

    #[test]
    fn errors_are_short_and_printable_whatever_the_peer_wrote() {
        let nasty = "\u{1b}[2J\n\u{202e}".repeat(500);
        let mut peer = info();
        peer.network = nasty.clone();
        let mut errors = vec![info().compatible_with(&peer).unwrap_err().to_string()];
        let spoils: [fn(&mut NodeInfo, String); 6] = [
            |info, text| info.listen_addr = text,
            |info, text| info.version = text,
            |info, text| info.moniker = text,
            |info, text| info.tx_index = text,
            |info, text| info.rpc_address = text,
            |info, text| info.id = text,
        ];
        for spoil in spoils {
            let mut peer = info();
            spoil(&mut peer, nasty.clone());
            errors.push(peer.validate().unwrap_err().to_string());
        }
        for error in errors {
            assert!(error.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{error:?}");
            assert!(error.len() < 1000, "{} bytes", error.len());
        }
    }

    #[test]
    fn incompatibilities_show_both_sides() {
        let ours = info();
        let theirs = info().with_block_protocol(12);
        assert_eq!(
            ours.compatible_with(&theirs),
            Err(Incompatible::BlockProtocol { ours: 11, theirs: 12 })
        );
        let theirs = info().with_channels([ChannelId::new(0x70)]);
        assert_eq!(
            ours.compatible_with(&theirs).unwrap_err().to_string(),
            "the peer has channels [0x70], none of ours [0x20, 0x30, 0x00]"
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            if let Ok(info) = NodeInfo::decode(&bytes) {
                let _ = info.validate();
            }
        }

        #[test]
        fn every_info_survives_the_wire(
            network in ".{1,20}", moniker in "[!-~]{1,20}", channels: Vec<u8>, app: u64, tx: bool,
        ) {
            let info = NodeInfo::new(network, moniker)
                .unwrap()
                .with_app_protocol(app)
                .with_channels(channels.into_iter().map(ChannelId::new))
                .with_tx_index(tx);
            prop_assert_eq!(NodeInfo::decode(&info.encode()), Ok(info.clone()));
            let delimited = info.encode_delimited();
            let rest = &mut delimited.as_slice();
            prop_assert_eq!(prost::decode_length_delimiter(&mut *rest).unwrap(), rest.len());
            prop_assert_eq!(*rest, info.encode());
        }
    }
}
