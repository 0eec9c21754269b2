//! Two nodes that dial each other at the same moment. The interop tests do it a thousand times.

use std::time::Duration;

use crate::mesh::all_dial_each_other;

/// 105 pairs.
#[test]
fn simultaneous_dials() {
    let seen = all_dial_each_other(15);
    println!("{seen:?}");
    assert!(seen.refused > 0, "no two connections met: {seen:?}");
    assert_eq!(seen.pairs, 105);
    // At once: not when the time is over that a second connection may wait, 3 s.
    assert!(seen.took < Duration::from_millis(2500), "{seen:?}");
}
