//! Texts for people, as all programs write them.

use crate::cli::{columns, counted, cut, filled, printable};

#[test]
fn one_of_something_is_told_as_one() {
    for (count, address, peer) in
        [(0, "0 addresses", "0 peers"), (1, "1 address", "1 peer"), (2, "2 addresses", "2 peers")]
    {
        assert_eq!((&*counted(count, "address"), &*counted(count, "peer")), (address, peer));
    }
    assert_eq!(counted(21_u64, "failed dial"), "21 failed dials");
}

#[test]
fn what_takes_no_column_is_not_there_unseen() {
    for (written, shown) in [
        ("node 7", "node 7"),
        ("\x1b[2J\n\t\u{85}\u{7f}", "?[2J????"),
        // Direction, joiners, marks, separators, soft hyphen, tags, selectors.
        ("\u{202e}\u{2066}\u{200f}\u{61c}", "????"),
        ("\u{200b}\u{200d}\u{feff}\u{2060}", "????"),
        ("e\u{301}\u{2028}\u{2029}", "e???"),
        ("\u{e0041}\u{fe0f}", "??"),
        ("ünï 验证者 שלום 🚀", "ünï 验证者 שלום 🚀"),
    ] {
        assert_eq!(printable(written), shown, "{written:?}");
    }
}

#[test]
fn what_is_cut_fits_also_if_characters_are_wide() {
    assert_eq!(cut("abcdef", 6, "~"), "abcdef");
    assert_eq!(cut("abcdefg", 6, "~"), "abcde~");
    // The third would need two columns, and there is one.
    assert_eq!(cut("验证者节点", 6, "~"), "验证~");
    assert_eq!(columns("验证~"), 5);
    assert_eq!(cut("", 0, ""), "");
}

#[test]
fn words_are_filled_into_lines() {
    let words = ["one", "two", "three", "four"].map(str::to_owned);
    assert_eq!(filled(words.into_iter(), "  ", 10), "  one two\n  three\n  four");
}
