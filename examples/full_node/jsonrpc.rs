//! The envelope of calls, as Tendermint v0.34 has it: JSON-RPC 2.0 as a body, one call or several,
//! and calls by URI. Pure.

use std::sync::Arc;

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};

use crate::http::Reply;

/// Most calls of a body, as CometBFT v0.38 allows: against one of a megabyte that asks for thirty
/// thousand answers, and against many of a few kilobytes that ask for the list of peers again and
/// again while everybody else waits.
const MAX_CALLS: usize = 10;

/// The ID of calls by URI, which have none.
const URI_ID: i64 = -1;

/// What is wrong with a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RpcError {
    code: i32,
    message: &'static str,
    data: String,
}

impl RpcError {
    fn parse(why: impl std::fmt::Display) -> Self {
        let data = format!("error unmarshaling request: {why}");
        Self { code: -32700, message: "Parse error. Invalid JSON", data }
    }

    pub(crate) fn invalid_request(why: impl std::fmt::Display) -> Self {
        Self { code: -32600, message: "Invalid Request", data: why.to_string() }
    }

    pub(crate) fn no_such_method(names: &str) -> Self {
        Self { code: -32601, message: "Method not found", data: format!("there are {names}") }
    }

    pub(crate) fn invalid_params(why: impl std::fmt::Display) -> Self {
        Self { code: -32602, message: "Invalid params", data: why.to_string() }
    }

    pub(crate) fn internal(why: impl std::fmt::Display) -> Self {
        Self { code: -32603, message: "Internal error", data: why.to_string() }
    }

    /// Where there is no ID to answer to, as in Go without one.
    pub(crate) fn reply(&self, status: u16) -> Reply {
        Reply::json(status, json!({ "jsonrpc": "2.0", "error": self.to_json() }).to_string())
    }

    fn to_json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.data.is_empty() {
            error["data"] = self.data.clone().into();
        }
        error
    }
}

/// What comes of a call: JSON, which is shared where many ask for the same.
pub(crate) type Outcome = Result<Arc<str>, RpcError>;

/// The parameters of a call that came as a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Params<'a> {
    Named(&'a Map<String, Value>),
    Listed(&'a [Value]),
    None,
}

impl<'a> Params<'a> {
    /// The values of these names. Others are passed over, and one that is missing is null, unless
    /// they come without names.
    pub(crate) fn take<const N: usize>(self, names: [&str; N]) -> Result<[&'a Value; N], RpcError> {
        const MISSING: &Value = &Value::Null;
        match self {
            Self::None => Ok([MISSING; N]),
            Self::Named(map) => Ok(names.map(|name| map.get(name).unwrap_or(MISSING))),
            Self::Listed(list) => {
                let values: Vec<&Value> = list.iter().collect();
                values.try_into().map_err(|_| {
                    RpcError::invalid_params(format_args!(
                        "error converting json params to arguments: expected {N} parameters \
                         ({names:?}), got {}",
                        list.len()
                    ))
                })
            }
        }
    }
}

/// One call of a body.
struct Call<'a> {
    id: Value,
    method: &'a str,
    params: &'a Value,
}

impl<'a> Call<'a> {
    /// `None` is one that nobody wants an answer to: without an ID, or with null for one. An error
    /// is what Go cannot read.
    fn read(value: &'a Value) -> Result<Option<Self>, String> {
        let map = match value {
            Value::Null => return Ok(None),
            Value::Object(map) => map,
            _ => return Err("a call is an object".to_owned()),
        };
        let text = |key: &str| match map.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(format!("{key} is no string")),
        };
        text("jsonrpc")?;
        let method = text("method")?;
        let id = match map.get("id") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(id)) => id.as_str().into(),
            // Whole ones are meant: Go cuts off what follows the point.
            Some(Value::Number(id)) => match id.as_i64() {
                Some(id) => id.into(),
                None => (id.as_f64().unwrap_or_default() as i64).into(),
            },
            Some(id) => return Err(format!("json-rpc ID ({id}) is of unknown type")),
        };
        Ok(Some(Self { id, method, params: map.get("params").unwrap_or(&Value::Null) }))
    }

    fn params(&self) -> Result<Params<'a>, RpcError> {
        match self.params {
            Value::Null => Ok(Params::None),
            Value::Object(map) => Ok(Params::Named(map)),
            Value::Array(list) => Ok(Params::Listed(list)),
            _ => Err(RpcError::invalid_params(
                "error converting json params to arguments: unknown type for JSON params. Expected \
                 map or array",
            )),
        }
    }
}

/// The calls of a body; of too many, only so many that this is seen: each takes more memory than in
/// the body.
struct Batch(Vec<Value>);

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadBatch).map(Self)
    }
}

struct ReadBatch;

impl<'de> Visitor<'de> for ReadBatch {
    type Value = Vec<Value>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of calls")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut calls: A) -> Result<Vec<Value>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() <= MAX_CALLS {
            match calls.next_element()? {
                Some(call) => kept.push(call),
                None => return Ok(kept),
            }
        }
        while calls.next_element::<IgnoredAny>()?.is_some() {}
        Ok(kept)
    }
}

/// The answer to a body: what is wrong with one call is in the answer to it, and the code is 200;
/// only what is no call at all is a 500. Nobody gets an answer who wants none.
pub(crate) fn body(body: &[u8], mut call: impl FnMut(&str, Params<'_>) -> Outcome) -> Reply {
    let is_batch = body.trim_ascii_start().first() == Some(&b'[');
    let parsed = if is_batch {
        serde_json::from_slice(body).map(|Batch(values)| values)
    } else {
        serde_json::from_slice(body).map(|value| vec![value])
    };
    let values: Vec<Value> = match parsed {
        Ok(values) => values,
        Err(why) => return RpcError::parse(why).reply(500),
    };
    let calls: Vec<Option<Call<'_>>> = match values.iter().map(Call::read).collect() {
        Ok(calls) => calls,
        Err(why) => return RpcError::parse(why).reply(500),
    };
    if calls.len() > MAX_CALLS {
        return RpcError::invalid_request(format_args!(
            "batch request exceeds maximum ({MAX_CALLS}) allowed number of requests"
        ))
        .reply(500);
    }
    let answers = calls.into_iter().flatten().map(|one| {
        let outcome = one.params().and_then(|params| call(one.method, params));
        envelope(&one.id, outcome)
    });
    let answers: Vec<String> = answers.collect();
    match answers.as_slice() {
        [] => Reply::json(200, ""),
        [one] => Reply::json(200, one.as_str()),
        several => Reply::json(200, format!("[{}]", several.join(","))),
    }
}

/// The answer to a call by URI, whose code tells as well.
pub(crate) fn uri(outcome: Outcome) -> Reply {
    let status = match &outcome {
        Ok(_) => 200,
        Err(error) if error.code == -32601 => 404,
        Err(_) => 500,
    };
    Reply::json(status, envelope(&URI_ID.into(), outcome))
}

/// In the order in which Tendermint writes it.
fn envelope(id: &Value, outcome: Outcome) -> String {
    let (name, what) = match outcome {
        Ok(result) => ("result", result),
        Err(error) => ("error", error.to_json().to_string().into()),
    };
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{name}":{what}}}"#)
}
