//! Two nodes that dial each other at the same moment. The interop tests do it a thousand times.

use crate::mesh::all_dial_each_other;

/// 105 pairs.
#[test]
fn simultaneous_dials() {
    let seen = all_dial_each_other(15);
    println!("{seen:?}");
    assert!(seen.refused > 0, "no two connections met: {seen:?}");
    assert_eq!(seen.pairs, 105);
    // That it is at once is proven in virtual time.
}
