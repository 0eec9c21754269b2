#![no_main]
//! What two peers send on channel 0x00, one of which was asked: the first byte of each message says
//! which one, and how much time has passed. They may be reserved, and the one we dialed a seed.

use std::{net::SocketAddr, time::Duration};

use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng, rngs::StdRng};
use tmp2p::{
    BookKey, Config, ConnId, Direction, NetAddress, NodeId, Origin,
    internals::addrbook::{Book, BookLimits, BookSettings, NodeFacts},
    internals::drive::Core,
    internals::pex::{
        MAX_ADDRS, MAX_MESSAGE_SIZE, PeerFacts, PexCore, PexInput, PexMessage, PexOutput,
        PexSettings,
    },
    internals::switch::Notice,
    internals::time::Now,
};

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, mut rest)) = bytes.split_first() else { return };
    let mut rng = StdRng::seed_from_u64(1);
    let own = NodeId::from_bytes([0; 20]);
    let settings = BookSettings { own, is_strict: mode & 1 == 0, limits: BookLimits::default() };
    let book = Book::new(settings, BookKey::random(&mut rng));
    let of = |n| NetAddress::new(NodeId::from_bytes([n; 20]), [n, 2, 3, 4].into(), 26656);
    let seeds = if mode & 8 != 0 { vec![of(2).into()] } else { Vec::new() };
    let config = Config { seed_mode: mode & 2 != 0, seeds, ..Config::default() };
    let is_reserved = mode & 4 != 0;
    let mut now = tmp2p_fuzz::now(0);
    let mut core = PexCore::new(PexSettings::of(&config), book, [1; 32], now);
    core.handle_input(PexInput::Start, now);
    for (n, direction) in [(1, Direction::Inbound), (2, Direction::Outbound)] {
        let addr = of(n);
        if is_reserved {
            let (is_persistent, is_unconditional) = (mode & 16 != 0, true);
            let id = addr.id();
            let notice = Notice::Standing { id, is_persistent, is_unconditional };
            core.handle_input(PexInput::Notice(notice), now);
        }
        core.handle_input(
            PexInput::PeerUp(PeerFacts {
                conn: ConnId::new(0, n.into(), 1),
                id: addr.id(),
                direction,
                remote: SocketAddr::new(addr.ip(), 1000),
                dialed: (direction == Direction::Outbound).then_some(addr),
                announced: Some(addr),
                origin: (direction == Direction::Outbound).then_some(Origin::Operator),
                speaks_pex: true,
                facts: NodeFacts::default(),
            }),
            now,
        );
    }
    while let Some((&head, after)) = rest.split_first() {
        let Some((&length, after)) = after.split_first() else { break };
        let (message, after) = after.split_at(after.len().min(length.into()));
        rest = after;
        let pause = Duration::from_millis(100 * u64::from(head >> 1));
        now = Now { mono: now.mono + pause, wall: now.wall + pause };
        let conn = ConnId::new(0, u32::from(head & 1) + 1, 1);
        core.handle_input(PexInput::Message { conn, payload: message.to_vec().into() }, now);
        let mut outputs = 0;
        while let Some(output) = core.poll_output() {
            outputs += 1;
            assert!(outputs < 300, "one message is answered by {outputs} outputs");
            if let PexOutput::Send { message, .. } = output {
                assert!(message.len() <= MAX_MESSAGE_SIZE);
                match PexMessage::decode(&message).expect("what we send can be read") {
                    PexMessage::Request => {}
                    PexMessage::Addrs(addrs) => {
                        assert!(addrs.len() <= MAX_ADDRS && addrs.iter().all(|a| a.id() != own));
                    }
                }
            }
        }
        let bans = core.book().bans();
        assert!(!is_reserved || bans.is_empty(), "a machine has banned who is reserved");
        if let Some(at) = core.next_deadline() {
            assert!(at > now.mono, "it is due at once, again");
        }
    }
});
