//! The message on the wire, `proto/tendermint/p2p/types.proto`.

use super::{MAX_NODE_INFO_SIZE, NodeInfo, NodeInfoError};
use crate::{
    ChannelId,
    protocol::wire::{
        DecodeError, Fields, put_bytes_field, put_delimited, put_message_field, put_varint_field,
    },
};

/// Field numbers of `DefaultNodeInfo`.
const PROTOCOL_VERSION: u32 = 1;
const ID: u32 = 2;
const LISTEN_ADDR: u32 = 3;
const NETWORK: u32 = 4;
const VERSION: u32 = 5;
const CHANNELS: u32 = 6;
const MONIKER: u32 = 7;
const OTHER: u32 = 8;

/// Those of `ProtocolVersion`.
const P2P: u32 = 1;
const BLOCK: u32 = 2;
const APP: u32 = 3;

/// Those of `DefaultNodeInfoOther`.
const TX_INDEX: u32 = 1;
const RPC_ADDRESS: u32 = 2;

impl NodeInfo {
    /// The protobuf message `tendermint.p2p.DefaultNodeInfo`, byte for byte as the reference
    /// encodes it: both messages in it are there, whatever is in them.
    pub fn encode(&self) -> Vec<u8> {
        let (mut message, mut part) = (Vec::new(), Vec::new());
        put_varint_field(P2P, self.p2p_protocol, &mut part);
        put_varint_field(BLOCK, self.block_protocol, &mut part);
        put_varint_field(APP, self.app_protocol, &mut part);
        put_message_field(PROTOCOL_VERSION, &part, &mut message);
        put_bytes_field(ID, self.id.as_bytes(), &mut message);
        put_bytes_field(LISTEN_ADDR, self.listen_addr.as_bytes(), &mut message);
        put_bytes_field(NETWORK, self.network.as_bytes(), &mut message);
        put_bytes_field(VERSION, self.version.as_bytes(), &mut message);
        let channels: Vec<u8> = self.channels.iter().map(|channel| channel.as_u8()).collect();
        put_bytes_field(CHANNELS, &channels, &mut message);
        put_bytes_field(MONIKER, self.moniker.as_bytes(), &mut message);
        part.clear();
        put_bytes_field(TX_INDEX, self.tx_index.as_bytes(), &mut part);
        put_bytes_field(RPC_ADDRESS, self.rpc_address.as_bytes(), &mut part);
        put_message_field(OTHER, &part, &mut message);
        message
    }

    /// [`encode`](Self::encode) with its length in front, as it goes over the wire.
    pub fn encode_delimited(&self) -> Vec<u8> {
        let mut delimited = Vec::new();
        put_delimited(&self.encode(), &mut delimited);
        delimited
    }

    /// Decodes the protobuf message (without the length in front). Says nothing about whether what
    /// it holds makes sense: see [`validate`](Self::validate). The last of several fields counts, and of
    /// the messages in it the last of each of their fields, as in the reference.
    ///
    /// # Errors
    /// [`NodeInfoError::TooLarge`], or [`NodeInfoError::Malformed`], which also covers text that is
    /// not UTF-8.
    pub fn decode(bytes: &[u8]) -> Result<Self, NodeInfoError> {
        if bytes.len() > MAX_NODE_INFO_SIZE {
            return Err(NodeInfoError::TooLarge { found: bytes.len() });
        }
        let mut info = Self {
            p2p_protocol: 0,
            block_protocol: 0,
            app_protocol: 0,
            id: String::new(),
            listen_addr: String::new(),
            network: String::new(),
            version: String::new(),
            channels: Vec::new(),
            moniker: String::new(),
            tx_index: String::new(),
            rpc_address: String::new(),
        };
        for field in Fields::new(bytes) {
            let field = field?;
            match field.number {
                PROTOCOL_VERSION => decode_versions(field.bytes()?, &mut info)?,
                ID => info.id = text(field.bytes()?)?,
                LISTEN_ADDR => info.listen_addr = text(field.bytes()?)?,
                NETWORK => info.network = text(field.bytes()?)?,
                VERSION => info.version = text(field.bytes()?)?,
                CHANNELS => {
                    info.channels = field.bytes()?.iter().copied().map(ChannelId::new).collect();
                }
                MONIKER => info.moniker = text(field.bytes()?)?,
                OTHER => decode_other(field.bytes()?, &mut info)?,
                _ => {}
            }
        }
        Ok(info)
    }
}

fn decode_versions(message: &[u8], info: &mut NodeInfo) -> Result<(), DecodeError> {
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            P2P => info.p2p_protocol = field.varint()?,
            BLOCK => info.block_protocol = field.varint()?,
            APP => info.app_protocol = field.varint()?,
            _ => {}
        }
    }
    Ok(())
}

fn decode_other(message: &[u8], info: &mut NodeInfo) -> Result<(), NodeInfoError> {
    for field in Fields::new(message) {
        let field = field?;
        match field.number {
            TX_INDEX => info.tx_index = text(field.bytes()?)?,
            RPC_ADDRESS => info.rpc_address = text(field.bytes()?)?,
            _ => {}
        }
    }
    Ok(())
}

/// Go takes any bytes here and refuses them later: no text that it accepts is not UTF-8, but for the
/// network, which must be equal to that of another node, and that one's is text.
fn text(bytes: &[u8]) -> Result<String, NodeInfoError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(NodeInfoError::Malformed { reason: error.to_string() }),
    }
}
