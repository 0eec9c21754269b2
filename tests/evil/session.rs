//! What a peer does once, and is no peer any more.

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use tmp2p::{
    NetAddress, NodeKey,
    internals::{pex::PexMessage, protocol::mconn::packet::Packet},
};

use crate::{
    figure, give_way,
    honest::Pair,
    peer::{Evil, message, packet, part, varint},
    victim::{FOUNTAIN, SINK, SINK_CAPACITY, Settings, Victim},
};

/// What a peer must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offence {
    /// Speaks on a channel that there is not.
    UnknownChannel,
    /// On one whose number is none.
    NoChannel,
    /// Sends a packet that is none of the three kinds.
    UnknownPacket,
    /// Sends bytes that are no packet.
    Malformed,
    /// A message longer than its channel's are.
    TooLong,
    /// One that never ends.
    Endless,
    /// Addresses that nobody asked for.
    Unasked,
    /// Asks for addresses all the time.
    Asks,
    /// Asks for much, and takes nothing of it.
    Deaf,
}

use Offence::*;

const OFFENCES: [Offence; 9] =
    [UnknownChannel, NoChannel, UnknownPacket, Malformed, TooLong, Endless, Unasked, Asks, Deaf];

impl Offence {
    /// The kind of the end's reason, and words of it.
    fn promise(self) -> (&'static str, &'static str) {
        match self {
            UnknownChannel => ("protocol", "packet for unknown channel 9"),
            NoChannel => ("protocol", "packet for unknown channel 368"),
            UnknownPacket => ("protocol", "unknown kind of packet"),
            Malformed => ("protocol", "malformed packet"),
            TooLong | Endless => ("protocol", "1048576 are allowed"),
            Unasked | Asks => ("reactor", "stopped by a reactor"),
            Deaf => ("pong_timeout", "read nothing of what was sent"),
        }
    }

    fn is_banned(self) -> bool {
        matches!(self, Unasked | Asks)
    }

    fn commit(self, evil: &mut Evil) {
        match self {
            UnknownChannel => evil.put(&message(9, b"is anybody there?")),
            // Go takes the lower byte, which is that of a channel.
            NoChannel => {
                evil.put(&packet(Packet::Msg { channel_id: 0x170, eof: true, data: b"x" }));
            }
            UnknownPacket => evil.put(&[&varint(2)[..], &[0x7a, 0]].concat()),
            Malformed => evil.put(&[&varint(2)[..], &[0x1a, 5]].concat()),
            TooLong => evil.put(&message(SINK, &vec![1; SINK_CAPACITY + 1])),
            Endless => {
                let more = part(SINK, &[1; 1000]);
                let frames = evil.sealed(&more.repeat(SINK_CAPACITY / 1000 + 1));
                let _ = evil.stream().write_all(&frames);
            }
            Unasked => {
                let addr = NetAddress::new(NodeKey::generate().id(), [8, 8, 8, 8].into(), 1);
                evil.put(&message(0, &PexMessage::Addrs(vec![addr]).encode()));
            }
            Asks => {
                let request = message(0, &PexMessage::Request.encode());
                evil.put(&request.repeat(30));
            }
            Deaf => evil.put(&message(FOUNTAIN, b"more")),
        }
    }

    #[track_caller]
    fn ends_as_promised(self, victim: &Victim) {
        let mut evil = Evil::session(victim);
        self.commit(&mut evil);
        let end = victim.end(evil.addr);
        let (kind, words) = self.promise();
        assert!(end.kind == kind && end.reason.contains(words), "{self:?}: {end:?}");
        // It has closed its half, whatever it was that it sent before.
        evil.is_over();
    }
}

#[test]
fn every_offence_of_a_peer_ends_its_session_as_promised() {
    let (victim, pair) = Pair::at(Settings::frugal(json!({
        "send_timeout": "500ms",
        "max_num_inbound_peers": 100,
    })));
    thread::scope(|scope| {
        for offence in OFFENCES {
            let victim = &victim;
            scope.spawn(move || offence.ends_as_promised(victim));
        }
    });
    let bans = OFFENCES.iter().filter(|offence| offence.is_banned()).count();
    assert_eq!(victim.recovers().bans, bans);
    figure(format_args!("{} offences of peers, all at once: {}", OFFENCES.len(), pair.lap()));
    assert!(victim.grown() <= victim.most_memory());
    pair.end();
    victim.stop();
}

#[test]
#[ignore = "takes the time of the machine: run by .ci/run"]
fn offences_and_what_honest_peers_notice() {
    let (victim, pair) = Pair::at(Settings::frugal(json!({
        "send_timeout": "400ms",
        "max_num_inbound_peers": 100,
    })));
    give_way();
    for offence in OFFENCES {
        pair.lap();
        let begun = Instant::now();
        let mut times = 0;
        while begun.elapsed() < Duration::from_millis(700) {
            offence.ends_as_promised(&victim);
            times += 1;
        }
        figure(format_args!("{offence:?} in a session, {times} times: {}", pair.lap()));
    }
    victim.recovers();
    let (grown, most) = (victim.grown() >> 10, victim.most_memory() >> 10);
    figure(format_args!("{grown} KiB more than before, {most} KiB by the formula"));
    assert!(grown <= most);
    pair.end();
    victim.stop();
}
