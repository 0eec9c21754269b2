//! What ends up in logs and panics.

use std::fmt::Debug;

use super::*;
use crate::identity::NodeKey;

/// Of which each secret here is made.
const SECRET: u8 = 0xb7;

#[track_caller]
fn check(name: &str, value: &impl Debug) {
    for text in [format!("{value:?}"), format!("{value:x?}")] {
        assert!(text.starts_with(name), "{text}");
        // Twice: an ID may have those digits somewhere.
        let secret = ["183, 183", "b7, b7", "b7b7"].iter().find(|twice| text.contains(**twice));
        assert!(secret.is_none(), "{text}");
    }
}

#[test]
fn no_secret_is_in_what_is_shown_of_a_secret_connection() {
    let key = [SECRET; 32];
    let (mut sealer, mut opener) = (Sealer::<ChaCha>::new(&key), Opener::<ChaCha>::new(&key));
    check("Sealer", &sealer);
    check("Opener", &opener);
    check("FrameWriter", &sealer.writer(&mut Vec::new(), 1));
    check("FrameReader", &opener.reader());
    check("ChaCha", &ChaCha::new(&key));
    check("FrameKeys", &FrameKeys { recv: key.into(), send: key.into() });

    let agreement = |public| KeyAgreement { public, agree: Box::new(|_| Some([SECRET; 32])) };
    check("KeyAgreement", &agreement([SECRET; 32]));
    let start = |seed, public, out: &mut Vec<u8>| {
        let key = NodeKey::from_seed([seed; 32]);
        Handshake::<ChaCha>::start(key, agreement(public), None, out)
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let us = start(SECRET, [1; 32], &mut ours);
    let them = start(SECRET - 1, [2; 32], &mut theirs);
    check("Handshake", &us);
    let (from_us, from_them) = (ours.split_off(0), theirs.split_off(0));
    let us = us.advance(&mut &from_them[..], &mut ours).unwrap();
    check("Stepped", &us);
    let Progress::Stepped(us) = us else { panic!("{us:?}") };
    _ = them.advance(&mut &from_us[..], &mut theirs).unwrap();
    let us = us.advance(&mut &theirs[..1], &mut ours).unwrap();
    check("NeedMore", &us);
    let Progress::NeedMore(us) = us else { panic!("{us:?}") };
    let us = us.advance(&mut &theirs[..], &mut ours).unwrap();
    check("Done", &us);
    let Progress::Done(mut established) = us else { panic!("{us:?}") };
    (established.sealer, established.opener) = (sealer, opener);
    established.rest = vec![SECRET; 4];
    check("Established", &established);
}
