//! A message that two tests write with `prost`.

/// `proto/tendermint/p2p/types.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ProtocolVersion {
    #[prost(uint64, tag = "1")]
    pub(crate) p2p: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) block: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) app: u64,
}
