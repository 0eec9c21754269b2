//! One connection's protocol from the first byte to the last, a type for each part of its life:
//! [`Handshaking`] (secret connection, then both NodeInfos), [`Established`] (who is there is known, and
//! nothing flows), [`Open`] (MConnection). Each has only what means something in its part.
//!
//! Runs on the event loop's thread. Pure: bytes and time go in, bytes, messages and errors come out.

mod error;
mod established;
mod handshaking;
mod limits;
mod open;

use std::sync::Arc;

use super::mconn::MConnSettings;
use crate::{channel::ChannelDescriptor, identity::NodeKey, node_info::NodeInfo};

pub use error::LinkError;
pub use established::Established;
pub use handshaking::{Failed, Handshaking, Step};
pub use limits::MAX_NODE_INFO_FRAMES;
pub use open::{MAX_BATCH_FRAMES, Open, Received};

/// What every connection of a switch needs to know of the switch.
#[derive(Clone)]
pub struct LinkSettings {
    /// Our identity.
    pub key: NodeKey,
    /// What we say of ourselves, and against which peers are judged.
    pub node_info: NodeInfo,
    /// Every channel of the switch, in descriptor order.
    pub channels: Arc<[ChannelDescriptor]>,
    /// Packet sizes, rates, keep-alive.
    pub mconn: MConnSettings,
}

#[cfg(test)]
impl LinkSettings {
    /// Those of a node with this key in this network that has channel 0x20 and no limit on rates.
    pub(crate) fn for_test(seed: u8, network: &str) -> Self {
        let key = NodeKey::from_seed([seed; 32]);
        let channels = [ChannelDescriptor::new(0x20)];
        let config = crate::config::Config { send_rate: 0, recv_rate: 0, ..Default::default() };
        let node_info = NodeInfo::new(network, "node")
            .unwrap()
            .with_id(key.id())
            .with_listen_addr(&"tcp://127.0.0.1:26656".parse().unwrap())
            .with_channels(channels.iter().map(ChannelDescriptor::id));
        Self { key, node_info, channels: channels.into(), mconn: MConnSettings::of(&config) }
    }
}
