#![no_main]
//! An `addrbook.json` that anybody wrote: read, taken in, asked, written and read again.

use libfuzzer_sys::fuzz_target;
use rand::{SeedableRng, rngs::StdRng};
use tmp2p::{
    BookKey, NodeId,
    internals::addrbook::{
        Book, BookLimits, BookSettings,
        json::{self, ImportError},
    },
};

fuzz_target!(|bytes: &[u8]| {
    let now = tmp2p_fuzz::now(0).wall;
    let file = match json::parse(bytes) {
        Ok(file) => file,
        Err(error) => {
            let text = error.to_string();
            assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
            if let ImportError::Malformed { line, .. } = error {
                let lines = bytes.split(|byte| *byte == b'\n').count();
                assert!(line <= lines, "line {line} of {lines}");
            }
            return;
        }
    };
    let mut rng = StdRng::seed_from_u64(bytes.len() as u64);
    let own = NodeId::from_bytes([0; 20]);
    let settings =
        BookSettings { own, is_strict: bytes.len() % 2 == 0, limits: BookLimits::default() };
    let mut book = Book::new(settings, BookKey::random(&mut rng));
    let entries = file.addresses.len();
    let report = book.import(file, now, &mut rng);
    assert!(book.len() == report.added && report.added <= entries);
    for bias in [0, 50, 100] {
        let picked = book.pick(bias, now, &mut rng, true, |_| true).map(|known| known.addr.id());
        assert_ne!(picked, Some(own));
        assert!(picked.is_some() || bias != 50 || book.is_empty());
    }
    let selection = book.selection(now, &mut rng);
    assert!(selection.len() <= 250 && selection.is_empty() == book.is_empty());
    let again = json::parse(&json::write(&book, now)).expect("what we write can be read");
    assert!(again.addresses.iter().eq(book.iter()), "{again:?}");
});
