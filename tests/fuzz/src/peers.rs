//! Nodes with fixed keys.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tmp2p::{
    ChannelDescriptor, ChannelId, NodeInfo, NodeKey,
    internals::protocol::{LinkSettings, mconn::MConnSettings, secret::KeyAgreement},
    internals::time::{Mono, Now},
};
use x25519_dalek::{PublicKey, StaticSecret};

/// A real key agreement with this private key.
pub fn agreement(private: [u8; 32]) -> KeyAgreement {
    let secret = StaticSecret::from(private);
    let public = PublicKey::from(&secret).to_bytes();
    let agree = move |peer| Some(secret.diffie_hellman(&PublicKey::from(peer)).to_bytes());
    KeyAgreement { public, agree: Box::new(agree) }
}

/// Both sides come to the same secret, which is all that most targets need, and fast.
pub fn cheap_agreement(public: [u8; 32]) -> KeyAgreement {
    let agree = move |peer: [u8; 32]| Some(std::array::from_fn(|i| public[i] ^ peer[i]));
    KeyAgreement { public, agree: Box::new(agree) }
}

pub fn node_info(key: &NodeKey, channels: &[ChannelDescriptor]) -> NodeInfo {
    NodeInfo::new("fuzz", "node")
        .expect("a valid name")
        .with_id(key.id())
        .with_listen_addr(&"tcp://127.0.0.1:26656".parse().expect("a valid address"))
        .with_channels(channels.iter().map(ChannelDescriptor::id).collect::<Vec<ChannelId>>())
}

/// A node with this key, small channels and packets, and no limit on rates.
pub fn link_settings(seed: u8, channels: &[ChannelDescriptor]) -> LinkSettings {
    let key = NodeKey::from_seed([seed; 32]);
    LinkSettings {
        node_info: node_info(&key, channels),
        key,
        channels: Arc::from(channels),
        mconn: MConnSettings {
            max_packet_msg_payload_size: 100,
            max_recv_packet_size: 4096,
            send_rate: 0,
            recv_rate: 0,
            ping_interval: Duration::from_secs(60),
            pong_timeout: Duration::from_secs(45),
            unsolicited_pong_interval: Duration::from_secs(20),
        },
    }
}

/// Milliseconds since the start, some day in 2023.
pub fn now(ms: u64) -> Now {
    let mono = Mono::from_nanos(ms * 1_000_000);
    let since = Duration::from_secs(1_700_000_000) + Duration::from_millis(ms);
    Now { mono, wall: SystemTime::UNIX_EPOCH + since }
}
