//! Messages of given sizes both ways at once, each compared byte for byte.

use std::{collections::BTreeMap, thread};

use serde_json::json;
use tmp2p::Peer;

use crate::{
    DEADLINE,
    go::{Go, check},
    ours::Ours,
    payload::{message, sha256},
};

/// Seeds differ per direction and channel, so that a message on the wrong one is noticed.
const SEED_OUT: u64 = 0x1000;
const SEED_IN: u64 = 0x2000;

/// Sends one message of each size on each channel, from both sides at once, and compares what
/// arrives: once, in order per channel, byte for byte. The reactor's inbox must be empty.
#[track_caller]
pub(crate) fn exchange(ours: &Ours, go: &mut Go, peer: &Peer, channels: &[u8], sizes: &[usize]) {
    let requests: Vec<u64> = channels
        .iter()
        .map(|&channel| {
            let seed = SEED_IN + u64::from(channel);
            go.tell("send", json!({ "channel": channel, "sizes": sizes, "seed": seed }))
        })
        .collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for (index, &size) in sizes.iter().enumerate() {
                for &channel in channels {
                    let seed = SEED_OUT + u64::from(channel);
                    let payload = message(seed, index as u64, size);
                    peer.send(channel, payload).unwrap_or_else(|error| {
                        panic!("{size} bytes on {channel:#x}: {error}");
                    });
                }
            }
        });
        let mut next: BTreeMap<u8, usize> = channels.iter().map(|&c| (c, 0)).collect();
        for _ in 0..channels.len() * sizes.len() {
            let envelope = ours.message();
            assert_eq!(envelope.peer(), peer);
            let channel = envelope.channel().as_u8();
            let index = next.get_mut(&channel).unwrap();
            let expected = message(SEED_IN + u64::from(channel), *index as u64, sizes[*index]);
            let found = envelope.into_payload();
            assert!(
                *found == *expected,
                "message {index} on {channel:#x} has {} bytes, wanted {}, or others",
                found.len(),
                expected.len(),
            );
            *index += 1;
        }
    });
    for request in requests {
        check(&go.answer(request, "sent"), json!({ "ok": true, "count": sizes.len() }));
    }
    for &channel in channels {
        for (index, &size) in sizes.iter().enumerate() {
            let payload = message(SEED_OUT + u64::from(channel), index as u64, size);
            let got = go.wait_for(DEADLINE, "message", json!({ "channel": channel }));
            check(&got, json!({ "bytes": size, "sha256": sha256(&payload) }));
        }
    }
    go.assert_none("message");
    go.assert_none("peer_down");
    ours.assert_quiet();
}
