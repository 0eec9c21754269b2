//! A small HTTP server for looking at a node: GET requests, one after another, on a thread of its
//! own.

use std::thread;

use tiny_http::{Header, Response, Server};
use tmp2p::ListenAddress;

use crate::{cli::Failure, console::Console};

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        let body = format!("{value:#}\n").into_bytes();
        Self { status, content_type: "application/json", body }
    }
}

/// Answers requests until the process ends: `reply` gets the path and the query of each.
pub(crate) fn serve(
    service: &'static str,
    laddr: &ListenAddress,
    console: &Console,
    reply: impl Fn(&str, &str) -> Reply + Send + 'static,
) -> Result<(), Failure> {
    let bad = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "{service} address {laddr}: {why}; give a free address of this machine"
        ))
    };
    let addr = laddr.socket_addr().ok_or_else(|| bad(&"not an IP address"))?;
    let server = Server::http(addr).map_err(|error| bad(&error))?;
    let bound = server.server_addr().to_ip().ok_or_else(|| bad(&"no such socket"))?;
    console.listening(service, bound);
    thread::spawn(move || {
        for request in server.incoming_requests() {
            let url = request.url().to_owned();
            let (path, query) = url.split_once('?').unwrap_or((&url, ""));
            let reply = reply(path, query);
            let content_type = Header::from_bytes("Content-Type", reply.content_type);
            let response = Response::from_data(reply.body)
                .with_status_code(reply.status)
                .with_header(content_type.expect("a header without line ends"));
            // A client that has gone away wants no answer.
            let _ = request.respond(response);
        }
    });
    Ok(())
}

/// The value of a parameter in a query, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| decoded(value.as_bytes()))
}

/// `%41` and `+` as forms encode them; what is no such code stays as it is.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%');
        let byte = code.and_then(|code| hex::decode(code).ok());
        let plain = if first == b'+' { b' ' } else { first };
        bytes.push(byte.as_ref().map_or(plain, |byte| byte[0]));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    bytes
}
