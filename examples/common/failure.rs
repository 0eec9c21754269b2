//! Why a program ends early, in words.

use std::{error::Error, fmt};

/// Why a program ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage or configuration: code 2.
    Usage(String),
    /// It did not work out: code 1.
    Failed(String),
}

impl Failure {
    /// Bad usage or configuration, with everything that has led to it.
    pub(crate) fn usage(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Usage(with_causes(&*error.into()))
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
