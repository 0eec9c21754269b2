//! Why a program ends early, in words.

use std::{error::Error, fmt, io};

/// Why a program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage or configuration: code 2.
    Usage(String),
    /// It did not work out: code 1.
    Failed(String),
}

impl Failure {
    /// Bad usage or configuration, with everything that has led to it; unless it is the machine that
    /// has not enough of something, which no other setting mends.
    pub(crate) fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        let error = error.into();
        let is_short = has_shortage(&*error);
        let of = if is_short { Self::Failed } else { Self::Usage };
        of(with_causes(&*error))
    }

    /// The same of a file, with the words for it.
    pub(crate) fn file(words: String, error: &io::Error) -> Self {
        if is_short(error) { Self::Failed(words) } else { Self::Usage(words) }
    }

    /// It did not work out; the same.
    pub(crate) fn failed(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Failed(with_causes(&*error.into()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

fn has_shortage(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref().is_some_and(is_short) || error.source().is_some_and(has_shortage)
}

/// Whether the machine has not enough of something: room on the disk, descriptors, memory.
fn is_short(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull};
    // ENFILE and EMFILE, for which the standard library has no name.
    let is_descriptors = cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24));
    is_descriptors || matches!(error.kind(), OutOfMemory | QuotaExceeded | StorageFull)
}

/// An error and what has led to it, each once: many errors tell of their cause themselves.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}
