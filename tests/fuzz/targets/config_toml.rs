#![no_main]
//! The `[p2p]` table of a `config.toml`.

use libfuzzer_sys::fuzz_target;
use tmp2p::Config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = toml::from_str::<Config>(text) else { return };
    match config.check() {
        Ok(()) => {
            assert!(config.pong_timeout < config.ping_interval);
            assert!(config.max_packet_msg_payload_size > 0 && config.max_recv_packet_size > 0);
        }
        Err(error) => {
            let error = error.to_string();
            let table: toml::Table = toml::from_str(text).expect("read before");
            assert!(table.keys().any(|key| error.contains(key)), "{error}: not one that was given");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }
});
