//! The message on the wire, `tendermint/p2p/types.proto`.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DefaultNodeInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) protocol_version: Option<ProtocolVersion>,
    #[prost(string, tag = "2")]
    pub(super) default_node_id: String,
    #[prost(string, tag = "3")]
    pub(super) listen_addr: String,
    #[prost(string, tag = "4")]
    pub(super) network: String,
    #[prost(string, tag = "5")]
    pub(super) version: String,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) channels: Vec<u8>,
    #[prost(string, tag = "7")]
    pub(super) moniker: String,
    #[prost(message, optional, tag = "8")]
    pub(super) other: Option<DefaultNodeInfoOther>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ProtocolVersion {
    #[prost(uint64, tag = "1")]
    pub(super) p2p: u64,
    #[prost(uint64, tag = "2")]
    pub(super) block: u64,
    #[prost(uint64, tag = "3")]
    pub(super) app: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct DefaultNodeInfoOther {
    #[prost(string, tag = "1")]
    pub(super) tx_index: String,
    #[prost(string, tag = "2")]
    pub(super) rpc_address: String,
}
