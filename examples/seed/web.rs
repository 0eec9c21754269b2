//! What the HTTP server shows.

use serde_json::Value;
use tmp2p::SwitchHandle;

use crate::{book, http::Reply, metrics, peers};

/// The answer to a request.
pub(crate) fn reply(handle: &SwitchHandle, chain_id: &str, path: &str) -> Reply {
    let text = |content_type, body: String| Reply { status: 200, content_type, body: body.into() };
    match path {
        "/" => text("text/html; charset=utf-8", front_page(handle, chain_id)),
        "/metrics" => {
            let body = metrics::text(chain_id, &handle.metrics(), book::counts(handle));
            text("text/plain; version=0.0.4", body)
        }
        "/peers" => match book::rows(handle) {
            Ok(rows) => Reply::json(200, &rows.iter().map(book::Row::to_json).collect::<Value>()),
            Err(why) => failed(&why),
        },
        "/addrbook.json" => match handle.export_addrbook() {
            Ok(body) => Reply { status: 200, content_type: "application/json", body },
            Err(why) => failed(&why),
        },
        _ => {
            let body = "there are /, /metrics, /peers and /addrbook.json\n".into();
            Reply { status: 404, content_type: "text/plain", body }
        }
    }
}

fn failed(why: &dyn std::fmt::Display) -> Reply {
    Reply { status: 503, content_type: "text/plain", body: format!("{why}\n").into() }
}

fn front_page(handle: &SwitchHandle, chain_id: &str) -> String {
    let table = match book::rows(handle) {
        Ok(rows) => peers::table(&rows),
        Err(why) => why.to_string(),
    };
    let num = handle.num_peers();
    let sessions = format!("{} outbound, {} inbound peers", num.outbound, num.inbound);
    format!(
        "<!doctype html>\n<title>Seed of {chain}</title>\n<h1>Seed of {chain}</h1>\n\
         <p><code>{addr}</code>, {sessions}\n\
         <p><a href=\"/peers\">peers</a> <a href=\"/addrbook.json\">addrbook.json</a> \
         <a href=\"/metrics\">metrics</a>\n<pre>\n{table}</pre>\n",
        chain = escaped(chain_id),
        addr = escaped(&handle.peer_address().to_string()),
        table = escaped(&table),
    )
}

/// Monikers and versions are what strangers wrote.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
