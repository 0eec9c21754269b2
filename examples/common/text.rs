//! Texts for people: counts with what is counted, and what strangers wrote, in columns.

use std::fmt::Display;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// So many of it, a noun with a regular plural: "1 address", "2 addresses".
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let ending = match noun {
        _ if count == N::from(1) => "",
        _ if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {noun}{ending}")
}

/// What strangers wrote, which can neither steer a terminal nor be there unseen: what takes no column
/// of its own, such as control characters and marks of direction, is replaced.
pub(crate) fn printable(text: &str) -> String {
    let is_seen = |c: char| c.width().is_some_and(|width| width > 0) && !is_separator(c);
    text.chars().map(|c| if is_seen(c) { c } else { '?' }).collect()
}

/// Ends a line or a paragraph, for some terminals.
fn is_separator(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}')
}

/// Columns of a terminal that it takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// As much of it as fits into so many columns; `mark` stands for what is missing.
pub(crate) fn cut(text: &str, most: usize, mark: &str) -> String {
    if columns(text) <= most {
        return text.to_owned();
    }
    let room = most.saturating_sub(columns(mark));
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if columns(&kept) > room {
            kept.pop();
            break;
        }
    }
    kept + mark
}

/// The words in lines of so many columns, each with this before it.
pub(crate) fn filled(words: impl Iterator<Item = String>, before: &str, most: usize) -> String {
    let (mut text, mut line) = (String::new(), before.to_owned());
    for word in words {
        if columns(&line) + 1 + columns(&word) > most {
            text += &format!("{}\n", line.trim_end());
            line = before.to_owned();
        }
        line += &format!("{word} ");
    }
    text + line.trim_end()
}
