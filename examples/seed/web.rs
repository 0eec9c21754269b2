//! What the HTTP server shows.

use std::{fmt::Display, time::Instant};

use serde_json::Value;
use tmp2p::SwitchHandle;

use crate::{
    book,
    http::{Answer, Kept, Method, Reply, Request, escaped},
    metrics, peers,
};

/// How many pages there are.
const PAGES: u32 = 4;

/// The pages of a seed.
pub(crate) struct Pages {
    handle: SwitchHandle,
    chain_id: String,
    kept: Kept<Reply>,
    started: Instant,
}

impl Answer for Pages {
    /// Nobody has to send anything.
    const MAX_BODY: usize = 64 << 10;

    fn answer(&mut self, request: &Request<'_>) -> Reply {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Reply::not_allowed("GET, HEAD");
        }
        let Self { handle, chain_id, kept, started } = self;
        let clock = || started.elapsed();
        let mut kept = |page, make: &dyn Fn() -> Reply| kept.get(page, clock, make);
        match request.path {
            "/" => kept("/", &|| front(handle, chain_id)),
            "/metrics" => kept("/metrics", &|| shown_metrics(handle, chain_id)),
            "/peers" => kept("/peers", &|| shown_peers(handle)),
            "/addrbook.json" => kept("/addrbook.json", &|| addrbook(handle)),
            _ => Reply::text(404, "there are /, /metrics, /peers and /addrbook.json"),
        }
    }
}

impl Pages {
    pub(crate) fn new(handle: SwitchHandle, chain_id: String) -> Self {
        Self { handle, chain_id, kept: Kept::new(PAGES), started: Instant::now() }
    }
}

fn shown_metrics(handle: &SwitchHandle, chain_id: &str) -> Reply {
    let body = metrics::text(chain_id, &handle.metrics(), book::counts(handle));
    Reply::new(200, "text/plain; version=0.0.4", body)
}

fn shown_peers(handle: &SwitchHandle) -> Reply {
    match book::rows(handle) {
        Ok(rows) => {
            let rows: Value = rows.iter().map(book::Row::to_json).collect();
            Reply::json(200, format!("{rows:#}\n"))
        }
        Err(why) => failed(&why),
    }
}

fn addrbook(handle: &SwitchHandle) -> Reply {
    match handle.export_addrbook() {
        Ok(body) => Reply::json(200, body),
        Err(why) => failed(&why),
    }
}

fn front(handle: &SwitchHandle, chain_id: &str) -> Reply {
    let table = match book::rows(handle) {
        Ok(rows) => peers::table(&rows),
        Err(why) => why.to_string(),
    };
    let num = handle.num_peers();
    let sessions = format!("{} outbound, {} inbound peers", num.outbound, num.inbound);
    Reply::html(format!(
        "<!doctype html>\n<title>Seed of {chain}</title>\n<h1>Seed of {chain}</h1>\n\
         <p><code>{addr}</code>, {sessions}\n\
         <p><a href=\"/peers\">peers</a> <a href=\"/addrbook.json\">addrbook.json</a> \
         <a href=\"/metrics\">metrics</a>\n<pre>\n{table}</pre>\n",
        // Monikers and versions are what strangers wrote.
        chain = escaped(chain_id),
        addr = escaped(&handle.peer_address().to_string()),
        table = escaped(&table),
    ))
}

fn failed(why: &dyn Display) -> Reply {
    Reply::text(503, why)
}
