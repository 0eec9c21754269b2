#![no_main]
//! A NodeInfo as a peer sends it.

use libfuzzer_sys::fuzz_target;
use tmp2p::{ChannelDescriptor, MAX_NODE_INFO_SIZE, NodeInfo, NodeKey};

fuzz_target!(|bytes: &[u8]| {
    let theirs = match NodeInfo::decode(bytes) {
        Ok(theirs) => theirs,
        Err(error) => {
            let error = error.to_string();
            assert!(error.len() < 2048 && !error.contains(char::is_control), "{error:?}");
            return;
        }
    };
    assert!(bytes.len() <= MAX_NODE_INFO_SIZE);
    let encoded = theirs.encode();
    if encoded.len() <= MAX_NODE_INFO_SIZE {
        assert_eq!(NodeInfo::decode(&encoded).as_ref(), Ok(&theirs));
    }
    if let Err(error) = theirs.validate() {
        let error = error.to_string();
        assert!(error.len() < 2048 && !error.contains(char::is_control), "{error:?}");
    } else {
        assert!(theirs.id().is_some() && theirs.channels().len() <= 16);
        assert!(encoded.len() <= MAX_NODE_INFO_SIZE);
    }
    if let Some(address) = theirs.listen_net_address() {
        assert_eq!(Some(address.id()), theirs.id());
    }
    let channels = [ChannelDescriptor::new(0x20), ChannelDescriptor::new(0x40)];
    let ours = tmp2p_fuzz::node_info(&NodeKey::from_seed([1; 32]), &channels);
    if let Err(error) = ours.compatible_with(&theirs) {
        let error = error.to_string();
        assert!(error.len() < 2048 && !error.contains(char::is_control), "{error:?}");
    }
    let _ = theirs.compatible_with(&ours);
});
