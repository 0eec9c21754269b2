//! What the HTTP server shows.

use std::{fmt::Display, time::Instant};

use serde_json::Value;
use tmp2p::{NodeId, SwitchHandle};

use crate::{
    book,
    http::{Answer, Kept, Method, Reply, Request, escaped},
    metrics, opening, peers,
};

/// How many pages there are.
const PAGES: u32 = 4;

/// The pages of a seed.
pub(crate) struct Pages {
    seed: Seed,
    kept: Kept<Reply>,
    started: Instant,
}

/// What they show.
struct Seed {
    handle: SwitchHandle,
    chain_id: String,
    /// Whom it tells nobody of.
    private: Vec<NodeId>,
}

impl Answer for Pages {
    /// Nobody has to send anything.
    const MAX_BODY: usize = 64 << 10;

    fn answer(&mut self, request: &Request<'_>) -> Reply {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Reply::not_allowed("GET, HEAD");
        }
        let Self { seed, kept, started } = self;
        let mut page =
            |name, make: fn(&Seed) -> Reply| kept.get(name, || started.elapsed(), || make(seed));
        match request.path {
            "/" => page("/", Seed::front),
            "/metrics" => page("/metrics", Seed::metrics),
            "/peers" => page("/peers", Seed::peers),
            "/addrbook.json" => page("/addrbook.json", Seed::addrbook),
            _ => Reply::text(404, "there are /, /metrics, /peers and /addrbook.json"),
        }
    }
}

impl Pages {
    pub(crate) fn new(handle: SwitchHandle, chain_id: String, private: Vec<NodeId>) -> Self {
        let seed = Seed { handle, chain_id, private };
        Self { seed, kept: Kept::new(PAGES), started: Instant::now() }
    }
}

impl Seed {
    fn metrics(&self) -> Reply {
        let counts = book::counts(&self.handle);
        let body = metrics::text(&self.chain_id, &self.handle.metrics(), counts);
        Reply::new(200, "text/plain; version=0.0.4", body)
    }

    fn peers(&self) -> Reply {
        let rows = match book::rows(&self.handle, &self.private) {
            Ok(rows) => rows,
            Err(why) => return failed(&why),
        };
        let rows: Value = rows.iter().map(book::Row::to_json).collect();
        Reply::json(200, format!("{rows:#}\n"))
    }

    fn addrbook(&self) -> Reply {
        match self.handle.export_addrbook() {
            Ok(body) => Reply::json(200, body),
            Err(why) => failed(&why),
        }
    }

    fn front(&self) -> Reply {
        let table = match book::rows(&self.handle, &self.private) {
            Ok(rows) => peers::table(&rows),
            Err(why) => why.to_string(),
        };
        let num = self.handle.num_peers();
        let sessions = format!("{} outbound, {} inbound peers", num.outbound, num.inbound);
        Reply::html(format!(
            "<!doctype html>\n<title>Seed of {chain}</title>\n<h1>Seed of {chain}</h1>\n\
             <p><code>{addr}</code>, {sessions}\n\
             <p><a href=\"/peers\">peers</a> <a href=\"/addrbook.json\">addrbook.json</a> \
             <a href=\"/metrics\">metrics</a>\n<pre>\n{table}</pre>\n",
            // Monikers and versions are what strangers wrote.
            chain = escaped(&self.chain_id),
            addr = escaped(&opening::address(&self.handle)),
            table = escaped(&table),
        ))
    }
}

fn failed(why: &dyn Display) -> Reply {
    Reply::text(503, why)
}
