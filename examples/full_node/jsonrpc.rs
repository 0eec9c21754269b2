//! The envelope of calls, as Tendermint v0.34 has it: JSON-RPC 2.0 as a body, one call or several,
//! and calls by URI. Pure.

use std::{
    fmt::{self, Formatter},
    sync::Arc,
};

use serde::{
    Deserialize,
    de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

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

/// The parameters of a call that came as a body, as they stand there. Nothing is made of those that
/// nobody asks for: a megabyte of empty objects is thirty of memory, and a tenth of a second of work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Params<'a>(Option<&'a RawValue>);

impl<'a> Params<'a> {
    /// Those of a call by URI, which come otherwise.
    pub(crate) const NONE: Self = Self(None);

    /// The values of these names. Others are passed over, and one that is missing is none, unless
    /// they come without names.
    pub(crate) fn take<const N: usize>(
        self,
        names: [&str; N],
    ) -> Result<[Option<&'a RawValue>; N], RpcError> {
        let Some(text) = self.0.map(RawValue::get) else { return Ok([None; N]) };
        let no_conversion = |why: &dyn std::fmt::Display| {
            RpcError::invalid_params(format_args!(
                "error converting json params to arguments: {why}"
            ))
        };
        match text.as_bytes().first() {
            Some(b'n') => Ok([None; N]),
            Some(b'{') => members(text, names).map_err(|why| no_conversion(&why)),
            Some(b'[') => {
                let mut json = serde_json::Deserializer::from_str(text);
                let read = json.deserialize_seq(Listed::<N>).map_err(|why| no_conversion(&why))?;
                read.map_err(|got| {
                    no_conversion(&format_args!("expected {N} parameters ({names:?}), got {got}"))
                })
            }
            _ => Err(no_conversion(&"unknown type for JSON params. Expected map or array")),
        }
    }
}

/// The values of these names in an object, as they stand there; as in Go the last of several counts.
fn members<'a, const N: usize>(
    object: &'a str,
    names: [&str; N],
) -> serde_json::Result<[Option<&'a RawValue>; N]> {
    let mut json = serde_json::Deserializer::from_str(object);
    let values = json.deserialize_map(Named(names))?;
    json.end().map(|()| values)
}

struct Named<'n, const N: usize>([&'n str; N]);

impl<'a, const N: usize> Visitor<'a> for Named<'_, N> {
    type Value = [Option<&'a RawValue>; N];

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().position(|name| *name == key) {
                Some(at) => values[at] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Reads a list of so many; else how many there are.
struct Listed<const N: usize>;

impl<'a, const N: usize> Visitor<'a> for Listed<N> {
    type Value = Result<[Option<&'a RawValue>; N], usize>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut values, mut count) = ([None; N], 0);
        loop {
            match values.get_mut(count) {
                Some(value) => match list.next_element()? {
                    Some(next) => *value = Some(next),
                    None => break,
                },
                None if list.next_element::<IgnoredAny>()?.is_some() => {}
                None => break,
            }
            count += 1;
        }
        Ok(if count == N { Ok(values) } else { Err(count) })
    }
}

/// One call that somebody wants an answer to.
struct Call<'a> {
    id: Value,
    method: String,
    params: Params<'a>,
}

impl<'a> Call<'a> {
    /// `None` is one that nobody wants an answer to: without an ID, or with null for one. An error
    /// is what Go cannot read.
    fn read(written: &'a str) -> Result<Option<Self>, String> {
        if written == "null" {
            return Ok(None);
        }
        let names = ["jsonrpc", "id", "method", "params"];
        let [jsonrpc, id, method, params] =
            members(written, names).map_err(|why| why.to_string())?;
        let text = |key: &str, value: Option<&RawValue>| match value.map(RawValue::get) {
            None | Some("null") => Ok(String::new()),
            Some(text) => serde_json::from_str(text).map_err(|_| format!("{key} is no string")),
        };
        text("jsonrpc", jsonrpc)?;
        let method = text("method", method)?;
        let id = match id.map(RawValue::get) {
            None | Some("null") => return Ok(None),
            Some(id)
                if id.starts_with(['"', '-']) || id.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                serde_json::from_str(id).map_err(|why| why.to_string())?
            }
            Some(_) => return Err("json-rpc ID is of unknown type".to_owned()),
        };
        let id = match id {
            // Whole ones are meant: Go cuts off what follows the point.
            Value::Number(id) => match id.as_i64() {
                Some(id) => id.into(),
                None => (id.as_f64().unwrap_or_default() as i64).into(),
            },
            id => id,
        };
        Ok(Some(Self { id, method, params: Params(params) }))
    }
}

/// The calls of a body; of too many, only so many that this is seen.
struct Batch<'a>(Vec<&'a RawValue>);

impl<'a> Deserialize<'a> for Batch<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ReadBatch).map(Self)
    }
}

struct ReadBatch;

impl<'a> Visitor<'a> for ReadBatch {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of calls")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut calls: A) -> Result<Self::Value, A::Error> {
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
    let body = match std::str::from_utf8(body) {
        Ok(body) => body.trim_ascii(),
        Err(why) => return RpcError::parse(why).reply(500),
    };
    let written: Vec<&str> = if body.starts_with('[') {
        match serde_json::from_str(body) {
            Ok(Batch(calls)) => calls.into_iter().map(RawValue::get).collect(),
            Err(why) => return RpcError::parse(why).reply(500),
        }
    } else {
        vec![body]
    };
    let calls = written.into_iter().map(Call::read);
    let calls: Vec<Option<Call<'_>>> = match calls.collect() {
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
        let outcome = call(&one.method, one.params);
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
