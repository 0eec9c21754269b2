//! What the HTTP server shows.

use std::{
    collections::BTreeMap,
    fmt::Display,
    time::{Duration, Instant},
};

use serde_json::Value;
use tmp2p::{NodeId, SwitchHandle};

use crate::{
    book,
    http::{Answer, Method, Reply, Request, escaped},
    metrics, peers,
};

/// A page is served again for so many times the time that it took to make: the thread of peer
/// exchange copies the book for it, and is not to spend more than a tenth of its time for strangers
/// who ask again and again.
const SERVED_AGAIN: u32 = 9;

/// The pages of a seed.
pub(crate) struct Pages {
    handle: SwitchHandle,
    chain_id: String,
    /// Whom it tells nobody of.
    private: Vec<NodeId>,
    made: BTreeMap<&'static str, Made>,
}

/// A page, and until when it is served.
struct Made {
    reply: Reply,
    until: Instant,
}

impl Answer for Pages {
    /// Nobody has to send anything.
    const MAX_BODY: usize = 64 << 10;

    fn answer(&mut self, request: &Request<'_>) -> Reply {
        if !matches!(request.method, Method::Get | Method::Head) {
            return Reply::not_allowed("GET, HEAD");
        }
        match request.path {
            "/" => self.page("/", Self::front),
            "/metrics" => self.page("/metrics", Self::metrics),
            "/peers" => self.page("/peers", Self::peers),
            "/addrbook.json" => self.page("/addrbook.json", Self::addrbook),
            _ => Reply::text(404, "there are /, /metrics, /peers and /addrbook.json"),
        }
    }
}

impl Pages {
    pub(crate) fn new(handle: SwitchHandle, chain_id: String, private: Vec<NodeId>) -> Self {
        Self { handle, chain_id, private, made: BTreeMap::new() }
    }

    fn page(&mut self, path: &'static str, make: fn(&Self) -> Reply) -> Reply {
        let begun = Instant::now();
        if let Some(made) = self.made.get(path).filter(|made| begun < made.until) {
            return made.reply.clone();
        }
        let reply = make(self);
        let until = Instant::now() + begun.elapsed().min(Duration::from_secs(1)) * SERVED_AGAIN;
        self.made.insert(path, Made { reply: reply.clone(), until });
        reply
    }

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
            addr = escaped(&self.handle.peer_address().to_string()),
            table = escaped(&table),
        ))
    }
}

fn failed(why: &dyn Display) -> Reply {
    Reply::text(503, why)
}
