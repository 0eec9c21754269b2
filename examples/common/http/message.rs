//! A request and what it gets.

use std::sync::Arc;

use http_net::Method;

/// A whole request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// As it was written, without the question mark.
    pub(crate) query: &'a [u8],
    /// What the client calls this server; empty if it does not say.
    pub(crate) host: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    /// Shared: a page that many ask for is in memory once.
    pub(crate) body: Arc<[u8]>,
    /// Which methods there are, where it was another one.
    pub(crate) allow: Option<&'static str>,
}

impl Reply {
    pub(crate) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, body: body.into().into(), allow: None }
    }

    pub(crate) fn text(status: u16, line: impl std::fmt::Display) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{line}\n"))
    }

    pub(crate) fn html(page: String) -> Self {
        Self::new(200, "text/html; charset=utf-8", page)
    }

    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// For a method that the page does not have.
    pub(crate) fn not_allowed(allow: &'static str) -> Self {
        let reply = Self::text(405, format_args!("there are {allow}"));
        Self { allow: Some(allow), ..reply }
    }
}

/// A text that may be anything, in a page.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
