#![no_main]
//! What a client sends to the HTTP port of the programs: the same answers however it is cut, and JSON-RPC in
//! every body.

#[path = "../../../examples/full_node/jsonrpc.rs"]
#[allow(dead_code)]
mod jsonrpc;
#[path = "../../../examples/common/http/message.rs"]
#[allow(dead_code)]
mod message;
#[path = "../../../examples/common/http/query.rs"]
mod query;
#[path = "../../../examples/common/http/session.rs"]
#[allow(dead_code)]
mod session;

/// Where the call's envelope looks for it.
mod http {
    pub(crate) use crate::message::Reply;
}

use std::time::Duration;

use http_net::HttpDate;
use libfuzzer_sys::fuzz_target;
use message::Reply;
use session::{Session, Step};
use tmp2p_fuzz::Script;

const MAX_BODY: usize = 3000;
/// Of a session that has no answer to write.
const MOST: usize = 400 << 10;

fuzz_target!(|bytes: &[u8]| {
    let mut script = Script::new(bytes);
    // The stream first, so that a seed is readable.
    let stream = script.piece();
    let whole = serve(&[stream]);
    assert_eq!(whole, serve(&script.cut(stream)), "cut otherwise it is answered otherwise");
    jsonrpc_answers(stream);
});

/// Everything that a client reads which sends these pieces and then no more.
fn serve(pieces: &[&[u8]]) -> Vec<u8> {
    let mut session = Session::new(MAX_BODY, Duration::ZERO);
    let mut read = Vec::new();
    for piece in pieces {
        session.feed(piece, Duration::ZERO);
        go_on(&mut session, &mut read);
    }
    session.end();
    go_on(&mut session, &mut read);
    assert_eq!(session.step(), Step::Close);
    read
}

fn go_on(session: &mut Session, read: &mut Vec<u8>) {
    for _ in 0..20_000 {
        match session.step() {
            Step::Write => {
                let part: Vec<u8> =
                    session.output().iter().flat_map(|part| part.to_vec()).collect();
                assert!(!part.is_empty());
                read.extend_from_slice(&part);
                session.written(part.len(), Duration::ZERO);
            }
            Step::Answer => {
                let reply = answer(session);
                session.answer(reply, &HttpDate::from_unix_seconds(0), Duration::ZERO);
            }
            Step::Read | Step::Drain | Step::Close => {
                assert!(session.held() <= MOST + 8 * MAX_BODY, "{} bytes", session.held());
                return;
            }
        }
    }
    panic!("it is never done");
}

fn answer(session: &Session) -> Reply {
    let request = match session.asked() {
        Ok(request) => request,
        Err(error) => return Reply::text(error.status().expect("a refusal has one"), error),
    };
    assert!(request.body.len() <= MAX_BODY);
    let tx = query::parameter(request.query, "tx");
    let line = format!("{:?} {} {tx:?} {}", request.method, request.path, request.host);
    if request.body.is_empty() { Reply::text(200, line) } else { jsonrpc_answers(request.body) }
}

/// What is answered to a body is JSON, and of at most ten calls.
fn jsonrpc_answers(body: &[u8]) -> Reply {
    let mut calls = 0;
    let reply = jsonrpc::body(body, |method, params| {
        calls += 1;
        let [tx, height] = params.take(["tx", "height"])?;
        let told = [tx, height].map(|value| value.map(|value| value.get().len()));
        Ok(serde_json::json!({ "method": method, "params": told }).to_string().into())
    });
    assert!(calls <= 10, "{calls} calls");
    if !reply.body.is_empty() {
        serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).expect("it is JSON");
    }
    reply
}
